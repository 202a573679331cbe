"""The queue of sweeps: one runs, the others wait; one that fails says why and lets the next begin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import (
    QHBoxLayout,
    QMenu,
    QProgressBar,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from labctl.gui.base import theme
from labctl.gui.base.benchstate import RunNow, progress
from labctl.gui.base.fields import PlainLabel, plain, tool_tip
from labctl.model.plan import SweepPlan
from labctl.runner.events import Evaluated, Measured, Message, Moved, Started
from labctl.runner.facts import RunRequest
from labctl.runner.report import headline_of
from labctl.runner.wording import UNIT, digits, pretty
from labctl.service.messages import Command, Job, JobEnded, JobTold

_TONES = {"running": "plain", "finished": "good", "aborted": "warn", "failed": "danger"}
MOST_LINES = 3
"""Lines of the run that are shown; all of them stand in its log."""


@dataclass(slots=True)
class _Entry:
    job: Job
    item: QTreeWidgetItem
    status: str = "waiting"


class QueuePanel(QWidget):
    """Queue, progress, and the keys of the run.

    :param post: takes commands.
    :ivar refine_wanted: the threshold round which to sweep again, uJ/cm2.
    :ivar parameters_wanted: the plan whose values the panel shall show.
    """

    refine_wanted = Signal(float)
    parameters_wanted = Signal(object)

    def __init__(self, post: Callable[[Command], None], abort: Callable[[], None]) -> None:
        super().__init__()
        self._post, self._abort = post, abort
        self._entries: dict[int, _Entry] = {}
        self._count = 0
        self._now: RunNow | None = None
        self._lines: list[str] = []
        self.held = False
        self.threshold: float | None = None
        self.tree = QTreeWidget()
        self.tree.setHeaderLabels(["Sweep", "Status", "File"])
        self.tree.setRootIsDecorated(False)
        self.tree.setColumnWidth(0, 140)
        self.tree.setColumnWidth(1, 190)
        self.tree.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.tree.customContextMenuRequested.connect(self._offer)
        self.bar = QProgressBar()
        self.bar.setFormat("nothing runs")
        self.bar.setValue(0)
        self.text = PlainLabel()
        self.text.setWordWrap(True)
        self.text.setProperty("role", "dim")
        self.pause = self._button(
            "Pause",
            "Pause between two points, shutter closed; press again to continue (Space)",
            self.toggle_pause,
        )
        self.pause.setCheckable(False)
        self.abort_button = self._button("Abort", "End the run now; all points are kept (Ctrl+.)", self.abort)
        self.refine = self._button(
            "Refine", "Sweep again, densely around the threshold (Ctrl+R)", self._refine
        )
        self.remove = self._button("Remove", "Remove the selected sweep from the queue", self.remove_selected)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 6, 6, 6)
        column.addWidget(self.tree, 1)
        column.addWidget(self.bar)
        column.addWidget(self.text)
        row = QHBoxLayout()
        for button in (self.pause, self.abort_button, self.refine, self.remove):
            row.addWidget(button)
        column.addLayout(row)
        self._refresh()

    def _button(self, text: str, tip: str, act: Callable[[], None]) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(tip)
        button.clicked.connect(lambda _checked=False: act())
        return button

    # --- what the user does ------------------------------------------------------------------------

    def add(self, plan: SweepPlan, request: RunRequest) -> Job:
        """Queue a sweep; it begins when its turn comes."""
        self._count += 1
        return self._append(Job(self._count, plan, request))

    def add_rest(self, path: Path, sample: str) -> Job:
        """Queue what is left of an interrupted run."""
        self._count += 1
        return self._append(Job(self._count, None, RunRequest(path.parent, sample), resume=path))

    def _append(self, job: Job) -> Job:
        rest = "" if job.resume is None else "the rest of "
        name = f"{job.number}  {rest}{job.request.sample} {job.request.spot}".strip()
        item = QTreeWidgetItem([plain(name), "waiting", ""])
        item.setData(0, Qt.ItemDataRole.UserRole, job.number)
        self.tree.addTopLevelItem(item)
        self._entries[job.number] = _Entry(job, item)
        self.next()
        return job

    def next(self) -> None:
        """Begin the first that waits, unless one runs or the queue is held."""
        if self.held or self.running is not None:
            return
        entry = next((e for e in self._entries.values() if e.status == "waiting"), None)
        if entry is not None:
            self._set(entry, "running", "begins")
            self._now = RunNow(plain(entry.job.request.sample))
            self._lines.clear()
            self._post(entry.job)
        self._refresh()

    def hold_back(self, held: bool) -> None:
        """Begin no sweep while something else has the bench."""
        self.held, before = held, self.held
        if before and not held:
            self.next()

    @property
    def running(self) -> Job | None:
        """The sweep that runs."""
        return next((e.job for e in self._entries.values() if e.status == "running"), None)

    @property
    def unfinished(self) -> int:
        """How many sweeps run or wait."""
        return sum(e.status in ("running", "waiting") for e in self._entries.values())

    def plan_of(self, number: int) -> SweepPlan | None:
        """Return the plan of a sweep, None for one that goes on."""
        return self._entries[number].job.plan if number in self._entries else None

    def status(self, number: int) -> str:
        """Return the status of a sweep."""
        return self._entries[number].status

    def reason(self, number: int) -> str:
        """Return what stands beside a sweep."""
        return self._entries[number].item.text(1)

    def toggle_pause(self) -> None:
        """Pause the run, or go on."""
        job = self.running
        if job is None:
            return
        (job.pause.go_on if job.pause.is_set() else job.pause.hold)()
        self.tick(stopping=self._now is not None and self._now.stopping)

    def abort(self) -> None:
        """End the run; the next one in the queue begins."""
        if self.running is not None:
            self._abort()

    def hold(self, why: str = "SAFE was pressed before it started") -> None:
        """Begin nothing more until a sweep is queued by hand."""
        for entry in self._entries.values():
            if entry.status == "waiting":
                self._set(entry, "aborted", why)
        self._refresh()

    def remove_selected(self) -> None:
        """Take waiting and ended sweeps that are selected from the list."""
        for item in self.tree.selectedItems():
            number = int(item.data(0, Qt.ItemDataRole.UserRole))
            if self._entries[number].status != "running":
                del self._entries[number]
                self.tree.takeTopLevelItem(self.tree.indexOfTopLevelItem(item))

    def duplicate(self, number: int) -> None:
        """Queue the same sweep once more."""
        job = self._entries[number].job
        if job.plan is not None:
            self.add(job.plan, job.request)

    def shift(self, number: int, by: int) -> None:
        """Let a waiting sweep begin earlier (-1) or later (+1) than its neighbour in the list."""
        order = list(self._entries)
        at = order.index(number)
        to = at + by
        if not 0 <= to < len(order) or any(self._entries[n].status != "waiting" for n in (number, order[to])):
            return
        order[at], order[to] = order[to], order[at]
        self._entries = {n: self._entries[n] for n in order}
        item = self._entries[number].item
        self.tree.takeTopLevelItem(at)
        self.tree.insertTopLevelItem(to, item)
        self.tree.setCurrentItem(item)

    def menu_of(self, number: int) -> QMenu:
        """Return what can be done with one sweep of the list."""
        entry, menu = self._entries[number], QMenu(self)
        waits, plan = entry.status == "waiting", entry.job.plan
        for text, possible, act in (
            ("Use these parameters", plan is not None, lambda: self.parameters_wanted.emit(plan)),
            ("Duplicate", plan is not None, lambda: self.duplicate(number)),
            ("Earlier", waits, lambda: self.shift(number, -1)),
            ("Later", waits, lambda: self.shift(number, 1)),
            ("Remove", entry.status != "running", self.remove_selected),
        ):
            action = menu.addAction(text)
            action.setEnabled(possible)
            action.triggered.connect(lambda _checked=False, act=act: act())
        return menu

    def _offer(self, at: QPoint) -> None:
        item = self.tree.itemAt(at)
        if item is not None:
            self.tree.setCurrentItem(item)
            menu = self.menu_of(int(item.data(0, Qt.ItemDataRole.UserRole)))
            menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            menu.popup(self.tree.viewport().mapToGlobal(at))

    def _refine(self) -> None:
        if self.threshold is not None:
            self.refine_wanted.emit(self.threshold)

    # --- what the bench tells ----------------------------------------------------------------------

    def take(self, told: JobTold) -> None:
        """Show an event of the run."""
        event = told.event
        if isinstance(event, Started) and self._now is not None:
            self._now = replace(self._now, total=event.total, begun=True)
            entry = self._entries.get(told.number)
            if entry is not None:
                self._set(entry, "running", "running")
                self._name_file(entry, event.files.h5)
        elif isinstance(event, Measured) and self._now is not None:
            self._now = replace(self._now, done=event.number, total=event.total, left_s=event.left_s)
            entry = self._entries.get(told.number)
            if entry is not None:
                self._set(entry, "running", progress(self._now))
        elif isinstance(event, Moved) and told.number in self._entries:
            self._name_file(self._entries[told.number], event.files.h5)
            self._lines.append(event.text)
        elif isinstance(event, Evaluated):
            value = event.result.threshold.threshold_uj_cm2
            self.threshold = self.threshold if value is None else value
        elif isinstance(event, Message):
            self._lines.append(event.text)
        self._refresh()

    def goes_on(self, points: int) -> None:
        """Count the points that a run which goes on has already."""
        if self._now is not None:
            self._now = replace(self._now, done=points)

    def ended(self, told: JobEnded) -> None:
        """Show how a run ended, and begin the next."""
        entry = self._entries.get(told.number)
        self._now = None
        self._lines.clear()
        if entry is not None:
            text, colour = self._result(told), ""
            if told.report is not None and told.report.outcome.tone == "danger":
                colour = theme.WARN
            self._set(entry, told.status, text, colour)
            if told.status == "failed":
                self._lines.append(f"sweep {told.number} failed: {told.message}")
        self.next()
        self._refresh()

    def _result(self, told: JobEnded) -> str:
        """Return in a few words what came of a sweep; a found threshold is kept for refining."""
        if told.report is None:
            return f"{told.status}: {told.message}" if told.message else told.status
        if told.report.result.doubt:
            self.threshold = None
        value = told.report.threshold.threshold_uj_cm2
        self.threshold = self.threshold if value is None else value
        if told.message:
            return f"{told.status}: {told.message}"
        said = told.report.outcome
        if said.tone == "danger":
            return f"{told.status}, nothing usable: {said.headline}"
        if value is not None:
            return f"{told.status}: {digits(value)} {UNIT}"
        text = headline_of(told.report.result) if said.headline == "not found" else said.headline
        text = text or said.headline
        begin = "" if text.startswith(told.status) else f"{told.status}: "
        why = "" if said.reason.startswith(text) else said.reason
        return f"{begin}{text}; {pretty(why)}" if why else f"{begin}{text}"

    def tick(self, *, stopping: bool) -> None:
        """Look whether a pause stands, or the run is being stopped: nobody tells."""
        job, now = self.running, self._now
        if job is None or now is None:
            return
        wanted = job.pause.is_set()
        found = replace(now, wanted=wanted, standing=wanted and job.pause.standing, stopping=stopping)
        if found != now:
            self._now = found
            if found.begun:
                self._set(self._entries[job.number], "running", progress(found))
            self._refresh()

    @property
    def now(self) -> RunNow | None:
        """The sweep that has the bench, and how far it is."""
        return self._now

    def _name_file(self, entry: _Entry, path: Path) -> None:
        entry.item.setText(2, plain(path.name))
        entry.item.setToolTip(2, tool_tip(path))

    def _set(self, entry: _Entry, status: str, text: str, colour: str = "") -> None:
        entry.status = status
        entry.item.setText(1, plain(text))
        entry.item.setToolTip(1, tool_tip(text))
        entry.item.setForeground(1, QColor(colour or theme.TONES[_TONES.get(status, "plain")]))

    def _refresh(self) -> None:
        job = self.running
        self.pause.setEnabled(job is not None)
        self.abort_button.setEnabled(job is not None)
        self.refine.setEnabled(self.threshold is not None)
        self.pause.setText("Resume" if job is not None and job.pause.is_set() else "Pause")
        now = self._now
        self.bar.setRange(0, 100 if now is None else now.total)  # 0 to 0 is a bar that moves to and fro
        self.bar.setValue(0 if now is None else now.done)
        self.bar.setFormat(progress(now))
        self.text.setText("\n".join(self._lines[-MOST_LINES:]))
