"""A first law of the attenuator, from the coarse scan: good enough to choose settings, not to be stored.

Unlike the fit that makes a calibration it may be drawn beyond what was seen: limits can keep the brightest
angles out of a scan behind the shutter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from labctl.model.errors import CalibrationRefused

if TYPE_CHECKING:
    from procedures.calibration.foresight import Look

LEAST_LOOKS = 6
MOST_SCATTER = 0.05
LEAST_SPAN_DEG = 35.0


@dataclass(frozen=True, slots=True)
class Law:
    """P = lowest + (highest - lowest) cos^2 2(angle - zero), in W at the meter.

    :param sigma_rel: standard error of ``highest_w``, relative.
    """

    zero_deg: float
    lowest_w: float
    highest_w: float
    sigma_rel: float

    def power_w(self, angle_deg: float) -> float:
        """Return the power at an angle."""
        turn = math.radians(2 * (angle_deg - self.zero_deg))
        return self.lowest_w + (self.highest_w - self.lowest_w) * math.cos(turn) ** 2

    def away_deg(self, part: float) -> float:
        """Return how far from a maximum the power has fallen to a part of the highest, 0 to 45 degrees."""
        least = self.lowest_w / self.highest_w
        share = min(max((part - least) / (1 - least), 0.0), 1.0)
        return math.degrees(math.acos(math.sqrt(share))) / 2

    def slope_rel(self, angle_deg: float) -> float:
        """Return the relative change of the power with the angle there, 1/deg, always positive."""
        turn = math.radians(4 * (angle_deg - self.zero_deg))
        change = (self.highest_w - self.lowest_w) * abs(math.sin(turn)) * math.radians(2)
        return change / max(self.power_w(angle_deg), 1e-30)


def first_law(looks: Sequence[Look]) -> Law:
    """Fit the law, which is linear in cosine and sine of four times the angle.

    :raises CalibrationRefused: too few angles, or powers that do not follow it.
    """
    angle = np.array([look.angle_deg for look in looks])
    power = np.array([look.power_w for look in looks])
    if angle.size < LEAST_LOOKS or np.ptp(angle) < LEAST_SPAN_DEG:
        span = np.ptp(angle) if angle.size else 0.0
        raise CalibrationRefused(
            f"only {angle.size} angles over {span:.0f} deg are allowed: at least {LEAST_LOOKS} over "
            f"{LEAST_SPAN_DEG:.0f} deg are needed",
            "raise angle_range_deg, the sensor's limit or max_average_power",
        )
    turn = np.radians(4 * angle)
    design = np.column_stack([np.ones_like(turn), np.cos(turn), np.sin(turn)])
    (middle, c, s), *_ = np.linalg.lstsq(design, power, rcond=None)
    size = math.hypot(c, s)
    scatter = float(np.sqrt(np.sum((power - design @ (middle, c, s)) ** 2) / max(angle.size - 3, 1)))
    if not size > 0.2 * middle or scatter > MOST_SCATTER * (middle + size):
        part = scatter / max(middle + size, 1e-30)
        raise CalibrationRefused(
            f"the powers do not follow a half-wave plate (scatter {part:.0%}): laser, plate or sensor are "
            "not steady, or the plate is none"
        )
    gradient = np.array([1.0, c / size, s / size])
    covariance = np.linalg.inv(design.T @ design) * scatter**2
    sigma = math.sqrt(float(gradient @ covariance @ gradient))
    lowest = max(middle - size, 0.0)
    return Law(math.degrees(math.atan2(s, c)) / 4, lowest, middle + size, sigma / (middle + size))
