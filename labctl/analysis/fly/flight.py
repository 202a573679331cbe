"""From the shots of a flight to a threshold: where the plate was, points, and what the motion leaves open."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.fly.motion import ZERO, Curve, FlightFit, odd_s
from labctl.model.errors import DataError
from labctl.model.records import FloatArray, SweepPoint
from labctl.model.results.flight import Anchor, Motion, PlateLaw, Shots, Turn
from labctl.model.results.sweep import Threshold

Bools = NDArray[np.bool_]
Places = NDArray[np.intp]
T = TypeVar("T", bound=Threshold)

LEAST_IN_POINT = 5
"""Fewer shots do not say how they scatter."""
LEAST_SHOTS = 100
LATE_S = 0.05
"""A pass that took so much less or more time than usual is left out."""
_NEAR = 0.15
"""Shots within this of the threshold, in ln fluence, say what an error of the motion does to it."""


@dataclass(frozen=True, slots=True)
class Solved:
    """A flight of which is known where the plate was at each shot.

    :ivar fluence_uj_cm2: of every shot, lit or not, by the motion; shape ``(n,)``.
    :ivar good: True for the shots that may make points, shape ``(n,)``.
    :ivar left_out: how many others there are, by reason.
    :ivar dose_uj_cm2: sum of the fluences of all shots in the light.
    """

    fit: FlightFit
    at: FloatArray
    covariance: FloatArray
    motion: Motion
    time_s: FloatArray
    fluence_uj_cm2: FloatArray
    good: Bools
    left_out: Mapping[str, int]
    dose_uj_cm2: float

    def error_rel(self, fluence_uj_cm2: float, arrival_sigma_deg: float = 0.0) -> float:
        """Return the relative standard error that the motion leaves to a fluence of the flank.

        :param fluence_uj_cm2: of the flank, uJ/cm2.
        :param arrival_sigma_deg: standard deviation of where a motion of the plate ends, degrees.
        """
        ln_f = np.log(np.maximum(self.fluence_uj_cm2, 1e-300))
        near = self.good & (np.abs(ln_f - math.log(fluence_uj_cm2)) < _NEAR)
        if not near.any():
            return 0.0
        slope = self.fit.slopes(self.time_s[near], self.at).mean(axis=0)
        chance = (float(slope[ZERO]) * arrival_sigma_deg) ** 2 / len(self.fit.turns)
        return math.sqrt(float(slope @ self.covariance @ slope) + chance)


def solve(
    shots: Shots,
    turns: Sequence[Turn],
    anchors: Sequence[Anchor],
    law: PlateLaw,
    curve: Curve,
    lit_s: tuple[float, float],
) -> Solved:
    """Find where the plate was at each shot of a flight, and which shots may make points.

    Left out are shots outside of ``lit_s`` ("dark"), saturated ones ("clipped"), those in acceleration, at
    rest or within some ms of either ("turn"), those of a pass whose time is not like that of the others
    ("late"), and those too far from all others of their fluence, such as
    pulses that the laser missed ("outlier").

    :param shots: all that were kept, in order.
    :param turns: passes of the plate, two or more, up and down.
    :param anchors: fluences measured at rest, best at both ends of the flank.
    :param law: how the plate turns.
    :param curve: of the attenuator.
    :param lit_s: from when to when the shutter was open beyond doubt, on the clock of the shots: the blade's
        travel lies outside.
    :raises DataError: too few shots, no pass in one direction, no anchor, or arrays that do not fit.
    """
    _check(shots, turns, anchors)
    lit = (shots.time_s >= lit_s[0]) & (shots.time_s <= lit_s[1])
    late = _late(shots.time_s, turns, law)
    use = lit & ~shots.clipped & ~late & np.isfinite(shots.signal)
    if use.sum() < LEAST_SHOTS:
        raise DataError(f"{int(use.sum())} usable shots; a flight needs at least {LEAST_SHOTS}")
    fit = FlightFit(shots, use, turns, anchors, law, curve)
    at, covariance = fit.solve()
    fluence, steady = fit.fluence(shots.time_s, at), fit.steady(shots.time_s, at)
    outlier = np.zeros(use.shape, dtype=np.bool_)
    outlier[np.flatnonzero(use)[~fit.kept]] = True
    reasons = {
        "dark": ~lit,
        "clipped": lit & shots.clipped,
        "late": lit & ~shots.clipped & late,
        "turn": use & ~steady,
        "outlier": use & steady & outlier,
    }
    left_out = {name: int(which.sum()) for name, which in reasons.items() if which.any()}
    dose = float(fluence[lit].sum())
    good = use & steady & ~outlier
    return Solved(
        fit, at, covariance, fit.motion(at, covariance), shots.time_s, fluence, good, left_out, dose
    )


def _late(time_s: FloatArray, turns: Sequence[Turn], law: PlateLaw) -> Bools:
    """Find the shots of passes that took far more or less time than the others.

    :raises DataError: what is left does not go both ways.
    """
    odd = odd_s(turns) > LATE_S
    if len({t.stop_deg > t.start_deg for t, out in zip(turns, odd, strict=True) if not out}) < 2:
        took = [1e3 * (t.reply_s - t.command_s) for t in turns if t.reply_s is not None]
        said = ", ".join(f"{ms:.0f}" for ms in took)
        raise DataError(
            f"the passes of the plate took {said} ms: too irregular", "relieve the computer, fly again"
        )
    found = np.zeros(time_s.shape, dtype=np.bool_)
    edge = 3.0 * law.latency_sigma_s
    for turn, out in zip(turns, odd, strict=True):
        if out and turn.reply_s is not None:
            found |= (time_s > turn.command_s - edge) & (time_s < turn.reply_s + edge)
    return found


def _check(shots: Shots, turns: Sequence[Turn], anchors: Sequence[Anchor]) -> None:
    if not shots.time_s.shape == shots.signal.shape == shots.clipped.shape:
        raise DataError("times, signals and clipped shots of a flight differ in number")
    if len({t.stop_deg > t.start_deg for t in turns}) < 2:
        raise DataError("a flight needs passes in both directions: the latency is found from up against down")
    if not anchors:
        raise DataError(
            "a flight needs an anchor: a fluence that the power meter read with the plate at rest"
        )


def groups(fluence_uj_cm2: FloatArray, good: Bools, count: int) -> list[Places]:
    """Collect the good shots in bins of even width in ln fluence; bins of fewer than five are left out."""
    places = np.flatnonzero(good)
    if not places.size:
        return []
    ln_f = np.log(fluence_uj_cm2[places])
    edges = np.linspace(ln_f.min(), ln_f.max(), count + 1)
    bins = np.clip(np.searchsorted(edges, ln_f, side="right") - 1, 0, count - 1)
    found = [places[bins == i] for i in range(count)]
    return [group for group in found if group.size >= LEAST_IN_POINT]


def root_mean(fluence_uj_cm2: FloatArray, photon_order: int) -> float:
    """Return the N-th root of <F^N>: the fluence that a bin's luminescence belongs to, unlike its mean."""
    return float(np.mean(fluence_uj_cm2**photon_order) ** (1.0 / photon_order))


