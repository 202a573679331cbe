"""Keeps points that were left out by hand beside their run, in a thread that may wait for a disk."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from labctl.data.edits import record_edit
from labctl.model.errors import DataError

LONGEST_S = 2.0
"""A window that closes waits no longer than this for the last line."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A change is on disk, or is not: then ``problem`` says why."""

    path: Path
    point: int
    problem: str = ""


class EditKeeper:
    """Writes one change after another.

    :param tell: called in the keeper's thread; must not wait.
    """

    def __init__(self, tell: Callable[[object], None]) -> None:
        self._tell = tell
        self._waiting: queue.SimpleQueue[tuple[Path, int, bool] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._main, name="edits", daemon=True)
        self._started = False

    def keep(self, path: Path, point: int, *, out: bool) -> None:
        """Write down that a point was left out or taken in again; never waits."""
        if not self._started:
            self._started = True
            self._thread.start()
        self._waiting.put((path, point, out))

    def close(self) -> None:
        """Write what waits, and end."""
        if self._started:
            self._waiting.put(None)
            self._thread.join(LONGEST_S)

    def _main(self) -> None:
        while (change := self._waiting.get()) is not None:
            path, point, out = change
            problem = ""
            try:
                record_edit(path, point, out=out)
            except DataError as exc:
                problem = str(exc)
            except Exception as exc:  # noqa: BLE001  told, and the next one is tried
                problem = f"{path}: {type(exc).__name__}: {exc}"
            self._tell(Kept(path, point, problem))
