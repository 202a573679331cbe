"""A spectrometer that keeps every shot, on the table of ``procedures_fakes``: triggered by its laser."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from procedures_fakes import RATE_HZ, FakeSpectrometer

from labctl.model.clock import Stop
from labctl.model.errors import InstrumentFault, InstrumentTimeout
from labctl.model.shots import CountArray, ShotBatch


@dataclass
class FakeBurst(FakeSpectrometer):
    """Shot n comes at n periods; those in ``unseen`` are not exposed, those in ``lost`` leave the buffer."""

    buffer_shots: int = 50_000
    batch: int = 15
    unseen: Collection[int] = ()
    lost: Collection[int] = ()
    silent: bool = False
    armed: int = 0
    disarmed: int = 0
    _next: int = field(default=0, init=False)
    _count: int = field(default=0, init=False)

    def arm(self, shots: int, stop: Stop | None = None) -> None:
        self.check(stop)
        self.table.events.append("arm")
        self.armed, self._began_s = shots, self.table.clock.now_s()

    def fetch(self, stop: Stop | None = None) -> ShotBatch:
        self.check(stop)
        if not self.armed:
            raise InstrumentFault(self.name, "is not armed")
        if self.silent:
            self.table.clock.sleep(1.0, stop)
            raise InstrumentTimeout(self.name, "no shot within 1 s")
        asked_s = self.table.clock.now_s()
        frames: list[CountArray] = []
        times: list[int] = []
        counts: list[int] = []
        while len(frames) < min(self.batch, self.armed):
            shot = self._next
            self._next += 1
            self.table.clock.sleep(1.0 / RATE_HZ, stop)
            self.table.account()
            if shot in self.unseen:
                continue
            self._count += 1
            if shot in self.lost:
                continue
            frames.append(np.rint(self._counts()).astype(np.uint16))
            times.append(round(shot * 1e6 / RATE_HZ))
            counts.append(self._count)
        self.armed -= len(frames)
        return ShotBatch(
            np.stack(frames),
            np.array(times, np.int64),
            np.array(counts, np.int64),
            self.integration_s,
            self.table.clock.now_s(),
            asked_s,
        )

    def disarm(self) -> None:
        self.check()
        self.armed, self.disarmed = 0, self.disarmed + 1
        self.table.events.append("disarm")
