"""The figures of a run, as PNG files that stand beside the paper's Fig. 5b-e and 6.

Drawn without pyplot and without a window, so that any thread of any program may call them.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from labctl.analysis.evaluation import evaluate
from labctl.analysis.evaluation.comparison import compared
from labctl.analysis.evaluation.stability import Stability
from labctl.analysis.fading import DecayFit
from labctl.data import read_run
from labctl.data.run import Run
from labctl.model.modes import Modes, Randomness
from labctl.model.records import FloatArray
from labctl.model.results import QResult, Threshold
from labctl.model.untrusted import printable
from labctl.runner.line_figures import lines_figure
from labctl.runner.refit import report_of
from labctl.runner.report import comparison_lines, duration, headline_of, percent
from labctl.runner.stability import PROCEDURE_ID, refit_stability

STYLE: Any = {
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.linewidth": 0.8,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "legend.frameon": True,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "none",
    "legend.fontsize": 8.5,
    "savefig.dpi": 160,
}
"""How every figure looks."""
_DATA, _FIT, _MARK, _WIDTH = "#1b1e23", "#c8553d", "#2a6f97", "#3f7d4a"
_TITLE_WIDTH = 140
"""Characters of a line of the widest figure's title."""


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
        with mpl.rc_context(STYLE):
            figure = draw(picture)
            FigureCanvasAgg(figure)
            figure.savefig(path, format="png")
        written.append(path)
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


def in_figure(text: str) -> str:
    """Return a text that others wrote as matplotlib takes it literally: printable, and no formula."""
    return printable(text).replace("$", r"\$")


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
        width.yaxis.set_minor_formatter(_labels_235)
    for axes in (linear, double, width):
        axes.spines["right"].set_visible(False)
    title = f"{picture.sample}: {picture.verdict}" if picture.verdict else picture.sample
    figure.suptitle("\n".join(textwrap.wrap(title, _TITLE_WIDTH)))
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


def _labels_235(value: float, _position: float) -> str:
    """Label 2, 3 and 5 of each decade of a logarithmic axis."""
    return f"{value:g}" if f"{value:.0e}"[0] in "235" else ""


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
    axes.xaxis.set_minor_formatter(_labels_235)
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


_MEASURED, _FITTED, _WARM, _LATE = "#1b1e23", "#c8553d", "#b8860b", "#2a6f97"
_AT_ENDS = 0.05  # of the points, averaged into the first and the last spectrum


def draw_stability(path: Path) -> Path:
    """Draw the figure of a run file beside it, ``<run>_stability.png``.

    :raises DataError: it is no stability run, or cannot be read.
    :raises CalibrationRefused: there is nothing to fit.
    :raises OSError: the figure cannot be written.
    """
    run = read_run(path)
    measured, fit = refit_stability(run)
    out = path.with_name(f"{path.stem}_stability.png")
    with mpl.rc_context(STYLE):
        figure = stability_figure(run, measured, fit)
        FigureCanvasAgg(figure)
        figure.savefig(out, format="png")
    return out


def stability_figure(run: Run, measured: Stability, fit: DecayFit) -> Figure:
    """Draw light with its fit, residuals in standard errors, and the spectra of beginning and end."""
    figure = Figure(figsize=(10.4, 5.2), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(3, 1), width_ratios=(3, 2))
    light = figure.add_subplot(grid[0, 0])
    rest = figure.add_subplot(grid[1, 0], sharex=light)
    spectra = figure.add_subplot(grid[:, 1])
    unit, size = _unit(float(measured.time_s[-1]))
    _light(light, measured, fit, size)
    _rest(rest, measured, fit, size)
    light.tick_params(labelbottom=False)
    rest.set(xlabel=f"Time ({unit})", ylabel="Residual / error")
    _temperature(light, run, measured.time_s / size)
    _spectra(spectra, run, measured)
    value, sigma = _retained(run, fit)
    fluence = float(np.median(measured.fluence_uj_cm2[measured.usable]))
    figure.suptitle(
        f"{in_figure(run.start.sample)}: {percent(value, sigma).replace('+-', '±')} remaining after "
        f"{duration(float(measured.time_s[-1]))} at {fluence:.4g} µJ/cm² ({run.start.convention})"
    )
    return figure


def _retained(run: Run, fit: DecayFit) -> tuple[float, float]:
    """What the run's own result says is left; it weighs in the shapes that were not drawn."""
    stored = run.result.stability
    retained = fit.retained if stored is None or stored.retained is None else stored.retained
    return retained.value, retained.sigma


def _unit(seconds: float) -> tuple[str, float]:
    return ("s", 1.0) if seconds < 300 else ("min", 60.0) if seconds < 3 * 3600 else ("h", 3600.0)


