"""The figures of a sweep, which stand beside the paper's Fig. 5b-e and 6."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from labctl.analysis.evaluation import evaluate
from labctl.data import read_run
from labctl.data.run import Run
from labctl.model.records import FloatArray
from labctl.model.results.modes import Modes, Randomness
from labctl.model.results.shot_statistics import ShotStatistics
from labctl.model.results.sweep import BandThreshold, QResult, SweepResult, Threshold
from labctl.model.results.verdict import Definition
from labctl.runner.figures.base import SCREEN, TITLE_WIDTH, Layout, in_figure, outline, write
from labctl.runner.figures.light_light import Residuals, threshold_panels
from labctl.runner.figures.lines import lines_figure
from labctl.runner.figures.shots import shots_figure
from labctl.runner.report import headline_of
from labctl.runner.wording import UNIT, typographic

Draw = Callable[[Layout], Figure]
_DATA, _FIT, _MARK = "#1b1e23", "#c8553d", "#2a6f97"
_INSIDE = (0.35, 0.35, 0.35, 1.0)


@dataclass(frozen=True, slots=True)
class PeakFit:
    """One lasing peak with its fit; arrays of shape ``(k,)``, widths and positions in nm.

    :param counts: in ``unit``, "counts per pulse", or "counts per exposure" where the file lacks the pulses.
    :param seen_fwhm_nm: the width with the slit in it; ``fwhm_nm`` is that without.
    """

    wavelength_nm: FloatArray
    counts: FloatArray
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
    unit: str


@dataclass(frozen=True, slots=True)
class RunPicture:
    """What the figures show of a run, in order of acquisition.

    :param fluence_uj_cm2: shape ``(n,)``, as are its relative error ``fluence_sigma_rel``, ``signal`` (counts
        per pulse), ``signal_sigma`` and ``fwhm_nm`` (nan where there is none).
    :param spectra: counts per pulse, shape ``(n, pixel)``.
    :param slope: power of the fluence below the onset, and what is said of it; None where it is not known.
    :param defined: the threshold by each other definition that applies: name, value, 95 % interval.
    :param scaled: whether the error of the fluences' scale is stated; else ``ci95`` is marked as lacking it.
    :param curve: fluence, fit, lower and upper edge of its 95 % band, each of shape ``(m,)``.
    :param quantity: of the pump, in ``unit``: that of a table may be another than a fluence in uJ/cm2.
    """

    sample: str
    convention: str
    band_nm: tuple[float, float]
    wavelength_nm: FloatArray
    spectra: FloatArray
    fluence_uj_cm2: FloatArray
    fluence_sigma_rel: FloatArray
    signal: FloatArray
    signal_sigma: FloatArray
    fwhm_nm: FloatArray
    slope: tuple[float | None, str] = (None, "")
    defined: tuple[tuple[str, float, tuple[float, float]], ...] = ()
    threshold_uj_cm2: float | None = None
    ci95: tuple[float, float] | None = None
    scaled: bool = False
    verdict: str = ""
    curve: tuple[FloatArray, FloatArray, FloatArray, FloatArray] | None = None
    peak: PeakFit | None = None
    modes: Modes | None = None
    randomness: Randomness | None = None
    shots: tuple[ShotStatistics, ...] = ()
    quantity: str = "pump fluence"
    unit: str = UNIT
    signal_label: str = "Integrated emission (counts per pulse)"

    @property
    def fluence_label(self) -> str:
        """The axis label of the pump, convention and unit included."""
        named = ", ".join(part for part in (self.quantity, self.convention) if part)
        return f"{named[:1].upper()}{named[1:]} ({self.unit})"

    @property
    def residuals(self) -> Residuals | None:
        """What the fit leaves of each point; None without a curve."""
        if self.curve is None:
            return None
        errors = (self.fluence_sigma_rel, self.signal_sigma)
        return Residuals.of(self.curve, self.fluence_uj_cm2, self.signal, *errors)

    @property
    def shown(self) -> Sequence[int]:
        """Places of the spectra that are shown: at most twelve, evenly chosen, in order of fluence."""
        order = np.argsort(self.fluence_uj_cm2, kind="stable")
        chosen = np.unique(np.linspace(0, order.size - 1, min(12, order.size)).round().astype(int))
        return [int(order[i]) for i in chosen]

    @property
    def pixels(self) -> slice:
        """Of the emission band, with a tenth of its width on either side."""
        low, high = self.band_nm
        margin = 0.1 * (high - low)
        first, last = np.searchsorted(self.wavelength_nm, (low - margin, high + margin))
        return slice(int(first), int(last))


def drawings(picture: RunPicture) -> Mapping[str, Draw]:
    """Return what draws each figure that a run allows, by name: spectra, threshold, peak, lines, shots."""
    if picture.fluence_uj_cm2.size == 0:
        return {}
    found: dict[str, Draw] = {
        "spectra": partial(spectra_figure, picture),
        "threshold": partial(threshold_figure, picture),
    }
    if picture.peak is not None:
        found["peak"] = partial(peak_figure, picture)
    if picture.modes is not None and picture.modes.modes:
        label = picture.fluence_label
        found["lines"] = partial(lines_figure, picture.modes, picture.randomness, picture.sample, label)
    if picture.shots:
        found["shots"] = partial(shots_figure, picture.sample, picture.shots, picture.ci95)
    return found


def spectra_figure(picture: RunPicture, layout: Layout = SCREEN) -> Figure:
    """Draw spectra at rising fluence: below the onset, from it on, and stacked, each scaled to its top."""
    places = picture.shown
    colours = dict(zip(places, _colours(picture, places), strict=True))
    groups = _by_onset(picture, places)
    count = len(groups) + 1
    figure = Figure(figsize=layout.size(4.1 * count, 5.0, count), layout="constrained")
    every = figure.subplots(*layout.grid(count))
    x = picture.wavelength_nm[picture.pixels]
    for axes, (title, group) in zip(every[:-1], groups.items(), strict=True):
        for index in reversed(group):  # the weak ones stay in sight
            y = picture.spectra[index, picture.pixels]
            axes.plot(*outline(x, y, layout.detail), color=colours[index], lw=_THIN)
        axes.set_ylabel("Emission (counts per pulse)")
        if layout.titled:
            axes.set_title(title)
    stacked = every[-1]
    for place, (index, colour) in enumerate(colours.items()):
        y = picture.spectra[index, picture.pixels]
        top = float(np.nanmax(y)) if y.size else 0.0
        scaled = place + 0.92 * y / (top if top > 0 else 1.0)
        stacked.plot(*outline(x, scaled, layout.detail), color=colour, lw=_THIN)
        said = f" {picture.fluence_uj_cm2[index]:.3g}"
        stacked.text(x[-1], place + 0.12, said, color=colour, fontsize="small")
    stacked.text(x[-1], len(places) + 0.1, " µJ/cm²", fontsize="small")
    stacked.set(ylabel="Emission, normalised to its maximum", yticks=[])
    for axes in every:
        axes.set_xlim(float(x[0]), float(x[-1]))
        axes.set_xlabel("Wavelength (nm)")
    if layout.titled:
        stacked.set_title(f"{picture.convention} fluence beside each spectrum")
        figure.suptitle(f"{picture.sample}: emission at rising pump fluence{colour_key(picture)}")
    return figure


_THIN = 0.7


def _by_onset(picture: RunPicture, places: Sequence[int]) -> Mapping[str, Sequence[int]]:
    """Part spectra that lines of lasing would dwarf from those with lines, under the title of each part."""
    if picture.threshold_uj_cm2 is None:
        return {"dark subtracted": places}
    low = (picture.ci95 or (picture.threshold_uj_cm2,))[0]
    below = [index for index in places if picture.fluence_uj_cm2[index] < low]
    rest = [index for index in places if index not in below]
    parts = {"below the onset, dark subtracted": below, "from the onset on, dark subtracted": rest}
    return {title: part for title, part in parts.items() if part}


def colour_key(picture: RunPicture) -> str:
    """Say what the colours of the spectra mean; empty where there is no onset to tell them by."""
    if picture.threshold_uj_cm2 is None:
        return ""
    return " (blue below the onset, grey within its interval, red above)"


def threshold_figure(picture: RunPicture, layout: Layout = SCREEN) -> Figure:
    """Draw the light-light curve, in double logarithm with its residuals and linear, and the linewidth."""
    figure = threshold_panels(picture, layout)
    if layout.titled:
        title = f"{picture.sample}: {picture.verdict}" if picture.verdict else picture.sample
        figure.suptitle("\n".join(textwrap.wrap(title, TITLE_WIDTH)))
    return figure


def peak_figure(picture: RunPicture, layout: Layout = SCREEN) -> Figure:
    """Draw one lasing peak with its fit, its width and the width the spectrometer itself has."""
    peak = picture.peak
    assert peak is not None
    figure = Figure(figsize=layout.size(5.2, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(peak.wavelength_nm, peak.counts, "o", mfc="none", color=_DATA, label="measured")
    label = f"{peak.line_shape.capitalize()} fit"
    axes.plot(peak.wavelength_nm, peak.fit_counts, color=_FIT, label=label)
    base, top = float(np.min(peak.fit_counts)), float(np.max(peak.fit_counts))
    half = 0.5 * (base + top)
    left, right = peak.centre_nm - peak.seen_fwhm_nm / 2, peak.centre_nm + peak.seen_fwhm_nm / 2
    arrow = {"arrowstyle": "<->", "color": _MARK, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (left, half), (right, half), arrowprops=arrow)
    if peak.resolution_nm:
        foot = base - 0.08 * (top - base)
        ends = (peak.centre_nm - peak.resolution_nm / 2, peak.centre_nm + peak.resolution_nm / 2)
        axes.plot(ends, (foot, foot), color="0.4", lw=3, solid_capstyle="butt")
        said = f"  resolution {peak.resolution_nm:.2f} nm"
        axes.text(ends[1], foot, said, va="center", fontsize="small", color="0.3")
    axes.text(0.98, 0.97, _peak_text(peak), transform=axes.transAxes, ha="right", va="top", fontsize="small")
    axes.set(xlabel="Wavelength (nm)", ylabel=f"Emission ({peak.unit})")
    axes.legend(loc="upper left")
    if layout.titled:
        axes.set_title(f"{picture.sample}: one lasing peak")
    return figure


def _peak_text(peak: PeakFit) -> str:
    spread = f" ± {peak.q_sigma:.0f}" if peak.q_sigma is not None and not peak.lower_bound else ""
    resolution = peak.resolution_said.replace("+-", "±")
    lines = (
        f"Q {'≥' if peak.lower_bound else '='} {peak.q:.0f}{spread}",
        f"λ = {peak.centre_nm:.2f} nm",
        f"FWHM {peak.fwhm_nm:.3f} nm",
        f"(measured {peak.seen_fwhm_nm:.3f} nm,",
        "resolution",
        f"{resolution})",
    )
    return "\n".join(lines)


def _colours(picture: RunPicture, places: Sequence[int]) -> list[tuple[float, float, float, float]]:
    """Blue below the interval of the threshold, grey in it and red above, deeper with the distance."""
    fluence = picture.fluence_uj_cm2[list(places)]
    at = picture.threshold_uj_cm2
    if at is None:
        return [tuple(c) for c in mpl.colormaps["viridis"](np.linspace(0.05, 0.85, len(places)))]
    low, high = picture.ci95 or (at, at)
    below, above = fluence < low, fluence > high
    shade = np.tile(_INSIDE, (len(places), 1))
    shade[below] = mpl.colormaps["Blues"](np.linspace(0.95, 0.6, int(below.sum())))
    shade[above] = mpl.colormaps["Reds"](np.linspace(0.6, 0.95, int(above.sum())))
    return [tuple(c) for c in shade]


def draw_run(
    path: Path, layout: Layout = SCREEN, kind: str = "png", result: SweepResult | None = None
) -> list[Path]:
    """Draw the figures of a run file beside it and return their paths.

    :param kind: of the files, one of :data:`labctl.runner.figures.base.FORMATS`.
    :param result: what came of it; evaluated from the run where it is not given.
    :raises DataError: the file cannot be read.
    :raises OSError: a figure cannot be written.
    """
    found = drawings(picture_of(read_run(path), result))
    return [write(path.with_name(f"{path.stem}_{name}.{kind}"), draw, layout) for name, draw in found.items()]


def draw_table(
    path: Path, result: SweepResult, signal_unit: str = "", layout: Layout = SCREEN, kind: str = "png"
) -> Path:
    """Draw the light-light curve of a table beside it, in the table's own unit, and return the figure's path.

    :param result: of the table; ``signal_unit`` of its signal.
    :param kind: of the file, one of :data:`labctl.runner.figures.base.FORMATS`.
    :raises OSError: it cannot be written.
    """
    draw = partial(threshold_figure, picture_of_table(path.stem, result, signal_unit))
    return write(path.with_name(f"{path.stem}_threshold.{kind}"), draw, layout)


def picture_of_table(name: str, result: SweepResult, signal_unit: str = "") -> RunPicture:
    """Collect what the figure of a table shows.

    :param signal_unit: of its signal; empty where it is not stated.
    """
    threshold, points = result.threshold, result.threshold.points
    assert points is not None
    nothing = np.empty(0)
    return RunPicture(
        sample=in_figure(name),
        convention=threshold.convention_said,
        band_nm=(0.0, 1.0),
        wavelength_nm=nothing,
        spectra=nothing,
        fluence_uj_cm2=points.fluence_uj_cm2,
        fluence_sigma_rel=points.fluence_sigma_rel,
        signal=points.signal,
        signal_sigma=points.signal_sigma,
        fwhm_nm=points.fwhm_nm,
        slope=_slope(threshold),
        defined=_defined(result),
        threshold_uj_cm2=threshold.threshold_uj_cm2,
        ci95=threshold.ci95,
        verdict=_verdict_said(result),
        curve=_curve_of(threshold),
        quantity=f"pump {threshold.quantity}" if threshold.on_area else threshold.quantity,
        unit=typographic(threshold.unit),
        signal_label=f"Signal ({in_figure(signal_unit) or 'unit not stated'})",
    )


def _curve_of(threshold: BandThreshold) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray] | None:
    curve = threshold.curve
    return None if curve is None else (curve.fluence_uj_cm2, curve.signal, curve.low, curve.high)


def _defined(result: SweepResult) -> tuple[tuple[str, float, tuple[float, float]], ...]:
    return tuple(
        (_short(d), d.value_uj_cm2, d.ci95)
        for d in result.definitions
        if d.value_uj_cm2 is not None and d.ci95 is not None
    )


def _verdict_said(result: SweepResult) -> str:
    threshold = result.threshold
    said = threshold.reason.replace(threshold.unit, typographic(threshold.unit))
    return "; ".join(part for part in (headline_of(result), said) if part)


def picture_of(run: Run, result: SweepResult | None = None) -> RunPicture:
    """Collect what the figures of a run show.

    :param result: what came of it; evaluated from the run where it is not given.
    """
    facts = run.facts
    result = result or evaluate(run, run.plan, facts)
    threshold, points = result.threshold, result.threshold.points
    bands = facts.edits.bands or run.bands
    assert points is not None
    return RunPicture(
        sample=in_figure(run.start.sample),
        convention=run.start.convention,
        band_nm=bands.emission_nm,
        wavelength_nm=run.wavelength_nm,
        spectra=run.spectra,
        fluence_uj_cm2=points.fluence_uj_cm2,
        fluence_sigma_rel=points.fluence_sigma_rel,
        signal=points.signal,
        signal_sigma=points.signal_sigma,
        fwhm_nm=points.fwhm_nm,
        slope=_slope(threshold),
        defined=_defined(result),
        threshold_uj_cm2=threshold.threshold_uj_cm2,
        ci95=threshold.ci95,
        scaled=threshold.scale_rel is not None,
        verdict=_verdict_said(result),
        curve=_curve_of(threshold),
        peak=None if result.q is None else _peak(result.q),
        modes=result.modes,
        randomness=result.randomness,
        shots=result.shots,
    )


def _short(definition: Definition) -> str:
    """Return what names a definition beside its interval."""
    return "onset" if definition.name == "onset" else definition.label.partition(",")[0]


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
    pulses = q.pulses_per_exposure
    return PeakFit(
        wavelength_nm=figure.wavelength_nm[near],
        counts=figure.counts[near] / (pulses or 1.0),
        fit_counts=figure.fitted[near] / (pulses or 1.0),
        centre_nm=q.wavelength_nm,
        fwhm_nm=q.fwhm_nm,
        seen_fwhm_nm=q.measured_fwhm_nm,
        resolution_nm=q.resolution_nm,
        resolution_said=q.resolution_said,
        q=q.value,
        q_sigma=q.sigma if math.isfinite(q.sigma) else None,
        lower_bound=q.lower_bound,
        line_shape=q.shape,
        unit="counts per pulse" if pulses else "counts per exposure",
    )
