"""The tools of the plots of a run: each row stands on the plot that it changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from PySide6.QtCore import QObject, QPoint, QRect, QSize, Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QComboBox, QLayout, QLayoutItem, QToolButton, QWidget

from labctl.gui.plots.light_light import LightLightPlot
from labctl.gui.plots.spectrum import SpectrumPlot, Waterfall
from labctl.runner.rundata import RunData


class Viewed(Protocol):
    """The view of runs whose plots the tools change; ``index`` is that of the point shown."""

    lightlight: LightLightPlot
    spectrum: SpectrumPlot
    waterfall: Waterfall
    current: RunData | None
    index: int

    def set_which(self, which: str) -> None:
        """Choose the signal of the light-light curve."""

    def toggle_selected(self) -> None:
        """Leave the point shown out, or take it in again."""

    def select(self, key: str, index: int) -> None:
        """Show a point."""

    def draw_waterfall(self) -> None:
        """Draw the waterfall anew."""


class FlowLayout(QLayout):
    """Puts widgets side by side, at their own size, in as many lines as the width asks for."""

    def __init__(self, parent: QWidget, spacing: int = 4) -> None:
        super().__init__(parent)
        self._items: list[QLayoutItem] = []
        self.setSpacing(spacing)

    def addItem(self, item: QLayoutItem) -> None:  # noqa: N802
        """Put one at the end."""
        self._items.append(item)

    def put_before(self, widget: QWidget, other: QWidget) -> None:
        """Put a widget before another one."""
        at = next(i for i, item in enumerate(self._items) if item.widget() is other)
        self.addWidget(widget)
        self._items.insert(at, self._items.pop())

    def count(self) -> int:
        """Return how many there are."""
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:  # noqa: N802
        """Return one of them."""
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:  # noqa: N802
        """Take one out."""
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def expandingDirections(self) -> Qt.Orientation:  # noqa: N802
        """It takes no more than it needs."""
        return Qt.Orientation(0)

    def hasHeightForWidth(self) -> bool:  # noqa: N802
        """A narrow one is higher."""
        return True

    def heightForWidth(self, width: int) -> int:  # noqa: N802
        """Return the height of all lines."""
        return self._arranged(QRect(0, 0, width, 0), move=False)

    def setGeometry(self, rect: QRect) -> None:  # noqa: N802
        """Arrange them."""
        super().setGeometry(rect)
        self._arranged(rect, move=True)

    def sizeHint(self) -> QSize:  # noqa: N802
        """Return the size of one line."""
        sizes = [item.sizeHint() for item in self._items]
        width = sum(size.width() + self.spacing() for size in sizes)
        return QSize(width, max((size.height() for size in sizes), default=0))

    def minimumSize(self) -> QSize:  # noqa: N802
        """Return the size of the widest widget alone."""
        sizes = [item.minimumSize() for item in self._items]
        return QSize(
            max((size.width() for size in sizes), default=0),
            max((size.height() for size in sizes), default=0),
        )

    def _arranged(self, rect: QRect, *, move: bool) -> int:
        x, y, line = rect.x(), rect.y(), 0
        for item in self._items:
            size = item.sizeHint()
            if x > rect.x() and x + size.width() > rect.right() + 1:
                x, y, line = rect.x(), y + line + self.spacing(), 0
            if move:
                item.setGeometry(QRect(QPoint(x, y), size))
            x += size.width() + self.spacing()
            line = max(line, size.height())
        return y + line - rect.y()


class Row(QWidget):
    """The tools of one plot, above it."""

    def __init__(self) -> None:
        super().__init__()
        self.flow = FlowLayout(self)
        self.flow.setContentsMargins(0, 2, 0, 2)


class ViewTools(QObject):
    """Switches of one :class:`RunView`, each with its key, in a row above the plot that it changes.

    What only shows is a switch with round ends; what acts on the run is a key with a frame, and stands last.
    """

    def __init__(self, owner: QWidget, view: Viewed) -> None:
        super().__init__(owner)
        self._owner, self._view = owner, view
        self.curve, self.spectrum, self.waterfall = Row(), Row(), Row()
        self._row = self.curve
        self.by_time = False
        self.signal = QComboBox()
        self.signal.setObjectName("tool")
        self.signal.addItem("Whole emission", "emission")
        self.signal.addItem("Lasing peaks", "lasing")
        self.signal.setToolTip(
            "Signal of the L-L curve, counts per pulse: all emission in the blue band, or that in narrow "
            "peaks inside the pink band"
        )
        self.signal.currentIndexChanged.connect(lambda _i: view.set_which(str(self.signal.currentData())))
        self.curve.flow.addWidget(self.signal)
        curve, spectrum = view.lightlight, view.spectrum
        self.log = self._switch("Log", "Double logarithmic axes", "L", curve.set_log)
        self._chosen = False
        self.log.clicked.connect(self._choose)
        self.widths = self._switch(
            "FWHM", "Linewidth of the emission in nm, on the right axis", "W", self._widths, on=True
        )
        self.checks = self._switch(
            "Cross-checks",
            "Thresholds by other common methods, µJ/cm², as cross-checks",
            "K",
            self._checks,
        )
        self.all = self._button("See all", "Undo zooming", "A", self._see_all)
        self.all.setObjectName("tool")
        self.exclude = self._button(
            "Leave out",
            "Exclude the ringed point from the fit, or include it again",
            "X",
            view.toggle_selected,
        )
        self.exclude.setObjectName("act")
        self._row = self.spectrum
        self.dark = self._switch(
            "Subtract dark", "Dark-subtracted or raw counts", "D", spectrum.set_subtract, on=True
        )
        self.ghosts = self._switch("Ghosts", "Earlier spectra, fading", "G", self._ghosts, on=True)
        self.peaks = self._switch("Peaks", "Peaks with FWHM in nm and Q", "P", self._peaks, on=True)
        self._row = self.waterfall
        self.colours = self._switch(
            "Log colours",
            "Logarithmic colour scale of the waterfall",
            "C",
            self._colours,
            on=True,
        )
        self.time = self._switch(
            "By time", "Order the rows of the waterfall by time instead of fluence", "T", self._time
        )

    def suggest_log(self, log: bool) -> None:
        """Choose the axes that suit a sweep, until somebody chooses others."""
        if not self._chosen:
            self.log.setChecked(log)

    def _choose(self) -> None:
        self._chosen = True

    def insert(self, button: QToolButton) -> None:
        """Put another switch before those of the spectrum."""
        button.setObjectName("show")
        self.spectrum.flow.put_before(button, self.dark)

    def _switch(
        self, text: str, tip: str, key: str, act: Callable[[bool], None], *, on: bool = False
    ) -> QToolButton:
        button = self._button(text, tip, key, None)
        button.setObjectName("show")
        button.setCheckable(True)
        button.setChecked(on)
        button.toggled.connect(act)
        return button

    def _button(self, text: str, tip: str, key: str, act: Callable[[], None] | None) -> QToolButton:
        button = QToolButton()
        button.setText(text)
        button.setToolTip(f"{tip} ({key})")
        # Of the view: the key works while the plot lies behind another page.
        QShortcut(QKeySequence(key), self._owner).activated.connect(button.click)
        if act is not None:
            button.clicked.connect(lambda _checked=False: act())
        self._row.flow.addWidget(button)
        return button

    def _widths(self, on: bool) -> None:
        self._view.lightlight.show_widths = on
        self._view.lightlight.redraw()

    def _checks(self, on: bool) -> None:
        self._view.lightlight.show_checks = on
        self._view.lightlight.redraw()

    def _ghosts(self, on: bool) -> None:
        self._view.spectrum.show_ghosts = on
        self._view.spectrum.redraw()

    def _peaks(self, on: bool) -> None:
        self._view.spectrum.show_peaks = on
        run, index = self._view.current, self._view.index
        if run is not None and index >= 0:
            self._view.select(run.facts.key, index)

    def _colours(self, on: bool) -> None:
        self._view.waterfall.set_log(on)
        self._view.draw_waterfall()

    def _time(self, on: bool) -> None:
        self.by_time = on
        self._view.draw_waterfall()

    def _see_all(self) -> None:
        self._view.lightlight.see_all()
        self._view.spectrum.see_all()
