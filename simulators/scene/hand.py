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
from types import MappingProxyType
from typing import Literal

import numpy as np

from labctl.model.clock import Clock
from labctl.model.records import FloatArray
from simulators.scene.chance import Stream, generator
from simulators.scene.settings import HandSettings

LINE_FWHM_NM = 0.004
"""Doppler and pressure width of such lamps, far below any resolution here."""

_MERCURY_ARGON = (
    (253.6521, 900.0), (296.7283, 120.0), (302.1504, 30.0), (312.5674, 60.0), (313.1555, 32.0),
    (313.1844, 32.0), (334.1484, 8.0), (365.0158, 280.0), (365.4842, 30.0), (366.3284, 24.0),
    (404.6565, 180.0), (407.7837, 15.0), (433.9223, 2.5), (434.7506, 4.0), (435.8335, 400.0), (491.6068, 0.8),
    (546.0750, 500.0), (576.9610, 50.0), (579.0670, 56.0), (549.5874, 0.3), (555.8702, 0.35), (560.6733, 0.3),
    (603.2127, 0.6), (667.7282, 1.0), (675.2834, 1.2), (687.1289, 1.2), (696.5431, 60.0), (703.0251, 1.6),
    (706.7218, 50.0), (714.7042, 4.0), (727.2936, 14.0), (738.3980, 55.0), (750.3869, 110.0),
    (751.4652, 80.0), (763.5106, 140.0), (772.3761, 80.0), (772.4207, 50.0), (794.8176, 100.0),
    (800.6157, 100.0), (801.4786, 140.0), (810.3693, 100.0), (811.5311, 190.0), (826.4522, 60.0),
    (840.8210, 80.0), (842.4648, 110.0), (852.1442, 75.0), (866.7944, 22.0), (912.2967, 180.0),
    (922.4499, 75.0), (965.7786, 120.0),
)  # fmt: skip
_NEON = (
    (503.1350, 25.0), (503.7751, 50.0), (508.0385, 15.0), (511.6503, 15.0), (512.2257, 15.0),
    (514.4938, 50.0), (515.1961, 7.5), (518.8612, 15.0), (519.3130, 15.0), (520.3896, 15.0), (520.8865, 7.0),
    (522.2352, 7.0), (523.4027, 5.0), (529.8189, 15.0), (530.4758, 7.0), (532.6397, 7.0), (533.0778, 60.0),
    (534.1094, 100.0), (534.3283, 60.0), (534.9204, 15.0), (536.0012, 15.0), (540.0562, 200.0),
    (541.2649, 6.0), (541.8558, 8.0), (543.3651, 25.0), (544.8509, 15.0), (549.4416, 6.0), (553.3679, 7.5),
    (556.2766, 50.0), (565.2566, 7.5), (565.6659, 50.0), (566.2549, 7.5), (568.9816, 15.0), (571.9225, 50.0),
    (574.8298, 50.0), (576.4419, 70.0), (580.4450, 50.0), (582.0156, 50.0), (585.2488, 2000.0),
    (587.2828, 100.0), (588.1895, 1000.0), (590.2462, 60.0), (590.6429, 60.0), (594.4834, 1000.0),
    (596.5471, 100.0), (597.4627, 150.0), (597.5534, 200.0), (598.7907, 60.0), (602.9997, 300.0),
    (607.4338, 1000.0), (609.6163, 1000.0), (612.8450, 100.0), (614.3063, 2000.0), (616.3594, 1000.0),
    (618.2146, 150.0), (621.7281, 1000.0), (626.6495, 1200.0), (630.4789, 400.0), (633.4428, 1800.0),
    (638.2992, 1900.0), (640.2248, 3000.0), (650.6528, 2200.0), (653.2882, 500.0), (659.8953, 1000.0),
    (667.8277, 1500.0), (671.7043, 700.0), (692.9467, 1500.0), (702.4050, 300.0), (703.2413, 2400.0),
    (717.3938, 700.0), (724.5167, 1500.0), (743.8898, 700.0), (747.2438, 40.0), (748.8871, 300.0),
    (753.5774, 280.0), (754.4044, 130.0), (794.3181, 80.0), (808.2458, 60.0), (813.6406, 170.0),
    (830.0325, 300.0), (837.7608, 900.0), (849.5360, 500.0), (859.1259, 350.0), (863.4647, 330.0),
    (865.4383, 700.0), (878.0621, 500.0), (878.3753, 400.0), (885.3867, 300.0), (891.9501, 130.0),
)  # fmt: skip
_KRYPTON = (
    (427.3969, 150.0), (431.9579, 120.0), (436.2641, 60.0), (437.6121, 90.0), (445.3917, 75.0),
    (446.3690, 100.0), (450.2354, 80.0), (556.2225, 60.0), (557.0289, 300.0), (558.0387, 10.0),
    (564.9562, 14.0), (583.2857, 14.0), (587.0916, 400.0), (599.3850, 8.0), (605.6126, 8.0), (642.1027, 14.0),
    (645.6289, 28.0), (758.7413, 900.0), (760.1545, 1800.0), (768.5246, 900.0), (769.4540, 1000.0),
    (785.4823, 750.0), (805.9505, 1200.0), (810.4366, 2600.0), (811.2901, 4000.0), (819.0057, 2200.0),
    (826.3243, 2000.0), (829.8110, 2200.0), (850.8873, 1500.0), (877.6750, 2600.0), (892.8693, 900.0),
)  # fmt: skip

LAMPS: Mapping[str, tuple[tuple[float, float], ...]] = MappingProxyType(
    {"hg-ar": _MERCURY_ARGON, "ne": _NEON, "kr": _KRYPTON}
)
"""Pairs of wavelength in air, nm, and relative strength, by the lamp's name."""


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
    """A pair of hands: it does what a :class:`labctl.model.roles.Request` asks for."""

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
