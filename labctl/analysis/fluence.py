"""From the angle of an attenuator and the energy of a pulse to the fluence on the sample, and back."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from labctl.model.pump import Convention, SpotSize
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


UJ_PER_J = 1e6
CM2_PER_UM2 = 1e-8


def effective_area_cm2(spot: SpotSize, convention: Convention) -> float:
    """Area by which an energy is divided to give the fluence at normal incidence, cm2.

    :raises ValueError: a size that is not positive and finite, an unknown shape or convention.

    >>> round(effective_area_cm2(SpotSize("gaussian", 100.0, 100.0), "peak") * 1e4, 4)
    1.5708
    """
    if not (0 < spot.x_um < math.inf and 0 < spot.y_um < math.inf):
        raise ValueError(f"spot of {spot.x_um} x {spot.y_um} um: both must be positive")
    if convention not in ("peak", "average"):
        raise ValueError(f"unknown fluence convention {convention!r}; peak or average")
    product_cm2 = spot.x_um * spot.y_um * CM2_PER_UM2
    if spot.shape == "gaussian":
        return math.pi * product_cm2 * (0.5 if convention == "peak" else 1.0)
    if spot.shape == "ellipse":
        return math.pi * product_cm2
    if spot.shape == "stripe":
        return 4.0 * product_cm2
    raise ValueError(f"unknown spot shape {spot.shape!r}; gaussian, ellipse or stripe")


def fluence_uj_cm2(
    pulse_energy_j: float, spot: SpotSize, convention: Convention, *, incidence_deg: float = 0.0
) -> float:
    """Fluence on the sample, uJ/cm2, of a pulse of this energy.

    :param incidence_deg: angle from the normal, -90 < angle < 90.
    :raises ValueError: an angle out of range; see ``effective_area_cm2``.

    >>> round(fluence_uj_cm2(12.566e-9, SpotSize("gaussian", 100.0, 100.0), "peak"), 2)
    80.0
    """
    return pulse_energy_j * UJ_PER_J * _cos(incidence_deg) / effective_area_cm2(spot, convention)


def pulse_energy_j(
    fluence_uj_cm2: float, spot: SpotSize, convention: Convention, *, incidence_deg: float = 0.0
) -> float:
    """Energy of a pulse, J, that makes this fluence (uJ/cm2) on the sample; inverse of ``fluence_uj_cm2``."""
    return fluence_uj_cm2 * effective_area_cm2(spot, convention) / UJ_PER_J / _cos(incidence_deg)


def _cos(incidence_deg: float) -> float:
    if not -90 < incidence_deg < 90:
        raise ValueError(f"angle of incidence {incidence_deg} degrees is not between -90 and 90")
    return math.cos(math.radians(incidence_deg))


def mean_square_factor(pulse_cv: float) -> float:
    """<F^2> / <F>^2 = 1 + CV^2 for pulses of coefficient of variation CV: what a two-photon signal gains by
    noise.

    >>> mean_square_factor(0.1)
    1.01
    """
    return 1.0 + pulse_cv**2


def mean_power_factor(pulse_cv: float, photon_order: int) -> float:
    """<F^N> / <F>^N of pulses whose energies are normal with this coefficient of variation, N from 1 to 4.

    >>> [round(mean_power_factor(0.1, order), 4) for order in (1, 2, 3, 4)]
    [1.0, 1.01, 1.03, 1.0603]
    """
    square = pulse_cv**2
    return (1.0, 1.0 + square, 1.0 + 3.0 * square, 1.0 + 6.0 * square + 3.0 * square**2)[photon_order - 1]


def stretched_pulse_fs(transform_limited_fs: float, gdd_fs2: float) -> float:
    """FWHM of a Gaussian pulse behind glass of this group-delay dispersion, fs.

    tau = tau0 sqrt(1 + (4 ln2 GDD / tau0^2)^2).

    :raises ValueError: a width that is not positive.

    >>> round(stretched_pulse_fs(35.0, 600.0))
    59
    """
    if not transform_limited_fs > 0:
        raise ValueError(f"pulse width {transform_limited_fs} fs must be positive")
    return transform_limited_fs * math.hypot(1.0, 4.0 * math.log(2.0) * gdd_fs2 / transform_limited_fs**2)
