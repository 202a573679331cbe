"""Shape of one chosen peak, and the quality factor of a laser line with the instrument taken out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy
from numpy.typing import NDArray

from labctl.analysis.spectra.background import NoiseModel, noise_model
from labctl.analysis.spectra.bands import Band, band_slice
from labctl.analysis.spectra.lines import (
    FWHM_PER_SIGMA,
    LineModel,
    Lines,
    LineShape,
    MultiFit,
    Window,
    add_line,
    deconvolve_width,
    drop_lines,
    fit_lines,
    solve_areas,
)
from labctl.analysis.spectra.peaks import Peak, find_peaks
from labctl.analysis.spectra.width import widths
from labctl.analysis.statistics import Location, location
from labctl.model.results.sweep import LineFigure, QResult

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_MODEL_ERROR = (
    0.003  # unequal pixels and an imperfectly known slit leave this share of the counts unexplained
)
_MAX_EXTRA_LINES = 3
_HIDDEN_SIGMA = 6.0
_BEND_SIGMA = 6.0
_GOOD_CHI2 = 1.5  # reduced: nothing is missing that matters
_BIC_GAIN = 10.0
_LEAST_GAP = 0.35  # of a FWHM: closer lines cannot be told from one line of another shape


@dataclass(frozen=True, slots=True)
class Decomposition:
    """A fit of all lines around a peak, and the index of the line of the largest area in it."""

    fit: MultiFit
    target: int

    @property
    def is_good(self) -> bool:
        """True when the lines explain the window: nothing is missing that matters."""
        return self.fit.reduced_chi2 < 2 * _GOOD_CHI2

    @property
    def area(self) -> float:
        """Area of the target line, counts nm."""
        return float(self.fit.lines.area[self.target])

    @property
    def centre_nm(self) -> float:
        """Centre of the target line, nm."""
        return float(self.fit.lines.centre_nm[self.target])

    @property
    def fwhm_nm(self) -> float:
        """The target line's own FWHM, the slit taken out, nm."""
        return float(self.fit.lines.width_nm[self.target])

    @property
    def fwhm_sigma_nm(self) -> float:
        """Standard error of ``fwhm_nm`` from the fit, widened where the fit is poor."""
        return float(self.fit.width_sigma_nm[self.target]) * math.sqrt(max(self.fit.reduced_chi2, 1.0))

    @property
    def measured_fwhm_nm(self) -> float:
        """FWHM of the target line as the instrument shows it, nm."""
        return self.fit.model.measured_fwhm_nm(self.fwhm_nm)


def cut_window(
    wavelength_nm: Floats, counts: Floats, noise: Floats, centre_nm: float, half_nm: float
) -> Window:
    """Cut the pixels within ``half_nm`` of a centre, at least 24; noise gains the model's own error."""
    pitch = float(wavelength_nm[-1] - wavelength_nm[0]) / (wavelength_nm.size - 1)
    half = max(half_nm, 12.5 * pitch)
    low, high = np.searchsorted(wavelength_nm, (centre_nm - half, centre_nm + half))
    y = counts[low:high]
    return Window(wavelength_nm[low:high], y, np.hypot(noise[low:high], _MODEL_ERROR * np.abs(y)))


def line_places(wavelength_nm: Floats, counts: Floats, noise: Floats, fwhm_nm: float) -> Floats:
    """Centres (nm) of all lines that the second derivative shows, shoulders included, in rising order.

    :param fwhm_nm: about the FWHM of one line as seen; the spectrum is smoothed with half of it.
    """
    pitch = float(wavelength_nm[-1] - wavelength_nm[0]) / (wavelength_nm.size - 1)
    s = max(0.5 * fwhm_nm / pitch / FWHM_PER_SIGMA, 0.7)
    bend = -scipy.ndimage.gaussian_filter1d(counts, s, order=2, mode="nearest")
    sigma = noise * np.sqrt(3.0 / (8.0 * np.sqrt(np.pi) * s**5))
    least = max(_BEND_SIGMA * float(np.median(sigma)), 0.02 * float(np.max(bend)))
    places, _ = scipy.signal.find_peaks(bend, height=least, prominence=least)
    return np.asarray(wavelength_nm[places[bend[places] > _BEND_SIGMA * sigma[places]]], dtype=np.float64)


