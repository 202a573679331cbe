"""The rotation mount of the half-wave plate. Its encoder does not see its own errors."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from labctl.model.clock import Clock
from labctl.model.records import FloatArray
from simulators.scene.chance import Stream, generator
from simulators.scene.settings import MountSettings
from simulators.scene.spells import Spell, Spells
from simulators.scene.track import Track


class Mount:
    """Angle of the plate, in degrees, as it is (``angle_deg``) and as the encoder believes (``encoder_deg``).

    Until homed the encoder counts from wherever the plate was at power-up. ``track`` is how the rotor turned.
    In ``stuck`` spells it does not; in ``loose`` ones it does, and the plate in it does not. ``slips`` are
    angles by which the plate has turned in the rotor. ``speed_rel`` is the part of full speed it turns with.
    """

    def __init__(self, settings: MountSettings, seed: int, clock: Clock, lock: threading.RLock) -> None:
        self.settings, self._seed, self._clock, self._lock = settings, seed, clock, lock
        self.speed_rel = 1.0
        self.track = Track(settings.start_deg)
        self.lag = Track(0.0)
        self.stuck, self.loose, self.slips = Spells(), Spells(), Spells()
        self._encoder = Track(0.0)
        self._origin_deg = settings.start_deg
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
        """Return the true angle of the plate now."""
        with self._lock:
            return float(np.asarray(self.plate_over(np.array([self._clock.now_s()]))).item())

    def plate_over(self, times_s: FloatArray) -> FloatArray | float:
        """Return the true angle of the plate at rising times: one number if it rested all the while."""
        return self.track.over(times_s) + self.lag.over(times_s) + self.slips.total(times_s)

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
            return self._go(now, angle_deg, self._origin_deg + angle_deg + error)

    def home(self) -> float:
        """Start looking for the reference, clockwise; return when it will be found."""
        with self._lock:
            now = self._clock.now_s()
            if self.stuck.at(now) is not None:
                return self._go(now, 0.0, 0.0)  # never gets there, and keeps the reference it had
            true_now = self.track.at(now)
            error = self._error(-1.0)
            turn = true_now - true_now % 360.0
            self.referenced, self._origin_deg = True, 0.0
            self._encoder.go(now, now, true_now - turn)
            arrival = self._go(now, 0.0, turn + error)
            if turn and not self.stuck.within(now, arrival):
                self.track.go(arrival, arrival, error)
            return arrival

    def stop(self) -> None:
        """Stop where the plate is."""
        with self._lock:
            self._halt(self._clock.now_s())

    def seize(self, spell: Spell) -> None:
        """Let the rotor be stuck for a while; one that turns when it begins stops then."""
        with self._lock:
            self.stuck.add(spell)
            if spell.start_s <= self._clock.now_s():
                self._halt(spell.start_s)

    def lose_power(self) -> None:
        """Stop, and count from here as after power-up."""
        with self._lock:
            now = self._clock.now_s()
            self._halt(now)
            self._origin_deg = self.track.at(now)
            self._encoder.go(now, now, 0.0)
            self.referenced = False

    def forget(self, before_s: float) -> None:
        """Drop the history that nobody can ask for any more."""
        self.track.forget(before_s)
        self.lag.forget(before_s)
        self._encoder.forget(before_s)

    def _go(self, now_s: float, encoder_deg: float, true_deg: float) -> float:
        distance = abs(encoder_deg - self._encoder.at(now_s))
        arrival = now_s + self.settings.overhead_s + distance / (self.settings.speed_deg_s * self.speed_rel)
        if self.loose.at(now_s) is not None:
            self.lag.go(now_s, arrival, self.lag.at(now_s) - (true_deg - self.track.at(now_s)))
        self._encoder.go(now_s, arrival, encoder_deg)
        self.track.go(now_s, arrival, true_deg)
        if seized := self.stuck.within(now_s, arrival):
            self._halt(max(now_s, min(spell.start_s for spell in seized)))
        return arrival

    def _halt(self, at_s: float) -> None:
        for track in (self.track, self.lag, self._encoder):
            if track.end_s > at_s:
                track.go(at_s, at_s, track.at(at_s))

    def _error(self, way_deg: float) -> float:
        """Return what the plate will be off by: play by the direction of approach, plus chance."""
        self._count += 1
        if way_deg:
            self._direction = 1.0 if way_deg > 0 else -1.0
        chance = float(generator(self._seed, Stream.MOUNT, self._count).standard_normal())
        return self.settings.repeatability_deg * chance - 0.5 * self.settings.backlash_deg * self._direction
