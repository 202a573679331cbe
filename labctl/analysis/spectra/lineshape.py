"""Shape of one chosen peak, and the quality factor of a laser line with the instrument taken out."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.spectra.bands import Band, band_slice
from labctl.analysis.spectra.decompose import Decomposition, completed, cut_window, decompose, line_places
from labctl.analysis.spectra.multiline import LineModel, MultiFit, fit_lines
from labctl.analysis.spectra.noise import NoiseModel, noise_model
from labctl.analysis.spectra.peaks import Peak, find_peaks
from labctl.analysis.spectra.profiles import LineShape, deconvolve_width
from labctl.analysis.spectra.width import widths
from labctl.analysis.statistics import Location, location

__all__ = ["LineFigure", "LineFit", "QResult", "deconvolve_width", "fit_line", "q_factor"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

RESOLUTION_LIMIT = 0.7
"""Above this ratio of resolution to measured FWHM the true width is not given: its error grows without bound."""

WIDEST_LINE_NM = 1.5
"""A line that looks wider than this is taken for several modes that the instrument runs together."""

_WORST_CHI2 = 10.0  # reduced: above it the lines found do not describe the spectrum
_STABLE_SHARE = (
    0.3  # of the exposures' narrow structure that must survive their mean for positions to hold still
)
_MOST_TRIED = 4  # peaks, from the largest down, until one is fitted well
_RIVAL_SHARE = 0.7  # of the largest area as found: with less, a fit will not make a peak the largest
_BUMP = 12.0  # resolutions: an emission broader than this is luminescence, of which Q says nothing
_CROWDED = 3.0  # peaks nearer to each other than this many resolutions may each be several modes


@dataclass(frozen=True, slots=True)
class LineFit:
    """Fit of one peak on a straight background; the FWHM is as measured, resolution included. Errors are 1 sigma."""

    shape: LineShape
    centre_nm: float
    centre_sigma_nm: float
    fwhm_nm: float
    fwhm_sigma_nm: float
    area_counts_nm: float
    reduced_chi2: float


@dataclass(frozen=True, slots=True)
class LineFigure:
    """What a figure of the chosen line needs: arrays of shape ``(pixel,)``, counts of the mean exposure."""

    wavelength_nm: Floats
    counts: Floats
    fitted: Floats
    line: Floats
    background: Floats


@dataclass(frozen=True, slots=True)
class QResult:
    """Quality factor: centre wavelength over FWHM.

    With ``lower_bound`` the line is not resolved: ``value`` is the centre over the MEASURED width, the true Q is at
    least that, and ``reason`` says why. Otherwise ``fwhm_nm`` is the width with the resolution taken out.
    ``sigma`` is one standard error from the scatter of the exposures and the width's fit; the resolution counts as
    exact unless its error was given. ``n_exposures`` is how many exposures the median was taken over.
    """

    value: float
    sigma: float
    wavelength_nm: float
    fwhm_nm: float
    resolution_nm: float
    lower_bound: bool
    n_exposures: int
    measured_fwhm_nm: float
    shape: LineShape
    reduced_chi2: float
    lorentzian_share: float | None = None
    reason: str = ""
    figure: LineFigure | None = field(default=None, compare=False, repr=False)


def fit_line(
    wavelength_nm: Floats,
    counts: Floats,
    shape: LineShape = "gaussian",
    *,
    noise: Floats | float | None = None,
) -> LineFit | None:
    """Fit one peak that stands alone in the given pixels; None when the fit fails.

    :param wavelength_nm: nm, shape ``(pixel,)``, cut to the peak and some background on both sides, at least 8 pixels.
    :param noise: one sigma of a pixel, counts; the scatter about the fit by default.
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
    x = wavelength_nm - wavelength_nm.mean()
    line = kinds[shape]()
    model = line + models.LinearModel(prefix="under_")
    start = line.guess(counts - counts.min(), x=x)
    start.add("under_slope", 0.0)
    start.add("under_intercept", float(counts.min()))
    if shape == "voigt":
        start["gamma"].set(expr="", value=start["sigma"].value, min=0.0, vary=True)
    weights = None if noise is None else 1.0 / np.broadcast_to(noise, counts.shape)
    found = model.fit(counts, start, x=x, weights=weights, scale_covar=noise is None)
    return _line_fit(found, shape, float(wavelength_nm.mean()))


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
) -> QResult | None:
    """Quality factor of the strongest laser line, from repeated exposures above threshold.

    The unsaturated line of the largest AREA is taken (never the narrowest, which noise makes), together with its
    neighbours and the luminescence under them. Where positions hold still the lines are found on the mean exposure and
    fitted again in each exposure; where they are redrawn from exposure to exposure each has its own largest line. The
    median over exposures is given. The line shape, anything from Gaussian to Lorentzian, is fitted behind a Gaussian
    slit, unless stated.

    :param frames: dark-subtracted counts, shape ``(exposure, pixel)`` or ``(pixel,)``, without spikes.
    :param resolution_nm: FWHM of the slit function, nm, > 0.
    :param band: where to look; everywhere by default.
    :param saturated: True where a RAW count was clipped, shape of ``frames``.
    :param resolution_sigma_nm: standard error of the resolution; it is added to ``sigma``.
    :param widest_line_nm: a line seen wider than this is reported as a lower bound, as several modes run together.
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
    search = _Search(
        wavelength_nm[inside], light[usable, inside], clipped[usable, inside], resolution_nm, shape
    )
    found = search.exposures()
    if not found:
        return _whole_emission(search)
    return _conclude(found, search, resolution_sigma_nm, widest_line_nm)


class _Search:
    """The exposures, and the ways to find the chosen line in them."""

    def __init__(
        self,
        wavelength_nm: Floats,
        frames: Floats,
        clipped: Bools,
        resolution_nm: float,
        shape: LineShape | None,
    ) -> None:
        self.wavelength_nm, self.frames, self.clipped = wavelength_nm, frames, clipped
        self.resolution_nm = resolution_nm
        share = {None: 0.5, "gaussian": 0.0, "lorentzian": 1.0, "voigt": 1.0}[shape]
        self.model = LineModel(resolution_nm, share, eta_is_free=shape is None)
        self.noise: NoiseModel = noise_model(frames)
        self.reference: Decomposition | None = None
        self.peaks: tuple[Peak, ...] = ()

    def exposures(self) -> list[Decomposition]:
        """Fits of the chosen line, one for each exposure in which it succeeds."""
        if self._positions_hold():
            mean = self.frames.mean(axis=0)
            self.reference, self.peaks = self._largest(
                mean, len(self.frames), self.clipped.mean(axis=0) > 0.5
            )
            if self.reference is None:
                return []
            if len(self.frames) == 1:
                return [self.reference]
            again = [self._again(i, self.reference) for i in range(len(self.frames))]
            return [d for d in again if d is not None]
        return self._each_alone()

    def _each_alone(self) -> list[Decomposition]:
        found = []
        for frame, clipped in zip(self.frames, self.clipped, strict=True):
            own, peaks = self._largest(frame, 1, clipped)
            if own is not None:
                found.append(own)
                self.peaks = max(self.peaks, peaks, key=len)
                self.reference = max(self.reference or own, own, key=lambda d: d.area)
        return found

    def _positions_hold(self) -> bool:
        """Tell whether the mean keeps the exposures' narrow structure, beyond what noise makes."""
        if len(self.frames) < 3:
            return True
        pitch = float(self.wavelength_nm[-1] - self.wavelength_nm[0]) / (self.wavelength_nm.size - 1)
        lag = max(round(self.resolution_nm / pitch), 1)
        steps = self.frames[:, lag:] - self.frames[:, :-lag]
        noise2 = 2.0 * float(np.mean(self.noise.sigma(self.frames) ** 2))
        single = float(np.mean(steps**2)) - noise2
        joint = float(np.mean(steps.mean(axis=0) ** 2)) - noise2 / len(self.frames)
        return joint > _STABLE_SHARE * single

    def _largest(
        self, counts: Floats, n_averaged: int, clipped: Bools
    ) -> tuple[Decomposition | None, tuple[Peak, ...]]:
        """Largest-area line of one spectrum, and all peaks found in it."""
        sigma = self.noise.sigma(counts) / math.sqrt(n_averaged)
        peaks = find_peaks(self.wavelength_nm, counts, resolution_nm=self.resolution_nm, noise=sigma)
        sound = [p for p in peaks if not _clipped_near(self.wavelength_nm, clipped, p)]
        ranked = sorted(sound, key=lambda p: p.area_counts, reverse=True)[:_MOST_TRIED]
        tried: list[Decomposition] = []
        for peak in ranked:
            good = [d for d in tried if d.is_good]
            if good and peak.area_counts < _RIVAL_SHARE * ranked[0].area_counts:
                break
            if any(abs(d.centre_nm - peak.wavelength_nm) < 0.3 * peak.fwhm_nm for d in good):
                continue
            fitted = self._around(counts, sigma, peak, peaks)
            if fitted is not None:
                tried.append(fitted)
        if tried and not any(d.is_good for d in tried):
            more = completed(min(tried, key=lambda d: d.fit.reduced_chi2))
            tried += [more] if more is not None else []
        return max(tried, key=lambda d: (d.is_good, d.area), default=None), peaks

    def _around(
        self, counts: Floats, sigma: Floats, peak: Peak, peaks: tuple[Peak, ...]
    ) -> Decomposition | None:
        """Largest line of the window around one peak."""
        typical = max(_typical_fwhm(peaks), 1.05 * self.resolution_nm)
        window = cut_window(self.wavelength_nm, counts, sigma, peak.wavelength_nm, 5.0 * typical)
        guesses = [
            (line_places(self.wavelength_nm, counts, sigma, width), width)
            for width in np.maximum([typical, 0.7 * typical, 0.5 * typical], 1.05 * self.resolution_nm)
        ]
        return decompose(window, guesses, self.model)

    def _again(self, exposure: int, seed: Decomposition) -> Decomposition | None:
        """Fit one exposure from the lines of the mean; weak lines keep their place and width."""
        lines, centre, width = seed.fit.lines, seed.centre_nm, seed.measured_fwhm_nm
        x = seed.fit.window.wavelength_nm
        start = int(np.searchsorted(self.wavelength_nm, x[0]))
        cut = slice(start, start + x.size)
        near = np.abs(x - centre) < width
        if self.clipped[exposure, cut][near].any():
            return None
        counts = self.frames[exposure]
        window = cut_window(
            self.wavelength_nm, counts, self.noise.sigma(counts), 0.5 * (x[0] + x[-1]), 0.5 * np.ptp(x)
        )
        beside = np.abs(lines.centre_nm - centre) < 3.0 * width
        held = ~(beside & (lines.area > 0.15 * seed.area))
        held[seed.target] = False
        model = replace(
            seed.fit.model, eta_is_free=False
        )  # one exposure cannot tell the shape as well as the mean
        fit = fit_lines(window, model, lines, held=held)
        return Decomposition(fit, seed.target) if fit is not None and _same_line(fit, seed) else None


