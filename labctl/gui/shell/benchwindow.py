"""The window on a bench: its bar, its panels, and the pages that show what is measured."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from PySide6.QtCore import QEvent, QObject, QPoint, QRect, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QKeyEvent, QKeySequence, QPointerEvent, QShortcut
from PySide6.QtWidgets import (
    QAbstractButton,
    QApplication,
    QDialog,
    QDockWidget,
    QScrollArea,
    QStyle,
    QTabWidget,
    QToolBar,
    QVBoxLayout,
    QWidget,
)

from labctl.config import BenchConfig
from labctl.gui.base.benchstate import BenchNow, Shown, sentence, sign
from labctl.gui.base.dialogs import BENCH_KEYS, VIEW_KEYS, ask
from labctl.gui.base.fields import shown
from labctl.gui.base.guide import Situation
from labctl.gui.calibration.page import CalibrateDesk
from labctl.gui.live.alignment import AlignPage
from labctl.gui.live.live_page import LivePage
from labctl.gui.live.manual import ManualPanel
from labctl.gui.plots.runview import RunView
from labctl.gui.shell.benchbar import AgreePanel, BenchBar, ConnectionPanel
from labctl.gui.shell.cover import Cover
from labctl.gui.shell.state_strip import StateStrip
from labctl.gui.shell.window import MainWindow
from labctl.gui.sweep.panel import SweepPanel
from labctl.gui.sweep.queue import QueuePanel
from labctl.model.clock import Clock
from labctl.model.plan import SweepPlan
from labctl.model.untrusted import printable
from labctl.runner.events import Evaluated, Measured, Message, Moved, Started
from labctl.runner.facts import RunRequest
from labctl.runner.fit_process import Answer
from labctl.runner.rundata import RunData
from labctl.service.messages import (
    AlignEnded,
    AlignTold,
    Asked,
    Busy,
    Command,
    Connect,
    Differences,
    Disconnect,
    Ended,
    Home,
    Insert,
    JobEnded,
    JobGoesOn,
    JobTold,
    Link,
    SafeTold,
    Said,
    Withdrawn,
)
from labctl.service.service import BenchService


def window_key(window: QWidget, keys: str, act: Callable[[], None]) -> QShortcut:
    """Let a key of the window do something; a field in which it means a character comes first."""
    shortcut = QShortcut(QKeySequence(keys), window)
    shortcut.setAutoRepeat(False)
    shortcut.activated.connect(act)
    return shortcut


class ButtonKey(QObject):
    """A key of the window that presses a button, on whatever page it stands and whatever it says.

    :param refused: told in words where the button cannot be pressed now; None leaves the key to what has
        the focus.
    :param seen: the button must be on the screen: it answers a question that has to be read.
    """

    def __init__(
        self,
        window: QWidget,
        keys: str,
        button: QAbstractButton,
        refused: Callable[[str], None] | None = None,
        *,
        seen: bool = False,
    ) -> None:
        super().__init__(button)
        self._button, self._keys, self._refused, self._seen = button, keys, refused, seen
        self._shortcut = window_key(window, keys, self._press)
        button.installEventFilter(self)
        self._follow()

    @property
    def _possible(self) -> bool:
        button = self._button
        return button.isEnabled() and (button.isVisible() if self._seen else not button.isHidden())

    def _press(self) -> None:
        if self._possible:
            self._button.click()
        elif self._refused is not None:
            self._refused(f"“{self._button.text()}” ({self._keys}) is not available now")

    def _follow(self) -> None:
        self._shortcut.setEnabled(self._refused is not None or self._possible)

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Follow what becomes of the button."""
        if event.type() in (QEvent.Type.EnabledChange, QEvent.Type.Show, QEvent.Type.Hide):
            self._follow()
        return False


_PRESSES = frozenset(
    (
        QEvent.Type.MouseButtonPress,
        QEvent.Type.MouseButtonDblClick,
        QEvent.Type.TouchBegin,
        QEvent.Type.TabletPress,
    )
)
_KEYS = frozenset((QEvent.Type.ShortcutOverride, QEvent.Type.KeyPress))
_LOOKS_DOWN_MS = 150
MOST_POPUPS = 20


