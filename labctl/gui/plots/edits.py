"""What the user may undo: leaving points out, and moving bands."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PySide6.QtGui import QUndoCommand

from labctl.data.edits import record_bands, record_edit
from labctl.model.errors import DataError
from labctl.model.pump import Bands
from labctl.runner.rundata import RunData


class ExcludeCommand(QUndoCommand):
    """Leave a point out, or take it in again.

    :param changed: called with the run, the point, and whether it is left out now.
    """

    def __init__(self, run: RunData, index: int, changed: Callable[[RunData, int, bool], None]) -> None:
        self._out = index not in run.excluded
        super().__init__(f"{'exclude' if self._out else 'include'} point {index + 1}")
        self._run, self._index, self._changed = run, index, changed

    def redo(self) -> None:
        """Do it."""
        self._set(self._out)

    def undo(self) -> None:
        """Take it back."""
        self._set(not self._out)

    def _set(self, out: bool) -> None:
        self._run.leave_out(self._index, out)
        self._changed(self._run, self._index, out)


class BandsCommand(QUndoCommand):
    """Sum over other bands."""

    def __init__(self, run: RunData, before: Bands, after: Bands, changed: Callable[[RunData], None]) -> None:
        super().__init__("move a band")
        self._run, self._before, self._after, self._changed = run, before, after, changed

    def redo(self) -> None:
        """Do it."""
        self._run.set_bands(self._after)
        self._changed(self._run)

    def undo(self) -> None:
        """Take it back."""
        self._run.set_bands(self._before)
        self._changed(self._run)


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
        """Write down that a point was excluded or included again; never waits."""
        what = f"point {point + 1} was excluded or included"
        self._put(path, what, partial(record_edit, path, point, out=out))

    def keep_bands(self, path: Path, bands: Bands) -> None:
        """Write down where the bands are now; never waits."""
        self._put(path, "the bands were changed", partial(record_bands, path, bands))

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
