"""The motorised linear stage that may carry the blade. Its encoder does not see its own errors."""

from __future__ import annotations

import threading
from collections.abc import Callable

from labctl.model.clock import Clock
from labctl.model.records import FloatArray
from simulators.scene.chance import Stream, generator
from simulators.scene.settings import StageSettings
from simulators.scene.track import Track


class LinearStage:
    """Position in mm, as it is (``track``) and as the encoder believes; the latter alone until homed.

    ``speed_rel`` is the part of its full speed that its next motions have.
    """

    def __init__(self, settings: StageSettings, seed: int, clock: Clock, lock: threading.RLock) -> None:
        self.settings, self._seed, self._clock, self._lock = settings, seed, clock, lock
        self.speed_rel = 1.0
        self.track = Track(settings.start_mm)
        self._encoder = Track(0.0)
        self._origin_mm = settings.start_mm
        self._count = 0
        self._direction = 1.0
        self.referenced = False
        self.before_motion: Callable[[], None] = lambda: None

    @property
    def arrival_s(self) -> float:
        """Scene time at which the current motion ends, or the last one ended."""
        return self._encoder.end_s

    def moving(self) -> bool:
        """Return whether it is still on its way."""
        with self._lock:
            return self._clock.now_s() < self._encoder.end_s

    def position_um(self) -> float:
        """Return the true position now."""
        with self._lock:
            return 1e3 * self.track.at(self._clock.now_s())

    def over_um(self, times_s: FloatArray) -> FloatArray | float:
        """Return the true position at rising times: one number if it rested all the while."""
        return self.track.over(times_s) * 1e3

    def encoder_mm(self) -> float:
        """Return what the encoder reports now, in mid-motion too."""
        with self._lock:
            return self._encoder.at(self._clock.now_s())

    def move_to(self, encoder_mm: float, /) -> float:
        """Start moving to an encoder position; return when it will be there. The ends of the rail stop it."""
        with self._lock:
            self.before_motion()
            now, s = self._clock.now_s(), self.settings
            here = self._encoder.at(now)
            if encoder_mm == here and not self.moving():
                return now + s.overhead_s
            true = self._origin_mm + encoder_mm + self._error_mm(encoder_mm - here)
            stopped = min(max(true, -s.margin_mm), s.travel_mm + s.margin_mm)
            return self._go(now, encoder_mm + stopped - true, stopped)

    def home(self) -> float:
        """Start looking for the reference at the low end; return when it will be found."""
        with self._lock:
            self.before_motion()
            now = self._clock.now_s()
            self.referenced, self._origin_mm = True, 0.0
            self._encoder.go(now, now, self.track.at(now))
            return self._go(now, 0.0, self._error_mm(-1.0))

    def stop(self) -> None:
        """Stop where it is."""
        with self._lock:
            now = self._clock.now_s()
            for track in (self.track, self._encoder):
                if track.end_s > now:
                    track.go(now, now, track.at(now))

    def forget(self, before_s: float) -> None:
        """Drop the history that nobody can ask for any more."""
        self.track.forget(before_s)
        self._encoder.forget(before_s)

    def _go(self, now_s: float, encoder_mm: float, true_mm: float) -> float:
        s = self.settings
        distance = abs(encoder_mm - self._encoder.at(now_s))
        arrival = now_s + s.overhead_s + distance / (s.speed_mm_s * self.speed_rel)
        self._encoder.go(now_s, arrival, encoder_mm)
        self.track.go(now_s, arrival, true_mm)
        return arrival

    def _error_mm(self, way_mm: float) -> float:
        """Return what it will be off by: play by the direction of approach, plus chance."""
        self._count += 1
        if way_mm:
            self._direction = 1.0 if way_mm > 0 else -1.0
        chance = float(generator(self._seed, Stream.STAGE, self._count).standard_normal())
        s = self.settings
        return 1e-3 * (s.repeatability_um * chance - 0.5 * s.backlash_um * self._direction)
