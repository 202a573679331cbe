"""The panels of a threshold: light-light curve, residuals of its fit, linewidth, definitions in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labctl.model.records import FloatArray
from labctl.model.results.modes import Modes
from labctl.runner.figures.base import Layout, label_decades, labels_power

_DATA, _FIT, _MARK, _WIDTH = "#1b1e23", "#c8553d", "#2a6f97", "#3f7d4a"
Curve = tuple[FloatArray, FloatArray, FloatArray, FloatArray]


@dataclass(frozen=True, slots=True)
class Residuals:
    """Signal over fit less one, in per cent, of the points with a signal; arrays of one shape ``(k,)``.

    :param sigma: standard error, that of the fluence included; as far as they are known.
    :param band: lower and upper edge of the fit's 95 % band over the fit, less one, in per cent; at
        ``band_fluence_uj_cm2``, shape ``(m,)``.
    """

    fluence_uj_cm2: FloatArray
    percent: FloatArray
    sigma: FloatArray
    band_fluence_uj_cm2: FloatArray
    band: tuple[FloatArray, FloatArray]

    @staticmethod
    def of(
        curve: Curve,
        fluence_uj_cm2: FloatArray,
        signal: FloatArray,
        fluence_sigma_rel: FloatArray,
        signal_sigma: FloatArray,
    ) -> Residuals:
        """Hold points against a fitted curve; points it does not reach, or without a signal, are left out."""
        x, best, low, high = curve
        fits = best > 0
        x, best, low, high = (values[fits] for values in (x, best, low, high))
        if x.size < 2:
            empty = np.empty(0)
            return Residuals(empty, empty, empty, empty, (empty, empty))
        inside = (fluence_uj_cm2 >= x[0]) & (fluence_uj_cm2 <= x[-1]) & np.isfinite(signal)
        at, log_x, log_y = np.log(fluence_uj_cm2[inside]), np.log(x), np.log(best)
        fitted = np.exp(np.interp(at, log_x, log_y))
        steepness = np.interp(at, log_x, np.gradient(log_y, log_x))
        known = np.nan_to_num(signal_sigma[inside])
        sigma = np.hypot(known / fitted, steepness * np.nan_to_num(fluence_sigma_rel[inside]))
        return Residuals(
            fluence_uj_cm2[inside],
            100 * (signal[inside] / fitted - 1),
            100 * sigma,
            x,
            (100 * (low / best - 1), 100 * (high / best - 1)),
        )


class Shown(Protocol):
    """What the panels need of a run; see :class:`labctl.runner.figures.sweep.RunPicture`."""

    @property
    def fluence_uj_cm2(self) -> FloatArray:
        """Of each point."""

    @property
    def signal(self) -> FloatArray:
        """Counts per pulse."""

    @property
    def signal_sigma(self) -> FloatArray:
        """Its standard error."""

    @property
    def fwhm_nm(self) -> FloatArray:
        """Width of the emission."""

    @property
    def slope(self) -> tuple[float | None, str]:
        """Power of the luminescence, and what is said of it."""

    @property
    def defined(self) -> tuple[tuple[str, float, tuple[float, float]], ...]:
        """The threshold by each definition."""

    @property
    def threshold_uj_cm2(self) -> float | None:
        """The onset."""

    @property
    def ci95(self) -> tuple[float, float] | None:
        """Its interval."""

    @property
    def scaled(self) -> bool:
        """Whether the scale's error is stated."""

    @property
    def curve(self) -> Curve | None:
        """The fit."""

    @property
    def modes(self) -> Modes | None:
        """The lines."""

    @property
    def fluence_label(self) -> str:
        """Of an axis."""

    @property
    def unit(self) -> str:
        """Of the pump."""

    @property
    def signal_label(self) -> str:
        """Of an axis."""

    @property
    def residuals(self) -> Residuals | None:
        """Of the fit."""