def decompose(
    window: Window, guesses: Sequence[tuple[Floats, float]], model: LineModel
) -> Decomposition | None:
    """Fit the lines of a window; None when nothing sensible comes out.

    :param guesses: pairs of where lines start (see ``line_places``) and how wide one is as seen, both nm; the
        next pair is tried when the fit from one leaves something to explain.
    """
    found: list[MultiFit] = []
    starts: list[Lines] = []
    for places_nm, fwhm_nm in guesses:
        start = _first_guess(window, places_nm, fwhm_nm, model)
        if any(np.array_equal(start.centre_nm, other.centre_nm) for other in starts):
            continue
        starts.append(start)
        fit = fit_lines(window, model, start)
        fit = None if fit is None else _without_empty_lines(fit)
        found += [fit] if fit is not None and _sensible(fit) else []
        if fit is not None and fit.reduced_chi2 < _GOOD_CHI2:
            break
    best = min(found, key=lambda f: f.bic, default=None)
    return None if best is None else _largest(best)


def completed(found: Decomposition) -> Decomposition | None:
    """Add lines that no guess held, while they pay; takes about a tenth of a second."""
    return _largest(_without_empty_lines(_complete(found.fit)) or found.fit)


def _complete(fit: MultiFit) -> MultiFit:
    """Add hidden lines while they pay."""
    for _ in range(_MAX_EXTRA_LINES):
        better = _with_hidden_line(fit)
        if better is None:
            break
        fit = better
        if fit.reduced_chi2 < _GOOD_CHI2:
            break
    return fit


def _first_guess(window: Window, places_nm: Floats, fwhm_nm: float, model: LineModel) -> Lines:
    x = window.wavelength_nm
    near = places_nm[(places_nm >= x[0] - 2 * fwhm_nm) & (places_nm <= x[-1] + 2 * fwhm_nm)]
    seen = max(fwhm_nm, 1.05 * model.slit_nm)
    width = max(seen - 0.3 * model.slit_nm, 0.3 * seen)
    return solve_areas(window, model, near, np.full(near.size, width))


def _with_hidden_line(fit: MultiFit) -> MultiFit | None:
    """Put one more line where the residual looks like one, or split the widest; None if neither pays."""
    place = _residual_peak(fit)
    if place is None:
        return None
    starts = [_added(fit, *place)]
    if fit.lines.width_nm.size:
        starts.append(_split(fit, int(np.argmax(fit.lines.width_nm))))
    tried = [fit_lines(fit.window, fit.model, start) for start in starts]
    sound = [t for t in tried if t is not None and _sensible(t)]
    best = min(sound, key=lambda t: t.bic, default=None)
    return best if best is not None and best.bic < fit.bic - _BIC_GAIN else None


def _residual_peak(fit: MultiFit) -> tuple[float, float] | None:
    """Place (nm) and height (counts) of the residual's most line-like rise; None when it is noise."""
    sigma_nm = fit.typical_fwhm_nm / FWHM_PER_SIGMA
    x = fit.window.wavelength_nm
    residual = (fit.window.counts - fit.lines.curve(fit.model, fit.window)) / fit.window.noise
    kernel = np.exp(-0.5 * ((x[:, None] - x[None, :]) / sigma_nm) ** 2)
    power = np.sum(kernel**2, axis=1)
    match = np.sum(kernel * residual, axis=1) / np.sqrt(power)
    best = int(np.argmax(match))
    if not match[best] > _HIDDEN_SIGMA:
        return None
    return float(x[best]), float(match[best] / np.sqrt(power[best]) * fit.window.noise[best])


def _narrowed(fit: MultiFit) -> Lines:
    """The lines, none much wider than is typical: a line that had covered two can only then let go of one."""
    widths = fit.lines.width_nm
    return replace(fit.lines, width_nm=np.minimum(widths, 1.2 * np.median(widths)) if widths.size else widths)


def _added(fit: MultiFit, centre_nm: float, height_counts: float) -> Lines:
    widths = fit.lines.width_nm
    width = float(np.median(widths)) if widths.size else fit.model.slit_nm
    return add_line(_narrowed(fit), centre_nm, height_counts * fit.typical_fwhm_nm * 1.2, width)


def _split(fit: MultiFit, k: int) -> Lines:
    """The lines with line k as two, half of its area each, a third of its width to either side."""
    lines = _narrowed(fit)
    centre, area, width = float(lines.centre_nm[k]), float(lines.area[k]), float(lines.width_nm[k]) * 0.8
    step = fit.model.measured_fwhm_nm(float(fit.lines.width_nm[k])) / 3
    rest = drop_lines(lines, np.arange(lines.area.size) != k)
    return add_line(add_line(rest, centre - step, area / 2, width), centre + step, area / 2, width)


