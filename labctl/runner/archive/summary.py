"""A whole archive fitted again: one row a run, in processes side by side, going on where it was broken off.

The table is written row by row: whatever ends the work, the rows that are there count. A row is made again
only where its file, or labctl, is another one.
"""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from labctl import __version__
from labctl.analysis.evaluation.comparison import compared
from labctl.data import read_run
from labctl.model.errors import DataError, LabctlError
from labctl.model.results.sweep import BandThreshold, SweepResult
from labctl.model.untrusted import printable, write_whole
from labctl.runner.archive.listing import run_files
from labctl.runner.refit import report_of, spot_spread, spread_line
from labctl.runner.report import RunReport, comparison_lines, headline_of

TRIES = 2
"""A run whose process dies is tried so often."""
_MOST_SAMPLES = 6
"""Samples of which every pair is compared."""


@dataclass(frozen=True, slots=True)
class Row:
    """One run of the archive; empty texts for what it does not have. Fluences in uJ/cm2.

    :param file: its path below the folder, with ``/``.
    :param size: of the file, bytes; with ``changed_ns`` and ``labctl`` it says whether the row still holds.
    :param changed_ns: when the file was last written, ns since 1970.
    :param labctl: version that fitted it.
    :param error: why it could not be fitted.
    """

    file: str
    size: str = ""
    changed_ns: str = ""
    labctl: str = ""
    sample: str = ""
    spot: str = ""
    status: str = ""
    points: str = ""
    verdict: str = ""
    threshold_uj_cm2: str = ""
    low95_uj_cm2: str = ""
    high95_uj_cm2: str = ""
    total_low95_uj_cm2: str = ""
    total_high95_uj_cm2: str = ""
    convention: str = ""
    exponent: str = ""
    photon_order: str = ""
    q: str = ""
    fwhm_nm: str = ""
    remaining: str = ""
    dose_uj_cm2: str = ""
    flags: str = ""
    reason: str = ""
    error: str = ""

    @property
    def made_from(self) -> tuple[str, str, str]:
        """What the row depends on."""
        return self.size, self.changed_ns, self.labctl


COLUMNS = tuple(field.name for field in fields(Row))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work is.

    :param done: rows that are there; ``kept`` of them were there before.
    :param failed: rows with an error.
    """

    done: int
    total: int
    kept: int
    failed: int

    def text(self, elapsed_s: float) -> str:
        """Say how far it is, how fast, and how long it will take.

        :param elapsed_s: since it began, s.
        """
        made = self.done - self.kept
        said = f"{self.done} of {self.total} runs"
        said += f", {self.failed} not fitted" if self.failed else ""
        if not made or elapsed_s <= 0 or self.done >= self.total:
            return said
        rate = made / elapsed_s
        left_s = (self.total - self.done) / rate
        left = (
            f"{left_s:.0f} s"
            if left_s < 120
            else f"{left_s / 60:.0f} min"
            if left_s < 7200
            else f"{left_s / 3600:.1f} h"
        )
        return f"{said}, {rate:.2g} a second, about {left} left"


def summarise(
    folder: Path, table: Path, jobs: int, on_progress: Callable[[Progress], None] = lambda _: None
) -> list[Row]:
    """Fit every run of a folder again, and write one row of each into a table.

    :param table: a CSV file; what it holds of the same files is kept.
    :param jobs: processes side by side; 1 works in this one.
    :returns: the rows, by name of their file.
    :raises DataError: the folder or the table cannot be read, or the table cannot be written.
    """
    files = run_files(folder)
    names = {path.relative_to(folder).as_posix(): path for path in files}
    asked = {name: _asked(name, path) for name, path in names.items()}
    rows = {row.file: row for row in read_rows(table) if _holds(row, asked)}
    kept = len(rows)
    _write(table, rows.values())  # rows of other files, or of an older labctl, go
    waiting = [name for name in names if name not in rows]
    try:
        with table.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            for row in _made([(asked[name], str(names[name])) for name in waiting], jobs):
                writer.writerow(_cells(row))
                stream.flush()
                rows[row.file] = row
                on_progress(Progress(len(rows), len(names), kept, sum(bool(r.error) for r in rows.values())))
    except OSError as exc:
        raise DataError(f"{table}: cannot be written: {exc}", "name another table: --output") from exc
    found = [rows[name] for name in names]
    _write(table, found)
    return found


def _asked(name: str, path: Path) -> Row:
    """Return the beginning of a row: which file it is made from."""
    try:
        about = path.stat()
    except OSError:
        return Row(name, labctl=__version__)
    return Row(name, str(about.st_size), str(about.st_mtime_ns), __version__)


def _holds(row: Row, asked: Mapping[str, Row]) -> bool:
    return row.file in asked and row.made_from == asked[row.file].made_from


def read_rows(table: Path) -> list[Row]:
    """Return the rows of a table; a row that a kill cut off is not one.

    :raises DataError: it is not a table of this kind.
    """
    if not table.exists():
        return []
    try:
        with table.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            if tuple(reader.fieldnames or COLUMNS) != COLUMNS:
                raise DataError(f"{table}: is not a summary of this labctl", "name another table: --output")
            return [Row(**row) for row in reader if None not in row and None not in row.values()]
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise DataError(f"{table}: cannot be read: {exc}", "name another table: --output") from exc


def _write(table: Path, rows: Iterable[Row]) -> None:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    writer.writerows(_cells(row) for row in rows)
    write_whole(table, out.getvalue())


def _cells(row: Row) -> dict[str, str]:
    return {name: printable(getattr(row, name)) for name in COLUMNS}


def _made(work: Sequence[tuple[Row, str]], jobs: int) -> Iterator[Row]:
    """Yield rows as they are made; a run whose process dies again and again gets a row that says so."""
    if jobs <= 1 or len(work) <= 1:
        yield from (made_row(asked, path) for asked, path in work)
        return
    left, deaths = {asked.file: (asked, path) for asked, path in work}, 0
    while left:
        try:
            with _processes(min(jobs, len(left))) as pool:
                for row in _by(pool, list(left.values())):
                    del left[row.file]
                    yield row
        except BrokenProcessPool:
            deaths += 1
            if deaths >= TRIES:
                yield from _one_by_one(left)
                return


def _one_by_one(left: Mapping[str, tuple[Row, str]]) -> Iterator[Row]:
    """Give each run a process of its own, to find the one that kills it."""
    for asked, path in left.values():
        try:
            with _processes(1) as pool:
                yield pool.submit(made_row, asked, path).result()
        except BrokenProcessPool:
            yield _failed(asked, "the process that fitted it died")


def _by(pool: Executor, work: Sequence[tuple[Row, str]]) -> Iterator[Row]:
    futures: list[Future[Row]] = [pool.submit(made_row, asked, path) for asked, path in work]
    for future in as_completed(futures):
        yield future.result()


_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def _processes(jobs: int) -> Iterator[Executor]:
    """Start processes whose numerics do not compete for the cores."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update({name: os.environ.get(name, "1") for name in _THREADS})
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


