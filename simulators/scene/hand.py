"""What hands do on the table: the sensor's place, a blade, filters, lamps, the sample, a card in the beam.

Nothing of it is instantaneous on a bench; here it is, at the moment it is asked for, and the past stays as
it was. The blade stands in the sample plane, before the head and the film; it lets pass what lies below its
position, so that the power behind it grows with the position.
"""

from __future__ import annotations

import math
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from labctl.model.clock import Clock
from labctl.model.records import FloatArray
from simulators.scene.chance import Stream, generator
from simulators.scene.lamps import LAMPS
from simulators.scene.settings import HandSettings

Value = str | float | bool | None
Axis = Literal["x", "y"]

MICROMETER_UM = (0.0, 25_000.0)
"""Travel of the micrometer that carries the blade where no stage does."""
LONGEST_NAME = 40


class HandError(ValueError):
    """What was asked for cannot be done; the text says why."""


@dataclass(frozen=True, slots=True)
class Placed:
    """What stands where, until somebody moves it.

    :param meter: where the sensor stands; "" for nowhere in the beam.
    :param axis: along which the blade moves, None without a blade; ``knife_um`` is where its edge is, None
        while the motorised stage carries it.
    :param passing: true transmission of the filters before the sensor.
    """

    meter: Literal["pick-off", "sample", ""] = "pick-off"
    axis: Axis | None = None
    knife_um: float | None = None
    filter: str = ""
    passing: float = 1.0
    lamp: str = ""
    sample: bool = True
    blocked: bool = False

    @property
    def plain(self) -> bool:
        """Whether the film stands in the beam and no blade before it."""
        return self.sample and self.axis is None


