"""Where a procedure puts what it measured. Order is the contract: nothing is shown that is not on disk."""

from __future__ import annotations

from typing import Protocol

from labctl.model.records import DarkRecord, SweepPoint
from labctl.model.run import RunStart, RunStop


class RunSink(Protocol):
    """Receives a run. Every call returns once the data is flushed, or raises ``DataError``."""

    def begin(self, start: RunStart) -> None:
        """Create the file and write everything known before the first point."""

    def dark(self, record: DarkRecord) -> None:
        """Store a dark or a blank; points refer to it by its number."""

    def append(self, point: SweepPoint) -> None:
        """Store one point: spectra first, then the scalar row, each flushed."""

    def event(self, at_s: float, text: str) -> None:
        """Store one line of the run's own log (a safety stop, a renewed dark, a pause)."""

    def end(self, stop: RunStop) -> None:
        """Write how the run ended, and its result."""
