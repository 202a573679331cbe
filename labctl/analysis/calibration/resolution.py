"""Width of the slit function over the range, from lamp lines that stand alone.

Lamp lines are far narrower than any grating spectrometer of this size resolves, so a line's width is the
instrument's. The pixel belongs to it: what a spectrum shows of a narrow line has the variance of slit and
pixel together, and that is the resolution which is taken out of a laser line's width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.calibration.lamp_lines import FoundLine, LampLine, isolated_lines
from labctl.analysis.calibration.wavelength import LampSpectrum, WavelengthFit
from labctl.analysis.spectra.lines import FWHM_PER_SIGMA
from labctl.model.errors import CalibrationRefused

Floats = NDArray[np.float64]

_WIDEST_SIGMA_REL = 0.1  # a width known worse than this tells nothing
_OUTLIER = 3.5
_NEAR_NM = 0.5  # widths: how near a line lies to its place on the axis


@dataclass(frozen=True, slots=True)
class ResolutionFit:
    """FWHM of a narrow line, slit and pixel together, over wavelength.

    :param coefficients: nm as a polynomial of (wavelength - ``middle_nm``), c0 first.
    :param line_nm: lines it rests on; ``line_fwhm_nm`` their widths, ``line_sigma_nm`` standard errors.
    :param pixel_nm: width of a pixel in the middle of those lines.
    """

    coefficients: tuple[float, ...]
    middle_nm: float
    covariance: Floats
    line_nm: tuple[float, ...]
    line_fwhm_nm: tuple[float, ...]
    line_sigma_nm: tuple[float, ...]
    pixel_nm: float

    def at(self, wavelength_nm: float) -> tuple[float, float]:
        """FWHM at a wavelength and its standard error, nm. Outside of the lines the nearest line's."""
        inside = min(max(wavelength_nm, self.line_nm[0]), self.line_nm[-1])
        powers = (inside - self.middle_nm) ** np.arange(len(self.coefficients))
        value = float(powers @ np.array(self.coefficients))
        return value, math.sqrt(float(powers @ self.covariance @ powers))

    def slit_nm(self, wavelength_nm: float) -> float:
        """FWHM of the slit's image alone."""
        return math.sqrt(max(self.at(wavelength_nm)[0] ** 2 - _pixel_fwhm(self.pixel_nm) ** 2, 0.0))


def _pixel_fwhm(pixel_nm: float) -> float:
    """FWHM of the Gaussian whose variance is that of one pixel's width."""
    return FWHM_PER_SIGMA * pixel_nm / math.sqrt(12.0)


def fit_resolution(
    spectra: Sequence[LampSpectrum], axis: WavelengthFit, resolution_nm: float
) -> ResolutionFit:
    """Fit the resolution over the range.

    :param resolution_nm: about what it is, FWHM: says which lines stand alone.
    :raises CalibrationRefused: no line that stands alone and is not saturated.
    """
    entries = [
        entry
        for found, lines in spectra
        for entry in _widths(found, axis, isolated_lines(lines, resolution_nm))
    ]
    at_nm, fwhm, sigma, pixel = np.array(sorted(entries)).reshape(-1, 4).T
    if not at_nm.size:
        raise CalibrationRefused(
            "no unsaturated lamp line stands alone: the resolution cannot be taken from any",
            "another lamp, or a shorter exposure",
        )
    keep = np.ones(at_nm.size, np.bool_)
    for _ in range(4):
        order, middle = _order(at_nm[keep]), float(at_nm[keep].mean())
        x = (at_nm - middle)[:, None] ** np.arange(order + 1)
        # Neighbours nobody listed and a slit that is no Gaussian scatter more than counts do.
        own = np.hypot(sigma, 0.01 * fwhm)
        solve = np.linalg.pinv(x[keep] / own[keep, None]) / own[keep]
        rest = fwhm - x @ (solve @ fwhm[keep])
        scatter = 1.4826 * float(np.median(np.abs(rest[keep])))
        wrong = keep & (np.abs(rest) > _OUTLIER * np.maximum(own, scatter))
        if not wrong.any() or keep.sum() <= max(3, 0.6 * keep.size):
            break
        keep &= ~wrong
    return ResolutionFit(
        coefficients=tuple(float(c) for c in solve @ fwhm[keep]),
        middle_nm=middle,
        covariance=(solve * own[keep] ** 2) @ solve.T,
        line_nm=tuple(at_nm[keep].tolist()),
        line_fwhm_nm=tuple(fwhm[keep].tolist()),
        line_sigma_nm=tuple(sigma[keep].tolist()),
        pixel_nm=float(np.mean(pixel[keep])),
    )


def _order(at_nm: Floats) -> int:
    """A width changes slowly: a constant, a slope with 4 lines or more over a range, a bend with 8."""
    wide = np.ptp(at_nm) > 0.03 * float(at_nm.mean())
    return 0 if at_nm.size < 4 or not wide else 1 if at_nm.size < 8 else 2


def _widths(
    found: Sequence[FoundLine], axis: WavelengthFit, alone: Sequence[LampLine]
) -> list[tuple[float, float, float, float]]:
    """Place, FWHM with the pixel, its error, and the pixel's width, of each line that stands alone; nm."""
    axis_nm = axis.axis_nm()
    per_pixel = np.gradient(axis_nm)
    best: dict[float, tuple[float, float, float, float]] = {}
    for line in found:
        if line.saturated or not line.fwhm_sigma_pixels < _WIDEST_SIGMA_REL * line.fwhm_pixels:
            continue
        nm = axis.at_nm(line.pixel)
        pixel = float(np.interp(line.pixel, np.arange(axis_nm.size), per_pixel))
        own = [
            k.wavelength_nm for k in alone if abs(k.wavelength_nm - nm) < _NEAR_NM * line.fwhm_pixels * pixel
        ]
        if len(own) != 1:
            continue
        slit = line.fwhm_pixels * pixel
        fwhm = math.hypot(slit, _pixel_fwhm(pixel))
        entry = (own[0], fwhm, line.fwhm_sigma_pixels * pixel * slit / fwhm, pixel)
        if own[0] not in best or entry[2] < best[own[0]][2]:
            best[own[0]] = entry
    return list(best.values())
