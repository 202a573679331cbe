"""What to sweep: every option of the plan with its unit and its limits, judged while it is filled in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QGroupBox,
    QHBoxLayout,
    QInputDialog,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QStyle,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from labctl.config import BenchConfig
from labctl.gui.base.dialogs import file_dialog, show, text_dialog
from labctl.gui.base.fields import Field, OptionField, PlainLabel, Row, remember, remembered, shown, tool_tip
from labctl.model.errors import ConfigError
from labctl.model.options import options
from labctl.model.plan import (
    ADAPTIVE,
    BACKGROUND,
    CHECKS,
    EXPOSURE,
    FLUENCES,
    MEASUREMENT,
    REFERENCE,
    AdaptivePlan,
    SweepPlan,
    sweep_options,
    sweep_plan,
)
from labctl.runner.facts import RunRequest
from procedures.forecast import Forecast, forecast
from procedures.gate.fluence import Beam, make_beam
from procedures.plan import fluences, validate

PRESETS: dict[str, dict[str, object]] = {
    "Standard: 24 points": {"points": 24, "spacing": "log", "direction": "up"},
    "Quick look: 12 points": {"points": 12, "average": 3, "spacing": "log", "direction": "up"},
    "Fine: 40 points": {"points": 40, "spacing": "log", "direction": "up"},
    "Adaptive to 3 %": {
        "adaptive": True,
        "start_points": 10,
        "average": 6,
        "target": "3 %",
        "direction": "up",
    },
    "Up and down (bleaching)": {"points": 16, "average": 6, "spacing": "log", "direction": "up-down"},
}
"""Values by the names of options; what is not named stays as it is, but for ``adaptive``."""
_OWN = "sweep/presets"
_RATIOS = (0.5, 0.62, 0.75, *(0.84 + 0.04 * n for n in range(10)), 1.3, 1.5, 1.75, 2.1)


def known_presets() -> dict[str, dict[str, object]]:
    """Return every preset by name, ours first."""
    try:
        own = json.loads(remembered(_OWN, "{}"))
    except ValueError:
        own = {}
    kept = own.items() if isinstance(own, dict) else ()
    return PRESETS | {name: _as_now(values) for name, values in kept if isinstance(values, dict)}


def _as_now(values: dict[str, object]) -> dict[str, object]:
    """Return a preset by the names of options; older windows kept a mode, and the target in per cent."""
    if "mode" not in values:
        return values
    found = {"max_integration" if key == "max_integration_s" else key: v for key, v in values.items()}
    mode, target, points = found.pop("mode"), found.pop("target", None), found.get("points")
    if mode != "adaptive":
        return found | {"spacing": mode}
    return found | {"adaptive": True, "target": f"{target} %", "start_points": points}


def keep_preset(name: str, values: Mapping[str, object]) -> None:
    """Keep a preset of the user's own."""
    own = {key: value for key, value in known_presets().items() if key not in PRESETS}
    remember(_OWN, json.dumps({**own, name: dict(values)}))


def refined(threshold_uj_cm2: float, beam: Beam, base: SweepPlan) -> SweepPlan:
    """Return a sweep that is dense round a threshold and spans it, as far as the bench allows.

    :param base: says everything but the fluences.
    """
    wanted = tuple(round(ratio * threshold_uj_cm2, 3) for ratio in _RATIOS)
    values: dict[str, Any] = {
        option.field: getattr(base, option.field)
        for option in options(SweepPlan).values()
        if option.group != FLUENCES
    }
    dense = tuple(f for f in wanted if not beam.forbidden(f))
    return SweepPlan(spacing="list", fluences_uj_cm2=dense, **values)


SAID_LINES = 4
"""Lines of text above the button; more of it scrolls."""
OPEN, FOLDED = (FLUENCES, ADAPTIVE, MEASUREMENT), (REFERENCE, EXPOSURE, BACKGROUND, CHECKS)
"""Groups of options in their order: those always open, and those that are opened when they are wanted."""


