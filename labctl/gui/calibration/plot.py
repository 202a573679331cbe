"""Readings of a calibration as they come, and the curve that is fitted to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from labctl.gui.base import theme
from labctl.gui.plots.axes import Cursor, label_style, make_plot, name_places, span
from labctl.model.records import FloatArray
from labctl.runner.wording import digits
from procedures.calibration import CalStep

_TOGETHER = {"backlash": "scan", "pick-off": "power", "sample": "power"}
"""Series that are drawn in one plot under another name."""
_NAMES = {
    "scan": ("Scan", "Angle", "Power at the meter"),
    "power": ("Both places", "Angle", "Power at the meter"),
    "ratio": ("Ratio", "Power at the pick-off", "Power at the sample"),
    "drift": ("Drift", "Time", "Power at the meter"),
    "pulse": ("Pulses", "Pulse", "Energy at the meter"),
    "x": ("Blade, x", "Position along x", "Power behind the knife edge"),
    "y": ("Blade, y", "Position along y", "Power behind the knife edge"),
    "lamp": ("Lamps", "Exposure time", "Highest counts"),
    "linearity": ("Linearity", "Exposure time", "Highest counts"),
    "dark": ("Darks", "Exposure time", "Dark counts"),
    "line": ("Lines", "Wavelength", "Distance from the fitted axis"),
    "resolution": ("Resolution", "Wavelength", "FWHM"),
}
_UNITS = {"um": "µm", "deg": "°", "1": "", "": ""}
_SEARCHED = ("x", "y")
"""Scans that begin with a search over a long way: what matters lies round the edge."""


@dataclass
class Page:
    """One plot: series by name, and the fitted curve."""

    key: str
    x_unit: str
    unit: str
    readings: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)
    curve: tuple[FloatArray, FloatArray] | None = None

    def arrays(self, name: str) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return places, values and errors of a series, each of shape ``(n,)``."""
        rows = np.array(self.readings.get(name, []), dtype=np.float64).reshape(-1, 3)
        return rows[:, 0], rows[:, 1], rows[:, 2]


def scaled(unit: str, largest: float) -> tuple[float, str]:
    """Return factor and unit in which a value is read best."""
    if unit in ("W", "J") and largest > 0:
        for power, prefix in ((0, ""), (3, "m"), (6, "µ"), (9, "n"), (12, "p")):
            if largest * 10.0**power >= 1.0:
                return 10.0**power, prefix + unit
        return 1e12, "p" + unit
    return 1.0, _UNITS.get(unit, unit)


