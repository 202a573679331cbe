"""Numbers as people read them at the bench: with unit, interval and convention."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from labctl.analysis.budget import scale_statement
from labctl.model.results.sweep import FluenceBudget

UNIT = "µJ/cm²"


def fluence_axis(convention: str) -> str:
    """Return the label of a fluence axis."""
    return f"Pump fluence on the sample, {convention} ({UNIT})"


def typographic(unit: str) -> str:
    """Return a unit as it is printed.

    >>> typographic("uJ/cm2"), typographic("kW/cm2"), typographic("nJ")
    ('µJ/cm²', 'kW/cm²', 'nJ')
    """
    unit = re.sub(r"(?<![A-Za-z])u(?=[JWAVm])", "µ", unit)
    return re.sub(r"(?<=m)2", "²", re.sub(r"(?<=m)3", "³", unit))


def digits(value: float | None, wanted: int = 4) -> str:
    """Return a number with so many significant digits and no exponent where it can be helped."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if not -4 <= magnitude <= 6:
        return f"{value:.{wanted - 1}e}"
    return f"{value:.{max(wanted - 1 - magnitude, 0)}f}"


def interval(ci95: Sequence[float] | None, wanted: int = 4) -> str:
    """Return a 95 % interval."""
    if ci95 is None:
        return ""
    return f"95 %: {digits(ci95[0], wanted)} – {digits(ci95[1], wanted)}"


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def energy(joule: float | None) -> str:
    """Return a pulse energy."""
    if joule is None or not math.isfinite(joule):
        return "–"
    for scale, unit in ((1e3, "mJ"), (1e6, "µJ"), (1e9, "nJ")):
        if abs(joule) * scale >= 1:
            return f"{digits(joule * scale, 4)} {unit}"
    return f"{digits(joule * 1e12, 4)} pJ"


def power(watt: float | None) -> str:
    """Return a power."""
    if watt is None or not math.isfinite(watt):
        return "–"
    for scale, unit in ((1e3, "mW"), (1e6, "µW")):
        if abs(watt) * scale >= 1:
            return f"{digits(watt * scale, 4)} {unit}"
    return f"{digits(watt * 1e9, 4)} nW"


def dose(uj_cm2: float | None) -> str:
    """Return a dose, in the unit that suits it."""
    if uj_cm2 is None or not math.isfinite(uj_cm2):
        return "–"
    if uj_cm2 >= 1e6:
        return f"{digits(uj_cm2 * 1e-6, 3)} J/cm²"
    if uj_cm2 >= 1e3:
        return f"{digits(uj_cm2 * 1e-3, 3)} mJ/cm²"
    return f"{digits(uj_cm2, 3)} {UNIT}"


def scale(budget: FluenceBudget | None) -> str:
    """Say what is known of the scale of all fluences."""
    return pretty(scale_statement(budget)).replace("±", "± ")


def pretty(text: str) -> str:
    """Return a report's text with typographic units."""
    for plain, typographic in (
        ("+-", "±"),
        (" um", " µm"),
        (" uW", " µW"),
        (" uJ", " µJ"),
        (" deg", "°"),
        ("uJ/cm2", UNIT),
        ("J/cm2", "J/cm²"),
    ):
        text = text.replace(plain, typographic)
    return text
