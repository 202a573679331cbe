"""Ctrl-C and SIGTERM ask a run to stop; asked twice, they ask the same again and break nothing."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

CLOSE, LOGOFF, SHUTDOWN = 2, 5, 6
"""Console control events (Windows, HandlerRoutine)."""
WAIT_S = 4.5


def on_event(event: int, ask: Callable[[], None], over: threading.Event, wait_s: float = WAIT_S) -> bool:
    """Ask the run to stop when the console goes away, and wait for its end; False for any other event."""
    if event not in (CLOSE, LOGOFF, SHUTDOWN):
        return False
    ask()
    over.wait(wait_s)
    return True


if sys.platform == "win32":
    import ctypes

    @contextmanager
    def stop_on_console_close(ask: Callable[[], None]) -> Iterator[None]:
        """Call ``ask`` when the console is closed, and hold the closing up until the block is left."""
        over = threading.Event()
        kind = ctypes.WINFUNCTYPE(ctypes.c_int, ctypes.c_uint)
        handler = kind(lambda event: on_event(event, ask, over))
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.SetConsoleCtrlHandler(handler, True)
        try:
            yield
        finally:
            over.set()
            kernel.SetConsoleCtrlHandler(handler, False)

else:

    @contextmanager
    def stop_on_console_close(ask: Callable[[], None]) -> Iterator[None]:  # noqa: ARG001  a signal tells it
        """Do nothing: elsewhere a closed terminal is SIGHUP."""
        yield


_NAMES = ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP")
"""Those of them that this system has: SIGBREAK is Windows' Ctrl-Break, SIGHUP a closed terminal."""


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Return an event that a signal sets; outside the main thread it stays unset."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    by_hand = threading.Event()

    def ask(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            by_hand.set()
        stop.set()

    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    wanted = [number for number in numbers if not _is_ignored_hangup(number)]
    before = {number: signal.signal(number, ask) for number in wanted}
    try:
        with stop_on_console_close(stop.set):
            yield stop
    finally:
        if by_hand.is_set():
            _after_echo()
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _after_echo() -> None:
    """Begin a new line: the terminal has echoed ``^C`` into the one that is there."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr.isatty():
            sys.stderr.write("\n")
            sys.stderr.flush()


@contextmanager
def ended_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process as it stands, by the system: for work that touches neither bench nor file.

    A fit may hold the interpreter, and then nobody would hear the signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)


def _is_ignored_hangup(number: signal.Signals) -> bool:
    """Return whether ``nohup`` asked to survive the terminal."""
    return number.name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN
