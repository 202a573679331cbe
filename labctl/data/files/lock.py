"""One process at a time may write a run: a lock of the operating system, which dies with its process.

It lies on a small file beside the run, never on the run itself, so that any program can look at the data.
The file also says who holds it; only the lock decides, so that a file left behind by a kill holds nothing.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from labctl.model.errors import DataError
from labctl.model.untrusted import open_regular

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


log = logging.getLogger(__name__)

_LOCKED_BYTE = 1 << 30  # far behind the text: Windows keeps others from reading what is locked
_LONGEST = 4096
_ATTEMPTS = 100
_HELD = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK}
_NO_LOCKS_HERE = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}


class RunLock:
    """The right to write one run, held until :meth:`release` or the end of the process.

    :raises DataError: another process holds it, or the directory cannot be written to.
    """

    def __init__(self, h5: Path, holder: Holder) -> None:
        self._path = lock_path(h5)
        self._descriptor: int | None = _locked(self._path, h5)
        text = json.dumps(holder.to_mapping()).encode()
        with contextlib.suppress(OSError):  # a full disk: the lock holds without its text
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, text)

    def release(self) -> None:
        """Let go, and take the file away. May be called twice; never raises."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if sys.platform != "win32":  # while locked, so that nobody locks a file that is about to go
            with contextlib.suppress(OSError):
                self._path.unlink()
        with contextlib.suppress(OSError):
            os.close(descriptor)
        if sys.platform == "win32":  # which refuses while somebody else has it open
            with contextlib.suppress(OSError):
                self._path.unlink()


def lock_path(h5: Path) -> Path:
    """Return where the lock of a run lies."""
    return h5.with_name(h5.name + ".lock")


def held_by(h5: Path) -> str:
    """Return who says to hold a run: process, host and since when; "another process" if that is unknown."""
    try:
        with open_regular(lock_path(h5)) as file:
            stored = json.loads(file.read(_LONGEST))
        return describe(int(stored["pid"]), str(stored["host"]), str(stored.get("since", "")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "another process"


def describe(pid: int, host: str, since: str) -> str:
    """Name a process as messages do."""
    return f"process {pid} on {host}" + (f" since {since}" if since else "")


def _locked(path: Path, h5: Path) -> int:
    """Open and lock the file; again if its last holder took it away between the two."""
    for _ in range(_ATTEMPTS):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        except OSError as exc:
            raise DataError(f"{path}: cannot be written: {exc.strerror or exc}") from exc
        try:
            _lock(descriptor, path)
            if _is_still(descriptor, path):
                return descriptor
        except OSError as exc:
            os.close(descriptor)
            if exc.errno in _HELD:
                raise DataError(f"{h5} is being written by {held_by(h5)}", "wait until it has ended") from exc
            raise DataError(f"{path}: cannot be locked: {exc.strerror or exc}") from exc
        os.close(descriptor)
    raise DataError(f"{path} keeps being deleted", "close the other programs that write this run")


def _is_still(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _lock(descriptor: int, path: Path) -> None:
    """Lock without waiting; where a file system has no locks, the record in the run has to do."""
    try:
        _lock_descriptor(descriptor)
    except OSError as exc:
        if exc.errno not in _NO_LOCKS_HERE or exc.errno in _HELD:
            raise
        log.warning("%s: this file system has no locks: %s", path, exc)


if sys.platform == "win32":
    import msvcrt

    def _lock_descriptor(descriptor: int) -> None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock_descriptor(descriptor: int) -> None:
        # flock, not lockf: a POSIX record lock ends when any descriptor of the file is closed.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
