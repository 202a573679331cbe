"""How the window starts, and what it says when it cannot; ``set`` and ``align`` in the terminal."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
from pathlib import Path

import pytest
from gui_bench import bench_window
from patience import PATIENCE_S
from PySide6.QtCore import QSize, QTimer
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from labctl.cli import main
from labctl.cli.commands.align import line as align_line
from labctl.gui.shell.app import FRAME_PX, make_application
from labctl.model.clock import ScaledClock, SteppedClock
from labctl.runner.fit_child import answer
from labctl.runner.fit_process import SPARE, Answer, FileQuestion, Fits
from procedures.alignment import Finished
from simulators.bench import SimulatedBench
from simulators.presets import scene

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "run" / "OLA-spot-1.h5"


DROPPED_TIMERS = """
import gc, threading, time
from PySide6.QtCore import QTimer
from labctl.gui.shell.app import make_application

application = make_application()
for _ in range(50):
    timer = QTimer()
    timer.start(1)
    timer.itself = timer
del timer

def allocate():
    for _ in range(100_000):
        ring = []
        ring.append(ring)

thread = threading.Thread(target=allocate)
thread.start()
thread.join()
end = time.monotonic() + 30.0
while sum(isinstance(thing, QTimer) for thing in gc.get_objects()) > 1 and time.monotonic() < end:
    application.processEvents()
print(sum(isinstance(thing, QTimer) for thing in gc.get_objects()))
"""


def test_dropped_timers_of_qt_are_not_collected_in_the_thread_of_the_instruments() -> None:
    """There they would end the process at their next tick; the one that is left collects the others."""
    done = subprocess.run(
        [sys.executable, "-c", DROPPED_TIMERS], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "1", "")


def test_no_display_is_one_clear_line() -> None:
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    done = subprocess.run(
        [sys.executable, "-m", "labctl", "gui", str(EXAMPLE)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no display" in done.stderr


def test_a_wrong_bench_file_is_one_clear_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], qtbot: QtBot
) -> None:
    file = tmp_path / "bench.toml"
    file.write_text("[pump]\nwavelenght_nm = 800\n")
    assert main(["gui", "--bench", str(file)]) == 2
    said = capfd.readouterr().err
    assert "bench.toml" in said
    assert "Traceback" not in said
    assert main(["gui", "--bench", str(file), "--sim"]) == 2


def test_the_command_shows_a_run_on_the_screen_and_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, qtbot: QtBot
) -> None:
    make_application()
    closed: list[bool] = []
    on_screen: list[bool] = []
    monkeypatch.setattr(
        "labctl.gui.shell.window.MainWindow.restore", lambda window: window.resize(9000, 9000)
    )

    def close() -> None:
        shown = [w for w in QApplication.topLevelWidgets() if w.isVisible() and w.windowTitle() == "labctl"]
        for w in shown:
            room = w.screen().availableSize().expandedTo(w.minimumSizeHint())
            on_screen.append(w.size() == w.size().boundedTo(room))
        closed.extend(widget.close() for widget in shown)

    QTimer.singleShot(300, close)
    assert main(["gui", str(EXAMPLE)]) == 0
    assert closed == [True]
    assert on_screen == [True]


def test_set_by_hand_in_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with SimulatedBench(scene("ola", "typical", 3), ScaledClock(30.0)) as simulated:
        file = tmp_path / "bench.toml"
        file.write_text(simulated.bench_toml(30.0))
        assert main(["set", "--bench", str(file), "--fluence", "60", "--open", "--for", "1"]) == 0
        said = capfd.readouterr().out
        assert said.splitlines()[-1] == (
            "finished: the shutter is closed (its sensor and the spectrometer behind it), "
            "the attenuator is at its lowest transmission"
        )
        assert "shutter open" in said
        assert "uJ/cm2" in said
        assert simulated.scene.shutter.closed_switch()
        assert main(["set", "--bench", str(file), "--fluence", "9000", "--for", "0"]) == 4
        assert "above the limit" in capfd.readouterr().err
    assert main(["set", "--bench", str(file)]) == 2
    assert main(["set", "--bench", str(file), "--open", "--home"]) == 2
    assert main(["set", "--bench", str(file), "--fluence", "-5"]) == 2
    assert "not a fluence above zero" in capfd.readouterr().err


def test_align_in_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SteppedClock()
    monkeypatch.setattr("labctl.session.bench.bench_clock", lambda _config: clock)
    with SimulatedBench(scene("ola", "typical", 3), clock) as simulated:
        file = tmp_path / "bench.toml"
        file.write_text(simulated.bench_toml(1.0))
        command = ["align", "--bench", str(file), "--start", "30", "--stop", "170", "--points", "10"]
        assert main([*command, "--readouts", "2"]) == 0
        said = capfd.readouterr().out
        assert "reference: threshold" in said
        assert "2: " in said
        assert "best" in said
        assert "finished: the shutter is closed" in said
        assert simulated.scene.shutter.closed_switch()
    assert align_line(Finished("over"), "peak") == "over"


def test_the_fitting_process_answers_nonsense_with_a_reason() -> None:
    assert '"problem"' in answer('{"do": "nothing"}')
    assert '"problem"' in answer('{"do": "peaks"}')


def test_a_fitting_process_that_dies_is_replaced() -> None:
    told: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    fits = Fits()
    children: list[subprocess.Popen[str]] = []
    try:
        for attempt in range(2):
            number = fits.ask(("x",), lambda: FileQuestion("nothing"), told.put)
            first = told.get(timeout=PATIENCE_S)
            assert (first.number, first.found) == (number, None)
            assert "nothing" in first.problem
            child = fits.process._child
            assert child is not None
            children.append(child)
            if attempt == 0:
                child.kill()
                child.wait()
    finally:
        fits.close()
        assert fits._thread is not None
        fits._thread.join(PATIENCE_S)
    assert not fits._thread.is_alive()
    assert children[0] is not children[1]
    assert SPARE.take() is children[1]  # it owes nothing, and serves what comes next
    SPARE.keep(children[1])


SMALL = QSize(1280, 720 - FRAME_PX[1])
"""The smallest screen that the window is made for, without the frame and title of a window."""


@pytest.mark.parametrize("larger", [1.0, 1.15, 1.75])
def test_every_page_has_room_on_a_small_screen(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, larger: float
) -> None:
    """SAFE stands at the window's right edge: a window wider than the screen would put it beside it."""
    make_application()
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    dress, look = QWidget.setStyleSheet, application.styleSheet()

    def sized(sheet: str) -> str:
        return re.sub(r"(\d+)pt", lambda found: f"{larger * int(found[1]):.2f}pt", sheet)

    # Every size of a font stands in a style sheet.
    monkeypatch.setattr(QWidget, "setStyleSheet", lambda widget, sheet: dress(widget, sized(sheet)))
    application.setStyleSheet(sized(look))
    try:
        with bench_window(qtbot, tmp_path, unknown=True) as (window, _simulated):
            window.notices.set_lost({"shutter": "no answer", "spectrometer": "no answer"})
            for number in range(window.tabs.count()):
                window.tabs.setCurrentIndex(number)
                qtbot.wait(20)
                least, page = window.minimumSizeHint(), window.tabs.tabText(number)
                assert least.width() <= SMALL.width(), page
                assert least.height() <= SMALL.height(), page
            for panel in (window.sweep, window.manual, window.queue):  # nothing in them is cut
                assert panel.minimumSizeHint().width() <= window.dock.minimumWidth()
    finally:
        application.setStyleSheet(look)
