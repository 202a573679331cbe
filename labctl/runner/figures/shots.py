"""The figure of single shots: what they say against fluence, and the overlap of their spectra."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labctl.model.records import FloatArray
from labctl.model.results.shot_statistics import Estimate, LineCorrelation, Overlap, ShotStatistics
from labctl.model.results.sweep import Threshold
from labctl.runner.figures.base import SCREEN, Layout, in_figure, write

MOST_COLUMNS = 6
_OWN, _FLOOR, _RAW = "#c8553d", "#1b1e23", "#2a6f97"
Value = tuple[float, float, float]
"""A number, and how far it may lie below and above."""


def draw_shots(
    path: Path, sample: str, found: Sequence[ShotStatistics], threshold: Threshold | None = None
) -> Path:
    """Draw what the shots of a run say beside its file, ``<run>_shots.png``.

    :param path: of the run file.
    :param found: what its shots say, of each fluence.
    :param threshold: whose interval is marked; None where none is known.
    :raises OSError: the figure cannot be written.
    """
    ci95 = None if threshold is None else threshold.ci95
    return write(
        path.with_name(f"{path.stem}_shots.png"), partial(shots_figure, in_figure(sample), found, ci95)
    )


def shots_figure(
    sample: str,
    found: Sequence[ShotStatistics],
    ci95: tuple[float, float] | None = None,
    layout: Layout = SCREEN,
) -> Figure:
    """Draw scatter, tail, overlap, lines and Q of single shots against fluence, and densities of the overlap.

    :param sample: as matplotlib takes it.
    :param ci95: 95 % interval of the threshold, uJ/cm2, which is marked; None where none is known.
    """
    found = sorted(found, key=lambda one: one.fluence_uj_cm2)
    most = MOST_COLUMNS // 2 if layout.stacked else MOST_COLUMNS
    shown = _chosen([one for one in found if one.overlap is not None], most)
    panels, grid = len(_PANELS), (3, 2) if layout.stacked else (2, 3)
    size = layout.size(11.0, 8.6, panels / grid[1] if layout.stacked else panels)
    figure = Figure(figsize=size, layout="constrained")
    halves = figure.add_gridspec(2, 1, height_ratios=(2.2, 1.0))
    against, overlaps = figure.add_subfigure(halves[0]), figure.add_subfigure(halves[1])
    for axes, draw in zip(against.subplots(*grid, sharex=True).flat, _PANELS, strict=True):
        draw(axes, found)
        if ci95 is not None:
            axes.axvspan(*ci95, color="0.88", lw=0, zorder=0)
    marked = "" if ci95 is None else "; grey: 95 % interval of the threshold"
    against.supxlabel(f"Pump fluence on the sample (µJ/cm²){marked}", fontsize=layout.font_pt)
    if shown:
        for axes, one in zip(np.atleast_1d(overlaps.subplots(1, len(shown))).flat, shown, strict=True):
            assert one.overlap is not None
            _overlap(axes, one.overlap, one.fluence_uj_cm2)
        overlaps.axes[0].set_ylabel("Density")
        overlaps.axes[0].legend(loc="upper left")
    if layout.titled:
        figure.suptitle(f"{sample}: what single shots say, and the overlap of their spectra")
    return figure


def _chosen(found: Sequence[ShotStatistics], most: int) -> list[ShotStatistics]:
    if len(found) <= most:
        return list(found)
    return [found[i] for i in np.linspace(0, len(found) - 1, most).round().astype(int)]


def _curve(
    axes: Axes, found: Sequence[ShotStatistics], value: Callable[[ShotStatistics], Value | None], label: str,
    colour: str,
) -> None:  # fmt: skip
    """Draw a number against fluence wherever it is known, with its interval."""
    known = [(one.fluence_uj_cm2, *number) for one in found if (number := value(one)) is not None]
    if known:
        fluence, middle, below, above = np.array(known, dtype=np.float64).T
        axes.errorbar(
            fluence, middle, (below, above), fmt="o-", ms=3.5, lw=0.9, color=colour, label=label or None
        )


def _of(estimate: Estimate, unit: float = 1.0) -> Value | None:
    if estimate.value is None or estimate.sigma is None:
        return None
    return unit * estimate.value, unit * estimate.sigma, unit * estimate.sigma


def _exact(value: float) -> Value:
    return value, 0.0, 0.0


def _scatter(axes: Axes, found: Sequence[ShotStatistics]) -> None:
    _curve(axes, found, lambda one: _of(one.moments.cv, 100), "all scatter", _FLOOR)
    _curve(axes, found, lambda one: _of(one.moments.own_cv, 100), "without the noise", _OWN)
    axes.set(ylabel="CV of a shot (%)", yscale="log")
    if axes.has_data():
        axes.legend(loc="best")


def _skewness(axes: Axes, found: Sequence[ShotStatistics]) -> None:
    axes.axhline(0.0, color="0.7", lw=0.8)
    _curve(axes, found, lambda one: _of(one.moments.skewness), "", _FLOOR)
    axes.set_ylabel("Skewness")


def _tail(axes: Axes, found: Sequence[ShotStatistics]) -> None:
    def alpha(one: ShotStatistics) -> Value | None:
        tail = one.tail
        if tail.alpha is None or tail.ci95 is None:
            return None
        return tail.alpha, tail.alpha - tail.ci95[0], tail.ci95[1] - tail.alpha

    axes.axhline(2.0, color="0.7", lw=0.8)
    _curve(axes, found, alpha, "", _OWN)
    axes.set(ylabel=r"Tail exponent $\alpha$ (2: normal)", ylim=(0.4, 2.1))
    if all(alpha(one) is None for one in found):
        axes.text(0.5, 0.5, "cannot be stated", transform=axes.transAxes, ha="center", color="0.4")


def _shared(axes: Axes, found: Sequence[ShotStatistics]) -> None:
    known = [one for one in found if one.overlap is not None]
    _curve(axes, known, lambda one: None if one.overlap is None else _exact(one.overlap.rms), "overlap", _OWN)
    _curve(axes, known, lambda one: None if one.overlap is None else _exact(one.overlap.raw_rms), "raw", _RAW)

    def floor(one: ShotStatistics) -> Value | None:
        if one.overlap is None:
            return None
        return one.overlap.floor_rms, one.overlap.floor_sigma, one.overlap.floor_sigma

    _curve(axes, known, floor, "noise alone", _FLOOR)
    axes.set(ylabel="Overlap q (rms)", ylim=(0.0, None))
    if known:
        axes.legend(loc="best")


def _together(axes: Axes, found: Sequence[ShotStatistics]) -> None:
    """Draw the typical correlation of two lines, beside what independent lines exceed in 5 % of cases."""

    def pairs(matrix: FloatArray) -> float:
        return float(np.sqrt(np.mean(matrix[np.triu_indices(len(matrix), 1)] ** 2)))

    def drawn(value: Callable[[LineCorrelation], float], label: str, colour: str) -> None:
        _curve(
            axes, found, lambda one: None if one.lines is None else _exact(value(one.lines)), label, colour
        )

    drawn(lambda lines: pairs(lines.together), "light", _RAW)
    drawn(lambda lines: pairs(lines.share), "share of the light", _OWN)
    drawn(lambda lines: lines.chance, "5 % by chance", _FLOOR)
    axes.set(ylabel="Correlation of two lines (rms)", ylim=(0.0, 1.05))
    if axes.has_data():
        axes.legend(loc="best")


def _q(axes: Axes, found: Sequence[ShotStatistics]) -> None:
    _curve(axes, found, lambda one: None if one.q is None else _of(one.q.median), "", _FLOOR)
    axes.set_ylabel("Q of a shot (median)")


_PANELS = (_scatter, _skewness, _tail, _shared, _together, _q)


def _overlap(axes: Axes, overlap: Overlap, fluence_uj_cm2: float) -> None:
    middle = 0.5 * (overlap.edges[1:] + overlap.edges[:-1])
    axes.plot(middle, overlap.raw, color=_RAW, lw=0.9, label="raw")
    axes.plot(middle, overlap.floor, color=_FLOOR, lw=0.9, ls="--", label="noise alone")
    axes.fill_between(middle, overlap.density, color=_OWN, alpha=0.5, lw=0, label="freed of brightness")
    axes.set(xlabel="Overlap q", title=f"{fluence_uj_cm2:.4g} µJ/cm²", xlim=(-1.0, 1.0))
    axes.set_ylim(0.0, 1.35 * max(float(d.max()) for d in (overlap.raw, overlap.floor, overlap.density)))
