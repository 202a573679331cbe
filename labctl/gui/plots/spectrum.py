"""The spectrum: counts with the saturation level, ghosts of earlier ones, peak marks, bands to drag."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QGraphicsTextItem, QVBoxLayout, QWidget

from labctl.gui.base import theme
from labctl.gui.plots.axes import Cursor, ceiling, label_style, make_plot, name_places
from labctl.model.pump import Bands
from labctl.model.records import FloatArray
from labctl.model.results.sweep import PeakMark
from labctl.runner.rundata import Exposure

COLUMNS, ROWS = 480, 220
MOST = 12


def columns_of(
    places: FloatArray, values: FloatArray, low: float, high: float
) -> tuple[FloatArray, FloatArray]:
    """Return the lowest and the highest value in each of :data:`COLUMNS` columns between two places.

    :param places: rising, shape ``(pixel,)``, like ``values``. A column without a pixel is interpolated.
    """
    edges = np.linspace(low, high, COLUMNS + 1)
    middle = 0.5 * (edges[1:] + edges[:-1])
    base = np.interp(middle, places, values)
    bottom, top = base.copy(), base.copy()
    inside = (places >= low) & (places < high)
    which = np.searchsorted(edges, places[inside], side="right") - 1
    np.minimum.at(bottom, which, values[inside])
    np.maximum.at(top, which, values[inside])
    return bottom, top


def traced(bottom: FloatArray, top: FloatArray, floor: float, ceiling: float) -> NDArray[np.float32]:
    """Return an image, 1 where the line runs, shape ``(ROWS, COLUMNS)``, row 0 at the floor."""
    scale = ROWS / (ceiling - floor)
    # Neighbouring columns are joined, so that a steep flank is a line and not two dots.
    low = np.minimum(bottom, np.roll(top, 1))
    low[0] = bottom[0]
    first = np.clip((low - floor) * scale, 0, ROWS - 1).astype(np.intp)
    last = np.clip((top - floor) * scale, 0, ROWS - 1).astype(np.intp)
    first = np.minimum(first, last)
    shown = (low < ceiling) & (top > floor)  # what lies outside leaves no line along the edge
    steps = np.zeros((ROWS + 1, COLUMNS), dtype=np.float32)
    at = np.arange(COLUMNS)
    np.add.at(steps, (first[shown], at[shown]), 1.0)
    np.add.at(steps, (last[shown] + 1, at[shown]), -1.0)
    return np.cumsum(steps, axis=0, dtype=np.float32)[:ROWS]


class Ghosts:
    """The last spectra and their fading image."""

    def __init__(self) -> None:
        self._kept: deque[tuple[FloatArray, FloatArray]] = deque(maxlen=MOST)
        self._image = np.zeros((ROWS, COLUMNS), dtype=np.float32)
        self._range: tuple[float, float] | None = None

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
        self._image[:] = 0.0

    def add(self, columns: tuple[FloatArray, FloatArray]) -> None:
        """Take in one more, as :func:`columns_of` gives it; the others fade."""
        self._kept.append(columns)
        if self._range is not None:
            self._image *= 0.8
            np.maximum(self._image, traced(*columns, *self._range), out=self._image)

    def image(self, floor: float, ceiling: float) -> NDArray[np.uint8]:
        """Return the image for a range of counts, 0 to 255, shape ``(ROWS, COLUMNS)``."""
        if self._range != (floor, ceiling):
            self._range = (floor, ceiling)
            self._image[:] = 0.0
            for columns in self._kept:
                self._image *= 0.8
                np.maximum(self._image, traced(*columns, floor, ceiling), out=self._image)
        return np.asarray(np.clip(self._image * 255.0, 0, 255), dtype=np.uint8)


_PEAKS, _LINE_PX = 5, 17
"""Peaks that are listed where there is room, and the height of a line of the list."""


def _table(peaks: Sequence[PeakMark], most: int = _PEAKS) -> str:
    strongest = sorted(peaks, key=lambda p: p.height, reverse=True)[:most]
    rows = "".join(f"<tr><td>{p.wavelength_nm:.2f}</td>{_width_and_q(p)}</tr>" for p in strongest)
    head = "<tr><td>peak (nm)</td><td>&nbsp;FWHM (nm)</td><td>&nbsp;Q</td></tr>"
    return f'<table style="color: {theme.THRESHOLD}; font-size: 9pt">{head}{rows}</table>'


def _width_and_q(peak: PeakMark) -> str:
    if peak.fwhm_nm is None or peak.q is None:
        return f"<td>&nbsp;<span style='color: {theme.WARN}'>clipped</span></td><td>&nbsp;–</td>"
    return f"<td>&nbsp;{peak.fwhm_nm:.2f}</td><td>&nbsp;{'≥ ' if peak.at_least else ''}{peak.q:.0f}</td>"


class SpectrumPlot(QWidget):
    """Shows one exposure; tells when a band was dragged.

    :ivar bands_changed: the new bands, and whether the mouse has let go.
    """

    bands_changed = Signal(object, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.widget = make_plot("Wavelength (nm)", "Counts")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.widget)
        self._plot: Any = self.widget.getPlotItem()
        self._plot.showGrid(x=False, y=False)  # with every frame it costs as much as all the rest
        self._axis: FloatArray = np.empty(0)
        self._shown: Exposure | None = None
        self._max_counts: float | None = None
        self._bands: Bands | None = None
        self._top, self._floor = 1.0, 0.0
        self._frozen = self._setting = False
        self.subtract, self.show_ghosts, self.show_peaks = True, True, True
        self._ghosts = Ghosts()
        self._make_items()
        name_places(self._plot, False, "left")
        self.reader = Cursor(self.widget, self._read)
        self._plot.vb.sigRangeChangedManually.connect(self._freeze)
        self.setToolTip(
            "One exposure: counts against wavelength in nm. Red line: full scale of the detector. Drag the "
            "edges of the bands (blue: whole emission, pink: lasing peaks); the L-L curve is updated."
        )

    def _make_items(self) -> None:
        self._image: Any = pg.ImageItem()
        self._image.setZValue(-20)
        shades = np.zeros((256, 4), dtype=np.ubyte)
        shades[:, :3] = (120, 150, 175)
        shades[:, 3] = np.linspace(0, 120, 256)
        self._image.setLookupTable(shades)
        self._image.setLevels((0, 255))
        self._curve: Any = pg.PlotCurveItem(pen=theme.pen(theme.ACCENT))
        self._limit: Any = pg.InfiniteLine(
            angle=0, pen=theme.pen(theme.DANGER, dashed=True), label="saturation",
            labelOpts={"position": 0.4, "color": theme.DANGER, "anchors": [(1, 1), (1, 1)]},
        )  # fmt: skip
        self._limit.setVisible(False)
        self._emission = self._band(theme.EMISSION_BAND)
        self._lasing = self._band(theme.LASING_BAND)
        self._marks: Any = pg.ScatterPlotItem(
            symbol="t", size=11, pen=None, brush=theme.brush(theme.THRESHOLD)
        )
        self._table = QGraphicsTextItem(self._plot.vb)
        self._table.setPos(8, 4)
        self._used = QGraphicsTextItem(self._plot.vb)
        self._used.setDefaultTextColor(QColor(theme.DIM))
        self._plot.vb.sigResized.connect(self._place_used)
        for item in (self._image, self._emission, self._lasing, self._curve, self._limit, self._marks):
            self._plot.addItem(item)

    def _band(self, colour: str) -> Any:
        region = pg.LinearRegionItem(brush=theme.brush(colour, 16), hoverBrush=theme.brush(colour, 40))
        for edge in region.lines:
            edge.setPen(theme.pen(colour, alpha=160))
            edge.setHoverPen(theme.pen(colour, width=3))
        region.setZValue(-10)
        region.sigRegionChanged.connect(lambda: self._dragged(finished=False))
        region.sigRegionChangeFinished.connect(lambda: self._dragged(finished=True))
        return region

    # --- what is shown -----------------------------------------------------------------------------

    def set_axis(self, wavelength_nm: FloatArray, max_counts: float | None) -> None:
        """Show another spectrometer."""
        self._axis, self._max_counts = wavelength_nm, max_counts
        self.clear()

    def set_bands(self, bands: Bands) -> None:
        """Show bands; they are not told back."""
        self._setting = True
        self._emission.setRegion(bands.emission_nm)
        self._lasing.setRegion(bands.lasing_nm)
        self._setting = False
        fresh = self._bands is None or self._bands != bands
        self._bands = bands
        if fresh and not self._frozen:
            self._set_x_range()

    def clear(self) -> None:
        """Show nothing."""
        self._shown = None
        name_places(self._plot, False, "left")
        self._ghosts.clear()
        self._curve.setData([], [])
        self._image.clear()
        self.set_peaks(())
        self._set_x_range()

    def show_exposure(self, exposure: Exposure, *, ghost: bool = True) -> None:
        """Show one exposure; the one before becomes a ghost."""
        if exposure.raw.shape != self._axis.shape:
            return
        if ghost and self._shown is not None:
            self.add_ghost(self._shown)
        self._shown = exposure
        self.redraw()

    def add_ghost(self, exposure: Exposure) -> None:
        """Put an exposure behind the one that is shown."""
        low, high = self._x_ends()
        self._ghosts.add(columns_of(self._axis, self._counts(exposure), low, high))

    def set_subtract(self, subtract: bool) -> None:
        """Choose dark-subtracted or raw counts."""
        self.subtract = subtract
        self._ghosts.clear()
        self._plot.setLabel("left", "Counts" if subtract else "Raw counts")
        self.redraw()

    def set_peaks(self, peaks: Sequence[PeakMark]) -> None:
        """Mark peaks of what is shown."""
        offset = (
            0.0
            if self.subtract or self._shown is None or self._shown.dark is None
            else float(np.median(self._shown.dark))
        )
        places = [(p.wavelength_nm, p.height + offset) for p in peaks] if self.show_peaks else []
        self._marks.setData([x for x, _ in places], [y + 0.02 * self._top for _, y in places])
        most = max(int((self._plot.vb.height() - 24) / _LINE_PX) - 1, 1)
        self._table.setHtml(_table(peaks, min(most, _PEAKS)) if places else "")
        self._place_used()

    def redraw(self) -> None:
        """Draw the exposure, its limit and the ghosts."""
        exposure = self._shown
        if exposure is None:
            return
        counts = self._counts(exposure)
        name_places(self._plot, True, "left")
        self._curve.setData(self._axis, counts)
        self._set_y_range(counts)
        self._show_level(exposure)
        self._image.setVisible(self.show_ghosts)
        if self.show_ghosts:
            low, high = self._x_ends()
            self._image.setImage(self._ghosts.image(self._floor, self._top), autoLevels=False)
            self._image.setRect(QRectF(low, self._floor, high - low, self._top - self._floor))

    def see_all(self) -> None:
        """Follow the data again."""
        self._frozen = False
        self._set_x_range()
        self.redraw()

    # --- parts -------------------------------------------------------------------------------------

    def _read(self, x: float, y: float) -> str:
        """Read the place, and the spectrum above it."""
        if self._shown is None:
            return f"{x:.2f} nm"
        at = int(np.argmin(np.abs(self._axis - x)))
        counts = self._counts(self._shown)[at]
        return f"{x:.2f} nm, {y:.0f} counts   spectrum {counts:.0f}"

    def _counts(self, exposure: Exposure) -> FloatArray:
        if self.subtract and exposure.dark is not None:
            return exposure.raw - exposure.dark
        return exposure.raw

    def _show_level(self, exposure: Exposure) -> None:
        level = self._level(exposure)
        self._limit.setVisible(level is not None)
        if level is None:
            return
        self._limit.setValue(level)
        low, high = self._x_ends()
        inside = exposure.raw[(self._axis >= low) & (self._axis <= high)]
        share = float(inside.max()) / float(self._max_counts or 1.0) if inside.size else 0.0
        dark = "dark: the shutter is closed  ·  " if exposure.is_dark else ""
        dark = "no dark yet  ·  " if self.subtract and exposure.dark is None else dark
        self._used.setPlainText(f"{dark}{100 * share:.0f} % of full scale  ·  {exposure.integration_s:g} s")
        self._place_used()

    def _place_used(self) -> None:
        room = float(self._plot.vb.boundingRect().width()) - self._used.boundingRect().width()
        self._used.setPos(room - 4, 2)
        free = room - 16 > self._table.boundingRect().width()
        self._table.setPos(8, 4 if free else 20)  # beside it, or below

    def _level(self, exposure: Exposure) -> float | None:
        if self._max_counts is None:
            return None
        under = float(np.median(exposure.dark)) if self.subtract and exposure.dark is not None else 0.0
        return self._max_counts - under

    def _x_ends(self) -> tuple[float, float]:
        if not self._axis.size:
            return 0.0, 1.0
        if self._bands is None:
            return float(self._axis[0]), float(self._axis[-1])
        low, high = self._bands.emission_nm
        margin = 0.12 * (high - low)
        return max(low - margin, float(self._axis[0])), min(high + margin, float(self._axis[-1]))

    def _set_x_range(self) -> None:
        low, high = self._x_ends()
        if high > low:
            self._plot.vb.setXRange(low, high, padding=0)

    def _set_y_range(self, counts: FloatArray) -> None:
        """Keep the range while the highest counts fit it well: what jumps cannot be read."""
        low, high = self._x_ends()
        inside = counts[(self._axis >= low) & (self._axis <= high)]
        highest = float(np.nanmax(inside)) if inside.size else 1.0
        full = self._max_counts
        if full is not None and highest > 0.3 * full:
            self._top = 1.1 * full
        elif not 0.35 * self._top < highest < 0.97 * self._top:
            self._top = ceiling(1.12 * highest)
        self._floor = -0.03 * self._top if self.subtract else 0.0
        if not self._frozen:
            self._plot.vb.setYRange(self._floor, self._top, padding=0)

    def _freeze(self) -> None:
        self._frozen = True

    def _dragged(self, *, finished: bool) -> None:
        if self._setting or self._bands is None:
            return
        e, p = sorted(self._emission.getRegion()), sorted(self._lasing.getRegion())
        inner = (min(max(p[0], e[0]), e[1]), max(min(p[1], e[1]), e[0]))
        self._bands = Bands((e[0], e[1]), inner if inner[0] < inner[1] else (e[0], e[1]))
        self.bands_changed.emit(self._bands, finished)


WATERFALL_COLUMNS = 700
DECADES = 5.0
"""Range of the colours below the brightest, on their logarithmic scale."""
_TICKS, _TICK_PX = 9, 20


class Waterfall(QWidget):
    """An image of spectra; tells which row was clicked. Row 0 is at the bottom.

    :ivar row_clicked: number of the row, as given.
    """

    row_clicked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.widget = make_plot("Wavelength (nm)", "")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.widget)
        self._plot: Any = self.widget.getPlotItem()
        self._plot.showGrid(x=False, y=False)
        self._image: Any = pg.ImageItem(levels=(0, 255))
        self._map = pg.colormap.get("inferno")
        self._image.setLookupTable(self._map.getLookupTable(0.0, 1.0, 256))
        self._plot.addItem(self._image)
        self._marker: Any = pg.LinearRegionItem(
            orientation="horizontal",
            movable=False,
            brush=theme.brush(theme.TEXT, 0),
            pen=theme.pen(theme.ACCENT, width=2),
        )
        self._marker.setVisible(False)
        self._plot.addItem(self._marker)
        self._bar: Any = pg.ColorBarItem(values=(0.0, 1.0), colorMap=self._map, interactive=False, width=16)
        self._plot.layout.addItem(self._bar, 2, 5)
        self._rows = 0
        self._ends = (0.0, 1.0)
        self._show_scales(False)
        self.log = True
        self._image_rows: NDArray[np.floating[Any]] = np.empty((0, 0))
        self._named: Sequence[str] = ()
        self.reader = Cursor(self.widget, self._read)
        self._plot.vb.sigResized.connect(self._name_rows)
        self.widget.scene().sigMouseClicked.connect(self._clicked)
        self.setToolTip(
            "One spectrum per row, wavelength in nm; colour: counts per pulse. Click a row for its spectrum."
        )

    def set_rows(
        self, wavelength_nm: FloatArray, spectra: FloatArray, ends_nm: tuple[float, float],
        ticks: Sequence[str], label: str, unit: str = "counts per pulse",
    ) -> None:  # fmt: skip
        """Show rows.

        :param spectra: shape ``(row, pixel)``; ``ticks`` holds one text for each row.
        :param ends_nm: shortest and longest wavelength shown.
        """
        rows = [self.resampled(wavelength_nm, row, ends_nm) for row in spectra]
        self.set_resampled(
            np.stack(rows) if rows else np.empty((0, WATERFALL_COLUMNS)), ends_nm, ticks, label, unit
        )

    @staticmethod
    def resampled(wavelength_nm: FloatArray, counts: FloatArray, ends_nm: tuple[float, float]) -> FloatArray:
        """Return a spectrum at :data:`WATERFALL_COLUMNS` evenly spaced wavelengths."""
        return np.interp(np.linspace(*ends_nm, WATERFALL_COLUMNS), wavelength_nm, counts)

    def set_resampled(
        self,
        rows: NDArray[np.floating[Any]],
        ends_nm: tuple[float, float],
        ticks: Sequence[str],
        label: str,
        unit: str,
    ) -> None:
        """Show rows that :meth:`resampled` made."""
        self._rows, self._ends = len(rows), ends_nm
        self._plot.setLabel("left", label, **label_style())
        self._show_scales(bool(self._rows))
        if not self._rows:
            self._image.clear()
            return
        low, high, shown = self._scaled(rows)
        self._image.setImage(shown, autoLevels=False, levels=(0, 255))
        self._image.setRect(QRectF(ends_nm[0], 0.0, ends_nm[1] - ends_nm[0], float(self._rows)))
        self._unit = unit
        self._bar.setLevels((low, high))
        self._bar.getAxis("right").setLabel("log₁₀ counts" if self.log else "counts")
        self._image_rows, self._named = rows, ticks
        self._name_rows()
        self._plot.vb.setRange(xRange=ends_nm, yRange=(0, self._rows), padding=0)

    def _name_rows(self) -> None:
        """Name as many rows as have room for a line of text."""
        if not self._rows:
            return
        most = max(min(_TICKS, int(self._plot.vb.height() / _TICK_PX)), 1)
        step = max(int(np.ceil(self._rows / most)), 1)
        named = [(at + 0.5, self._named[at]) for at in range(0, self._rows, step)]
        self._plot.getAxis("left").setTicks([named])

    def _read(self, x: float, y: float) -> str:
        """Read one row where the mouse is."""
        row = int(np.floor(y))
        if not 0 <= row < self._rows or not self._ends[0] <= x <= self._ends[1]:
            return ""
        share = (x - self._ends[0]) / (self._ends[1] - self._ends[0])
        column = min(int(share * self._image_rows.shape[1]), self._image_rows.shape[1] - 1)
        value = float(self._image_rows[row, column])
        return f"{x:.2f} nm   {self._named[row]}   {value:.4g} {self._unit}"

    def _show_scales(self, shown: bool) -> None:
        """Show numbers and colours, or none of them while there is nothing that they could be of."""
        for name in ("bottom", "left"):
            self._plot.getAxis(name).setStyle(showValues=shown)
        self._bar.setVisible(shown)

    def mark(self, row: int | None) -> None:
        """Frame a row."""
        self._marker.setVisible(row is not None)
        if row is not None:
            self._marker.setRegion((row, row + 1))

    def set_log(self, log: bool) -> None:
        """Choose logarithmic colours; shown with the next rows."""
        self.log = log

    def _scaled(self, rows: NDArray[np.floating[Any]]) -> tuple[float, float, Any]:
        """Return the ends of the colour bar and the image in 256 steps: scaled here it is drawn fastest."""
        top = float(np.nanmax(rows)) if np.isfinite(rows).any() else 1.0
        top = top if top > 0 else 1.0
        if self.log:
            high = float(np.log10(top))
            some = np.abs(
                rows[:: 1 + len(rows) // 40, ::5]
            )  # of all of them it would take as long as the drawing
            noise = max(float(np.nanpercentile(some, 10)), top * 10.0**-DECADES)
            low = float(np.log10(noise))
            with np.errstate(divide="ignore", invalid="ignore"):
                values = np.log10(np.maximum(rows, noise))
        else:
            low, high, values = 0.0, top, rows
        steps = (values - low) * (255.0 / max(high - low, 1e-12))
        np.clip(np.nan_to_num(steps, copy=False), 0, 255, out=steps)
        return low, high, steps.astype(np.uint8)

    def _clicked(self, event: Any) -> None:
        if event.button() != Qt.MouseButton.LeftButton or not self._rows:
            return
        row = self.row_at(event.scenePos())
        if row is not None:
            event.accept()
            self.row_clicked.emit(row)

    def row_at(self, place: Any) -> int | None:
        """Return the row at a place of the scene, None outside."""
        if not self._plot.vb.sceneBoundingRect().contains(place):
            return None
        row = int(np.floor(self._plot.vb.mapSceneToView(place).y()))
        return row if 0 <= row < self._rows else None
