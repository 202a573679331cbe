"""Power on the sample over power at the pick-off, from readings at both places over a range of powers.

Readings of one sensor that was carried to and fro are paired by ``interleave`` first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labctl.analysis.calibration import noisefit
from labctl.analysis.calibration.noisefit import NORMAL_95, Model, Noise, Posterior, fading, fit, mixed_sigma
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
    found = noisefit.columns(
        3, ("time_s", time_s), ("at_sample", at_sample), ("level", level), ("power_w", power),
        ("power_sigma_w", sigma),
    )  # fmt: skip
    t, place, step, powers = (noisefit.column(c) for c in found[:4])
    errors = noisefit.errors("power_sigma_w", found[4])
    order = np.argsort(t, kind="stable")
    there = np.asarray(place[order] > 0.5, dtype=np.bool_)
    if not there.any() or there.all():
        raise CalibrationRefused("readings at one position only: both the pick-off and the sample are needed")
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
        raise CalibrationRefused("no power at either position: the sensor is not in the beam")
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


LEAST_POINTS = 5
LEAST_RANGE = 2.0
"""Highest over lowest power, at least: one power alone says nothing of linearity."""
WRONG_PLACE = 2.0
"""A ratio off the stated one by more than this factor was measured elsewhere."""
MOST_NONLINEAR = 0.05
MOST_SIGMA_REL = 0.05
_SAME_PLACE = (0.87, 1.15)
_SURE = 3.3  # one in a thousand by luck


@dataclass(frozen=True, slots=True)
class PickoffFit:
    """The ratio. Standard errors are such that 1.96 of them make the 95 % interval.

    :param ratio: power on the sample over power at the pick-off, the laser's drift included in its error.
    :param nonlinearity: relative change of the ratio from the lowest to the highest power.
    :param offset_w: what the sample's sensor shows when the pick-off's shows nothing, beyond their zeros.
    :param drift_sigma_rel: part of ``ratio_sigma`` that the laser's drift between the places makes.
    :param flags: "nonlinear", "offset" where they are beyond chance.
    """

    ratio: float
    ratio_sigma: float
    nonlinearity: float
    nonlinearity_sigma: float
    offset_w: float
    offset_sigma_w: float
    drift_sigma_rel: float
    scatter_rel: float
    points: int
    chi2: float | None
    freedom: int
    flags: tuple[str, ...]
    posterior: Posterior = field(repr=False, compare=False)

    @property
    def ci95(self) -> tuple[float, float]:
        """95 % interval of the ratio."""
        return self.ratio - NORMAL_95 * self.ratio_sigma, self.ratio + NORMAL_95 * self.ratio_sigma


def fit_pickoff(
    pickoff_w: ArrayLike,
    sample_w: ArrayLike,
    pickoff_sigma_w: ArrayLike | None = None,
    sample_sigma_w: ArrayLike | None = None,
    *,
    stated_ratio: float | None = None,
    drift_sigma_rel: float = 0.0,
) -> PickoffFit:
    """Fit the ratio to readings of both places, each zeroed (and freed of the filters before its sensor).

    :param pickoff_w: shape ``(n,)``, n >= 5; ``sample_w`` at the same settings of the attenuator.
    :param pickoff_sigma_w: standard errors, shape ``(n,)``; None: found from the residuals.
    :param stated_ratio: what the bench file says, if anything; the result must be within a factor of 2.
    :param drift_sigma_rel: of ``interleave.pair_interleaved``; 0 when two sensors read both places at once.
    :raises CalibrationRefused: the readings cannot make a ratio, or the sensor stood elsewhere.
    """
    found = noisefit.columns(
        LEAST_POINTS, ("pickoff_w", pickoff_w), ("sample_w", sample_w), ("pickoff_sigma_w", pickoff_sigma_w),
        ("sample_sigma_w", sample_sigma_w),
    )  # fmt: skip
    x, y = noisefit.column(found[0]), noisefit.column(found[1])
    x_sigma = noisefit.errors("pickoff_sigma_w", found[2])
    y_sigma = noisefit.errors("sample_sigma_w", found[3])
    _check_numbers(stated_ratio, drift_sigma_rel)
    _refuse_unrelated(x, y)
    units = float(np.max(x)), float(np.max(y))
    noise = Noise(
        None if y_sigma is None else y_sigma / units[1],
        wander_guess=0.001 if drift_sigma_rel else 0.0,
        x_sigma=0.0 if x_sigma is None else x_sigma / units[0],
    )
    u, v = x / units[0], y / units[1]
    straight = fit(_line(u, bent=False), np.array([0.0, 1.0]), v, noise, what="a ratio")
    start = np.array([*straight.params, 0.0])
    bent = fit(_line(u, bent=True), start, v, noise, what="a nonlinear ratio")
    result = _result(straight, bent, units, float(np.ptp(u)), drift_sigma_rel, v)
    _refuse_wrong_place(result, stated_ratio)
    return result


def _check_numbers(stated_ratio: float | None, drift_sigma_rel: float) -> None:
    if stated_ratio is not None and not 0 < stated_ratio < math.inf:
        raise CalibrationRefused(f"a stated ratio of {stated_ratio} is not positive")
    if not 0 <= drift_sigma_rel < 0.2:
        raise CalibrationRefused(
            f"the laser drifts by {drift_sigma_rel:.0%} between the positions: wait until it has warmed up"
        )


def _refuse_unrelated(x: FloatArray, y: FloatArray) -> None:
    if not (np.max(x) > 0 and np.max(y) > 0):
        where = "pick-off" if not np.max(x) > 0 else "sample"
        raise CalibrationRefused(f"no power at the {where}: the sensor is not in the beam")
    if np.min(x) * LEAST_RANGE > np.max(x):
        raise CalibrationRefused(
            f"powers of {noisefit.spread(x)} W at the pick-off are too alike: a factor of {LEAST_RANGE:g} "
            "is needed"
        )
    rest = y - np.mean(y)
    together = float(np.corrcoef(x, y)[0, 1]) if np.any(rest) else 0.0
    if together < -0.5:
        raise CalibrationRefused(
            "the power on the sample falls when that at the pick-off rises: a sensor is in the rejected beam"
        )
    if not together > 0.8:
        raise CalibrationRefused(
            f"the powers at the two positions are not related (correlation {together:.2f}): a sensor is "
            "not in the beam, or the readings belong to different settings"
        )


def _line(u: FloatArray, *, bent: bool) -> Model:
    """Offset + slope x u x (1 + bend x (u - middle)); powers relative to their highest."""
    away = u - 0.5 * (np.max(u) + np.min(u))

    def model(params: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        offset, slope = params[:2]
        bend = params[2] if bent else 0.0
        straight = u * (1 + bend * away)
        columns = [np.ones_like(u), straight]
        if bent:
            columns.append(slope * u * away)
        steep = slope * (1 + bend * (away + u))
        return offset + slope * straight, np.column_stack(columns), np.broadcast_to(steep, u.shape)

    return model


def _result(
    straight: Posterior, bent: Posterior, units: tuple[float, float], span: float, drift: float, v: FloatArray
) -> PickoffFit:
    nonlinearity, error = float(bent.params[2]) * span, float(bent.sigma([0.0, 0.0, 1.0])[0]) * span
    offset, offset_sigma = float(straight.params[0]), float(straight.sigma([1.0, 0.0])[0])
    nonlinear = abs(nonlinearity) > _SURE * error
    if nonlinear and abs(nonlinearity) > MOST_NONLINEAR:
        raise CalibrationRefused(
            f"the ratio changes by {nonlinearity:+.1%} over the range: a sensor saturates, clips the beam "
            f"or has a wrong zero"
        )
    used = bent if nonlinear else straight
    slope = float(used.params[1])
    if not slope > 0:
        raise CalibrationRefused("the power on the sample does not grow with that at the pick-off")
    sigma = float(used.sigma(np.eye(used.params.size)[1])[0]) / slope
    if sigma > MOST_SIGMA_REL:
        raise CalibrationRefused(
            f"the ratio is known to {sigma:.0%} only: more power at the pick-off, or longer averages, are "
            "needed"
        )
    ratio = slope * units[1] / units[0]
    flags = ["nonlinear"] if nonlinear else []
    if abs(offset) > _SURE * offset_sigma and not nonlinear:
        flags.append("offset")
    return PickoffFit(
        ratio=ratio,
        ratio_sigma=ratio * math.hypot(sigma, drift),
        nonlinearity=nonlinearity,
        nonlinearity_sigma=error,
        offset_w=offset * units[1],
        offset_sigma_w=offset_sigma * units[1],
        drift_sigma_rel=drift,
        scatter_rel=float(np.sqrt(np.mean((used.residuals / np.maximum(v, 0.05)) ** 2))),
        points=v.size,
        chi2=used.chi2,
        freedom=used.freedom,
        flags=tuple(flags),
        posterior=used,
    )


def _refuse_wrong_place(result: PickoffFit, stated: float | None) -> None:
    same = _SAME_PLACE[0] < result.ratio < _SAME_PLACE[1]
    off = 1.0 if stated is None else result.ratio / stated
    expected = "" if stated is None else f" instead of about {stated:g}"
    if same and (stated is None or not 1 / WRONG_PLACE < off < WRONG_PLACE):
        raise CalibrationRefused(
            f"both positions show the same power (ratio {result.ratio:.3f}{expected}): the sensor was not "
            f"moved"
        )
    if stated is None or 1 / WRONG_PLACE <= off <= WRONG_PLACE:
        return
    swapped = 1 / WRONG_PLACE < result.ratio * stated < WRONG_PLACE
    hint = (
        "the two positions are exchanged"
        if swapped
        else "a sensor is in the wrong position, or a filter is not declared"
    )
    raise CalibrationRefused(f"a ratio of {result.ratio:.4g}{expected}: {hint}")