def _typical_fwhm(peaks: tuple[Peak, ...]) -> float:
    """Median FWHM of the peaks that hold half of the light; weak ones in flanks look too narrow."""
    ranked = sorted(peaks, key=lambda p: p.area_counts, reverse=True)
    light = np.cumsum([p.area_counts for p in ranked])
    strong = ranked[: int(np.searchsorted(light, 0.5 * light[-1])) + 1]
    all_median = float(np.median([p.fwhm_nm for p in peaks]))
    return min(float(np.median([p.fwhm_nm for p in strong])), 1.5 * all_median)


def _clipped_near(wavelength_nm: Floats, clipped: Bools, peak: Peak) -> bool:
    return bool(clipped[np.abs(wavelength_nm - peak.wavelength_nm) < peak.fwhm_nm].any())


def _same_line(fit: MultiFit, seed: Decomposition) -> bool:
    k = seed.target
    moved = abs(float(fit.lines.centre_nm[k]) - seed.centre_nm)
    ratio = fit.model.measured_fwhm_nm(float(fit.lines.width_nm[k])) / seed.measured_fwhm_nm
    return bool(fit.lines.area[k] > 0 and moved < seed.measured_fwhm_nm and 0.3 < ratio < 3.0)


def _conclude(
    found: list[Decomposition], search: _Search, resolution_sigma_nm: float, widest_line_nm: float
) -> QResult:
    reference = search.reference or found[0]
    centre = float(np.median([d.centre_nm for d in found]))
    measured = float(np.median([d.measured_fwhm_nm for d in found]))
    own = location([d.fwhm_nm for d in found], "median")
    reason = _unresolved(measured, widest_line_nm, reference, search)
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

    What the exposures share (neighbours, background, line shape) does not scatter between them: it comes from the
    covariance of the reference fit.
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


