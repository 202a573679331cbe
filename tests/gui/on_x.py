"""SAFE over real popups: run by test_gui_on_x.py in a process of its own, on an X server of its own.

Only a real X server grabs mouse and keyboard for a menu or an open list. Every press comes from outside, as
from a hand: through the server's test extension (xdotool), never from Qt. What is asserted is the blade's own
switch on the simulated bench.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gui_bench import LONG_MS, bench_window
from patience import PATIENCE_S
from PySide6.QtCore import QPoint
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QApplication,
    QComboBox,
    QCompleter,
    QDialog,
    QFileDialog,
    QInputDialog,
    QLineEdit,
    QMessageBox,
    QScrollArea,
    QToolTip,
    QVBoxLayout,
    QWidget,
)
from pytestqt.qtbot import QtBot

from labctl.gui.shell.benchwindow import BenchWindow
from labctl.service.messages import SetFluence
from simulators.bench import SimulatedBench


def xdotool(*words: object) -> None:
    subprocess.run(["xdotool", *map(str, words)], check=True, timeout=PATIENCE_S)


_clicked_s = 0.0


def click(widget: QWidget, at: QPoint | None = None, button: int = 1) -> None:
    """Click once where the widget stands on the screen, whatever lies over it.

    Soon after another click at that place it would be the second of a double click, which opens a menu and
    closes it again.
    """
    global _clicked_s
    around = widget.parentWidget()
    while around is not None:
        if isinstance(around, QScrollArea):
            around.ensureWidgetVisible(widget)
        around = around.parentWidget()
    QTest.qWait(50)  # what has been scrolled stands still
    place = widget.mapToGlobal(widget.rect().center() if at is None else at)
    xdotool("mousemove", place.x(), place.y())
    QTest.qWait(50)  # the mouse has arrived there
    single_s = _clicked_s + QApplication.doubleClickInterval() / 1000.0 + 0.1
    while time.monotonic() < single_s:
        QTest.qWait(20)
    xdotool("click", button)
    _clicked_s = time.monotonic()


def press(key: str) -> None:
    xdotool("key", key)


def popup_is_open() -> bool:
    popup = QApplication.activePopupWidget()
    return popup is not None and popup.isVisible()


class Hall:
    """The window, and what a test opens over it."""

    def __init__(self, qtbot: QtBot, window: BenchWindow) -> None:
        self.qtbot, self.window = qtbot, window
        self.others: list[QWidget] = []
        self.where = ""

    def wait(self, condition: Callable[[], object]) -> None:
        try:
            self.qtbot.waitUntil(lambda: bool(condition()), timeout=LONG_MS)
        except self.qtbot.TimeoutError as exc:
            raise AssertionError(f"in vain: {self.where}") from exc

    def dialog(self, kind: type[QDialog]) -> QDialog:
        def shown() -> list[QDialog]:
            return [w for w in QApplication.topLevelWidgets() if isinstance(w, kind) and w.isVisible()]

        self.wait(lambda: [w for w in shown() if w.isActiveWindow()])
        return shown()[0]

    def show(self, widget: QWidget, corner: QPoint) -> None:
        self.others.append(widget)
        widget.move(corner)
        widget.show()
        widget.activateWindow()
        self.wait(widget.isActiveWindow)


def file_menu(hall: Hall) -> None:
    bar = hall.window.menuBar()
    click(bar, bar.actionGeometry(bar.actions()[0]).center())
    hall.wait(popup_is_open)


def combo_list(hall: Hall) -> None:
    click(hall.window.sweep.fields["spacing"].box)
    hall.wait(popup_is_open)


def context_menu(hall: Hall) -> None:
    click(hall.window.sweep.sample.edit, button=3)
    hall.wait(popup_is_open)


def open_dialog(hall: Hall) -> None:
    press("ctrl+o")
    hall.dialog(QFileDialog)


def list_in_a_file_dialog(hall: Hall) -> None:
    click(hall.window.sweep.folder)
    dialog = hall.dialog(QFileDialog)
    box = next(b for b in dialog.findChildren(QComboBox) if b.isVisible())
    click(box)
    hall.wait(popup_is_open)


def input_dialog(hall: Hall) -> None:
    click(hall.window.sweep.keep)
    hall.dialog(QInputDialog)
    xdotool("type", "half a name")


def keys_box(hall: Hall) -> None:
    press("ctrl+F1")
    hall.dialog(QDialog)


def modal_box(hall: Hall) -> None:
    box = QMessageBox(hall.window)
    box.setText("born modal")
    hall.show(box, QPoint(200, 500))


def second_window(hall: Hall) -> None:
    other = QWidget()
    other.resize(300, 200)
    hall.show(other, QPoint(100, 500))


def completer(hall: Hall) -> None:
    other = QWidget()
    column = QVBoxLayout(other)
    edit = QLineEdit()
    edit.setCompleter(QCompleter(["film one", "film two"], edit))
    column.addWidget(edit)
    hall.show(other, QPoint(100, 500))
    click(edit)
    hall.wait(edit.hasFocus)
    xdotool("type", "fi")
    hall.wait(popup_is_open)


def tooltip(hall: Hall) -> None:
    safe = hall.window.bar.safe
    QToolTip.showText(safe.mapToGlobal(QPoint(2, 2)), "a tip over SAFE " * 5, safe)
    hall.wait(QToolTip.isVisible)


OPENED = (
    file_menu, combo_list, context_menu, open_dialog, list_in_a_file_dialog, input_dialog, keys_box,
    modal_box, second_window, completer, tooltip,
)  # fmt: skip


@contextmanager
def lit(hall: Hall, simulated: SimulatedBench) -> Iterator[None]:
    """Give light; afterwards it must be dark, and the bench must be free for the next."""
    window = hall.window
    hall.wait(lambda: not window.service.safety.is_latched())
    window.post(SetFluence(60.0))
    hall.wait(lambda: (window.service.state.seen.fluence_uj_cm2 or 0) > 50)
    window.manual.open.click()
    hall.wait(lambda: not simulated.scene.shutter.closed_switch())
    window.activateWindow()
    hall.wait(window.isActiveWindow)
    yield
    hall.wait(simulated.scene.shutter.closed_switch)
    hall.wait(lambda: not window.service.safety.is_latched())
    for other in hall.others:
        other.close()
    hall.others.clear()
    hall.wait(lambda: not popup_is_open())


def by_mouse(hall: Hall) -> None:
    click(hall.window.bar.safe)


def by_escape(_hall: Hall) -> None:
    press("Escape")


def by_f7(_hall: Hall) -> None:
    press("F7")


def test_dark_whatever_is_open(qtbot: QtBot, tmp_path: Path) -> None:
    with bench_window(qtbot, tmp_path) as (window, simulated):
        hall = Hall(qtbot, window)
        for opened in OPENED:
            for act in (by_mouse, by_escape, by_f7):
                hall.where = f"{opened.__name__}, {act.__name__}"
                with lit(hall, simulated):
                    opened(hall)
                    assert not simulated.scene.shutter.closed_switch(), hall.where
                    act(hall)
                window.close_dialogs()
                assert not popup_is_open(), hall.where


def test_over_a_window_that_covers_it(qtbot: QtBot, tmp_path: Path) -> None:
    with bench_window(qtbot, tmp_path) as (window, simulated):
        hall = Hall(qtbot, window)
        with lit(hall, simulated):
            other = QWidget()
            other.resize(window.size())
            hall.show(other, window.pos())
            click(window.bar.safe)  # it is not to be seen there: that press belongs to the other window
            qtbot.wait(200)
            assert not simulated.scene.shutter.closed_switch()
            press("Escape")
