"""How well a mount finds a position again, from visits to one steep angle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from procedures.calibration.scanning import Sided

SAME_DEG = 0.3


@dataclass(frozen=True, slots=True)
class Repeatability:
    """Standard deviation of the position found, from one direction, and the standard error of it."""

    sigma_deg: float
    sigma_of_it_deg: float
    visits: int


def repeatability(sided: Sequence[Sided], angle_deg: float, slope_w_deg: float) -> Repeatability:
    """Compare successive visits from the same side, so that neither play nor a slow drift counts.

    :param slope_w_deg: change of power with angle there; the readings' own errors are taken off.
    """
    squares: list[float] = []
    own: list[float] = []
    for side in (1, -1):
        at = [look for look, s in sided if s == side and abs(look.angle_deg - angle_deg) < SAME_DEG]
        angles = np.array([look.power_w / slope_w_deg - (look.angle_deg - angle_deg) for look in at])
        squares += list(np.diff(angles) ** 2 / 2)
        own += [(look.sigma_w / slope_w_deg) ** 2 for look in at]
    if not squares:
        return Repeatability(0.0, 0.0, 0)
    variance = float(np.mean(squares))
    clean = max(variance - float(np.mean(own)), 0.0)
    # The variance of a mean of squared successive differences is 3/2 times that of independent ones.
    error = variance * math.sqrt(3.0 / len(squares))
    sigma = math.sqrt(clean)
    return Repeatability(sigma, error / (2 * max(sigma, math.sqrt(error))), len(squares) + 2)
