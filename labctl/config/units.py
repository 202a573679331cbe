"""Unit-bearing text of a bench file, converted once: "2.5 mW", "100 nJ", "35 fs", "100 um".

A plain number is taken in the unit its key names; text must carry a unit of the right kind.
"""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

_PREFIX = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6}


def _prefixed(unit: str, prefixes: str) -> dict[str, float]:
    return {f"{p}{unit}": _PREFIX[p] for p in prefixes} | {unit: 1.0}


_KINDS: dict[str, dict[str, float]] = {
    "length": _prefixed("m", "num") | {"cm": 1e-2},
    "energy": _prefixed("J", "fpnum"),
    "power": _prefixed("W", "pnum"),
    "time": _prefixed("s", "fpnum"),
    "frequency": _prefixed("Hz", "kM"),
    "angle": {"deg": 1.0, "rad": 180.0 / math.pi, "mrad": 0.18 / math.pi},
    "fluence": {"J/cm2": 1e6, "mJ/cm2": 1e3, "uJ/cm2": 1.0, "nJ/cm2": 1e-3, "J/m2": 100.0},
}
_TEXT = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([^\d\s].*?)\s*")


def _spell(unit: str) -> str:
    return unit.replace("µ", "u").replace("μ", "u").replace("²", "2").replace("^2", "2").replace("°", "deg")


def convert(value: object, kind: str, target: str | None) -> float:
    """Return ``value`` as a plain number in ``target``.

    :param kind: the physical quantity, e.g. "energy".
    :param target: the unit a plain number is taken in; None where the key names none, so that only
        text with a unit is clear. The result is then in the SI unit.
    :raises ValueError: not a finite number, no unit, an unknown unit or one of another kind.

    >>> convert("35 fs", "time", "fs"), convert("0.8 um", "length", "nm"), convert(5, "length", "nm")
    (35.0, 800.0, 5.0)
    """
    units = _KINDS[kind]
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"expected a number or text such as {_example(kind, target)}")
    if not isinstance(value, str):
        if target is None:
            raise ValueError(f"a number without a unit; write text such as {_example(kind, target)}")
        try:
            return _finite(float(value))
        except OverflowError:  # a whole number of hundreds of digits
            raise ValueError("must be finite") from None
    match = _TEXT.fullmatch(value)
    if match is None:
        raise ValueError(
            f"{value!r} is not a number with a unit; write text such as {_example(kind, target)}"
        )
    unit = _spell(match[2])
    if unit not in units:
        raise ValueError(f"{match[2]!r} is no unit of {kind}; use one of {', '.join(units)}")
    scale = units[unit] / (units[target] if target else 1.0)
    # 15 digits keep "0.8 um" at exactly 800 nm and "100 nJ" at exactly 1e-7 J.
    return _finite(float(f"{float(match[1]) * scale:.15g}"))


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("must be finite")
    return number


def _example(kind: str, target: str | None) -> str:
    shown = {"energy": "nJ", "power": "mW"}.get(kind) if target is None else target
    return f'"2.5 {shown or next(iter(_KINDS[kind]))}"'


def _of(kind: str, target: str | None) -> BeforeValidator:
    return BeforeValidator(lambda value: convert(value, kind, target))


def sane(low: float, high: float, unit: str = "") -> AfterValidator:
    """Return a check that a number above zero lies where that of an optical bench can lie."""

    def check(value: float) -> float:
        if not low <= abs(value) <= high and value != 0:
            raise ValueError(f"{value:g} lies outside of {low:g} to {high:g} {unit}".rstrip())
        return value

    return AfterValidator(check)


Nanometre = Annotated[float, _of("length", "nm"), Field(gt=0), sane(10, 1e5, "nm")]
Micrometre = Annotated[float, _of("length", "um"), Field(gt=0), sane(0.01, 1e6, "um")]
Femtosecond = Annotated[float, _of("time", "fs"), Field(gt=0), sane(0.01, 1e12, "fs")]
Hertz = Annotated[float, _of("frequency", "Hz"), Field(gt=0), sane(1e-3, 1e11, "Hz")]
Degree = Annotated[float, _of("angle", "deg"), sane(0, 1e5, "deg")]
Fluence = Annotated[float, _of("fluence", "uJ/cm2"), Field(gt=0), sane(1e-9, 1e12, "uJ/cm2")]
Joule = Annotated[float, _of("energy", None), Field(gt=0), sane(1e-21, 1e3, "J")]
Watt = Annotated[float, _of("power", None), Field(gt=0), sane(1e-18, 1e6, "W")]
