"""A motor with an encoder that does not see its own errors: what the mount and the stage have in common."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from labctl.model.clock import Clock
from labctl.model.records import FloatArray
from simulators.scene.chance import Spell, Spells, Stream, generator
from simulators.scene.settings import MountSettings, StageSettings


class Track:
    """A quantity that rests or moves evenly; constant before its first and after its last knot.

    :param value: where it rests since ever.
    """

    def __init__(self, value: float) -> None:
        self._times, self._values = [-np.inf], [value]
        self._arrays = (np.array([-1e30]), np.array([value]))

    def __len__(self) -> int:
        return len(self._times)

    @property
    def end_s(self) -> float:
        """Time of the last knot: it rests from here on."""
        return self._times[-1]

    def go(self, start_s: float, end_s: float, value: float) -> None:
        """Move evenly from ``start_s`` to ``end_s``. What was planned after the start is dropped."""
        here = self.at(start_s)
        while len(self._times) > 1 and self._times[-1] > start_s:
            self._times.pop()
            self._values.pop()
        self._times += [start_s, max(end_s, start_s)]
        self._values += [here, value]
        self._arrays = (np.maximum(self._times, -1e30), np.array(self._values))

    def at(self, at_s: float) -> float:
        """Return the value at one time."""
        if at_s >= self._times[-1]:
            return self._values[-1]
        return float(np.interp(at_s, *self._arrays))

    def over(self, times_s: FloatArray) -> FloatArray | float:
        """Return the values at rising times: one number if it rested all the while."""
        if times_s.size == 0 or times_s[0] >= self._times[-1]:
            return self._values[-1]
        first, last = np.searchsorted(self._arrays[0], (times_s[0], times_s[-1]))
        around = self._values[max(first - 1, 0) : last + 1]
        if min(around) == max(around):
            return around[0]
        values: FloatArray = np.interp(times_s, *self._arrays)
        return values

    def moves(self, start_s: float, stop_s: float) -> list[tuple[float, float]]:
        """Return begin and end of every motion that touches the interval."""
        if start_s >= self._times[-1]:
            return []
        pairs = zip(self._times, self._times[1:], self._values, self._values[1:], strict=False)
        return [(a, b) for a, b, v, w in pairs if b > start_s and a < stop_s and v != w]

    def forget(self, before_s: float) -> None:
        """Drop knots that no question about times after ``before_s`` needs."""
        keep = max(int(np.searchsorted(self._arrays[0], before_s, side="right")) - 1, 0)
        if keep:
            self._times, self._values = self._times[keep:], self._values[keep:]
            self._arrays = (np.maximum(self._times, -1e30), np.array(self._values))


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


class Mount(Motor):
    """Angle of the plate, in degrees, as it is (``angle_deg``) and as the encoder believes (``encoder_deg``).

    The rotor is the motor, the plate in it the load.
    """

    def __init__(self, settings: MountSettings, seed: int, clock: Clock, lock: threading.RLock) -> None:
        s = self.settings = settings
        drive = Drive(
            Stream.MOUNT, s.start_deg, s.speed_deg_s, s.overhead_s, s.repeatability_deg, s.backlash_deg
        )
        super().__init__(drive, seed, clock, lock)

    def angle_deg(self) -> float:
        """Return the true angle of the plate now."""
        with self._lock:
            return float(np.asarray(self.plate_over(np.array([self._clock.now_s()]))).item())

    def plate_over(self, times_s: FloatArray) -> FloatArray | float:
        """Return the true angle of the plate at rising times: one number if it rested all the while."""
        return self.track.over(times_s) + self.lag.over(times_s) + self.slips.total(times_s)

    def encoder_deg(self) -> float:
        """Return what the encoder reports now, in mid-motion too."""
        return self._believed()

    def move_to(self, angle_deg: float) -> float:
        """Start moving to an encoder angle; return when the plate will be there."""
        return self._move(angle_deg)

    def home(self) -> float:
        """Start looking for the reference, clockwise; return when it will be found."""
        with self._lock:
            now = self._clock.now_s()
            if self.stuck.at(now) is not None:
                return self._go(now, 0.0, 0.0)  # never gets there, and keeps the reference it had
            true_now = self.track.at(now)
            error = self._error(-1.0)
            turn = true_now - true_now % 360.0
            self._found(now, true_now - turn)
            arrival = self._go(now, 0.0, turn + error)
            if turn and not self.stuck.within(now, arrival):
                self.track.go(arrival, arrival, error)
            return arrival


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
