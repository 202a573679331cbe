"""Where the plate was at each shot: a law of motion, corrected by the shots themselves.

Ways up and ways down must give one and the same curve of the emission against fluence. If the clock is off,
the one is shifted against the other; if the plate is faster than thought, the shots at its turn-rounds and
the plate's own status show it. What was known before (the law, the anchors of the power meter, the calibrated
curve) enters with its error: nothing is fixed, nothing is free.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from labctl.analysis.fluence import malus_transmission
from labctl.model.pump import MalusCurve
from labctl.model.records import FloatArray
from labctl.model.results.flight import Anchor, Measured, Motion, PlateLaw, Shots, Turn

Bools = NDArray[np.bool_]

LATENCY, LN_DURATION, ZERO, LN_LEAK, LN_SCALE, REPLY = range(6)
_FIRST_TURN = 6
_STEPS = np.array([1e-4, 1e-3, 5e-3, 0.02, 2e-3, 1e-4])
KNOT_LN_F = 0.12
"""Distance of the knots of the common curve, in ln fluence: noise between closer ones looks like a motion."""
MARGIN_S = 0.003
"""Shots so near to a start or an end of a motion are in no point: there the law is least known."""
ANCHOR_LEAST = 20.0
"""The flank begins where a reading of the meter is at least so many times its noise."""
LAW_REL = 0.01
"""How far a plate may have strayed from its law since that was measured: load, supply, temperature."""
JITTER_S = 0.0003
"""Standard deviation of the time from a command to the start of the plate, beside what its report shows."""
REPLY_JITTER_S = 0.0012
"""That of the time from its rest to the report of it."""
_ROUNDS, _LEAST_ROUNDS, _SETTLED = 30, 4, 0.05
_TOO_FAR = 5.0
FLAG_SIGMA = 3.5
# An even distribution ends at 1.7 of its standard deviations; the way of a message comes on top.
_STATUS_SIGMA = 4.0


@dataclass(frozen=True, slots=True)
class Curve:
    """The attenuator's curve as it was calibrated.

    :ivar zero_deg: of highest transmission, degrees.
    :ivar zero_sigma_deg: its standard error, degrees.
    :ivar leakage: least transmission over the highest, > 0.
    :ivar leakage_sigma: its standard error.
    """

    zero_deg: float
    zero_sigma_deg: float
    leakage: float
    leakage_sigma: float

    @classmethod
    def of(cls, curve: MalusCurve, zero_sigma_deg: float, leak_sigma: float) -> Curve:
        """Take it from the bench.

        :param curve: of wave plate and polariser.
        :param zero_sigma_deg: standard error of its zero, degrees.
        :param leak_sigma: standard error of its least transmission, 0 to 1.
        """
        leak = max(curve.t_min / curve.t_max, 1e-6)
        return cls(
            curve.zero_deg, max(zero_sigma_deg, 1e-3), leak, max(leak_sigma / curve.t_max, 0.02 * leak)
        )


def travelled(after_s: FloatArray, duration_s: float, ramp_s: float) -> FloatArray:
    """Return the part of the way that a plate has turned, 0 to 1, a time after its start."""
    if ramp_s <= 0:
        return np.clip(after_s / duration_s, 0.0, 1.0)
    ramp = min(ramp_s, 0.5 * duration_s)
    speed = 1.0 / (duration_s - ramp)
    t = np.clip(after_s, 0.0, duration_s)
    left = duration_s - t
    rising, falling = 0.5 * speed * t * t / ramp, 1.0 - 0.5 * speed * left * left / ramp
    return np.where(t < ramp, rising, np.where(left < ramp, falling, speed * (t - 0.5 * ramp)))


def angles(
    time_s: FloatArray, turns: Sequence[Turn], late_s: FloatArray, law: PlateLaw, duration_s: float
) -> FloatArray:
    """Return the plate's angle at each time, degrees; at rest before the first turn and after each.

    :param late_s: how much later than its command each turn begins on the clock of the times.
    """
    found = np.full(time_s.shape, turns[0].start_deg)
    for turn, late in zip(turns, late_s, strict=True):
        after = time_s - turn.command_s - late
        way = turn.stop_deg - turn.start_deg
        whole = _duration(duration_s, law, way)
        here = turn.start_deg + way * travelled(after, whole, law.ramp_s)
        found = np.where(after > 0, here, found)
    return found


def _duration(duration_s: float, law: PlateLaw, way_deg: float) -> float:
    return duration_s * abs(way_deg) / law.way_deg


def in_motion(
    time_s: FloatArray, turns: Sequence[Turn], late_s: FloatArray, law: PlateLaw, duration_s: float
) -> Bools:
    """Return whether the plate turns evenly at each time, away from the ends of its motions."""
    even = np.zeros(time_s.shape, dtype=np.bool_)
    for turn, late in zip(turns, late_s, strict=True):
        after = time_s - turn.command_s - late
        whole = _duration(duration_s, law, turn.stop_deg - turn.start_deg)
        edge = law.ramp_s + MARGIN_S
        even |= (after >= edge) & (after <= whole - edge)
    return even


def odd_s(turns: Sequence[Turn]) -> FloatArray:
    """Return by how much each turn took less or more time than usual, until its report; 0 where unknown.

    It began late, or was reported late: which of both, nobody knows.
    """
    took = np.array([np.nan if t.reply_s is None else t.reply_s - t.command_s for t in turns])
    return np.zeros(took.size) if np.isnan(took).all() else np.abs(np.nan_to_num(took - np.nanmedian(took)))


class FlightFit:
    """The shots of a flight, and where they say the plate was.

    :param use: shots that may speak: lit, not clipped.
    """

    def __init__(
        self,
        shots: Shots,
        use: Bools,
        turns: Sequence[Turn],
        anchors: Sequence[Anchor],
        law: PlateLaw,
        curve: Curve,
    ) -> None:
        self.shots, self.turns, self.anchors, self.law, self.curve = shots, turns, anchors, law, curve
        self.time, self.y = shots.time_s[use], shots.signal[use]
        top = max(anchors, key=lambda a: a.fluence_uj_cm2)
        scale = top.fluence_uj_cm2 / self._transmission(top.angle_deg, curve.zero_deg, curve.leakage)
        self.before = np.array(
            [
                law.latency_s,
                math.log(law.duration_s),
                curve.zero_deg,
                math.log(curve.leakage),
                math.log(scale),
                law.reply_s,
            ]
        )
        duration = math.hypot(law.duration_sigma_s / law.duration_s, LAW_REL)
        leak = curve.leakage_sigma / curve.leakage
        self.before_sigma = np.array(
            [
                max(law.latency_sigma_s, 1e-4),
                duration,
                curve.zero_sigma_deg,
                leak,
                0.5,
                max(law.reply_sigma_s, 1e-4),
            ]
        )
        # Each command leaves a little late by chance: of a program that waits its turn, of a message.
        extra = np.zeros(len(turns))
        self.before = np.concatenate([self.before, extra])
        self._odd_s = odd_s(turns)
        self.before_sigma = np.concatenate([self.before_sigma, np.hypot(JITTER_S, self._odd_s)])
        self._steps = np.concatenate([_STEPS, extra + 1e-4])
        self.kept = np.ones(self.time.size, dtype=np.bool_)
        self.variance = np.full(self.time.size, max(float(np.var(self.y)), 1e-300))

    @staticmethod
    def _transmission(angle_deg: FloatArray | float, zero_deg: float, leakage: float) -> FloatArray:
        return malus_transmission(np.subtract(angle_deg, zero_deg), leakage)

    @staticmethod
    def late_s(at: FloatArray) -> FloatArray:
        """Return how much later than its command each turn begins, on the clock of the shots."""
        return np.asarray(at[LATENCY] + at[_FIRST_TURN:])

    def fluence(self, time_s: FloatArray, at: FloatArray) -> FloatArray:
        """Return the mean fluence of pulses at times, if the unknowns are ``at``."""
        duration = math.exp(float(at[LN_DURATION]))
        angle = angles(time_s, self.turns, self.late_s(at), self.law, duration)
        passed = self._transmission(angle, float(at[ZERO]), math.exp(float(at[LN_LEAK])))
        return np.asarray(math.exp(float(at[LN_SCALE])) * passed)

    def slopes(self, time_s: FloatArray, at: FloatArray) -> FloatArray:
        """Return how ln fluence at times changes with each unknown, shape ``(n, unknown)``."""
        sides = [
            [np.log(self.fluence(time_s, at + s * step)) for s in (1, -1)] for step in np.diag(self._steps)
        ]
        return np.stack(
            [(up - down) / 2 / s for (up, down), s in zip(sides, self._steps, strict=True)], axis=1
        )

    def steady(self, time_s: FloatArray, at: FloatArray) -> Bools:
        """Return whether the plate turned evenly at times."""
        return in_motion(time_s, self.turns, self.late_s(at), self.law, math.exp(float(at[LN_DURATION])))

    def solve(self) -> tuple[FloatArray, FloatArray]:
        """Return the unknowns and their covariance; noise and outliers are found on the way."""
        at = self.before.copy()
        covariance = np.diag(self.before_sigma**2)
        for number in range(_ROUNDS):
            self._weigh(at)
            residual = self._residual(at)
            sides = [[self._residual(at + sign * step) for sign in (1, -1)] for step in np.diag(self._steps)]
            jacobian = np.stack(
                [(u - d) / 2 / s for (u, d), s in zip(sides, self._steps, strict=True)], axis=1
            )
            covariance = np.linalg.inv(jacobian.T @ jacobian)
            step = -covariance @ (jacobian.T @ residual)
            at = at + np.clip(step, -self.before_sigma, self.before_sigma)
            settled = bool((np.abs(step) < _SETTLED * np.sqrt(np.diag(covariance))).all())
            if settled and number >= _LEAST_ROUNDS:
                break
        return at, covariance

    def _residual(self, at: FloatArray) -> FloatArray:
        """Return the shots about their common curve, what was known before, anchors and status."""
        fluence = self.fluence(self.time[self.kept], at)
        root = 1.0 / np.sqrt(self.variance[self.kept])
        design = hats(np.log(fluence), *self._knots(at)) * root[:, None]
        y = self.y[self.kept] * root
        # The penalty keeps empty knots finite; it is far below one shot's weight.
        q = np.linalg.solve(design.T @ design + 1e-6 * np.eye(design.shape[1]), design.T @ y)
        prior = (at - self.before) / self.before_sigma
        anchored = [
            math.log(float(self._at_rest(a.angle_deg, at)) / a.fluence_uj_cm2)
            / max(a.fluence_sigma_rel, 1e-4)
            for a in self.anchors
        ]
        return np.concatenate([y - design @ q, prior, anchored, self._arrivals(at)])

    def _at_rest(self, angle_deg: float, at: FloatArray) -> FloatArray:
        return math.exp(float(at[LN_SCALE])) * self._transmission(
            angle_deg, float(at[ZERO]), math.exp(float(at[LN_LEAK]))
        )

    def _arrivals(self, at: FloatArray) -> list[float]:
        """Return how far each end of a motion lies from where the plate's own report puts it.

        The clock of the reports is that of the commands: the latency has no part in it.
        """
        found = []
        for turn, late, odd in zip(self.turns, at[_FIRST_TURN:], self._odd_s, strict=True):
            if turn.reply_s is not None:
                whole = _duration(math.exp(float(at[LN_DURATION])), self.law, turn.stop_deg - turn.start_deg)
                due_s = turn.command_s + float(late) + whole + float(at[REPLY])
                found.append((due_s - turn.reply_s) / math.hypot(REPLY_JITTER_S, odd))
        return found

    def _knots(self, at: FloatArray) -> tuple[float, float]:
        rest = [float(self._at_rest(t.start_deg, at)) for t in self.turns]
        rest.append(float(self._at_rest(self.turns[-1].stop_deg, at)))
        return math.log(min(rest)), math.log(max(rest))

    def _weigh(self, at: FloatArray) -> None:
        """Find the common curve, the noise of a shot as a function of its light, and the outliers."""
        ln_f = np.log(self.fluence(self.time, at))
        ends = self._knots(at)
        for _ in range(3):
            design = hats(ln_f, *ends)
            weighted = design / self.variance[:, None]
            normal = weighted[self.kept].T @ design[self.kept] + 1e-9 * np.eye(design.shape[1]) / np.median(
                self.variance
            )
            mean = design @ np.linalg.solve(normal, weighted[self.kept].T @ self.y[self.kept])
            self.variance = shot_variance(mean, self.y - mean, self.kept)
            self.kept = np.abs(self.y - mean) <= _TOO_FAR * np.sqrt(self.variance)

    def motion(self, at: FloatArray, covariance: FloatArray) -> Motion:
        """Say what was found, and whether it contradicts what was known."""
        sigma = np.sqrt(np.diag(covariance))
        away = np.abs(at - self.before)[:2]
        # Of two estimates of which one contains the other, the difference has the difference of variances.
        left = np.sqrt(np.maximum(self.before_sigma**2 - sigma**2, (0.1 * self.before_sigma) ** 2))[:2]
        status = np.abs(self._arrivals(at))
        contradicts = bool((away > FLAG_SIGMA * left).any() or (status > _STATUS_SIGMA).any())

        def told(i: int) -> Measured:
            return Measured(float(at[i]), float(sigma[i]), float(self.before[i]), float(self.before_sigma[i]))

        def told_of_ln(i: int) -> Measured:
            value, before = math.exp(float(at[i])), math.exp(float(self.before[i]))
            return Measured(value, value * float(sigma[i]), before, before * float(self.before_sigma[i]))

        return Motion(
            told(LATENCY),
            told_of_ln(LN_DURATION),
            told(ZERO),
            told_of_ln(LN_LEAK),
            ("law",) if contradicts else (),
        )


def hats(ln_f: FloatArray, low: float, high: float) -> FloatArray:
    """Return hat functions of even knots in ln fluence between two ends, shape ``(n, knot)``.

    Between knots they are straight in the fluence, as the emission above threshold is: were they straight in
    its logarithm, a motion would be bent until it fits.
    """
    knots = np.exp(np.linspace(low, high, max(round((high - low) / KNOT_LN_F), 3) + 1))
    f = np.clip(np.exp(ln_f), knots[0], knots[-1])
    cell = np.clip(np.searchsorted(knots, f, side="right") - 1, 0, knots.size - 2)
    part = (f - knots[cell]) / (knots[cell + 1] - knots[cell])
    found = np.zeros((f.size, knots.size))
    rows = np.arange(f.size)
    found[rows, cell], found[rows, cell + 1] = 1.0 - part, part
    return found


def shot_variance(mean: FloatArray, residual: FloatArray, kept: Bools) -> FloatArray:
    """Return the variance of each shot: a constant, a part of its light, and a part of that squared."""
    level = np.maximum(mean, 0.0)
    top = max(float(level.max()), 1e-300)
    shape = np.stack([np.ones_like(level), level / top, (level / top) ** 2], axis=1)
    squares = residual**2
    variance = np.full(mean.shape, float(np.mean(squares[kept])))
    for _ in range(4):
        weighted = shape[kept] / variance[kept, None]
        found, _ = scipy.optimize.nnls(weighted, squares[kept] / variance[kept])
        variance = np.maximum(shape @ found, 1e-4 * float(np.mean(squares[kept])))
    return variance
