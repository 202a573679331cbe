"""The settings of a Thorlabs PM100D console: what is set with a command and asked for with a question mark.

Source: PM100D manual (SENSe may be left out, page 43); vendor's PM101 and PM400 command references.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from simulators.meters.pm100_meter import ENERGY_RANGES_J, Meter
from simulators.meters.pm100_scpi import ScpiError, Tree, boolean, none, number, only

INFINITE = "9.90000000E+37"
"""How SCPI-99 (7.2.1.4) writes infinity."""
RESPONSE = {"photodiode": "POWer[:PDIode]", "thermal": "POWer:THERmopile", "pyro": "ENERgy[:PYRO]"}
ADAPTERS = ("PHOTodiode", "THERmal", "PYRo")
BAUD_RATES = (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800)
"""Those of the PM101 that every serial driver knows."""

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


def add_sense(settings: Settings, tree: Tree, meter: Meter) -> None:
    """Enter the SENSe branch."""
    low, high = meter.head.wavelength_limits_nm
    for node in ("WAVelength", "WAVE"):  # the console's manual itself writes CORR:WAVE 1310
        limits = (low, high, meter.wavelength_nm)
        settings.attribute(f"[SENSe:]CORRection:{node}", limits, "wavelength_nm", coerce=True)
    settings.attribute("[SENSe:]CORRection[:LOSS[:INPut[:MAGNitude]]]", (-60.0, 60.0, 0.0), "attenuation_db")
    settings.attribute("[SENSe:]CORRection:BEAMdiameter", (0.1, 1000.0, 9.5), "beam_mm")
    settings.number(
        "[SENSe:]AVERage[:COUNt]", (1, 10000, 1), lambda: meter.averages,
        lambda value: setattr(meter, "averages", round(value)), form=_whole,
    )  # fmt: skip
    _add_unit(tree, meter)
    if meter.ranges:
        _add_power(settings, meter)
    else:
        _add_energy(settings, meter)
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


def _add_power(settings: Settings, meter: Meter) -> None:
    """Enter range and reference of the power, and of the current or voltage it is measured as."""
    lowest, highest = meter.ranges[0], meter.ranges[-1]
    settings.number(
        "[SENSe:]POWer[:DC]:RANGe[:UPPer]", (lowest, highest, highest), lambda: meter.range_w,
        meter.set_range, coerce=True,
    )  # fmt: skip
    settings.flag("[SENSe:]POWer[:DC]:RANGe:AUTO", "auto_range")
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


def _add_energy(settings: Settings, meter: Meter) -> None:
    def set_range(value: float) -> None:
        meter.auto_range = False
        meter.energy_range_j = next(top for top in ENERGY_RANGES_J if value <= top * 1.0000001)

    lowest, highest = ENERGY_RANGES_J[0], ENERGY_RANGES_J[-1]
    settings.number(
        "[SENSe:]ENERgy:RANGe[:UPPer]", (lowest, highest, highest), lambda: meter.energy_range_j,
        set_range, coerce=True,
    )  # fmt: skip
    settings.flag("[SENSe:]ENERgy:RANGe:AUTO", "auto_range")
    settings.memory("[SENSe:]ENERgy:REFerence", (-1.0, 1.0, 0.0))
    settings.memory("[SENSe:]ENERgy:REFerence:STATe", (0, 1, 0))


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
        settings.memory("INPut[:PDIode]:FILTer[:LPASs][:STATe]", (0, 1, 1))
    if meter.head.kind == "thermal":
        settings.memory("INPut:THERmopile:ACCelerator[:STATe]", (0, 1, 0))
        settings.memory("INPut:THERmopile:ACCelerator:AUTO", (0, 1, 0))
        settings.memory("INPut:THERmopile:ACCelerator:TAU", (0.1, 30, 1))
