"""Intervals in which a part of the bench misbehaves, so that the past stays as it was."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.model.records import FloatArray

MOST = 512
"""Spells kept; the one that ended first goes first."""


@dataclass(frozen=True, slots=True)
class Spell:
    """One interval, from ``start_s`` up to but not including ``end_s`` (infinite: for good).

    :param value: what it means is its owner's business: a factor, an angle, a time.
    :param ramp_s: the value is reached evenly in so long; 0: at once.
    """

    start_s: float
    end_s: float = math.inf
    value: float = 0.0
    ramp_s: float = 0.0


class Spells:
    """All spells of one kind; they may overlap, and may lie in the future."""

    def __init__(self) -> None:
        self._all: list[Spell] = []

    def __len__(self) -> int:
        return len(self._all)

    def add(self, spell: Spell) -> None:
        """Enter one more."""
        self._all = sorted([*self._all, spell], key=lambda item: item.end_s)[-MOST:]

    def at(self, at_s: float) -> Spell | None:
        """Return the spell of a time: of several, the one that lasts longest."""
        return next((s for s in reversed(self._all) if s.start_s <= at_s < s.end_s), None)

    def within(self, start_s: float, stop_s: float) -> list[Spell]:
        """Return the spells that touch an interval."""
        return [s for s in self._all if s.start_s < stop_s and s.end_s > start_s]

    def factor(self, times_s: FloatArray) -> FloatArray | float:
        """Return the product of all values at rising times, 1 where there is no spell."""
        product: FloatArray | float = 1.0
        for spell in self._touching(times_s):
            product = product * np.where(
                _inside(spell, times_s), 1.0 + (spell.value - 1.0) * _risen(spell, times_s), 1.0
            )
        return product

    def total(self, times_s: FloatArray) -> FloatArray | float:
        """Return the sum of all values at rising times, 0 where there is no spell."""
        total: FloatArray | float = 0.0
        for spell in self._touching(times_s):
            total = total + np.where(_inside(spell, times_s), spell.value * _risen(spell, times_s), 0.0)
        return total

    def moves(self, start_s: float, stop_s: float) -> list[tuple[float, float]]:
        """Return begin and end of every change of value that touches the interval."""
        changes = []
        for spell in self.within(start_s, stop_s):
            changes += [(spell.start_s, min(spell.start_s + spell.ramp_s, spell.end_s))]
            changes += [(spell.end_s, spell.end_s)] if math.isfinite(spell.end_s) else []
        return [(begin, end) for begin, end in changes if begin < stop_s and end >= start_s]

    def _touching(self, times_s: FloatArray) -> list[Spell]:
        if not self._all or not times_s.size:
            return []
        return self.within(float(times_s[0]), math.nextafter(float(times_s[-1]), math.inf))


def _inside(spell: Spell, times_s: FloatArray) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = (times_s >= spell.start_s) & (times_s < spell.end_s)
    return inside


def _risen(spell: Spell, times_s: FloatArray) -> FloatArray | float:
    if not spell.ramp_s:
        return 1.0
    risen: FloatArray = np.clip((times_s - spell.start_s) / spell.ramp_s, 0.0, 1.0)
    return risen
