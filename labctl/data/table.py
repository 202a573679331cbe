"""Read a fluence and a signal from a run or from anybody's table, and say which columns were taken."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from labctl.data.files.guard import HDF5_SIGNATURE, read_text
from labctl.data.reader import read_run
from labctl.model.errors import DataError
from labctl.model.records import FloatArray
from labctl.model.untrusted import open_regular

_HINT = "a table needs a fluence and a signal column"
MOST_ROWS, MOST_COLUMNS, MOST_CELLS = 20_000, 5_000, 1_000_000
"""A light-light curve has tens of points; a fit of far more would take the machine's memory."""
_LONGEST_ROW = 30 * MOST_COLUMNS


@dataclass(frozen=True, slots=True)
class Table:
    """What a threshold is fitted to; arrays have shape ``(n,)``, in the file's order, NaN where unreadable.

    :param path: the file.
    :param signal: emission, in the file's unit.
    :param signal_sigma: its standard error, or None.
    :param fluence_uj_cm2: scaled if the header names another unit, else taken as uJ/cm^2.
    :param fluence_sigma_rel: one relative point-to-point error per point, or None.
    :param taken: the names of the columns used for fluence, signal and (if any) its error.
    :param fwhm_nm: width of the emission, nm, or None.
    :param peak_count: narrow peaks of each spectrum, or None.
    :param convention: "peak" or "average" where the file says so.
    """

    path: Path
    fluence_uj_cm2: FloatArray
    signal: FloatArray
    signal_sigma: FloatArray | None
    fluence_sigma_rel: FloatArray | None
    taken: tuple[str, ...]
    convention: Literal["peak", "average"] | None = None
    fwhm_nm: FloatArray | None = None
    peak_count: FloatArray | None = None


def read_table(path: Path | str) -> Table:
    """Read a run (``.h5``), a run's ``.csv``, or a table of numbers.

    Tables: delimiter "," ";" tab or blanks; decimal comma unless "," delimits; "#" or "%" comments; a header
    or none, with lines of text before it and a line of units below it. Columns are found by name, else the
    first two numeric ones are taken.

    :param path: the file.
    :raises DataError: empty, binary, damaged, longer than ``MOST_ROWS``, or without two numeric columns.
    """
    path = Path(path)
    return _of_run(path) if is_hdf5(path) else _of_text(path, read_text(path))