def _unresolved(measured_nm: float, widest_line_nm: float, reference: Decomposition, search: _Search) -> str:
    """Why only a lower bound can be given; empty when the line is resolved."""
    if search.resolution_nm > RESOLUTION_LIMIT * measured_nm:
        return "resolution-limited"
    gaps = np.diff([p.wavelength_nm for p in search.peaks])
    if gaps.size and float(np.median(gaps)) < _CROWDED * search.resolution_nm:
        return "resolution-limited: peaks so close together may each be several modes"
    if measured_nm > widest_line_nm:
        return f"wider than {widest_line_nm:g} nm: may be several modes run together"
    if reference.fit.reduced_chi2 > _WORST_CHI2:
        return f"the lines found do not describe the spectrum (reduced chi-square {reference.fit.reduced_chi2:.0f})"
    return ""


def _whole_emission(search: _Search) -> QResult | None:
    """Bound from the emission's own width where lines have run together into one bump; None where it is broad."""
    mean = search.frames.mean(axis=0)
    if (search.clipped.mean(axis=0) > 0.5).any():
        return None
    full, _, top_nm = widths(search.wavelength_nm, mean)
    if full is None or top_nm is None or full > _BUMP * search.resolution_nm:
        return None
    return QResult(
        value=top_nm / full,
        sigma=0.0,
        wavelength_nm=top_nm,
        fwhm_nm=full,
        resolution_nm=search.resolution_nm,
        lower_bound=True,
        n_exposures=len(search.frames),
        measured_fwhm_nm=full,
        shape=_shape_name(search.model.eta),
        reduced_chi2=math.nan,
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
