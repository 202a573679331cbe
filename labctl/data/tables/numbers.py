"""From cells to numbers: decimal and thousands marks are decided by the whole column, then by the file."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from labctl.data.tables.marks import CELL, is_missing, is_number_like, why_missing
from labctl.model.errors import DataError
from labctl.model.records import FloatArray
from labctl.model.units import Unit, factor, read_unit

_AMBIGUOUS = re.compile(r"[+-]?[1-9]\d{0,2}([.,])\d{3}")
_TIMES_TEN = re.compile(r"\s?[x×*·]\s?10\s?(?:\^|\*\*)?\s?[{(]?([+\-]?\d{1,3})[})]?$")
_GROUP_BLANKS = dict.fromkeys(map(ord, "'’\u00a0\u2009\u202f _"))
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺−–", "0123456789-+--")
_HUGE = 1e30


@dataclass(slots=True)
class Numbers:
    """One column as numbers, arrays of shape ``(n,)``, nan where there is none.

    :ivar values: the numbers, in ``unit`` where the cells carry one.
    :ivar spread: what stands behind a plus-minus sign; None where no cell has one.
    :ivar unit: that the cells carry themselves; None where they do not.
    :ivar missing: why a row has no number, by the row's place.
    :ivar decimal: the decimal mark, "." or ",".
    :ivar grouped: whether marks between thousands were taken out.
    """

    values: FloatArray
    spread: FloatArray | None = None
    unit: Unit | None = None
    missing: dict[int, str] = field(default_factory=dict)
    decimal: str = "."
    grouped: bool = False


def numbers_of(
    path: Path, columns: Sequence[Sequence[str]], names: Sequence[str], mark: str
) -> list[Numbers | None]:
    """Read every column; None for one that holds text.

    :param names: of the columns, for what is said of them.
    :param mark: the delimiter of the file.
    :raises DataError: the marks of a column cannot be decided.
    """
    plain = [_plain(column) for column in columns]
    rest = [at for at, found in enumerate(plain) if found is None]
    seen = {at: _evidence(columns[at]) for at in rest}
    decimals = {e for found in seen.values() for e in found if e.startswith("decimal")}
    points = any(
        found is not None and any("." in cell for cell in columns[at][:50]) for at, found in enumerate(plain)
    )
    if points:
        decimals.add("decimal .")
    made: list[Numbers | None] = []
    for at, column in enumerate(columns):
        ready = plain[at]
        if ready is not None and not ("decimal ," in decimals and _all_ambiguous(column)):
            made.append(ready)
        elif not _mostly_numbers(column):
            made.append(None)
        else:
            found = seen.get(at) or _evidence(column)
            decimal, group = _decided(path, names[at], column, found, decimals, mark)
            made.append(_converted(column, decimal, group))
    return made


def _plain(column: Sequence[str]) -> Numbers | None:
    """Read a column that no rule is needed for: numbers with points, or none."""
    import pandas as pd

    if _may_be_grouped(column):
        return None
    series = pd.Series(column, dtype=object)
    values = np.array(pd.to_numeric(series, errors="coerce"), dtype=np.float64)
    lost = [int(at) for at in np.flatnonzero(~np.isfinite(values))]
    known = [at for at in lost if not is_missing(column[at]) and is_number_like(column[at])]
    if known or 2 * len(lost) > len(column) or "_" in "".join(column[:50]):
        return None
    return _checked(Numbers(values, missing={at: why_missing(column[at]) for at in lost}), column)


def _may_be_grouped(column: Sequence[str]) -> bool:
    """Whether points may stand between thousands: "138", "950", "1.234"."""
    dotted = [c for c in column if "." in c]
    return bool(dotted) and all(
        _AMBIGUOUS.fullmatch(c) or re.fullmatch(r"\d{1,3}(?:\.\d{3})+", c) for c in dotted
    )


def _all_ambiguous(column: Sequence[str]) -> bool:
    return _may_be_grouped(column)


def _mostly_numbers(column: Sequence[str]) -> bool:
    count = sum(map(is_number_like, column))
    return count > 0 and 2 * count >= sum(bool(c) for c in column)


def _evidence(column: Sequence[str]) -> set[str]:
    """Collect what single cells prove: "decimal ,", "group .", and what they leave open: "open ,"."""
    found: set[str] = set()
    for cell in column:
        match = CELL.fullmatch(cell) if cell else None
        if match is None or is_missing(cell):
            continue
        found |= _of_cell(match["number"].strip())
    return found


def _of_cell(number: str) -> set[str]:
    digits = re.split(r"\s?[eEdD]|\s?[x×*·]", number)[0]
    marks = [c for c in digits if c in ",."]
    if not marks:
        return set()
    if len(set(marks)) == 2:
        last = marks[-1]
        return {f"decimal {last}", f"group {',' if last == '.' else '.'}"}
    mark = marks[0]
    if len(marks) > 1:
        return {f"group {mark}"}
    if _AMBIGUOUS.fullmatch(digits.strip()) and digits == number:
        return {f"open {mark}"}
    return {f"decimal {mark}"}


def _decided(
    path: Path, name: str, column: Sequence[str], found: set[str], decimals: set[str], mark: str
) -> tuple[str, str]:
    """Return the decimal mark of a column, and the mark between its thousands ("" for none)."""
    if {"decimal ,", "decimal ."} <= found:
        raise DataError(
            f"{path}: column {name!r} has decimal commas and decimal points", "save it with one decimal mark"
        )
    for decimal, group in ((",", "."), (".", ",")):
        if f"decimal {decimal}" in found or f"group {group}" in found:
            return decimal, group
    if "open ," not in found and "open ." not in found:
        return ".", ","
    return _of_open(path, name, column, found, decimals, mark)


def _of_open(
    path: Path, name: str, column: Sequence[str], found: set[str], decimals: set[str], mark: str
) -> tuple[str, str]:
    """Decide "1,234": by the other columns, then by the cells beside it, then by the delimiter."""
    if {"open ,", "open ."} <= found:
        raise DataError(
            f"{path}: column {name!r} has both commas and points", "save it with one decimal mark"
        )
    open_mark = "," if "open ," in found else "."
    other = "." if open_mark == "," else ","
    if f"decimal {other}" in decimals and f"decimal {open_mark}" not in decimals:
        return other, open_mark
    unmarked = [float(c) for c in column if re.fullmatch(r"[+-]?\d+", c)]
    if unmarked:
        smooth = _roughness(column, open_mark, "") < _roughness(column, open_mark, ".")
        fits = max(map(abs, unmarked)) < 1000 and smooth
        return (other, open_mark) if fits else (open_mark, other)
    if f"decimal {open_mark}" in decimals or mark == ";" or open_mark == ".":
        return open_mark, other
    first = next(c for c in column if _AMBIGUOUS.fullmatch(c))
    raise DataError(
        f"{path}: column {name!r}: {first!r} is {first.replace(',', '')} or {first.replace(',', '.')}",
        "save it without marks between thousands, or with a decimal point",
    )


def _roughness(column: Sequence[str], mark: str, by: str) -> float:
    """Say how far neighbouring numbers lie apart, in logarithms, if a mark is read as ``by``."""
    values = [abs(float(c.replace(mark, by))) for c in column if re.fullmatch(rf"[+-]?\d+(?:\{mark}\d+)?", c)]
    logs = np.log([v for v in values if v > 0])
    return float(np.abs(np.diff(logs)).sum())


def _converted(column: Sequence[str], decimal: str, group: str) -> Numbers:
    values, spread = np.full(len(column), np.nan), np.full(len(column), np.nan)
    missing: dict[int, str] = {}
    units: dict[int, str] = {}
    grouped = False
    for at, cell in enumerate(column):
        match = CELL.fullmatch(cell) if cell and not is_missing(cell) else None
        number = math.nan if match is None else _number(match["number"], decimal, group)
        if match is None or math.isnan(number):
            missing[at] = why_missing(cell)
            continue
        values[at] = number
        grouped = grouped or (group in match["number"] and bool(group))
        if match["spread"]:
            spread[at] = _number(re.sub(r"^[^\d.,]*", "", match["spread"].strip()), decimal, group)
        if match["unit"].strip():
            units[at] = match["unit"].strip()
    made = Numbers(values, None if np.isnan(spread).all() else spread, None, missing, decimal, grouped)
    return _checked(_with_units(made, units), column)


def _number(text: str, decimal: str, group: str) -> float:
    text = text.strip().translate(_SUPERSCRIPTS)
    times = _TIMES_TEN.search(text)
    text = f"{text[: times.start()]}e{times[1]}" if times else re.sub(r"\s?[dDE]\s?(?=[+\-]?\d)", "e", text)
    text = text.translate(_GROUP_BLANKS).replace(group, "").replace(decimal, ".")
    try:
        return float(text)
    except ValueError:
        return math.nan


def _with_units(made: Numbers, texts: dict[int, str]) -> Numbers:
    """Bring cells that carry units to one unit: "900 nJ", "1.1 uJ"."""
    read = {at: read_unit(text) for at, text in texts.items()}
    known = [unit for unit in read.values() if unit is not None]
    if not known:
        return made
    common = max(known, key=lambda unit: sum(u.text == unit.text for u in known))
    for at, unit in read.items():
        scale = None if unit is None else factor(unit.text, common.text)
        if scale is None:
            made.missing[at] = f"another unit: {texts[at]!r}"
            made.values[at] = math.nan
        else:
            made.values[at] *= scale
            if made.spread is not None:
                made.spread[at] *= scale
    bare = [at for at in range(made.values.size) if at not in read and np.isfinite(made.values[at])]
    if bare and len(bare) < len(read):
        for at in bare:
            made.missing[at], made.values[at] = "no unit, where other rows have one", math.nan
    made.unit = common
    return made


def _checked(made: Numbers, column: Sequence[str]) -> Numbers:
    """Take out what a meter writes in place of a number."""
    for at in map(int, np.flatnonzero(~(np.abs(made.values) < _HUGE) & ~np.isnan(made.values))):
        made.missing[at] = f"over-range mark {column[at].strip()!r}"
        made.values[at] = np.nan
    return made
