"""What to sweep: every parameter with its unit and its limits, judged while it is typed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QGroupBox,
    QHBoxLayout,
    QInputDialog,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from labctl.config import BenchConfig
from labctl.gui.base.dialogs import file_dialog, show, text_dialog
from labctl.gui.base.fields import Field, NumberField, between, whole
from labctl.gui.base.memory import remember, remembered
from labctl.gui.base.plain import PlainLabel, tool_tip
from labctl.gui.sweep.presets import keep_preset, known_presets, listed_fluences, refined
from labctl.model.errors import ConfigError
from labctl.model.plan import AdaptivePlan, SweepPlan
from labctl.runner.facts import RunRequest
from labctl.runner.wording import UNIT
from procedures.gate.fluence import make_beam
from procedures.plan import fluences, validate

MODES = (("logarithmic", "log"), ("linear", "linear"), ("listed", "list"), ("adaptive", "adaptive"))
"""How the fluences are spaced, in words, and as a plan says it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A sweep that may be queued."""

    plan: SweepPlan
    request: RunRequest


class SweepPanel(QWidget):
    """Parameters of a sweep.

    :ivar queued: a :class:`Wish` for the queue.
    """

    queued = Signal(object)

    def __init__(self, config: BenchConfig, output: Path) -> None:
        super().__init__()
        self._take(config)
        self.output = output
        self._applying = False
        self._naming: QInputDialog | None = None
        self._choosing: QFileDialog | None = None
        self._make_fields(config)
        self._lay_out()
        self._load_presets()
        self.presets.activated.connect(lambda _i: self.apply_preset(self.presets.currentText()))
        for field in (*self._numbers.values(), self.sample, self.listed, self.spot, self.operator, self.note):
            field.changed.connect(self.judge)
        for box in (self.mode, self.direction):
            box.currentIndexChanged.connect(lambda _i: self.judge())
        self.keep_open.toggled.connect(lambda _on: self.judge())
        self.judge()

    def _take(self, config: BenchConfig) -> None:
        self._settings, self._limits = config.pump_settings(), config.limit_settings()
        self._beam = make_beam(self._settings, self._limits)

    def show_config(self, config: BenchConfig) -> None:
        """Judge by another bench file."""
        self._take(config)
        self.judge()

    def _make_fields(self, config: BenchConfig) -> None:
        convention = f"On the sample, {config.pump.convention}"
        self.sample = Field("Sample", remembered("sweep/sample", "sample"), "", "Name of the sample")
        self.spot = Field("Spot", "", "", "Which spot of the sample")
        self.operator = Field("Operator", remembered("sweep/operator"), "", "Who measures")
        self.note = Field("Note", "", "", "Anything worth keeping")
        self.start = NumberField("From", 25.0, UNIT, f"{convention}: lowest fluence", self._forbidden)
        self.stop = NumberField("To", 200.0, UNIT, f"{convention}: highest fluence", self._forbidden)
        self.points = NumberField("Points", 24, "", "Number of fluences", whole(2, 10_000))
        self.average = NumberField("Exposures", 10, "a point", "Exposures at each fluence", whole(1, 10_000))
        self.longest = NumberField(
            "Longest exposure", 0.5, "s", "Of a single exposure", between(1e-4, 60, "s")
        )
        self.reference = NumberField(
            "Reference every", 0, "points", "0: no reference points", whole(0, 10_000)
        )
        self.target = NumberField(
            "Target", 3.0, "± %", "Half-width of the 95 % interval", between(0.51, 99, "%")
        )
        self.most = NumberField("Most points", 40, "", "Of an adaptive sweep", whole(2, 10_000))
        self.listed = Field("Fluences", "", UNIT, "Separated by commas or blanks")
        self._numbers = {
            "start": self.start, "stop": self.stop, "points": self.points, "average": self.average,
            "max_integration_s": self.longest, "reference_every": self.reference, "target": self.target,
            "budget_points": self.most,
        }  # fmt: skip
        self.mode, self.direction = QComboBox(), QComboBox()
        for text, data in MODES:
            self.mode.addItem(text, data)
        for word in ("up", "down", "up-down", "shuffled"):
            self.direction.addItem(word, word)
        self.mode.setToolTip(
            "Spacing of the fluences; adaptive: chosen while measuring, until the interval is narrow"
        )
        self.direction.setToolTip("Order of the fluences")
        self.keep_open = QCheckBox("Shutter open between points")
        self.keep_open.setToolTip("Costs light on the sample; the default is light only while measuring")
        self.presets = QComboBox()
        self.presets.setToolTip("Sets of parameters; your own are kept")

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 6, 6, 6)
        row = QHBoxLayout()
        row.addWidget(self.presets, 1)
        self.keep = keep = QPushButton("Keep…")
        keep.setToolTip("Keep these parameters as a preset of your own")
        keep.clicked.connect(self._ask_preset)
        row.addWidget(keep)
        column.addLayout(row)
        fluence = (self.mode, self.start, self.stop, self.listed, self.points)
        for title, widgets in (
            ("Fluence", (*fluence, self.target, self.most, self.direction)),
            ("Measurement", (self.average, self.longest, self.reference, self.keep_open)),
            ("Run", (self.sample, self.spot, self.operator, self.note)),
        ):
            box = QGroupBox(title)
            inner = QVBoxLayout(box)
            inner.setSpacing(4)
            for widget in widgets:
                inner.addWidget(widget)
            column.addWidget(box)
        self.folder = QPushButton()
        self.folder.clicked.connect(self._ask_folder)
        self._show_folder()
        column.addWidget(self.folder)
        self.reason = PlainLabel()
        self.reason.setProperty("role", "wrong")
        self.reason.setWordWrap(True)
        column.addWidget(self.reason)
        self.start_button = QPushButton("Queue sweep")
        self.start_button.setObjectName("go")
        self.start_button.setToolTip(
            "Put it into the queue; it begins as soon as the bench is free (Ctrl+Return)"
        )
        self.start_button.clicked.connect(self._queue)
        column.addWidget(self.start_button)
        column.addStretch(1)

    # --- judging -----------------------------------------------------------------------------------

    def _forbidden(self, fluence: float) -> str:
        return self._beam.forbidden(fluence).replace("uJ/cm2", UNIT)

    def judge(self) -> None:
        """Say of every field why it is refused, and whether all of it together can be done."""
        if self._applying:
            return
        mode = str(self.mode.currentData())
        for field, shown in (
            (self.start, mode != "list"),
            (self.stop, mode != "list"),
            (self.points, mode != "list"),
            (self.listed, mode == "list"),
            (self.target, mode == "adaptive"),
            (self.most, mode == "adaptive"),
        ):
            field.setVisible(shown)
        self.reason.setText("")
        self.sample.refuse("" if self.sample.text else "a name is needed")
        fine = [field.judge() for field in self._numbers.values() if not field.isHidden()]
        plan = self.plan() if all(fine) and self.sample.text else None
        if plan is not None:
            self.start_button.setText(f"Queue sweep: {len(fluences(plan))} points")
        self.start_button.setEnabled(plan is not None)

    def plan(self) -> SweepPlan | None:
        """Return the plan, None where it is refused; the field then says why."""
        try:
            plan = self._plan()
            validate(plan, self._settings, self._limits)
        except ConfigError as exc:
            self._refuse(exc)
            return None
        return plan

    def _refuse(self, exc: ConfigError) -> None:
        text = exc.reason.replace("uJ/cm2", UNIT)
        if str(self.mode.currentData()) == "list":
            self.listed.refuse(text)
        elif exc.key in self._numbers and not self._numbers[exc.key].isHidden():
            self._numbers[exc.key].refuse(text)
        else:
            self.reason.setText(f"{exc.key}: {text}" if exc.key else text)

    def _plan(self) -> SweepPlan:
        mode = str(self.mode.currentData())
        given: dict[str, Any] = {
            "average": int(self.average.value or 0),
            "max_integration_s": float(self.longest.value or 0.0),
            "reference_every": int(self.reference.value or 0),
            "direction": str(self.direction.currentData()),
            "keep_open": self.keep_open.isChecked(),
        }
        if mode == "list":
            self.listed.refuse("")
            return SweepPlan(spacing="list", fluences_uj_cm2=listed_fluences(self.listed.text), **given)
        given.update(
            start_uj_cm2=float(self.start.value or 0.0),
            stop_uj_cm2=float(self.stop.value or 0.0),
            points=int(self.points.value or 0),
        )
        if mode == "adaptive":
            target, most = float(self.target.value or 0.0) / 100, int(self.most.value or 0)
            return AdaptivePlan(target_rel=target, budget_points=most, **given)
        return SweepPlan(spacing="linear" if mode == "linear" else "log", **given)

    def wish(self, plan: SweepPlan) -> Wish:
        """Return a plan with what is said of the run."""
        request = RunRequest(
            self.output, self.sample.text, self.operator.text, self.spot.text, self.note.text
        )
        return Wish(plan, request)

    def _queue(self) -> None:
        plan = self.plan()
        if plan is not None and self.start_button.isEnabled():
            remember("sweep/sample", self.sample.text)
            remember("sweep/operator", self.operator.text)
            self.queued.emit(self.wish(plan))

    def refine(self, threshold_uj_cm2: float) -> Wish | None:
        """Return a sweep that is dense round a threshold and spans it; None where the bench forbids it."""
        plan = refined(threshold_uj_cm2, self._beam, self.plan() or SweepPlan())
        try:
            validate(plan, self._settings, self._limits)
        except ConfigError as exc:
            self.reason.setText(str(exc))
            return None
        wish = self.wish(plan)
        low, high = min(plan.fluences_uj_cm2), max(plan.fluences_uj_cm2)
        note = f"refined round {threshold_uj_cm2:.4g} uJ/cm2, {low:.4g} to {high:.4g}"
        return replace(wish, request=replace(wish.request, note=" ".join((wish.request.note, note)).strip()))

    # --- presets -----------------------------------------------------------------------------------

    def _load_presets(self) -> None:
        self._known = known_presets()
        self.presets.clear()
        self.presets.addItem("Preset…")
        self.presets.addItems(list(self._known))

    def apply_preset(self, name: str) -> None:
        """Fill in the parameters of a preset."""
        chosen = self._known.get(name)
        if not isinstance(chosen, dict):
            return
        self._applying = True
        for key, value in chosen.items():
            if key in self._numbers:
                self._numbers[key].set_text(f"{value:g}" if isinstance(value, (int, float)) else str(value))
            elif key in ("mode", "direction"):
                box = self.mode if key == "mode" else self.direction
                box.setCurrentIndex(max(box.findData(str(value)), 0))
        self._applying = False
        self.judge()

    def keep_preset(self, name: str) -> None:
        """Keep the present parameters under a name."""
        numbers = {key: field.value for key, field in self._numbers.items() if field.value is not None}
        words = {"mode": self.mode.currentData(), "direction": self.direction.currentData()}
        keep_preset(name, {**numbers, **words})
        self._load_presets()

    def _ask_preset(self) -> None:
        if self._naming is None:
            self._naming = text_dialog(self, "Keep as a preset", "Name", self.keep_preset)
        self._naming.setTextValue("")
        show(self._naming)

    def _ask_folder(self) -> None:
        if self._choosing is None:
            self._choosing = file_dialog(self, "Directory of the runs", QFileDialog.FileMode.Directory)
            self._choosing.setOption(QFileDialog.Option.ShowDirsOnly)
            self._choosing.fileSelected.connect(self._take_folder)
        self._choosing.setDirectory(str(self.output))
        show(self._choosing)

    def _take_folder(self, chosen: str) -> None:
        self.output = Path(chosen)
        self._show_folder()

    def _show_folder(self) -> None:
        """Say where files go in full, with the middle left out where that is too long for the panel."""
        whole = f"into {self.output.resolve()}"
        self.folder.setText(self.folder.fontMetrics().elidedText(whole, Qt.TextElideMode.ElideMiddle, 300))
        self.folder.setToolTip(tool_tip(f"Directory of the run's files: {self.output.resolve()}"))
