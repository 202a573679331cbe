"""The light-light plot: one run or several, linear or logarithmic, with the linewidth on a second axis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QGraphicsTextItem, QVBoxLayout, QWidget

from labctl.analysis.light_light import REFERENCE_FLAG
from labctl.gui.base import theme
from labctl.gui.base.fields import rich
from labctl.gui.plots.axes import Cursor, Scale, label_style, make_plot, name_places, span, style_axis
from labctl.model.records import FloatArray
from labctl.model.results.sweep import BandThreshold, SweepResult
from labctl.runner.fit_process import FileQuestion, PeaksQuestion
from labctl.runner.rundata import Exposure, RunData
from labctl.runner.rundata import Signal as SignalName
from labctl.runner.wording import UNIT, digits, typographic
from procedures.point.exposure import SATURATED

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


@dataclass(frozen=True, slots=True)
class Planned:
    """A sweep before it is measured: its fluences, shape ``(n,)``, and what it will ask, in words."""

    fluence: FloatArray
    note: str = ""


TICK_SHARE = 0.06
"""Height of the ticks at planned fluences, of the plot's."""


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


REACH_PX = 16.0
"""A click this near to a point means it."""

_CHECKS = {
    "x_intercept": ("two lines: intercept", 3),
    "crossing": ("two lines: crossing", 7),
    "width_collapse": ("FWHM collapse", 1),
    "peak_onset": ("first peak", 2),
}


