"""One run's light-light curve as the plot draws it: points with errors, fit with band, threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray

from labctl.gui import theme
from labctl.gui.axes import Scale
from labctl.model.records import FloatArray
from labctl.model.results import BandThreshold

USED, DOUBTFUL, EXCLUDED = 0, 1, 2
"""States of a point: it takes part in the fit; it does, but carries a flag; it takes none."""

SELECTED_SIZE = 20


@dataclass(frozen=True, slots=True)
class Series:
    """One curve; arrays of shape ``(n,)``, ``state`` one of the three above; a fit has a curve."""

    label: str
    colour: str
    fluence: FloatArray
    fluence_sigma: FloatArray
    signal: FloatArray
    sigma: FloatArray
    fwhm_nm: FloatArray
    state: NDArray[np.intp]
    fit: BandThreshold | None = None


class SeriesItems:
    """The plot items of one series, made once and given new data."""

    def __init__(self, plot: Any, right: Any, x: Scale, y: Scale) -> None:
        self._plot, self._right, self._x, self._y = plot, right, x, y
        self.line = pg.InfiniteLine(angle=90, movable=False, label="")
        self.interval = pg.LinearRegionItem(movable=False)
        self._low, self._high = pg.PlotCurveItem(), pg.PlotCurveItem()
        self._band = pg.FillBetweenItem(self._low, self._high)
        self._curve = pg.PlotCurveItem(antialias=True)
        self._errors = pg.ErrorBarItem(beam=0.0)
        self._points = pg.ScatterPlotItem(antialias=True, pxMode=True)
        self._width = pg.ScatterPlotItem(antialias=True, pxMode=True)
        below = (self.interval, self._low, self._high, self._band, self.line, self._errors)
        self._items = (*below, self._curve, self._points)
        for level, item in enumerate(self._items):
            item.setZValue(level)
            plot.addItem(item)
        right.addItem(self._width)

    def remove(self) -> None:
        """Take everything out of the plot."""
        for item in self._items:
            self._plot.removeItem(item)
        self._right.removeItem(self._width)

    def draw(self, series: Series, *, single: bool, widths: bool) -> None:
        """Show new data; ``single`` uses colours by meaning, else everything has the run's colour."""
        x, y = self._x.place(series.fluence), self._y.place(series.signal)
        self._draw_points(series, x, y)
        self._draw_errors(series, x, y)
        self._draw_fit(series, single)
        self._width.setVisible(widths)
        if widths:
            colour = theme.WIDTH if single else series.colour
            shown = np.isfinite(x) & np.isfinite(series.fwhm_nm)
            self._width.setData(
                x[shown],
                series.fwhm_nm[shown],
                symbol="s",
                size=8,
                pen=theme.pen(colour),
                brush=theme.brush(theme.PANEL),
            )

    def _draw_points(self, series: Series, x: FloatArray, y: FloatArray) -> None:
        shown = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        solid, hollow = theme.brush(series.colour), theme.brush(theme.PANEL, 0)
        looks = {
            USED: ("o", 10, theme.pen(theme.PANEL), solid),
            DOUBTFUL: ("t1", 13, theme.pen(theme.WARN, width=2), solid),
            EXCLUDED: ("x", 12, theme.pen(theme.EXCLUDED, width=2), hollow),
        }
        outliers = set(series.fit.outliers) if series.fit is not None else set()
        spots = []
        for at in shown:
            symbol, size, pen, brush = looks[int(series.state[at])]
            if int(at) in outliers:
                symbol, size, pen = "d", 15, theme.pen(theme.DANGER, width=2)
            spots.append({"pos": (x[at], y[at]), "symbol": symbol, "size": size, "pen": pen, "brush": brush})
        self._points.setData(spots)

    def _draw_errors(self, series: Series, x: FloatArray, y: FloatArray) -> None:
        sigma = np.where(np.isfinite(series.sigma), series.sigma, 0.0)
        across = np.where(np.isfinite(series.fluence_sigma), series.fluence_sigma, 0.0)
        top = self._y.place(series.signal + sigma) - y
        bottom = y - self._y.place(series.signal - sigma)
        if self._y.log:  # an error as large as the value has no lower end on a logarithmic axis
            bottom = np.where(np.isfinite(bottom), bottom, top)
        right = self._x.place(series.fluence + across) - x
        good = np.isfinite(x) & np.isfinite(y) & np.isfinite(top) & np.isfinite(bottom) & np.isfinite(right)
        colour = theme.pen(series.colour, alpha=200)
        self._errors.setData(
            x=x[good],
            y=y[good],
            top=top[good],
            bottom=bottom[good],
            left=right[good],
            right=right[good],
            pen=colour,
        )

    def _draw_fit(self, series: Series, single: bool) -> None:
        fit = series.fit
        curve = None if fit is None else fit.curve
        drawn = (self._low, self._high, self._band, self._curve)
        for item in drawn:
            item.setVisible(fit is not None)
        marked = fit is not None and fit.threshold_uj_cm2 is not None
        self.line.setVisible(marked)
        self.interval.setVisible(marked and fit is not None and fit.ci95 is not None)
        if fit is None or curve is None:
            return
        colour = theme.FIT if single else series.colour
        x = self._x.place(curve.fluence_uj_cm2)
        parts = [self._y.place(values) for values in (curve.low, curve.high, curve.signal)]
        good = np.isfinite(x) & np.isfinite(parts[1]) & np.isfinite(parts[2])
        lowest = np.nanmin(parts[2][good]) - 0.5 if self._y.log and good.any() else 0.0
        low = np.where(np.isfinite(parts[0]), parts[0], lowest)
        self._low.setData(x[good], low[good], pen=None)
        self._high.setData(x[good], parts[1][good], pen=None)
        self._band.setBrush(theme.brush(colour, 55))
        self._curve.setData(x[good], parts[2][good], pen=theme.pen(colour, width=2))
        self._mark(fit, theme.THRESHOLD if single else series.colour)

    def _mark(self, fit: BandThreshold, colour: str) -> None:
        if fit.threshold_uj_cm2 is None:
            return
        self.line.setPen(theme.pen(colour, width=2))
        self.line.setValue(float(self._x.place([fit.threshold_uj_cm2])[0]))
        if fit.ci95 is not None:
            ends = self._x.place(fit.ci95)
            self.interval.setBrush(theme.brush(colour, 45))
            self.interval.setRegion((float(ends[0]), float(ends[1])))
            for edge in self.interval.lines:
                edge.setPen(theme.pen(colour, alpha=90))
