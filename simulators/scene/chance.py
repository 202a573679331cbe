"""Chance that can be asked in any order: every number is a function of (seed, stream, index).

Counter-based generators (Philox, Salmon et al., SC 2011) make this cheap: the index goes into the counter.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from labctl.model.records import FloatArray

_MASK = (1 << 64) - 1
T = TypeVar("T")


class Stream(IntEnum):
    """Independent sources of chance; the numbers are part of what a seed means."""

    PHASE = 1
    PULSE = 2
    DROPOUT = 3
    LASER_SLOW = 4
    PICKOFF = 5
    MOUNT = 6
    METER = 7
    ROOM = 8
    CAMERA = 9
    CAMERA_PATTERN = 10
    TEMPERATURE = 11
    MODES = 12
    WEIGHTS = 13
    MODE_SLOW = 14
    SPOT = 15
    FILTER = 16
    KNIFE = 17
    STAGE = 18
    THERMOMETER = 19
    BENCH = 20


def generator(seed: int, stream: Stream, index: int = 0) -> np.random.Generator:
    """Return the generator that belongs to this index of this stream, always in the same state."""
    key = np.array([seed & _MASK, stream], dtype=np.uint64)
    counter = np.array([0, 0, 0, index & _MASK], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


class Chance:
    """The generators of one stream in turn: the same numbers as of :func:`generator`, made faster."""

    def __init__(self, seed: int, stream: Stream) -> None:
        self._bits = np.random.Philox(key=np.array([seed & _MASK, stream], dtype=np.uint64))
        self._generator = np.random.Generator(self._bits)
        self._start = self._bits.state

    def at(self, index: int) -> np.random.Generator:
        """Return the generator of an index; the one returned before goes on as this one."""
        self._start["state"]["counter"][:] = 0, 0, 0, index & _MASK
        self._bits.state = self._start
        return self._generator


class Blocks(Generic[T]):
    """Remembers the last ``size`` results of ``make(index)``: memory stays flat however long the run."""

    def __init__(self, make: Callable[[int], T], size: int = 48) -> None:
        self._make, self._size = make, size
        self._kept: OrderedDict[int, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> T:
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        value = self._kept[index] = self._make(index)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return value


class Wander:
    """A stationary random function of time with standard deviation ``sigma`` and a correlation time.

    A sum of sines whose frequencies are the quantiles of a Lorentzian, so its correlation falls nearly
    exponentially, as an Ornstein-Uhlenbeck process does, and yet it has no state.
    """

    def __init__(self, sigma: float, time_s: float, rng: np.random.Generator, count: int = 1) -> None:
        terms = 16
        quantile = (np.arange(terms) + rng.uniform(0.1, 0.9, (count, terms))) / terms
        self._omega = np.tan(0.5 * np.pi * np.minimum(quantile, 0.985)) / time_s
        self._phase = rng.uniform(0.0, 2 * np.pi, (count, terms))
        self._scale = sigma * np.sqrt(2.0 / terms)

    def all_at(self, at_s: float) -> FloatArray:
        """Return the values of all ``count`` functions at one time, shape ``(count,)``."""
        values: FloatArray = self._scale * np.sin(self._omega * at_s + self._phase).sum(axis=1)
        return values

    def all_over(self, times_s: FloatArray) -> FloatArray:
        """Return their values at several times, shape ``(time, count)``."""
        angles = self._omega * times_s[:, None, None] + self._phase
        values: FloatArray = self._scale * np.sin(angles).sum(axis=2)
        return values

    def at(self, at_s: float) -> float:
        """Return the value of the first function."""
        return float(self.all_at(at_s)[0]) if self._scale else 0.0


class Steps:
    """A level of mean 1 that jumps at random: light switched on and off, doors opened."""

    def __init__(self, step_rel: float, interval_s: float, seed: int) -> None:
        self._step, self._interval, self._seed = step_rel, interval_s, seed
        self._level = Blocks(self._draw, 8)
        self._origin_s = -interval_s * float(generator(seed, Stream.ROOM).uniform())

    def _draw(self, window: int) -> float:
        rng = generator(self._seed, Stream.ROOM, window + 1)
        return max(0.0, 1.0 + self._step * float(rng.standard_normal()))

    def mean(self, start_s: float, stop_s: float) -> float:
        """Return the mean level between two times."""
        if not self._step:
            return 1.0
        first = int((start_s - self._origin_s) // self._interval)
        last = int((stop_s - self._origin_s) // self._interval)
        if first == last:
            return self._level[first]
        edges = self._origin_s + self._interval * np.arange(first, last + 2)
        spans = np.diff(np.clip(edges, start_s, stop_s))
        levels = [self._level[window] for window in range(first, last + 1)]
        return float(np.dot(spans, levels) / (stop_s - start_s))


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
