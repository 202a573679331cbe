"""Play and repeatability of a mount, from repeated approaches to one angle from both sides.

Where the transmission changes fastest, 22.5 degrees from a maximum, an error of the angle shows best in the
power. The plate's true angle is taken as  angle - play/2 x direction + chance , direction +1 from below.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import chi2, t

from labctl.analysis.calibration import checks
from labctl.analysis.calibration.malus import MalusFit
from labctl.analysis.calibration.noisefit import NORMAL_95
from labctl.model.errors import CalibrationRefused
from labctl.model.records import FloatArray

LEAST_EACH = 4
_LIKE_DRIFT = 0.7  # correlation of the sides with the order of time
MOST_DEG = 0.5
"""A mount with more play or scatter than this is broken, or it was another angle."""


@dataclass(frozen=True, slots=True)
class PlateFit:
    """Play and repeatability. ``backlash_sigma_deg`` is such that 1.96 of it make the 95 % interval.

    :param repeatability_deg: standard deviation of an arrival, meter and laser taken out, >= 0, with its
        95 % interval.
    :param drift_rel: change of the power over the series, relative.
    """

    backlash_deg: float
    backlash_sigma_deg: float
    repeatability_deg: float
    repeatability_sigma_deg: float
    repeatability_ci95_deg: tuple[float, float]
    drift_rel: float
    points: int


def steepest_deg(curve: MalusFit) -> float:
    """Return an angle at which the power changes fastest with it."""
    return curve.zero_deg + 22.5


def slope_w_per_deg(curve: MalusFit, angle_deg: float) -> float:
    """Return how the power changes with the angle, W per degree."""
    turn = math.radians(4 * (angle_deg - curve.zero_deg))
    return -curve.max_power_w * (1 - curve.leakage) * math.sin(turn) * math.radians(2)


def fit_plate(
    power_w: ArrayLike,
    direction: ArrayLike,
    power_sigma_w: ArrayLike | None = None,
    *,
    slope_w_per_deg: float,
    laser_rel: float = 0.0,
    range_w: float | None = None,
) -> PlateFit:
    """Find play and repeatability from approaches to one angle, in the order in which they were made.

    A straight drift of the laser is fitted beside them, so the directions should alternate.

    :param power_w: after each approach, shape ``(n,)``, at least 4 from each side.
    :param direction: +1 where approached from below, -1 from above.
    :param power_sigma_w: standard errors of the readings; what they explain is no error of the mount.
    :param slope_w_per_deg: of the power at that angle.
    :param laser_rel: relative scatter of the laser from reading to reading, with the plate at rest.
    :raises CalibrationRefused: too few approaches, or the power hardly changes with the angle.
    """
    found = checks.columns(
        2 * LEAST_EACH, ("power_w", power_w), ("direction", direction), ("power_sigma_w", power_sigma_w)
    )
    power, side = checks.column(found[0]), np.sign(checks.column(found[1]))
    sigma = checks.errors("power_sigma_w", found[2])
    checks.in_range(power, range_w)
    _check(power, side, slope_w_per_deg, laser_rel)
    order = np.linspace(-0.5, 0.5, power.size)
    design = np.column_stack([np.ones_like(power), side, order])
    if abs(np.corrcoef(side, order)[0, 1]) > _LIKE_DRIFT:
        raise CalibrationRefused("the sides do not alternate, so the laser's drift looks like play")
    params = np.linalg.lstsq(design, power, rcond=None)[0]
    freedom = power.size - 3
    variance = float(np.sum((power - design @ params) ** 2)) / freedom
    error = math.sqrt(variance * float(np.linalg.inv(design.T @ design)[1, 1]))
    scale = abs(slope_w_per_deg)
    own = 0.0 if sigma is None else float(np.mean(sigma**2))
    own += (laser_rel * float(np.mean(power))) ** 2
    value, spread, ends = _without(variance / scale**2, own / scale**2, freedom)
    result = PlateFit(
        backlash_deg=-2 * float(params[1]) / slope_w_per_deg,
        backlash_sigma_deg=2 * error / scale * float(t.ppf(0.975, freedom)) / NORMAL_95,
        repeatability_deg=value,
        repeatability_sigma_deg=spread,
        repeatability_ci95_deg=ends,
        drift_rel=float(params[2]) / float(params[0]),
        points=power.size,
    )
    if max(abs(result.backlash_deg), result.repeatability_deg) > MOST_DEG:
        raise CalibrationRefused(
            f"play {result.backlash_deg:.2f} and scatter {result.repeatability_deg:.2f} degrees are not a "
            "mount's: it loses steps, the laser is unsteady, or the slope is another angle's"
        )
    return result


def _check(power: FloatArray, side: FloatArray, slope: float, laser_rel: float) -> None:
    below, above = int(np.count_nonzero(side > 0)), int(np.count_nonzero(side < 0))
    if min(below, above) < LEAST_EACH or below + above < side.size:
        raise CalibrationRefused(
            f"{below} approaches from below and {above} from above: at least {LEAST_EACH} of each are needed"
        )
    if not np.mean(power) > 0:
        raise CalibrationRefused("no power: the beam does not reach the meter")
    if not (math.isfinite(slope) and abs(slope) * MOST_DEG > 0.002 * float(np.mean(power))):
        raise CalibrationRefused("the power hardly changes with the angle there: go to the steepest angle")
    if not 0 <= laser_rel < 1:
        raise CalibrationRefused(f"a laser scatter of {laser_rel} makes no sense")


def _without(total: float, own: float, freedom: int) -> tuple[float, float, tuple[float, float]]:
    """Root of a variance with a known part taken out, its standard error, and its 95 % interval."""
    ends = [freedom * total / float(chi2.ppf(q, freedom)) for q in (0.975, 0.025)]
    low, high = (math.sqrt(max(end - own, 0.0)) for end in ends)
    value = math.sqrt(max(total - own, 0.0))
    return value, (high - low) / (2 * NORMAL_95), (low, high)
