"""Every key that the documentation names, pressed on a shown window in each state it is meant for."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from gui_bench import LONG_MS, Gate, bench_window, is_safe
from PySide6.QtCore import QUrl
from PySide6.QtGui import QKeySequence
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QDialog, QFileDialog, QLabel, QWidget
from pytestqt.exceptions import TimeoutError  # noqa: A004
from pytestqt.qtbot import QtBot
from test_gui_calibration import quick

from labctl.gui.base.dialogs import BENCH_KEYS, VIEW_KEYS
from labctl.gui.shell.benchwindow import BenchWindow
from labctl.service.messages import Busy, SetFluence
from simulators.bench import SimulatedBench

W = TypeVar("W", bound=QWidget)

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLE = DOCS / "examples" / "run"


def documented() -> list[tuple[str, ...]]:
    """Return the rows of the table of keys."""
    text = (DOCS / "window.md").read_text(encoding="utf-8")
    lines = text[text.index("| key | does | when |") :].splitlines()[2:]
    rows = lines[: lines.index("")]
    return [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in rows]


def test_the_window_and_the_page_name_the_same_keys() -> None:
    assert documented() == [*BENCH_KEYS, *VIEW_KEYS]


class Keyboard:
    """Presses keys on a shown window, as the system would deliver them."""

    def __init__(self, qtbot: QtBot, window: BenchWindow, simulated: SimulatedBench, folder: Path) -> None:
        self.qtbot, self.window, self.simulated, self.folder = qtbot, window, simulated, folder
        self.pressed: set[str] = set()
        window.activateWindow()
        self.wait(window.isActiveWindow)

    def press(self, key: str) -> None:
        self.pressed.add(key)
        combination = QKeySequence(key)[0]  # type: ignore[index]
        handle = QApplication.focusWindow()
        assert handle is not None
        QTest.keyClick(handle, combination.key(), combination.keyboardModifiers())

    def wait(self, condition: Callable[[], object]) -> None:
        try:
            self.qtbot.waitUntil(lambda: bool(condition()), timeout=LONG_MS)
        except TimeoutError:
            window = self.window
            raise AssertionError(
                f"still not so; the window says {window.message.text()!r}, busy {window.busy!r}"
            ) from None

    def said(self) -> list[str]:
        """Return a list that takes every line of messages from now on."""
        lines, say = list[str](), self.window.say

        def noted(text: str, wrong: bool = False) -> None:
            lines.append(text)
            say(text, wrong)

        self.window.say = noted  # type: ignore[method-assign]
        return lines

    def dark(self) -> bool:
        return self.simulated.scene.shutter.closed_switch()

    def free(self) -> None:
        """Wait until the bench can be used again: what was asked for is done, and the buttons say so."""
        self.wait(lambda: not self.window.service.safety.is_latched())
        self.wait(lambda: self.window.busy == "")

    def light(self) -> None:
        """Give light by hand, with F6."""
        self.free()
        self.window.post(SetFluence(60.0))
        self.wait(lambda: (self.window.service.state.seen.fluence_uj_cm2 or 0) > 50)
        # Until it says so it is busy with this, and its end must not be taken for that of the opening.
        self.wait(lambda: "set: " in self.window.message.text())
        self.open()

    def open(self) -> None:
        """Open the shutter with F6, and wait until the bench has done with it: it looks at the light, too.

        Whoever closes earlier interrupts the opening, and then the fluence has to be set anew.
        """
        self.free()
        self.wait(self.window.manual.open.isEnabled)
        ended, tell = list[Busy](), self.window.service._tell

        def noted(thing: object) -> None:
            if isinstance(thing, Busy) and not thing.what:
                ended.append(thing)
            tell(thing)

        self.window.service._tell = noted
        self.press("F6")
        self.wait(lambda: not self.dark())
        self.wait(lambda: ended)
        self.window.service._tell = tell


def by_hand(keyboard: Keyboard, _gate: Gate) -> None:
    """The panel with the buttons is not shown: keys do not need it."""
    window = keyboard.window
    assert window.manual.isHidden() or not window.manual.isVisible()
    keyboard.light()
    keyboard.press("F7")
    keyboard.wait(keyboard.dark)
    keyboard.free()
    keyboard.open()  # the plate has stayed, and what the meter has confirmed still holds
    keyboard.press("Esc")
    keyboard.wait(lambda: is_safe(keyboard.simulated))
    keyboard.free()
    keyboard.press("F5")
    keyboard.wait(lambda: window.live.shown_at_s > 0)
    assert window.manual.stream.isChecked()
    keyboard.press("F5")
    assert not window.manual.stream.isChecked()
    keyboard.press("F8")
    keyboard.wait(lambda: "dark taken" in window.message.text())
    keyboard.press("Ctrl+B")
    keyboard.wait(lambda: not window.connected)
    keyboard.press("F6")
    assert "not available" in window.message.text()
    keyboard.press("Ctrl+B")
    keyboard.wait(lambda: window.connected)
    for number, page in enumerate((window.live, window.align, window.calibrate, window.runs)):
        keyboard.press(f"Ctrl+{number + 1}")
        assert window.tabs.currentWidget() is page


def sweeping(keyboard: Keyboard, gate: Gate) -> None:
    window, queue = keyboard.window, keyboard.window.queue
    for field, text in ((window.sweep.fields["points"], "40"), (window.sweep.fields["average"], "3")):
        field.fill(text)
    window.panels.setCurrentWidget(queue)  # the button stands on a page that is not shown
    keyboard.press("Ctrl+Return")
    keyboard.press("Ctrl+Return")
    assert [queue.status(1), queue.status(2)] == ["running", "waiting"]
    keyboard.wait(lambda: window.live.run is not None and len(window.live.run) == 2)
    for again in (False, True):  # its text has changed, and it is heard from every page
        window.panels.setCurrentIndex(int(again))
        keyboard.press("Space")
        job = queue.running
        assert job is not None
        assert job.pause.is_set()
        keyboard.press("Space")
        assert not job.pause.is_set()
    window.panels.setCurrentIndex(0)
    window.sweep.sample.edit.setFocus()
    keyboard.press("Space")  # types
    assert window.sweep.sample.edit.text().endswith(" ")
    assert not queue.running.pause.is_set()  # type: ignore[union-attr]
    window.sweep.sample.edit.clearFocus()
    for key, changed in (("V", window.live.live), ("L", window.live.view.tools.log)):
        before = changed.isChecked()
        keyboard.press(key)
        keyboard.wait(partial(is_other, changed, before))
    gate.open()
    keyboard.press("Ctrl+.")
    keyboard.wait(lambda: queue.status(1) == "aborted")
    assert queue.status(2) == "running"
    keyboard.wait(lambda: not keyboard.dark())
    keyboard.press("Ctrl+Return")
    assert window.manual.close_button.isEnabled()
    said = keyboard.said()
    keyboard.press("F7")
    keyboard.wait(lambda: any("after the command; the sweep is stopped" in text for text in said))
    keyboard.wait(lambda: queue.status(2) == "aborted")
    assert queue.status(3) == "aborted"
    keyboard.wait(lambda: is_safe(keyboard.simulated))
    keyboard.free()
    keyboard.wait(window.runs.resume.isEnabled)
    keyboard.press("Ctrl+Shift+R")
    assert queue.status(4) == "running"
    keyboard.press("Esc")
    keyboard.wait(lambda: queue.status(4) == "aborted")
    keyboard.wait(lambda: is_safe(keyboard.simulated))
    keyboard.free()
    queue.threshold = 80.0
    queue._refresh()
    keyboard.press("Ctrl+R")
    keyboard.wait(lambda: queue.status(5) == "running")
    keyboard.press("Ctrl+B")
    keyboard.wait(lambda: queue.status(5) == "aborted" and not window.connected)
    assert is_safe(keyboard.simulated)


def aligning(keyboard: Keyboard, _gate: Gate) -> None:
    window, page = keyboard.window, keyboard.window.align
    page.start.set_text("30")
    page.end.set_text("170")
    page.points.set_text("12")
    for stopped_by in ("F9", "Ctrl+.", "F7", "Esc"):
        keyboard.free()
        keyboard.wait(page.go.isEnabled)
        keyboard.press("Ctrl+1")
        keyboard.press("F9")
        assert page.running
        assert window.tabs.currentWidget() is page
        keyboard.wait(lambda: not keyboard.dark())
        assert window.manual.close_button.isEnabled()
        keyboard.press("Ctrl+1")
        keyboard.press(stopped_by)
        keyboard.wait(lambda: not page.running)
        keyboard.wait(lambda: is_safe(keyboard.simulated))


def calibrating(keyboard: Keyboard, _gate: Gate) -> None:
    window, page = keyboard.window, keyboard.window.calibrate
    quick(window, place=1)
    page.hand.setChecked(True)
    for ended_by in ("Ctrl+.", "F7", "Esc"):
        keyboard.free()
        keyboard.wait(page.go.isEnabled)
        page.go.click()
        keyboard.wait(lambda: page.prompt.waiting is not None)
        asked = page.prompt.waiting
        keyboard.press("Ctrl+1")
        keyboard.press("Ctrl+D")  # nobody sees what is asked
        assert page.prompt.waiting == asked
        keyboard.press("Ctrl+3")
        assert window.manual.close_button.isEnabled()
        if ended_by == "Esc":
            request = page.prompt._request
            if request is not None and request.word:  # light follows: the word is typed first
                page.prompt.number.set_text(request.word)
            keyboard.press("Ctrl+D")
            assert page.prompt.waiting != asked
        keyboard.press(ended_by)
        keyboard.wait(lambda: page.running is None)
        keyboard.wait(keyboard.dark)
        if page.prompt.confirming:
            keyboard.press("Ctrl+D")
            assert not page.prompt.confirming


def looking(keyboard: Keyboard, _gate: Gate) -> None:
    window, view, tools = keyboard.window, keyboard.window.runs.view, keyboard.window.runs.view.tools
    keyboard.press("Ctrl+O")
    dialog = shown(QFileDialog)
    keyboard.press("Esc")
    assert not dialog.isVisible()
    window.activateWindow()
    window.open_files([keyboard.folder / "run" / "OLA-spot-1.h5"])
    keyboard.wait(lambda: view.current is not None)
    keyboard.wait(window.isActiveWindow)
    for key, button in (
        ("L", tools.log), ("W", tools.widths), ("K", tools.checks), ("D", tools.dark), ("G", tools.ghosts),
        ("P", tools.peaks), ("C", tools.colours), ("T", tools.time),
    ):  # fmt: skip
        before = button.isChecked()
        keyboard.press(key)
        keyboard.wait(partial(is_other, button, before))
    at = view.index
    keyboard.press("Left")
    assert view.index != at
    keyboard.press("Right")
    assert view.index == at
    assert view.current is not None
    run = view.current
    keyboard.press("X")
    keyboard.wait(lambda: at in run.excluded)
    keyboard.press("Ctrl+Z")
    assert at not in run.excluded
    keyboard.press("Ctrl+Y")
    assert at in run.excluded
    keyboard.press("Ctrl+Z")
    view.lightlight.widget.getPlotItem().vb.setXRange(1.0, 2.0, padding=0)
    keyboard.press("A")
    keyboard.wait(lambda: view.lightlight.widget.getPlotItem().vb.viewRange()[0] != [1.0, 2.0])
    keyboard.press("Ctrl+E")
    assert "OLA" in shown(QFileDialog).windowTitle()
    keyboard.press("Esc")
    window.activateWindow()
    keyboard.wait(window.isActiveWindow)
    keyboard.press("Ctrl+W")
    assert not view.runs
    for key in ("F1", "Shift+F1"):
        keyboard.press(key)
    keyboard.press("Ctrl+F1")
    assert (
        "always,&nbsp;even&nbsp;with&nbsp;a&nbsp;dialog&nbsp;open"
        in shown(QDialog).findChildren(QLabel)[0].text()
    )
    keyboard.press("Esc")
    window.activateWindow()
    keyboard.wait(window.isActiveWindow)
    keyboard.press("Ctrl+Q")
    keyboard.wait(lambda: not window.isVisible())


def is_other(button: QAbstractButton, before: bool) -> bool:
    return button.isChecked() is not before


def shown(kind: type[W]) -> W:
    """Return the one window of a kind that is on the screen."""
    (found,) = [w for w in QApplication.topLevelWidgets() if isinstance(w, kind) and w.isVisible()]
    return found


HANDS = "Esc F5 F6 F7 F8 Ctrl+B Ctrl+1 Ctrl+2 Ctrl+3 Ctrl+4"
STATES: dict[Callable[[Keyboard, Gate], None], str] = {
    by_hand: HANDS,
    sweeping: "Ctrl+Return Space V L Ctrl+. F7 Esc Ctrl+R Ctrl+Shift+R Ctrl+B",
    aligning: "F9 Ctrl+1 Ctrl+. F7 Esc",
    calibrating: "Ctrl+1 Ctrl+3 Ctrl+D Ctrl+. F7 Esc",
    looking: "Ctrl+O Esc L W K D G P C T Left Right X Ctrl+Z Ctrl+Y A Ctrl+E Ctrl+W F1 Shift+F1 Ctrl+F1 "
    "Ctrl+Q",
}


def test_every_documented_key_is_pressed() -> None:
    named = {key for row in documented() for key in row[0].split(", ")}
    assert named == {key for keys in STATES.values() for key in keys.split()}


@contextmanager
def keyboard_on_a_bench(
    qtbot: QtBot, folder: Path, state: Callable[[Keyboard, Gate], None]
) -> Iterator[Keyboard]:
    with bench_window(qtbot, folder, unknown=state is calibrating) as (window, simulated):
        yield Keyboard(qtbot, window, simulated, folder)


@pytest.mark.parametrize("state", STATES)
def test_keys(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: Callable[[Keyboard, Gate], None]
) -> None:
    opened: list[QUrl] = []

    def open_url(url: QUrl) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr("labctl.gui.base.dialogs.QDesktopServices.openUrl", open_url)
    gate = Gate(monkeypatch, before_point=2)
    shutil.copytree(EXAMPLE, tmp_path / "run")
    with keyboard_on_a_bench(qtbot, tmp_path, state) as keyboard:
        state(keyboard, gate)
        gate.open()
    assert keyboard.pressed == set(STATES[state].split())
    if state is looking:
        assert [url.fileName() for url in opened] == ["window.md", "troubleshooting.md"]
