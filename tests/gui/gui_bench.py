"""The real window on a simulated bench whose clock is stepped, for the tests of the window."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from patience import PATIENCE_S
from PySide6.QtCore import QEvent, QSettings
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from drivers.attenuators.thorlabs_ell14 import ThorlabsELL14
from drivers.meters.thorlabs_pm100 import ThorlabsPM100
from drivers.shutters.thorlabs_sc10 import ThorlabsSC10
from labctl.config import BenchConfig, load_bench
from labctl.data.writer import RunWriter
from labctl.gui.shell.app import make_application
from labctl.gui.shell.benchwindow import BenchWindow
from labctl.model.clock import Clock, SteppedClock
from labctl.model.records import SweepPoint
from simulators.bench import SimulatedBench
from simulators.faults import FaultPlan
from simulators.presets import scene, uncalibrated

LONG_MS = round(1000 * PATIENCE_S)


def keep_settings_in(folder: Path) -> None:
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(folder / "settings"))


class Gate:
    """Holds a sweep up before it stores a point, until the test has done what is to happen in mid-sweep.

    Without it a sweep on a stepped clock may be over before the window has seen two points of it.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, before_point: int) -> None:
        self._opened = threading.Event()
        store = RunWriter.append

        def held(writer: RunWriter, point: SweepPoint, *, flush: bool = True) -> None:
            if point.index >= before_point:
                assert self._opened.wait(PATIENCE_S)
            store(writer, point, flush=flush)

        monkeypatch.setattr(RunWriter, "append", held)

    def open(self) -> None:
        self._opened.set()


@contextmanager
def patient_drivers() -> Iterator[None]:
    """Let drivers made inside wait long for a simulator that a loaded computer does not let run.

    Where an instrument goes silent in a test, what it is worth is the driver's own time.
    """
    changes: dict[str, object] = {
        f"drivers.spectrometers.ocean.{name}": PATIENCE_S for name in ("OPEN_TIMEOUT_S", "ANSWER_TIMEOUT_S")
    }
    changes["drivers.shutters.thorlabs_sc10.COMMAND_LIMIT_S"] = PATIENCE_S
    for driver in (ThorlabsELL14, ThorlabsPM100, ThorlabsSC10):
        port = replace(driver.port, timeout_s=PATIENCE_S)
        changes[f"{driver.__module__}.{driver.__name__}.port"] = port
    with ExitStack() as patches:
        for name, value in changes.items():
            patches.enter_context(patch(name, value))
        yield


@contextmanager
def bench_window(
    qtbot: QtBot,
    folder: Path,
    *,
    clock: Clock | None = None,
    edit: Callable[[BenchConfig], BenchConfig] = lambda config: config,
    connected: bool = True,
    unknown: bool = False,
    faults: str = "",
    silence: bool = False,
) -> Iterator[tuple[BenchWindow, SimulatedBench]]:
    """Show a window on a bench; it is closed as by a user who agrees to end what runs, and must end.

    :param unknown: the bench is one that nobody has calibrated, and its file states nominal values.
    :param faults: what goes wrong on it, as TOML.
    :param silence: an instrument will say nothing, and the drivers wait no longer for it than they do.
    """
    make_application()
    keep_settings_in(folder)
    own = SteppedClock() if clock is None else clock
    settings = scene("ola", "typical", 3)
    file = folder / "bench.toml"
    settings = uncalibrated(settings, 3) if unknown else settings
    with (
        nullcontext() if silence else patient_drivers(),
        SimulatedBench(settings, own, faults=FaultPlan.parse(faults)) as simulated,
    ):
        file.write_text(simulated.bench_toml(1.0, nominal=unknown))
        window = BenchWindow(edit(load_bench(file)), folder, clock=own, file=file)
        window.resize(1200, 760)
        window.show()
        try:
            if connected:
                qtbot.waitUntil(lambda: window.connected, timeout=LONG_MS)
            yield window, simulated
        finally:
            ended: list[bool] = []
            window.ended.connect(lambda: ended.append(True))
            if window.service.alive:
                window.leave()
                qtbot.waitUntil(lambda: bool(ended), timeout=LONG_MS)
        assert not window.service.alive or _joined(window)
    forget(window)


def forget(window: QWidget) -> None:
    """Delete a window that was closed: those that are left alive make every later one slower."""
    window.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)


def _joined(window: BenchWindow) -> bool:
    window.service._thread.join(PATIENCE_S)
    return not window.service.alive


def is_safe(simulated: SimulatedBench) -> bool:
    away = abs((simulated.scene.mount.angle_deg() - simulated.scene.settings.optics.zero_deg) % 90.0 - 45.0)
    return simulated.scene.shutter.closed_switch() and away < 0.5
