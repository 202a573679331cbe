"""What all plots share: how they look, and axes that are linear or logarithmic for every item in them.

pyqtgraph's own log mode transforms curves, but neither error bars nor filled bands nor a second axis. So
items get the logarithm itself here, and only the tick labels are told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import ArrayLike
from PySide6.QtCore import QEvent, QObject, QPointF
from PySide6.QtGui import QColor, QFont
from PySide6.QtWidgets import QGraphicsTextItem

from labctl.gui.base import theme
from labctl.model.records import FloatArray

TOP_PX = 10
"""Half of the topmost tick label stands above its axis."""


def label_style(colour: str = "") -> dict[str, str]:
    """Return how the label of an axis looks."""
    return {"color": colour or theme.TEXT, "font-size": "10pt"}


def make_plot(bottom: str, left: str) -> Any:
    """Return a styled ``PlotWidget`` without automatic ranges and without a context menu of its own."""
    widget = pg.PlotWidget()
    item = widget.getPlotItem()
    item.hideButtons()
    item.setMenuEnabled(False)
    item.disableAutoRange()
    item.layout.setContentsMargins(1, TOP_PX, 1, 1)
    for name, text in (("bottom", bottom), ("left", left)):
        style_axis(item.getAxis(name))
        item.setLabel(name, text, **label_style())
    item.showGrid(x=True, y=True, alpha=0.12)
    return widget


def style_axis(axis: Any, text: str = "") -> None:
    """Give an axis its colours and a font that can be read from afar."""
    font = QFont()
    font.setPointSize(10)
    axis.setPen(theme.pen(theme.LINE))
    axis.setTextPen(theme.pen(text or theme.TEXT))
    axis.setStyle(tickFont=font, tickTextOffset=6)
    # Prefixes would turn 0.01 counts into "10 m"; the unit stands in the label already.
    axis.enableAutoSIPrefix(False)


def plain_log_ticks(axis: Any) -> None:
    """Let a logarithmic axis show 20, 50, 100 where pyqtgraph shows nine crowded powers."""

    def values(
        low: float, high: float, _size: float, _linear: object
    ) -> list[tuple[float | None, list[float]]]:
        decades = range(int(np.floor(low)), int(np.ceil(high)) + 1)
        digits = (1, 2, 5) if high - low < 2.5 else (1,)
        named = [d + float(np.log10(n)) for d in decades for n in digits]
        others = [d + float(np.log10(n)) for d in decades for n in range(1, 10) if n not in digits]
        return [
            (1.0, [v for v in named if low <= v <= high]),
            (None, [v for v in others if low <= v <= high]),
        ]

    def strings(places: list[float], _scale: float, spacing: float | None) -> list[str]:
        return ["" if spacing is None else f"{10.0**place:g}" for place in places]

    axis.logTickValues, axis.logTickStrings = values, strings


class Scale:
    """One direction of a plot, linear or logarithmic."""

    def __init__(self, axis: Any) -> None:
        self._axis = axis
        self.log = False
        plain_log_ticks(axis)

    def set_log(self, log: bool) -> None:
        """Choose; the caller draws anew."""
        self.log = log
        self._axis.setLogMode(log)

    def place(self, values: ArrayLike) -> FloatArray:
        """Return where values are drawn; nan where a logarithm has none."""
        array = np.asarray(values, dtype=np.float64)
        if not self.log:
            return array
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(array > 0, np.log10(array), np.nan))

    def value(self, place: float) -> float:
        """Return the value at a place."""
        return float(10.0**place) if self.log else place


class Cursor:
    """Reads the plot where the mouse is: a cross, and in words what stands there.

    :param widget: the plot.
    :param say: returns the words for a place of the view, empty for none.
    """

    def __init__(self, widget: Any, say: Callable[[float, float], str]) -> None:
        self._view, self._say = widget.getPlotItem().vb, say
        pen = theme.pen(theme.DIM, dashed=True, alpha=150)
        self.lines = [pg.InfiniteLine(angle=angle, movable=False, pen=pen) for angle in (90, 0)]
        for line in self.lines:
            line.setZValue(60)
            self._view.addItem(line, ignoreBounds=True)
        self.words = QGraphicsTextItem(self._view)
        self.words.setZValue(61)
        self.words.setDefaultTextColor(QColor(theme.TEXT))
        widget.scene().sigMouseMoved.connect(self.move)
        widget.viewport().installEventFilter(_Leaving(widget, self.hide))
        self.hide()

    def move(self, place: QPointF) -> None:
        """Read what stands at a place of the scene; nothing outside of the axes."""
        inside = self._view.sceneBoundingRect().contains(place)
        at = self._view.mapSceneToView(place) if inside else None
        text = "" if at is None else self._say(at.x(), at.y())
        if at is None or not text:
            self.hide()
            return
        for line, value in zip(self.lines, (at.x(), at.y()), strict=True):
            line.setValue(value)
            line.setVisible(True)
        self.words.setPlainText(text)
        room, size = self._view.boundingRect(), self.words.boundingRect()
        self.words.setPos(room.width() - size.width() - 2, room.height() - size.height() - 2)
        self.words.setVisible(True)

    def hide(self) -> None:
        """Show nothing."""
        for item in (*self.lines, self.words):
            item.setVisible(False)


class _Leaving(QObject):
    """Tells that the mouse has left a widget."""

    def __init__(self, parent: QObject, told: Callable[[], None]) -> None:
        super().__init__(parent)
        self._told = told

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:  # noqa: N802
        if event.type() == QEvent.Type.Leave:
            self._told()
        return False


def name_places(plot: Any, named: bool, *axes: str) -> None:
    """Show numbers on axes, or none while there is nothing that they could be of."""
    for name in axes:
        plot.getAxis(name).setStyle(showValues=named)


def span(*arrays: FloatArray, pad: float = 0.05, floor: float | None = None) -> tuple[float, float]:
    """Return a range that holds all finite values, with a margin; (0, 1) where there are none."""
    values = np.concatenate([np.ravel(a) for a in arrays]) if arrays else np.empty(0)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    if floor is not None:
        low = min(low, floor)
    margin = pad * (high - low) or 0.5 * abs(high) or 0.5
    return low - (margin if floor is None or low < floor else 0.3 * margin), high + margin


def ceiling(value: float) -> float:
    """Return the next of 1, 1.5, 2, 3, 5, 7 times a power of ten: a live range that seldom changes.

    >>> ceiling(63000.0)
    70000.0
    """
    if not value > 0:
        return 1.0
    decade = 10.0 ** np.floor(np.log10(value))
    return float(next((s * decade for s in (1, 1.5, 2, 3, 5, 7) if s * decade >= value), 10 * decade))