class LightLightPlot(QWidget):
    """Draws series; tells which point was clicked.

    :ivar point_clicked: key of the series, index of the point.
    """

    point_clicked = Signal(str, int)
    toggled = Signal(str, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.widget = make_plot(f"Pump fluence ({UNIT})", "Emission (counts per pulse)")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.widget)
        self._plot: Any = self.widget.getPlotItem()
        self._x, self._y = Scale(self._plot.getAxis("bottom")), Scale(self._plot.getAxis("left"))
        self._right: Any = pg.ViewBox(enableMenu=False)
        self._add_right_axis()
        self._series: dict[str, Series] = {}
        self._items: dict[str, SeriesItems] = {}
        self._checks: list[Any] = []
        self._selected: tuple[str, int] | None = None
        self._ring = pg.ScatterPlotItem(size=SELECTED_SIZE, pen=theme.pen(theme.TEXT, width=2), brush=None)
        self._ring.setZValue(50)
        self._plot.addItem(self._ring)
        self._planned: Planned | None = None
        self._ticks: Any = pg.VTickGroup([], yrange=[0.0, TICK_SHARE], pen=theme.pen(theme.DIM, width=2))
        self._plot.addItem(self._ticks)
        self._note = QGraphicsTextItem(self._plot.vb)
        self._note.setDefaultTextColor(QColor(theme.DIM))
        self._plot.vb.sigResized.connect(self._place_note)
        self._legend: Any = self._plot.addLegend(offset=(12, 8), labelTextSize="11pt")
        self.show_widths, self.show_checks = True, False
        self._frozen = False
        self.reader = Cursor(self.widget, self._read)
        self.widget.scene().sigMouseClicked.connect(self._clicked)
        self._plot.vb.sigRangeChangedManually.connect(self._freeze)
        self.setToolTip(
            f"Emission against pump fluence on the sample, in {UNIT}. Click a point for its spectrum; "
            f"double-click to exclude it from the fit or include it again; wheel and drag to zoom, A to see "
            f"all."
        )

    # --- what is shown -----------------------------------------------------------------------------

    def set_series(self, key: str, series: Series) -> None:
        """Show a series, or its new data."""
        if key not in self._items:
            self._items[key] = SeriesItems(self._plot, self._right, self._x, self._y)
        self._series[key] = series
        self.redraw()

    def set_plan(self, planned: Planned | None) -> None:
        """Show what is planned: a tick at every fluence, and in words while nothing was measured."""
        self._planned = planned
        self.redraw()

    def remove(self, key: str) -> None:
        """Show a series no more."""
        self._series.pop(key, None)
        items = self._items.pop(key, None)
        if items is not None:
            items.remove()
        if self._selected is not None and self._selected[0] == key:
            self._selected = None
        self.redraw()

    def set_log(self, log: bool) -> None:
        """Choose double logarithmic axes."""
        self._x.set_log(log)
        self._y.set_log(log)
        self.see_all()

    def set_labels(self, fluence: str, signal: str) -> None:
        """Name the axes."""
        self._plot.setLabel("bottom", fluence, **label_style())
        self._plot.setLabel("left", signal, **label_style())

    def select(self, key: str, index: int) -> None:
        """Put a ring round a point."""
        self._selected = (key, index)
        self._draw_ring()

    def see_all(self) -> None:
        """Follow the data again, after somebody zoomed."""
        self._frozen = False
        self.redraw()

    def redraw(self) -> None:
        """Draw every series anew."""
        single = len(self._series) == 1
        for key, series in self._series.items():
            self._items[key].draw(series, single=single, widths=self.show_widths)
        self._right_axis.setVisible(self.show_widths and bool(self._series))
        self._draw_plan()
        self._draw_checks(single)
        self._draw_legend(single)
        self._draw_ring()
        if not self._frozen:
            self._set_ranges()

    def place_of(self, key: str, index: int) -> QPointF:
        """Return where a point is in the plot's scene, e.g. to click it."""
        series = self._series[key]
        at = QPointF(float(self._x.place(series.fluence)[index]), float(self._y.place(series.signal)[index]))
        found = self._plot.vb.mapViewToScene(at)
        return QPointF(found.x(), found.y())

    # --- parts -------------------------------------------------------------------------------------

    def _add_right_axis(self) -> None:
        self._plot.showAxis("right")
        self._right_axis = self._plot.getAxis("right")
        style_axis(self._right_axis, text=theme.WIDTH)
        self._right_axis.setLabel("FWHM (nm)", **label_style(theme.WIDTH))
        self._right_axis.setGrid(False)
        self._plot.scene().addItem(self._right)
        self._right_axis.linkToView(self._right)
        self._right.setXLink(self._plot.vb)
        self._right.setMouseEnabled(x=False, y=False)
        self._right.setAcceptedMouseButtons(Qt.MouseButton.NoButton)
        self._right.setZValue(-10)
        self._plot.vb.sigResized.connect(self._follow)

    def _follow(self) -> None:
        self._right.setGeometry(self._plot.vb.sceneBoundingRect())
        self._right.linkedViewChanged(self._plot.vb, self._right.XAxis)

    def _set_ranges(self) -> None:
        xs = [] if self._planned is None else [self._x.place(self._planned.fluence)]
        ys, widths = [], []
        for series in self._series.values():
            xs.append(self._x.place(series.fluence))
            ys.append(self._y.place(series.signal))
            widths.append(series.fwhm_nm)
        linear = None if self._y.log else 0.0
        self._plot.vb.setRange(
            xRange=span(*xs, floor=linear), yRange=span(*ys, floor=linear, pad=0.07), padding=0
        )
        known = [float(np.nanmax(w)) for w in widths if np.isfinite(w).any()]
        # Below the threshold all of them lie near the highest: the margin is of the value, not of the range.
        self._right.setYRange(0.0, 1.18 * max(known, default=1.0), padding=0)

    def _draw_plan(self) -> None:
        planned = self._planned
        places = np.empty(0) if planned is None else self._x.place(planned.fluence)
        self._ticks.setXVals(places[np.isfinite(places)])
        self._note.setPlainText("" if planned is None or self._series else planned.note)
        self._place_note()
        measured = any(np.isfinite(series.signal).any() for series in self._series.values())
        name_places(self._plot, measured, "left", "right")
        name_places(self._plot, measured or bool(places.size), "bottom")

    def _read(self, x: float, y: float) -> str:
        text = f"{digits(self._x.value(x))} {UNIT}   {digits(self._y.value(y))} counts per pulse"
        if not (self.show_widths and self._series):
            return text
        low, high = self._plot.vb.viewRange()[1]
        ends = self._right.viewRange()[1]
        return f"{text}   {digits(ends[0] + (y - low) / (high - low) * (ends[1] - ends[0]), 3)} nm FWHM"

    def _place_note(self) -> None:
        room = self._plot.vb.boundingRect()
        self._note.setTextWidth(max(room.width() - 24, 80.0))
        self._note.setPos(12, max(0.4 * room.height() - 0.5 * self._note.boundingRect().height(), 0.0))

    def _draw_ring(self) -> None:
        selected = self._selected
        if selected is None or selected[0] not in self._series:
            self._ring.setData([], [])
            return
        series, at = self._series[selected[0]], selected[1]
        if at >= len(series.fluence):
            self._ring.setData([], [])
            return
        x, y = self._x.place(series.fluence)[at], self._y.place(series.signal)[at]
        good = np.isfinite(x) and np.isfinite(y)
        self._ring.setData([x] if good else [], [y] if good else [])

    def _draw_checks(self, single: bool) -> None:
        for item in self._checks:
            self._plot.removeItem(item)
        self._checks = []
        fit = next(iter(self._series.values())).fit if single else None
        if not self.show_checks or fit is None:
            return
        for number, (name, (text, run_colour)) in enumerate(_CHECKS.items()):
            colour = theme.RUNS[run_colour]
            value = fit.cross_checks.get(name)
            if value is None or not value > 0:
                continue
            line = pg.InfiniteLine(
                pos=float(self._x.place([value])[0]),
                angle=90,
                pen=theme.pen(colour, dashed=True),
                label=f"{text} {digits(value)}",
                labelOpts={
                    "position": 0.97 - 0.08 * number,
                    "color": colour,
                    "anchors": [(0, 0.5)] * 2,
                },
            )
            self._plot.addItem(line)
            self._checks.append(line)

    def _draw_legend(self, single: bool) -> None:
        self._legend.clear()
        if single:
            return
        fits = [series.fit for series in self._series.values() if series.fit is not None]
        unlike = len({(fit.quantity, fit.unit, fit.convention) for fit in fits}) > 1
        for series in self._series.values():
            fit, value = series.fit, ""
            if fit is not None and fit.threshold_uj_cm2:
                kind = f" ({fit.convention_said or fit.quantity})" if unlike else ""
                value = f": {digits(fit.threshold_uj_cm2)} {typographic(fit.unit)}{kind}"
            sample = pg.PlotDataItem(
                pen=theme.pen(series.colour, width=2), symbol="o", symbolBrush=series.colour
            )
            self._legend.addItem(sample, f"{rich(series.label)}{value}")

    # --- the mouse ---------------------------------------------------------------------------------

    def _freeze(self) -> None:
        self._frozen = True

    def _clicked(self, event: Any) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            return
        found = self.nearest(event.scenePos())
        if found is None:
            return
        event.accept()
        (self.toggled if event.double() else self.point_clicked).emit(*found)

    def nearest(self, at: QPointF) -> tuple[str, int] | None:
        """Return the point nearest to a place in the scene, None where none is near."""
        best: tuple[float, str, int] | None = None
        for key, series in self._series.items():
            for index in range(len(series.fluence)):
                place = self.place_of(key, index)
                away = float(np.hypot(place.x() - at.x(), place.y() - at.y()))
                if away <= REACH_PX and (best is None or away < best[0]):
                    best = (away, key, index)
        return None if best is None else best[1:]


