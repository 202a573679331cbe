"""The words an option may take. Plain ``str`` enumerations: older releases of typer show a StrEnum worse."""

# ruff: noqa: UP042

from __future__ import annotations

from enum import Enum


class Spacing(str, Enum):
    """How fluences are spaced."""

    LINEAR = "linear"
    LOG = "log"
    LIST = "list"


class Direction(str, Enum):
    """In which order fluences are visited."""

    UP = "up"
    DOWN = "down"
    UP_DOWN = "up-down"
    SHUFFLED = "shuffled"


class Background(str, Enum):
    """What is subtracted."""

    DARK = "dark"
    BLANK = "blank"


class Per(str, Enum):
    """What an adaptive sweep spends least of."""

    POINT = "point"
    DOSE = "dose"


class BleachingModel(str, Enum):
    """What bleaching takes from the sample."""

    EXCITATION = "excitation"
    SIGNAL = "signal"


class Sample(str, Enum):
    """The simulated samples."""

    OAM = "oam"
    OLA = "ola"


class Transport(str, Enum):
    """How simulated instruments are reached."""

    TCP = "tcp"
    PTY = "pty"


class Level(str, Enum):
    """How far the simulated bench is from an ideal one."""

    IDEAL = "ideal"
    TYPICAL = "typical"
    NASTY = "nasty"


class Spectrometer(str, Enum):
    """The simulated spectrometers."""

    FINE = "fine"
    COARSE = "coarse"


class Meter(str, Enum):
    """The simulated heads."""

    PHOTODIODE = "photodiode"
    THERMAL = "thermal"
    PYRO = "pyro"


class Collection(str, Enum):
    """Where the light comes from."""

    CENTRE = "centre"
    WHOLE = "whole"


class Bleaching(str, Enum):
    """How fast the simulated sample fades."""

    OFF = "off"
    MILD = "mild"
    STRONG = "strong"


class DemoSample(str, Enum):
    """The samples of the demonstration."""

    OAM = "oam"
    OLA = "ola"
    BOTH = "both"
