"""A light-light curve from anybody's CSV: a fluence and a signal column, found by name, and named."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labctl.model.errors import DataError
from labctl.model.records import FloatArray

MAX_BYTES = 100_000_000
_SHARE = 0.5
"""A column is numeric when more than this share of its cells are numbers."""

_FLUENCE_WORDS = (r"fluence", r"energy density", r"pump", r"uj/cm", r"mj/cm")
_SIGNAL_WORDS = (r"signal", r"intensity", r"emission", r"counts", r"integr", r"\bpl\b")
_NOT_MEANT = re.compile(r"error|sigma|\bset\b|relative|uncert|std", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CsvCurve:
    """The curve, shape ``(n,)``, and the headings of the columns it was taken from."""

    fluence_uj_cm2: FloatArray
    signal: FloatArray
    fluence_column: str
    signal_column: str


def read_curve(path: Path) -> CsvCurve:
    """Read a CSV: comma, semicolon, tab or blanks between cells, ``#`` before comments, headings or none.

    Cells that are no numbers become nan. With semicolons or tabs a decimal comma is understood.

    :raises DataError: unreadable, empty, no text, or without two numeric columns.
    """
    lines = _lines(path)
    rows = _cells(lines)
    headings, body = _headings(rows)
    numbers = [
        np.array([_number(row[i]) if i < len(row) else math.nan for row in body])
        for i in range(len(headings))
    ]
    numeric = [i for i, column in enumerate(numbers) if column.size and np.isfinite(column).mean() > _SHARE]
    if len(numeric) < 2:
        raise DataError(
            f"{path}: no two numeric columns, only {len(numeric)}",
            "a CSV needs a fluence and a signal column",
        )
    fluence = _choose(headings, numeric, _FLUENCE_WORDS, fallback=0)
    others = [i for i in numeric if i != fluence]
    signal = _choose(headings, others, _SIGNAL_WORDS, fallback=0)
    return CsvCurve(numbers[fluence], numbers[signal], headings[fluence], headings[signal])


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as exc:
        raise DataError(f"{path}: cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
    if len(raw) > MAX_BYTES:
        raise DataError(f"{path}: larger than {MAX_BYTES // 1_000_000} MB")
    try:
        text = raw.decode("utf-16" if raw[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig")
    except UnicodeDecodeError as exc:
        raise DataError(f"{path}: no text", "give a run file (.h5) or a CSV") from exc
    if "\0" in text:
        raise DataError(f"{path}: binary data, no text", "give a run file (.h5) or a CSV")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise DataError(f"{path}: empty")
    return lines


def _cells(lines: Sequence[str]) -> list[list[str]]:
    sample = lines[min(1, len(lines) - 1)]
    delimiter = next((d for d in ("\t", ";", ",") if d in sample), None)
    if delimiter is None:
        return [line.split() for line in lines]
    rows = csv.reader(lines, delimiter=delimiter)
    mark = "." if delimiter == "," else ","
    try:
        return [[cell.strip().replace(mark, ".") for cell in row] for row in rows]
    except csv.Error as exc:
        raise DataError(f"not a table: {exc}") from exc


def _headings(rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Take the first row for headings unless it is all numbers."""
    first = rows[0]
    if any(not math.isfinite(_number(cell)) for cell in first if cell):
        return first, rows[1:]
    return [f"column {i + 1}" for i in range(len(first))], rows


def _choose(headings: Sequence[str], among: Sequence[int], words: Sequence[str], fallback: int) -> int:
    for word in words:
        for i in among:
            if re.search(word, headings[i], re.IGNORECASE) and not _NOT_MEANT.search(headings[i]):
                return i
    return among[fallback]


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan
