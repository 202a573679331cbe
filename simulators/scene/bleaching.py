"""How a film fades: the part of its emitters still at work, by what it has been given.

The unit of dose is what bleaches by 1/e where one exponential does it: ``bleach_pulses`` at threshold; a
pulse counts with its fluence squared, as two photons make one excitation.

recovering
    The default: one exponential, of which a part comes back with time.
single, double, stretched
    exp(-x); a exp(-r x) + (1 - a) exp(-x); exp(-x^beta). Nothing comes back.
"""

from __future__ import annotations

import math

import numpy as np

from simulators.scene.settings import SampleSettings

MOST_KEPT = 20_000
"""Times remembered of one spot."""


class Bleaching:
    """Keeps the dose of one spot, and remembers it."""

    def __init__(self, settings: SampleSettings) -> None:
        self.settings = settings
        self._lasting = self._passing = 0.0
        self._times, self._alive = [-1e30], [1.0]

    @property
    def alive(self) -> float:
        """Part of the emitters not bleached now."""
        if self.settings.bleach_law == "recovering":
            return math.exp(-self._lasting - self._passing)
        return surviving(self.settings, self._lasting)

    def give(self, span_s: float, rate: float) -> None:
        """Let time pass, with a dose of ``rate`` per second."""
        s = self.settings
        if s.bleach_law != "recovering":
            self._lasting += rate * span_s
            return
        fade = math.exp(-span_s / s.bleach_recovery_s)
        self._lasting += (1.0 - s.bleach_recovers) * rate * span_s
        self._passing = self._passing * fade + s.bleach_recovers * rate * s.bleach_recovery_s * (1.0 - fade)

    def note(self, at_s: float) -> None:
        """Remember what is alive at a time; every other memory goes when there are too many."""
        self._times.append(at_s)
        self._alive.append(self.alive)
        if len(self._times) > MOST_KEPT:
            del self._times[1:-1:2], self._alive[1:-1:2]

    def alive_at(self, at_s: float) -> float:
        """Return what was alive at a past time, between the two times noted round it."""
        return float(np.interp(at_s, self._times, self._alive))

    def alive_after(self, span_s: float, rate: float) -> float:
        """Return what an even dose of ``rate`` per second leaves of a fresh spot."""
        fresh = Bleaching(self.settings)
        fresh.give(span_s, rate)
        return fresh.alive


def surviving(s: SampleSettings, dose: float) -> float:
    """Return the part of the emitters that a dose leaves, by a law without recovery."""
    if s.bleach_law == "double":
        return s.bleach_fast * math.exp(-s.bleach_ratio * dose) + (1.0 - s.bleach_fast) * math.exp(-dose)
    if s.bleach_law == "stretched":
        return math.exp(-(dose**s.bleach_beta))
    return math.exp(-dose)
