"""Shape of one chosen peak, and the quality factor of a laser line with the instrument taken out."""

import math

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.spectra.bands import Band, band_slice
from labctl.analysis.spectra.lines import LineFit, LineShape, deconvolve_width, fit_line
from labctl.analysis.spectra.search import Decomposition, LineSearch
from labctl.analysis.spectra.width import widths
from labctl.analysis.statistics import Location, location
from labctl.model.results import LineFigure, QResult

__all__ = ["LineFigure", "LineFit", "QResult", "deconvolve_width", "fit_line", "q_factor"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

RESOLUTION_LIMIT = 0.7
"""Above this ratio of resolution to measured FWHM the true width is not given: its error explodes."""

WIDEST_LINE_NM = 1.5
"""A line that looks wider than this is taken for several modes that the instrument runs together."""

_MOVING = "peaks move between exposures, so their sums over many pulses are smeared; take single shots"
_WORST_CHI2 = 10.0  # reduced: above it the lines found do not describe the spectrum
_BUMP = 12.0  # resolutions: an emission broader than this is luminescence, of which Q says nothing
_CROWDED = 3.0  # peaks nearer to each other than this many resolutions may each be several modes


def q_factor(
    wavelength_nm: Floats,
    frames: Floats,
    resolution_nm: float,
    *,
    band: Band | None = None,
    saturated: Bools | None = None,
    shape: LineShape | None = None,
    resolution_sigma_nm: float = 0.0,
    widest_line_nm: float = WIDEST_LINE_NM,
    pulses_per_exposure: float | None = None,
) -> QResult | None:
    """Quality factor of the strongest laser line, from repeated exposures above threshold.

    The unsaturated line of the largest AREA is taken (never the narrowest, which noise makes), together with
    its neighbours and the luminescence under them. Where positions hold still the lines are found on the mean
    exposure and fitted again in each exposure; where they are redrawn from exposure to exposure each has its
    own largest line. The median over exposures is given. The line shape, anything from Gaussian to
    Lorentzian, is fitted behind a Gaussian slit, unless stated.

    :param wavelength_nm: rising, nm, shape ``(pixel,)``.
    :param frames: dark-subtracted counts, shape ``(exposure, pixel)`` or ``(pixel,)``, without spikes.
    :param resolution_nm: FWHM of the slit function, nm, > 0.
    :param band: where to look; everywhere by default.
    :param saturated: True where a RAW count was clipped, shape of ``frames``.
    :param shape: gaussian, lorentzian or voigt; fitted by default.
    :param resolution_sigma_nm: standard error of the resolution; it is added to ``sigma``.
    :param widest_line_nm: a line seen wider than this is reported as a lower bound, as several modes run
        together.
    :param pulses_per_exposure: 1 for single-shot spectra. Otherwise, unknown included, a line whose place
        changes between exposures has moved within them as well, and only a lower bound is given.
    :returns: None when there is no peak above the noise, or none that is not saturated.
    :raises ValueError: shapes that do not fit, or a resolution that is not positive.
    """
    if not resolution_nm > 0:
        raise ValueError(f"the resolution must be positive, not {resolution_nm} nm")
    light = np.atleast_2d(np.asarray(frames, dtype=np.float64))
    clipped = np.zeros(light.shape, dtype=np.bool_) if saturated is None else np.atleast_2d(saturated)
    if light.shape[1:] != wavelength_nm.shape or clipped.shape != light.shape:
        raise ValueError(
            f"frames {light.shape}, saturation {clipped.shape} and {wavelength_nm.size} pixels do not fit"
        )
    inside = slice(None) if band is None else band_slice(wavelength_nm, band)
    usable = np.isfinite(light[:, inside]).all(axis=1)
    if not usable.any():
        return None
    search = LineSearch(
        wavelength_nm[inside], light[usable, inside], clipped[usable, inside], resolution_nm, shape
    )
    found = search.exposures()
    if not found:
        return _whole_emission(search)
    moving = not search.positions_hold and pulses_per_exposure != 1
    return _conclude(found, search, resolution_sigma_nm, widest_line_nm, moving)


def _conclude(
    found: list[Decomposition],
    search: LineSearch,
    resolution_sigma_nm: float,
    widest_line_nm: float,
    moving: bool,
) -> QResult:
    reference = search.reference or found[0]
    centre = float(np.median([d.centre_nm for d in found]))
    measured = float(np.median([d.measured_fwhm_nm for d in found]))
    own = location([d.fwhm_nm for d in found], "median")
    reason = _MOVING if moving else _unresolved(measured, widest_line_nm, reference, search)
    fwhm = measured if reason else own.value
    return QResult(
        value=centre / fwhm,
        sigma=centre / fwhm**2 * _width_sigma(found, reference, own, resolution_sigma_nm),
        wavelength_nm=centre,
        fwhm_nm=fwhm,
        resolution_nm=search.resolution_nm,
        lower_bound=bool(reason),
        n_exposures=len(found),
        measured_fwhm_nm=measured,
        shape=_shape_name(reference.fit.model.eta),
        reduced_chi2=float(np.median([d.fit.reduced_chi2 for d in found])),
        lorentzian_share=reference.fit.model.eta,
        reason=reason,
        figure=_figure(reference),
    )


def _width_sigma(
    found: list[Decomposition], reference: Decomposition, own: Location, resolution_sigma_nm: float
) -> float:
    """Standard error of the width: scatter of the exposures, what they share, and the resolution's error.

    What the exposures share (neighbours, background, line shape) does not scatter between them: it comes from
    the covariance of the reference fit.
    """
    scatter = own.sigma if own.n > 2 else 0.0
    measured, resolution = reference.measured_fwhm_nm, reference.fit.model.slit_nm
    shape: LineShape = "gaussian" if reference.fit.model.eta < 0.5 else "lorentzian"
    moved = deconvolve_width(measured, 0.0, resolution + resolution_sigma_nm, shape)[0]
    by_resolution = deconvolve_width(measured, 0.0, resolution, shape)[0] - moved
    shared = reference.fwhm_sigma_nm if len(found) else 0.0
    return math.hypot(scatter, shared, by_resolution)


def _shape_name(eta: float) -> LineShape:
    return "gaussian" if eta < 0.15 else "lorentzian" if eta > 0.85 else "voigt"


def _unresolved(
    measured_nm: float, widest_line_nm: float, reference: Decomposition, search: LineSearch
) -> str:
    """Why only a lower bound can be given; empty when the line is resolved."""
    if search.resolution_nm > RESOLUTION_LIMIT * measured_nm:
        return "resolution-limited"
    gaps = np.diff([p.wavelength_nm for p in search.peaks])
    if gaps.size and float(np.median(gaps)) < _CROWDED * search.resolution_nm:
        return "resolution-limited: peaks so close together may each be several modes"
    if measured_nm > widest_line_nm:
        return f"wider than {widest_line_nm:g} nm: may be several modes run together"
    if reference.fit.reduced_chi2 > _WORST_CHI2:
        return f"lines do not describe the spectrum (reduced chi-square {reference.fit.reduced_chi2:.0f})"
    return ""


def _whole_emission(search: LineSearch) -> QResult | None:
    """Bound from the emission's own width where lines have run together into one bump; None where it is
    broad."""
    mean = search.frames.mean(axis=0)
    if (search.clipped.mean(axis=0) > 0.5).any():
        return None
    full, _, top_nm = widths(search.wavelength_nm, mean)
    if full is None or top_nm is None or full > _BUMP * search.resolution_nm:
        return None
    each = [w for w in (widths(search.wavelength_nm, frame)[0] for frame in search.frames) if w is not None]
    scatter = location(each).sigma if len(each) > 1 else 0.0
    return QResult(
        value=top_nm / full,
        sigma=top_nm / full**2 * scatter,
        wavelength_nm=top_nm,
        fwhm_nm=full,
        resolution_nm=search.resolution_nm,
        lower_bound=True,
        n_exposures=len(search.frames),
        measured_fwhm_nm=full,
        shape=_shape_name(search.model.eta),
        reduced_chi2=None,
        reason="no single line is resolved: width of the whole emission",
    )


def _figure(found: Decomposition) -> LineFigure:
    fit = found.fit
    background = np.polynomial.polynomial.polyval(fit.window.unit_x, fit.lines.background)
    return LineFigure(
        wavelength_nm=fit.window.wavelength_nm,
        counts=fit.window.counts,
        fitted=fit.lines.curve(fit.model, fit.window),
        line=fit.lines.single(fit.model, fit.window.wavelength_nm, found.target),
        background=np.asarray(background, dtype=np.float64),
    )
