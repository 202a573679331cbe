"""The motorised linear stage that may carry the blade. Its encoder does not see its own errors."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from labctl.model.clock import Clock
from labctl.model.records import FloatArray
from simulators.scene.chance import Stream, generator
from simulators.scene.settings import StageSettings
from simulators.scene.spells import Spell, Spells
from simulators.scene.track import Track


class LinearStage:
    """Position in mm, as it is and as the encoder believes; the latter alone until homed.

    In ``stuck`` spells the carriage does not move; in ``loose`` ones the encoder does and the carriage does
    not. ``slips`` are ways in um by which the carriage has slipped on its rail. ``track`` is where the motor
    would have it. ``speed_rel`` is the part of its full speed that its next motions have.
    """

    def __init__(self, settings: StageSettings, seed: int, clock: Clock, lock: threading.RLock) -> None:
        self.settings, self._seed, self._clock, self._lock = settings, seed, clock, lock
        self.speed_rel = 1.0
        self.track, self.lag = Track(settings.start_mm), Track(0.0)
        self.stuck, self.loose, self.slips = Spells(), Spells(), Spells()
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
            if self.stuck.at(now) is not None:
                return self._go(now, 0.0, 0.0)  # never gets there, and keeps the reference it had
            self.referenced, self._origin_mm = True, 0.0
            self._encoder.go(now, now, self.track.at(now))
            return self._go(now, 0.0, self._error_mm(-1.0))

    def stop(self) -> None:
        """Stop where it is."""
        with self._lock:
            self._halt(self._clock.now_s())

    def seize(self, spell: Spell) -> None:
        """Let the carriage be stuck for a while; one that slides when it begins stops then."""
        with self._lock:
            self.stuck.add(spell)
            if spell.start_s <= self._clock.now_s():
                self._halt(spell.start_s)

    def lose_power(self) -> None:
        """Stop, and count from here as after power-up."""
        with self._lock:
            now = self._clock.now_s()
            self._halt(now)
            self._origin_mm = self.track.at(now)
            self._encoder.go(now, now, 0.0)
            self.referenced = False

    def forget(self, before_s: float) -> None:
        """Drop the history that nobody can ask for any more."""
        self.track.forget(before_s)
        self.lag.forget(before_s)
        self._encoder.forget(before_s)

    def _go(self, now_s: float, encoder_mm: float, true_mm: float) -> float:
        s = self.settings
        distance = abs(encoder_mm - self._encoder.at(now_s))
        arrival = now_s + s.overhead_s + distance / (s.speed_mm_s * self.speed_rel)
        if self.loose.at(now_s) is not None:
            self.lag.go(now_s, arrival, self.lag.at(now_s) - (true_mm - self.track.at(now_s)))
        self._encoder.go(now_s, arrival, encoder_mm)
        self.track.go(now_s, arrival, true_mm)
        if seized := self.stuck.within(now_s, arrival):
            self._halt(max(now_s, min(spell.start_s for spell in seized)))
        return arrival

    def _halt(self, at_s: float) -> None:
        for track in (self.track, self.lag, self._encoder):
            if track.end_s > at_s:
                track.go(at_s, at_s, track.at(at_s))

    def _error_mm(self, way_mm: float) -> float:
        """Return what it will be off by: play by the direction of approach, plus chance."""
        self._count += 1
        if way_mm:
            self._direction = 1.0 if way_mm > 0 else -1.0
        chance = float(generator(self._seed, Stream.STAGE, self._count).standard_normal())
        s = self.settings
        return 1e-3 * (s.repeatability_um * chance - 0.5 * s.backlash_um * self._direction)
