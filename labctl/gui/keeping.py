"""Keeps what was changed by hand beside its run, in a thread that may wait for a disk."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from labctl.data.edits import record_bands, record_edit
from labctl.model.errors import DataError
from labctl.model.pump import Bands

LONGEST_S = 2.0
"""A window that closes waits no longer than this for the last line."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A change is on disk, or is not: then ``problem`` says why; ``what`` was done, in words."""

    path: Path
    what: str
    problem: str = ""


class EditKeeper:
    """Writes one change after another.

    :param tell: called in the keeper's thread; must not wait.
    """

    def __init__(self, tell: Callable[[object], None]) -> None:
        self._tell = tell
        self._waiting: queue.SimpleQueue[tuple[Path, str, Callable[[], object]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._main, name="edits", daemon=True)
        self._started = False

    def keep(self, path: Path, point: int, *, out: bool) -> None:
        """Write down that a point was left out or taken in again; never waits."""
        what = f"point {point + 1} was left out or taken in"
        self._put(path, what, partial(record_edit, path, point, out=out))

    def keep_bands(self, path: Path, bands: Bands) -> None:
        """Write down where the bands are now; never waits."""
        self._put(path, "the bands were moved", partial(record_bands, path, bands))

    def close(self) -> None:
        """Write what waits, and end."""
        if self._started:
            self._waiting.put(None)
            self._thread.join(LONGEST_S)

    def _put(self, path: Path, what: str, write: Callable[[], object]) -> None:
        if not self._started:
            self._started = True
            self._thread.start()
        self._waiting.put((path, what, write))

    def _main(self) -> None:
        while (change := self._waiting.get()) is not None:
            path, what, write = change
            problem = ""
            try:
                write()
            except DataError as exc:
                problem = str(exc)
            except Exception as exc:  # noqa: BLE001  told, and the next one is tried
                problem = f"{path}: {type(exc).__name__}: {exc}"
            self._tell(Kept(path, what, problem))