_BUGS = (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, OSError, MemoryError)
"""What a fit of a strange file may end with: one row of thousands, not the end of the work."""


def made_row(asked: Row, path: str) -> Row:
    """Fit one run again and return its row; what goes wrong is in it.

    :param asked: the beginning of the row.
    """
    try:
        report = report_of(read_run(path))
    except LabctlError as exc:
        return _failed(asked, exc.message.removeprefix(path).lstrip(" :"))
    except _BUGS as exc:
        return _failed(asked, f"{type(exc).__name__}: {exc}")
    return _row(asked, report)


def _failed(asked: Row, why: str) -> Row:
    return Row(asked.file, *asked.made_from, error=why)


def _row(asked: Row, report: RunReport) -> Row:
    result, threshold = report.result, report.threshold
    low, high = threshold.ci95 or (None, None)
    total = threshold.total_ci95 or (None, None)
    q, stable = result.q, result.stability
    return Row(
        asked.file,
        *asked.made_from,
        sample=report.sample,
        spot=report.spot,
        status=report.status,
        points=str(report.points),
        verdict=headline_of(result),
        threshold_uj_cm2=_number(threshold.threshold_uj_cm2),
        low95_uj_cm2=_number(low),
        high95_uj_cm2=_number(high),
        total_low95_uj_cm2=_number(total[0]),
        total_high95_uj_cm2=_number(total[1]),
        convention=threshold.convention or "",
        exponent=_number(threshold.exponent),
        photon_order="" if threshold.photon_order is None else str(threshold.photon_order),
        q="" if q is None else f"{'>=' if q.lower_bound else ''}{q.value:.5g}",
        fwhm_nm="" if q is None else _number(q.fwhm_nm),
        remaining="" if stable is None or stable.retained is None else _number(stable.retained.value),
        dose_uj_cm2=_number(result.dose_uj_cm2),
        flags=" ".join(threshold.flags),
        reason=report.outcome.reason,
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def sample_lines(rows: Sequence[Row]) -> list[str]:
    """Say how the spots of each sample scatter, and the ratio of every two samples, if they are few."""
    found = [_report(row) for row in rows if row.threshold_uj_cm2 and row.low95_uj_cm2]
    lines = [spread_line(spread) for spread in spot_spread(found)]
    if 1 < len({report.sample for report in found}) <= _MOST_SAMPLES:
        lines += comparison_lines(compared([report.compared for report in found]))
    return lines


def _report(row: Row) -> RunReport:
    """Return a row as what a comparison takes; it knows no calibrations."""
    threshold = BandThreshold(
        "found",
        threshold_uj_cm2=float(row.threshold_uj_cm2),
        ci95=(float(row.low95_uj_cm2), float(row.high95_uj_cm2)),
        convention=row.convention or None,
        photon_order=int(row.photon_order) if row.photon_order else None,
    )
    return RunReport(
        row.sample,
        row.status,
        csv=None,
        h5=None,
        points=int(row.points),
        result=SweepResult(threshold),
        spot=row.spot,
    )
