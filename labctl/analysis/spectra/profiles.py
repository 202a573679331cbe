"""Line profiles of unit area with their derivatives, and widths with the instrument's slit taken out.

All widths are full widths at half maximum in nm. A Lorentzian seen through a Gaussian slit is a Voigt
profile; a Gaussian seen through one stays a Gaussian.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
LineShape = Literal["gaussian", "lorentzian", "voigt"]

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))

# Olivero and Longbothum, J. Quant. Spectrosc. Radiat. Transfer 17, 233 (1977): within 0.02 %.
_OLIVERO_A, _OLIVERO_B = 0.5346, 0.2166


def gaussian(offset_nm: Floats, fwhm_nm: float) -> tuple[Floats, Floats, Floats]:
    """Gaussian of unit area, and its derivatives by the centre and by the FWHM; per nm, shape of
    ``offset_nm``."""
    sigma = fwhm_nm / FWHM_PER_SIGMA
    z: Floats = np.clip(
        offset_nm / sigma, -30.0, 30.0
    )  # beyond, the profile is zero and its square overflows
    value: Floats = np.exp(-0.5 * z * z) / (sigma * math.sqrt(2.0 * math.pi))
    return value, value * z / sigma, value * (z * z - 1.0) / fwhm_nm


def voigt(offset_nm: Floats, lorentz_fwhm_nm: float, gauss_fwhm_nm: float) -> tuple[Floats, Floats, Floats]:
    """Voigt profile of unit area, and its derivatives by the centre and by the LORENTZIAN FWHM.

    Both widths must be positive. From the Faddeeva function w, with w' = -2 z w + 2i/sqrt(pi).
    """
    scale = gauss_fwhm_nm / FWHM_PER_SIGMA * math.sqrt(2.0)
    norm = 1.0 / (scale * math.sqrt(math.pi))
    z = (offset_nm + 0.5j * lorentz_fwhm_nm) / scale
    w = np.asarray(special.wofz(z), dtype=np.complex128)
    slope = 2j / math.sqrt(math.pi) - 2.0 * z * w
    return w.real * norm, -slope.real * norm / scale, -0.5 * slope.imag * norm / scale


def voigt_fwhm(lorentz_fwhm_nm: float, gauss_fwhm_nm: float) -> float:
    """FWHM of a Voigt profile, nm (Olivero and Longbothum 1977)."""
    return _OLIVERO_A * lorentz_fwhm_nm + math.sqrt(_OLIVERO_B * lorentz_fwhm_nm**2 + gauss_fwhm_nm**2)


def deconvolve_width(
    measured_fwhm_nm: float, sigma: float, resolution_fwhm_nm: float, shape: LineShape
) -> tuple[float, float]:
    """Take the instrument's resolution out of a measured width.

    "gaussian": quadrature. "lorentzian" or "voigt": the line is a Lorentzian and the slit a Gaussian, so the
    measured profile is a Voigt profile; the formula of Olivero and Longbothum is solved for the Lorentzian
    part.

    :param measured_fwhm_nm: FWHM as seen, > 0; ``sigma`` its standard error; the resolution is taken as
        exact.
    :param resolution_fwhm_nm: FWHM of the slit function, >= 0.
    :returns: true FWHM and its standard error, nm; (0, sigma) when the resolution is not below the measured
        width, where nothing but "narrower than the resolution" can be said.
    :raises ValueError: a width that is not positive, a negative resolution or an unknown shape.

    >>> [round(x, 6) for x in deconvolve_width(0.5, 0.01, 0.3, "gaussian")]
    [0.4, 0.0125]
    """
    if not measured_fwhm_nm > 0 or not resolution_fwhm_nm >= 0:
        raise ValueError(
            f"measured {measured_fwhm_nm} nm must be positive, resolution {resolution_fwhm_nm} nm not < 0"
        )
    if shape not in ("gaussian", "lorentzian", "voigt"):
        raise ValueError(f"unknown line shape {shape!r}; gaussian, lorentzian or voigt")
    v, g = measured_fwhm_nm, resolution_fwhm_nm
    if g >= v:
        return 0.0, sigma
    if shape == "gaussian":
        true = math.sqrt(v * v - g * g)
        return true, sigma * v / true
    # (v - a f)^2 = b f^2 + g^2, the smaller root of (a^2 - b) f^2 - 2 a v f + v^2 - g^2 = 0.
    c = _OLIVERO_A**2 - _OLIVERO_B
    root = math.sqrt((_OLIVERO_A * v) ** 2 - c * (v * v - g * g))
    true = (v * v - g * g) / (_OLIVERO_A * v + root)
    slope = (v - _OLIVERO_A * true) / (_OLIVERO_A * (v - _OLIVERO_A * true) + _OLIVERO_B * true)
    return true, sigma * slope
