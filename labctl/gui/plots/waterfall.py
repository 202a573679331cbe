"""The waterfall: spectra as rows of one image, by fluence or by time, with a colour bar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from labctl.gui.base import theme
from labctl.gui.plots.axes import LABEL, make_plot
from labctl.model.records import FloatArray

COLUMNS = 700
DECADES = 3.0
"""Range of the colours below the brightest, on their logarithmic scale."""
_TICKS = 9


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
        self.widget.scene().sigMouseClicked.connect(self._clicked)
        self.setToolTip(
            "Spectra as rows, wavelength in nm; colour is counts per pulse. Click a row for its spectrum."
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
        self.set_resampled(np.stack(rows) if rows else np.empty((0, COLUMNS)), ends_nm, ticks, label, unit)

    @staticmethod
    def resampled(wavelength_nm: FloatArray, counts: FloatArray, ends_nm: tuple[float, float]) -> FloatArray:
        """Return a spectrum at :data:`COLUMNS` evenly spaced wavelengths."""
        return np.interp(np.linspace(*ends_nm, COLUMNS), wavelength_nm, counts)

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
        self._plot.setLabel("left", label, **LABEL)
        self._show_scales(bool(self._rows))
        if not self._rows:
            self._image.clear()
            return
        low, high, shown = self._scaled(rows)
        self._image.setImage(shown, autoLevels=False, levels=(0, 255))
        self._image.setRect(QRectF(ends_nm[0], 0.0, ends_nm[1] - ends_nm[0], float(self._rows)))
        self._bar.setLevels((low, high))
        self._bar.getAxis("right").setLabel(f"log₁₀ {unit}" if self.log else unit)
        step = max(int(np.ceil(self._rows / _TICKS)), 1)
        named = [(at + 0.5, ticks[at]) for at in range(0, self._rows, step)]
        self._plot.getAxis("left").setTicks([named])
        self._plot.vb.setRange(xRange=ends_nm, yRange=(0, self._rows), padding=0)

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
