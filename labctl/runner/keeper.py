"""A sink between procedure and file that remembers the points' scalars, and no more.

What is fitted is read from the file, so that memory does not grow with the spectra of a long run.
"""

from __future__ import annotations

from labctl.model.records import DarkRecord, SweepPoint
from labctl.model.roles import RunSink
from labctl.model.run import RunStart, RunStop, without_arrays


class Keeper:
    """Passes everything on to ``sink`` first; what is kept here is therefore on disk."""

    def __init__(self, sink: RunSink) -> None:
        self._sink = sink
        self.points: list[SweepPoint] = []
        self._latest: SweepPoint | None = None
        self.began = False

    @property
    def latest(self) -> SweepPoint:
        """The last point; with its arrays if it was measured just now."""
        return self.points[-1] if self._latest is None else self._latest

    def begin(self, start: RunStart) -> None:
        """Create the file."""
        self._sink.begin(start)
        self.began = True

    def dark(self, record: DarkRecord) -> None:
        """Store a dark."""
        self._sink.dark(record)

    def append(self, point: SweepPoint) -> None:
        """Store a point."""
        self._sink.append(point)
        self._latest = point
        self.points.append(without_arrays(point))

    def event(self, at_s: float, text: str) -> None:
        """Store one line of the run's log."""
        self._sink.event(at_s, text)

    def end(self, stop: RunStop) -> None:
        """Write how the run ended."""
        self._sink.end(stop)
