"""Check that a run file is complete and agrees with its own checksums."""

from __future__ import annotations

import zlib
from pathlib import Path

from labctl.data import layout
from labctl.data.guard import GuardedFile, opened
from labctl.data.reader import is_sound, read_run
from labctl.data.run import Run
from labctl.model.errors import DataError

_MOST = 20


def verify(path: Path | str) -> tuple[str, ...]:
    """Return what is wrong with a run file, one line each; empty for a sound one, however it ended.

    :raises DataError: it cannot be opened as a run at all.
    """
    run = read_run(path)
    with opened(run.path) as file:
        problems = [*_points(file, run), *_dark_sums(file, run), *_references(run)]
    left_out = len(problems) - _MOST
    return (*problems[:_MOST], *([f"and {left_out} more"] if left_out > 0 else []))


def _points(file: GuardedFile, run: Run) -> list[str]:
    problems = []
    for at, row in enumerate(run.points):
        try:
            if not is_sound(file, row, at, run.wavelength_nm.size):
                problems.append(f"point {at}: checksum does not match")
        except DataError as exc:
            problems.append(f"point {at}: {exc.message}")
    numbers = run.points["index"]
    if len(set(numbers.tolist())) != len(numbers):
        problems.append("two points have the same number")
    stored = file.array(f"{layout.RECORD}/points", layout.POINT_DTYPE, ()).shape[0]
    if stored > len(run) and run.status not in ("running", "killed"):
        problems.append(f"{stored - len(run)} point(s) at the end are damaged")
    return problems


def _dark_sums(file: GuardedFile, run: Run) -> list[str]:
    sums = file.array(f"{layout.DARKS}/table", layout.DARK_DTYPE, ())["crc32_data"]
    return [
        f"dark {dark.number}: checksum does not match"
        for dark, expected in zip(run.darks, sums, strict=False)
        if zlib.crc32(dark.spread.tobytes(), zlib.crc32(dark.counts.tobytes())) != expected
    ]


def _references(run: Run) -> list[str]:
    """Every point names a dark of its own integration time, and its blank if it has one."""
    darks = {dark.number: dark for dark in run.darks}
    problems = []
    for at, row in enumerate(run.points):
        dark = darks.get(int(row["dark_number"]))
        if dark is None:
            problems.append(f"point {at}: its dark {row['dark_number']} is missing")
        elif abs(dark.integration_s - row["integration_s"]) > 1e-6 * row["integration_s"]:
            problems.append(f"point {at}: its dark was taken at another integration time")
        if row["blank_number"] >= 0 and int(row["blank_number"]) not in darks:
            problems.append(f"point {at}: its blank {row['blank_number']} is missing")
    return problems
