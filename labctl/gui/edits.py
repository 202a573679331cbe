"""What the user may undo: leaving points out, and moving bands."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtGui import QUndoCommand

from labctl.gui.rundata import RunData
from labctl.model.pump import Bands


class ExcludeCommand(QUndoCommand):
    """Leave a point out, or take it in again.

    :param changed: called with the run, the point, and whether it is left out now.
    """

    def __init__(self, run: RunData, index: int, changed: Callable[[RunData, int, bool], None]) -> None:
        self._out = index not in run.excluded
        super().__init__(f"{'leave out' if self._out else 'take in'} point {index + 1}")
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
