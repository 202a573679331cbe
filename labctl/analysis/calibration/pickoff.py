"""Power on the sample over power at the pick-off, from readings at both places over a range of powers.

Readings of one sensor that was carried to and fro are paired by ``interleave`` first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from labctl.analysis.calibration import checks
from labctl.analysis.calibration.noise import Noise
from labctl.analysis.calibration.noisefit import NORMAL_95, Model, Posterior, fit
from labctl.model.errors import CalibrationRefused
from labctl.model.records import FloatArray

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
    range_w: float | None = None,
) -> PickoffFit:
    """Fit the ratio to readings of both places, each zeroed (and freed of the filters before its sensor).

    :param pickoff_w: shape ``(n,)``, n >= 5; ``sample_w`` at the same settings of the attenuator.
    :param pickoff_sigma_w: standard errors, shape ``(n,)``; None: found from the residuals.
    :param stated_ratio: what the bench file says, if anything; the result must be within a factor of 2.
    :param drift_sigma_rel: of ``interleave.pair_interleaved``; 0 when two sensors read both places at once.
    :param range_w: highest power that the range in use can show.
    :raises CalibrationRefused: the readings cannot make a ratio, or the sensor stood elsewhere.
    """
    found = checks.columns(
        LEAST_POINTS, ("pickoff_w", pickoff_w), ("sample_w", sample_w), ("pickoff_sigma_w", pickoff_sigma_w),
        ("sample_sigma_w", sample_sigma_w),
    )  # fmt: skip
    x, y = checks.column(found[0]), checks.column(found[1])
    x_sigma = checks.errors("pickoff_sigma_w", found[2])
    y_sigma = checks.errors("sample_sigma_w", found[3])
    _check_numbers(stated_ratio, drift_sigma_rel)
    checks.in_range(x, range_w)
    checks.in_range(y, range_w)
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
            f"the laser drifts by {drift_sigma_rel:.0%} between the places: wait until it is warm"
        )


def _refuse_unrelated(x: FloatArray, y: FloatArray) -> None:
    if not (np.max(x) > 0 and np.max(y) > 0):
        where = "pick-off" if not np.max(x) > 0 else "sample"
        raise CalibrationRefused(f"no power at the {where}: the sensor is not in the beam")
    if np.min(x) * LEAST_RANGE > np.max(x):
        raise CalibrationRefused(
            f"powers of {checks.spread(x)} W at the pick-off are too alike: a factor of {LEAST_RANGE:g} "
            "is needed"
        )
    rest = y - np.mean(y)
    together = float(np.corrcoef(x, y)[0, 1]) if np.any(rest) else 0.0
    if together < -0.5:
        raise CalibrationRefused(
            "the power on the sample falls where that at the pick-off rises: a sensor is in the rejected beam"
        )
    if not together > 0.8:
        raise CalibrationRefused(
            f"the powers at both places do not belong together (correlation {together:.2f}): a sensor is "
            "not in the beam, or the readings are not of the same settings"
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
            f"the ratio changes by {nonlinearity:+.1%} over the range: a sensor saturates, clips the beam or "
            "has a wrong zero"
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
            f"both places show the same power (ratio {result.ratio:.3f}{expected}): the sensor was not moved"
        )
    if stated is None or 1 / WRONG_PLACE <= off <= WRONG_PLACE:
        return
    swapped = 1 / WRONG_PLACE < result.ratio * stated < WRONG_PLACE
    hint = (
        "the two places are exchanged"
        if swapped
        else "a sensor is in the wrong place, or a filter is not named"
    )
    raise CalibrationRefused(f"a ratio of {result.ratio:.4g}{expected}: {hint}")
