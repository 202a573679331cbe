"""The energy of each shot, from the pulses of a meter: which pulse of the one stream is which of the other.

Two instruments number the pulses of one laser, each from a start of its own. The light must begin and end in
both streams: these two marks, and how bright a shot is beside how strong its pulse was, prove which belong
together. A wrong pulse is worse than a mean, so that anything but a proof is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from labctl.model.errors import DataError
from labctl.model.records import FloatArray
from labctl.model.shots import IntArray

WRAP_US = 1 << 32
"""The clock of a meter's stream begins again after so many microseconds."""
SEARCHED = 60
"""Pulses on either side of where the light seems to begin that are tried."""
LEAST_PULSES, LEAST_DARK = 400, 50
PROOF = 9.0
"""A pulse is that of a shot where any other one is exp(9) times less likely, by the shots before it and by
those behind it."""
DOUBT = 12.0
"""No stretch of shots may find another pulse exp(12) times more likely."""
_NEAR = (-2, -1, 1, 2)
_PARTIAL = 0.7
_TAILS = 4.0
_OFF_RATE = 0.25


@dataclass(frozen=True, slots=True)
class PairedEnergies:
    """Energies of shots.

    :param energy_j: of the pulse of each shot, J, nan where the meter has none; all nan where ``refused``.
    :param first_pulse: number, as the shots count, of the first pulse of the meter's stream.
    :param refused: why no pulse can be told to be that of a shot; empty where all are proved.
    """

    energy_j: FloatArray = field(repr=False)
    first_pulse: int = 0
    refused: str = ""


def meter_pulses(time_us: IntArray, period_us: float) -> IntArray:
    """Number the pulses of a meter's stream from 0, missing ones counted; shape ``(pulse,)``.

    :param time_us: the meter's own clock, us, which may begin again at 0 after 2^32 - 1.
    :param period_us: between two pulses, us, known to some per cent.
    :raises DataError: a step is not a whole number of periods, or the clock stands.
    """
    steps_us: IntArray = np.mod(np.diff(time_us.astype(np.int64)), WRAP_US)
    if not steps_us.size:
        return np.zeros(np.size(time_us), dtype=np.int64)
    single = steps_us[np.abs(steps_us / period_us - 1.0) < _OFF_RATE]
    periods = steps_us / (float(single.mean()) if single.size else period_us)
    if (periods < 1.0 - _OFF_RATE).any() or (np.abs(periods - np.rint(periods)) > _OFF_RATE).any():
        raise DataError(
            "the pulses of the meter do not keep to the repetition rate", "check its peak threshold"
        )
    return np.concatenate([[0], np.cumsum(np.rint(periods).astype(np.int64))])


