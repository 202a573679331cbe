"""What lies in a folder of runs, from what each file holds; nothing is fitted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labctl.data import read_run
from labctl.data.run import Run
from labctl.model.errors import DataError
from labctl.model.results.sweep import SweepResult
from labctl.runner.report import headline_of, stability_verdict
from labctl.runner.wording import digits


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a folder.

    :param status: how it ended, or "unreadable": ``result`` then says why.
    :param started_utc: ISO 8601; empty for a file that is unreadable.
    :param points: that are stored.
    :param threshold: of the stored result, with its 95 % interval, uJ/cm2; empty where there is none.
    :param result: verdict, or what remains, or why there is nothing.
    """

    file: Path
    status: str
    sample: str = ""
    spot: str = ""
    started_utc: str = ""
    points: int = 0
    threshold: str = ""
    result: str = ""


def run_files(folder: Path) -> list[Path]:
    """Return the run files of a folder and of those in it, by name.

    :raises DataError: it is not a folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: is not a folder", "name the folder of the runs")
    return sorted(path for path in folder.rglob("*.h5") if path.is_file())


def listed(folder: Path) -> Iterator[Entry]:
    """Yield what each file of a folder holds, in order of their names.

    :raises DataError: it is not a folder.
    """
    for path in run_files(folder):
        try:
            yield _entry(path, read_run(path))
        except DataError as exc:
            yield Entry(path, "unreadable", result=exc.message.removeprefix(str(path)).lstrip(" :"))


def _entry(path: Path, run: Run) -> Entry:
    result, start = run.result, run.start
    return Entry(
        path,
        run.status,
        start.sample,
        start.spot,
        start.started_utc,
        len(run),
        _threshold(result),
        _said(run, result),
    )


def _threshold(result: SweepResult) -> str:
    found = result.threshold
    if found.threshold_uj_cm2 is None:
        return ""
    interval = "" if found.ci95 is None else f" ({digits(found.ci95[0])} to {digits(found.ci95[1])})"
    return f"{digits(found.threshold_uj_cm2)}{interval}"


def _said(run: Run, result: SweepResult) -> str:
    if result.doubt:
        return result.doubt
    if result.stability is not None:
        return stability_verdict(result.stability)
    if run.shots is not None:
        return "single shots: labctl shots says what they say"
    return headline_of(result) or result.threshold.reason or run.reason or "labctl fit fits it"
