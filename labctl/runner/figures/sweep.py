"""The figures of a sweep, as PNG files that stand beside the paper's Fig. 5b-e and 6."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labctl.analysis.evaluation import evaluate
from labctl.data import read_run
from labctl.data.run import Run
from labctl.model.records import FloatArray
from labctl.model.results.modes import Modes, Randomness
from labctl.model.results.sweep import QResult, Threshold
from labctl.runner.figures.base import TITLE_WIDTH, in_figure, labels_235, write
from labctl.runner.figures.lines import lines_figure
from labctl.runner.report import headline_of

_DATA, _FIT, _MARK, _WIDTH = "#1b1e23", "#c8553d", "#2a6f97", "#3f7d4a"


@dataclass(frozen=True, slots=True)
class PeakFit:
    """One lasing peak with its fit; arrays of shape ``(k,)``, widths and positions in nm.

    :param counts: of the mean exposure.
    :param seen_fwhm_nm: the width with the slit in it; ``fwhm_nm`` is that without.
    """

    wavelength_nm: FloatArray
    counts: FloatArray
    fit_wavelength_nm: FloatArray
    fit_counts: FloatArray
    centre_nm: float
    fwhm_nm: float
    seen_fwhm_nm: float
    resolution_nm: float | None
    resolution_said: str
    q: float
    q_sigma: float | None
    lower_bound: bool
    line_shape: str


@dataclass(frozen=True, slots=True)
class RunPicture:
    """What the figures show of a run, in order of acquisition.

    :param fluence_uj_cm2: shape ``(n,)``, as are ``signal`` (counts per pulse), ``signal_sigma`` and
        ``fwhm_nm`` (nan where there is none).
    :param spectra: counts per pulse, shape ``(n, pixel)``.
    :param slope: power of the fluence below the onset, and what is said of it; None where it is not known.
    :param defined: the threshold by each other definition that applies, a line each.
    :param scaled: whether the error of the fluences' scale is stated; else ``ci95`` is marked as lacking it.
    :param curve: fluence, fit, lower and upper edge of its 95 % band, each of shape ``(m,)``.
    """

    sample: str
    convention: str
    band_nm: tuple[float, float]
    wavelength_nm: FloatArray
    spectra: FloatArray
    fluence_uj_cm2: FloatArray
    signal: FloatArray
    signal_sigma: FloatArray
    fwhm_nm: FloatArray
    slope: tuple[float | None, str] = (None, "")
    defined: tuple[str, ...] = ()
    threshold_uj_cm2: float | None = None
    ci95: tuple[float, float] | None = None
    scaled: bool = False
    verdict: str = ""
    curve: tuple[FloatArray, FloatArray, FloatArray, FloatArray] | None = None
    peak: PeakFit | None = None
    modes: Modes | None = None
    randomness: Randomness | None = None

    @property
    def fluence_label(self) -> str:
        """The axis label of a fluence, convention and unit included."""
        return f"Pump fluence, {self.convention} (µJ/cm²)"


def draw_all(picture: RunPicture, stem: Path) -> list[Path]:
    """Write ``<stem>_spectra.png``, ``_threshold.png`` and of a run with lines ``_peak.png``, ``_lines.png``.

    :raises OSError: a file cannot be written.
    """
    if picture.fluence_uj_cm2.size == 0:
        return []
    drawings = [("spectra", spectra_figure), ("threshold", threshold_figure)]
    if picture.peak is not None:
        drawings.append(("peak", peak_figure))
    if picture.modes is not None and picture.modes.modes:
        drawings.append(("lines", _lines))
    written = []
    for name, draw in drawings:
        path = stem.with_name(f"{stem.name}_{name}.png")
        written.append(write(path, partial(draw, picture)))
    return written


def _lines(picture: RunPicture) -> Figure:
    assert picture.modes is not None
    return lines_figure(picture.modes, picture.randomness, picture.sample, picture.fluence_label)


def spectra_figure(picture: RunPicture) -> Figure:
    """Draw spectra at rising fluence: as measured, and stacked with each scaled to its own maximum."""
    figure = Figure(figsize=(9.2, 5.2), layout="constrained")
    measured, stacked = figure.subplots(1, 2, sharex=True)
    shown = _rising(picture, at_most=12)
    colours = _colours(picture, shown)
    low, high = picture.band_nm
    margin = 0.1 * (high - low)
    inside = (picture.wavelength_nm >= low - margin) & (picture.wavelength_nm <= high + margin)
    x = picture.wavelength_nm[inside]
    for place, (index, colour) in enumerate(zip(shown, colours, strict=True)):
        y = picture.spectra[index, inside]
        measured.plot(x, y, color=colour, lw=0.9)
        top = float(np.nanmax(y)) if y.size else 0.0
        stacked.plot(x, place + 0.92 * y / (top if top > 0 else 1.0), color=colour, lw=0.8)
        stacked.text(
            high + margin, place + 0.12, f" {picture.fluence_uj_cm2[index]:.3g}", color=colour, fontsize=8.5
        )
    stacked.text(high + margin, len(shown) + 0.1, " µJ/cm²", fontsize=8.5)
    stacked.spines["right"].set_visible(False)
    measured.spines["right"].set_visible(False)
    measured.set_xlim(low - margin, high + margin)
    measured.set(xlabel="Wavelength (nm)", ylabel="Emission (counts per pulse)", title="as measured")
    stacked.set(xlabel="Wavelength (nm)", ylabel="Emission, normalised to its maximum", yticks=[])
    stacked.set_title(f"{picture.convention} fluence beside each spectrum; red: above the onset")
    figure.suptitle(f"{picture.sample}: emission at rising pump fluence")
    return figure


def threshold_figure(picture: RunPicture) -> Figure:
    """Draw the light-light curve, linear and in double logarithm, and the linewidth that collapses."""
    figure = Figure(figsize=(12.4, 4.2), layout="constrained")
    linear, double, width = figure.subplots(1, 3)
    for axes in (linear, double):
        _light_light(axes, picture)
    linear.set_xlim(left=0)
    linear.legend(loc="upper left")
    _double_logarithm(double, picture)
    _mark_threshold(width, picture)
    if picture.defined:
        text, at = "\n".join(picture.defined), width.transAxes
        width.text(
            0.98, 0.5, text, transform=at, ha="right", va="center", fontsize=7.5, backgroundcolor="white"
        )
    width.plot(picture.fluence_uj_cm2, picture.fwhm_nm, "s", ms=4, mfc="white", color=_WIDTH)
    width.set(xlabel=picture.fluence_label, ylabel="FWHM of the emission (nm)", xlim=(0, None))
    if np.isfinite(picture.fwhm_nm).any():
        width.set_yscale("log")
        width.yaxis.set_major_formatter("{x:g}")
        width.yaxis.set_minor_formatter(labels_235)
    for axes in (linear, double, width):
        axes.spines["right"].set_visible(False)
    title = f"{picture.sample}: {picture.verdict}" if picture.verdict else picture.sample
    figure.suptitle("\n".join(textwrap.wrap(title, TITLE_WIDTH)))
    return figure


def peak_figure(picture: RunPicture) -> Figure:
    """Draw one lasing peak with its fit, its width and the width the spectrometer itself has."""
    peak = picture.peak
    assert peak is not None
    figure = Figure(figsize=(5.2, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(peak.wavelength_nm, peak.counts, "o", ms=4, mfc="none", color=_DATA, label="measured")
    axes.plot(
        peak.fit_wavelength_nm,
        peak.fit_counts,
        color=_FIT,
        lw=1.6,
        label=f"{peak.line_shape.capitalize()} fit",
    )
    base, top = float(np.min(peak.fit_counts)), float(np.max(peak.fit_counts))
    half = 0.5 * (base + top)
    left, right = peak.centre_nm - peak.seen_fwhm_nm / 2, peak.centre_nm + peak.seen_fwhm_nm / 2
    axes.annotate(
        "", (left, half), (right, half), arrowprops={"arrowstyle": "<->", "color": _MARK, "lw": 1.2}
    )
    if peak.resolution_nm:
        foot = base - 0.06 * (top - base)
        ends = (peak.centre_nm - peak.resolution_nm / 2, peak.centre_nm + peak.resolution_nm / 2)
        axes.plot(ends, (foot, foot), color="0.45", lw=3, solid_capstyle="butt")
        axes.text(
            ends[1],
            foot,
            f"  resolution {peak.resolution_nm:.2f} nm",
            va="center",
            fontsize=8.5,
            color="0.35",
        )
    axes.text(0.97, 0.96, _peak_text(peak), transform=axes.transAxes, ha="right", va="top")
    axes.spines["right"].set_visible(False)
    axes.set(
        xlabel="Wavelength (nm)",
        ylabel="Emission (counts per exposure)",
        title=f"{picture.sample}: one lasing peak",
    )
    axes.legend(loc="upper left")
    return figure


def _peak_text(peak: PeakFit) -> str:
    spread = f" ± {peak.q_sigma:.0f}" if peak.q_sigma is not None and not peak.lower_bound else ""
    resolution = peak.resolution_said.replace("+-", "±")
    lines = (
        f"Q {'≥' if peak.lower_bound else '='} {peak.q:.0f}{spread}",
        f"λ = {peak.centre_nm:.2f} nm",
        f"FWHM {peak.fwhm_nm:.3f} nm",
        f"(measured {peak.seen_fwhm_nm:.3f} nm,",
        f"resolution {resolution})",
    )
    return "\n".join(lines)


def _rising(picture: RunPicture, at_most: int) -> Sequence[int]:
    """Indices of at most ``at_most`` points, evenly chosen in order of fluence."""
    order = np.argsort(picture.fluence_uj_cm2, kind="stable")
    chosen = np.unique(np.linspace(0, order.size - 1, min(at_most, order.size)).round().astype(int))
    return [int(order[i]) for i in chosen]


def _colours(picture: RunPicture, shown: Sequence[int]) -> list[tuple[float, float, float, float]]:
    """Blue below the threshold and red above it, deeper with the distance from it."""
    fluence = picture.fluence_uj_cm2[list(shown)]
    at = picture.threshold_uj_cm2
    if at is None:
        return [tuple(c) for c in mpl.colormaps["viridis"](np.linspace(0.05, 0.85, len(shown)))]
    below, above = fluence < at, fluence >= at
    shade = np.empty((len(shown), 4))
    shade[below] = mpl.colormaps["Blues"](np.linspace(0.9, 0.5, int(below.sum())))
    shade[above] = mpl.colormaps["Reds"](np.linspace(0.5, 0.95, int(above.sum())))
    return [tuple(c) for c in shade]


def _light_light(axes: Axes, picture: RunPicture) -> None:
    axes.errorbar(
        picture.fluence_uj_cm2,
        picture.signal,
        yerr=np.abs(picture.signal_sigma),
        fmt="o",
        ms=4,
        mfc="white",
        color=_DATA,
        lw=0.9,
        label="measured",
        zorder=3,
    )
    if picture.curve is not None:
        x, best, low, high = picture.curve
        axes.plot(x, best, color=_FIT, lw=1.5, label="fit", zorder=2)
        axes.fill_between(x, low, high, color=_FIT, alpha=0.18, lw=0, zorder=1)
    _mark_threshold(axes, picture)
    axes.set(xlabel=picture.fluence_label, ylabel="Integrated emission (counts per pulse)")


def _mark_threshold(axes: Axes, picture: RunPicture) -> None:
    first = None if picture.modes is None else picture.modes.first
    if (
        first is not None
        and first.ci95 is not None
        and (picture.ci95 is None or first.ci95[1] < picture.ci95[0])
    ):
        axes.axvspan(*first.ci95, color=_WIDTH, alpha=0.22, lw=0, zorder=0)
        label = f"first mode {first.onset_uj_cm2:.4g} µJ/cm²"
        axes.axvline(first.onset_uj_cm2 or 0.0, color=_WIDTH, lw=1.0, zorder=1, label=label)
    if picture.threshold_uj_cm2 is None:
        return
    label = f"onset {picture.threshold_uj_cm2:.4g} µJ/cm²"
    if picture.ci95 is not None:
        axes.axvspan(*picture.ci95, color=_MARK, alpha=0.22, lw=0, zorder=0)
        label += f"\n95 %: {picture.ci95[0]:.4g} – {picture.ci95[1]:.4g}"
        label += "" if picture.scaled else "\nstatistical only"
    axes.axvline(picture.threshold_uj_cm2, color=_MARK, lw=1.0, zorder=1, label=label)


def _double_logarithm(axes: Axes, picture: RunPicture) -> None:
    good = (picture.fluence_uj_cm2 > 0) & (picture.signal > 0)
    if not good.any():
        return
    f, y = picture.fluence_uj_cm2[good], picture.signal[good]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(f.min() / 1.15, f.max() * 1.15)
    axes.set_ylim(y.min() / 2, y.max() * 2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(labels_235)
    first = int(np.argmin(f))
    slope, said = picture.slope
    if slope is not None:
        axes.plot(f, y[first] * (f / f[first]) ** slope, ls=":", lw=1, color="0.5", label=said, zorder=0)
    axes.legend(loc="upper left")


def draw_run(path: Path) -> list[Path]:
    """Draw the figures of a run file beside it and return their paths.

    :raises DataError: the file cannot be read.
    :raises OSError: a figure cannot be written.
    """
    return draw_all(picture_of(read_run(path)), path.with_suffix(""))


def picture_of(run: Run) -> RunPicture:
    """Collect what the figures of a run show."""
    facts = run.facts
    result = evaluate(run, run.plan, facts)
    threshold, points = result.threshold, result.threshold.points
    bands = facts.edits.bands or run.bands
    assert points is not None
    curve = threshold.curve
    return RunPicture(
        sample=in_figure(run.start.sample),
        convention=run.start.convention,
        band_nm=bands.emission_nm,
        wavelength_nm=run.wavelength_nm,
        spectra=run.spectra,
        fluence_uj_cm2=points.fluence_uj_cm2,
        signal=points.signal,
        signal_sigma=points.signal_sigma,
        fwhm_nm=points.fwhm_nm,
        slope=_slope(threshold),
        defined=tuple(
            f"{d.label.partition(',')[0]} {d.value_uj_cm2:.4g} ({d.ci95[0]:.4g} – {d.ci95[1]:.4g})"
            for d in result.definitions[1:]
            if d.value_uj_cm2 is not None and d.ci95 is not None
        ),
        threshold_uj_cm2=threshold.threshold_uj_cm2,
        ci95=threshold.ci95,
        scaled=threshold.scale_rel is not None,
        verdict="; ".join(
            part for part in (headline_of(result), threshold.reason.replace("uJ/cm2", "µJ/cm²")) if part
        ),
        curve=None if curve is None else (curve.fluence_uj_cm2, curve.signal, curve.low, curve.high),
        peak=None if result.q is None else _peak(result.q),
        modes=result.modes,
        randomness=result.randomness,
    )


def _slope(threshold: Threshold) -> tuple[float | None, str]:
    """Return the power of the luminescence, and its interval in words."""
    if threshold.exponent is None or threshold.exponent_ci95 is None:
        return None, ""
    low, high = threshold.exponent_ci95
    return threshold.exponent, f"slope {threshold.exponent:.2f} ({low:.2f} – {high:.2f})"


def _peak(q: QResult) -> PeakFit | None:
    figure = q.figure
    if figure is None:
        return None
    near = np.abs(figure.wavelength_nm - q.wavelength_nm) <= 3 * q.measured_fwhm_nm
    return PeakFit(
        wavelength_nm=figure.wavelength_nm[near],
        counts=figure.counts[near],
        fit_wavelength_nm=figure.wavelength_nm[near],
        fit_counts=figure.fitted[near],
        centre_nm=q.wavelength_nm,
        fwhm_nm=q.fwhm_nm,
        seen_fwhm_nm=q.measured_fwhm_nm,
        resolution_nm=q.resolution_nm,
        resolution_said=q.resolution_said,
        q=q.value,
        q_sigma=q.sigma if math.isfinite(q.sigma) else None,
        lower_bound=q.lower_bound,
        line_shape=q.shape,
    )
