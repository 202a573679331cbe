"""Taking a crowded spectrum apart: which lines there are around a strong peak.

The second derivative, which shows shoulders as well as peaks, says where lines start; all are fitted
together; what the fit leaves over starts further lines, as long as the Bayesian information criterion pays
for them. A line hidden in its neighbour would otherwise widen it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from labctl.analysis.spectra.multiline import (
    LineModel,
    Lines,
    MultiFit,
    Window,
    add_line,
    drop_lines,
    fit_lines,
    solve_areas,
)
from labctl.analysis.spectra.profiles import FWHM_PER_SIGMA

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
    bend = -ndimage.gaussian_filter1d(counts, s, order=2, mode="nearest")
    sigma = noise * np.sqrt(3.0 / (8.0 * np.sqrt(np.pi) * s**5))
    least = max(_BEND_SIGMA * float(np.median(sigma)), 0.02 * float(np.max(bend)))
    places, _ = signal.find_peaks(bend, height=least, prominence=least)
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
