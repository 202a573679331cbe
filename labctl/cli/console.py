"""A console window that is closed, on Windows: the program gets some seconds, and needs them.

Windows ends a process as soon as its handler for the closing returns, at the latest after 5 s. The handler
runs in a thread of its own: it asks the run to stop and returns when the bench is safe. Should that take too
long, the watchdog does it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