class Hand:
    """A pair of hands: it does what a :class:`labctl.model.hands.Request` asks for."""

    def __init__(self, settings: HandSettings, seed: int, clock: Clock, lock: threading.RLock) -> None:
        self.settings, self._seed, self._clock, self._lock = settings, seed, clock, lock
        self.has_stage = False
        self.before_motion: Callable[[], None] = lambda: None
        self._count = 0
        self._since = [-math.inf]
        self._placed = [Placed()]

    def do(self, action: str, values: Mapping[str, Value]) -> float | None:
        """Do one thing now.

        :param action: "meter", "knife", "filter", "lamp", "sample", "beam" or "confirm".
        :returns: the micrometer's reading, um, for a blade moved by hand; else None.
        :raises HandError: there is no such thing, or it cannot be there.
        """
        actions: dict[str, Callable[[Mapping[str, Value]], float | None]] = {
            "meter": self._meter, "knife": self._knife, "filter": self._filter, "lamp": self._lamp,
            "sample": self._sample, "beam": self._beam, "confirm": lambda _: None,
        }  # fmt: skip
        if action not in actions:
            raise HandError(f"no hand can do {action[:LONGEST_NAME]!r}; there are {', '.join(actions)}")
        with self._lock:
            return actions[action](values)

    # -- what the rest of the scene asks -----------------------------------------------------------

    @property
    def since_s(self) -> float:
        """Time since when nothing was moved."""
        return self._since[-1]

    @property
    def now(self) -> Placed:
        """What stands where now."""
        return self._placed[-1]

    def at(self, at_s: float) -> Placed:
        """Return what stood where at a time."""
        return self._placed[max(int(np.searchsorted(self._since, at_s, side="right")) - 1, 0)]

    def between(self, start_s: float, stop_s: float) -> Iterator[tuple[float, float, Placed]]:
        """Yield the parts of an interval in which nothing was moved: begin, end, what stood where."""
        ends = [*self._since[1:], math.inf]
        for begin, end, placed in zip(self._since, ends, self._placed, strict=True):
            if begin < stop_s and end > start_s:
                yield max(begin, start_s), min(end, stop_s), placed

    def over(self, times_s: FloatArray) -> Iterator[tuple[slice, Placed]]:
        """Yield which of some rising times belong to what stood where; nothing for no times."""
        if not times_s.size:
            return
        if times_s[0] >= self._since[-1]:
            yield slice(0, times_s.size), self._placed[-1]
            return
        edges = [0, *np.searchsorted(times_s, self._since[1:]).tolist(), times_s.size]
        for first, last, placed in zip(edges, edges[1:], self._placed, strict=False):
            if last > first:
                yield slice(first, last), placed

    def moves(self, start_s: float, stop_s: float) -> list[tuple[float, float]]:
        """Return the moments at which something was moved, as intervals without length."""
        return [(at, at) for at in self._since if start_s < at < stop_s]

    def forget(self, before_s: float) -> None:
        """Drop what stood where before that time."""
        keep = max(int(np.searchsorted(self._since, before_s, side="right")) - 1, 0)
        self._since, self._placed = self._since[keep:], self._placed[keep:]

    def transmission(self, name: str, nominal: float) -> float:
        """Return what a filter truly transmits: not what is written on it."""
        if not name or nominal >= 1.0:
            return nominal
        rng = generator(self._seed, Stream.FILTER, zlib.crc32(name.encode("utf-8", "backslashreplace")))
        off = 1.0 + self.settings.filter_rel * float(np.clip(rng.standard_normal(), -2.5, 2.5))
        return min(nominal * off, 1.0)

    # -- the actions -------------------------------------------------------------------------------

    def _place(self, **changes: object) -> None:
        self.before_motion()
        now_s = self._clock.now_s()
        placed = replace(self._placed[-1], **changes)  # type: ignore[arg-type]
        if now_s <= self._since[-1]:
            self._placed[-1] = placed
        else:
            self._since.append(now_s)
            self._placed.append(placed)

    def _meter(self, values: Mapping[str, Value]) -> None:
        place = values.get("place")
        if place not in ("pick-off", "sample", ""):
            raise HandError('place: "pick-off", "sample" or "" (out of the beam)')
        self._place(meter=place)

    def _knife(self, values: Mapping[str, Value]) -> float | None:
        axis = values.get("axis")
        if "position_um" not in values:
            if axis not in ("x", "y"):
                raise HandError('axis: "x" or "y"')
            if not self.has_stage:
                raise HandError("there is no motorised stage to carry the blade: give position_um")
            self._place(axis=axis, knife_um=None)
            return None
        if values["position_um"] is None:
            self._place(axis=None, knife_um=None)
            return None
        position = _number(values, "position_um", *MICROMETER_UM)
        if axis not in ("x", "y"):
            raise HandError('axis: "x" or "y"')
        self._count += 1
        rng = generator(self._seed, Stream.KNIFE, self._count)
        off = self.settings.knife_sigma_um * float(rng.standard_normal())
        self._place(axis=axis, knife_um=position + off)
        return position

    def _filter(self, values: Mapping[str, Value]) -> None:
        name = _name(values)
        nominal = _number(values, "transmission", 0.0, 1.0, 1.0) if name else 1.0
        self._place(filter=name, passing=self.transmission(name, nominal))

    def _lamp(self, values: Mapping[str, Value]) -> None:
        name = _name(values)
        if name and name not in LAMPS:
            raise HandError(f'name: {", ".join(LAMPS)} or "" for none')
        self._place(lamp=name)

    def _sample(self, values: Mapping[str, Value]) -> None:
        self._place(sample=_flag(values, "in"))

    def _beam(self, values: Mapping[str, Value]) -> None:
        self._place(blocked=_flag(values, "blocked"))


def _name(values: Mapping[str, Value]) -> str:
    name = values.get("name")
    if not isinstance(name, str) or len(name) > LONGEST_NAME:
        raise HandError(f"name: a word of at most {LONGEST_NAME} characters")
    return name


def _flag(values: Mapping[str, Value], key: str) -> bool:
    value = values.get(key)
    if not isinstance(value, bool):
        raise HandError(f"{key}: true or false")
    return value


def _number(
    values: Mapping[str, Value], key: str, low: float, high: float, default: float | None = None
) -> float:
    value = values.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise HandError(f"{key}: a number from {low:g} to {high:g}")
    return float(value)
