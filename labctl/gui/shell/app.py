"""Starts the window, or says in one line why there is none."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.model.errors import ConfigError

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

GARBAGE_MS = 250
"""From one look for garbage to the next."""
FRAME_PX = 8, 40
"""What a window's frame and title need beside it; Qt does not know before the window is shown."""
_NO_DISPLAY = "no display: the window cannot be opened"
_DRESSED = "labctl-dressed"
_HINT = "start it in a desktop session, or use labctl sweep and labctl align in the terminal"


def check_display() -> None:
    """Refuse before Qt does, which would end the process.

    :raises ConfigError: there is no display.
    """
    windows_or_mac = sys.platform in ("win32", "darwin")
    if windows_or_mac:
        return
    if os.environ.get("QT_QPA_PLATFORM", "") not in ("", "xcb", "wayland"):
        return
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise ConfigError(_NO_DISPLAY, hint=_HINT)
    if os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY") and not _x_answers():
        raise ConfigError(f"the display {os.environ['DISPLAY']} does not answer", hint=_HINT)


def _x_answers() -> bool:
    """Whether Qt can open the display; tried in a process of its own, because it aborts where it cannot."""
    import subprocess

    trial = "from PySide6.QtGui import QGuiApplication; QGuiApplication([])"
    try:
        done = subprocess.run(
            [sys.executable, "-c", trial],
            capture_output=True,
            timeout=20.0,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def make_application() -> object:
    """Return the application, made and dressed once."""
    from PySide6.QtCore import Qt
    from PySide6.QtWidgets import QApplication

    from labctl.gui.base.fields import remembered
    from labctl.gui.base.theme import TEXT_SIZE, TEXT_SIZES, THEME, apply_theme, use

    if QApplication.instance() is None:
        use(remembered(THEME, "dark"))
        size = remembered(TEXT_SIZE, "100")
        if size in TEXT_SIZES[1:]:  # Qt reads it as it starts, and scales text and all around it
            os.environ.setdefault("QT_SCALE_FACTOR", f"{int(size) / 100:g}")
    application = QApplication.instance() or QApplication(sys.argv[:1])
    assert isinstance(application, QApplication)
    application.setApplicationName("labctl")
    application.setQuitOnLastWindowClosed(False)
    # The system's dialogs and menu bar run loops of their own, in which SAFE would hear nothing.
    for attribute in ("AA_DontUseNativeDialogs", "AA_DontUseNativeMenuBar"):
        QApplication.setAttribute(getattr(Qt.ApplicationAttribute, attribute))
    if not application.property(_DRESSED):  # a style sheet that is set again polishes every widget anew
        apply_theme(application)
        _collect_garbage_here(application)
        application.setProperty(_DRESSED, True)
    return application


def _collect_garbage_here(application: QApplication) -> None:
    """Have unreachable objects collected in Qt's thread alone, for as long as its loop runs.

    Python collects in whichever thread allocates, here that of the instruments as well. A timer or animation
    of Qt that dies in a strange thread stays in its own thread's list, and the next tick ends the process.
    """
    from PySide6.QtCore import QTimer

    def collect() -> None:
        due = zip(gc.get_count(), gc.get_threshold(), strict=True)
        late = [generation for generation, (count, most) in enumerate(due) if count > most]
        if late:
            gc.collect(late[-1])

    gc.disable()
    timer = QTimer(application)
    timer.timeout.connect(collect)
    timer.start(GARBAGE_MS)


def run_window(
    files: Sequence[Path],
    bench: Path | None = None,
    output: Path | None = None,
    failed: Callable[[], str] = lambda: "",
) -> int:
    """Show the window until it is closed.

    :param bench: a bench file; without one only files are shown.
    :param output: where sweeps are stored.
    :param failed: asked now and then: why the simulated bench has ended, or an empty string.
    :raises ConfigError: no display, or a wrong bench file.
    """
    check_display()
    from PySide6.QtCore import QSize
    from PySide6.QtWidgets import QApplication

    application = make_application()
    assert isinstance(application, QApplication)
    if bench is None:
        from labctl.gui.shell.window import MainWindow

        window: MainWindow = MainWindow()
    else:
        from labctl.config import load_bench
        from labctl.gui.shell.benchwindow import BenchWindow

        window = BenchWindow(load_bench(bench), output or Path.cwd(), failed, file=bench)
    # Not quit(): that would ask the window, which is being closed, once more.
    window.ended.connect(lambda: application.exit(0))
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: window.leave())
    window.restore()
    # Larger than the screen, SAFE would lie beside it.
    window.resize(window.size().boundedTo(window.screen().availableSize() - QSize(*FRAME_PX)))
    window.show()
    if files:
        window.open_files(list(files))
    return int(application.exec())
