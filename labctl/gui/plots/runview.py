"""One or several runs in plots: the same view for a run that is being measured and for files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QUndoStack
from PySide6.QtWidgets import QSplitter, QStackedWidget, QTabWidget, QVBoxLayout, QWidget

from labctl.gui.base import theme
from labctl.gui.base.fields import PlainLabel
from labctl.gui.plots.edits import BandsCommand, ExcludeCommand
from labctl.gui.plots.light_light import LightLightPlot, no_answer, peaks_question, run_question, series_of
from labctl.gui.plots.spectrum import SpectrumPlot, Waterfall
from labctl.gui.plots.tools import ViewTools
from labctl.gui.plots.verdict import (
    STRIP_PX,
    VerdictStrip,
    Words,
    notes_of,
    outcome_of,
    signal_label,
    title_of,
    waterfall_rows,
    words_of,
)
from labctl.model.pump import Bands
from labctl.model.records import FloatArray
from labctl.model.results.sweep import NO_EDITS, BandThreshold, SweepResult
from labctl.runner.fit_process import Answer, Fits
from labctl.runner.rundata import RunData
from labctl.runner.rundata import Signal as Which

LEAST_STEPS = 3


def is_log_spaced(fluence: FloatArray) -> bool:
    """Whether the steps between fluences, shape ``(n,)``, grow with the fluence.

    >>> is_log_spaced(np.array([10.0, 20.0, 40.0, 80.0])), is_log_spaced(np.array([10.0, 20.0, 30.0]))
    (True, False)
    """
    rising = np.unique(fluence[np.isfinite(fluence) & (fluence > 0)])
    if rising.size < LEAST_STEPS:
        return False
    half = rising.size // 2
    return bool(rising[-1] - rising[half] > 2.0 * (rising[half] - rising[0]))


def _under(row: QWidget, plot: QWidget) -> QWidget:
    """Put a plot under its tools."""
    both = QWidget()
    column = QVBoxLayout(both)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(0)
    column.addWidget(row)
    column.addWidget(plot, 1)
    return both


class RunView(QWidget):
    """Light-light curve, spectrum and waterfall of the current run; the others on the same curve.

    :param name: tells this view's questions from another's.
    :param fits: the process that is asked, and ``tell`` takes its answers, in another thread.
    :ivar left_out: the user left a point of a run out (True) or took it in again: run, point, which.
    :ivar bands_moved: the user moved the bands of a run, or took that back.
    """

    current_changed = Signal(str)
    left_out = Signal(object, int, bool)
    bands_moved = Signal(object)

    def __init__(
        self,
        name: str,
        fits: Fits,
        tell: Callable[[Answer], None],
        undo: QUndoStack,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._name, self._fits, self._tell, self._undo = name, fits, tell, undo
        self.runs: dict[str, RunData] = {}
        self._hidden: set[str] = set()
        self._colours: dict[str, str] = {}
        self.current: RunData | None = None
        self.index = -1
        self.which: Which = "emission"
        self._rows: list[int] = []
        self._dragged_from: Bands | None = None
        self.lightlight, self.spectrum, self.waterfall = LightLightPlot(), SpectrumPlot(), Waterfall()
        self.strip, self.words, self.point_label = VerdictStrip(), Words(), PlainLabel()
        self.tools = ViewTools(self, self)
        self._lay_out()
        self.lightlight.point_clicked.connect(self.select)
        self.lightlight.toggled.connect(self.toggle_excluded)
        self.spectrum.bands_changed.connect(self._bands_dragged)
        self.waterfall.row_clicked.connect(self._row_clicked)

    def _lay_out(self) -> None:
        self.point_label.setStyleSheet(f"font-size: 10pt; color: {theme.DIM};")
        self.point_label.setWordWrap(True)
        right = QSplitter(Qt.Orientation.Vertical)
        right.addWidget(_under(self.tools.spectrum, self.spectrum))
        right.addWidget(_under(self.tools.waterfall, self.waterfall))
        right.setSizes([520, 480])
        self.pages = QTabWidget()
        self.pages.setDocumentMode(True)
        self.pages.addTab(right, "Spectra")
        self.pages.addTab(self.words, "In words")
        self.pages.setTabToolTip(1, "What the run shows: verdict, definitions, modes, and what to know")
        self.curve = _under(self.tools.curve, self.lightlight)
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.addWidget(self.curve)
        self.splitter.addWidget(self.pages)
        self.splitter.setSizes([540, 460])
        self.right_splitter = right
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 2)
        layout.setSpacing(4)
        self.head = QStackedWidget()
        self.head.setFixedHeight(STRIP_PX)
        self.head.addWidget(self.strip)
        layout.addWidget(self.head)
        layout.addWidget(self.splitter, 1)
        layout.addWidget(self.point_label)

    # --- runs --------------------------------------------------------------------------------------

    def add_run(self, run: RunData) -> None:
        """Take in a run, or show again what has changed in it, and make it the current one."""
        key = run.facts.key
        if key not in self._colours:
            self._colours[key] = theme.free_colour(set(self._colours.values()))
        self.runs[key] = run
        self._hidden.discard(key)
        self.set_current(key)
        self.refit(run)

    def remove_run(self, key: str) -> None:
        """Forget a run."""
        self.runs.pop(key, None)
        self._colours.pop(key, None)
        self.lightlight.remove(key)
        if self.current is not None and self.current.facts.key == key:
            self.current = None
            if self.runs:
                self.set_current(next(reversed(self.runs)))
            else:
                self.strip.clear()
                self.words.show_sections(())
                self.spectrum.clear()
                self.point_label.setText("")
                self.waterfall.mark(None)
                self._rows, self.index = [], -1
                self.waterfall.set_rows(np.empty(0), np.empty((0, 0)), (0.0, 1.0), (), "")

    def set_visible(self, key: str, visible: bool) -> None:
        """Draw a run's curve, or leave it out of the comparison."""
        (self._hidden.discard if visible else self._hidden.add)(key)
        self._draw_series(self.runs[key])

    def colour(self, key: str) -> str:
        """Return the colour of a run."""
        return self._colours[key]

    def set_current(self, key: str) -> None:
        """Show the spectra of another run."""
        run = self.runs[key]
        changed = self.current is not run
        self.current = run
        self._draw_series(run)
        if changed:
            self.spectrum.set_axis(run.facts.wavelength_nm, run.facts.max_counts)
            self.index = -1
            self.point_label.setText("")
            self.waterfall.mark(None)
            if len(run):
                self.tools.suggest_log(is_log_spaced(run.column("fluence_uj_cm2")))
        self.spectrum.set_bands(run.bands)
        self.lightlight.set_labels(run.axis_label, signal_label(self.which))
        self._draw_waterfall()
        self._show_verdict(run)
        if self.index < 0 and len(run):
            self.select(key, int(np.nanargmax(np.nan_to_num(run.column("fluence_uj_cm2")))))
        if changed:
            self.current_changed.emit(key)

    def point_added(self, run: RunData, *, with_spectrum: bool = True) -> None:
        """Show one more point of the run that is being measured."""
        self._draw_series(run)
        self.refit(run)
        if run is self.current:
            self._draw_waterfall()
            if run.result is None:
                self._show_verdict(run)  # how many points there are
            self.select(run.facts.key, len(run) - 1, with_spectrum=with_spectrum)

    # --- points ------------------------------------------------------------------------------------

    def select(self, key: str, index: int, *, with_spectrum: bool = True) -> None:
        """Show a point, and its spectrum."""
        if self.current is None or self.current.facts.key != key:
            self.set_current(key)
        run = self.runs[key]
        if not 0 <= index < len(run):
            return
        self.index = index
        self.lightlight.select(key, index)
        self.point_label.setText(run.describe(index))
        self.waterfall.mark(self._rows.index(index) if index in self._rows else None)
        exposure = run.arrays.exposure(index) if with_spectrum else None
        if exposure is None:
            return
        self.spectrum.show_exposure(exposure)
        self.spectrum.set_peaks(())
        facts = run.facts
        question = peaks_question(
            exposure,
            facts.wavelength_nm,
            run.bands.lasing_nm,
            resolution_nm=facts.resolution_nm,
            max_counts=facts.max_counts,
        )
        if question is not None and not run.doubt:
            self._fits.ask((self._name, "peaks", key), lambda: question, self._tell)

    def step(self, by: int) -> None:
        """Go to the next point in order of fluence."""
        if self.current is None or not self._rows:
            return
        at = self._rows.index(self.index) if self.index in self._rows else 0
        self.select(self.current.facts.key, self._rows[min(max(at + by, 0), len(self._rows) - 1)])

    def toggle_excluded(self, key: str, index: int) -> None:
        """Leave a point out of the fit, or take it in again; can be undone."""
        self._undo.push(ExcludeCommand(self.runs[key], index, self._excluded))
        self.select(key, index)

    def toggle_selected(self) -> None:
        """The same for the point that is shown."""
        if self.current is not None and self.index >= 0:
            self.toggle_excluded(self.current.facts.key, self.index)

    def _excluded(self, run: RunData, index: int, out: bool) -> None:
        self._edited(run)
        self.left_out.emit(run, index, out)

    def follow(self, changed: RunData, index: int, out: bool) -> None:
        """Do as was done to the same run elsewhere: in another view, or before it was opened again."""
        for run in self.runs.values():
            same = run is not changed and changed.facts.is_same_file(run.facts)
            if same and (index in run.excluded) is not out and index < len(run):
                run.leave_out(index, out)
                self._edited(run)

    def follow_bands(self, changed: RunData) -> None:
        """Move the bands of the same run, as they were moved elsewhere."""
        for run in self.runs.values():
            if run is not changed and changed.facts.is_same_file(run.facts) and run.bands != changed.bands:
                run.set_bands(changed.bands)
                self._edited(run)

    def _edited(self, run: RunData) -> None:
        if self.runs.get(run.facts.key) is not run:
            return
        if run is self.current:
            self.spectrum.set_bands(run.bands)
            if self.index >= 0:
                self.point_label.setText(run.describe(self.index))
        self._draw_series(run)
        self.refit(run)

    # --- bands -------------------------------------------------------------------------------------

    def _bands_dragged(self, bands: Bands, finished: bool) -> None:
        run = self.current
        if run is None:
            return
        if self._dragged_from is None:
            self._dragged_from = run.bands
        run.set_bands(bands)
        self._draw_series(run)
        if finished:
            before, self._dragged_from = self._dragged_from, None
            if before != bands:
                self._undo.push(BandsCommand(run, before, bands, self._moved))

    def _moved(self, run: RunData) -> None:
        self._edited(run)
        self.bands_moved.emit(run)

    # --- fits --------------------------------------------------------------------------------------

    def refit(self, run: RunData) -> None:
        """Ask again what is said of a run; the answer comes when it comes.

        A run that goes on is evaluated by itself, for :meth:`show_result`, unless it was changed here.
        """
        known = run.result is None or run.result.edits == NO_EDITS
        if run.status == "running" and run.edits == NO_EDITS and known:
            return
        question = run_question(run)
        self._fits.ask((self._name, "run", run.facts.key), lambda: question, self._tell)

    def show_result(self, run: RunData, result: SweepResult) -> None:
        """Show what is said of a run, unless it was changed since it was asked."""
        if result.doubt and not run.doubt:
            run.doubt, run.result = result.doubt, None
            if run is self.current:
                self.spectrum.set_peaks(())
        if result.edits != run.edits or result.doubt != run.doubt:
            return
        run.result = result
        self._draw_series(run)
        self._show_verdict(run)

    def take(self, answer: Answer) -> None:
        """Show an answer to one of this view's questions."""
        name, task, key = answer.subject
        run = self.runs.get(key)
        if name != self._name or run is None:
            return
        if task == "run":
            found = answer.found
            none = replace(no_answer(answer.problem), edits=run.edits)
            self.show_result(run, found if isinstance(found, SweepResult) else none)
        elif run is self.current and isinstance(answer.found, tuple) and not run.doubt:
            self.spectrum.set_peaks(answer.found)

    # --- drawing -----------------------------------------------------------------------------------

    def set_which(self, which: str) -> None:
        """Choose the signal of the light-light curve."""
        self.which = cast("Which", which)
        for run in self.runs.values():
            self._draw_series(run)
            self._show_verdict(run)
        if self.current is not None:
            self.lightlight.set_labels(self.current.axis_label, signal_label(self.which))

    def _draw_series(self, run: RunData) -> None:
        key = run.facts.key
        if key in self._hidden:
            self.lightlight.remove(key)
            return
        self.lightlight.set_series(key, series_of(run, self.which, self._colours[key]))

    def draw_waterfall(self) -> None:
        """Draw the waterfall anew, after its order or its colours were changed."""
        self._draw_waterfall()

    def _draw_waterfall(self) -> None:
        run = self.current
        if run is None:
            return
        spectra = run.arrays.spectra()
        if not spectra.size:
            self._rows = []
            self.waterfall.set_rows(np.empty(0), np.empty((0, 0)), (0.0, 1.0), (), "")
            return
        order, ticks, label = waterfall_rows(run, by_time=self.tools.by_time)
        self._rows = [int(i) for i in order]
        self.waterfall.set_rows(run.facts.wavelength_nm, spectra[order], run.bands.emission_nm, ticks, label)
        self.waterfall.mark(self._rows.index(self.index) if self.index in self._rows else None)

    def _show_verdict(self, run: RunData) -> None:
        if run is not self.current:
            return
        result = run.result
        found = None if result is None else result.of(self.which)
        title, said = title_of(run), outcome_of(run, found)
        if found is None and said.tone != "danger" and not said.headline:
            self.strip.clear(title, "  ·  ".join(notes_of(run)))
        else:
            self.strip.show_threshold(title, found or BandThreshold(), said, result)
        self.words.show_sections(words_of(run, self.which))

    def show_verdict(self) -> None:
        """Show what is said of the current run, after something else stood in its place."""
        if self.current is not None:
            self._show_verdict(self.current)

    def _row_clicked(self, row: int) -> None:
        if self.current is not None and 0 <= row < len(self._rows):
            self.select(self.current.facts.key, self._rows[row])
