"""Which watchdog minds which instrument: told to whoever comes next, who waits while it still makes safe.

A killed program's watchdog talks to the shutter and the mount for some seconds. A small file for each of the
two says so, and one for every other instrument says which program has it, in a directory that only this user
can write to. Nobody has to believe it: it names processes, and only one that really lives, of a program that
has really ended, is waited for.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from labctl.config import BenchConfig
from labctl.data.files.lock import Holder, RunLock, is_alive, process
from labctl.model.clock import Clock, ScaledClock, Stop
from labctl.model.errors import DataError, SafetyStop
from labctl.model.untrusted import open_regular

log = logging.getLogger(__name__)

WAIT_S = 60.0
"""Longer than a watchdog's own deadlines together."""
POLL_S = 0.05
_LONGEST = 4096
_ATTEMPTS = 20
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class WatchdogRecord:
    """A watchdog and the program it minds."""

    watchdog: Holder
    main: Holder

    def is_used_by_another(self, path: Path) -> bool:
        """Whether another program, which lives, has the bench open."""
        mine = self.main.pid == os.getpid()
        return not mine and is_alive(self.main, path) and is_alive(self.watchdog, path)

    def is_making_safe(self, path: Path) -> bool:
        """Whether the program has ended and its watchdog has not."""
        return not is_alive(self.main, path) and is_alive(self.watchdog, path)


@contextmanager
def claimed(config: BenchConfig) -> Iterator[None]:
    """Have every instrument of the bench for this program while inside: before anything is sent to one.

    :raises SafetyStop: another program, which lives, has the bench or an instrument of it open.
    """
    refuse_second(config)
    mine, wanted = _record_of(os.getpid()), _wanted(config)
    with _removed_at_the_end(wanted):
        for path, what in wanted.items():
            with _alone_at(path):
                _refuse(path, what)
                _write(path, mine)
        yield


@contextmanager
def recorded(config: BenchConfig, watchdog_pid: int) -> Iterator[None]:
    """Say while inside that a watchdog minds these instruments. What cannot be written is not said."""
    record = _record_of(watchdog_pid)
    with _removed_at_the_end([path for path in _paths(config) if _write(path, record)]):
        yield


def _record_of(watchdog_pid: int) -> Mapping[str, object]:
    return {"watchdog": process(watchdog_pid).to_mapping(), "main": process(os.getpid()).to_mapping()}


@contextmanager
def _removed_at_the_end(paths: Iterable[Path]) -> Iterator[None]:
    """Take away the files that speak of this process; another's stay."""
    try:
        yield
    finally:
        for path in paths:
            record = _read(path)
            if record is not None and record.main.pid == os.getpid():
                with contextlib.suppress(OSError):
                    path.unlink()


@contextmanager
def _alone_at(path: Path) -> Iterator[None]:
    """Keep others from reading and writing at the same time; where nobody can be kept off, go on."""
    lock, wall = None, ScaledClock()
    for _ in range(_ATTEMPTS):
        try:
            lock = RunLock(path, process(os.getpid()))
            break
        except DataError:
            wall.sleep(POLL_S)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def wait_for_others(
    config: BenchConfig, tell: Tell, stop: Stop | None = None, wall: Clock | None = None
) -> None:
    """Wait until no watchdog of an ended program talks to these instruments any more.

    :param tell: told who holds them, once.
    :raises SafetyStop: it goes on for more than ``WAIT_S``.
    :raises Aborted: ``stop`` was set.
    """
    wall = wall or ScaledClock()
    end_s = wall.now_s() + WAIT_S
    told = False
    while (record := _busy(config)) is not None:
        who = (
            f"the watchdog (process {record.watchdog.pid}) of process {record.main.pid}, which has ended, "
            "is still making the bench safe"
        )
        if wall.now_s() > end_s:
            raise SafetyStop(f"{who} after {WAIT_S:g} s", "read its log next to the run, and block the beam")
        if not told:
            tell(f"waiting: {who}")
            told = True
        wall.sleep(POLL_S, stop)


def refuse_second(config: BenchConfig) -> None:
    """Refuse a bench that another program has open, or of which it has an instrument.

    Two that toggle one shutter undo each other; two that ask one meter read each other's answers.

    :raises SafetyStop: it has; names the process, and what it has.
    """
    for path, what in _wanted(config).items():
        _refuse(path, what)


def _refuse(path: Path, what: str) -> None:
    record = _read(path)
    if record is not None and record.is_used_by_another(path):
        raise SafetyStop(
            f"process {record.main.pid} has {what} open since {record.main.since}",
            "end it first: two programs must not control one instrument",
        )


def _busy(config: BenchConfig) -> WatchdogRecord | None:
    for path in _paths(config):
        record = _read(path)
        if record is not None and record.is_making_safe(path):
            return record
    return None


def forget(*resources: str) -> None:
    """Take away what was written of this process, a watchdog whose main process is dead."""
    for path in _paths_of(*resources):
        record = _read(path)
        if record is not None and record.watchdog.pid == os.getpid():
            with contextlib.suppress(OSError):
                path.unlink()


def _wanted(config: BenchConfig) -> dict[Path, str]:
    """Return where it is said who has each instrument, and its name; who has the shutter has the bench."""
    found = dict.fromkeys(_paths(config), "this bench")
    for role in config.roles:
        resource = config.driver(role).resource
        for path in _paths_of(resource):
            found.setdefault(path, f"the {role.replace('_', ' ')} of this bench ({resource})")
    return found


def _paths(config: BenchConfig) -> list[Path]:
    """Return where it is said of the two instruments that a watchdog talks to."""
    return _paths_of(config.shutter.resource, config.attenuator.resource)


def _paths_of(*addresses: str) -> list[Path]:
    """Return where it is said: a file for each instrument; none without a safe place."""
    folder = _folder()
    if folder is None:
        return []
    resources = {address.strip().upper() for address in addresses}
    return [folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json" for name in sorted(resources)]


def _folder() -> Path | None:
    """Return a directory of this user's own, None where there is none."""
    try:
        path = Path(tempfile.gettempdir()) / f"labctl-watchdogs-{_user()}"
        path.mkdir(mode=0o700, exist_ok=True)
        if sys.platform != "win32":
            found = path.lstat()
            if found.st_uid != os.getuid() or found.st_mode & 0o022 or path.is_symlink():
                return None
    except OSError:
        return None
    return path


def _user() -> str:
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):
        name = "nobody"
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def _write(path: Path, record: Mapping[str, object]) -> bool:
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        part.write_text(json.dumps(record), encoding="utf-8")
        part.replace(path)
    except OSError as exc:
        log.info("other programs will not know of the watchdog: %s", exc)
        return False
    return True


def _read(path: Path) -> WatchdogRecord | None:
    try:
        with open_regular(path) as file:
            stored = json.loads(file.read(_LONGEST))
        return WatchdogRecord(_holder(stored["watchdog"]), _holder(stored["main"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _holder(stored: Mapping[str, object]) -> Holder:
    pid = stored["pid"]
    if isinstance(pid, bool) or not isinstance(pid, int):
        raise TypeError("no process")
    words = (str(stored[key]) for key in ("host", "boot", "started", "since"))
    return Holder(pid, *words)
