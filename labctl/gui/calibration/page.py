"""The guided page: choose what to measure, do what is asked, see data and fit, keep the result."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from PySide6.QtCore import QObject, Qt, Signal
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

from labctl.config import BenchConfig, load_bench
from labctl.config.benchfile import bench_line, use_calibration
from labctl.gui.base import theme
from labctl.gui.base.fields import Field, PlainLabel, dress, remember, rich
from labctl.gui.calibration.budget import BudgetView, state_of
from labctl.gui.calibration.kinds import ABOUT, OptionForm, make_form
from labctl.gui.calibration.plot import CalPlot
from labctl.model.calibration import KINDS, Calibration, CalibrationKind
from labctl.model.errors import Aborted, CalibrationRefused, LabctlError
from labctl.model.roles import Request
from labctl.runner.wording import pretty
from labctl.service.messages import (
    Asked,
    CalEnded,
    Calibrate,
    CalTold,
    Connect,
    Disconnect,
    HandTold,
    Recheck,
    Withdrawn,
)
from labctl.service.service import BenchService
from labctl.service.work import Refusal
from labctl.session.operator import understood
from procedures.calibration import CalOptions, CalStep
from procedures.calibration.record import report

_UNITS = {"um": "µm", "deg": "°"}


class PromptPanel(QFrame):
    """The question that waits; without one, what goes on.

    :param answer: takes the number of the question and the answer: True, a number, or a :class:`Refusal`.
    """

    def __init__(self, answer: Callable[[int, object], None]) -> None:
        super().__init__()
        self._answer = answer
        self.waiting: int | None = None
        self._request: Request | None = None
        self._after: Callable[[], None] | None = None
        self.text = PlainLabel()
        self.text.setWordWrap(True)
        self.text.setMinimumHeight(96)
        self.text.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.text.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        self.number = Field("Reading", "", "", "The requested value, with or without its unit")
        self.number.edit.returnPressed.connect(self._done)
        self.number.changed.connect(self._judge)
        self.done, self.refuse = QPushButton("Done"), QPushButton("Refuse")
        self.done.setObjectName("go")
        self.done.setToolTip("Done: continue (Ctrl+D)")
        self.refuse.setToolTip("Cannot be done: end the calibration and make the bench safe")
        for button in (self.done, self.refuse):
            button.setMinimumHeight(44)
            button.setMinimumWidth(150)
        self.done.clicked.connect(self._done)
        self.refuse.clicked.connect(lambda: self._say(Refusal()))
        row = QHBoxLayout()
        row.addWidget(self.number)
        row.addStretch(1)
        row.addWidget(self.done)
        row.addWidget(self.refuse)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 10, 16, 12)
        column.addWidget(self.text, 1)
        column.addLayout(row)
        self.show_text("")

    def ask(self, asked: Asked) -> None:
        """Show a request and wait for its answer."""
        request = asked.what
        assert isinstance(request, Request)
        self._after = None
        self.waiting, self._request = asked.number, request
        self._dress(theme.THRESHOLD, theme.ASK_GROUND, theme.WARN)
        self.text.setText(pretty(request.text))
        typed = bool(request.number or request.word)
        self.number.setVisible(typed)
        self.number.set_label("Position read" if request.action == "knife" else "Reading")
        if request.word:
            self.number.set_label(f"Light follows: type {request.word}")
        self.number.set_unit(_UNITS.get(request.number, request.number))
        self.number.set_text("" if request.suggested is None else f"{request.suggested:g}")
        for button in (self.done, self.refuse):
            button.setVisible(True)
        self._judge()
        (self.number.edit if typed else self.done).setFocus()
        self.number.edit.selectAll()

    def confirm(self, text: str, act: Callable[[], None]) -> None:
        """Show what is left to do, and wait until somebody says that it is done."""
        self.show_text(text)
        self._dress(theme.WARN, theme.ASK_GROUND, theme.WARN)
        self._after, self._request = act, None
        self.done.setVisible(True)
        self._judge()

    def withdraw(self, told: Withdrawn) -> None:
        """Hide a question that nobody waits for any more."""
        if told.number == self.waiting:
            self.show_text("")

    @property
    def confirming(self) -> bool:
        """Whether somebody has to say first that everything is back."""
        return self._after is not None

    def show_hand(self, told: HandTold) -> None:
        """Show what the simulated bench's hands do."""
        if self.waiting is None:
            word = "Done by the simulated operator: " if told.done else "The simulated operator: "
            self.show_text(word + told.request.text)

    def show_text(self, text: str, colour: str = "") -> None:
        """Show what goes on; nothing is asked."""
        self.waiting = self._after = self._request = None
        self._dress(colour or theme.TEXT, theme.PANEL, theme.LINE)
        self.text.setText(pretty(text))
        for widget in (self.number, self.done, self.refuse):
            widget.setVisible(False)

    def _dress(self, colour: str, ground: str, edge: str) -> None:
        self.setStyleSheet(
            f"PromptPanel {{ background: {ground}; border: 2px solid {edge}; border-radius: 10px; }}"
        )
        self.text.setStyleSheet(f"font-size: 19pt; font-weight: 600; color: {colour};")

    def _judge(self) -> None:
        answer, why = self._read()
        self.done.setEnabled(answer is not None)
        self.number.refuse(why if self.number.text else "")

    def _read(self) -> tuple[object, str]:
        """Return what is answered, None for nothing yet, and why."""
        request = self._request
        if request is None or not (request.number or request.word):
            return True, ""
        if not self.number.text:
            return None, ""
        try:
            number = understood(request, self.number.text)
        except (Aborted, CalibrationRefused) as exc:
            return None, getattr(exc, "message", "press Refuse instead")
        return (True if number is None else number), ""

    def _done(self) -> None:
        if self.done.isEnabled():
            self._say(self._read()[0])

    def _say(self, answer: object) -> None:
        number, after = self.waiting, self._after
        self.show_text("")
        if number is not None:
            self._answer(number, answer)
        elif after is not None:
            after()


