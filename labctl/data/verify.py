"""Check that a run is complete, agrees with its own checksums, and says the same in both of its files."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labctl.data import schema
from labctl.data.csvfile import examine
from labctl.data.files.guard import GuardedFile, opened
from labctl.data.reader import is_sound, read_run
from labctl.data.run import Run
from labctl.data.shots import shot_problems
from labctl.model.errors import DataError

_MOST = 20
_FLOAT = np.dtype("<f8")


@dataclass(frozen=True, slots=True)
class Findings:
    """What a run file is like.

    :param run: what could be read of it.
    :param problems: what is wrong, one line each; empty for a sound run, however it ended.
    :param notes: what a reader should know though nothing is wrong, e.g. that a kill cost the last row.
    """

    run: Run
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def verify(path: Path | str) -> tuple[str, ...]:
    """Return what is wrong with a run file, one line each; empty for a sound one, however it ended.

    :raises DataError: it cannot be opened as a run at all.
    """
    return findings(path).problems


def findings(path: Path | str) -> Findings:
    """Check a run file, and the CSV beside it if there is one.

    :param path: the ``.h5``, or the ``.csv`` beside one.
    :raises DataError: it cannot be opened as a run at all.
    """
    run = read_run(path)
    notes: list[str] = []
    with opened(run.path) as file:
        problems = [
            *_points(file, run),
            *_curve(file, run),
            *_dark_sums(file, run),
            *_references(run),
            *_sessions(run),
            *shot_problems(file, run.wavelength_nm.size),
        ]
    problems += _csv(run, notes) if run.shots is None or len(run) else []
    left_out = len(problems) - _MOST
    shown = (*problems[:_MOST], *([f"and {left_out} more"] if left_out > 0 else []))
    return Findings(run, shown, tuple(notes))


def _unfinished(run: Run) -> bool:
    return run.status in ("running", "killed")


def _points(file: GuardedFile, run: Run) -> Iterator[str]:
    for at, row in enumerate(run.points):
        try:
            if not is_sound(file, row, at, run.wavelength_nm.size):
                yield f"point {at + 1}: checksum does not match"
        except DataError as exc:
            yield f"point {at + 1}: {exc.message}"
    numbers = run.points["index"].tolist()
    if len(set(numbers)) != len(numbers):
        yield "two points have the same number"
    elif numbers != list(range(len(numbers))):
        yield "points are missing between others"
    stored = file.array(f"{schema.RECORD}/points", schema.POINT_DTYPE, ()).shape[0]
    if stored > len(run) and not _unfinished(run):
        yield f"{stored - len(run)} point(s) at the end are damaged"


def _curve(file: GuardedFile, run: Run) -> Iterator[str]:
    """The curve that viewers show repeats the points."""
    sigma = run.fluence_uj_cm2 * run.fluence_sigma_rel
    expected = (run.fluence_uj_cm2, sigma, run.signal, run.signal_sigma)
    for name, values in zip(schema.CURVE_NAMES, expected, strict=True):
        shown = file.array(f"{schema.CURVE}/{name}", _FLOAT, ())
        rest = shown.size - values.size
        if rest < 0 or (rest > 0 and not _unfinished(run)):
            yield f"the curve has {shown.size} values of {name} for {values.size} points"
        elif not np.array_equal(shown[: values.size], values, equal_nan=True):
            yield f"{name} of the curve differs from that of the points"


def _dark_sums(file: GuardedFile, run: Run) -> Iterator[str]:
    sums = file.array(f"{schema.DARKS}/table", schema.DARK_DTYPE, ())["crc32_data"]
    for dark, expected in zip(run.darks, sums, strict=False):
        if zlib.crc32(dark.spread.tobytes(), zlib.crc32(dark.counts.tobytes())) != expected:
            yield f"dark {dark.number}: checksum does not match"
    numbers = [dark.number for dark in run.darks]
    if len(set(numbers)) != len(numbers):
        yield "two darks have the same number"


def _references(run: Run) -> Iterator[str]:
    """Every point names a dark of its own integration time, and its blank if it has one."""
    darks = {dark.number: dark for dark in run.darks}
    for at, row in enumerate(run.points):
        dark = darks.get(int(row["dark_number"]))
        if dark is None:
            yield f"point {at + 1}: its dark {row['dark_number']} is missing"
        elif abs(dark.integration_s - row["integration_s"]) > 1e-6 * row["integration_s"]:
            yield f"point {at + 1}: its dark was taken at a different integration time"
        if row["blank_number"] >= 0 and int(row["blank_number"]) not in darks:
            yield f"point {at + 1}: its blank {row['blank_number']} is missing"


def _sessions(run: Run) -> Iterator[str]:
    starts = [session.first_point for session in run.sessions]
    if starts != sorted(starts) or (starts and starts[-1] > len(run)):
        yield f"its sessions begin at points {', '.join(map(str, starts))}, which is impossible"


def _csv(run: Run, notes: list[str]) -> list[str]:
    """Compare the CSV. What a kill does to its last row is put right by resuming, so it is a note."""
    name = run.csv_path.name
    if not run.csv_path.exists():
        notes.append(f"there is no {name} beside it")
        return []
    try:
        state = examine(run.csv_path, run.points)
    except DataError as exc:
        return [exc.message]
    missing = state.missing(run.points)
    last_only = missing == run.points["index"].tolist()[-1:]
    problems = []
    if state.header is None:
        problems.append(f"{name} does not have the header of a run")
    elif missing and not (_unfinished(run) and last_only):
        problems.append(f"{name} lacks {len(missing)} of {len(run)} points: {_few(missing)}")
    elif missing or (state.torn and _unfinished(run)):
        notes.append(f"{name} ends within its last row")
    if state.torn and not _unfinished(run):
        problems.append(f"{name} ends within a row")
    if state.different:
        problems.append(f"{name} has different numbers for points {_few(list(state.different))}")
    if state.strange or not state.in_order:
        problems.append(f"{name} has rows that do not follow the order of this run")
    return problems


def _few(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:5])) + (" ..." if len(numbers) > 5 else "")
