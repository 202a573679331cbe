"""What a cell is: a number as people write it, a word for a missing one, an over-range mark."""

from __future__ import annotations

import re

_SIGN = r"[+\-−–]?"
_GROUPS = r"\d{1,3}(?:[.,'’\u00a0\u2009\u202f ]\d{3})+"
_DIGITS = rf"(?:{_GROUPS}(?:[.,]\d*)?|\d+(?:[.,]\d*)?|[.,]\d+)"
_POWER = (
    r"(?:\s?[eEdD]\s?[+\-−]?\d{1,3}|\s?[x×*·]\s?10\s?(?:\^|\*\*)?\s?[{(]?[+\-−⁻⁺]?[\d⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3}[})]?)?"
)
NUMBER = rf"{_SIGN}\s?{_DIGITS}{_POWER}"
_SPREAD = rf"(?:\s*(?:±|\+/-|\+-|\+\\-|\\pm)\s*{_DIGITS}{_POWER})?"
_UNIT = r"(?:\s?(?![eEdD][+\-]?\d)[A-Za-zµμ%°][A-Za-zµμ%°/²³⁻^*·.\d \-()]{0,14})?"
CELL = re.compile(rf"(?P<number>{NUMBER})(?P<spread>{_SPREAD})(?P<unit>{_UNIT})")
"""A number, what stands behind a plus-minus sign, and a unit."""
_PLAIN = re.compile(r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?")

OVER = re.compile(
    r"(?i)[+-]?\s*(?:over(?:[ _-]?(?:range|load|flow))?|ovld|ovrng|ovfl?w?|o\.?l\.?|oor|"
    r"out of range|sat(?:urated|uration)?"
    r"|inf(?:inity)?|[+-]?1\.#inf|∞|clipped|übersteuert|uebersteuert|überlauf)\.?"
)
"""Words of instruments for a value beyond their range."""
_MISSING = re.compile(
    r"(?i)|[+-]?nan|n\.?/?a\.?|#n/?a|#wert!|#value!|#div/0!|#num!|null|none|missing|-+|–+|—+|\.+|"
    r"\?+|x|\*+|[+-]?1\.#(?:qnan|ind)"
    r"|under(?:range|flow)?|fail(?:ed)?|err(?:or)?|bad|k\.?\s?a\.?|leer|fehlt"
)
_BOUND = re.compile(rf"[<>≤≥~≈]=?\s*{NUMBER}")


def is_number_like(cell: str) -> bool:
    """Tell whether a cell is a number in any of the ways people write one.

    >>> [is_number_like(c) for c in ("1,234.5", "30 uJ", "138 ± 3", "1.5D+02", "2024-03-01", "12:30")]
    [True, True, True, True, False, False]
    """
    return bool(_PLAIN.fullmatch(cell) or (cell and CELL.fullmatch(cell)))


def is_missing(cell: str) -> bool:
    """Tell whether a cell says that there is no number: empty, "n/a", "OVER", a mere bound."""
    return bool(_MISSING.fullmatch(cell) or OVER.fullmatch(cell) or _BOUND.fullmatch(cell))


def why_missing(cell: str) -> str:
    """Say what stands in the place of a number."""
    if not cell:
        return "empty"
    if OVER.fullmatch(cell):
        return f"over-range mark {cell!r}"
    if _BOUND.fullmatch(cell):
        return f"a bound, {cell!r}"
    return f"not a number: {cell[:20]!r}"
