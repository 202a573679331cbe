"""The command table of a Thorlabs PM100D console.

Source: PM100D manual; vendor's PM101 and PM400 command references.
"""

from __future__ import annotations

import math
from functools import partial

from labctl.model.clock import Clock
from simulators.meters.pm100_meter import Meter
from simulators.meters.pm100_scpi import Answer, Pending, ScpiError, Tree, none
from simulators.meters.pm100_settings import Settings, add_console, add_sense, show
from simulators.meters.pm100_status import CONNECTED, MEASURING, QUESTIONABLE, RANGING, READY, ZEROING, Status

SENSOR_TYPES = {"photodiode": (1, 18, 33), "thermal": (2, 2, 97), "pyro": (3, 2, 34)}
"""Type, subtype (18 with, 2 without a thermometer) and flags (PM100D manual: 1 power, 2 energy,
32 wavelength, 64 tau); the first as in the vendor's example of an S120C."""
NAMES = {"POW": "POWer", "CURR": "CURRent[:DC]", "VOLT": "VOLTage[:DC]", "POWDENS": "PDENsity",
         "ENER": "ENERgy", "ENERDENS": "EDENsity", "FREQ": "FREQuency", "TEMP": "TEMPerature",
         "RES": "RESistance"}  # fmt: skip
"""What ``CONF?`` answers, and how the measurement is asked for."""


class Commands:
    """Binds headers to the meter."""

    def __init__(self, meter: Meter, status: Status, clock: Clock, identity: str) -> None:
        self._meter, self._status, self._clock = meter, status, clock
        self.tree = Tree()
        self._settings = Settings(self.tree, meter)
        status.refresh = self._refresh
        status.add_to(self.tree)
        self.tree.add("*IDN?", lambda _: identity)
        self.tree.add("*RST", self._reset)
        self._add_measurement()
        add_sense(self._settings, self.tree, meter)
        add_console(self._settings, meter)
        self._add_zero()
        self._add_system()

    def _reset(self, arguments: list[str]) -> None:
        none(arguments)
        self._meter.reset()
        self._settings.reset()

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
        add("INITiate:CONTinuous", partial(self._initiate, repeat=True))
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

    def _initiate(self, arguments: list[str], *, repeat: bool = False) -> None:
        none(arguments)
        self._meter.start(self._now(), repeat=repeat)
        self._refresh()

    def _abort(self, arguments: list[str]) -> None:
        none(arguments)
        self._meter.abort()

    def _fetch(self, arguments: list[str]) -> Answer:
        """Answer the result; while there is none, the whole interface waits."""
        none(arguments)
        now_s = self._now()
        if not self._meter.complete(now_s) and self._meter.due_s is not None:
            return Pending(self._meter.due_s, lambda: self._fetch([]))
        self._refresh()
        value = self._meter.fetch(now_s)
        if value is None:
            return self._fetch([])
        doubt = QUESTIONABLE.get(self._meter.quantity, 0)
        self._status.questionable.drop_bits(doubt)
        self._status.questionable.raise_bits(doubt * math.isinf(value))
        return show(value)

    def _refresh(self) -> None:
        """Bring the operation register up to date."""
        now_s, meter = self._now(), self._meter
        ready = meter.complete(now_s)
        bits = CONNECTED | READY * ready | ZEROING * meter.zeroing
        bits |= MEASURING * (meter.due_s is not None and not ready) | RANGING * (
            now_s < meter.ranging_until_s
        )
        self._status.operation.update(bits)

    def _add_zero(self) -> None:
        branch = "[SENSe:]CORRection:COLLect:ZERO"
        self.tree.add(f"{branch}[:INITiate]", lambda _: self._meter.start_zero(self._now()))
        self.tree.add(f"{branch}:ABORt", lambda _: self._meter.stop_zero())
        self.tree.add(f"{branch}:STATe?", self._zero_state)
        self._settings.number(
            f"{branch}:MAGNitude", (-1.0, 1.0, 0.0), self._zero_magnitude,
            lambda value: setattr(self._meter, "zero_w", value / self._meter.responsivity()),
        )  # fmt: skip

    def _zero_state(self, arguments: list[str]) -> str:
        none(arguments)
        self._now()
        return str(int(self._meter.zeroing))

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
        self.tree.add("SYSTem:BEEPer[:IMMediate]", lambda _: None)
