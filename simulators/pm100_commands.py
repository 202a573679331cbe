"""The command table of a Thorlabs PM100D console.

Source: PM100D manual; vendor's PM101 and PM400 command references.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from labctl.model.clock import Clock
from simulators.pm100_meter import ENERGY_RANGES_J, Meter
from simulators.pm100_scpi import Answer, Pending, ScpiError, Tree, boolean, none, number, only
from simulators.pm100_status import MEASURING, QUESTIONABLE_POWER, RANGING, Status

INFINITE = "9.90000000E+37"
"""How SCPI-99 (7.2.1.4) writes infinity."""
SENSOR_TYPES = {"photodiode": (1, 2, 33), "thermal": (2, 2, 97), "pyro": (3, 2, 34)}
"""Type, subtype (no thermometer) and flags (PM100D manual: 1 power, 2 energy, 32 wavelength, 64 tau)."""
NAMES = {"POW": "POWer", "CURR": "CURRent[:DC]", "VOLT": "VOLTage[:DC]", "PDEN": "PDENsity", "ENER": "ENERgy",
         "EDEN": "EDENsity", "FREQ": "FREQuency"}  # fmt: skip


def show(value: float) -> str:
    """Write a number as the console does.

    >>> show(3.34e-5), show(-math.inf)
    ('3.34000000E-05', '-9.90000000E+37')
    """
    if math.isinf(value):
        return INFINITE if value > 0 else f"-{INFINITE}"
    return f"{value:.8E}"


class Commands:
    """Binds headers to the meter."""

    def __init__(self, meter: Meter, status: Status, clock: Clock, identity: str) -> None:
        self._meter, self._status, self._clock = meter, status, clock
        self._plain: dict[str, float] = {}
        self.tree = Tree()
        status.add_to(self.tree)
        self.tree.add("*IDN?", lambda _: identity)
        self.tree.add("*RST", self._reset)
        self._add_measurement()
        self._add_sense()
        self._add_zero()
        self._add_system()

    def _reset(self, arguments: list[str]) -> None:
        none(arguments)
        self._meter.reset()
        self._plain.clear()

    def _now(self) -> float:
        """Return the time, having taken over what a zeroing found meanwhile."""
        now_s = self._clock.now_s()
        try:
            self._meter.settle_zero(now_s)
        except ScpiError as error:
            self._status.report(error.code)
        return now_s

    def _add_measurement(self) -> None:
        add = self.tree.add
        for quantity, name in NAMES.items():
            scalar = f"[:SCALar]:{name}" if quantity != "POW" else "[:SCALar][:POWer]"
            add(f"CONFigure{scalar}", partial(self._configure, quantity))
            add(f"MEASure{scalar}?", partial(self._measure, quantity))
            add(f"MEASure{scalar}", partial(self._begin, quantity))  # the console manual lists it without "?"
        add("CONFigure?", lambda _: self._meter.quantity)
        add("INITiate[:IMMediate]", self._initiate)
        add("ABORt", self._abort)
        add("FETCh?", self._fetch)
        add("FETCh:STATe?", lambda _: str(int(self._meter.complete(self._now()))))
        add("READ?", self._read)

    def _configure(self, quantity: str, arguments: list[str]) -> None:
        none(arguments)
        self._meter.configure(quantity)

    def _measure(self, quantity: str, arguments: list[str]) -> Answer:
        self._configure(quantity, arguments)
        return self._read([])

    def _begin(self, quantity: str, arguments: list[str]) -> None:
        self._configure(quantity, arguments)
        self._initiate([])

    def _read(self, arguments: list[str]) -> Answer:
        self._initiate(arguments)
        return self._fetch([])

    def _initiate(self, arguments: list[str]) -> None:
        none(arguments)
        before_w = self._meter.range_w
        self._meter.start(self._now())
        self._status.operation.raise_bits(MEASURING)
        if self._meter.range_w != before_w:
            self._status.operation.raise_bits(RANGING)

    def _abort(self, arguments: list[str]) -> None:
        none(arguments)
        self._meter.abort()
        self._status.operation.drop_bits(MEASURING | RANGING)

    def _fetch(self, arguments: list[str]) -> Answer:
        """Answer the result; while there is none, the whole interface waits."""
        none(arguments)
        now_s = self._now()
        if not self._meter.complete(now_s) and self._meter.due_s is not None:
            return Pending(self._meter.due_s, lambda: self._fetch([]))
        try:
            value = self._meter.fetch()
        finally:
            self._status.operation.drop_bits(MEASURING | RANGING)
        if value is None:
            return self._fetch([])
        over = math.isinf(value)
        self._status.questionable.raise_bits(QUESTIONABLE_POWER * over)
        self._status.questionable.drop_bits(QUESTIONABLE_POWER * (not over))
        return show(value)

    def _number(
        self,
        canonical: str,
        limits: tuple[float, float, float],
        get: Callable[[], float],
        set_: Callable[[float], None],
        *,
        coerce: bool = False,
        form: Callable[[float], str] = show,
    ) -> None:
        """Enter a numeric setting and its query; ``limits`` are lowest, highest and default."""
        low, high, default = limits

        def handle_set(arguments: list[str]) -> None:
            text = only(arguments)
            bounds = (
                (-math.inf, math.inf) if coerce and text.upper()[:3] not in {"MIN", "MAX"} else (low, high)
            )
            set_(min(max(number(text, *bounds, default), low), high))

        def handle_get(arguments: list[str]) -> str:
            return form(number(only(arguments), low, high, default) if arguments else get())

        self.tree.add(canonical, handle_set)
        self.tree.add(f"{canonical}?", handle_get)

    def _attribute(
        self, canonical: str, limits: tuple[float, float, float], attribute: str, *, coerce: bool = False
    ) -> None:
        """Enter a numeric setting that is an attribute of the meter."""
        self._number(
            canonical,
            limits,
            lambda: float(getattr(self._meter, attribute)),
            lambda value: setattr(self._meter, attribute, value),
            coerce=coerce,
        )

    def _flag(self, canonical: str, attribute: str) -> None:
        def handle_set(arguments: list[str]) -> None:
            setattr(self._meter, attribute, boolean(only(arguments)))

        self.tree.add(canonical, handle_set)
        self.tree.add(f"{canonical}?", lambda _: str(int(getattr(self._meter, attribute))))

    def _memory(self, canonical: str, limits: tuple[float, float, float]) -> None:
        """Enter a setting that is remembered and has no further effect in the scene."""
        self._number(
            canonical,
            limits,
            lambda: self._plain.get(canonical, limits[2]),
            lambda value: self._plain.__setitem__(canonical, value),
            form=lambda value: f"{value:g}",
        )

    def _add_sense(self) -> None:
        meter, kind = self._meter, self._meter.head.kind
        low, high = meter.head.wavelength_limits_nm
        self._attribute(
            "SENSe:CORRection:WAVelength", (low, high, meter.wavelength_nm), "wavelength_nm", coerce=True
        )
        self._attribute("SENSe:CORRection[:LOSS[:INPut[:MAGNitude]]]", (-60.0, 60.0, 0.0), "attenuation_db")
        self._attribute("SENSe:CORRection:BEAMdiameter", (0.1, 1000.0, 9.5), "beam_mm")
        self._attribute("SENSe:POWer[:DC]:REFerence", (-10.0, 10.0, 0.0), "reference")
        self._flag("SENSe:POWer[:DC]:REFerence:STATe", "relative")
        self._number(
            "SENSe:AVERage[:COUNt]", (1, 10000, 1), lambda: meter.averages, self._set_averages,
            form=lambda value: str(int(value)),
        )  # fmt: skip
        self.tree.add("SENSe:POWer[:DC]:UNIT", self._set_unit)
        self.tree.add("SENSe:POWer[:DC]:UNIT?", lambda _: "DBM" if meter.decibel else "W")
        if meter.ranges:
            limits = (meter.ranges[0], meter.ranges[-1], meter.ranges[-1])
            self._number(
                "SENSe:POWer[:DC]:RANGe[:UPPer]", limits, lambda: meter.range_w, meter.set_range, coerce=True
            )
            self._flag("SENSe:POWer[:DC]:RANGe:AUTO", "auto_range")
        else:
            limits = (ENERGY_RANGES_J[0], ENERGY_RANGES_J[-1], ENERGY_RANGES_J[-1])
            self._number(
                "SENSe:ENERgy:RANGe[:UPPer]",
                limits,
                lambda: meter.energy_range_j,
                self._set_energy_range,
                coerce=True,
            )
            self._flag("SENSe:ENERgy:RANGe:AUTO", "auto_range")
        response = {"photodiode": "POWer[:PDIode]", "thermal": "POWer:THERmopile", "pyro": "ENERgy[:PYRO]"}[
            kind
        ]
        self.tree.add(f"SENSe:CORRection:{response}[:RESPonse]?", lambda _: show(meter.responsivity()))
        self._memory("SENSe:PEAKdetector[:THReshold]", (1.0, 100.0, 20.0))

    def _set_averages(self, value: float) -> None:
        self._meter.averages = round(value)

    def _set_energy_range(self, value: float) -> None:
        self._meter.auto_range = False
        self._meter.energy_range_j = next(top for top in ENERGY_RANGES_J if value <= top * 1.0000001)

    def _set_unit(self, arguments: list[str]) -> None:
        unit = only(arguments).upper()
        if unit not in {"W", "DBM"}:
            raise ScpiError(-224)
        self._meter.decibel = unit == "DBM"

    def _add_zero(self) -> None:
        branch = "SENSe:CORRection:COLLect:ZERO"
        self.tree.add(f"{branch}[:INITiate]", lambda _: self._meter.start_zero(self._now()))
        self.tree.add(f"{branch}:ABORt", lambda _: self._meter.stop_zero())
        self.tree.add(f"{branch}:STATe?", lambda _: str(int(self._meter.settle_zero(self._now()))))
        self._number(
            f"{branch}:MAGNitude", (-1.0, 1.0, 0.0), self._zero_magnitude,
            lambda value: setattr(self._meter, "zero_w", value / self._meter.responsivity()),
        )  # fmt: skip

    def _zero_magnitude(self) -> float:
        self._now()
        return self._meter.zero_w * self._meter.responsivity()

    def _add_system(self) -> None:
        head = self._meter.head
        sensor = ",".join(map(str, SENSOR_TYPES[head.kind]))
        self.tree.add("SYSTem:SENSor:IDN?", lambda _: f'"{head.name}","{head.serial}","02-JUN-2021",{sensor}')
        self.tree.add("SYSTem:SENSor:CONNect?", lambda _: "1")
        self.tree.add("SYSTem:VERSion?", lambda _: "1999.0")
        self.tree.add("CALibration:STRing?", lambda _: '"02-JUN-2021"')
        self._memory("SYSTem:BEEPer:STATe", (0, 1, 0))
        self.tree.add("SYSTem:BEEPer[:IMMediate]", lambda _: None)
        self._memory("SYSTem:LFRequency", (50, 60, 50))
        self._memory("DISPlay:BRIGhtness", (0, 1, 1))
        self._memory("DISPlay:CONTrast", (0, 1, 0.5))
        if head.kind == "photodiode":
            self._memory("INPut[:PDIode]:FILTer[:LPASs][:STATe]", (0, 1, 1))
        if head.kind == "thermal":
            self._memory("INPut:THERmopile:ACCelerator[:STATe]", (0, 1, 0))
            self._memory("INPut:THERmopile:ACCelerator:TAU", (0.1, 30, 1))
