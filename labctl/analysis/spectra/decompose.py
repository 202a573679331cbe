"""Taking a crowded spectrum apart: which lines there are around a strong peak, and which line shape they have.

Peaks found by eye of ``find_peaks`` start a joint fit; what the fit leaves over starts further lines, as long as the
Bayesian information criterion thanks for them. A line hidden in its neighbour would otherwise widen it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.spectra.multiline import Lines, LineModel, MultiFit, Window, add_line, drop_lines, fit_lines
from labctl.analysis.spectra.peaks import Peak
from labctl.analysis.spectra.profiles import FWHM_PER_SIGMA, LineShape

Floats = NDArray[np.float64]

_MODEL_ERROR = 0.003  # unequal pixels and an imperfectly known slit leave this share of the counts unexplained
_MAX_EXTRA_LINES = 4
_HIDDEN_SIGMA = 6.0
_BIC_GAIN = 10.0


@dataclass(frozen=True, slots=True)
class Decomposition:
    """A fit of all lines around a peak, and the index of the line that is the largest in it."""

    fit: MultiFit
    target: int

    @property
    def area(self) -> float:
        """Area of the target line, counts nm."""
        return float(self.fit.lines.area[self.target])

    @property
    def centre_nm(self) -> float:
        """Centre of the target line, nm."""
        return float(self.fit.lines.centre_nm[self.target])

    @property
    def measured_fwhm_nm(self) -> float:
        """FWHM of the target line as the instrument shows it, nm."""
        return self.fit.model.measured_fwhm_nm(float(self.fit.lines.width_nm[self.target]))


def cut_window(wavelength_nm: Floats, counts: Floats, noise: Floats, centre_nm: float, half_nm: float) -> Window:
    """Cut the pixels within ``half_nm`` of a centre, at least 24 of them; noise gains the model's own error."""
    pitch = float(wavelength_nm[-1] - wavelength_nm[0]) / (wavelength_nm.size - 1)
    half = max(half_nm, 12.5 * pitch)
    low, high = np.searchsorted(wavelength_nm, (centre_nm - half, centre_nm + half))
    y = counts[low:high]
    return Window(wavelength_nm[low:high], y, np.hypot(noise[low:high], _MODEL_ERROR * np.abs(y)))


def decompose(window: Window, peaks: tuple[Peak, ...], slit_nm: float, shape: LineShape) -> Decomposition | None:
    """Fit the lines of a window with one shape; None when nothing sensible comes out."""
    model = LineModel(shape, slit_nm)
    fit = fit_lines(window, model, _first_guess(window, peaks, model))
    for _ in range(_MAX_EXTRA_LINES):
        if fit is None:
            return None
        better = _with_hidden_line(fit)
        if better is None:
            break
        fit = better
    fit = _without_empty_lines(fit) if fit is not None else None
    return None if fit is None else _largest(fit)


def _first_guess(window: Window, peaks: tuple[Peak, ...], model: LineModel) -> Lines:
    x = window.wavelength_nm
    margin = float(np.median([p.fwhm_nm for p in peaks])) if peaks else 0.0
    near = [p for p in peaks if x[0] - margin <= p.wavelength_nm <= x[-1] + margin]
    measured = max(float(np.median([p.fwhm_nm for p in near])) if near else 0.0, 1.05 * model.slit_nm)
    width = measured if model.shape == "gaussian" else max(measured - 0.5 * model.slit_nm, 0.3 * measured)
    floor = float(np.min(window.counts))
    return Lines(
        area=np.array([max(p.height_counts, 1e-9) * measured * 1.2 for p in near]),
        centre_nm=np.array([p.wavelength_nm for p in near]),
        width_nm=np.full(len(near), width),
        background=np.array([floor] + [0.0] * model.background_order),
    )


def _with_hidden_line(fit: MultiFit) -> MultiFit | None:
    """Put one more line where the residual looks most like one; None when it does not pay."""
    window, model, lines = fit.window, fit.model, fit.lines
    width = float(np.median(lines.width_nm)) if lines.width_nm.size else 1.5 * model.slit_nm
    sigma_nm = model.measured_fwhm_nm(width) / FWHM_PER_SIGMA
    x = window.wavelength_nm
    residual = (window.counts - lines.curve(model, window)) / window.noise
    kernel = np.exp(-0.5 * ((x[:, None] - x[None, :]) / sigma_nm) ** 2)
    match = (kernel @ residual) / np.sqrt((kernel**2).sum(axis=1))
    best = int(np.argmax(match))
    if not match[best] > _HIDDEN_SIGMA:
        return None
    height = float(match[best] / np.sqrt((kernel[best] ** 2).sum()) * window.noise[best])
    more = add_line(lines, float(x[best]), height * sigma_nm * 2.5, width)
    tried = fit_lines(window, model, more)
    if tried is None or not _sensible(tried, len(lines.area)):
        return None
    return tried if tried.bic < fit.bic - _BIC_GAIN else None


def _sensible(fit: MultiFit, k: int) -> bool:
    x = fit.window.wavelength_nm
    inside = x[0] <= fit.lines.centre_nm[k] <= x[-1]
    return bool(inside and fit.lines.area[k] > 0 and fit.lines.width_nm[k] < x[-1] - x[0])


def _without_empty_lines(fit: MultiFit) -> MultiFit | None:
    """Drop lines without light, or wider than the window (they are background), and fit the rest again."""
    lines, span = fit.lines, float(np.ptp(fit.window.wavelength_nm))
    largest = float(np.max(lines.area, initial=0.0))
    keep = (lines.area > 0.002 * largest) & (lines.width_nm < 0.5 * span)
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