def threshold_panels(run: Shown, layout: Layout) -> Figure:
    """Draw all panels; the legend stands below them, where it hides nothing."""
    double, rest, linear, width, defined = _axes(run, layout)
    figure = double.get_figure(root=True)
    assert isinstance(figure, Figure)
    for axes in (linear, double):
        _light_light(axes, run)
        axes.set_ylabel(run.signal_label)
    linear.set_xlim(left=0)
    linear.yaxis.set_major_formatter("{x:g}")
    _double_logarithm(double, run)
    _linewidth(width, run)
    for axes in (linear, width, double if rest is None else rest):
        axes.set_xlabel(run.fluence_label)
    if rest is not None and run.residuals is not None:
        _residuals(rest, run, run.residuals, double)
        double.tick_params(labelbottom=False, which="both")
    if defined is not None:
        _definitions(defined, run)
    handles, labels = double.get_legend_handles_labels()
    rows = 1 if layout.width_in is None and len(labels) < 5 else 2
    rows = len(labels) if layout.stacked else rows
    figure.legend(handles, labels, loc="outside lower left", ncols=-(-len(labels) // rows))
    return figure


def _axes(run: Shown, layout: Layout) -> tuple[Axes, Axes | None, Axes, Axes, Axes | None]:
    """Return axes for the curve in double logarithm, residuals, the curve, linewidth and definitions."""
    rest = run.residuals is not None and run.residuals.percent.size > 0
    if layout.stacked:
        figure = Figure(figsize=layout.size(4.4, 9.0, 4), layout="constrained")
        ratios = (3, *([1.3] if rest else []), 2.4, 2.4)
        every = list(figure.subplots(len(ratios), 1, height_ratios=ratios))
        return every[0], every[1] if rest else None, every[-2], every[-1], None
    figure = Figure(figsize=layout.size(12.4, 5.8, 3), layout="constrained")
    sides: Any = figure.subfigures(1, 2, width_ratios=(1, 1.7))
    left, right = sides
    double, below = (
        left.subplots(2, 1, sharex=True, height_ratios=(2.4, 1)) if rest else (left.subplots(), None)
    )
    if not run.defined:
        linear, width = right.subplots(1, 2)
        return double, below, linear, width, None
    upper, lower = right.subfigures(2, 1, height_ratios=(2.4, 1))
    linear, width = upper.subplots(1, 2)
    return double, below, linear, width, lower.subplots()


def _light_light(axes: Axes, run: Shown) -> None:
    axes.errorbar(
        run.fluence_uj_cm2,
        run.signal,
        yerr=np.abs(run.signal_sigma),
        fmt="o",
        mfc="white",
        color=_DATA,
        label=f"measured{_bars(run)}",
        zorder=3,
    )
    if run.curve is not None:
        x, best, low, high = run.curve
        axes.fill_between(x, low, high, color=_FIT, alpha=0.3, lw=0, zorder=1)
        axes.plot(x, best, color=_FIT, label="fit with its 95 % band", zorder=2)
    _mark_threshold(axes, run)


_MARKER_SHARE = 0.012
"""Radius of a marker over the height of its axes."""


def _bars(run: Shown) -> str:
    """Say what the bars are, and where none comes out of its marker."""
    known = np.isfinite(run.signal_sigma) & np.isfinite(run.signal)
    if not known.any():
        return ""
    hidden = np.abs(run.signal_sigma[known]).max() < _MARKER_SHARE * run.signal[known].max()
    return f", bars: standard error{' (within the marker)' if hidden else ''}"


def _mark_threshold(axes: Axes, run: Shown) -> None:
    first = None if run.modes is None else run.modes.first
    if first is not None and first.ci95 is not None and (run.ci95 is None or first.ci95[1] < run.ci95[0]):
        axes.axvspan(*first.ci95, color=_WIDTH, alpha=0.3, lw=0, zorder=0)
        label = f"first mode {first.onset_uj_cm2:.4g} µJ/cm²"
        axes.axvline(first.onset_uj_cm2 or 0.0, color=_WIDTH, lw=0.8, ls="--", zorder=1, label=label)
    if run.threshold_uj_cm2 is None:
        return
    label = f"onset {run.threshold_uj_cm2:.4g} {run.unit}"
    if run.ci95 is not None:
        axes.axvspan(*run.ci95, color=_MARK, alpha=0.35, lw=0, zorder=0)
        only = "" if run.scaled else ", statistical only"
        label += f" (95 %: {run.ci95[0]:.4g} – {run.ci95[1]:.4g}{only})"
    axes.axvline(run.threshold_uj_cm2, color=_MARK, lw=0.8, ls="--", zorder=1, label=label)


def _double_logarithm(axes: Axes, run: Shown) -> None:
    good = (run.fluence_uj_cm2 > 0) & (run.signal > 0)
    if not good.any():
        return
    f, y = run.fluence_uj_cm2[good], run.signal[good]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(f.min() / 1.15, f.max() * 1.15)
    axes.set_ylim(y.min() / 2, y.max() * 2)
    label_decades(axes.xaxis)
    axes.yaxis.set_major_formatter(labels_power)
    first = int(np.argmin(f))
    slope, said = run.slope
    if slope is not None:
        axes.plot(f, y[first] * (f / f[first]) ** slope, ls=":", lw=1, color="0.4", label=said, zorder=0)


def _residuals(axes: Axes, run: Shown, found: Residuals, above: Axes) -> None:
    """Draw what the fit leaves, where its band can be seen."""
    axes.set_xscale(above.get_xscale())
    axes.set_xlim(above.get_xlim())
    axes.fill_between(found.band_fluence_uj_cm2, *found.band, color=_FIT, alpha=0.3, lw=0)
    axes.axhline(0.0, color=_FIT, lw=1.0)
    axes.errorbar(
        found.fluence_uj_cm2, found.percent, found.sigma,
        fmt="o", mfc="white", color=_DATA, zorder=3,
    )  # fmt: skip
    _mark_threshold(axes, run)
    reach = np.abs(found.percent) + found.sigma
    near = found.band_fluence_uj_cm2 >= found.fluence_uj_cm2.min()
    edges = np.abs(np.concatenate([edge[near] for edge in found.band]))
    top = 1.1 * max(float(np.nanmax(reach)), float(np.nanpercentile(edges, 95)), 0.1)
    axes.set_ylim(-top, top)
    axes.set_ylabel("(data – fit) / fit (%)")
    label_decades(axes.xaxis)


def _linewidth(axes: Axes, run: Shown) -> None:
    _mark_threshold(axes, run)
    axes.plot(run.fluence_uj_cm2, run.fwhm_nm, "s", mfc="white", color=_WIDTH)
    axes.set_ylabel("FWHM of the emission (nm)")
    known = np.isfinite(run.fwhm_nm) & (run.fluence_uj_cm2 > 0)
    if not known.any():
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center")
        axes.set(xticks=[], yticks=[])
        return
    f = run.fluence_uj_cm2[known]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(f.min() / 1.15, f.max() * 1.15)
    axes.set_ylim(np.nanmin(run.fwhm_nm) / 1.5, 1.5 * np.nanmax(run.fwhm_nm))
    for axis in (axes.xaxis, axes.yaxis):
        label_decades(axis)


def _definitions(axes: Axes, run: Shown) -> None:
    """Draw the threshold by each definition with its interval, the one in use at the top."""
    for place, (_, value, (low, high)) in enumerate(run.defined):
        axes.errorbar(
            [value], [-place], xerr=[[max(value - low, 0.0)], [max(high - value, 0.0)]],
            fmt="o", capsize=3, color=_DATA if place else _MARK,
        )  # fmt: skip
    if run.ci95 is not None:
        axes.axvspan(*run.ci95, color=_MARK, alpha=0.35, lw=0, zorder=0)
    axes.set_yticks([-place for place in range(len(run.defined))], [name for name, _, _ in run.defined])
    axes.tick_params(axis="y", length=0, labelsize="small")
    axes.set_ylim(-len(run.defined) + 0.4, 0.6)
    axes.set_xlabel(f"Threshold by each definition ({run.unit}), 95 % interval")