def _light(axes: Axes, measured: Stability, fit: DecayFit, size: float) -> None:
    used = measured.usable
    axes.errorbar(
        measured.time_s[used] / size,
        measured.light[used],
        measured.sigma[used],
        fmt="o",
        ms=3,
        lw=0.7,
        color=_MEASURED,
        mfc="white",
        label="measured",
    )
    if (~used).any():
        axes.plot(measured.time_s[~used] / size, measured.light[~used], "x", color="0.6", label="left out")
    fine = np.linspace(0.0, float(measured.time_s[-1]), 400)
    axes.plot(fine / size, measured.fitted_at(fit, fine), color=_FITTED, lw=1.6, zorder=3, label=_label(fit))
    axes.set_ylim(
        min(0.0, 1.1 * float(measured.light[used].min())), 1.08 * max(float(measured.light[used].max()), 1.0)
    )
    axes.set_ylabel("Emission relative to the first points")
    _legend_above(axes)


def _legend_above(axes: Axes) -> None:
    """Put the legend over the axes, where it hides no point."""
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, framealpha=0.0, borderaxespad=0.2)


def _label(fit: DecayFit) -> str:
    if fit.miss is not None:
        return (
            f"{fit.model} exponential, the best that was tried:\nmisses the points by "
            f"{100 * fit.miss.typical_rel:.2g} % of the start; no lifetime"
        )
    lines = [f"{fit.model} exponential{' and a constant' if fit.constant else ''}"]
    for name, value in (
        ("amplitude-weighted", fit.amplitude_lifetime_s),
        ("intensity-weighted", fit.intensity_lifetime_s),
    ):
        if value is not None:
            lifetime = duration(value.value, value.sigma).replace("+-", "±")
            lines.append(f"{name} mean lifetime {lifetime}")
    if "no_mixture" in fit.flags:
        lines.append("begins late, as no mixture of decays does; no lifetime")
    if fit.lower_bound_s is not None:
        lines.append(f"no decay seen: lifetime above {duration(fit.lower_bound_s)}")
    return "\n".join(lines)


def _rest(axes: Axes, measured: Stability, fit: DecayFit, size: float) -> None:
    used = measured.usable
    time = measured.time_s[used]
    off = (measured.light[used] - measured.fitted_at(fit, time)) / measured.sigma[used]
    axes.axhspan(-1.96, 1.96, color="0.93", lw=0)
    axes.axhline(0.0, color=_FITTED, lw=1.0)
    axes.plot(time / size, off, "o", ms=2.6, color=_MEASURED)
    reach = max(3.0, 1.1 * float(np.abs(off).max()))
    axes.set_ylim(-reach, reach)
    axes.spines["right"].set_visible(False)


def _temperature(axes: Axes, run: Run, time: FloatArray) -> None:
    """Show the sample's temperature, where it was measured."""
    listed = run.facts.sample_temperature_c
    known = [np.nan if t is None else t for t in listed]
    if len(known) != time.size or not np.isfinite(known).any():
        axes.spines["right"].set_visible(False)
        return
    beside = axes.twinx()
    beside.plot(time, known, color=_WARM, lw=1.0, alpha=0.6)
    middle, half = float(np.nanmean(known)), max(2.0, 1.5 * float(np.nanmax(known) - np.nanmin(known)))
    beside.set_ylim(middle - half, middle + half)
    beside.set_ylabel("Sample temperature (°C)", color=_WARM)


def _spectra(axes: Axes, run: Run, measured: Stability) -> None:
    used = np.flatnonzero(measured.usable)
    count = max(round(_AT_ENDS * used.size), 1)
    spectra = run.spectra
    low, high = run.bands.emission_nm
    margin = 0.1 * (high - low)
    inside = (run.wavelength_nm >= low - margin) & (run.wavelength_nm <= high + margin)
    for which, name, colour in ((used[:count], "first", _MEASURED), (used[-count:], "last", _LATE)):
        shown = np.nanmean(spectra[which][:, inside], axis=0)
        axes.plot(run.wavelength_nm[inside], shown, color=colour, lw=0.9, label=f"{name} {count} points")
    axes.set(
        xlabel="Wavelength (nm)", ylabel="Emission (counts per pulse)", xlim=(low - margin, high + margin)
    )
    axes.spines["right"].set_visible(False)
    axes.legend(loc="upper right")


_COLOURS = ("#2a6f97", "#c8553d", "#3f7d4a", "#8a5a9e", "#b8860b", "#1b1e23")
_MARKERS = "osD^vP"


def draw_compared(paths: Sequence[Path]) -> list[Path]:
    """Draw runs of several samples together, beside the first of their files.

    ``<first run>_thresholds_compared.png`` holds the light-light curves of two sweeps or more,
    ``<first run>_stability_compared.png`` the light over time of two stability runs or more.

    :param paths: run files; only as many as can be told apart are drawn, six of a kind.
    :raises DataError: a file cannot be read.
    :raises OSError: a figure cannot be written.
    """
    runs = [read_run(path) for path in paths]
    kinds = {
        "thresholds": ([r for r in runs if r.start.procedure != PROCEDURE_ID], thresholds_figure),
        "stability": ([r for r in runs if r.start.procedure == PROCEDURE_ID], retained_figure),
    }
    written = []
    for name, (own, draw) in kinds.items():
        if len(own) < 2:
            continue
        out = own[0].path.with_name(f"{own[0].path.stem}_{name}_compared.png")
        with mpl.rc_context(STYLE):
            figure = draw(own[: len(_COLOURS)])
            FigureCanvasAgg(figure)
            figure.savefig(out, format="png")
        written.append(out)
    return written


