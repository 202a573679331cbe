"""What an attenuator transmits at an angle, and how far an error of the angle reaches into it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from labctl.model.records import FloatArray

LEAST_TRANSMISSION = 1e-12
"""A transmission below this is taken for it: what is relative to nothing has no size."""


def malus_transmission(from_peak_deg: ArrayLike, leak: float) -> FloatArray:
    """Return T = leak + (1 - leak) cos^2 2(angle from the peak), relative to the highest."""
    turn = np.radians(2 * np.asarray(from_peak_deg, dtype=np.float64))
    return np.asarray(leak + (1 - leak) * np.cos(turn) ** 2)


def malus_error_rel(from_peak_deg: ArrayLike, leak: float, angle_sigma_deg: float) -> FloatArray:
    """Return the relative error of the transmission that an error of the angle makes.

    First and second order: at a maximum or a minimum the slope alone would say nothing.
    """
    turn = np.radians(2 * np.asarray(from_peak_deg, dtype=np.float64))
    step = 2 * math.radians(angle_sigma_deg)
    change = np.abs(np.sin(2 * turn)) * step + np.abs(np.cos(2 * turn)) * step**2
    transmission = np.maximum(malus_transmission(from_peak_deg, leak), LEAST_TRANSMISSION)
    return np.asarray((1 - leak) * change / transmission)


def table_error_rel(
    angle_deg: ArrayLike, knots_deg: FloatArray, log_t: FloatArray, angle_sigma_deg: float
) -> FloatArray:
    """Return the relative error of the transmission that an error of the angle makes.

    :param knots_deg: rising angles of the table, shape ``(n,)``; ``log_t`` the logarithm of the transmission
        there, straight in between.
    """
    slopes = np.diff(log_t) / np.diff(knots_deg)
    place = np.searchsorted(knots_deg, np.asarray(angle_deg, dtype=np.float64)) - 1
    return np.abs(slopes[np.clip(place, 0, slopes.size - 1)]) * angle_sigma_deg