SOME_CLIPPED = 0.8
"""Share of the full scale above which a mean of exposures, some of them saturated, is taken for clipped."""


def run_question(run: RunData) -> FileQuestion:
    """Ask what is said of a run, or of a table, with what the user changed in it."""
    return FileQuestion(str(run.facts.path), run.edits)


def no_answer(problem: str) -> SweepResult:
    """Stand in for what is said of a run where nothing could be computed."""
    refused = BandThreshold("refused", f"the fit {problem}")
    return SweepResult(refused, refused)


def peaks_question(
    exposure: Exposure,
    wavelength_nm: FloatArray,
    band_nm: tuple[float, float],
    *,
    resolution_nm: float | None,
    max_counts: float | None,
) -> PeaksQuestion | None:
    """Ask for the peaks of an exposure; None where it has no dark, or is one.

    Counts above the saturation are marked: such a peak has no width. In a mean some exposures of which were
    saturated, everything near the full scale is.
    """
    if exposure.dark is None or exposure.is_dark or not wavelength_nm.size:
        return None
    share = SOME_CLIPPED if exposure.saturated else SATURATED
    top = math.inf if max_counts is None else share * max_counts
    counts, clipped = exposure.raw - exposure.dark, exposure.raw >= top
    return PeaksQuestion(wavelength_nm, counts, clipped, band_nm, resolution_nm)


def series_of(run: RunData, which: SignalName, colour: str) -> Series:
    """Return a run's curve as the plot draws it: points as they were fitted, the others as measured."""
    signal, sigma = (values.copy() for values in run.signal(which))
    fluence = run.column("fluence_uj_cm2").copy()
    state = np.where(run.doubtful(), DOUBTFUL, USED)
    unusable = ~np.isfinite(signal)
    if unusable.any():  # saturated throughout: shown where it was measured, but it takes no part
        stored = run.column("signal" if which == "emission" else "peaks_signal")
        signal = np.where(unusable, stored, signal)
        state[unusable] = EXCLUDED
    state[list(run.excluded)] = EXCLUDED
    state[[at for at in range(len(run)) if REFERENCE_FLAG in run.flags(at)]] = EXCLUDED
    points, result = run.points(which), run.result
    if points is not None:
        used = np.flatnonzero(points.used)
        fluence[used], signal[used] = points.fluence_uj_cm2[used], points.signal[used]
        sigma[used] = points.signal_sigma[used]
    return Series(
        label=run.facts.title,
        colour=colour,
        fluence=fluence,
        fluence_sigma=fluence * run.column("fluence_sigma_rel"),
        signal=signal,
        sigma=sigma,
        fwhm_nm=run.column("fwhm_nm"),
        state=state.astype(np.intp),
        fit=None if result is None or result.of(which).curve is None else result.of(which),
    )
