"""Who writes a file, told so that a reader can say whether that process still lives. No lock is involved."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

_STRANGER_S = 3600.0
"""A file left "running" on another host counts as running if it changed within this time."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process: its number, host, the host's boot, and when it started (an opaque word).

    A process number alone is not enough, numbers are used again; number and start together are unique.

    :param since: when it took hold of the run, ISO 8601, for people.
    """

    pid: int
    host: str
    boot: str
    started: str
    since: str = ""

    def to_mapping(self) -> dict[str, object]:
        """Return the plain values that go into the file."""
        return asdict(self)


def this_process() -> Holder:
    """Describe the calling process."""
    return process(os.getpid())


def process(pid: int) -> Holder:
    """Describe a living process of this computer."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Holder(pid, socket.gethostname(), _boot_id(), _started(pid) or "", now)


def is_alive(holder: Holder, path: Path) -> bool:
    """Return whether ``holder`` may still be writing ``path``.

    On another host its process cannot be seen, so a file that changed within the last hour counts.
    """
    if holder.host != socket.gethostname():
        return time.time() - path.stat().st_mtime < _STRANGER_S
    if holder.boot and holder.boot != _boot_id():
        return False
    started = _started(holder.pid)
    return started is not None and (not holder.started or started == holder.started)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """Return a word for when process ``pid`` started, "" if that cannot be told, None if there is none."""
    if pid <= 0 or pid >= 2**31:
        return None
    if sys.platform == "win32":
        return _started_windows(pid)
    else:  # noqa: RET505  mypy checks only the branch of its platform
        return _started_posix(pid)


def _started_posix(pid: int) -> str | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        state, start = fields.split()[0], fields.split()[19]
    except (OSError, IndexError):
        return None if Path("/proc/self/stat").exists() else _started_ps(pid)
    return None if state in {"Z", "X"} else start


def _started_ps(pid: int) -> str | None:
    """Ask ``ps``, where there is no /proc (macOS, BSD)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    try:
        found = subprocess.run(  # a fixed program and a number: nothing of a file's text is run
            ["/bin/ps", "-o", "lstart=", "-p", str(int(pid))],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
            env={"LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return " ".join(found.stdout.split())


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    def _started_windows(pid: int) -> str | None:
        query_limited, still_active = 0x1000, 259
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.restype = wintypes.HANDLE
        kernel.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
        kernel.GetExitCodeProcess.argtypes = (wintypes.HANDLE, ctypes.POINTER(wintypes.DWORD))
        kernel.GetProcessTimes.argtypes = (wintypes.HANDLE, *[ctypes.POINTER(wintypes.FILETIME)] * 4)
        kernel.CloseHandle.argtypes = (wintypes.HANDLE,)
        handle = kernel.OpenProcess(query_limited, False, pid)
        if not handle:
            access_denied = 5
            return "" if ctypes.get_last_error() == access_denied else None
        try:
            code, times = wintypes.DWORD(), [wintypes.FILETIME() for _ in range(4)]
            if kernel.GetExitCodeProcess(handle, ctypes.byref(code)) and code.value != still_active:
                return None
            if not kernel.GetProcessTimes(handle, *[ctypes.byref(t) for t in times]):
                return ""
            return str(times[0].dwHighDateTime << 32 | times[0].dwLowDateTime)
        finally:
            kernel.CloseHandle(handle)
