"""The bench window: pages of plots, and with a bench its bar and its panels."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QByteArray, QObject, Qt, QTimer, Signal
from PySide6.QtGui import (
    QAction,
    QActionGroup,
    QCloseEvent,
    QDragEnterEvent,
    QDropEvent,
    QGuiApplication,
    QKeySequence,
    QUndoStack,
)
from PySide6.QtWidgets import (
    QDialog,
    QMainWindow,
    QMenu,
    QScrollArea,
    QSplitter,
    QStatusBar,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from labctl.gui.base.dialogs import VIEW_KEYS, Key, show_help, show_keys
from labctl.gui.base.fields import remember, remembered, settings
from labctl.gui.base.theme import TEXT_SIZE, TEXT_SIZES, THEME, THEMES
from labctl.gui.plots.edits import EditKeeper, Kept
from labctl.gui.plots.runview import RunView
from labctl.gui.runs.runs_page import Exported, Opened, RunsPage, curve_text
from labctl.gui.shell.log_dock import Level, LogDock, LogTap
from labctl.gui.shell.notices import Notices
from labctl.runner.fit_process import Answer, Fits
from labctl.runner.rundata import RunData

log = logging.getLogger(__name__)

PERIOD_MS = 40
"""25 Hz at most: more often nobody sees, and the acquisition would pay for it."""
MOST_AT_ONCE = 200


class Mailbox(QObject):
    """A queue emptied by a timer.

    :param handler: called in Qt's thread with each thing posted; what it raises is logged.
    :param after: called once after each emptying, and with nothing to hand on too.
    """

    def __init__(
        self,
        handler: Callable[[object], None],
        after: Callable[[], None] = lambda: None,
        period_ms: int = PERIOD_MS,
    ) -> None:
        super().__init__()
        self._queue: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._handler, self._after = handler, after
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(period_ms)
        self._timer.timeout.connect(self.empty)
        self._timer.start()

    def post(self, thing: object) -> None:
        """Leave something; never waits, any thread."""
        self._queue.put(thing)

    def empty(self) -> None:
        """Hand on what is there, a bounded number at a time so that the window stays alive."""
        for _ in range(MOST_AT_ONCE):
            try:
                thing = self._queue.get_nowait()
            except queue.Empty:
                break
            try:
                self._handler(thing)
            except Exception:
                log.exception("while showing %s", type(thing).__name__)
        self._after()

    def stop(self) -> None:
        """Hand on nothing any more."""
        self._timer.stop()


class _Pages(QVBoxLayout):
    """Asks for the least height of the pages; a scroll area would give what their width suggests."""

    def hasHeightForWidth(self) -> bool:  # noqa: N802
        """Let the least height count."""
        return False


class MainWindow(QMainWindow):
    """The window without a bench: runs from files.

    :ivar ended: everything that was running has ended; the application may leave.
    """

    ended = Signal()
    keys: tuple[Key, ...] = VIEW_KEYS

    def __init__(self) -> None:
        super().__init__()
        self.setWindowTitle("labctl")
        self.setAcceptDrops(True)
        self.undo = QUndoStack(self)
        self.mailbox = Mailbox(self.handle, self.tick)
        self.fits = Fits()
        self.runs = RunsPage(self.fits, self.undo, self.mailbox.post)
        self.runs.said.connect(self.say)
        self.keeper = EditKeeper(self.mailbox.post)
        self.runs.view.left_out.connect(self.left_out)
        self.runs.view.bands_moved.connect(self.bands_moved)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.addTab(self.runs, "Runs")
        self.centre = QWidget()
        self.notices, self.log = Notices(self), LogDock()
        self.message = self.notices.message
        self.column = _Pages(self.centre)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(0)
        self.column.addWidget(self.tabs, 1)
        room = (
            QScrollArea()
        )  # a page that needs more room than there is scrolls; the window never grows by it
        room.setWidgetResizable(True)
        room.setWidget(self.centre)
        self.setCentralWidget(room)
        self._make_foot()
        self._make_menus()
        self.tap = LogTap(self.mailbox.post)
        self.resize(1440, 900)

    def _make_foot(self) -> None:
        """Put messages and log below the pages, where neither moves them unless the log is asked for."""
        foot = QStatusBar()
        foot.setSizeGripEnabled(False)
        foot.setContentsMargins(0, 0, 0, 0)
        foot.addPermanentWidget(self.notices, 1)
        self.setStatusBar(foot)
        self.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, self.log)
        self.resizeDocks([self.log], [160], Qt.Orientation.Vertical)
        self.log.hide()
        shown = self.log.toggleViewAction()
        self.notices.log_button.clicked.connect(shown.trigger)
        shown.toggled.connect(self.notices.log_button.setChecked)

    # --- what others post --------------------------------------------------------------------------

    def handle(self, thing: object) -> None:
        """Show one thing that came from another thread."""
        if isinstance(thing, Answer):
            self.runs.view.take(thing)
            self.runs.refresh()
        elif isinstance(thing, Opened):
            self.runs.take(thing)
        elif isinstance(thing, Exported):
            self.runs.exported(thing)
        elif isinstance(thing, Kept) and thing.problem:
            self.say(f"not saved that {thing.what}: {thing.problem}", True)
        elif isinstance(thing, logging.LogRecord):
            self.log.add(thing.getMessage(), "error" if thing.levelno >= logging.ERROR else "warning")

    def tick(self) -> None:
        """Run at most 25 times a second, after everything posted was shown."""

    def say(self, text: str, wrong: bool = False) -> None:
        """Say something below the pages; what is wrong stays, in red, until it is acknowledged."""
        self.notices.say(text, wrong)
        level: Level = "error" if wrong else "info"
        self.log.add(text, level)

    def views(self) -> tuple[RunView, ...]:
        """Return every view of runs in this window."""
        return (self.runs.view,)

    def left_out(self, run: RunData, index: int, out: bool) -> None:
        """Keep what was excluded or included beside the run, and show it wherever that run is shown."""
        for view in self.views():
            view.follow(run, index, out)
        if run.facts.is_run and run.facts.path is not None:
            self.keeper.keep(run.facts.path, index, out=out)

    def bands_moved(self, run: RunData) -> None:
        """Keep where the bands are now, and show it wherever that run is shown."""
        for view in self.views():
            view.follow_bands(run)
        if run.facts.is_run and run.facts.path is not None:
            self.keeper.keep_bands(run.facts.path, run.bands)

    # --- menus -------------------------------------------------------------------------------------

    def _make_menus(self) -> None:
        file, edit = self.menuBar().addMenu("&File"), self.menuBar().addMenu("&Edit")
        self.add_action(file, "&Open…", "Ctrl+O", lambda: self._on_runs(self.runs.ask_for_files))
        self.add_action(file, "&Export…", "Ctrl+E", self.export_shown)
        self.add_action(file, "&Close run", "Ctrl+W", lambda: self._on_runs(self.runs.close_current))
        file.addSeparator()
        self.add_action(file, "&Quit", "Ctrl+Q", self.close)
        for action, keys in (
            (self.undo.createUndoAction(self), "Ctrl+Z"),
            (self.undo.createRedoAction(self), "Ctrl+Y"),
        ):
            action.setShortcuts(
                [QKeySequence(keys)] + ([QKeySequence("Ctrl+Shift+Z")] if keys == "Ctrl+Y" else [])
            )
            edit.addAction(action)
        self.add_action(edit, "Next point by fluence", "Right", lambda: self.shown_view_step(1))
        self.add_action(edit, "Previous point by fluence", "Left", lambda: self.shown_view_step(-1))
        self._make_look(self.menuBar().addMenu("&View"))
        edit.addSeparator()
        for text, act in (
            ("Copy a picture of the page", self.copy_picture),
            ("Copy the curve as a table", self.copy_curve),
        ):
            edit.addAction(text).triggered.connect(lambda _checked=False, act=act: act())
        self.help_menu = self.menuBar().addMenu("&Help")
        self.add_action(self.help_menu, "&Help", "F1", lambda: show_help(self, "window", self.keys))
        self.add_action(
            self.help_menu,
            "&Troubleshooting",
            "Shift+F1",
            lambda: show_help(self, "troubleshooting", self.keys),
        )
        self.add_action(self.help_menu, "&Keys", "Ctrl+F1", lambda: show_keys(self, self.keys))

    def _make_look(self, menu: QMenu) -> None:
        """Offer the docks, the theme and the size of the text; a bench adds its own dock."""
        self.view_menu = menu
        menu.addAction(self.log.toggleViewAction())
        menu.addSeparator()
        for key, words, usual in ((THEME, THEMES, "dark"), (TEXT_SIZE, TEXT_SIZES, "100")):
            group = QActionGroup(self)
            for word in words:
                text = f"Text {word} %" if key == TEXT_SIZE else f"{word.capitalize()} theme"
                action = QAction(text, self, checkable=True, checked=remembered(key, usual) == word)
                action.triggered.connect(partial(self._look, key, word))
                group.addAction(action)
                menu.addAction(action)
            menu.addSeparator()

    def _look(self, key: str, word: str) -> None:
        remember(key, word)
        self.say("this holds from the next start of the window")

    def add_action(self, menu: object, text: str, keys: str, act: object) -> QAction:
        """Add an entry with a key to a menu."""
        action = QAction(text, self)
        action.setShortcut(QKeySequence(keys))
        action.triggered.connect(lambda _checked=False: act())  # type: ignore[operator]
        menu.addAction(action)  # type: ignore[attr-defined]
        return action

    def _on_runs(self, act: object) -> None:
        self.tabs.setCurrentWidget(self.runs)
        act()  # type: ignore[operator]

    def shown_view(self) -> RunView | None:
        """Return the view of runs that is on the screen, None where there is none."""
        return next((view for view in self.views() if view.isVisible()), None)

    def shown_view_step(self, by: int) -> None:
        """Go to a neighbouring point of the run that is on the screen."""
        view = self.shown_view()
        if view is not None:
            view.step(by)

    def export_shown(self) -> None:
        """Export the run that is on the screen; on a page without one, that of the page of runs."""
        view = self.shown_view()
        if view is None or view.current is None:
            view = self.runs.view
            self.tabs.setCurrentWidget(self.runs)
        self.runs.ask_for_export(view)

    def copy_picture(self) -> None:
        """Put the page that is on the screen on the clipboard."""
        QGuiApplication.clipboard().setPixmap(self.tabs.currentWidget().grab())
        self.say("copied: a picture of this page")

    def copy_curve(self) -> None:
        """Put the curve of the run that is on the screen on the clipboard, as a table."""
        view = self.shown_view() or self.runs.view
        if view.current is None:
            self.say("nothing to copy: open a run first", True)
            return
        QGuiApplication.clipboard().setText(curve_text(view.current))
        self.say(f"copied: {view.current.facts.title}, one row a point")

    # --- files -------------------------------------------------------------------------------------

    def open_files(self, paths: list[Path]) -> None:
        """Open runs and show their page."""
        self.tabs.setCurrentWidget(self.runs)
        self.runs.open(paths)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802
        """Take files."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802
        """Open the files that were dropped."""
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if paths:
            self.open_files(paths)

    # --- state -------------------------------------------------------------------------------------

    def restore(self) -> None:
        """Take size, place and splitters from the last time."""
        kept = settings()
        for name, restore in (("geometry", self.restoreGeometry), ("state", self.restoreState)):
            value = kept.value(f"window/{name}")
            if isinstance(value, QByteArray):
                restore(value)
        for name, splitter in self._splitters().items():
            value = kept.value(f"window/{name}")
            if isinstance(value, QByteArray):
                splitter.restoreState(value)

    def remember(self) -> None:
        """Keep them for the next time."""
        kept = settings()
        kept.setValue("window/geometry", self.saveGeometry())
        kept.setValue("window/state", self.saveState())
        for name, splitter in self._splitters().items():
            kept.setValue(f"window/{name}", splitter.saveState())
        kept.sync()

    def _splitters(self) -> dict[str, QSplitter]:
        return {"runs": self.runs.view.splitter, "runs_right": self.runs.view.right_splitter}

    def close_dialogs(self) -> None:
        """Close every window that belongs to this one."""
        for dialog in self.findChildren(QDialog):
            dialog.close()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        """Leave; nothing here waits."""
        self.close_dialogs()
        self.remember()
        self.finish()
        event.accept()

    def leave(self) -> None:
        """Close without a question."""
        self.close()

    def finish(self) -> None:
        """End what works for the window, and tell that it may go."""
        self.mailbox.stop()
        self.tap.end()
        self.fits.close()
        self.keeper.close()
        self.ended.emit()
