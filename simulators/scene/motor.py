"""A motor with an encoder that does not see its own errors: what the mount and the stage have in common."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from labctl.model.clock import Clock
from simulators.scene.chance import Stream, generator
from simulators.scene.spells import Spell, Spells
from simulators.scene.track import Track


@dataclass(frozen=True, slots=True)
class Drive:
    """What one motor is like, in the unit of its position.

    :param stream: where the chance of its errors comes from.
    :param repeatability: standard deviation of where a motion ends; ``backlash`` the play between directions.
    """

    stream: Stream
    start: float
    speed_s: float
    overhead_s: float
    repeatability: float
    backlash: float


class Motor:
    """A position, as it is and as the encoder believes; the latter alone until homed.

    Until then the encoder counts from wherever the motor was at power-up. ``track`` is how the motor moved.
    In ``stuck`` spells it does not; in ``loose`` ones it does, and what it carries does not: ``lag`` is that.
    ``slips`` are ways by which the load has slipped. ``speed_rel`` is the part of full speed it moves with.
    """

    def __init__(self, drive: Drive, seed: int, clock: Clock, lock: threading.RLock) -> None:
        self._drive, self._seed, self._clock, self._lock = drive, seed, clock, lock
        self.speed_rel = 1.0
        self.track, self.lag = Track(drive.start), Track(0.0)
        self.stuck, self.loose, self.slips = Spells(), Spells(), Spells()
        self._encoder = Track(0.0)
        self._origin = drive.start
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

    def stop(self) -> None:
        """Stop where it is."""
        with self._lock:
            self._halt(self._clock.now_s())

    def seize(self, spell: Spell) -> None:
        """Let it be stuck for a while; one that moves when it begins stops then."""
        with self._lock:
            self.stuck.add(spell)
            if spell.start_s <= self._clock.now_s():
                self._halt(spell.start_s)

    def lose_power(self) -> None:
        """Stop, and count from here as after power-up."""
        with self._lock:
            now = self._clock.now_s()
            self._halt(now)
            self._origin = self.track.at(now)
            self._encoder.go(now, now, 0.0)
            self.referenced = False

    def forget(self, before_s: float) -> None:
        """Drop the history that nobody can ask for any more."""
        for track in (self.track, self.lag, self._encoder):
            track.forget(before_s)

    # -- for those that are one --------------------------------------------------------------------

    def _believed(self) -> float:
        with self._lock:
            return self._encoder.at(self._clock.now_s())

    def _bounded(self, true: float) -> float:
        """Return where something stops it on its way to ``true``."""
        return true

    def _move(self, goal: float) -> float:
        """Start moving to a position of the encoder; return when it will be there."""
        with self._lock:
            self.before_motion()
            now = self._clock.now_s()
            here = self._encoder.at(now)
            if goal == here and not self.moving():
                return now + self._drive.overhead_s  # there already: nothing moves, no new error
            # Only what the encoder missed separates the two: an unknown start is carried along until homed.
            true = self._origin + goal + self._error(goal - here)
            stopped = self._bounded(true)
            return self._go(now, goal + (stopped - true), stopped)

    def _go(self, now_s: float, believed: float, true: float) -> float:
        distance = abs(believed - self._encoder.at(now_s))
        arrival = now_s + self._drive.overhead_s + distance / (self._drive.speed_s * self.speed_rel)
        if self.loose.at(now_s) is not None:
            self.lag.go(now_s, arrival, self.lag.at(now_s) - (true - self.track.at(now_s)))
        self._encoder.go(now_s, arrival, believed)
        self.track.go(now_s, arrival, true)
        if seized := self.stuck.within(now_s, arrival):
            self._halt(max(now_s, min(spell.start_s for spell in seized)))
        return arrival

    def _found(self, now_s: float, shown: float) -> None:
        """Count from the reference from now on; the encoder shows where it stands for it."""
        self.referenced, self._origin = True, 0.0
        self._encoder.go(now_s, now_s, shown)

    def _halt(self, at_s: float) -> None:
        for track in (self.track, self.lag, self._encoder):
            if track.end_s > at_s:
                track.go(at_s, at_s, track.at(at_s))

    def _error(self, way: float) -> float:
        """Return what it will be off by: play by the direction of approach, plus chance."""
        self._count += 1
        if way:
            self._direction = 1.0 if way > 0 else -1.0
        chance = float(generator(self._seed, self._drive.stream, self._count).standard_normal())
        return self._drive.repeatability * chance - 0.5 * self._drive.backlash * self._direction
