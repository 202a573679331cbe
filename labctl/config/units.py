"""Numbers with units, as people type them: "2.5 mW", "100 nJ", "35 fs", "0.02 mJ/cm2", "10 min".

In a bench file a plain number is taken in the unit its key names, and text must carry a unit of the right
kind; on a command line or at a prompt a plain number may be typed too (:func:`typed`). pint knows the units.
"""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from labctl.model.units import factor, spelled

_KINDS = {
    "length": "m",
    "energy": "J",
    "power": "W",
    "time": "s",
    "frequency": "Hz",
    "angle": "rad",
    "fluence": "uJ/cm2",
    "share": "",
}
"""A unit of each kind of quantity; what is asked for without a target comes in it."""
_SHOWN = {"energy": "nJ", "power": "mW"}
_NUMBER = r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
_TEXT = re.compile(rf"\s*{_NUMBER}\s*([^\d\s].*?)\s*")
_UNIT = re.compile(r"[A-Za-z%/^2 ]{1,24}")  # pint would carry out whatever sum it is given


def convert(value: object, kind: str, target: str | None) -> float:
    """Return ``value`` as a plain number in ``target``.

    :param kind: the physical quantity, e.g. "energy".
    :param target: the unit a plain number is taken in; None where the key names none, so that only
        text with a unit is clear. The result is then in the SI unit.
    :raises ValueError: not a finite number, no unit, an unknown unit or one of another kind.

    >>> convert("35 fs", "time", "fs"), convert("0.8 um", "length", "nm"), convert(5, "length", "nm")
    (35.0, 800.0, 5.0)
    """
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
    unit = re.sub("j(?=/)", "J", spelled(match[2]))
    share = factor(unit, target or _KINDS[kind]) if _UNIT.fullmatch(unit) else None
    if share is None:
        raise ValueError(f"{match[2]!r} is not a unit of {kind}; write text such as {_example(kind, target)}")
    # 15 digits keep "0.8 um" at exactly 800 nm and "100 nJ" at exactly 1e-7 J.
    return _finite(float(f"{float(match[1]) * share:.15g}"))


def typed(text: str, kind: str, target: str) -> float:
    """Return what somebody typed: a plain number in ``target``, or a number with a unit of its kind.

    :raises ValueError: it is neither, or not finite.

    >>> typed("20", "fluence", "uJ/cm2"), typed("0.02 mJ/cm²", "fluence", "uJ/cm2")
    (20.0, 20.0)
    """
    return convert(float(text) if re.fullmatch(rf"\s*{_NUMBER}\s*", text) else text, kind, target)


_COMMA = re.compile(r"\s*[+-]?(\d+),(\d+)(?![\d.,])")


def decimal_point(text: str) -> str:
    """Return the text of a number with a point where somebody typed a decimal comma.

    :raises ValueError: it may be the comma of thousands, or there are several.

    >>> decimal_point("500,5"), decimal_point("0,125 mJ/cm2"), decimal_point("20")
    ('500.5', '0.125 mJ/cm2', '20')
    """
    if "," not in text:
        return text
    found = _COMMA.match(text)
    if found is None or text.count(",") > 1:
        raise ValueError(f"{text!r} is not a number; write a decimal point, and nothing between thousands")
    whole, part = found.groups()
    if len(part) == 3 and len(whole) <= 3 and int(whole):
        either = f"{whole}.{part} or {whole}{part}"
        raise ValueError(f"{text!r} may mean {either}; write {either}")
    return text.replace(",", ".")


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("must be finite")
    return number


def _example(kind: str, target: str | None) -> str:
    return f'"2.5 {target or _SHOWN.get(kind, _KINDS[kind])}"'


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
