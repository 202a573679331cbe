"""Runs in forms that other programs and archives read: CSV, NeXus, RO-Crate."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from labctl.data import read_run
from labctl.data.csvfile import export_curve, export_spectra
from labctl.data.run import Run
from labctl.model.errors import DataError

Form = Literal["csv", "nexus", "ro-crate"]


def export(runs: Sequence[Path], form: Form, output: Path, now: datetime, licence: str = "") -> list[Path]:
    """Write runs in another form and return the files; none is overwritten.

    :param form: "csv": ``<run>_curve.csv`` and ``<run>_spectra.csv``; "nexus": the run file as it is, named
        ``<run>.nxs``; "ro-crate": one zip file with runs, tables, report and their description.
    :param output: directory of the files.
    :param now: when it is done.
    :param licence: address of the licence of the data, for a crate.
    :raises DataError: a run cannot be read, a file exists or cannot be written, or a crate cannot be made.
    """
    every = [read_run(path) for path in runs]
    names = [run.path.stem for run in every]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"two runs are called {twice[0]}", "export them into different directories")
    try:
        output.mkdir(parents=True, exist_ok=True)
        if form == "csv":
            return [file for run in every for file in tables(run, output)]
        if form == "nexus":
            return [_copy(run, output) for run in every]
        return [_crate(every, output, now, licence)]
    except OSError as exc:
        raise DataError(f"cannot export to {output}: {exc}", "name another directory: --output") from exc


def tables(run: Run, output: Path) -> list[Path]:
    """Write curve and spectra of a run as CSV.

    :raises DataError: a file exists or cannot be written.
    """
    stem = run.path.stem
    return [
        export_curve(run, output / f"{stem}_curve.csv"),
        export_spectra(run, output / f"{stem}_spectra.csv"),
    ]


def _copy(run: Run, output: Path) -> Path:
    target = output / f"{run.path.stem}.nxs"
    if target.exists():
        raise DataError(f"{target} exists", "name another directory: --output")
    shutil.copyfile(run.path, target)
    return target


def _crate(every: Sequence[Run], output: Path, now: datetime, licence: str) -> Path:
    from labctl.runner.archive.ro_crate import write_crate
    from labctl.runner.documents.run_report import write_report

    target = output / f"{every[0].path.stem}_crate.zip"
    if target.exists():
        raise DataError(f"{target} exists", "name another directory: --output")
    with tempfile.TemporaryDirectory(prefix="labctl-") as directory:
        made = Path(directory)
        report = write_report([run.path for run in every], made / "report.html", now)
        written = {run.path: tables(run, made) for run in every}
        return write_crate(every, written, report, target, now, licence)
