"""The guided page: choose what to measure, do what is asked, see data and fit, keep the result."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSplitter,
    QStackedWidget,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from labctl.config import BenchConfig
from labctl.gui.base import theme
from labctl.gui.base.memory import remember
from labctl.gui.base.plain import PlainLabel, rich
from labctl.gui.calibration.budget import BudgetView, state_of
from labctl.gui.calibration.forms import OptionForm
from labctl.gui.calibration.kinds import ABOUT, make_form
from labctl.gui.calibration.plot import CalPlot
from labctl.gui.calibration.prompt import PromptPanel
from labctl.model.calibration import KINDS, Calibration, CalibrationKind
from labctl.runner.wording import pretty
from labctl.service.messages import CalEnded, Calibrate, CalTold, Recheck
from procedures.calibration import CalOptions, CalStep
from procedures.calibration.record import report

_ENDS = {"refused": theme.WARN, "aborted": theme.DIM, "failed": theme.DANGER}


class CalibratePage(QWidget):
    """Start, follow and end a calibration.

    :param post: takes commands; ``stop`` ends what runs; ``answer`` takes answers of hands.
    :param output: directory of calibrations.
    :ivar use_wanted: a stored calibration shall be named in the bench file: kind and path.
    :ivar blocking_changed: one begins, or sensor and sample are where a sweep wants them again.
    """

    use_wanted = Signal(str, object)
    blocking_changed = Signal()

    def __init__(
        self,
        config: BenchConfig,
        post: Callable[[Calibrate | Recheck], None],
        stop: Callable[[], None],
        answer: Callable[[int, object], None],
        output: Path,
    ) -> None:
        super().__init__()
        self._post, self._stop, self.output = post, stop, output
        self._simulated = bool(config.bench.hand)
        self.running: CalibrationKind | None = None
        self.stored: tuple[Calibration, Path] | None = None
        self._enabled = False
        self.by_hand = threading.Event()
        self.prompt, self.plot, self.budget = PromptPanel(answer), CalPlot(), BudgetView(config)
        self.budget.recheck_wanted.connect(lambda: post(Recheck()))
        self._make_result()
        guided = QSplitter(Qt.Orientation.Horizontal)
        guided.addWidget(self._side(config))
        guided.addWidget(self._middle())
        guided.setSizes([400, 1200])
        guided.setStretchFactor(1, 1)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.addTab(guided, "Calibrate")
        self.tabs.addTab(self.budget, "In use and budget")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 0)
        column.addWidget(self.tabs)
        self.show_config(config)
        self.choose("attenuator")
        self.prompt.show_text("Choose what to measure, look at the options, and start.", theme.DIM)

    # --- parts -------------------------------------------------------------------------------------

    def _side(self, config: BenchConfig) -> QWidget:
        side = QWidget()
        column = QVBoxLayout(side)
        column.setContentsMargins(10, 8, 6, 8)
        self.kinds = QButtonGroup(self)
        self._forms = {kind: make_form(kind) for kind in KINDS}
        self._stack = QStackedWidget()
        for number, kind in enumerate(KINDS):
            button = QPushButton(ABOUT[kind].name)
            button.setCheckable(True)
            button.setStyleSheet("text-align: left; padding: 6px 12px;")
            button.clicked.connect(lambda _checked=False, k=kind: self.choose(k))
            self.kinds.addButton(button, number)
            column.addWidget(button)
            area = QScrollArea()
            area.setWidgetResizable(True)
            area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
            self._forms[kind].setContentsMargins(0, 0, 10, 0)  # room for the scroll bar
            area.setWidget(self._forms[kind])
            self._stack.addWidget(area)
            self._forms[kind].changed.connect(self.judge)
        self.about = QLabel()
        self.about.setWordWrap(True)
        self.about.setContentsMargins(4, 8, 4, 8)
        column.addWidget(self.about)
        column.addWidget(self._stack, 1)
        self.hand = QCheckBox("Do it by hand, although the bench is simulated")
        self.hand.setToolTip("Off: the simulated bench's own hands do what is asked, and it is shown")
        self.hand.setVisible(bool(config.bench.hand))
        self.hand.toggled.connect(self._by_hand)
        column.addWidget(self.hand)
        self.go = QPushButton("Start")
        self.go.setObjectName("go")
        self.go.setMinimumHeight(42)
        self.go.clicked.connect(lambda _checked=False: self.toggle())
        column.addWidget(self.go)
        return side

    def _middle(self) -> QWidget:
        self.bar, self.line = QProgressBar(), PlainLabel()
        self.bar.setRange(0, 1000)
        self.bar.setFormat("%p %")
        self.line.setProperty("role", "dim")
        self.line.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        middle = QWidget()
        column = QVBoxLayout(middle)
        column.setContentsMargins(6, 8, 10, 8)
        column.addWidget(self.prompt)
        column.addWidget(self.bar)
        column.addWidget(self.line)
        column.addWidget(self.plot, 1)
        column.addWidget(self.result)
        return middle

    def _make_result(self) -> None:
        self.result = QFrame()
        self.result.setStyleSheet(f"QFrame {{ background: {theme.PANEL}; border-radius: 10px; }}")
        self.found = QLabel()
        self.found.setWordWrap(True)
        self.found.setTextFormat(Qt.TextFormat.RichText)
        self.found.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.use = QPushButton("Use in this bench file")
        self.use.setToolTip("Name it under [calibrations] of the bench file, and connect anew with it")
        self.use.clicked.connect(lambda _checked=False: self._use())
        row = QHBoxLayout(self.result)
        row.setContentsMargins(16, 10, 16, 10)
        row.addWidget(self.found, 1)
        row.addWidget(self.use, 0, Qt.AlignmentFlag.AlignBottom)
        self.result.setVisible(False)

    # --- choosing and starting ---------------------------------------------------------------------

    @property
    def blocking(self) -> bool:
        """Whether nothing else may use the bench: one runs, or something still stands elsewhere."""
        return self.running is not None or self.prompt.confirming

    @property
    def kind(self) -> CalibrationKind:
        """What is chosen."""
        return KINDS[max(self.kinds.checkedId(), 0)]

    def choose(self, kind: CalibrationKind) -> None:
        """Show another kind."""
        about = ABOUT[kind]
        self.kinds.button(KINDS.index(kind)).setChecked(True)
        self._stack.setCurrentIndex(KINDS.index(kind))
        self.about.setText(f"{about.what}<br><span style='color:{theme.DIM}'>Needed: {about.needs}.</span>")
        self.judge()

    def show_config(self, config: BenchConfig) -> None:
        """Show what the bench file names."""
        named = config.calibrations.named() if config.calibrations else {}
        for number, kind in enumerate(KINDS):
            word, _ = state_of(named.get(kind))
            self.kinds.button(number).setText(f"{ABOUT[kind].name}   ·   {word}")
        self.budget.show_config(config)

    def form_of(self, kind: CalibrationKind) -> OptionForm:
        """Return the fields of a kind."""
        return self._forms[kind]

    def judge(self) -> None:
        """Allow the start only with options that can be."""
        self.go.setText("Stop" if self.running else f"Start: {ABOUT[self.kind].name.lower()}")
        self.go.setEnabled(
            self.running is not None or (self._enabled and self.form_of(self.kind).options() is not None)
        )

    def set_enabled(self, enabled: bool) -> None:
        """Allow the start while the bench is connected and idle."""
        self._enabled = enabled
        self.budget.set_enabled(enabled)
        self.judge()

    def toggle(self) -> None:
        """Start, or stop what runs."""
        if self.running is not None:
            self._stop()
            return
        options = self.form_of(self.kind).options()
        if options is not None and self._enabled:
            remember("sweep/operator", options.operator)
            self.begin(options)

    def begin(self, options: CalOptions) -> None:
        """Start a calibration of the chosen kind."""
        self.running, self.stored = self.kind, None
        for button in self.kinds.buttons():
            button.setEnabled(False)
        self._stack.setEnabled(False)
        self.plot.clear()
        self.result.setVisible(False)
        self.bar.setValue(0)
        self.line.setText("")
        self.prompt.show_text(f"{ABOUT[self.kind].name}: begins")
        self.judge()
        self._post(Calibrate(self.kind, options, self.output, self.by_hand))
        self.blocking_changed.emit()

    def _by_hand(self, on: bool) -> None:
        (self.by_hand.set if on else self.by_hand.clear)()

    # --- what the bench tells ----------------------------------------------------------------------

    def take(self, told: CalTold) -> None:
        """Show something new."""
        event = told.event
        if isinstance(event, CalStep):
            self.plot.take(event)
            if event.progress:
                self.bar.setValue(int(1000 * event.progress))
        text = getattr(event, "text", "")
        if text:
            self.line.setText(pretty(" ".join(text.split())))

    def ended(self, told: CalEnded) -> None:
        """Show the result, or why there is none."""
        self.running = None
        for button in self.kinds.buttons():
            button.setEnabled(True)
        self._stack.setEnabled(True)
        name = ABOUT[told.kind].name
        if told.calibration is not None and told.path is not None:
            self._stored(told.calibration, told.path)
            self.prompt.show_text(f"{name}: measured and stored", theme.GOOD)
            self.bar.setValue(1000)
        else:
            self.prompt.show_text(f"{name}, {told.status}: {pretty(told.message)}", _ENDS[told.status])
        if told.left:
            text = f"{self.prompt.text.text()}\nBefore a sweep: {'; '.join(told.left)}."
            self.prompt.confirm(text, self.blocking_changed.emit)
        self.judge()

    def _stored(self, calibration: Calibration, path: Path) -> None:
        self.stored = (calibration, path)
        first, *lines = (pretty(line).strip() for line in report(calibration))
        body = "<br>".join(rich(line) for line in lines)
        where = f"<span style='color:{theme.DIM}'>{rich(path)}</span>"
        self.found.setText(f"<b>{rich(first)}</b><br>{body}<br>{where}")
        self.use.setEnabled(True)
        self.use.setText("Use in this bench file")
        self.result.setVisible(True)

    def _use(self) -> None:
        if self.stored is not None:
            self.use_wanted.emit(self.stored[0].kind, self.stored[1])

    def used(self) -> None:
        """The bench file names it now."""
        self.use.setEnabled(False)
        self.use.setText("In use")
