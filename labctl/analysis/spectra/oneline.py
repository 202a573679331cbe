"""Shape of one peak that stands alone in its pixels, with uncertainties."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from labctl.analysis.spectra.profiles import LineShape

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LineFit:
    """Fit of one peak on a straight background; the FWHM is as measured, resolution included. Errors are 1
    sigma."""

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
    :param noise: one sigma of a pixel, counts. By default the scatter about the fit, with a constant part and
        one that grows with the counts, as shot noise does.
    :raises ValueError: an unknown shape or fewer than 8 pixels.
    """
    if counts.size < 8:
        raise ValueError(f"{counts.size} pixels are too few to fit a line, need 8")
    from lmfit import models  # heavy, and only needed here

    kinds = {
        "gaussian": models.GaussianModel,
        "lorentzian": models.LorentzianModel,
        "voigt": models.VoigtModel,
    }
    if shape not in kinds:
        raise ValueError(f"unknown line shape {shape!r}; gaussian, lorentzian or voigt")
    # Never near zero: a solver that steps by a part of the value would not move a centre that starts there.
    origin = 2.0 * float(wavelength_nm[0]) - float(wavelength_nm[-1])
    x = wavelength_nm - origin
    line = kinds[shape]()
    model = line + models.LinearModel(prefix="under_")
    start = line.guess(counts - counts.min(), x=x)
    start.add("under_slope", 0.0)
    start.add("under_intercept", float(counts.min()))
    if shape == "voigt":
        start["gamma"].set(expr="", value=start["sigma"].value, min=0.0, vary=True)
    weights = None if noise is None else 1.0 / np.broadcast_to(noise, counts.shape)
    found = model.fit(counts, start, x=x, weights=weights, scale_covar=noise is None)
    for _ in range(0 if noise is not None else 2):
        weights = 1.0 / _scatter(found.best_fit, counts)
        found = model.fit(counts, found.params, x=x, weights=weights, scale_covar=True)
    return _line_fit(found, shape, origin)


def _scatter(fitted: Floats, counts: Floats) -> Floats:
    """Sigma of each pixel from the residuals: a constant variance, and one in proportion to the light."""
    squares, light = (counts - fitted) ** 2, fitted - float(fitted.min())
    described = np.full(fitted.shape, max(float(np.mean(squares)), 1e-300))
    for _ in range(3):
        columns = np.column_stack([np.ones_like(light), light]) / described[:, None]
        constant, slope = optimize.nnls(columns, squares / described)[0]
        described = np.maximum(constant + slope * light, 1e-2 * described.mean())
    return np.asarray(np.sqrt(described), dtype=np.float64)


def _line_fit(found: Any, shape: LineShape, offset_nm: float) -> LineFit | None:
    p = found.params
    if not found.success or not found.errorbars or not float(p["fwhm"].value) > 0:
        return None
    return LineFit(
        shape=shape,
        centre_nm=float(p["center"].value) + offset_nm,
        centre_sigma_nm=float(p["center"].stderr),
        fwhm_nm=float(p["fwhm"].value),
        fwhm_sigma_nm=float(p["fwhm"].stderr),
        area_counts_nm=float(p["amplitude"].value),
        reduced_chi2=float(found.redchi),
    )