def pair_energies(
    pulse: IntArray, signal: FloatArray, begins: int, meter_pulse: IntArray, energy_j: FloatArray
) -> PairedEnergies:
    """Tell which pulse of a meter is that of each shot.

    Shots near a shift, or near an end of the light, that do not prove their pulse have none.

    :param pulse: number of the laser pulse of each shot, rising, shape ``(shot,)``; 50 dark shots before
        the light, and some behind it, must be among them.
    :param signal: light of each shot, dark subtracted, counts, shape ``(shot,)``.
    :param begins: number of the pulse with which the light begins, known to some 50 pulses.
    :param meter_pulse: numbers of the pulses that the meter saw, from 0, rising, shape ``(pulse,)``; it sees
        none in the dark.
    :param energy_j: of each of them, J, shape ``(pulse,)``.
    """
    unknown = np.full(pulse.size, np.nan)

    def refused(why: str) -> PairedEnergies:
        return PairedEnergies(unknown, refused=why)

    if meter_pulse.size < LEAST_PULSES:
        return refused("the meter saw too few pulses")
    ends = begins + int(meter_pulse[-1])
    before = pulse < begins - SEARCHED
    if before.sum() < LEAST_DARK or pulse[-1] < ends + SEARCHED:
        return refused("the shots do not hold the dark on both sides of the light")
    middle = (pulse > begins + (ends - begins) // 4) & (pulse < ends - (ends - begins) // 4)
    light = _Light(pulse, signal, meter_pulse, energy_j, before, middle)
    tried = range(begins - SEARCHED, begins + SEARCHED + 1)
    score = np.array([light.likelihood(first).sum() for first in tried])
    best = int(np.argmax(score))
    first = tried[best]
    if score[best] - np.delete(score, best).max() < PROOF:
        return refused("neither where the light ends nor its brightness shows which pulse is which")
    known = light.proved(first)
    if known is None:
        return refused("some of the shots are those of other pulses")
    return PairedEnergies(np.where(known, light.energies(first), np.nan), first)


class _Light:
    """How likely each shot is, if the meter's first pulse is one of theirs."""

    def __init__(
        self,
        pulse: IntArray,
        signal: FloatArray,
        meter_pulse: IntArray,
        energy_j: FloatArray,
        before: NDArray[np.bool_],
        middle: NDArray[np.bool_],
    ) -> None:
        self._pulse, self._signal, self._middle = pulse, signal, middle
        self._energy = np.zeros(int(meter_pulse[-1]) + 1)
        self._energy[meter_pulse] = energy_j
        self._missing = self._energy == 0.0
        self._typical_j = float(np.median(energy_j))
        self._level = float(np.median(signal[middle]))
        low, high = np.quantile(signal[middle], (0.02, 0.98))
        self._clipped = np.clip(signal, low, high) - self._level
        self._of_dark = _tailed(signal - np.median(signal[before]), signal[before])
        self._of_travel = -math.log(max(abs(self._level), float(np.ptp(signal[before])), 1e-300))

    def energies(self, first: int) -> FloatArray:
        """Return the energy of the shots' pulses, nan where the meter saw none."""
        place, inside = self._places(first)
        return np.where(inside & ~self._missing[place], self._energy[place], np.nan)

    def _places(self, first: int) -> tuple[IntArray, NDArray[np.bool_]]:
        place = self._pulse - first
        inside = (place >= 0) & (place < self._energy.size)
        return np.clip(place, 0, self._energy.size - 1), inside

    def likelihood(self, first: int) -> FloatArray:
        """Return the logarithm of how likely each shot is, shape ``(shot,)``.

        The scatter has long tails, so that no single bright shot decides; shots of half a pulse, in the
        travel of the blade, and those whose pulse the meter missed say nothing.
        """
        place, inside = self._places(first)
        energy = self._energy[place]
        lit = inside & (energy > _PARTIAL * self._typical_j)
        away = energy / self._typical_j - 1.0
        sure = lit & self._middle
        x = away[sure] - away[sure].mean()
        slope = float(x @ self._clipped[sure]) / max(float(x @ x), 1e-300)
        rest = self._signal - self._level - slope * away
        found = np.where(inside, self._of_travel, self._of_dark)
        found[lit] = _tailed(rest[lit], rest[sure])
        return found

    def proved(self, first: int) -> NDArray[np.bool_] | None:
        """Return which shots prove their pulse, from both sides; None where some prove another one."""
        own = self.likelihood(first)
        known = np.ones(own.size, dtype=np.bool_)
        for step in _NEAR:
            gain = own - self.likelihood(first + step)
            so_far = np.cumsum(gain)
            known &= (so_far >= PROOF) & (so_far[-1] - so_far + gain >= PROOF)
        inside = np.flatnonzero(known)
        if not inside.size:
            return None
        known[inside[0] : inside[-1] + 1] = True
        for step in _NEAR:
            so_far = np.cumsum((own - self.likelihood(first + step))[inside[0] : inside[-1] + 1])
            if (np.maximum.accumulate(so_far) - so_far).max() > DOUBT:
                return None
        return known


def _tailed(rest: FloatArray, like: FloatArray) -> FloatArray:
    """Return the log-density of residuals by a Student law of four degrees, as wide as ``like`` ones."""
    scale = 1.4826 * float(np.median(np.abs(like - np.median(like)))) + 1e-300
    return np.asarray(-(_TAILS + 1) / 2 * np.log1p((rest / scale) ** 2 / _TAILS) - math.log(scale))
