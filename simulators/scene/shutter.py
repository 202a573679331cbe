"""The shutter: a blade that takes its time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from labctl.model.clock import Clock
from simulators.scene.settings import ShutterSettings
from simulators.scene.track import Track


class Blade:
    """One blade, closed at power-up. ``track`` is the part of the beam that passes, 0 to 1."""

    def __init__(self, settings: ShutterSettings, clock: Clock, lock: threading.RLock) -> None:
        self.settings, self._clock, self._lock = settings, clock, lock
        self.track = Track(0.0)
        self._open = False
        self._arrival_s = -float("inf")
        self.before_motion: Callable[[], None] = lambda: None

    def command(self, open_: bool) -> float:
        """Send the blade to one end; return when it has arrived there."""
        with self._lock:
            now, s = self._clock.now_s(), self.settings
            if open_ == self._open:
                return max(self._arrival_s, now)
            self.before_motion()
            self._open = open_
            begin = now + s.delay_s
            end = begin + s.crossing_s
            self.track.go(begin, end, 1.0 if open_ else 0.0)
            self._arrival_s = end + s.settle_s
            return self._arrival_s

    def is_open(self) -> bool:
        """Return what was commanded last."""
        with self._lock:
            return self._open

    def closed_switch(self) -> bool:
        """Return whether the blade rests at its closed end."""
        with self._lock:
            return not self._open and self._clock.now_s() >= self._arrival_s
