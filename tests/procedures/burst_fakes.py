"""A spectrometer that keeps every shot, on the table of ``procedures_fakes``: triggered by its laser."""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass, field

import numpy as np
from procedures_fakes import RATE_HZ, FakeSpectrometer

from labctl.model.clock import Stop
from labctl.model.errors import InstrumentFault, InstrumentTimeout
from labctl.model.records import Spectrum
from labctl.model.shots import CountArray, ShotBatch


@dataclass
class FakeBurst(FakeSpectrometer):
    """Shot n comes n periods after the first of all; those in ``unseen`` are not exposed, those in ``lost``
    leave the buffer. What came while nobody fetched waits, in the light of its own moment."""

    buffer_shots: int = 50_000
    batch: int = 15
    unseen: Container[int] = ()
    lost: Container[int] = ()
    silent: bool = False
    armed: int = 0
    disarmed: int = 0
    _next: int = field(default=0, init=False)
    _count: int = field(default=0, init=False)
    _first_s: float | None = field(default=None, init=False)
    _past: list[tuple[float, float]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        account = self.table.account

        def remember() -> None:
            account()
            self._past.append((self.table.clock.now_s(), self.table.fluence()))

        self.table.account = remember  # type: ignore[method-assign]

    def arm(self, shots: int, stop: Stop | None = None) -> None:
        self.check(stop)
        self.table.events.append("arm")
        self.armed, self._began_s = shots, self.table.clock.now_s()
        self._first_s = self._began_s + 1.0 / RATE_HZ if self._first_s is None else self._first_s
        self._next = max(math.ceil((self._began_s - self._first_s) * RATE_HZ - 1e-6), 0)

    def acquire(self, stop: Stop | None = None) -> Spectrum:
        if self.armed:
            raise InstrumentFault(self.name, "keeps every shot: no single exposure meanwhile")
        return super().acquire(stop)

    def fetch(self, stop: Stop | None = None) -> ShotBatch:
        self.check(stop)
        if not self.armed or self._first_s is None:
            raise InstrumentFault(self.name, "is not armed")
        if self.silent:
            self.table.clock.sleep(1.0, stop)
            raise InstrumentTimeout(self.name, "no shot within 1 s")
        asked_s = self.table.clock.now_s()
        waiting = self._first_s + self._next / RATE_HZ <= asked_s
        frames: list[CountArray] = []
        times: list[int] = []
        counts: list[int] = []
        while len(frames) < min(self.batch, self.armed):
            shot, at_s = self._next, self._first_s + self._next / RATE_HZ
            self._next += 1
            self.table.clock.sleep(max(at_s - self.table.clock.now_s(), 0.0), stop)
            self.table.account()
            if shot in self.unseen:
                continue
            self._count += 1
            if shot in self.lost:
                continue
            self.acquired += 1
            frames.append(np.rint(self._counts(self._fluence_at(at_s))).astype(np.uint16))
            times.append(round(shot * 1e6 / RATE_HZ))
            counts.append(self._count)
        self.armed -= len(frames)
        return ShotBatch(
            np.stack(frames),
            np.array(times, np.int64),
            np.array(counts, np.int64),
            self.integration_s,
            self.table.clock.now_s(),
            -math.inf if waiting else asked_s,
        )

    def _fluence_at(self, at_s: float) -> float:
        before = [fluence for since_s, fluence in self._past[-2000:] if since_s <= at_s]
        return before[-1] if before else 0.0

    def disarm(self) -> None:
        self.check()
        self.armed, self.disarmed = 0, self.disarmed + 1
        self.table.events.append("disarm")
