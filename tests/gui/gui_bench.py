"""The real window on a simulated bench whose clock is stepped, for the tests of the window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PySide6.QtCore import QSettings
from pytestqt.qtbot import QtBot

from labctl.config import BenchConfig, parse_bench
from labctl.gui.app import make_application
from labctl.gui.benchwindow import BenchWindow
from labctl.model.clock import Clock, SteppedClock
from simulators.bench import SimulatedBench
from simulators.presets import scene

LONG_MS = 25_000


def keep_settings_in(folder: Path) -> None:
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(folder / "settings"))


@contextmanager
def bench_window(
    qtbot: QtBot,
    folder: Path,
    *,
    clock: Clock | None = None,
    edit: Callable[[BenchConfig], BenchConfig] = lambda config: config,
    connected: bool = True,
) -> Iterator[tuple[BenchWindow, SimulatedBench]]:
    """Show a window on a bench; afterwards it is closed as a user closes it, and must end."""
    make_application()
    keep_settings_in(folder)
    own = SteppedClock() if clock is None else clock
    with SimulatedBench(scene("ola", "typical", 3), own) as simulated:
        window = BenchWindow(edit(parse_bench(simulated.bench_toml(1.0))), folder, clock=own)
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
                window.close()
                qtbot.waitUntil(lambda: bool(ended), timeout=LONG_MS)
        assert not window.service.alive or _joined(window)


def _joined(window: BenchWindow) -> bool:
    window.service._thread.join(5.0)
    return not window.service.alive


def is_safe(simulated: SimulatedBench) -> bool:
    away = abs((simulated.scene.mount.angle_deg() - simulated.scene.settings.optics.zero_deg) % 90.0 - 45.0)
    return simulated.scene.shutter.closed_switch() and away < 0.5
