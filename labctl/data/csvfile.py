"""CSV files of a run: pymeasure's, mended where it disagrees with the HDF5 file, and plain exports."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.data.files.guard import read_text
from labctl.data.run import Run
from labctl.data.schema import COLUMNS, DATA_COLUMNS, fields, scalar
from labctl.model.errors import DataError
from labctl.model.untrusted import write_whole

_HEADER = ",".join(DATA_COLUMNS)


@dataclass(frozen=True, slots=True)
class CsvState:
    """A run's CSV beside its points.

    :param header: the comment lines and the labels; None where they are not whole.
    :param rows: whole lines of points that are in the run, by the point's number.
    :param torn: whether the last line has no end.
    :param strange: lines that are no row of a point of this run.
    :param different: numbers of points whose numbers are others in the CSV.
    :param in_order: whether the rows come in the order of the points, each once.
    """

    header: str | None
    rows: dict[int, str]
    torn: bool
    strange: int
    different: tuple[int, ...]
    in_order: bool

    def missing(self, points: NDArray[Any]) -> list[int]:
        """Return the numbers of the points without a row."""
        return [number for number in points["index"].tolist() if number not in self.rows]


def csv_row(point: np.void) -> str:
    """Return the line that the CSV holds for a stored point."""
    values = fields({column.field: point[column.field].item() for column in COLUMNS})
    return ",".join(f"{scalar(column, values[column.field])}" for column in COLUMNS)


def examine(csv: Path, points: NDArray[Any]) -> CsvState:
    """Compare the CSV with the stored points.

    :raises DataError: it is there but cannot be read as text.
    """
    empty = not csv.exists() or (csv.is_file() and csv.stat().st_size == 0)
    text = "" if empty else read_text(csv)
    *lines, rest = text.split("\n")
    ends = [number for number, line in enumerate(lines) if not line.startswith("#")][:1]
    begin = ends[0] + 1 if ends and lines[ends[0]] == _HEADER else None
    header = None if begin is None else "\n".join(lines[:begin])
    known = {int(point["index"]): csv_row(point) for point in points}
    found: dict[int, str] = {}
    order, strange, different = [], 0, []
    for line in lines[begin:] if begin is not None else []:
        number = _number(line)
        if number not in known:
            strange += 1
            continue
        order.append(number)
        found.setdefault(number, line)
        if line != known[number]:
            different.append(number)
    in_order = order == [number for number in known if number in found]
    return CsvState(header, found, bool(rest), strange, tuple(different), in_order)


def whole_csv(csv: Path, points: NDArray[Any], header: str) -> None:
    """Write a run's CSV anew, with the rows of all its points.

    :param header: comment lines and labels, each with its end.
    :raises DataError: it cannot be written.
    """
    _put(csv, header + "".join(f"{csv_row(point)}\n" for point in points))


def mend_csv(csv: Path, points: NDArray[Any], header: str) -> tuple[str, ...]:
    """Bring the CSV up to the stored points; return what was done, empty if it was in order.

    :param header: comment lines and labels, each with its end, for a file that has lost its own.
    :raises DataError: it cannot be read or written.
    """
    state = examine(csv, points)
    missing, done = state.missing(points), []
    if state.header is None:
        done.append("its header was rewritten")
    if state.torn:
        done.append("an incomplete line was removed")
    if missing:
        done.append(f"{len(missing)} row(s) were restored from the run file")
    if state.strange or not state.in_order:
        done.append("its rows were sorted in the order of the run file")
    if done:
        head = header if state.header is None else state.header + "\n"
        rows = [state.rows.get(int(point["index"])) or csv_row(point) for point in points]
        _put(csv, head + "".join(f"{row}\n" for row in rows))
    return tuple(done)


def _put(csv: Path, text: str) -> None:
    write_whole(csv, text.replace("\n", os.linesep))


def _number(line: str) -> int | None:
    cells = line.split(",")
    with contextlib.suppress(ValueError):
        return int(cells[0]) if len(cells) == len(COLUMNS) else None
    return None


_FIELDS = ("fluence_uj_cm2", "signal", "signal_sigma", "peaks_signal", "peaks_signal_sigma", "fwhm_nm")


def _about(run: Run) -> str:
    return f"{run.start.sample}, run {run.start.run_id} ({run.status}), {run.start.convention} fluence"


def export_curve(run: Run, path: Path) -> Path:
    """Write one row per point: fluence and its error, both signals with theirs, FWHM. Never overwrites.

    :param run: a stored run.
    :param path: the CSV to write; it must not exist.
    :raises DataError: ``path`` exists or cannot be written.
    """
    labels = {column.field: column.label for column in COLUMNS}
    fluence_label = f"{run.start.convention.capitalize()} fluence (uJ/cm^2)"
    header = [fluence_label, "Fluence error (uJ/cm^2)", *(labels[field] for field in _FIELDS[1:])]
    fluence = run.fluence_uj_cm2
    values = [fluence, fluence * run.fluence_sigma_rel, *(run.column(field) for field in _FIELDS[1:])]
    rows = ([float(column[at]) for column in values] for at in range(len(run)))
    return write_csv(Path(path), _about(run), header, rows, anew=True)


def export_spectra(run: Run, path: Path) -> Path:
    """Write one row per wavelength and one column per point, headed by its fluence. Never overwrites.

    :param run: a stored run.
    :param path: the CSV to write; it must not exist.
    :raises DataError: ``path`` exists or cannot be written.
    """
    header = ["Wavelength (nm)", *(f"{value:.6g} uJ/cm^2" for value in run.fluence_uj_cm2)]
    spectra = run.spectra
    rows = ([float(nm), *spectra[:, at].tolist()] for at, nm in enumerate(run.wavelength_nm))
    return write_csv(Path(path), _about(run), header, rows, anew=True)


def write_csv(
    path: Path, about: str, header: Sequence[str], rows: Iterable[Sequence[object]], *, anew: bool = False
) -> Path:
    """Write a CSV under one line that says what it is.

    :param anew: whether the file must not exist.
    :raises DataError: it cannot be written, or exists.
    """
    try:
        with path.open("x" if anew else "w", newline="", encoding="utf-8") as file:
            file.write(f"# {about}".replace("\n", " ").replace("\r", " ") + "\n")
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(rows)
    except OSError as exc:
        raise DataError(f"cannot write {path}: {exc.strerror or exc}", "choose another file name") from exc
    return path
