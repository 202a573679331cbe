"""Shape of one peak that stands alone in its pixels, with uncertainties."""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from labctl.analysis.spectra import profiles
from labctl.analysis.spectra.profiles import LineShape

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LineFit:
    """Fit of one peak on a straight background.

    :param shape: gaussian, lorentzian or voigt.
    :param centre_nm: wavelength of the centre, nm.
    :param centre_sigma_nm: its standard error, nm.
    :param fwhm_nm: width as measured, resolution included, nm.
    :param fwhm_sigma_nm: its standard error, nm.
    :param area_counts_nm: area above the background, counts x nm.
    :param reduced_chi2: scatter about the fit over the noise; 1 where the noise was taken from the fit.
    """

    shape: LineShape
    centre_nm: float
    centre_sigma_nm: float
    fwhm_nm: float
    fwhm_sigma_nm: float
    area_counts_nm: float
    reduced_chi2: float


def fit_line(
    wavelength_nm: Floats,
    counts: Floats,
    shape: LineShape = "gaussian",
    *,
    noise: Floats | float | None = None,
) -> LineFit | None:
    """Fit one peak that stands alone in the given pixels; None when the fit fails.

    :param wavelength_nm: nm, shape ``(pixel,)``, cut to the peak and some background on both sides, at least
        8 pixels.
    :param counts: dark-subtracted counts, shape ``(pixel,)``.
    :param shape: gaussian, lorentzian or voigt.
    :param noise: one sigma of a pixel, counts. By default the scatter about the fit, with a constant part and
        one that grows with the counts, as shot noise does.
    :raises ValueError: an unknown shape or fewer than 8 pixels.
    """
    if counts.size < 8:
        raise ValueError(f"{counts.size} pixels are too few to fit a line, need 8")
    if shape not in _PROFILES:
        raise ValueError(f"unknown line shape {shape!r}; gaussian, lorentzian or voigt")
    # Never near zero: a solver that steps by a part of the value would not move a centre that starts there.
    origin = 2.0 * float(wavelength_nm[0]) - float(wavelength_nm[-1])
    x, start = wavelength_nm - origin, _start(wavelength_nm - origin, counts, shape)
    sigma = None if noise is None else np.broadcast_to(noise, counts.shape)
    try:
        found = _fit(x, counts, shape, start, sigma, absolute=noise is not None)
        for _ in range(0 if noise is not None else 2):
            scatter = _scatter(_curve(shape)(x, *found[0]), counts)
            found = _fit(x, counts, shape, found[0], scatter, absolute=False)
    except RuntimeError:  # no end within the solver's evaluations
        return None
    return _line_fit(*found, shape, origin)


def _lorentzian(offset_nm: Floats, fwhm_nm: float) -> Floats:
    return np.asarray(0.5 * fwhm_nm / math.pi / (offset_nm**2 + 0.25 * fwhm_nm**2), dtype=np.float64)


_PROFILES: Mapping[LineShape, Callable[..., Floats]] = {
    "gaussian": lambda offset, width: profiles.gaussian(offset, width)[0],
    "lorentzian": _lorentzian,
    "voigt": lambda offset, lorentz, gauss: profiles.voigt(offset, lorentz, gauss)[0],
}
"""Of unit area, by the distance from the centre and by one width, or Lorentzian and Gaussian width."""


def _curve(shape: LineShape) -> Callable[..., Floats]:
    def curve(x: Floats, area: float, centre: float, slope: float, level: float, *widths: float) -> Floats:
        sizes = (max(abs(width), 1e-9) for width in widths)
        return np.asarray(area * _PROFILES[shape](x - centre, *sizes) + slope * x + level, dtype=np.float64)

    return curve


def _start(x: Floats, counts: Floats, shape: LineShape) -> Floats:
    """Area, centre, slope and level of what lies under the line, and its width or widths."""
    light = counts - counts.min()
    width = float(np.count_nonzero(light > 0.5 * light.max()) * (x[-1] - x[0]) / (x.size - 1))
    widths = [0.6 * width, 0.6 * width] if shape == "voigt" else [width]
    return np.array([float(light.max()) * width, x[light.argmax()], 0.0, float(counts.min()), *widths])


def _fit(
    x: Floats, counts: Floats, shape: LineShape, start: Floats, sigma: Floats | None, *, absolute: bool
) -> tuple[Floats, Floats, float]:
    """Return parameters, their covariance and the reduced chi-square."""
    with warnings.catch_warnings():  # a covariance that cannot be told comes back infinite
        warnings.simplefilter("ignore", optimize.OptimizeWarning)
        values, covariance = optimize.curve_fit(
            _curve(shape), x, counts, start, sigma=sigma, absolute_sigma=absolute
        )
    pulls = (_curve(shape)(x, *values) - counts) / (1.0 if sigma is None else sigma)
    return values, covariance, float(pulls @ pulls) / (counts.size - values.size)


def _scatter(fitted: Floats, counts: Floats) -> Floats:
    """Sigma of each pixel from the residuals: a constant variance, and one in proportion to the light."""
    squares, light = (counts - fitted) ** 2, fitted - float(fitted.min())
    described = np.full(fitted.shape, max(float(np.mean(squares)), 1e-300))
    for _ in range(3):
        columns = np.column_stack([np.ones_like(light), light]) / described[:, None]
        constant, slope = optimize.nnls(columns, squares / described)[0]
        described = np.maximum(constant + slope * light, 1e-2 * described.mean())
    return np.asarray(np.sqrt(described), dtype=np.float64)


def _line_fit(
    values: Floats, covariance: Floats, chi2: float, shape: LineShape, origin_nm: float
) -> LineFit | None:
    if not np.isfinite(covariance).all():
        return None
    widths = np.abs(values[4:])
    if shape == "voigt":
        fwhm, (by_lorentz, by_gauss) = profiles.voigt_fwhm(widths[0], widths[1]), _voigt_slopes(*widths)
        slopes = np.array([by_lorentz, by_gauss]) * np.sign(values[4:])
    else:
        fwhm, slopes = float(widths[0]), np.ones(1)
    variance = float(slopes @ covariance[4:, 4:] @ slopes)
    if not (variance > 0 and fwhm > 0):
        return None
    return LineFit(
        shape=shape,
        centre_nm=float(values[1]) + origin_nm,
        centre_sigma_nm=math.sqrt(covariance[1, 1]),
        fwhm_nm=fwhm,
        fwhm_sigma_nm=math.sqrt(variance),
        area_counts_nm=float(values[0]),
        reduced_chi2=chi2,
    )


def _voigt_slopes(lorentz: float, gauss: float) -> tuple[float, float]:
    """Derivatives of the FWHM by both widths."""
    step = 1e-6 * (lorentz + gauss)
    return (
        (profiles.voigt_fwhm(lorentz + step, gauss) - profiles.voigt_fwhm(lorentz, gauss)) / step,
        (profiles.voigt_fwhm(lorentz, gauss + step) - profiles.voigt_fwhm(lorentz, gauss)) / step,
    )
