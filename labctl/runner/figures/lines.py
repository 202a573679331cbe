"""The figure of a run's lines: light of each mode, where the lines are, and the power Fourier transform."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labctl.model.results.modes import ModeOnset, Modes, Randomness
from labctl.runner.figures.base import SCREEN, TITLE_WIDTH, Layout, labels_power
from labctl.runner.wording import pretty

_MARK, _LOST = "#2a6f97", "0.6"
_SHOWN_UM = 400.0
"""Optical lengths up to this are shown, or up to three times that of the comb."""


def lines_figure(
    modes: Modes,
    randomness: Randomness | None,
    sample: str,
    fluence_label: str,
    layout: Layout = SCREEN,
) -> Figure:
    """Draw the light of each line with its onset, its place at each fluence, and the Fourier transform.

    :param sample: its name, as matplotlib takes it literally.
    :param fluence_label: of the axes of fluence.
    """
    figure = Figure(figsize=layout.size(12.4, 4.6, 3), layout="constrained")
    light, place, fourier = figure.subplots(*layout.grid(3))
    shown = sorted(modes.modes, key=lambda mode: mode.wavelength_nm)
    colours = mpl.colormaps["turbo"](np.linspace(0.08, 0.92, max(len(shown), 1)))
    for mode, colour in zip(shown, colours, strict=False):
        followed = mode.status != "not_followed"
        _light(light, mode, tuple(colour) if followed else _LOST)
        _place(place, mode, tuple(colour) if followed else _LOST)
    _onsets(light, modes, {id(mode): tuple(colour) for mode, colour in zip(shown, colours, strict=False)})
    light.set_yscale("log")
    light.yaxis.set_major_formatter(labels_power)
    light.set(xlabel=fluence_label, ylabel="Light of each line (counts per pulse)")
    place.set(xlabel=fluence_label, ylabel="Wavelength (nm)")
    if shown:
        light.legend(loc="lower right", fontsize=0.75 * layout.font_pt, title="line: onset (µJ/cm²)")
    _fourier(fourier, randomness)
    if not layout.titled:
        return figure
    light.set_title("bars: onset of each line, 95 % interval")
    place.set_title("where the lines are; grey: not followed")
    fourier.set_title("a comb has maxima at n L and its multiples")
    first = modes.first
    said = [f"{sample}: {first.text if first is not None else modes.text}"]
    said += [] if randomness is None else [randomness.text]
    lines = [line for text in said for line in textwrap.wrap(pretty(text), TITLE_WIDTH)]
    figure.suptitle("\n".join(lines), fontsize="medium")
    return figure


def _onsets(axes: Axes, modes: Modes, colours: Mapping[int, object]) -> None:
    """Draw the onsets above the curves, the earliest at the top."""
    for lane, mode in enumerate(modes.found):
        if mode.ci95 is not None and mode.onset_uj_cm2 is not None:
            height, low = 0.97 - 0.035 * lane, mode.onset_uj_cm2
            ends = [[low - mode.ci95[0]], [mode.ci95[1] - low]]
            axes.errorbar(
                [low], [height], xerr=ends, fmt="|", ms=7, lw=2, color=colours[id(mode)],
                transform=axes.get_xaxis_transform(),
            )  # fmt: skip


def _light(axes: Axes, mode: ModeOnset, colour: object) -> None:
    if mode.light is None:
        return
    f, y = mode.light.fluence_uj_cm2, mode.light.light
    clear = y > 3.0 * mode.light.light_sigma
    label = f"{mode.wavelength_nm:.2f} nm"
    if mode.onset_uj_cm2 is not None:
        label += f": {mode.onset_uj_cm2:.4g}"
    axes.plot(f[clear], y[clear], "o-", color=colour, label=label)


def _place(axes: Axes, mode: ModeOnset, colour: object) -> None:
    if mode.light is None:
        return
    y = mode.light.light
    top = float(np.nanmax(y)) if y.size else 1.0
    size = 4.0 + 40.0 * np.sqrt(np.clip(y / max(top, 1e-300), 0.0, 1.0)) * math.sqrt(max(mode.share, 0.05))
    axes.scatter(mode.light.fluence_uj_cm2, mode.light.wavelength_nm, s=size, color=colour, lw=0)


def _fourier(axes: Axes, randomness: Randomness | None) -> None:
    axes.set(
        xlabel="Optical length n L (µm)",
        ylabel="Power of the Fourier transform",
    )
    if randomness is None or not randomness.length_um.size:
        return
    comb = randomness.n_group_length_um
    end = _SHOWN_UM if comb is None else max(3.2 * comb, 50.0)
    near = randomness.length_um <= end
    axes.plot(randomness.length_um[near], randomness.power[near], color="#1b1e23")
    axes.set_ylim(0.0, 1.08)
    if comb is not None:
        axes.axvline(comb, color=_MARK, lw=1.0, label=f"comb: n_group L = {comb:.4g} µm")
        axes.legend(loc="upper right")
