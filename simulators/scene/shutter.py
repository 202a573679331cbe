"""The shutter: a blade that takes its time."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

from labctl.model.clock import Clock
from simulators.scene.motor import Track
from simulators.scene.settings import ShutterSettings
from simulators.scene.spells import Spells


class Blade:
    """One blade, closed at power-up. ``track`` is the part of the beam that passes, 0 to 1.

    In ``stuck`` spells no command moves it; the switch still tells the truth unless the spell's value is 1,
    when it tells what was commanded. ``slow`` spells add their value to the delay, and the switch knows.
    """

    def __init__(self, settings: ShutterSettings, clock: Clock, lock: threading.RLock) -> None:
        self.settings, self._clock, self._lock = settings, clock, lock
        self.track = Track(0.0)
        self.stuck, self.slow = Spells(), Spells()
        self._open = False
        self._arrival_s = self._leaves_s = -float("inf")
        self.before_motion: Callable[[], None] = lambda: None

    def command(self, open_: bool) -> float:
        """Send the blade to one end; return when it will have arrived there, if nothing is wrong."""
        with self._lock:
            now, s = self._clock.now_s(), self.settings
            if open_ == self._open:
                return max(self._arrival_s, now) if math.isfinite(self._arrival_s) else now
            self.before_motion()
            self._open = open_
            begin = self._begin_s(now + s.delay_s, now)
            if math.isfinite(begin):
                self.track.go(begin, begin + s.crossing_s, 1.0 if open_ else 0.0)
            self._arrival_s, self._leaves_s = begin + s.crossing_s + s.settle_s, begin - s.delay_s
            return now + s.delay_s + s.crossing_s + s.settle_s

    def is_open(self) -> bool:
        """Return what was commanded last."""
        with self._lock:
            return self._open

    def closed_switch(self) -> bool:
        """Return whether the blade rests at its closed end."""
        with self._lock:
            now = self._clock.now_s()
            if (stuck := self.stuck.at(now)) is not None:
                return not self._open if stuck.value else self.track.at(now) == 0.0
            return now < self._leaves_s if self._open else now >= self._arrival_s

    def _begin_s(self, healthy_s: float, now_s: float) -> float:
        """Return when the blade really starts to cross: later if slow, once released if stuck."""
        if (stuck := self.stuck.at(now_s)) is not None:
            return stuck.end_s
        slow = self.slow.at(now_s)
        return healthy_s + (slow.value if slow is not None else 0.0)
