"""SAFE over popups and dialogs, as Qt hands the events on; test_gui_on_x.py does it on a real X server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from gui_bench import LONG_MS, bench_window, keep_settings_in
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QDialog, QFileDialog, QMenu, QMessageBox, QWidget
from pytestqt.qtbot import QtBot
from shiboken6 import isValid

import labctl
from labctl.gui.shell.app import make_application
from labctl.gui.shell.benchwindow import BenchWindow
from labctl.gui.shell.window import MainWindow

DOCS = Path(__file__).resolve().parents[2] / "docs"


def file_menu(window: BenchWindow) -> QWidget:
    menu = window.menuBar().actions()[0].menu()
    assert isinstance(menu, QMenu)
    menu.popup(window.mapToGlobal(QPoint(5, 20)))
    return menu


def combo_list(window: BenchWindow) -> QWidget:
    window.sweep.fields["spacing"].box.showPopup()
    return window.sweep.fields["spacing"].box.view().window()


def open_dialog(window: BenchWindow) -> QWidget:
    window.runs.ask_for_files()
    return top(QFileDialog)


def folder_dialog(window: BenchWindow) -> QWidget:
    window.sweep.folder.click()
    return top(QFileDialog)


def name_dialog(window: BenchWindow) -> QWidget:
    window.sweep.keep.click()
    return top(QDialog)


def keys_box(window: BenchWindow) -> QWidget:
    QTest.keyClick(window, Qt.Key.Key_F1, Qt.KeyboardModifier.ControlModifier)
    return top(QDialog)


def modal_box(window: BenchWindow) -> QWidget:
    box = QMessageBox(window)
    box.setModal(True)
    box.show()
    return box


def is_shown(widget: QWidget) -> bool:
    return isValid(widget) and widget.isVisible()


def top(kind: type[QWidget]) -> QWidget:
    return next(w for w in QApplication.topLevelWidgets() if isinstance(w, kind) and w.isVisible())


OPENED = (file_menu, combo_list, open_dialog, folder_dialog, name_dialog, keys_box, modal_box)


def press_on_safe(window: BenchWindow, over: QWidget) -> None:
    """Press as the system would tell it: to the popup that has the mouse, else to the window under it."""
    place = window.bar.safe.mapToGlobal(window.bar.safe.rect().center())
    told = over if over.windowType() == Qt.WindowType.Popup else window
    handle = told.windowHandle()
    assert handle is not None
    button = Qt.MouseButton.LeftButton
    QTest.mouseClick(handle, button, Qt.KeyboardModifier.NoModifier, handle.mapFromGlobal(place))


def press_escape(_window: BenchWindow, over: QWidget) -> None:
    handle = over.windowHandle()
    assert handle is not None
    QTest.keyClick(handle, Qt.Key.Key_Escape)


def test_safe_is_asked_for_once_whatever_is_open(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    with bench_window(qtbot, tmp_path, connected=False) as (window, _):
        safe = window.service.safety.safe
        with monkeypatch.context() as patched:
            patched.setattr(window.service.safety, "safe", lambda: asked.append("safe"))
            for opened in OPENED:
                for act in (press_on_safe, press_escape):
                    where = f"{opened.__name__}, {act.__name__}"
                    window.activateWindow()
                    qtbot.waitUntil(window.isActiveWindow, timeout=LONG_MS)
                    over = opened(window)
                    assert over.isVisible(), where
                    assert not over.isModal(), where
                    if over.windowType() != Qt.WindowType.Popup:
                        qtbot.waitUntil(over.isActiveWindow, timeout=LONG_MS)
                    act(window, over)
                    assert asked == ["safe"], where
                    asked.clear()
                    if act is press_escape or over.windowType() == Qt.WindowType.Popup:
                        assert not is_shown(over), where
                    window.close_dialogs()
                    window.sweep.fields["spacing"].box.hidePopup()
        safe()


def test_presses_for_others_are_left_alone(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench_window(qtbot, tmp_path, connected=False) as (window, _):
        asked: list[str] = []
        with monkeypatch.context() as patched:
            patched.setattr(window.service, "safe", lambda: asked.append("safe"))
            edit = window.sweep.sample.edit
            QTest.mouseClick(edit, Qt.MouseButton.LeftButton)
            QTest.keyClick(edit, Qt.Key.Key_A)
            assert "a" in edit.text()
            bar = window.tabs.tabBar()
            handle = window.windowHandle()
            assert handle is not None
            place = bar.mapTo(window, bar.tabRect(1).center())
            QTest.mouseClick(handle, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)
            assert window.tabs.currentIndex() == 1
            menu = file_menu(window)
            QTest.mouseClick(menu, Qt.MouseButton.LeftButton, pos=QPoint(-30, 400))
            QTest.keyClick(menu, Qt.Key.Key_Down)
            assert asked == []


@pytest.mark.parametrize("key", [Qt.Key.Key_Escape, Qt.Key.Key_F7])
def test_a_held_key_acts_once(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: Qt.Key
) -> None:
    with bench_window(qtbot, tmp_path, connected=False) as (window, _):
        asked: list[bool] = []
        with monkeypatch.context() as patched:
            patched.setattr(window.service.safety, "safe", lambda: asked.append(True))
            for _ in range(2):
                QTest.keyClick(window, key)
        assert asked == [True, True]


def test_without_a_bench_escape_keeps_its_meaning(qtbot: QtBot, tmp_path: Path) -> None:
    make_application()
    keep_settings_in(tmp_path)
    window = MainWindow()
    window.show()
    window.runs.ask_for_files()
    dialog = top(QFileDialog)
    assert not dialog.isModal()
    QTest.keyClick(dialog, Qt.Key.Key_Escape)
    assert not dialog.isVisible()
    window.runs.ask_for_files()
    assert top(QFileDialog) is dialog  # one, shown again
    ended: list[bool] = []
    window.ended.connect(lambda: ended.append(True))
    window.close()
    qtbot.waitUntil(lambda: bool(ended), timeout=LONG_MS)
    assert not dialog.isVisible()
    window.deleteLater()


def test_what_has_a_loop_of_its_own_is_not_there() -> None:
    """No exec() but the application's, no drag out of a dialog, no menu of a plot."""
    gui = Path(labctl.__file__).parent / "gui"
    calls = [
        f"{file.name}: {line.strip()}"
        for file in sorted(gui.rglob("*.py"))
        for line in file.read_text(encoding="utf-8").splitlines()
        if re.search(r"\.exec(_|Async)?\(|\.get(OpenFile|SaveFile|Existing|Text|Item|Int|Double)\w*\(", line)
        or re.search(r"QMessageBox\.(question|warning|information|critical|about)\(", line)
    ]
    assert calls == ["app.py: return int(application.exec())"]


def test_plots_have_no_menu(qtbot: QtBot, tmp_path: Path) -> None:
    with bench_window(qtbot, tmp_path, connected=False) as (window, _):
        window.open_files([DOCS / "examples" / "run" / "OLA-spot-1.h5"])
        qtbot.waitUntil(lambda: bool(window.runs.view.runs), timeout=LONG_MS)
        view = window.runs.view
        for plot in (view.lightlight.widget, view.spectrum.widget, view.waterfall.widget):
            for x, y in ((0.5, 0.5), (0.5, 0.98), (0.02, 0.5)):
                at = QPoint(round(x * plot.width()), round(y * plot.height()))
                QTest.mouseClick(plot.viewport(), Qt.MouseButton.RightButton, pos=at)
                qtbot.wait(20)
                assert QApplication.activePopupWidget() is None