class SafeWatch(QObject):
    """Installed while a window has a bench.

    :param button: SAFE; ``pressed`` is called for a press on it, whatever has grabbed the mouse.
    :param keys: what a key does, whatever has the focus; a popup closes with it, and so does a dialog.
    """

    def __init__(
        self, button: QAbstractButton, pressed: Callable[[], None], keys: Mapping[Qt.Key, Callable[[], None]]
    ) -> None:
        super().__init__(button)
        self._button, self._act = button, pressed
        self._keys = {int(key): act for key, act in keys.items()}
        self._done_at: int | None = None
        self.start()

    def start(self) -> None:
        """See every event, before any other filter does."""
        application = QApplication.instance()
        if application is not None:
            application.installEventFilter(self)

    def end(self) -> None:
        """See nothing any more."""
        application = QApplication.instance()
        if application is not None:
            application.removeEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Act on what is for SAFE, and leave everything else alone."""
        kind = event.type()
        if kind in _PRESSES:
            return self._press(event)
        if kind in _KEYS:
            return self._key(event)
        if kind == QEvent.Type.Show:
            _free(watched)
        elif kind == QEvent.Type.DragEnter:
            self.start()  # whoever drags has put a filter of its own before this one
        return False

    # --- keys --------------------------------------------------------------------------------------

    def _key(self, event: QEvent) -> bool:
        """Act once for a key that is pressed: Qt tells it first as one that may be a shortcut."""
        if not isinstance(event, QKeyEvent):
            return False
        act = self._keys.get(event.key())
        if act is None:
            return False
        again = event.type() == QEvent.Type.KeyPress and self._done_at == event.timestamp()
        self._done_at = event.timestamp() if event.type() == QEvent.Type.ShortcutOverride else None
        event.accept()
        if not again and not event.isAutoRepeat():
            act()
            window = QApplication.activeWindow()
            if not _close_popups() and isinstance(window, QDialog):
                window.reject()
        return True

    # --- presses -----------------------------------------------------------------------------------

    def _press(self, event: QEvent) -> bool:
        if not isinstance(event, QPointerEvent) or not self._button.isVisible():
            return False
        if not any(self._is_hit(point.globalPosition().toPoint()) for point in event.points()):
            return False
        event.accept()
        self._button.setDown(True)
        QTimer.singleShot(_LOOKS_DOWN_MS, self._button, lambda: self._button.setDown(False))
        self._act()
        _close_popups()
        return True

    def _is_hit(self, place: QPoint) -> bool:
        """Whether SAFE is what is seen at this place of the screen; a tip over it does not hide it."""
        button = self._button
        if not QRect(button.mapToGlobal(QPoint(0, 0)), button.size()).contains(place):
            return False
        top = QApplication.topLevelAt(place)
        return top is None or top is button.window() or top.windowType() == Qt.WindowType.ToolTip


def _close_popups() -> bool:
    """Close every menu and list; return whether there was one."""
    for number in range(MOST_POPUPS):
        popup = QApplication.activePopupWidget()
        if popup is None:
            return number > 0
        popup.close()
    return True


def _free(watched: QObject) -> None:
    """Make a dialog that is about to be shown no obstacle: a modal one would keep presses from SAFE."""
    if isinstance(watched, QWidget) and watched.isWindow() and watched.isModal():
        # Not by setWindowModality(): a message box makes its window anew at that, and is not shown.
        watched.setAttribute(Qt.WidgetAttribute.WA_ShowModal, False)


log = logging.getLogger(__name__)

LEAVING = {
    "the sweep": "Every point so far is kept, and the run can be resumed.",
    "the alignment": "The shutter closes.",
    "the calibration": "Nothing of it is kept.",
}
"""What becomes of what runs when the window is closed."""
CLOSING_MS = 20_000
"""Longest wait for the bench's thread when the window is closed; the watchdog stays for the rest."""


