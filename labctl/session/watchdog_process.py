"""The main process, as its watchdog sees it: whether it lives, and how it is ended."""

from __future__ import annotations

import os
import signal
import sys
from typing import Protocol

from labctl.model.clock import Clock, ScaledClock

_POLL_S = 0.01


class MainProcess(Protocol):
    """A process that can be watched and ended."""

    def is_alive(self) -> bool:
        """Return whether it still runs."""

    def kill(self) -> None:
        """End it at once; no effect when it has ended."""


def ended(process: MainProcess, within_s: float, clock: Clock | None = None) -> bool:
    """Wait for the end of a process; False when it still lives after ``within_s`` of wall time."""
    clock = clock or ScaledClock()
    end_s = clock.now_s() + within_s
    while process.is_alive():
        if clock.now_s() > end_s:
            return False
        clock.sleep(_POLL_S)
    return True


if sys.platform == "win32":
    import ctypes

    _SYNCHRONIZE_AND_TERMINATE = 0x00100001
    _WAIT_TIMEOUT = 0x102

    class _Process:
        """A handle, which stays valid, and this process's alone, when the number is given to another."""

        def __init__(self, pid: int) -> None:
            self._kernel = ctypes.WinDLL("kernel32", use_last_error=True)
            self._kernel.OpenProcess.restype = ctypes.c_void_p
            self._kernel.WaitForSingleObject.argtypes = [ctypes.c_void_p, ctypes.c_ulong]
            self._kernel.TerminateProcess.argtypes = [ctypes.c_void_p, ctypes.c_uint]
            self._handle = self._kernel.OpenProcess(_SYNCHRONIZE_AND_TERMINATE, 0, pid)

        def is_alive(self) -> bool:
            if not self._handle:
                return False
            return bool(self._kernel.WaitForSingleObject(self._handle, 0) == _WAIT_TIMEOUT)

        def kill(self) -> None:
            if self._handle:
                self._kernel.TerminateProcess(self._handle, 1)

else:

    class _Process:
        """A parent, known by being the parent, so that no stranger with its number is ever killed."""

        def __init__(self, pid: int) -> None:
            self._pid = pid
            self._is_parent = os.getppid() == pid

        def is_alive(self) -> bool:
            if self._is_parent:
                return os.getppid() == self._pid
            try:
                os.kill(self._pid, 0)
            except OSError:
                return False
            return True

        def kill(self) -> None:
            if self.is_alive():
                try:
                    os.kill(self._pid, signal.SIGKILL)
                except OSError:
                    return


def main_process(pid: int) -> MainProcess:
    """Return the handle that suits this system. Make it while the process lives: numbers are used again."""
    return _Process(pid)
