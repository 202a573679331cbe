"""The rotation mount of the half-wave plate. Its encoder does not see its own errors."""

from __future__ import annotations

import threading
from collections.abc import Callable

from labctl.model.clock import Clock
from simulators.scene.chance import Stream, generator
from simulators.scene.settings import MountSettings
from simulators.scene.track import Track


class Mount:
    """Angle of the plate, in degrees, as it is (``angle_deg``) and as the encoder believes (``encoder_deg``).

    Until homed the encoder counts from wherever the plate was at power-up.
    """

    def __init__(self, settings: MountSettings, seed: int, clock: Clock, lock: threading.RLock) -> None:
        self.settings, self._seed, self._clock, self._lock = settings, seed, clock, lock
        self.track = Track(settings.start_deg)
        self._encoder = Track(0.0)
        self._count = 0
        self._direction = 1.0
        self.referenced = False
        self.before_motion: Callable[[], None] = lambda: None

    @property
    def arrival_s(self) -> float:
        """Scene time at which the current motion ends, or the last one ended."""
        return self._encoder.end_s

    def moving(self) -> bool:
        """Return whether the plate is still on its way."""
        with self._lock:
            return self._clock.now_s() < self._encoder.end_s

    def angle_deg(self) -> float:
        """Return the true angle now."""
        with self._lock:
            return self.track.at(self._clock.now_s())

    def encoder_deg(self) -> float:
        """Return what the encoder reports now, in mid-motion too."""
        with self._lock:
            return self._encoder.at(self._clock.now_s())

    def move_to(self, angle_deg: float) -> float:
        """Start moving to an encoder angle; return when the plate will be there."""
        with self._lock:
            self.before_motion()
            now = self._clock.now_s()
            here = self._encoder.at(now)
            if angle_deg == here and not self.moving():
                return now + self.settings.overhead_s  # there already: nothing turns, no new error
            error = self._error(angle_deg - here)
            # Only what the encoder missed separates the two: an unknown start is carried along until homed.
            origin = 0.0 if self.referenced else self.settings.start_deg
            return self._go(now, angle_deg, origin + angle_deg + error)

    def home(self) -> float:
        """Start looking for the reference, clockwise; return when it will be found."""
        with self._lock:
            now = self._clock.now_s()
            true_now = self.track.at(now)
            error = self._error(-1.0)
            turn = true_now - true_now % 360.0
            self.referenced = True
            self._encoder.go(now, now, true_now - turn)
            arrival = self._go(now, 0.0, turn + error)
            if turn:
                self.track.go(arrival, arrival, error)
            return arrival

    def stop(self) -> None:
        """Stop where the plate is."""
        with self._lock:
            now = self._clock.now_s()
            for track in (self.track, self._encoder):
                if track.end_s > now:
                    track.go(now, now, track.at(now))

    def forget(self, before_s: float) -> None:
        """Drop the history that nobody can ask for any more."""
        self.track.forget(before_s)
        self._encoder.forget(before_s)

    def _go(self, now_s: float, encoder_deg: float, true_deg: float) -> float:
        distance = abs(encoder_deg - self._encoder.at(now_s))
        arrival = now_s + self.settings.overhead_s + distance / self.settings.speed_deg_s
        self._encoder.go(now_s, arrival, encoder_deg)
        self.track.go(now_s, arrival, true_deg)
        return arrival

    def _error(self, way_deg: float) -> float:
        """Return what the plate will be off by: play by the direction of approach, plus chance."""
        self._count += 1
        if way_deg:
            self._direction = 1.0 if way_deg > 0 else -1.0
        chance = float(generator(self._seed, Stream.MOUNT, self._count).standard_normal())
        return self.settings.repeatability_deg * chance - 0.5 * self.settings.backlash_deg * self._direction
