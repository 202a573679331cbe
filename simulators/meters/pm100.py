"""A Thorlabs PM100D console: settings, the command table; program messages in, response messages out."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from labctl.model.clock import Clock
from simulators.link import DUE_TOLERANCE_S, Wire
from simulators.meters.pm100_meter import ENERGY_RANGES_J, Head, Kind, Meter
from simulators.meters.pm100_scpi import (
    CONNECTED,
    MEASURING,
    QUESTIONABLE,
    RANGING,
    READY,
    ZEROING,
    Answer,
    Pending,
    ScpiError,
    Status,
    Tree,
    boolean,
    none,
    number,
    only,
)
from simulators.registry import Simulator
from simulators.usb.device import UsbDevice
from simulators.usb.usbtmc import console as plug_of_console

INFINITE = "9.90000000E+37"
"""How SCPI-99 (7.2.1.4) writes infinity."""
RESPONSE = {"photodiode": "POWer[:PDIode]", "thermal": "POWer:THERmopile", "pyro": "ENERgy[:PYRO]"}
ADAPTERS = ("PHOTodiode", "THERmal", "PYRo")
BAUD_RATES = (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800)
"""Those of the PM101 that every serial driver knows."""


@dataclass(frozen=True, slots=True)
class Console:
    """What one model of the family has and the others have not (vendor's command references).

    :param identity: answer to ``*IDN?``.
    :param peak_mode: whether a photodiode can be measured in peak mode.
    :param zeroed: heads it zeroes. :param averaged: heads whose readings it averages.
    :param relative: heads of which it shows power less a reference.
    :param energy_auto: whether it chooses the range of a pyroelectric head by itself.
    :param joins: whether the answers of one message come in one line.
    """

    identity: str
    peak_mode: bool = False
    zeroed: tuple[Kind, ...] = ("photodiode",)
    averaged: tuple[Kind, ...] = ("photodiode",)
    relative: tuple[Kind, ...] = ("photodiode",)
    energy_auto: bool = False
    joins: bool = True


_TWO: tuple[Kind, ...] = ("photodiode", "thermal")
_ALL: tuple[Kind, ...] = (*_TWO, "pyro")
CONSOLES = {
    "PM100D": Console("THORLABS,PM100D,P0012345,2.4.0", False, _TWO, _ALL, _TWO, energy_auto=True),
    "PM101": Console("Thorlabs,PM101,M00101001,1.4.0"),
    "PM103": Console("Thorlabs,PM103,M00103001,1.2.0", True, averaged=_TWO, energy_auto=True),
    "PM400": Console("Thorlabs,PM400,M00400001,3.1.0", False, _TWO),
    "PM100D3": Console(
        "Thorlabs,PM100D3,M00100301,1.5.0", True, ("photodiode",), _TWO, _TWO, energy_auto=True, joins=False
    ),
}
"""PM100D as older public drivers know it. That one answers line by line is told of consoles in general,
of no certain model; here the newest does."""

Limits = tuple[float, float, float]
"""Lowest, highest and default value."""


def show(value: float) -> str:
    """Write a number as the console does.

    >>> show(3.34e-5), show(-math.inf)
    ('3.34000000E-05', '-9.90000000E+37')
    """
    if math.isinf(value):
        return INFINITE if value > 0 else f"-{INFINITE}"
    return f"{value:.8E}"


def _whole(value: float) -> str:
    return str(int(value))


class Settings:
    """Enters settings into a command tree, and keeps those that have no effect in the scene."""

    def __init__(self, tree: Tree, meter: Meter) -> None:
        self._tree, self._meter = tree, meter
        self._plain: dict[str, float] = {}
        self._texts: dict[str, str] = {}

    def reset(self) -> None:
        """Forget what was remembered (``*RST``)."""
        self._plain.clear()
        self._texts.clear()

    def number(
        self,
        canonical: str,
        limits: Limits,
        get: Callable[[], float],
        set_: Callable[[float], None],
        *,
        coerce: bool = False,
        form: Callable[[float], str] = show,
    ) -> None:
        """Enter a numeric setting and its query; one that coerces takes the nearest value it can."""
        low, high, default = limits

        def handle_set(arguments: list[str]) -> None:
            text = only(arguments)
            named = text.upper()[:3] in {"MIN", "MAX"}
            bounds = (-math.inf, math.inf) if coerce and not named else (low, high)
            set_(min(max(number(text, *bounds, default), low), high))

        def handle_get(arguments: list[str]) -> str:
            return form(number(only(arguments), low, high, default) if arguments else get())

        self._tree.add(canonical, handle_set)
        self._tree.add(f"{canonical}?", handle_get)

    def attribute(self, canonical: str, limits: Limits, name: str, *, coerce: bool = False) -> None:
        """Enter a numeric setting that is an attribute of the meter."""
        meter = self._meter
        self.number(
            canonical,
            limits,
            lambda: float(getattr(meter, name)),
            lambda value: setattr(meter, name, value),
            coerce=coerce,
        )

    def flag(self, canonical: str, name: str) -> None:
        """Enter a switch that is an attribute of the meter."""

        def handle_set(arguments: list[str]) -> None:
            setattr(self._meter, name, boolean(only(arguments)))

        self._tree.add(canonical, handle_set)
        self._tree.add(f"{canonical}?", lambda _: str(int(getattr(self._meter, name))))

    def memory(self, canonical: str, limits: Limits) -> None:
        """Enter a number that is remembered and has no further effect in the scene."""
        self.number(
            canonical,
            limits,
            lambda: self._plain.get(canonical, limits[2]),
            lambda value: self._plain.__setitem__(canonical, value),
            form=lambda value: f"{value:g}",
        )

    def remembered(self, canonical: str, default: str, fields: int) -> None:
        """Enter whole numbers with commas between, e.g. a date, that are remembered."""

        def handle_set(arguments: list[str]) -> None:
            if len(arguments) != fields:
                raise ScpiError(-109 if len(arguments) < fields else -108)
            self._texts[canonical] = ",".join(_whole(number(each, 0, 9999, 0)) for each in arguments)

        def handle_get(arguments: list[str]) -> str:
            none(arguments)
            return self._texts.get(canonical, default)

        self._tree.add(canonical, handle_set)
        self._tree.add(f"{canonical}?", handle_get)

    def choice(self, canonical: str, words: tuple[str, ...]) -> None:
        """Enter a setting that is one of some words, each with its short form in capitals."""
        shorts = {word.upper(): "".join(filter(str.isupper, word)) for word in words}
        shorts |= {short: short for short in shorts.values()}

        def handle_set(arguments: list[str]) -> None:
            short = shorts.get(only(arguments).upper())
            if short is None:
                raise ScpiError(-224)
            self._texts[canonical] = short

        self._tree.add(canonical, handle_set)
        self._tree.add(f"{canonical}?", lambda _: self._texts.get(canonical, next(iter(shorts.values()))))


def add_sense(settings: Settings, tree: Tree, meter: Meter, console: Console) -> None:
    """Enter the SENSe branch."""
    low, high = meter.head.wavelength_limits_nm
    for node in ("WAVelength", "WAVE"):  # the console's manual itself writes CORR:WAVE 1310
        limits = (low, high, meter.wavelength_nm)
        settings.attribute(f"[SENSe:]CORRection:{node}", limits, "wavelength_nm", coerce=True)
    settings.attribute("[SENSe:]CORRection[:LOSS[:INPut[:MAGNitude]]]", (-60.0, 60.0, 0.0), "attenuation_db")
    settings.attribute("[SENSe:]CORRection:BEAMdiameter", (0.1, 1000.0, 9.5), "beam_mm")

    def set_averages(value: float) -> None:
        if meter.head.kind not in console.averaged:
            raise ScpiError(-221)
        meter.averages = round(value)

    settings.number(
        "[SENSe:]AVERage[:COUNt]", (1, 10000, 1), lambda: meter.averages, set_averages, form=_whole
    )
    _add_unit(tree, meter)
    if meter.ranges:
        _add_power(settings, meter, console)
    else:
        _add_energy(settings, meter, console)
    if console.peak_mode and meter.head.kind == "photodiode":
        _add_mode(tree, meter)
    response = f"[SENSe:]CORRection:{RESPONSE[meter.head.kind]}[:RESPonse]?"
    tree.add(response, lambda _: show(meter.responsivity()))
    settings.memory("[SENSe:]PEAKdetector[:THReshold]", (1.0, 100.0, 20.0))
    settings.memory("[SENSe:]FREQuency:RANGe[:UPPer]", (1.0, 3000.0, 3000.0))
    settings.memory("[SENSe:]FREQuency:RANGe:LOWer", (1.0, 3000.0, 1.0))


def _add_unit(tree: Tree, meter: Meter) -> None:
    def set_unit(arguments: list[str]) -> None:
        unit = only(arguments).upper()
        if unit not in {"W", "DBM"}:
            raise ScpiError(-224)
        meter.decibel = unit == "DBM"

    tree.add("[SENSe:]POWer[:DC]:UNIT", set_unit)
    tree.add("[SENSe:]POWer[:DC]:UNIT?", lambda _: "DBM" if meter.decibel else "W")


def _add_mode(tree: Tree, meter: Meter) -> None:
    def set_mode(arguments: list[str]) -> None:
        mode = only(arguments).upper()
        if mode not in {"CW", "PEAK"}:
            raise ScpiError(-224)
        meter.peak_mode = mode == "PEAK"

    tree.add("[SENSe:]FREQuency:MODE", set_mode)
    tree.add("[SENSe:]FREQuency:MODE?", lambda _: "PEAK" if meter.peak_mode else "CW")


def _add_power(settings: Settings, meter: Meter, console: Console) -> None:
    """Enter range and reference of the power, and of the current or voltage it is measured as."""
    lowest, highest = meter.ranges[0], meter.ranges[-1]
    settings.number(
        "[SENSe:]POWer[:DC]:RANGe[:UPPer]", (lowest, highest, highest), lambda: meter.range_w,
        meter.set_range, coerce=True,
    )  # fmt: skip
    settings.flag("[SENSe:]POWer[:DC]:RANGe:AUTO", "auto_range")
    if meter.head.kind in console.relative:
        settings.attribute("[SENSe:]POWer[:DC]:REFerence", (-10.0, 10.0, 0.0), "reference")
        settings.flag("[SENSe:]POWer[:DC]:REFerence:STATe", "relative")
    signal = "[SENSe:]CURRent[:DC]" if meter.head.kind == "photodiode" else "[SENSe:]VOLTage[:DC]"
    ends = (lowest * meter.responsivity(), highest * meter.responsivity())
    settings.number(
        f"{signal}:RANGe[:UPPer]", (*ends, ends[1]), lambda: meter.range_w * meter.responsivity(),
        lambda value: meter.set_range(value / meter.responsivity()), coerce=True,
    )  # fmt: skip
    settings.flag(f"{signal}:RANGe:AUTO", "auto_range")
    settings.memory(f"{signal}:REFerence", (-10.0, 10.0, 0.0))
    settings.memory(f"{signal}:REFerence:STATe", (0, 1, 0))


def _add_energy(settings: Settings, meter: Meter, console: Console) -> None:
    def set_range(value: float) -> None:
        meter.auto_range = False
        meter.energy_range_j = next(top for top in ENERGY_RANGES_J if value <= top * 1.0000001)

    lowest, highest = ENERGY_RANGES_J[0], ENERGY_RANGES_J[-1]
    settings.number(
        "[SENSe:]ENERgy:RANGe[:UPPer]", (lowest, highest, highest), lambda: meter.energy_range_j,
        set_range, coerce=True,
    )  # fmt: skip
    if console.energy_auto:
        settings.flag("[SENSe:]ENERgy:RANGe:AUTO", "auto_range")
    settings.attribute("[SENSe:]ENERgy:REFerence", (-1.0, 1.0, 0.0), "reference")
    settings.flag("[SENSe:]ENERgy:REFerence:STATe", "relative")


def add_console(settings: Settings, meter: Meter) -> None:
    """Enter what belongs to the console and to its inputs."""
    settings.memory("SYSTem:BEEPer:STATe", (0, 1, 0))
    settings.memory("SYSTem:LFRequency", (50, 60, 50))
    settings.remembered("SYSTem:DATE", "2024,1,1", 3)
    settings.remembered("SYSTem:TIME", "12,0,0", 3)
    settings.memory("DISPlay:BRIGhtness", (0, 1, 1))
    settings.memory("DISPlay:CONTrast", (0, 1, 0.5))
    settings.choice("INPut:ADAPter[:TYPE]", ADAPTERS)
    if meter.head.kind == "photodiode":
        settings.flag("INPut[:PDIode]:FILTer[:LPASs][:STATe]", "low_pass")
    if meter.head.kind == "thermal":
        settings.memory("INPut:THERmopile:ACCelerator[:STATe]", (0, 1, 0))
        settings.memory("INPut:THERmopile:ACCelerator:AUTO", (0, 1, 0))
        settings.memory("INPut:THERmopile:ACCelerator:TAU", (0.1, 30, 1))


SENSOR_TYPES = {"photodiode": (1, 18, 33), "thermal": (2, 2, 97), "pyro": (3, 2, 34)}
"""Type, subtype (18 with, 2 without a thermometer) and flags (PM100D manual: 1 power, 2 energy,
32 wavelength, 64 tau); the first as in the vendor's example of an S120C."""
NAMES = {"POW": "POWer", "CURR": "CURRent[:DC]", "VOLT": "VOLTage[:DC]", "POWDENS": "PDENsity",
         "ENER": "ENERgy", "ENERDENS": "EDENsity", "FREQ": "FREQuency", "TEMP": "TEMPerature",
         "RES": "RESistance"}  # fmt: skip
"""What ``CONF?`` answers, and how the measurement is asked for."""


class Commands:
    """Binds headers to the meter."""

    def __init__(self, meter: Meter, status: Status, clock: Clock, console: Console) -> None:
        self._meter, self._status, self._clock = meter, status, clock
        meter.zeroed_kinds, meter.energy_auto = console.zeroed, console.energy_auto
        meter.reset()
        self.tree = Tree()
        self._settings = Settings(self.tree, meter)
        status.refresh = self._refresh
        status.add_to(self.tree)
        self.tree.add("*IDN?", lambda _: console.identity)
        self.tree.add("*RST", self._reset)
        self._add_measurement()
        add_sense(self._settings, self.tree, meter, console)
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


LONGEST_MESSAGE = 200
"""Characters of one program message (PM103 reference)."""


class Pm100(Wire):
    """One console with one head.

    :param model: one of :data:`CONSOLES`.
    """

    def __init__(self, clock: Clock, head: Head, model: str = "PM100D") -> None:
        super().__init__(clock)
        self._console = CONSOLES[model]
        self.meter = Meter(head)
        self.status = Status()
        self.baud_rate = 115200
        self._tree = Commands(self.meter, self.status, clock, self._console).tree
        self._add_baud_rate()
        self._line = b""
        self._messages: deque[str] = deque()
        self._units: deque[str] = deque()
        self._path: tuple[str, ...] = ()
        self._answers: list[str] = []
        self._pending: Pending | None = None

    def _add_baud_rate(self) -> None:
        """Enter the command of the consoles with a serial port; it takes effect at once."""

        def set_rate(arguments: list[str]) -> None:
            wanted = int(number(only(arguments), BAUD_RATES[0], BAUD_RATES[-1], 115200))
            if wanted not in BAUD_RATES:
                raise ScpiError(-224)
            self.baud_rate = wanted

        self._tree.add("SYSTem:SERial:TRANsmit:BAUD", set_rate)
        self._tree.add("SYSTem:SERial:TRANsmit:BAUD?", lambda _: str(self.baud_rate))

    def new_client(self) -> None:
        """Forget unfinished messages and the measurement somebody waited for."""
        self._line = b""
        self._messages.clear()
        self._finish_message()
        self._pending = None

    def receive(self, data: bytes) -> None:
        """Take bytes; a line feed ends a program message."""
        *lines, self._line = (self._line + data).split(b"\n")
        if len(self._line) > LONGEST_MESSAGE:
            self._line = self._line[: LONGEST_MESSAGE + 1]  # enough to know that it was too long
        for line in lines:
            text = line.rstrip(b"\r")
            if len(text) > LONGEST_MESSAGE:
                self.status.report(-363)
            else:
                self._messages.append(text.decode("latin-1"))
        self._work()

    def due_s(self) -> float | None:
        """Return when the measurement that blocks the interface is complete."""
        return None if self._pending is None else self._pending.due_s

    def wake(self) -> None:
        """Answer what was waited for, then whatever arrived meanwhile."""
        pending = self._pending
        if pending is not None and pending.due_s - self.clock.now_s() <= DUE_TOLERANCE_S:
            self._pending = None
            try:
                self._take(pending.result())
            except ScpiError as error:
                self.status.report(error.code)
            self._end_of_unit()
            self._work()

    def _work(self) -> None:
        while self._pending is None and (self._units or self._messages):
            if not self._units:
                self._units.extend(_split(self._messages.popleft(), ";"))
            self._unit(self._units.popleft().strip())
            self._end_of_unit()

    def _end_of_unit(self) -> None:
        if not self._units and self._pending is None:
            self._finish_message()

    def _unit(self, unit: str) -> None:
        if not unit:
            return
        header, _, rest = unit.partition(" ")
        arguments = [part.strip() for part in _split(rest, ",")] if rest.strip() else []
        try:
            handler, self._path = self._tree.find(header, self._path)
            self._take(handler(arguments))
        except ScpiError as error:
            self.status.report(error.code)

    def _take(self, answer: Answer) -> None:
        if isinstance(answer, Pending):
            self._pending = answer
        elif answer is not None:
            self._answers.append(answer)

    def _finish_message(self) -> None:
        answers, self._answers = self._answers, []
        self._units.clear()
        self._path = ()
        if answers:
            self._send(((";" if self._console.joins else "\n").join(answers) + "\n").encode("ascii"))


def _split(text: str, separator: str) -> list[str]:
    """Split at a separator outside quotes."""
    if '"' not in text and "'" not in text:
        return text.split(separator)
    parts, quote = [""], ""
    for character in text:
        if character == separator and not quote:
            parts.append("")
            continue
        if character in "\"'":
            quote = "" if quote == character else quote or character
        parts[-1] += character
    return parts


def _plug(console: Callable[[], Pm100]) -> UsbDevice:
    """Return the USB plug of the console that is there."""

    def report(code: int) -> None:
        console().status.report(code)

    serial = CONSOLES["PM100D"].identity.split(",")[2]
    return plug_of_console(serial, report, lambda: console().due_s() is not None)


SIMULATOR = Simulator(
    "thorlabs-pm100", "power_meter", lambda scene: Pm100(scene.clock, scene.meter), plug=lambda _: _plug
)
