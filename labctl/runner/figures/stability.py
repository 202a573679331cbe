"""The figure of a stability run: light against time, residuals, temperature, first and last spectrum."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labctl.analysis.evaluation.stability import Stability
from labctl.analysis.fading import DecayFit
from labctl.data import read_run
from labctl.data.run import Run
from labctl.model.records import FloatArray
from labctl.runner.figures.base import SCREEN, Layout, in_figure, write
from labctl.runner.refit import refit_stability
from labctl.runner.report import duration, percent

_MEASURED, _FITTED, _WARM, _LATE = "#1b1e23", "#c8553d", "#b8860b", "#2a6f97"
_AT_ENDS = 0.05  # of the points, averaged into the first and the last spectrum


def draw_stability(path: Path, layout: Layout = SCREEN, kind: str = "png") -> Path:
    """Draw the figure of a run file beside it, ``<run>_stability.png``.

    :param kind: of the file, one of :data:`labctl.runner.figures.base.FORMATS`.
    :raises DataError: it is no stability run, or cannot be read.
    :raises CalibrationRefused: there is nothing to fit.
    :raises OSError: the figure cannot be written.
    """
    return write(path.with_name(f"{path.stem}_stability.{kind}"), stability_drawing(read_run(path)), layout)


def stability_drawing(run: Run) -> Callable[[Layout], Figure]:
    """Return what draws a stability run, fitted again.

    :raises DataError: it is no stability run.
    :raises CalibrationRefused: there is nothing to fit.
    """
    return partial(stability_figure, run, *refit_stability(run))


def stability_figure(run: Run, measured: Stability, fit: DecayFit, layout: Layout = SCREEN) -> Figure:
    """Draw light with its fit, residuals in standard errors, and the spectra of beginning and end."""
    figure = Figure(figsize=layout.size(10.4, 5.2, 2.6 if layout.stacked else 2), layout="constrained")
    if layout.stacked:
        light, rest, spectra = figure.subplots(3, 1, height_ratios=(3, 1, 2.4))
        rest.sharex(light)
    else:
        grid = figure.add_gridspec(2, 2, height_ratios=(3, 1), width_ratios=(3, 2))
        light, spectra = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[:, 1])
        rest = figure.add_subplot(grid[1, 0], sharex=light)
    unit, size = unit_of(float(measured.time_s[-1]))
    _light(light, measured, fit, size, 1 if layout.stacked else 3)
    _rest(rest, measured, fit, size)
    light.tick_params(labelbottom=False)
    rest.set(xlabel=f"Time ({unit})", ylabel="Residual / error")
    _temperature(light, run, measured.time_s / size)
    _spectra(spectra, run, measured)
    if layout.titled:
        figure.suptitle(f"{in_figure(run.start.sample)}: {stability_title(run, measured, fit)}")
    return figure


def stability_title(run: Run, measured: Stability, fit: DecayFit) -> str:
    """Say what is left, after how long and at which fluence."""
    value, sigma = _retained(run, fit)
    fluence = float(np.median(measured.fluence_uj_cm2[measured.usable]))
    return (
        f"{percent(value, sigma).replace('+-', '±')} remaining after "
        f"{duration(float(measured.time_s[-1]))} at {fluence:.4g} µJ/cm² ({run.start.convention})"
    )


def _retained(run: Run, fit: DecayFit) -> tuple[float, float]:
    """What the run's own result says is left; it weighs in the shapes that were not drawn."""
    stored = run.result.stability
    retained = fit.retained if stored is None or stored.retained is None else stored.retained
    return retained.value, retained.sigma


def unit_of(seconds: float) -> tuple[str, float]:
    """Return the unit that suits a duration, and how many seconds it has."""
    return ("s", 1.0) if seconds < 300 else ("min", 60.0) if seconds < 3 * 3600 else ("h", 3600.0)


def _light(axes: Axes, measured: Stability, fit: DecayFit, size: float, columns: int) -> None:
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
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, borderaxespad=0.2)


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


def _temperature(axes: Axes, run: Run, time: FloatArray) -> None:
    """Show the sample's temperature, where it was measured."""
    listed = run.facts.sample_temperature_c
    known = [np.nan if t is None else t for t in listed]
    if len(known) != time.size or not np.isfinite(known).any():
        return
    beside = axes.twinx()
    beside.spines["right"].set_visible(True)
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
        label = f"{name} point" if count == 1 else f"{name} {count} points"
        axes.plot(run.wavelength_nm[inside], shown, color=colour, lw=0.9, label=label)
    axes.set(
        xlabel="Wavelength (nm)", ylabel="Emission (counts per pulse)", xlim=(low - margin, high + margin)
    )
    axes.legend(loc="upper right")