class BenchWindow(MainWindow):
    """The window on a bench.

    :param output: where sweeps are stored.
    :param file: the bench file, in which calibrations can be named.
    :param failed: asked now and then: why the simulated bench has ended, or an empty string.
    """

    keys = BENCH_KEYS + VIEW_KEYS

    def __init__(
        self,
        config: BenchConfig,
        output: Path,
        failed: Callable[[], str] = lambda: "",
        clock: Clock | None = None,
        *,
        connect: bool = True,
        file: Path | None = None,
    ) -> None:
        super().__init__()
        self.setWindowTitle(printable(f"labctl: {config.bench.name or 'bench'}"))
        self._failed, self._asked_s = failed, time.monotonic()
        self.service = BenchService(config, self.mailbox.post, clock, fits=self.fits)
        self.bar, self.connection = BenchBar(config), ConnectionPanel()
        self.strip = StateStrip()
        self.live = LivePage(config, self.fits, self.mailbox.post, self.undo, self.service.state)
        self.align = AlignPage(config, self.post, self.service.abort)
        self.sweep, self.manual = (
            SweepPanel(config, output),
            ManualPanel(config, self.post, self.close_shutter),
        )
        self.queue = QueuePanel(self.post, self.service.abort)
        self.agree = AgreePanel(self.service.asking.answer)
        self.desk = CalibrateDesk(config, self.service, file, output, self.say)
        self.calibrate = self.desk.page
        self.desk.shown = (self.bar, self.live, self.align, self.sweep, self.manual)
        self._closing = self._agreed = False
        self._leaving: QDialog | None = None
        self.busy = self._stopped = ""
        self.connected = False
        self._link = Link("disconnected")
        self._place()
        self._wire()
        if connect:
            self.post(Connect())

    def _place(self) -> None:
        self._put_on_top(self.bar, self.strip)
        self.cover = Cover(self.centre, self.connection, self.agree)
        self.tabs.insertTab(0, self.live, "Live")
        self.tabs.insertTab(1, self.align, "Alignment")
        self.tabs.insertTab(2, self.calibrate, "Calibration")
        self.tabs.setCurrentIndex(0)
        self.panels = QTabWidget()
        for widget, name in ((self.sweep, "Sweep"), (self.manual, "Manual"), (self.queue, "Queue")):
            area: QWidget = widget
            if widget is self.manual:  # the others scroll by themselves
                scroll = QScrollArea()
                scroll.setWidgetResizable(True)
                scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
                scroll.setWidget(widget)
                area = scroll
            self.panels.addTab(area, name)
        self.dock = QDockWidget("Bench")
        self.dock.setObjectName("bench")
        self.dock.setWidget(self.panels)
        widest = max(panel.minimumSizeHint().width() for panel in (self.sweep, self.manual, self.queue))
        scrollbar = self.style().pixelMetric(QStyle.PixelMetric.PM_ScrollBarExtent)
        self.dock.setMinimumWidth(max(widest + scrollbar, 390))  # no panel is cut, whatever the font
        self.view_menu.insertAction(self.view_menu.actions()[0], self.dock.toggleViewAction())
        self.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, self.dock)
        self.resizeDocks([self.dock], [self.dock.minimumWidth()], Qt.Orientation.Horizontal)
        self.resize(1720, 1000)

    def _show_waiting(self) -> None:
        """Say how many sweeps are not over yet, on the tab of the queue and where the next one is started."""
        count = self.queue.unfinished
        name = f"Queue ({count})" if count else "Queue"
        if self.panels.tabText(2) != name:
            self.panels.setTabText(2, name)
            self.sweep.show_waiting(count)

    def _put_on_top(self, *widgets: QWidget) -> None:
        """Put them over the whole width of the window: nothing in them is pushed off its edge."""
        bar, rows = QToolBar("Bench bar"), QWidget()
        bar.setObjectName("bench bar")
        bar.setMovable(False)
        column = QVBoxLayout(rows)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        for widget in widgets:
            column.addWidget(widget)
        bar.addWidget(rows)
        self.addToolBar(Qt.ToolBarArea.TopToolBarArea, bar)

    def _wire(self) -> None:
        self.bar.safe_wanted.connect(self.make_safe)
        self.bar.connect_wanted.connect(lambda: self.post(Connect()))
        self.bar.disconnect_wanted.connect(self._disconnect)
        self.connection.again.connect(lambda: self.post(Connect()))
        self.sweep.queued.connect(self.add_sweep)
        self.sweep.planned.connect(self._show_plan)
        self.live.cards.wanted.connect(self._act)
        self._show_plan()
        self.queue.refine_wanted.connect(self._refine)
        self.queue.parameters_wanted.connect(self._use)
        self.desk.changed.connect(self._allow)
        self.live.view.left_out.connect(self.left_out)
        self.live.view.bands_moved.connect(self.bands_moved)
        self.runs.resume_wanted.connect(self._resume)
        self.runs.allow_resume()
        self._give_keys()

    def _give_keys(self) -> None:
        """Give the window its keys; those that close the shutter act whatever is open."""
        self.watch = SafeWatch(
            self.bar.safe,
            self.make_safe,
            {Qt.Key.Key_Escape: self.make_safe, Qt.Key.Key_F7: self.close_shutter},
        )
        for keys, button in (
            ("Ctrl+Return", self.sweep.start_button), ("Ctrl+R", self.queue.refine),
            ("Ctrl+Shift+R", self.runs.resume), ("Ctrl+B", self.bar.connect_button),
            ("F5", self.manual.stream), ("F6", self.manual.open), ("F8", self.manual.dark),
            ("F9", self.align.go),
        ):  # fmt: skip
            ButtonKey(self, keys, button, self.say)
        ButtonKey(self, "Space", self.queue.pause)
        ButtonKey(self, "Ctrl+D", self.calibrate.prompt.done, seen=True)
        window_key(self, "Ctrl+.", self.stop_what_runs)
        self.align.go.clicked.connect(lambda: self.tabs.setCurrentWidget(self.align))
        for number in range(self.tabs.count()):
            window_key(self, f"Ctrl+{number + 1}", partial(self.tabs.setCurrentIndex, number))

    def views(self) -> tuple[RunView, ...]:
        """Return every view of runs in this window."""
        return (self.live.view, self.runs.view)

    # --- what the user wants -----------------------------------------------------------------------

    def post(self, command: Command) -> None:
        """Ask the bench's thread for something."""
        self.service.post(command)

    def make_safe(self) -> None:
        """Close the shutter now, take the least light, end what runs."""
        self._stopped = f"; {self.running} is stopped" if self.running else ""
        self.service.safe()
        self.queue.hold()
        self.manual.show_stopped()
        self.say("SAFE: closing the shutter")

    def close_shutter(self) -> None:
        """Close the shutter now. What runs with light cannot go on in the dark: it is ended, as by SAFE."""
        self._stopped = f"; {self.running} is stopped by SAFE" if self.running else ""
        if self.running:
            self.service.safe()
        else:
            self.service.close_shutter()
        self.queue.hold("Close was pressed before it started")
        self.say(f"closing the shutter{self._stopped}")

    def stop_what_runs(self) -> None:
        """End a sweep, an alignment or a calibration; sweeps that wait go on."""
        if self.running:
            self.service.abort()
        else:
            self.say("nothing is running")

    @property
    def running(self) -> str:
        """What has the bench, in words; empty where it is idle or driven by hand."""
        for what, runs in (
            ("the sweep", self.queue.running), ("the alignment", self.align.running),
            ("the calibration", self.calibrate.running),
        ):  # fmt: skip
            if runs:
                return what
        return ""

    def add_sweep(self, plan: SweepPlan, request: RunRequest) -> None:
        """Queue a sweep and show the queue."""
        self.queue.add(plan, request)
        self.panels.setCurrentIndex(2)
        self.tabs.setCurrentWidget(self.live)

    def _refine(self, threshold_uj_cm2: float) -> None:
        denser = self.sweep.refine(threshold_uj_cm2)
        if denser is None:
            self.say("this bench cannot reach the fluences around this threshold", wrong=True)
        else:
            self.add_sweep(*denser)

    def _use(self, plan: SweepPlan) -> None:
        """Show the values of a plan where a sweep is started."""
        self.sweep.show_plan(plan)
        self.panels.setCurrentIndex(0)

    def _resume(self, run: RunData) -> None:
        """Queue what is left of a run."""
        assert run.facts.path is not None
        self.queue.add_rest(run.facts.path, run.facts.sample)
        self.panels.setCurrentIndex(2)
        self.tabs.setCurrentWidget(self.live)

    def _disconnect(self) -> None:
        self.queue.hold("disconnected before it started")  # the next one would connect anew
        self.service.abort()
        self.post(Disconnect())

    # --- what the bench tells ----------------------------------------------------------------------

    def handle(self, thing: object) -> None:
        """Show one thing that came from another thread."""
        if isinstance(thing, Answer):
            (self.runs.view.take if thing.subject[0] == "runs" else self.live.take)(thing)
            self.runs.refresh()
        elif isinstance(thing, JobTold):
            self._job_told(thing)
        elif isinstance(thing, JobEnded):
            self._job_ended(thing)
        elif isinstance(thing, JobGoesOn):
            self.live.goes_on(thing.run)
            self.queue.goes_on(len(thing.run))
        elif isinstance(thing, Asked) and isinstance(thing.what, Differences | Insert):
            self.agree.ask(thing)
        elif isinstance(thing, Link):
            self._linked(thing)
        elif isinstance(thing, AlignTold):
            self.align.take(thing)
        elif isinstance(thing, AlignEnded):
            self.align.ended(thing)
            if thing.wrong:
                self.say(thing.message, wrong=True)
        else:
            self._small(thing)

    def _small(self, thing: object) -> None:
        if self.desk.take(thing):
            return
        if isinstance(thing, Said):
            self.say(thing.text, thing.wrong)
        elif isinstance(thing, Busy):
            self.busy = thing.what
            self._allow()
        elif isinstance(thing, SafeTold):
            took = f"the shutter sensor reports closed, {1000 * thing.took_s:.0f} ms after the command"
            self.say(took + self._stopped if thing.closed else thing.message, wrong=not thing.closed)
        elif isinstance(thing, Withdrawn):
            self.agree.withdraw(thing)
        elif isinstance(thing, Ended):
            self._all_ended()
        else:
            super().handle(thing)

    def _job_told(self, told: JobTold) -> None:
        if isinstance(told.event, Started):
            self.live.begin(told.event, self.queue.plan_of(told.number))
        elif isinstance(told.event, Measured):
            self.live.add(told.event.point)
        elif isinstance(told.event, Evaluated):
            self.live.evaluated(told.event.result)
        elif isinstance(told.event, Moved):
            self.live.moved(told.event.files.h5)
            self.say(told.event.text, wrong=True)
        elif isinstance(told.event, Message):
            text = told.event.text
            self.log.add(text, "warning" if text.startswith("warning") else "info")
        self.queue.take(told)

    def _job_ended(self, told: JobEnded) -> None:
        self.live.end(told.status, told.message, None if told.report is None else told.report.result)
        self.queue.ended(told)
        if told.message:
            self.say(f"sweep {told.number} {told.status}: {told.message}", wrong=told.status == "failed")
        if told.report is not None and told.report.h5 is not None:
            self.runs.open([told.report.h5], quiet=bool(told.message))
        self.runs.judge_resume()

    def _linked(self, link: Link) -> None:
        self.connected = link.state == "connected"
        self._link = link
        self.bar.show_link(link)
        self.connection.show_link(link)
        if link.info is not None:
            self.live.set_info(link.info)
            self.manual.show_info(link.info)
        if self.align.running and not self.connected:
            self.align.ended(AlignEnded(link.message or "disconnected", wrong=bool(link.message)))
        if not self.connected:
            self.desk.lost(link.message)
        if link.state == "disconnected" and link.message:
            self.say(link.message, wrong=True)
        self._allow()

    def _allow(self) -> None:
        free = self.connected and self.queue.running is None
        self.queue.hold_back(self.desk.blocking)
        self.manual.set_enabled(free and not self.align.running and not self.desk.blocking)
        self.align.set_enabled(free and not self.desk.blocking)
        self.calibrate.set_enabled(free and not self.align.running and not self.desk.blocking)

    def tick(self) -> None:
        """Show the latest values and the latest exposure."""
        self._show_state()
        if self._leaving is not None and not self.running:
            self._leaving.close()  # what it asked about is over
        self.live.tick()
        now = time.monotonic()
        if now - self._asked_s > 1.0:
            self._asked_s = now
            reason = self._failed()
            if reason:
                self._failed = lambda: ""
                self.say(reason, wrong=True)

    @property
    def _answered(self) -> tuple[int, int]:
        return len(self._link.identities), len(self.service.config.roles)

    def _show_plan(self) -> None:
        """Draw the planned sweep before it runs."""
        self.live.show_plan(*(self.sweep.forecasted or (None, None)))

    def _show_situation(self) -> None:
        """Say on the first screen what is missing."""
        if not self.live.cards.isVisible():
            return
        refused, planned = self.sweep.refused, self.sweep.forecasted
        self.live.cards.show_situation(
            Situation(
                link=self._link.state,
                answered=self._answered,
                failed={f.role: f.reason for f in self._link.failures},
                seen=self.service.state.look(),
                scale=self.calibrate.budget.statement,
                scale_known=self.calibrate.budget.known,
                planned="" if planned is None else shown(planned[1].text.partition("; ")[0]),
                refused="" if refused is None else f"{refused[0].label}: {refused[1]}",
                aligned=self.align.refused,
                opened=len(self.runs.view.runs),
            )
        )

    def _act(self, act: str) -> None:
        """Do what a card of the first screen offers."""
        if act == "connect":
            self.post(Connect())
        elif act == "home":
            self.post(Home())
        elif act == "calibrate":
            self.tabs.setCurrentWidget(self.calibrate)
        elif act == "sweep":
            self.sweep.start_button.click()
        elif act == "field":
            self.panels.setCurrentIndex(0)
            if self.sweep.refused is not None:
                self.sweep.refused[0].control.setFocus()
        elif act == "align":
            self.tabs.setCurrentWidget(self.align)
        else:
            self._on_runs(self.runs.ask_for_files)

    def _show_state(self) -> None:
        """Say how the bench stands; every text on it follows from what is put together here."""
        stopping, seen = self.service.stop.is_set(), self.service.state.look()
        self.queue.tick(stopping=stopping)
        self._show_waiting()
        self._show_situation()
        self.live.set_paused(self.queue.now is not None and self.queue.now.standing)
        self.bar.show_seen(seen)
        self.notices.set_lost(seen.lost)
        now = BenchNow(
            link=self._link.state,
            answered=self._answered,
            seen=seen,
            run=self.queue.now,
            aligning=self.align.running,
            calibrating=self.calibrate.running is not None,
            stopping=stopping,
            busy=self.busy,
        )
        blocked = self.notices.danger
        self.strip.show_state(Shown(blocked, "danger") if blocked else sentence(now), sign(seen))

    # --- the end -----------------------------------------------------------------------------------

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        """Make safe and leave once the bench is closed; the window is gone at once and nothing waits.

        While something runs, a question comes first.
        """
        if self.running and not self._closing and not self._agreed:
            event.ignore()
            self._ask_to_leave()
            return
        if not self._closing:
            self._closing = True
            self.watch.end()
            self.close_dialogs()
            self.remember()
            self.service.safety.safe()
            self.service.quit()
            self.hide()
            QTimer.singleShot(CLOSING_MS, self._all_ended)
        event.ignore()

    def leave(self) -> None:
        """Close without a question: a signal of the system, or somebody who has agreed."""
        self._agreed = True
        self.close()

    def _ask_to_leave(self) -> None:
        waiting = self.queue.unfinished - (self.queue.running is not None)
        more = f" {waiting} more in the queue will not start." if waiting else ""
        text = f"{self.running[0].upper()}{self.running[1:]} is still running. {LEAVING[self.running]}{more}"
        if self._leaving is not None:
            self._leaving.close()
        self._leaving = ask(self, "End it and quit?", text, ("End it and quit", "Let it run"), self.leave)
        self._leaving.finished.connect(self._answered_leaving)

    def _answered_leaving(self, _result: int) -> None:
        self._leaving = None

    def _all_ended(self) -> None:
        if self._closing:
            self.finish()
        else:
            self.say("the bench thread has ended: restart labctl gui", wrong=True)