def _name(run: Run) -> str:
    spot = f", spot {run.start.spot}" if run.start.spot else ""
    return in_figure(f"{run.start.sample}{spot}")


def thresholds_figure(runs: Sequence[Run]) -> Figure:
    """Draw several light-light curves in double logarithm, each with its fit, threshold and interval."""
    figure = Figure(figsize=(8.6, 5.4), layout="constrained")
    axes = figure.subplots()
    conventions = list(dict.fromkeys(run.start.convention for run in runs))
    for run, colour, marker in zip(runs, _COLOURS, _MARKERS, strict=False):
        picture = picture_of(run)
        good = (picture.fluence_uj_cm2 > 0) & (picture.signal > 0)
        x, y, error = (a[good] for a in (picture.fluence_uj_cm2, picture.signal, picture.signal_sigma))
        label = f"{_name(run)}: {picture.verdict.partition(';')[0]}"
        axes.errorbar(x, y, np.abs(error), fmt=marker, ms=4, mfc="white", color=colour, lw=0.8, label=label)
        if picture.curve is not None:
            axes.plot(*picture.curve[:2], color=colour, lw=1.3, alpha=0.8)
        if picture.threshold_uj_cm2 is not None and picture.ci95 is not None:
            axes.axvspan(*picture.ci95, color=colour, alpha=0.2, lw=0, zorder=0)
            axes.axvline(picture.threshold_uj_cm2, color=colour, lw=1.0, zorder=1)
    axes.set(xscale="log", yscale="log", ylabel="Integrated emission (counts per pulse)")
    axes.set_xlabel(f"Pump fluence, {' and '.join(conventions)} (µJ/cm²)")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(_labels_235)
    axes.spines["right"].set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), framealpha=0.0)
    figure.suptitle(_compared_title(runs) or "light-light curves")
    return figure


def retained_figure(runs: Sequence[Run]) -> Figure:
    """Draw the light of several stability runs over time, and beside it what each kept, with its interval."""
    figure = Figure(figsize=(10.4, 4.8), layout="constrained")
    light, kept = figure.subplots(1, 2, width_ratios=(3, 1))
    fits = [refit_stability(run) for run in runs]
    unit, size = _unit(max(float(measured.time_s[-1]) for measured, _ in fits))
    for place, (run, (measured, fit)) in enumerate(zip(runs, fits, strict=True)):
        colour, used, time = _COLOURS[place], measured.usable, measured.time_s / size
        light.errorbar(
            time[used], measured.light[used], measured.sigma[used],
            fmt=_MARKERS[place], ms=3.2, lw=0.6, mfc="white", color=colour,
            label=_run_label(run, measured, fit),
        )  # fmt: skip
        fine = np.linspace(0.0, float(measured.time_s[-1]), 400)
        style = "-" if fit.miss is None else ":"
        light.plot(fine / size, measured.fitted_at(fit, fine), style, color=colour, lw=1.3)
        share = fit.retained
        arms = [[100 * max(share.value - share.low, 0)], [100 * max(share.high - share.value, 0)]]
        kept.errorbar([place], [100 * share.value], arms, fmt=_MARKERS[place], color=colour, capsize=4)
        said = percent(share.value, share.sigma).replace("+-", "±")
        kept.annotate(
            said, (place, 100 * share.value), (9, 0), textcoords="offset points", va="center", fontsize=8.5
        )
    light.set_ylim(bottom=min(0.0, light.get_ylim()[0]))
    light.set(xlabel=f"Time ({unit})", ylabel="Emission relative to the first points")
    light.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), framealpha=0.0)
    kept.set(xlim=(-0.4, len(runs)), ylabel="Remaining at the end (%), with 95 % interval")
    kept.set_ylim(min(0.0, kept.get_ylim()[0]), 1.1 * kept.get_ylim()[1])
    kept.set_xticks(range(len(runs)), [_name(run) for run in runs])
    for axes in (light, kept):
        axes.spines["right"].set_visible(False)
    figure.suptitle(_compared_title(runs) or "emission over time")
    return figure


def _run_label(run: Run, measured: Stability, fit: DecayFit) -> str:
    fluence = float(np.median(measured.fluence_uj_cm2[measured.usable]))
    known = [t for t in run.facts.sample_temperature_c if t is not None]
    warm = f" and {np.mean(known):.1f} °C" if known else ""
    missed = "; no decay fits (dotted: the nearest)" if fit.miss else ""
    ends = duration(float(measured.time_s[-1]))
    return f"{_name(run)}: {ends} at {fluence:.4g} µJ/cm²{warm}{missed}"


def _compared_title(runs: Sequence[Run]) -> str:
    """What the runs say together, without what it rests on."""
    lines = comparison_lines(compared([report_of(run).compared for run in runs]))
    heads = [line.partition(";")[0] for line in lines if not line.startswith("of the scales")]
    return "\n".join(textwrap.fill(in_figure(line), 2 * _TITLE_WIDTH // 3) for line in heads[:3])
