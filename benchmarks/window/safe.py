"""How soon SAFE is dark, whatever is open: python -m benchmarks.window.safe [--times 10], on an X server.

The window runs on a simulated bench in real time, with light by hand and a free run of 0.2 s exposures.
Mouse and keys come from xdotool, so that menus and lists have really grabbed them. Measured: from the moment
at which xdotool is started to the blade's own switch, asked every millisecond; xdotool's own start is in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable

from PySide6.QtCore import QObject, QSettings, Qt, Signal
from PySide6.QtWidgets import QApplication, QWidget

from benchmarks.benches import filed, scene
from benchmarks.trials import parser
from labctl.config import load_bench
from labctl.gui.shell.app import make_application
from labctl.gui.shell.benchwindow import BenchWindow
from labctl.model.clock import ScaledClock
from labctl.service.messages import MoveShutter, SetExposure, SetFluence, Stream
from simulators.bench import SimulatedBench

PATIENCE_S = 60.0
LOOK_S = 0.001


class QtThread(QObject):
    """Does things in Qt's thread for the one that presses."""

    wanted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.wanted.connect(lambda act: act(), Qt.ConnectionType.QueuedConnection)

    def do(self, act: Callable[[], object]) -> object:
        found: list[object] = []
        done = threading.Event()

        def run() -> None:
            found.append(act())
            done.set()

        self.wanted.emit(run)
        assert done.wait(PATIENCE_S)
        return found[0]


def xdotool(*words: object) -> None:
    subprocess.run(["xdotool", *map(str, words)], check=True, timeout=PATIENCE_S)


def until(condition: Callable[[], object]) -> float:
    """Wait, and return when it came true."""
    ends = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends
        time.sleep(LOOK_S)  # noqa: TID251  a benchmark
    return time.monotonic()


class Trials:
    """Gives light, opens something over the window, acts, and takes the time."""

    def __init__(self, window: BenchWindow, bench: SimulatedBench) -> None:
        self._window, self._qt = window, QtThread()
        self._dark = bench.scene.shutter.closed_switch

    def _middle(self, widget: QWidget) -> tuple[int, int]:
        def place() -> object:
            point = widget.mapToGlobal(widget.rect().center())
            return point.x(), point.y()

        return self._qt.do(place)  # type: ignore[return-value]

    def _nothing(self) -> None:
        self._window.activateWindow()

    def _menu(self) -> None:
        bar = self._window.menuBar()
        bar.setActiveAction(bar.actions()[0])

    def _modal(self) -> None:
        self._window.runs.ask_for_files()

    def _list(self) -> None:
        self._window.sweep.fields["spacing"].box.showPopup()

    def _tidy(self) -> None:
        self._window.close_dialogs()
        while popup := QApplication.activePopupWidget():
            popup.close()

    def run(self, times: int) -> dict[str, list[float]]:
        safe = self._window.bar.safe
        found: dict[str, list[float]] = {}
        for name, opened in (
            ("nothing", self._nothing), ("menu", self._menu), ("list", self._list),
            ("file dialog", self._modal),
        ):  # fmt: skip
            for act in ("click", "Esc", "F7"):
                for _ in range(times):
                    self._light()
                    self._qt.do(opened)
                    time.sleep(0.3)  # noqa: TID251  a benchmark
                    xdotool("mousemove", *self._middle(safe))
                    began = time.monotonic()
                    xdotool(*(("click", 1) if act == "click" else ("key", act.replace("Esc", "Escape"))))
                    found.setdefault(f"{name}, {act}", []).append(until(self._dark) - began)
                    self._qt.do(self._tidy)
        return found

    def _light(self) -> None:
        service = self._window.service
        until(lambda: not service.safety.is_latched())
        until(lambda: service.state.seen.shutter_open is False)
        for command in (SetFluence(60.0), SetExposure(0.2), MoveShutter(True), Stream(True)):
            self._window.post(command)
        until(lambda: not self._dark())
        time.sleep(0.5)  # noqa: TID251  a benchmark: exposures are under way


def main() -> None:
    times = parser(__doc__, times=10).parse_args().times
    application = make_application()
    assert isinstance(application, QApplication)
    clock = ScaledClock(1.0)
    found: dict[str, list[float]] = {}
    with filed(scene("ola", "typical", 1), clock, 1.0) as (bench, file):
        QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(file.parent))
        window = BenchWindow(load_bench(file), file.parent, clock=clock, file=file)
        window.resize(1300, 850)
        window.show()

        def press() -> None:
            try:
                until(lambda: window.connected)
                found.update(trials.run(times))
            finally:
                trials._qt.wanted.emit(window.close)

        trials = Trials(window, bench)
        window.ended.connect(lambda: application.exit(0))
        thread = threading.Thread(target=press)
        thread.start()
        application.exec()
        thread.join()
    print(
        json.dumps(
            {
                "platform": application.platformName(),
                "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
                **{
                    name: {
                        "n": len(took),
                        "median_ms": round(1e3 * sorted(took)[len(took) // 2]),
                        "longest_ms": round(1e3 * max(took)),
                    }
                    for name, took in found.items()
                },
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
