"""Share of the pump that a sample absorbs, from its linear absorption spectrum: one-photon pumping alone.

A = 1 - T - R, or 1 - 10^-OD where the optical density is that of the sample (reflection taken out), averaged
over the spectrum of the pump.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from labctl.analysis.calibration import checks
from labctl.model.errors import CalibrationRefused
from labctl.model.records import FloatArray

Kind = Literal["transmittance", "optical_density"]
LEAST_POINTS = 3
OPAQUE_OD = 3.0
"""Above this a spectrometer's stray light is read rather than the sample."""
_SIGMAS = 3.0  # of the pump's spectrum that must be covered, to both sides


@dataclass(frozen=True, slots=True)
class Absorptance:
    """Absorbed share, 0 to 1, with its statistical standard error and that of reflectance and baseline."""

    value: float
    sigma: float
    scale: float
    flags: tuple[str, ...] = ()


def absorptance(
    wavelength_nm: ArrayLike,
    values: ArrayLike,
    *,
    kind: Kind,
    pump_nm: float,
    pump_fwhm_nm: float,
    photon_order: int,
    values_sigma: float = 0.0,
    baseline_sigma: float = 0.0,
    reflectance: float = 0.0,
    reflectance_sigma: float = 0.0,
) -> Absorptance:
    """Average the absorptance over a Gaussian pump spectrum.

    :param values: transmittance (0 to 1) or optical density (base 10), shape ``(n,)`` as ``wavelength_nm``.
    :param values_sigma: standard error of each value; ``baseline_sigma`` that common to all.
    :param reflectance: of the sample at the pump, where ``kind`` is "transmittance".
    :raises CalibrationRefused: two-photon pumping; a spectrum that does not cover the pump, or is not one.
    """
    if photon_order != 1:
        raise CalibrationRefused(
            f"{photon_order}-photon pumping: a linear absorption spectrum says nothing of what is absorbed"
        )
    numbers = (pump_nm, pump_fwhm_nm, values_sigma, baseline_sigma, reflectance, reflectance_sigma)
    if not all(math.isfinite(x) and x >= 0 for x in numbers) or not pump_nm > 0 or reflectance >= 1:
        raise CalibrationRefused(
            "wavelengths, reflectance (below 1) and errors must be numbers, not negative"
        )
    found = checks.columns(LEAST_POINTS, ("wavelength_nm", wavelength_nm), ("values", values))
    x, y = checks.column(found[0]), checks.column(found[1])
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    weight = _pump(x, pump_nm, pump_fwhm_nm)
    _check_values(y[weight > 0], kind)
    if kind == "transmittance":
        passed, slope = y, np.ones_like(y)
    elif kind == "optical_density":
        passed = 10.0 ** -np.clip(y, -1.0, 20.0)
        slope = passed * math.log(10)
    else:
        raise CalibrationRefused(f"unknown kind {kind!r}; transmittance or optical_density")
    value = 1 - float(weight @ passed) - (reflectance if kind == "transmittance" else 0.0)
    sigma = float(np.sqrt(np.sum((weight * slope * values_sigma) ** 2)))
    common = float(weight @ slope) * baseline_sigma
    scale = math.hypot(common, reflectance_sigma if kind == "transmittance" else 0.0)
    if not -3 * math.hypot(sigma, scale) - 0.02 <= value:
        raise CalibrationRefused(
            f"an absorptance of {value:.3f}: baseline, reference or reflectance is wrong"
        )
    opaque = float(weight @ passed) < 10**-OPAQUE_OD
    return Absorptance(min(max(value, 0.0), 1.0), sigma, scale, ("opaque",) if opaque else ())


def _check_values(y: FloatArray, kind: str) -> None:
    if kind == "transmittance" and np.max(y) > 1.2:
        raise CalibrationRefused(
            f"a transmittance up to {np.max(y):g}: given in per cent, or the reference is wrong; "
            "0 to 1 is expected"
        )
    if np.min(y) < -0.1:
        raise CalibrationRefused(f"values down to {np.min(y):g}: the dark or the reference is wrong")


def _pump(x: FloatArray, pump_nm: float, fwhm_nm: float) -> FloatArray:
    """Weight of each point of the spectrum, sum 1, shape ``(n,)``; trapezia over a fine grid in between."""
    sigma = fwhm_nm / (2 * math.sqrt(2 * math.log(2)))
    low, high = pump_nm - _SIGMAS * sigma, pump_nm + _SIGMAS * sigma
    if x[0] > low or x[-1] < high:
        raise CalibrationRefused(
            f"the spectrum from {checks.spread(x)} nm does not cover the pump's {low:.1f} to {high:.1f} nm"
        )
    inside = x[(x >= low) & (x <= high)]
    gap = float(np.max(np.diff(np.concatenate([[low], inside, [high]]))))
    if gap > max(fwhm_nm, 5.0):
        raise CalibrationRefused(
            f"the spectrum has a gap of {gap:.1f} nm at the pump: finer steps are needed"
        )
    grid = pump_nm + sigma * np.linspace(-_SIGMAS, _SIGMAS, 201)
    pump = np.exp(-0.5 * np.linspace(-_SIGMAS, _SIGMAS, 201) ** 2)
    keep = np.concatenate([[True], np.diff(x) > 0])
    place = np.flatnonzero(keep)
    shares = np.stack([np.interp(grid, x[place], row) for row in np.eye(place.size)], axis=1)
    weight = np.zeros_like(x)
    weight[place] = (pump / pump.sum()) @ shares
    return weight