LAW = "law"
"""Flag of points whose plate moved otherwise than its law says."""


def with_motion(found: T, points: Sequence[SweepPoint]) -> T:
    """Put the error of the motion into an interval, in quadrature in ln fluence, and add its flag.

    It is the same for neighbouring points: no number of them makes it smaller.

    :param found: of one band.
    :param points: of the flight; the error of their fluences is that of the motion.
    """
    if any(LAW in point.flags for point in points):
        found = replace(found, flags=(*found.flags, LAW))
    threshold, ends = found.threshold_uj_cm2, found.ci95
    if threshold is None or ends is None or not points:
        return found
    ln_f, sigma = np.array([(math.log(p.fluence_uj_cm2), p.fluence_sigma_rel) for p in points]).T
    order = np.argsort(ln_f)
    motion_rel = float(np.interp(math.log(threshold), ln_f[order], sigma[order]))
    low, high = (math.hypot(math.log(end / threshold), 1.96 * motion_rel) for end in ends)
    wider = (threshold * math.exp(-low), threshold * math.exp(high))
    was, now = (f"{a:.4g} to {b:.4g}" for a, b in (ends, wider))
    reason = f"{found.reason.replace(was, now)} ({100 * motion_rel:.2g} % of the motion in it)"
    return replace(found, ci95=wider, reason=reason)
