"""The page of what is measured now: the running sweep's plots, with spectra as they come."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QKeySequence, QShortcut, QUndoStack
from PySide6.QtWidgets import QToolButton, QVBoxLayout, QWidget

from labctl.analysis.spectra.bands import Band, band_slice
from labctl.config import BenchConfig
from labctl.gui.base.fields import shown
from labctl.gui.live.start_cards import StartCards
from labctl.gui.plots.light_light import Planned, peaks_question
from labctl.gui.plots.runview import RunView
from labctl.model.plan import SweepPlan
from labctl.model.records import FloatArray, SpectrometerInfo, SweepPoint
from labctl.model.results.sweep import SweepResult
from labctl.runner.events import Started
from labctl.runner.fit_process import Answer, Fits
from labctl.runner.rundata import Exposure, RunData, RunHead, scalars_of
from labctl.runner.wording import duration
from labctl.service.observed import BenchState
from procedures.forecast import Forecast
from procedures.plan import fluences

WIDE = 4.0
"""Ratio of the fluences of a list from which on its axes are logarithmic."""


def is_logarithmic(plan: SweepPlan) -> bool:
    """Whether a plan is drawn on logarithmic axes: one that is spaced so, or a list over a wide range."""
    chosen = fluences(plan)
    return plan.spacing == "log" or (plan.spacing == "list" and max(chosen) > WIDE * min(chosen))


ROWS = 200
WATERFALL_S = 0.2
PEAKS_S = 0.5


class LiveArrays:
    """Spectra of a run in memory; the raw exposures as single precision, one mean for each point.

    :param before: a run that goes on, as it was when it did.
    """

    def __init__(self, before: RunData | None = None) -> None:
        self._before = before
        self._spectra: list[FloatArray] = list(before.arrays.spectra()) if before is not None else []
        self._earlier = len(self._spectra)
        self._raw: list[tuple[np.ndarray[tuple[int], np.dtype[np.float32]], float, float, bool]] = []

    def append(self, point: SweepPoint) -> None:
        """Take in a point with its arrays."""
        self._spectra.append(point.spectrum)
        raw = point.frames.mean(axis=0) if point.frames.size else np.empty(0)
        saturated = point.saturated_exposures > 0
        self._raw.append((raw.astype(np.float32), point.pulses_per_exposure, point.integration_s, saturated))

    def spectra(self) -> FloatArray:
        """Return shape ``(n, pixel)``."""
        return np.stack(self._spectra) if self._spectra else np.empty((0, 0))

    def exposure(self, index: int) -> Exposure | None:
        """Return a mean exposure; the dark is what the reduction took off."""
        if self._before is not None and index < self._earlier:
            return self._before.arrays.exposure(index)
        raw, pulses, seconds, saturated = self._raw[index - self._earlier]
        if not raw.size:
            return None
        counts = raw.astype(np.float64)
        return Exposure(counts, counts - self._spectra[index] * pulses, seconds, saturated=saturated)


class LivePage(QWidget):
    """A :class:`RunView` that also shows exposures as they come."""

    def __init__(
        self,
        config: BenchConfig,
        fits: Fits,
        tell: Callable[[Answer], None],
        undo: QUndoStack,
        state: BenchState,
    ) -> None:
        super().__init__()
        self._config, self._fits, self._tell, self._state = config, fits, tell, state
        self.view = RunView("live", fits, tell, undo)
        self.info: SpectrometerInfo | None = None
        self.run: RunData | None = None
        self._arrays = LiveArrays()
        self._goes_on: RunData | None = None
        self._number = 0
        self._rows: deque[NDArray[np.float32]] = deque(maxlen=ROWS)
        self._times: deque[float] = deque(maxlen=ROWS)
        self._drawn_s = self._asked_s = 0.0
        self.shown_at_s = 0.0
        self.live = QToolButton()
        self.live.setText("Live")
        self.live.setToolTip(
            "Show new exposures as they arrive; click a point or a row to see that one instead (V)"
        )
        QShortcut(QKeySequence("V"), self.view).activated.connect(self.live.click)
        self.live.setCheckable(True)
        self.live.setChecked(True)
        self.view.tools.insert(self.live)
        self.by_hand = False
        self.view.lightlight.point_clicked.connect(lambda _key, _index: self.live.setChecked(False))
        self.view.waterfall.row_clicked.connect(lambda _row: self.live.setChecked(False))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.view)
        self.cards = StartCards()
        self.view.head.addWidget(self.cards)
        self._plan: SweepPlan | None = None
        self._show_nothing()

    def set_info(self, info: SpectrometerInfo) -> None:
        """Show another spectrometer."""
        self.info = info
        self._rows.clear()
        self._times.clear()
        if self.run is None:
            self.view.spectrum.set_axis(info.wavelength_nm, info.max_counts)
            self.view.spectrum.set_bands(self._config.band_settings())

    def show_config(self, config: BenchConfig) -> None:
        """Work with another bench file."""
        self._config = config

    # --- the run -----------------------------------------------------------------------------------

    def goes_on(self, run: RunData) -> None:
        """A run is about to go on: its points so far are shown with those that come."""
        self._goes_on = run

    def show_plan(self, plan: SweepPlan | None, asked: Forecast | None = None) -> None:
        """Draw what is planned next: nothing while a sweep runs, which has a plan of its own."""
        if self.running or plan == self._plan:
            return
        self._plan = plan
        if plan is None:
            self.view.lightlight.set_plan(None)
            return
        self.view.tools.suggest_log(is_logarithmic(plan))
        note = (
            "" if asked is None else shown("\n".join(("Planned:", *asked.text.split("; "), *asked.warnings)))
        )
        self.view.lightlight.set_plan(Planned(np.array(fluences(plan)), note))

    def begin(self, started: Started, plan: SweepPlan | None = None) -> None:
        """A sweep begins: its files exist.

        :param plan: None for one that goes on, whose plan stands in its file.
        """
        before, self._goes_on = self._goes_on, None
        if self.info is None:
            return
        for key in list(self.view.runs):
            self.view.remove_run(key)
        self.show_plan(plan)
        facts = RunHead(
            key=str(started.files.h5),
            title=started.sample,
            sample=started.sample,
            convention=self._config.pump.convention,
            wavelength_nm=self.info.wavelength_nm,
            bands=self._config.band_settings(),
            resolution_nm=self.info.resolution_nm,
            max_counts=self.info.max_counts,
            planned=started.total,
            path=started.files.h5,
            is_run=True,
        )
        self._arrays = LiveArrays(before)
        self._make_room(self.view.strip)
        self.run = RunData(facts, self._arrays, {}, (), status="running")
        if before is not None:
            self.run.take_points(before)
        self.view.add_run(self.run)
        self.by_hand = False
        self.live.setChecked(True)

    def add(self, point: SweepPoint) -> None:
        """A point is on disk."""
        if self.run is None or not point.spectrum.size:
            return
        self._arrays.append(point)
        self.run.extend(scalars_of(point), point.flags)
        self.view.point_added(self.run, with_spectrum=not self.live.isChecked())

    def moved(self, h5: Path) -> None:
        """The run's file has another name now."""
        if self.run is not None:
            self.run.facts = replace(self.run.facts, path=h5)

    def set_paused(self, paused: bool) -> None:
        """Say whether the sweep stands still."""
        if self.run is not None and self.run.paused is not paused:
            self.run.paused = paused
            self.view.show_verdict()

    def evaluated(self, result: SweepResult) -> None:
        """Show what is said of the points so far."""
        if self.run is not None:
            self.view.show_result(self.run, result)

    def end(self, status: str, message: str, result: SweepResult | None = None) -> None:
        """The sweep has ended.

        :param result: what came of it, as its file holds it.
        """
        self._goes_on = None
        if self.run is not None and self.run.status == "running":
            self.run.status, self.run.reason = status, message
            if result is not None:
                self.view.show_result(self.run, result)
            if self.run.result is not result:
                self.view.refit(self.run)
            self.view.set_current(self.run.facts.key)

    @property
    def running(self) -> bool:
        """Whether a sweep is shown that has not ended."""
        return self.run is not None and self.run.status == "running"

    # --- exposures as they come --------------------------------------------------------------------

    def tick(self) -> None:
        """Show the latest exposure, if it is a new one; called at most 25 times a second."""
        self._tell_whose_light()
        # Darks of a run come between its points: the last light stays, and the axis does not leap.
        found = self._state.latest(self._number, light_only=not self._state.seen.streaming)
        if found is None or self.info is None:
            return
        self._number, exposure, at_s = found
        if exposure.raw.shape != self.info.wavelength_nm.shape:
            return
        self._keep_row(exposure, at_s)
        if not self.live.isChecked() or not self.isVisible():
            return
        self.view.spectrum.show_exposure(exposure)
        self.shown_at_s = at_s
        if self.by_hand:
            inside = exposure.raw[band_slice(self._axis(), Band(*self._ends(), "emission"))]
            self._show_highest(f"{inside.max():.0f} counts" if inside.size else "–")
        now = time.monotonic()
        if not self.running and now - self._drawn_s >= WATERFALL_S:
            self._drawn_s = now
            self._draw_rows()
        if now - self._asked_s >= PEAKS_S and self.view.spectrum.show_peaks:
            self._asked_s = now
            self._ask_peaks(exposure)

    def _tell_whose_light(self) -> None:
        """The verdict of a run has nothing to do with spectra that are taken by hand."""
        by_hand = self._state.seen.streaming and not self.running and self.live.isChecked()
        if by_hand and not self.by_hand:
            self.by_hand = True
            self.view.point_label.setText("")
            self._make_room(self.view.strip)
            self._show_highest("–")
        elif self.by_hand and not by_hand:
            self.by_hand = False
            self._make_room(self.view.strip)
            self.view.show_verdict() if self.run is not None else self._show_nothing()

    def _show_highest(self, value: str) -> None:
        self.view.strip.clear(
            "Free run", "Manual mode: the highest raw count of one exposure in the emission band", value
        )

    def _show_nothing(self) -> None:
        self.view.strip.clear("No run yet", "Set a fluence manually, or start a sweep.")
        self._make_room(self.cards)

    def _make_room(self, head: QWidget) -> None:
        """Put what counts now above the plots; spectra by hand have all the room until there is a curve."""
        self.view.head.setCurrentWidget(head)
        self.view.curve.setVisible(self.run is not None or not self.by_hand)

    def _keep_row(self, exposure: Exposure, at_s: float) -> None:
        if self.running:
            return
        counts = exposure.raw if exposure.dark is None else exposure.raw - exposure.dark
        row = self.view.waterfall.resampled(self._axis(), counts, self._ends())
        self._rows.append(row.astype(np.float32))
        self._times.append(at_s)

    def _axis(self) -> FloatArray:
        assert self.info is not None
        return self.info.wavelength_nm

    def _ends(self) -> tuple[float, float]:
        return self._config.band_settings().emission_nm

    def _draw_rows(self) -> None:
        if not self._rows:
            return
        last = self._times[-1]
        ticks = [f"{duration(last - at)} ago" if at < last else "now" for at in self._times]
        self.view.waterfall.mark(None)  # a row of the run that was here before
        self.view.waterfall.set_resampled(np.stack(self._rows), self._ends(), ticks, "Time", "counts")

    def _ask_peaks(self, exposure: Exposure) -> None:
        assert self.info is not None
        question = peaks_question(
            exposure,
            self._axis(),
            self._config.band_settings().lasing_nm,
            resolution_nm=self.info.resolution_nm,
            max_counts=self.info.max_counts,
        )
        if question is None:
            self.view.spectrum.set_peaks(())
        else:
            self._fits.ask(("stream", "peaks", ""), lambda: question, self._tell)

    def take(self, answer: Answer) -> None:
        """Show an answer."""
        if answer.subject[0] == "stream":
            if self.live.isChecked() and isinstance(answer.found, tuple):
                self.view.spectrum.set_peaks(answer.found)
        else:
            self.view.take(answer)
