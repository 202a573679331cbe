"""The alignment: the threshold in digits that can be read from two metres, and its trend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from labctl.analysis.budget import fluence_budget
from labctl.config import BenchConfig
from labctl.gui.base import theme
from labctl.gui.base.fields import NumberField, PlainLabel, between, dress, whole
from labctl.gui.plots.axes import Cursor, make_plot, name_places, span
from labctl.model.errors import ConfigError
from labctl.model.plan import SweepPlan
from labctl.runner.wording import UNIT, digits, dose, duration, scale
from labctl.service.messages import Align, AlignEnded, AlignTold, Command
from procedures.alignment import AlignmentPlan, Readout, Reference, ReferencePoint
from procedures.gate.fluence import make_beam
from procedures.plan import validate

MOST = 5000
SHOWN = 300
"""Readouts that the trend shows."""
LEAST_PX = 100
"""Height of the large digits on the smallest screen."""


class AlignPage(QWidget):
    """Start, follow and end an alignment.

    :param post: takes commands; ``stop`` ends what runs.
    """

    def __init__(
        self, config: BenchConfig, post: Callable[[Command], None], stop: Callable[[], None]
    ) -> None:
        super().__init__()
        self._post, self._stop = post, stop
        self._take(config)
        self._convention = config.pump.convention
        self.running = False
        self._times: list[float] = []
        self._values: list[float] = []
        self._low: list[float] = []
        self._high: list[float] = []
        self._make_digits()
        self._make_trend()
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 8, 10, 8)
        column.addWidget(self._controls())
        upper = QHBoxLayout()
        upper.addWidget(self._face, 5)
        upper.addWidget(self._side, 3)
        column.addLayout(upper, 5)
        column.addWidget(self.trend, 4)
        self.set_enabled(False)

    # --- parts -------------------------------------------------------------------------------------

    def _make_digits(self) -> None:
        self._face = QFrame()
        self._face.setStyleSheet(f"QFrame {{ background: {theme.FACE}; border-radius: 12px; }}")
        self.digits, self.interval, self.state = PlainLabel("–"), PlainLabel(""), PlainLabel("not running")
        self.digits.setAlignment(Qt.AlignmentFlag.AlignCenter)
        # As large as there is room for; they never ask for room themselves.
        self.digits.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self.digits.setMinimumHeight(LEAST_PX)
        self.interval.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.state.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.scale = PlainLabel(self._scale())
        self.scale.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.scale.setWordWrap(True)
        self.scale.setStyleSheet(f"font-size: 12pt; color: {theme.DIM};")
        self.interval.setStyleSheet(f"font-size: 26pt; color: {theme.THRESHOLD};")
        self.state.setStyleSheet(f"font-size: 15pt; color: {theme.DIM};")
        column = QVBoxLayout(self._face)
        column.addWidget(self.state)
        column.addWidget(self.digits, 1)
        column.addWidget(self.interval)
        column.addWidget(self.scale)
        self._face.setToolTip(f"Lasing threshold now, {UNIT} {self._convention}, with its 95 % interval")
        self._set_digits("–", theme.DIM)
        self._side = QFrame()
        self._side.setStyleSheet(f"QFrame {{ background: {theme.PANEL}; border-radius: 12px; }}")
        grid = QGridLayout(self._side)
        self._cells: dict[str, QLabel] = {}
        for row, (name, text, tip) in enumerate(
            (
                ("best", "Best so far", f"Lowest threshold since the reference, {UNIT}"),
                ("change", "Now against best", "Relative difference"),
                ("signal", "Signal", "Emission at the highest fluence of the readout, counts per pulse"),
                ("fwhm", "FWHM", "Of that emission, nm"),
                ("peak", "Peak", "Its highest point, nm"),
                ("rate", "Readout every", "Time from one readout to the next"),
                ("dose", "Dose", "Fluence times pulses on the sample since the alignment began"),
            )
        ):
            label, value = PlainLabel(text), PlainLabel("–")
            label.setStyleSheet(f"font-size: 15pt; color: {theme.DIM};")
            value.setStyleSheet("font-size: 20pt; font-weight: 700;")
            value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            label.setToolTip(tip)
            value.setToolTip(tip)
            grid.addWidget(label, row, 0)
            grid.addWidget(value, row, 1)
            self._cells[name] = value

    def _make_trend(self) -> None:
        self.trend: Any = make_plot("Time (s)", f"Threshold ({UNIT})")
        self._band_low, self._band_high = pg.PlotCurveItem(), pg.PlotCurveItem()
        band = pg.FillBetweenItem(self._band_low, self._band_high, brush=theme.brush(theme.THRESHOLD, 50))
        self._line = pg.PlotCurveItem(pen=theme.pen(theme.THRESHOLD, width=2), antialias=True)
        self._dots = pg.ScatterPlotItem(size=8, pen=None, brush=theme.brush(theme.THRESHOLD))
        self._best = pg.InfiniteLine(angle=0, pen=theme.pen(theme.GOOD, dashed=True))
        self._best.setVisible(False)
        for item in (self._band_low, self._band_high, band, self._line, self._dots, self._best):
            self.trend.addItem(item)
        name_places(self.trend.getPlotItem(), False, "left", "bottom")
        self.reader = Cursor(self.trend, lambda x, y: f"{x:.0f} s, {digits(y)} {UNIT}" if self._times else "")
        self.trend.setToolTip("Threshold over time with its 95 % interval; the green line is the best so far")

    def _controls(self) -> QWidget:
        box = QWidget()
        grid = QGridLayout(box)
        grid.setContentsMargins(0, 0, 0, 0)
        limit = self._limits.max_fluence_uj_cm2
        self.start = NumberField(
            "Reference from", 25.0, UNIT, "Lowest fluence of the reference sweep", self._forbidden
        )
        self.end = NumberField("to", min(200.0, limit), UNIT, "Its highest fluence", self._forbidden)
        self.points = NumberField("Points", 16, "", "Of the reference sweep", whole(8, 200))
        self.dose = NumberField(
            "Most dose", None, "J/cm²", "Fluence times pulses at which it ends; empty: no extra limit",
            between(1e-6, 1e9, "J/cm²"), optional=True,
        )  # fmt: skip
        for number, field in enumerate((self.start, self.end, self.points, self.dose)):
            field.changed.connect(self.judge)
            grid.addWidget(field, number // 2, number % 2)
        self.go = QPushButton("Start alignment")
        self.go.setObjectName("go")
        self.go.setToolTip("Measure the reference, then follow the threshold; again: stop (F9)")
        self.go.clicked.connect(self._clicked)
        grid.addWidget(self.go, 0, 2, 2, 1)
        return box

    # --- judging and starting ----------------------------------------------------------------------

    def _take(self, config: BenchConfig) -> None:
        self._settings, self._limits = config.pump_settings(), config.limit_settings()
        self._beam = make_beam(self._settings, self._limits)

    def _scale(self) -> str:
        """Say what the interval of the threshold lacks."""
        try:
            budget = fluence_budget(self._settings)
        except ValueError:
            return ""
        only = "95 %, statistical only; " if budget.combined_rel is None else "95 %, at this calibration; "
        return only + scale(budget.record())

    def show_config(self, config: BenchConfig) -> None:
        """Judge by another bench file."""
        self._take(config)
        self.scale.setText(self._scale())
        self.judge()

    def _forbidden(self, fluence: float) -> str:
        return self._beam.forbidden(fluence).replace("uJ/cm2", UNIT)

    def plan(self) -> AlignmentPlan | None:
        """Return the plan, None where a field refuses."""
        values = [self.start.value, self.end.value, self.points.value]
        if None in values or not self.dose.judge():
            return None
        reference = SweepPlan(
            start_uj_cm2=float(self.start.value or 0),
            stop_uj_cm2=float(self.end.value or 0),
            points=int(self.points.value or 0),
            average=3,
        )
        try:
            validate(reference, self._settings, self._limits)
        except ConfigError as exc:
            (self.end if exc.key == "stop" else self.start).refuse(exc.reason.replace("uJ/cm2", UNIT))
            return None
        most = self.dose.value
        return AlignmentPlan(reference=reference, max_dose_uj_cm2=None if most is None else most * 1e6)

    def judge(self) -> None:
        """Allow the start only with a plan that can be carried out."""
        for field in (self.start, self.end, self.points):
            field.judge()
        self.go.setEnabled(self.running or (self._enabled and self.plan() is not None))

    @property
    def refused(self) -> str:
        """Which field is refused, and why; empty where none is."""
        rows = (self.start, self.end, self.points, self.dose)
        return next((f"{row.label}: {row.reason.text()}" for row in rows if row.reason.text()), "")

    def set_enabled(self, enabled: bool) -> None:
        """Allow the start while the bench is connected."""
        self._enabled = enabled
        self.judge()

    def _clicked(self) -> None:
        if self.running:
            self._stop()
            return
        plan = self.plan()
        if plan is not None:
            self.begin(plan)

    def begin(self, plan: AlignmentPlan) -> None:
        """Start an alignment."""
        self.running = True
        for kept in (self._times, self._values, self._low, self._high):
            kept.clear()
        self._best.setVisible(False)
        self.go.setText("Stop alignment")
        dress(self.go, "stop")
        self.state.setText("preparing")
        self._set_digits("…", theme.DIM)
        self.interval.setText("")
        self._post(Align(plan))

    # --- what the bench tells ----------------------------------------------------------------------

    def take(self, told: AlignTold) -> None:
        """Show something new."""
        event = told.event
        if isinstance(event, ReferencePoint):
            self.state.setText(f"reference sweep: {event.number} of {event.total}")
            self._cells["dose"].setText(dose(event.point.dose_uj_cm2))
        elif isinstance(event, Reference):
            self.state.setText("following the threshold")
            value = event.result.threshold_uj_cm2
            self._set_digits(digits(value), theme.DIM)
            self.interval.setText(_interval(event.result.ci95))
        elif isinstance(event, Readout):
            self._readout(event)

    def ended(self, told: AlignEnded) -> None:
        """Say why it has ended."""
        self.running = False
        self.go.setText("Start alignment")
        dress(self.go, "go")
        self.state.setText(told.message)
        self.state.setStyleSheet(f"font-size: 15pt; color: {theme.DANGER if told.wrong else theme.DIM};")
        self._set_digits(self.digits.text(), theme.DIM)
        self.judge()

    def _readout(self, event: Readout) -> None:
        value, ends = event.result.threshold_uj_cm2, event.result.ci95
        stepped = "step" in event.result.flags
        self.state.setText(
            f"readout {event.number}" + ("  ·  the threshold has jumped" if stepped else "")
            if value is not None
            else event.result.reason.replace("uJ/cm2", UNIT)
        )
        self.state.setStyleSheet(
            f"font-size: 15pt; color: {theme.WARN if stepped or value is None else theme.DIM};"
        )
        if value is not None and ends is not None:
            best = event.best_uj_cm2 or value
            held = value <= 1.01 * best
            self._set_digits(digits(value), theme.GOOD if held else theme.THRESHOLD)
            self.interval.setText(_interval(ends))
            self._cells["best"].setText(digits(best))
            self._cells["change"].setText(f"{100 * (value / best - 1):+.1f} %")
            for kept, number in zip(
                (self._times, self._values, self._low, self._high), (event.at_s, value, *ends), strict=True
            ):
                kept.append(number)
                del kept[:-MOST]
            self._draw_trend(best)
        else:
            self._set_digits("–", theme.WARN)
            self.interval.setText("")
        width = "–" if event.fwhm_nm is None else f"{event.fwhm_nm:.2f} nm"
        peak = "–" if event.peak_wavelength_nm is None else f"{event.peak_wavelength_nm:.2f} nm"
        for name, text in (
            ("signal", digits(event.signal, 4)), ("fwhm", width), ("peak", peak),
            ("rate", f"{event.took_s:.1f} s" if event.took_s < 60 else duration(event.took_s)),
            ("dose", dose(event.dose_uj_cm2)),
        ):  # fmt: skip
            self._cells[name].setText(text)

    def _draw_trend(self, best: float) -> None:
        name_places(self.trend.getPlotItem(), True, "left", "bottom")
        parts = [values[-SHOWN:] for values in (self._times, self._values, self._low, self._high)]
        times, values, low, high = parts
        self._band_low.setData(times, low, pen=None)
        self._band_high.setData(times, high, pen=None)
        self._line.setData(times, values)
        self._dots.setData(times, values)
        self._best.setVisible(True)
        self._best.setValue(best)
        ends = span(*(np.asarray(v) for v in (low, high)), pad=0.12)
        last = max(times[-1], times[0] + 10.0)
        self.trend.getPlotItem().vb.setRange(xRange=(times[0], last), yRange=ends, padding=0)

    def _set_digits(self, text: str, colour: str) -> None:
        self.digits.setText(text)
        points = max(
            60, min(int(self._face.width() / max(len(text), 4) * 1.05), int(self._face.height() * 0.42))
        )
        self.digits.setStyleSheet(f"font-size: {points}pt; font-weight: 800; color: {colour};")


def _interval(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f"{digits(ends[0])} – {digits(ends[1])}  {UNIT}"
