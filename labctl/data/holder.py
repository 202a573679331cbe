"""Who writes a file, told so that a reader can say whether that process still lives. No lock is involved."""

from __future__ import annotations

import os
import socket
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

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
    try:
        process = psutil.Process(pid)
        if process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}:
            return None
        since_boot = sys.platform == "linux"  # in ticks, which no setting of the clock changes
        if since_boot:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            return fields.rpartition(")")[2].split()[19]
        return f"{process.create_time():.2f}"
    except (psutil.NoSuchProcess, ValueError, IndexError, OSError):
        return None
    except psutil.Error:
        return ""
