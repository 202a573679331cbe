"""A sink between procedure and file that remembers what the end of a run needs, and no more.

Scalars of every point stay (the fit wants them), arrays only of the few brightest points that can give a Q,
so that memory does not grow with the spectra of a long run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from labctl.model.records import DarkRecord, RunStart, RunStop, SweepPoint
from labctl.model.sink import RunSink
from labctl.runner.quality import CANDIDATES, is_candidate

_NOTHING = np.empty((0, 0))


@dataclass(frozen=True, slots=True)
class Kept:
    """What the end of a run is concluded from: every point without its arrays, the brightest with them."""

    points: Sequence[SweepPoint]
    brightest: Sequence[SweepPoint]
    darks: Mapping[int, DarkRecord]


class Keeper:
    """Passes everything on to ``sink`` first; what is kept here is therefore on disk."""

    def __init__(self, sink: RunSink) -> None:
        self._sink = sink
        self.points: list[SweepPoint] = []
        self._latest: SweepPoint | None = None
        self.brightest: list[SweepPoint] = []
        self.darks: dict[int, DarkRecord] = {}
        self.began = False

    @property
    def latest(self) -> SweepPoint:
        """The last point; with its arrays if it was measured just now."""
        return self.points[-1] if self._latest is None else self._latest

    def kept(self) -> Kept:
        """Return what was kept so far."""
        return Kept(tuple(self.points), tuple(self.brightest), dict(self.darks))

    def begin(self, start: RunStart) -> None:
        """Create the file."""
        self._sink.begin(start)
        self.began = True

    def dark(self, record: DarkRecord) -> None:
        """Store a dark, and keep it while a kept point refers to it."""
        self._sink.dark(record)
        used = {p.dark_number for p in self.brightest}
        self.darks = {n: d for n, d in self.darks.items() if n in used or n > record.number - 8}
        self.darks[record.number] = record

    def append(self, point: SweepPoint) -> None:
        """Store a point."""
        self._sink.append(point)
        self._latest = point
        self.points.append(
            dataclasses.replace(point, frames=_NOTHING, spectrum=_NOTHING[0:0].ravel(), spikes=())
        )
        if is_candidate(point):
            best = sorted([*self.brightest, point], key=lambda p: p.fluence_uj_cm2, reverse=True)
            self.brightest = best[:CANDIDATES]

    def event(self, at_s: float, text: str) -> None:
        """Store one line of the run's log."""
        self._sink.event(at_s, text)

    def end(self, stop: RunStop) -> None:
        """Write how the run ended."""
        self._sink.end(stop)
