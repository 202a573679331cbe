"""The row of switches above the plots of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QComboBox, QToolButton, QWidget

from labctl.gui.flow import FlowLayout

if TYPE_CHECKING:
    from labctl.gui.runview import RunView


class ViewTools(QWidget):
    """Switches of one :class:`RunView`, each with its key."""

    def __init__(self, view: RunView) -> None:
        super().__init__()
        self._view = view
        self._layout = FlowLayout(self)
        self._layout.setContentsMargins(0, 2, 0, 2)
        self.by_time = False
        self.signal = QComboBox()
        self.signal.addItem("Whole emission", "emission")
        self.signal.addItem("Lasing peaks", "lasing")
        self.signal.setToolTip(
            "Signal of the L-L curve, counts per pulse: all light of the blue band, or the light in narrow "
            "peaks inside the pink one"
        )
        self.signal.currentIndexChanged.connect(lambda _i: view.set_which(str(self.signal.currentData())))
        self._layout.addWidget(self.signal)
        curve, spectrum = view.lightlight, view.spectrum
        self.log = self._switch("Log", "Double logarithmic axes", "L", curve.set_log)
        self.widths = self._switch(
            "FWHM", "Width of the emission in nm, on the right axis", "W", self._widths, on=True
        )
        self.checks = self._switch(
            "Cross-checks",
            "Thresholds by the field's other methods, µJ/cm², as second witnesses",
            "K",
            self._checks,
        )
        self.exclude = self._button(
            "Leave out",
            "Leave the ringed point out of the fit, or take it in again",
            "X",
            view.toggle_selected,
        )
        self.dark = self._switch(
            "Dark off", "Counts with the dark subtracted, or raw", "D", spectrum.set_subtract, on=True
        )
        self.ghosts = self._switch("Ghosts", "Earlier spectra, fading", "G", self._ghosts, on=True)
        self.peaks = self._switch("Peaks", "Peaks with FWHM in nm and Q", "P", self._peaks, on=True)
        self.colours = self._switch(
            "Log colours",
            "Colours of the waterfall by the logarithm of the counts",
            "C",
            self._colours,
            on=True,
        )
        self.time = self._switch(
            "By time", "Rows of the waterfall by time instead of fluence", "T", self._time
        )
        self.all = self._button("See all", "Undo zooming", "A", self._see_all)

    def insert(self, button: QToolButton) -> None:
        """Put another switch before those of the spectrum."""
        self._layout.put_before(button, self.dark)

    def _switch(
        self, text: str, tip: str, key: str, act: Callable[[bool], None], *, on: bool = False
    ) -> QToolButton:
        button = self._button(text, tip, key, None)
        button.setCheckable(True)
        button.setChecked(on)
        button.toggled.connect(act)
        return button

    def _button(self, text: str, tip: str, key: str, act: Callable[[], None] | None) -> QToolButton:
        button = QToolButton()
        button.setText(text)
        button.setToolTip(f"{tip} ({key})")
        button.setShortcut(key)
        if act is not None:
            button.clicked.connect(lambda _checked=False: act())
        self._layout.addWidget(button)
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
