"""Readings that ONE sensor took at two places in turn, set beside each other as if taken at once.

The two places are read at different times: the pick-off is read before AND after the sample, so that the
laser's drift in between can be interpolated, and what is left of it counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from labctl.analysis.calibration import checks
from labctl.analysis.calibration.noisefit import NORMAL_95
from labctl.model.errors import CalibrationRefused
from labctl.model.records import FloatArray

_CALM_REL, _TRUST = 0.003, 2.0
"""Change of a sound laser between two visits, and for how many observed visits that counts."""

Flags: TypeAlias = NDArray[np.bool_]
Places: TypeAlias = NDArray[np.signedinteger[Any]]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Powers at both places, one pair for each level; arrays of shape ``(level,)``.

    :param drift_sigma_rel: relative standard error, common to all, of what the laser did in between.
    """

    level: FloatArray
    pickoff_w: FloatArray
    sample_w: FloatArray
    pickoff_sigma_w: FloatArray | None
    sample_sigma_w: FloatArray | None
    drift_sigma_rel: float


@dataclass(frozen=True, slots=True)
class _Log:
    """All readings in order of time."""

    t: FloatArray
    at_sample: Flags
    level: FloatArray
    power: FloatArray
    sigma: FloatArray | None


def pair_interleaved(
    time_s: ArrayLike,
    at_sample: ArrayLike,
    level: ArrayLike,
    power_w: ArrayLike,
    power_sigma_w: ArrayLike | None = None,
) -> Pairs:
    """Pair what was read at the pick-off, then at the sample, then at the pick-off again (and so on).

    Each reading at the sample is set beside the pick-off's of the same level, interpolated in time between
    the visits before and after. Of a laser that wanders, half the rms change between visits stays uncertain.

    :param time_s: when, shape ``(n,)``; ``at_sample``: 1 where the sensor stood at the sample, else 0.
    :param level: number (any) of the attenuator's setting; ``power_w`` the zeroed, filter-freed reading.
    :raises CalibrationRefused: a level at the sample was not read at the pick-off before and after.
    """
    log = _read(time_s, at_sample, level, power_w, power_sigma_w)
    samples = np.flatnonzero(log.at_sample)
    before, after, share = _around(samples, log)
    levels = np.unique(log.level[samples])
    count = log.power.size
    pickoff, sample = np.zeros((levels.size, count)), np.zeros((levels.size, count))
    for row, value in enumerate(levels):
        mine = log.level[samples] == value
        np.add.at(pickoff[row], before[mine], (1 - share[mine]) / mine.sum())
        np.add.at(pickoff[row], after[mine], share[mine] / mine.sum())
        sample[row, samples[mine]] = 1 / mine.sum()
    sigmas = [None if log.sigma is None else np.sqrt(w**2 @ log.sigma**2) for w in (pickoff, sample)]
    drift = _drift(log, samples, before, after)
    return Pairs(levels, pickoff @ log.power, sample @ log.power, sigmas[0], sigmas[1], drift)


def _read(
    time_s: ArrayLike, at_sample: ArrayLike, level: ArrayLike, power: ArrayLike, sigma: ArrayLike | None
) -> _Log:
    found = checks.columns(
        3, ("time_s", time_s), ("at_sample", at_sample), ("level", level), ("power_w", power),
        ("power_sigma_w", sigma),
    )  # fmt: skip
    t, place, step, powers = (checks.column(c) for c in found[:4])
    errors = checks.errors("power_sigma_w", found[4])
    order = np.argsort(t, kind="stable")
    there = np.asarray(place[order] > 0.5, dtype=np.bool_)
    if not there.any() or there.all():
        raise CalibrationRefused("readings of one place only: both the pick-off and the sample are needed")
    return _Log(t[order], there, step[order], powers[order], None if errors is None else errors[order])


def _around(samples: Places, log: _Log) -> tuple[Places, Places, FloatArray]:
    """The readings of the pick-off before and after each of the sample's, and where between, 0 to 1."""
    rows = [_neighbours(int(i), log) for i in samples]
    before, after = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    span = log.t[after] - log.t[before]
    share = np.where(span > 0, (log.t[samples] - log.t[before]) / np.where(span > 0, span, 1.0), 0.5)
    return before, after, share


def _neighbours(i: int, log: _Log) -> tuple[int, int]:
    same = np.flatnonzero(~log.at_sample & (log.level == log.level[i]))
    before, after = same[same < i], same[same > i]
    if not before.size or not after.size:
        when = "before" if not before.size else "after"
        raise CalibrationRefused(
            f"level {log.level[i]:g}: the pick-off was not read {when} the sample, so the laser's drift is "
            "unknown"
        )
    return int(before[-1]), int(after[0])


def _drift(log: _Log, samples: Places, before: Places, after: Places) -> float:
    """Relative standard error, common to all pairs, that interpolating a wandering laser leaves.

    A random walk whose ends are known is uncertain by half the rms of its change in the middle. Few visits
    say little of that rms: a sound laser's counts beside them, and Student's t for the rest.
    """
    good = (log.power[before] > 0) & (log.power[after] > 0)
    if not good.any():
        raise CalibrationRefused("no power at the pick-off: the sensor is not in the beam")
    visit = np.cumsum(np.diff(log.at_sample.astype(int), prepend=0) == 1)[samples]
    changes = []
    for number in np.unique(visit[good]):
        use = good & (visit == number)
        first, last = before[use], after[use]
        change = np.log(log.power[last] / log.power[first])
        weight = log.power[first] ** 2
        if log.sigma is not None:
            weight = 1 / (
                (log.sigma[last] / log.power[last]) ** 2 + (log.sigma[first] / log.power[first]) ** 2
            )
        changes.append(float(np.average(change, weights=weight / weight.max())))
    n = len(changes)
    walk = math.sqrt((float(np.sum(np.square(changes))) + _TRUST * _CALM_REL**2) / (n + _TRUST))
    return 0.5 * walk / math.sqrt(n) * float(stdtrit(n + _TRUST, 0.975)) / NORMAL_95