def is_hdf5(path: Path) -> bool:
    """Whether a file is one of HDF5, as a run is, by its first bytes.

    :param path: the file.
    :raises DataError: it cannot be read.
    """
    try:
        with open_regular(path) as raw:
            return raw.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE
    except (OSError, ValueError) as exc:
        raise DataError(f"{path}: cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc


def _of_run(path: Path) -> Table:
    run = read_run(path)
    if not len(run):
        raise DataError(f"{path}: the run has no points")
    names = ("fluence_uj_cm2", "signal", "signal_sigma")
    arrays = (run.fluence_uj_cm2, run.signal, run.signal_sigma, run.fluence_sigma_rel)
    return Table(run.path, *arrays, names, run.start.convention, run.fwhm_nm, run.column("peak_count"))


def _of_text(path: Path, text: str) -> Table:
    if text.startswith("#Procedure:"):
        text = text[: text.rfind("\n") + 1]  # a kill can leave half a row, and half a number looks like one
    lines = [line for line in text.split("\n") if line.strip() and line.lstrip()[0] not in "#%"]
    if not lines:
        raise DataError(f"{path} has no rows", _HINT)
    if len(lines) > MOST_ROWS:
        raise DataError(f"{path} has {len(lines)} rows, more than {MOST_ROWS}", "average or bin them first")
    _refuse_too_wide(path, lines)
    try:
        cells = list(map(_splitter(lines), lines))
    except csv.Error as exc:
        raise DataError(f"{path} is not a table: {exc}", _HINT) from exc
    start = next((at for at, row in enumerate(cells) if any(map(_reads, row))), 1)
    header, rows = cells[:start], cells[start:]
    width = max((len(row) for row in rows), default=0)
    numbers = np.full((len(rows), width), np.nan)
    for at, row in enumerate(rows):
        numbers[at, : len(row)] = [_number(cell) for cell in row]
    numeric = [at for at in range(width) if np.isfinite(numbers[:, at]).sum() * 2 >= max(len(rows), 1)]
    return _chosen(path, _names(header, width), numbers, numeric)


def _refuse_too_wide(path: Path, lines: Sequence[str]) -> None:
    """Count cells before anything is made of them: a million of them in one row is no light-light curve."""
    if (longest := max(map(len, lines))) > _LONGEST_ROW:
        raise DataError(f"{path} has a row of {longest} characters, more than {_LONGEST_ROW}", _HINT)
    widths = [max(map(line.count, ",;\t ")) + 1 for line in lines]
    if max(widths) > MOST_COLUMNS or sum(widths) > MOST_CELLS:
        raise DataError(
            f"{path} has {len(lines)} rows of up to {max(widths)} cells, more than {MOST_COLUMNS} in a row "
            f"or {MOST_CELLS} in all",
            "keep the fluence and signal columns",
        )


def _names(header: Sequence[Sequence[str]], width: int) -> list[str]:
    """Name the columns by the last line above the numbers, and by the one above it where that holds units."""
    last = list(header[-1]) if header else []
    if len(header) > 1 and last and all(_UNIT_CELL.fullmatch(cell) for cell in last):
        above = [*header[-2], *[""] * len(last)]
        last = [f"{name} {unit}".strip() for name, unit in zip(above, last, strict=False)]
    return [last[at] if at < len(last) and last[at] else f"column {at + 1}" for at in range(width)]


def _chosen(path: Path, names: Sequence[str], numbers: FloatArray, numeric: Sequence[int]) -> Table:
    """Pick the columns by name, then by place."""
    if len(numeric) < 2:
        raise DataError(f"{path} has {len(numeric)} numeric column(s)", _HINT)
    fluence = _first(names, numeric, _FLUENCE)
    rest = [at for at in numeric if at != fluence]
    width, peaks = _first(names, rest, _WIDTH), _first(names, rest, _PEAKS)
    rest = [at for at in rest if at not in (width, peaks)] if len(rest) > 1 else rest
    signal = _first(names, rest, _SIGNAL)
    if fluence is None:
        fluence = next(at for at in numeric if at != signal)
    if signal is None:
        rest = [at for at in rest if at != fluence] or [at for at in numeric if at != fluence]
        signal = next((at for at in rest if not _ERROR.search(names[at])), rest[0])
    width, peaks = (None if at in (fluence, signal) else at for at in (width, peaks))
    sigma = _sigma(names, signal, [at for at in rest if at not in (fluence, signal)])
    relative = _first(names, numeric, re.compile(r"fluence relative error"))
    taken = tuple(names[at] for at in (fluence, signal, sigma) if at is not None)
    return Table(
        path,
        numbers[:, fluence] * _scale(names[fluence]),
        numbers[:, signal],
        None if sigma is None else numbers[:, sigma],
        None if relative is None else numbers[:, relative],
        taken,
        _convention(names[fluence]),
        None if width is None else numbers[:, width],
        None if peaks is None else numbers[:, peaks],
    )


_ERROR = re.compile(r"(?i)err|sigma|std|\bsd\b|uncert|±|delta|relative")
_FLUENCE = re.compile(
    r"(?i)^(?!.*(\bset\b|err|sigma|std|uncert|relative|dose)).*(fluence|energy density|[jJ]/cm)"
)
_SIGNAL = re.compile(
    r"(?i)^(?!.*(err|sigma|std|\bsd\b|uncert|relative|peaks? ))"
    r".*(signal|intensity|integral|emission|counts|output|yield)"
)
# A width in nm, or without a unit; one in meV or pm, of a pulse or of a slit is another thing.
_WIDTH = re.compile(
    r"(?i)^(?!.*(err|sigma|std|uncert|relative|±|pulse|slit|instrument|equivalent))"
    r"[^(\[,/]*(fwhm|line ?width)[^(\[,/]*([(\[,/]\s*nm\s*[)\]]?)?$"
)
_PEAKS = re.compile(r"(?i)^\s*(number of (laser |lasing )?(peaks|lines)|(peak|line) ?count|n ?peaks)\s*$")
_UNITS = {"j": 1e6, "mj": 1e3, "uj": 1.0, "µj": 1.0, "μj": 1.0, "nj": 1e-3}


def _first(names: Sequence[str], among: Sequence[int], pattern: re.Pattern[str]) -> int | None:
    return next((at for at in among if pattern.search(names[at].lower())), None)


def _sigma(names: Sequence[str], signal: int, among: Sequence[int]) -> int | None:
    """Return the error column that belongs to the signal: by its name, or as the next column."""
    word = re.split(r"[\s(_\[]", names[signal].lower())[0]
    errors = [at for at in among if _ERROR.search(names[at]) and "fluence" not in names[at].lower()]
    named = [at for at in errors if names[at].lower().startswith(word)]
    return next(iter(named), next((at for at in errors if at > signal), None))


def _scale(name: str) -> float:
    found = re.search(
        r"([munµμ]?j)\s*(?:/|\*|·|\s)?\s*(?:per )?(cm|mm|m)\s*(?:\^|\*\*)?\s*-?[2²]", name.lower()
    )
    if not found:
        return 1.0
    return _UNITS[found[1]] * {"cm": 1.0, "mm": 1e2, "m": 1e-4}[found[2]]


def _convention(name: str) -> Literal["peak", "average"] | None:
    words = name.lower()
    return "peak" if "peak" in words else "average" if "average" in words or "mean" in words else None


class _splitter:  # noqa: N801  used like a function, made once per file
    """Splits a line by the delimiter that most lines agree on."""

    def __init__(self, lines: Sequence[str]) -> None:
        sample = lines[:200]
        body = sample[1:] or sample
        self._mark = next(
            (mark for mark in ("\t", ";", ",") if all(mark in line for line in body)),
            next(
                (mark for mark in ("\t", ";", ",") if sum(mark in line for line in body) * 2 > len(body)), ""
            ),
        )
        if self._mark == "," and all(_DECIMAL_COMMAS.fullmatch(line.strip()) for line in body):
            self._mark = ""

    def __call__(self, line: str) -> list[str]:
        cells = next(csv.reader([line], delimiter=self._mark), []) if self._mark else line.split()
        comma = self._mark != ","
        clean = [cell.strip().strip("\"'").strip() for cell in cells]
        return [_pointed(cell) for cell in clean] if comma else clean


def _pointed(cell: str) -> str:
    """Write a number with a point: a comma before decimals, or commas between thousands."""
    if _THOUSANDS.fullmatch(cell):
        return cell.replace(",", "")
    return cell.replace(",", ".") if _COMMA_NUMBER.fullmatch(cell) else cell


_UNIT_CELL = re.compile(
    r"(?i)[\[(]?\s*(?:[munµμk]?j\s*(?:/|\s|per)?\s*(?:cm|mm|m)?\S*|counts.*|cts|a\.?\s?u\.?|%|[munµμ]?[wsv]|nm)?\s*[\])]?"
)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+\.\d*")
_COMMA_NUMBER = re.compile(r"[+-]?\d*,\d*(?:[eE][+-]?\d+)?")
_DECIMAL_COMMAS = re.compile(
    r"(?:[+-]?\d+(?:,\d+)?(?:[eE][+-]?\d+)?)(?:\s+[+-]?\d+(?:,\d+)?(?:[eE][+-]?\d+)?)+"
)


def _reads(cell: str) -> bool:
    """Tell whether a cell is a number, or says that it is none."""
    return np.isfinite(_number(cell)) or cell.lower().lstrip("+-") in ("nan", "inf", "infinity")


def _number(cell: str) -> float:
    try:
        return float(cell) if "_" not in cell else float("nan")
    except ValueError:
        return float("nan")