class Folding(QWidget):
    """A group of options behind its title, which says how many of them are not as usual."""

    def __init__(self, title: str, fields: list[OptionField]) -> None:
        super().__init__()
        self._title, self.fields = title, fields
        self.head, self.body = QToolButton(), QWidget()
        self.head.setCheckable(True)
        self.head.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.head.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.head.toggled.connect(self.open)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        inner = QVBoxLayout(self.body)
        inner.setContentsMargins(10, 2, 10, 6)
        inner.setSpacing(4)
        for field in fields:
            inner.addWidget(field)
        column.addWidget(self.head)
        column.addWidget(self.body)
        self.open(False)

    def open(self, wanted: bool) -> None:
        """Show the options, or the title alone."""
        self.head.setChecked(wanted)
        self.head.setArrowType(Qt.ArrowType.DownArrow if wanted else Qt.ArrowType.RightArrow)
        self.body.setVisible(wanted)

    def judge(self) -> None:
        """Say how many options are not as usual; show one that is refused."""
        changed = sum(not field.usual for field in self.fields)
        self.head.setText(f"{self._title}: {changed} changed" if changed else self._title)
        if any(field.reason.text() for field in self.fields):
            self.open(True)


class _Column(QScrollArea):
    """Scrolls up and down, and is never narrower than what is inside."""

    def __init__(self, inside: QWidget) -> None:
        super().__init__()
        self._inside = inside
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(inside)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Return the width of what is inside, and little height."""
        scrollbar = self.style().pixelMetric(QStyle.PixelMetric.PM_ScrollBarExtent)
        return QSize(self._inside.minimumSizeHint().width() + scrollbar, 120)


class SweepPanel(QWidget):
    """Parameters of a sweep.

    :ivar queued: a plan and a request for the queue.
    :ivar planned: what is filled in was judged: see ``forecasted`` and ``refused``.
    :ivar fields: one for each option of a sweep, by its name.
    """

    queued = Signal(object, object)
    planned = Signal()

    def __init__(self, config: BenchConfig, output: Path) -> None:
        super().__init__()
        self._take(config)
        self.output = output
        self._applying = False
        self.forecasted: tuple[SweepPlan, Forecast] | None = None
        self._before = 0
        self._naming: QInputDialog | None = None
        self._choosing: QFileDialog | None = None
        self._make_fields(config)
        self._lay_out()
        self._load_presets()
        self.presets.activated.connect(lambda _i: self.apply_preset(self.presets.currentText()))
        for field in (*self.fields.values(), self.sample, self.spot, self.operator, self.note):
            field.changed.connect(self.judge)
        self.adaptive.toggled.connect(lambda _on: self.judge())
        self.judge()

    def _take(self, config: BenchConfig) -> None:
        self._settings, self._limits = config.pump_settings(), config.limit_settings()
        self._beam = make_beam(self._settings, self._limits)

    def show_config(self, config: BenchConfig) -> None:
        """Judge by another bench file."""
        self._take(config)
        self.judge()

    def _make_fields(self, config: BenchConfig) -> None:
        self.sample = Field("Sample", remembered("sweep/sample", "sample"), "", "Name of the sample")
        self.spot = Field("Spot", "", "", "Spot on the sample")
        self.operator = Field("Operator", remembered("sweep/operator"), "", "Who measures")
        self.note = Field("Note", "", "", "Note stored with the run")
        self.fields = {name: OptionField(option) for name, option in sweep_options().items()}
        for name in ("start", "stop"):
            self.fields[name].setToolTip(f"{self.fields[name].toolTip()}, {config.pump.convention}")
        self.adaptive = QCheckBox("Adaptive")
        self.adaptive.setToolTip("Choose each fluence while measuring, until the interval is narrow")
        self.presets = QComboBox()
        self.presets.setToolTip("Sets of parameters; your own are kept")

    def _lay_out(self) -> None:
        """Let the groups scroll; what is refused, and the key that queues, are always to be seen."""
        below, inside = QVBoxLayout(self), QWidget()
        below.setContentsMargins(0, 0, 6, 6)
        column = QVBoxLayout(inside)
        column.setContentsMargins(6, 6, 6, 6)
        below.addWidget(_Column(inside), 1)
        row = QHBoxLayout()
        row.addWidget(self.presets, 1)
        self.keep = keep = QPushButton("Keep…")
        keep.setToolTip("Save these parameters as a preset")
        keep.clicked.connect(self._ask_preset)
        row.addWidget(keep)
        column.addLayout(row)
        self.groups: dict[str, QWidget] = {}
        for group in OPEN:
            own: list[QWidget] = list(self._fields_of(group))
            self._add_box(column, group, own if group != FLUENCES else [self.adaptive, *own])
        self._add_box(column, "Run", [self.sample, self.spot, self.operator, self.note])
        self.folded = {group: Folding(group, self._fields_of(group)) for group in FOLDED}
        for group, folding in self.folded.items():
            self.groups[group] = folding
            column.addWidget(folding)
        column.addStretch(1)
        self.folder = QPushButton()
        self.folder.clicked.connect(self._ask_folder)
        self._show_folder()
        below.addWidget(self.folder)
        self.forecast, self.reason = PlainLabel(), PlainLabel()
        self.reason.setProperty("role", "wrong")
        said = QWidget()
        one = QVBoxLayout(said)
        one.setContentsMargins(0, 0, 0, 0)
        for label in (self.forecast, self.reason):
            label.setWordWrap(True)
            label.setAlignment(Qt.AlignmentFlag.AlignTop)
            one.addWidget(label)
        room = QScrollArea()  # of fixed height: what is said there moves neither fields nor button
        room.setWidgetResizable(True)
        room.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        room.setWidget(said)
        room.setFixedHeight(SAID_LINES * room.fontMetrics().lineSpacing() + 4)
        below.addWidget(room)
        self.start_button = QPushButton("Start sweep")
        self.start_button.setObjectName("go")
        self.start_button.setToolTip("It starts as soon as the bench is free (Ctrl+Return)")
        self.start_button.clicked.connect(self._queue)
        below.addWidget(self.start_button)

    def _fields_of(self, group: str) -> list[OptionField]:
        return [field for field in self.fields.values() if field.option.group == group]

    def _add_box(self, column: QVBoxLayout, title: str, widgets: list[QWidget]) -> None:
        self.groups[title] = box = QGroupBox(title)
        inner = QVBoxLayout(box)
        inner.setSpacing(4)
        for widget in widgets:
            inner.addWidget(widget)
        column.addWidget(box)

    # --- judging -----------------------------------------------------------------------------------

    def judge(self) -> None:
        """Say of every field why it is refused, and whether all of it together can be done."""
        if self._applying:
            return
        counting = self._counting()
        for name, field in self.fields.items():
            field.setVisible(name in counting)
        self.groups[ADAPTIVE].setVisible(self.adaptive.isChecked())
        self._say("")
        self.sample.refuse("" if self.sample.text else "a name is needed")
        fine = [field.judge() for field in counting.values()]
        plan = self.plan() if all(fine) and self.sample.text else None
        for folding in self.folded.values():
            folding.judge()
        asked = None if plan is None else forecast(plan, self._settings, self._limits)
        self.forecasted = None if plan is None or asked is None else (plan, asked)
        self.forecast.setText("" if asked is None else shown("; ".join((asked.text, *asked.warnings))))
        self.forecast.setVisible(asked is not None)
        if self.refused is not None and not self.reason.text():
            row, why = self.refused
            self._say(f"{row.label}: {why}")
        self._name_start(plan)
        self.start_button.setEnabled(plan is not None)
        self.planned.emit()

    def _name_start(self, plan: SweepPlan | None) -> None:
        others = {0: "", 1: " after this one"}.get(self._before, f" after {self._before} others")
        points = "" if plan is None else f": {len(fluences(plan))} points"
        self.start_button.setText(f"Start sweep{others}{points}")

    def show_waiting(self, before: int) -> None:
        """Say on the button how many sweeps come first."""
        if before != self._before:
            self._before = before
            self._name_start(None if self.forecasted is None else self.forecasted[0])

    @property
    def refused(self) -> tuple[Row, str] | None:
        """The first field that is refused, and why; None where none is."""
        rows = (*self.fields.values(), self.sample)
        return next(((row, row.reason.text()) for row in rows if row.reason.text()), None)

    def _counting(self) -> dict[str, OptionField]:
        """Return the fields that say something in this kind of sweep."""
        listed, adaptive = self.fields["spacing"].text == "list", self.adaptive.isChecked()
        idle = {"start", "stop", "points", "start_points"} if listed else {"fluences"}
        if adaptive:
            idle.add("points")
        if self.fields["direction"].text != "shuffled":
            idle.add("seed")
        return {
            name: field
            for name, field in self.fields.items()
            if name not in idle and (adaptive or field.option.group != ADAPTIVE)
        }

    def plan(self) -> SweepPlan | None:
        """Return the plan, None where it is refused; the field then says why."""
        counting = self._counting()
        try:
            given = {name: field.value for name, field in counting.items()}
            plan = sweep_plan(given, adaptive=self.adaptive.isChecked())
            validate(plan, self._settings, self._limits)
        except ConfigError as exc:
            text = shown(exc.reason)
            if exc.key in counting:
                counting[exc.key].refuse(text)
            else:
                self._say(f"{exc.key}: {text}" if exc.key else text)
            return None
        return plan

    def _say(self, text: str) -> None:
        self.reason.setText(text)
        self.reason.setVisible(bool(text))

    def request(self, note: str = "") -> RunRequest:
        """Return what is said of the run."""
        said = " ".join((self.note.text, note)).strip()
        return RunRequest(self.output, self.sample.text, self.operator.text, self.spot.text, said)

    def _queue(self) -> None:
        plan = self.plan()
        if plan is not None and self.start_button.isEnabled():
            remember("sweep/sample", self.sample.text)
            remember("sweep/operator", self.operator.text)
            self.queued.emit(plan, self.request())

    def refine(self, threshold_uj_cm2: float) -> tuple[SweepPlan, RunRequest] | None:
        """Return a sweep that is dense round a threshold and spans it; None where the bench forbids it."""
        plan = refined(threshold_uj_cm2, self._beam, self.plan() or SweepPlan())
        try:
            validate(plan, self._settings, self._limits)
        except ConfigError as exc:
            self._say(shown(str(exc)))
            return None
        low, high = min(plan.fluences_uj_cm2), max(plan.fluences_uj_cm2)
        note = f"refined around {threshold_uj_cm2:.4g} uJ/cm2, {low:.4g} to {high:.4g}"
        return plan, self.request(note)

    def show_plan(self, plan: SweepPlan) -> None:
        """Fill in the values of a plan."""
        self._applying = True
        self.adaptive.setChecked(isinstance(plan, AdaptivePlan))
        for field in self.fields.values():
            if hasattr(plan, field.option.field):
                field.fill(field.option.write(getattr(plan, field.option.field)))
        self._applying = False
        self.judge()

    # --- presets -----------------------------------------------------------------------------------

    def _load_presets(self) -> None:
        self._known = known_presets()
        self.presets.clear()
        self.presets.addItem("Preset…")
        self.presets.addItems(list(self._known))

    def apply_preset(self, name: str) -> None:
        """Fill in the parameters of a preset."""
        chosen = self._known.get(name)
        if chosen is None:
            return
        self._applying = True
        self.adaptive.setChecked(bool(chosen.get("adaptive")))
        for key, value in chosen.items():
            if key in self.fields and value is not None:
                self.fields[key].fill(value)
        self._applying = False
        self.judge()

    def keep_preset(self, name: str) -> None:
        """Keep the present parameters under a name."""
        counting = {key: field.text for key, field in self._counting().items()}
        keep_preset(name, {**counting, "adaptive": self.adaptive.isChecked()})
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
