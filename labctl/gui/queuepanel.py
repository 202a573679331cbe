"""The queue of sweeps: one runs, the others wait; one that fails says why and lets the next begin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import (
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from labctl.gui import theme
from labctl.gui.plain import PlainLabel, plain, tool_tip
from labctl.gui.service.messages import Command, Job, JobEnded, JobTold
from labctl.gui.sweeppanel import Wish
from labctl.gui.wording import UNIT, digits, duration
from labctl.runner.events import LiveThreshold, Measured, Message, Moved, Started
from labctl.runner.facts import RunRequest

_COLOURS = {"running": theme.ACCENT, "finished": theme.GOOD, "aborted": theme.WARN, "failed": theme.DANGER}


@dataclass(slots=True)
class _Entry:
    job: Job
    item: QTreeWidgetItem
    status: str = "waiting"


class QueuePanel(QWidget):
    """Queue, progress, and the keys of the run.

    :param post: takes commands.
    :ivar refine_wanted: the threshold round which to sweep again, uJ/cm2.
    """

    refine_wanted = Signal(float)

    def __init__(self, post: Callable[[Command], None], abort: Callable[[], None]) -> None:
        super().__init__()
        self._post, self._abort = post, abort
        self._entries: dict[int, _Entry] = {}
        self._count = 0
        self.held = False
        self.threshold: float | None = None
        self.tree = QTreeWidget()
        self.tree.setHeaderLabels(["Sweep", "Status"])
        self.tree.setRootIsDecorated(False)
        self.tree.setColumnWidth(0, 190)
        self.bar = QProgressBar()
        self.bar.setFormat("nothing runs")
        self.bar.setValue(0)
        self.text = PlainLabel()
        self.text.setWordWrap(True)
        self.text.setProperty("role", "dim")
        self.pause = self._button(
            "Pause",
            "Stand still between two points, in the dark; again: go on (Space)",
            self.toggle_pause,
        )
        self.pause.setCheckable(False)
        self.abort_button = self._button("Abort", "End the run now; every point is kept (Ctrl+.)", self.abort)
        self.refine = self._button(
            "Refine", "Sweep again, densely round the threshold (Ctrl+R)", self._refine
        )
        self.remove = self._button("Remove", "Take what is selected from the queue", self.remove_selected)
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

    def add(self, wish: Wish) -> Job:
        """Queue a sweep; it begins when its turn comes."""
        self._count += 1
        return self._append(Job(self._count, wish.plan, wish.request))

    def add_rest(self, path: Path, sample: str) -> Job:
        """Queue what is left of an interrupted run."""
        self._count += 1
        return self._append(Job(self._count, None, RunRequest(path.parent, sample), resume=path))

    def _append(self, job: Job) -> Job:
        rest = "" if job.resume is None else "the rest of "
        name = f"{job.number}  {rest}{job.request.sample} {job.request.spot}".strip()
        item = QTreeWidgetItem([plain(name), "waiting"])
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
            self.bar.setFormat("preparing")
            self.bar.setRange(0, 0)
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
        self._refresh()

    def abort(self) -> None:
        """End the run; the next one in the queue begins."""
        if self.running is not None:
            self._abort()

    def hold(self, why: str = "SAFE was pressed before it began") -> None:
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

    def _refine(self) -> None:
        if self.threshold is not None:
            self.refine_wanted.emit(self.threshold)

    # --- what the bench tells ----------------------------------------------------------------------

    def take(self, told: JobTold) -> None:
        """Show an event of the run."""
        event = told.event
        if isinstance(event, Started):
            self.bar.setRange(0, event.total)
            self.bar.setValue(0)
            self.bar.setFormat(f"0 of {event.total}")
            entry = self._entries.get(told.number)
            if entry is not None:
                self._set(entry, "running", "running")
        elif isinstance(event, Measured):
            self.bar.setRange(0, event.total)
            self.bar.setValue(event.number)
            self.bar.setFormat(f"{event.number} of {event.total}  ·  {duration(event.left_s)} left")
        elif isinstance(event, LiveThreshold):
            self.threshold = event.value if event.value is not None else self.threshold
        elif isinstance(event, Message | Moved):
            self.text.setText(event.text)
        self._refresh()

    def ended(self, told: JobEnded) -> None:
        """Show how a run ended, and begin the next."""
        entry = self._entries.get(told.number)
        if entry is not None:
            text = told.message if told.status != "finished" else ""
            if told.report is not None and not text:
                value = told.report.threshold.get("threshold_uj_cm2")
                if isinstance(value, (int, float)):
                    self.threshold = float(value)
                    text = f"{digits(float(value))} {UNIT}"
            self._set(entry, told.status, f"{told.status}: {text}" if text else told.status)
            if told.status == "failed":
                self.text.setText(f"sweep {told.number} failed: {told.message}")
        self.bar.setRange(0, 100)
        self.bar.setValue(0)
        self.bar.setFormat("nothing runs")
        self.next()

    def _set(self, entry: _Entry, status: str, text: str) -> None:
        entry.status = status
        entry.item.setText(1, plain(text))
        entry.item.setToolTip(1, tool_tip(text))
        entry.item.setForeground(1, QColor(_COLOURS.get(status, theme.TEXT)))

    def _refresh(self) -> None:
        job = self.running
        self.pause.setEnabled(job is not None)
        self.abort_button.setEnabled(job is not None)
        self.refine.setEnabled(self.threshold is not None)
        held = job is not None and job.pause.is_set()
        self.pause.setText("Resume" if held else "Pause")
        if held:
            self.bar.setFormat(
                "paused: shutter closed" if job is not None and job.pause.standing else "pausing …"
            )