def _sensible(fit: MultiFit) -> bool:
    """No line negative, and no two so close that they only mimic another line shape."""
    gaps = np.diff(np.sort(fit.lines.centre_nm))
    apart = not gaps.size or float(np.min(gaps)) > _LEAST_GAP * fit.typical_fwhm_nm
    return bool(apart and (fit.lines.area > 0).all())


def _without_empty_lines(fit: MultiFit) -> MultiFit | None:
    """Drop lines without light, far outside, or wide as the window (background), and fit the rest again."""
    lines, x = fit.lines, fit.window.wavelength_nm
    span, margin = float(x[-1] - x[0]), 2.5 * fit.typical_fwhm_nm
    inside = (lines.centre_nm > x[0]) & (lines.centre_nm < x[-1])
    largest = float(np.max(lines.area[inside], initial=0.0))
    near = (lines.centre_nm > x[0] - margin) & (lines.centre_nm < x[-1] + margin)
    keep = (lines.area > 0.002 * largest) & (lines.width_nm < 0.5 * span) & near
    if keep.all():
        return fit
    return fit_lines(fit.window, fit.model, drop_lines(lines, keep)) if keep.any() else None


def _largest(fit: MultiFit) -> Decomposition | None:
    """Pick the line of the largest area in the inner part of the window, if it also stands out in height."""
    lines, x = fit.lines, fit.window.wavelength_nm
    edge = 0.15 * float(x[-1] - x[0])
    heights = lines.area / np.array([fit.model.measured_fwhm_nm(float(w)) for w in lines.width_nm])
    inner = (lines.centre_nm > x[0] + edge) & (lines.centre_nm < x[-1] - edge)
    fair = inner & (heights > 0.25 * np.max(heights[inner], initial=0.0)) & np.isfinite(fit.width_sigma_nm)
    if not fair.any():
        return None
    return Decomposition(fit, int(np.argmax(np.where(fair, lines.area, -np.inf))))


_STABLE_SHARE = 0.3  # of the narrow structure's power that two exposures share if positions hold still
_MOST_TRIED = 4  # peaks, from the largest down, until one is fitted well
_RIVAL_SHARE = 0.7  # of the largest area as found: with less, a fit will not make a peak the largest


class LineSearch:
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
        self.positions_hold = self._positions_hold()
        self.peaks: tuple[Peak, ...] = ()

    def exposures(self) -> list[Decomposition]:
        """Fits of the chosen line, one for each exposure in which it succeeds."""
        if self.positions_hold:
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
        """Tell whether two exposures share their narrow structure; True where noise hides the answer.

        Second differences, because lines that are elsewhere at every shot add up to a hump whose flanks every
        exposure shares.
        """
        n = len(self.frames)
        if n < 2:
            return True
        pitch = float(self.wavelength_nm[-1] - self.wavelength_nm[0]) / (self.wavelength_nm.size - 1)
        lag = max(round(self.resolution_nm / pitch), 1)
        steps = self.frames[:, 2 * lag :] - 2.0 * self.frames[:, lag:-lag] + self.frames[:, : -2 * lag]
        noise2 = 6.0 * float(np.mean(self.noise.sigma(self.frames) ** 2))
        power, power_of_mean = float(np.mean(steps**2)), float(np.mean(steps.mean(axis=0) ** 2))
        shared = (n * power_of_mean - power) / (n - 1)  # of two different exposures: free of noise
        own = power - noise2
        return own < 0.3 * noise2 or shared > _STABLE_SHARE * own

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


RESOLUTION_LIMIT = 0.7
"""Above this ratio of resolution to measured FWHM the true width is not given: its error explodes."""

WIDEST_LINE_NM = 1.5
"""A line that looks wider than this is taken for several modes that the instrument runs together."""

_MOVING = "peaks move between exposures, so sums over many pulses are broadened; take single shots"
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
        return "resolution-limited: closely spaced peaks may each be several modes"
    if measured_nm > widest_line_nm:
        return f"wider than {widest_line_nm:g} nm: may be several merged modes"
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
    if not full or top_nm is None or full > _BUMP * search.resolution_nm:
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
