"""Ctrl-C and SIGTERM ask a run to stop; asked twice, they ask the same again and break nothing."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from labctl.cli.console import stop_on_console_close

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
