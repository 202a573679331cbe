"""Readings that ONE sensor took at two places in turn, set beside each other as if taken at once.

The two places are read at different times: the pick-off is read before AND after the sample, so that the
laser's drift in between can be interpolated, and what is left of it counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labctl.analysis.calibration import checks
from labctl.analysis.calibration.noise import Noise, fading
from labctl.analysis.calibration.noisefit import Model, fit, mixed_sigma
from labctl.model.errors import CalibrationRefused
from labctl.model.records import FloatArray

_CALM_REL = 0.003
"""Wander of a sound laser, the middle of a broad prior."""
_MEMORIES = (0.05, 0.2, 0.8)  # of the wander, over the whole time

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
    the visits before and after. What a laser that wanders may have done meanwhile is estimated from all
    readings together.

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
    drift = _drift(log, _relative(sample, log.power) - _relative(pickoff, log.power))
    return Pairs(levels, pickoff @ log.power, sample @ log.power, sigmas[0], sigmas[1], drift)


def _relative(shares: FloatArray, power: FloatArray) -> FloatArray:
    """Weight of each reading's relative error in the mean over the pairs of ln(power), shape ``(n,)``."""
    parts = shares * power
    seen = np.sum(parts, axis=1)
    least = 1e-3 * float(np.max(np.abs(seen))) + 1e-300
    return np.asarray(np.mean(parts / np.maximum(seen, least)[:, None], axis=0), dtype=np.float64)


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


def _drift(log: _Log, contrast: FloatArray) -> float:
    """Relative standard error, common to all pairs, that interpolating a wandering laser leaves.

    All readings are fitted together, one power for each level and one ratio, with a wander of unknown size
    and memory; what it adds to the mean of ln(sample) - ln(pick-off) over the pairs is averaged over both.

    :param contrast: weight of each reading's relative error in that mean, shape ``(n,)``.
    """
    if not (log.power > 0).any():
        raise CalibrationRefused("no power at either place: the sensor is not in the beam")
    levels, number = np.unique(log.level, return_inverse=True)
    design = np.column_stack([np.eye(levels.size)[number], log.at_sample.astype(np.float64)])
    top = float(np.max(log.power))
    span = float(np.ptp(log.t)) or 1.0
    sizes, weights, evidence = [], [], []
    for memory in _MEMORIES:
        noise = Noise(
            None if log.sigma is None else log.sigma / top, relative_guess=_CALM_REL, wander_guess=_CALM_REL,
            floor_guess=1e-4, time_s=log.t, memory_s=memory * span,
        )  # fmt: skip
        found = fit(_levels(design), _start(design, log.power / top), log.power / top, noise, what="a drift")
        size = float(contrast @ fading(log.t, memory * span) @ contrast)
        sizes.append(np.sqrt(np.exp(found.log_noise[:, -1]) * size))
        weights.append(found.weights)
        evidence.append(found.log_evidence)
    share = np.exp(np.array(evidence) - max(evidence))
    mixed = np.concatenate([w * part for w, part in zip(weights, share / share.sum(), strict=True)])
    return mixed_sigma(np.concatenate(sizes), mixed)


def _start(design: FloatArray, power: FloatArray) -> FloatArray:
    floor = max(float(np.min(np.abs(power[power != 0]), initial=1.0)), 1e-8)
    return np.asarray(np.linalg.lstsq(design, np.log(np.maximum(power, floor)), rcond=None)[0])


def _levels(design: FloatArray) -> Model:
    """Powers as products of what belongs to the level and what to the place."""

    def model(params: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        mean = np.exp(np.clip(design @ params, -40, 10))
        return mean, design * mean[:, None], np.zeros_like(mean)

    return model
