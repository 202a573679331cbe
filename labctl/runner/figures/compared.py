"""Figures of several runs together: thresholds of sweeps, what stability runs kept."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from labctl.analysis.evaluation.comparison import compared
from labctl.analysis.evaluation.stability import Stability
from labctl.analysis.fading import DecayFit
from labctl.data import read_run
from labctl.data.run import Run
from labctl.runner.figures.base import (
    SCREEN,
    TITLE_WIDTH,
    Layout,
    in_figure,
    label_decades,
    labels_power,
    write,
)
from labctl.runner.figures.stability import unit_of
from labctl.runner.figures.sweep import RunPicture, picture_of
from labctl.runner.refit import STABILITY_ID, refit_stability, report_of
from labctl.runner.report import RunReport, comparison_lines, duration, percent

_COLOURS = ("#2a6f97", "#c8553d", "#3f7d4a", "#8a5a9e", "#b8860b", "#1b1e23")
_MARKERS = "osD^vP"


def draw_compared(paths: Sequence[Path], layout: Layout = SCREEN, kind: str = "png") -> list[Path]:
    """Draw runs of several samples together, beside the first of their files.

    ``<first run>_thresholds_compared.png`` holds the light-light curves of two sweeps or more,
    ``<first run>_stability_compared.png`` the light over time of two stability runs or more.

    :param paths: run files; only as many as can be told apart are drawn, six of a kind.
    :param kind: of the files, one of :data:`labctl.runner.figures.base.FORMATS`.
    :raises DataError: a file cannot be read.
    :raises OSError: a figure cannot be written.
    """
    found = compared_drawings([Evaluated.of(read_run(path)) for path in paths])
    stem = paths[0].with_suffix("") if paths else Path()
    return [
        write(stem.with_name(f"{first.run.path.stem}_{name}_compared.{kind}"), draw, layout)
        for name, (first, draw) in found.items()
    ]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A run with what came of it."""

    run: Run
    report: RunReport

    @staticmethod
    def of(run: Run) -> Evaluated:
        """Evaluate a run."""
        return Evaluated(run, report_of(run))


def compared_drawings(
    runs: Sequence[Evaluated],
) -> Mapping[str, tuple[Evaluated, Callable[[Layout], Figure]]]:
    """Return what draws the sweeps together and the stability runs together, where there are two or more.

    :returns: by name, "thresholds" and "stability": the first of the runs, and what draws them.
    """
    sweeps = [one for one in runs if one.run.start.procedure != STABILITY_ID and len(one.run)]
    stable = [one for one in runs if one.run.start.procedure == STABILITY_ID and len(one.run)]
    kinds = {"thresholds": (sweeps, thresholds_figure), "stability": (stable, retained_figure)}
    return {
        name: (own[0], partial(draw, own[: len(_COLOURS)]))
        for name, (own, draw) in kinds.items()
        if len(own) > 1
    }


def _name(run: Run) -> str:
    spot = f", spot {run.start.spot}" if run.start.spot else ""
    return in_figure(f"{run.start.sample}{spot}")


def thresholds_figure(runs: Sequence[Evaluated], layout: Layout = SCREEN) -> Figure:
    """Draw several light-light curves in double logarithm, each with its fit, threshold and interval."""
    figure = Figure(figsize=layout.size(8.6, 5.4), layout="constrained")
    axes = figure.subplots()
    conventions = list(dict.fromkeys(one.run.start.convention for one in runs))
    for one, colour, marker in zip(runs, _COLOURS, _MARKERS, strict=False):
        picture = picture_of(one.run, one.report.result)
        good = (picture.fluence_uj_cm2 > 0) & (picture.signal > 0)
        x, y, error = (a[good] for a in (picture.fluence_uj_cm2, picture.signal, picture.signal_sigma))
        own = f" ({one.run.start.convention} fluence)" if len(conventions) > 1 else ""
        label = f"{_name(one.run)}{own}: {_onset(picture)}"
        axes.errorbar(x, y, np.abs(error), fmt=marker, mfc="white", color=colour, label=label)
        if picture.curve is not None:
            axes.plot(*picture.curve[:2], color=colour, alpha=0.8)
        if picture.threshold_uj_cm2 is not None and picture.ci95 is not None:
            axes.axvspan(*picture.ci95, color=colour, alpha=0.35, lw=0, zorder=0)
            axes.axvline(picture.threshold_uj_cm2, color=colour, lw=0.8, ls="--", zorder=1)
    axes.set(xscale="log", yscale="log", ylabel="Integrated emission (counts per pulse)")
    axes.yaxis.set_major_formatter(labels_power)
    axes.set_xlabel(f"Pump fluence, {' and '.join(conventions)} (µJ/cm²)")
    label_decades(axes.xaxis)
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0))
    if layout.titled:
        figure.suptitle(_compared_title(runs) or "light-light curves")
    return figure


def _onset(picture: RunPicture) -> str:
    if picture.threshold_uj_cm2 is None or picture.ci95 is None:
        return picture.verdict.partition(";")[0]
    low, high = picture.ci95
    return f"onset {picture.threshold_uj_cm2:.4g} ({low:.4g} – {high:.4g}) µJ/cm²"


def retained_figure(runs: Sequence[Evaluated], layout: Layout = SCREEN) -> Figure:
    """Draw the light of several stability runs over time, and beside it what each kept, with its interval."""
    figure = Figure(figsize=layout.size(10.4, 4.8, 2), layout="constrained")
    ratios: Any = {} if layout.stacked else {"width_ratios": (3, 1)}
    light, kept = figure.subplots(*layout.grid(2), **ratios)
    fits = [refit_stability(one.run) for one in runs]
    unit, size = unit_of(max(float(measured.time_s[-1]) for measured, _ in fits))
    for place, (one, (measured, fit)) in enumerate(zip(runs, fits, strict=True)):
        run, colour, used, time = one.run, _COLOURS[place], measured.usable, measured.time_s / size
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
            said,
            (place, 100 * share.value),
            (9, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
        )
    light.set_ylim(bottom=min(0.0, light.get_ylim()[0]))
    light.set(xlabel=f"Time ({unit})", ylabel="Emission relative to the first points")
    light.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0))
    kept.set(xlim=(-0.4, len(runs)), ylabel="Remaining at the end (%), with 95 % interval")
    kept.set_ylim(min(0.0, kept.get_ylim()[0]), 1.1 * kept.get_ylim()[1])
    kept.set_xticks(range(len(runs)), [_name(one.run) for one in runs])
    if layout.titled:
        figure.suptitle(_compared_title(runs) or "emission over time")
    return figure


def _run_label(run: Run, measured: Stability, fit: DecayFit) -> str:
    fluence = float(np.median(measured.fluence_uj_cm2[measured.usable]))
    known = [t for t in run.facts.sample_temperature_c if t is not None]
    warm = f" and {np.mean(known):.1f} °C" if known else ""
    missed = "; no decay fits (dotted: the nearest)" if fit.miss else ""
    ends = duration(float(measured.time_s[-1]))
    return f"{_name(run)}: {ends} at {fluence:.4g} µJ/cm²{warm}{missed}"


def _compared_title(runs: Sequence[Evaluated]) -> str:
    """What the runs say together, without what it rests on."""
    lines = comparison_lines(compared([one.report.compared for one in runs]))
    heads = [line.partition(";")[0] for line in lines if not line.startswith("of the scales")]
    return "\n".join(textwrap.fill(in_figure(line), 2 * TITLE_WIDTH // 3) for line in heads[:3])