class CalPlot(QWidget):
    """Pages of plots; the one that grows is shown until somebody chooses another."""

    def __init__(self) -> None:
        super().__init__()
        self.widget: Any = make_plot("", "")
        self._item: Any = self.widget.getPlotItem()
        self._legend: Any = self._item.addLegend(offset=(12, 8), labelTextSize="11pt")
        self.pages: dict[str, Page] = {}
        self.shown = ""
        self._chosen = False
        name_places(self._item, False, "left", "bottom")
        self.reader = Cursor(self.widget, lambda x, y: f"{digits(x)}, {digits(y)}" if self.shown else "")
        self._buttons = QButtonGroup(self)
        self._row = QHBoxLayout()
        self._row.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._row)
        column.addWidget(self.widget, 1)
        self.setToolTip("Readings with their standard errors, and the fitted curve")

    def clear(self) -> None:
        """Begin another calibration."""
        self.pages.clear()
        self.shown, self._chosen = "", False
        for button in self._buttons.buttons():
            self._buttons.removeButton(button)
            self._row.removeWidget(button)
            button.setVisible(False)
            button.deleteLater()
        self._draw()

    def take(self, step: CalStep) -> None:
        """Take in a reading or a curve, and show it."""
        if step.what == "fit":
            self._take_curve(step)
        elif step.what != "note" and step.x is not None and step.y is not None:
            page = self._page(_TOGETHER.get(step.what, step.what), step)
            sigma = 0.0 if step.sigma is None else step.sigma
            page.readings.setdefault(step.what, []).append((step.x, step.y, sigma))
            self._follow(page)

    def _take_curve(self, step: CalStep) -> None:
        if step.curve is None:
            return
        key = _TOGETHER.get(step.series, step.series)
        if key == "power" and step.x_unit == step.unit:
            key = "ratio"
        page = self._page(key, step)
        page.curve = (np.asarray(step.curve[0]), np.asarray(step.curve[1]))
        if key == "ratio" and "power" in self.pages:
            page.readings["sample over pick-off"] = _paired(self.pages["power"])
        self._follow(page)

    def _page(self, key: str, step: CalStep) -> Page:
        if key not in self.pages:
            self.pages[key] = Page(key, step.x_unit, step.unit)
            button = QPushButton(_NAMES.get(key, (key, "", ""))[0])
            button.setCheckable(True)
            button.clicked.connect(lambda _checked=False: self.choose(key))
            self._buttons.addButton(button)
            self._row.insertWidget(self._row.count() - 1, button)
        return self.pages[key]

    def _follow(self, page: Page) -> None:
        if not self._chosen or self.shown == page.key:
            self._show(page.key)

    def choose(self, key: str) -> None:
        """Show a page from now on."""
        self._chosen = True
        self._show(key)

    def _show(self, key: str) -> None:
        self.shown = key
        names = [k for k in self.pages if k == key]
        place = list(self.pages).index(names[0])
        self._buttons.buttons()[place].setChecked(True)
        self._draw()

    def _draw(self) -> None:
        self._item.clear()
        self._legend.clear()
        page = self.pages.get(self.shown)
        name_places(self._item, page is not None, "left", "bottom")
        if page is None:
            return
        _, across, up = _NAMES.get(page.key, (page.key, "", ""))
        largest = [float(np.nanmax(np.abs(page.arrays(n)[1]), initial=0.0)) for n in page.readings]
        factor, unit = scaled(page.unit, max(largest, default=0.0))
        x_factor, x_unit = (factor, unit) if page.x_unit == page.unit == "W" else scaled(page.x_unit, 0.0)
        self._item.setLabel("bottom", _label(across, x_unit), **label_style())
        self._item.setLabel("left", _label(up, unit), **label_style())
        for number, name in enumerate(page.readings):
            self._draw_series(page, name, theme.RUNS[number % len(theme.RUNS)], (x_factor, factor))
        if page.curve is not None:
            pen = theme.pen(theme.FIT, width=2)
            curve = pg.PlotDataItem(x_factor * page.curve[0], factor * page.curve[1], pen=pen)
            self._item.addItem(curve)
            self._legend.addItem(curve, "fit")
        self._set_range(page, (x_factor, factor))

    def _draw_series(self, page: Page, name: str, colour: str, factors: tuple[float, float]) -> None:
        x, y, sigma = page.arrays(name)
        points = pg.PlotDataItem(
            factors[0] * x, factors[1] * y, pen=None, symbol="o", symbolSize=8, symbolBrush=colour
        )
        errors = pg.ErrorBarItem(
            x=factors[0] * x, y=factors[1] * y, height=2 * factors[1] * sigma, pen=theme.pen(colour)
        )
        self._item.addItem(errors)
        self._item.addItem(points)
        self._legend.addItem(points, name)

    def _set_range(self, page: Page, factors: tuple[float, float]) -> None:
        series = [page.arrays(name) for name in page.readings]
        x = np.concatenate([s[0] for s in series]) if series else np.empty(0)
        y = np.concatenate([s[1] for s in series]) if series else np.empty(0)
        if page.curve is not None:
            ends = (float(page.curve[0].min()), float(page.curve[0].max()))
            inside = (x >= ends[0]) & (x <= ends[1])
            x, y = np.append(x[inside], ends), np.concatenate([y[inside], page.curve[1]])
        elif page.key in _SEARCHED:
            x = _near_edge(x, y)
        self._item.vb.setRange(
            xRange=span(factors[0] * x, pad=0.06), yRange=span(factors[1] * y, pad=0.08), padding=0
        )


def _label(name: str, unit: str) -> str:
    return f"{name} ({unit})" if unit else name


def _near_edge(x: FloatArray, y: FloatArray) -> FloatArray:
    """Return the places round an edge, as far as it is known; all of them before."""
    low, high = float(y.min()), float(y.max())
    rising = x[(y > low + 0.02 * (high - low)) & (y < high - 0.02 * (high - low))]
    if rising.size < 3:
        return x
    middle, reach = float(np.median(rising)), 1.2 * float(np.ptp(rising))
    near = x[np.abs(x - middle) <= reach]
    return np.asarray(near)


def _paired(power: Page) -> list[tuple[float, float, float]]:
    """Return mean power at the sample against that at the pick-off, for each angle that both have."""
    here, there = power.arrays("pick-off"), power.arrays("sample")
    pairs = []
    for angle in np.unique(np.round(there[0], 1)):
        one, other = (np.abs(part[0] - angle) < 0.15 for part in (here, there))
        if one.any() and other.any():
            scatter = there[1][other]
            error = float(scatter.std(ddof=1) / np.sqrt(scatter.size)) if scatter.size > 1 else 0.0
            pairs.append((float(here[1][one].mean()), float(scatter.mean()), error))
    return pairs