_ENDS = {"refused": "warn", "aborted": "dim", "failed": "danger"}


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
        self.tabs.addTab(self.budget, "In use and uncertainty")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 0)
        column.addWidget(self.tabs)
        self.show_config(config)
        self.choose("attenuator")
        self.prompt.show_text("Choose what to measure, check the options, and start.", theme.DIM)

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
        self.hand = QCheckBox("Do the manual steps myself, although the bench is simulated")
        self.hand.setToolTip("Off: the simulated operator does what is requested, and it is shown")
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
        self.use.setToolTip("Add it under [calibrations] in the bench file, and reconnect with it")
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
        dress(self.go, "stop" if self.running else "go")
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
            self.prompt.show_text(
                f"{name}, {told.status}: {pretty(told.message)}", theme.TONES[_ENDS[told.status]]
            )
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


class TakesConfig(Protocol):
    """What shows values of the bench file."""

    def show_config(self, config: BenchConfig) -> None:
        """Show another bench file."""


class CalibrateDesk(QObject):
    """The page and its wiring.

    :param file: the bench file, None where there is none to write into.
    :param output: where calibrations go without a bench file.
    :param say: shows one line; True for a wrong one.
    :ivar changed: whether something else may use the bench has changed.
    """

    changed = Signal()

    def __init__(
        self,
        config: BenchConfig,
        service: BenchService,
        file: Path | None,
        output: Path,
        say: Callable[[str, bool], None],
    ) -> None:
        super().__init__()
        self._service, self._file, self._say = service, file, say
        self.shown: tuple[TakesConfig, ...] = ()
        folder = (output if file is None else file.parent) / "calibrations"
        self.page = CalibratePage(config, service.post, service.abort, service.asking.answer, folder)
        self.page.use_wanted.connect(self._use)
        self.page.blocking_changed.connect(self.changed)

    @property
    def blocking(self) -> bool:
        """Whether nothing else may use the bench."""
        return self.page.blocking

    def take(self, thing: object) -> bool:
        """Show one thing of a calibration; return whether it was one."""
        page = self.page
        if isinstance(thing, Asked) and isinstance(thing.what, Request):
            page.prompt.ask(thing)
        elif isinstance(thing, Withdrawn) and thing.number == page.prompt.waiting:
            page.prompt.withdraw(thing)
        elif isinstance(thing, HandTold):
            page.prompt.show_hand(thing)
        elif isinstance(thing, CalTold):
            page.take(thing)
        elif isinstance(thing, CalEnded):
            page.ended(thing)
            if thing.status != "stored":
                self._say(f"calibration {thing.status}: {thing.message}", thing.status == "failed")
            self.changed.emit()
        else:
            return False
        return True

    def lost(self, message: str) -> None:
        """The bench is not connected any more."""
        if self.page.running is not None:
            self.page.ended(CalEnded(self.page.running, "failed", message or "disconnected"))

    def _use(self, kind: CalibrationKind, path: Path) -> None:
        """Name a calibration in the bench file, and connect anew with what it then says."""
        if self._file is None:
            self._say(f"write under [calibrations]: {bench_line(kind, path, path)}", False)
            return
        try:
            use_calibration(self._file, kind, path)
            config = load_bench(self._file)
        except LabctlError as exc:
            self._say(str(exc), True)
            return
        self.page.used()
        self.page.set_enabled(False)  # until it is connected anew
        for shown in (self.page, *self.shown):
            shown.show_config(config)
        self._service.post(Disconnect())
        self._service.post(Connect(config))
        self._say(f"named in {self._file}: reconnecting", False)
