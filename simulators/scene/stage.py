"""The motorised linear stage that may carry the blade."""

from __future__ import annotations

import threading

import numpy as np

from labctl.model.clock import Clock
from labctl.model.records import FloatArray
from simulators.scene.chance import Stream
from simulators.scene.motor import Drive, Motor
from simulators.scene.settings import StageSettings


class LinearStage(Motor):
    """Position in mm, as it is and as the encoder believes. The carriage is the load; ``slips`` are in um."""

    def __init__(self, settings: StageSettings, seed: int, clock: Clock, lock: threading.RLock) -> None:
        s = self.settings = settings
        drive = Drive(
            Stream.STAGE,
            s.start_mm,
            s.speed_mm_s,
            s.overhead_s,
            1e-3 * s.repeatability_um,
            1e-3 * s.backlash_um,
        )
        super().__init__(drive, seed, clock, lock)

    def position_um(self) -> float:
        """Return the true position now."""
        with self._lock:
            return float(np.asarray(self.over_um(np.array([self._clock.now_s()]))).item())

    def over_um(self, times_s: FloatArray) -> FloatArray | float:
        """Return the true position at rising times: one number if it rested all the while."""
        return (self.track.over(times_s) + self.lag.over(times_s)) * 1e3 + self.slips.total(times_s)

    def moves(self, start_s: float, stop_s: float) -> list[tuple[float, float]]:
        """Return begin and end of every motion of the carriage that touches the interval."""
        parts = (self.track, self.lag, self.slips)
        return [move for part in parts for move in part.moves(start_s, stop_s)]

    def encoder_mm(self) -> float:
        """Return what the encoder reports now, in mid-motion too."""
        return self._believed()

    def move_to(self, encoder_mm: float, /) -> float:
        """Start moving to an encoder position; return when it will be there. The ends of the rail stop it."""
        return self._move(encoder_mm)

    def _bounded(self, true: float) -> float:
        margin = self.settings.margin_mm
        return min(max(true, -margin), self.settings.travel_mm + margin)

    def home(self) -> float:
        """Start looking for the reference at the low end; return when it will be found."""
        with self._lock:
            self.before_motion()
            now = self._clock.now_s()
            if self.stuck.at(now) is not None:
                return self._go(now, 0.0, 0.0)  # never gets there, and keeps the reference it had
            self._found(now, self.track.at(now))
            return self._go(now, 0.0, self._error(-1.0))
