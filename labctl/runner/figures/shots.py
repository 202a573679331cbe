"""The figure of a run that kept every shot: how the shots of each fluence scatter, and what they share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labctl.model.results.shot_statistics import Overlap, ShotStatistics
from labctl.runner.figures.base import Layout, in_figure, write

MOST_COLUMNS = 6
_OWN, _FLOOR, _RAW = "#c8553d", "#1b1e23", "#2a6f97"


def draw_shots(path: Path, sample: str, found: Sequence[ShotStatistics]) -> Path:
    """Draw scatter and overlap of a run beside its file, ``<run>_shots.png``.

    :param path: of the run file.
    :param found: what its shots say, of each fluence.
    :raises OSError: the figure cannot be written.
    """
    return write(path.with_name(f"{path.stem}_shots.png"), partial(_figure, sample, found))


def _figure(sample: str, found: Sequence[ShotStatistics], _layout: Layout) -> Figure:
    shown = [one for one in found if one.overlap is not None][:MOST_COLUMNS]
    figure = Figure(figsize=(max(3.2 * len(shown), 7.0), 6.4), layout="constrained")
    grid = figure.add_gridspec(2, max(len(shown), 1))
    _scatter(figure.add_subplot(grid[0, :]), found)
    for column, one in enumerate(shown):
        axes = figure.add_subplot(grid[1, column])
        assert one.overlap is not None
        _overlap(axes, one.overlap, one.fluence_uj_cm2)
        if column == 0:
            axes.set_ylabel("Density")
            axes.legend(loc="upper left", fontsize=7.5)
    figure.suptitle(f"{in_figure(sample)}: scatter of single shots, and overlap of their spectra")
    return figure


def _scatter(axes: Axes, found: Sequence[ShotStatistics]) -> None:
    """Draw the CV of the shots, with and without the detector's noise, against fluence."""
    for label, colour, name in (("all scatter", _FLOOR, "cv"), ("without the noise", _OWN, "own_cv")):
        known = [
            (one.fluence_uj_cm2, estimate.value, estimate.sigma)
            for one in found
            if (estimate := getattr(one.moments, name)).value is not None
        ]
        if known:
            fluence, value, sigma = np.array(known, dtype=np.float64).T
            axes.errorbar(
                fluence, 100 * value, 100 * sigma, fmt="o-", ms=4, lw=1.0, color=colour, label=label
            )
    axes.set(xlabel="Pump fluence on the sample (µJ/cm²)", ylabel="CV of a shot (%)", yscale="log")
    if axes.has_data():
        axes.legend(loc="upper right")


def _overlap(axes: Axes, overlap: Overlap, fluence_uj_cm2: float) -> None:
    middle = 0.5 * (overlap.edges[1:] + overlap.edges[:-1])
    axes.plot(middle, overlap.raw, color=_RAW, lw=0.9, label="raw")
    axes.plot(middle, overlap.floor, color=_FLOOR, lw=0.9, ls="--", label="noise alone")
    axes.fill_between(middle, overlap.density, color=_OWN, alpha=0.5, lw=0, label="freed of brightness")
    axes.set(xlabel="Overlap q", title=f"{fluence_uj_cm2:.4g} µJ/cm²", xlim=(-1.0, 1.0))
    axes.set_ylim(0.0, 1.35 * max(float(d.max()) for d in (overlap.raw, overlap.floor, overlap.density)))
