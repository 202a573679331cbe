"""Write a run's spectra and L-L curve as plain CSV for other programs."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from labctl.data.columns import COLUMNS
from labctl.data.run import Run
from labctl.model.errors import DataError

_FIELDS = ("fluence_uj_cm2", "signal", "signal_sigma", "peaks_signal", "peaks_signal_sigma", "fwhm_nm")


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
    return _write(path, run, header, rows)


def export_spectra(run: Run, path: Path) -> Path:
    """Write one row per wavelength and one column per point, headed by its fluence. Never overwrites.

    :param run: a stored run.
    :param path: the CSV to write; it must not exist.
    :raises DataError: ``path`` exists or cannot be written.
    """
    header = ["Wavelength (nm)", *(f"{value:.6g} uJ/cm^2" for value in run.fluence_uj_cm2)]
    spectra = run.spectra
    rows = ([float(nm), *spectra[:, at].tolist()] for at, nm in enumerate(run.wavelength_nm))
    return _write(path, run, header, rows)


def _write(path: Path, run: Run, header: Sequence[str], rows: Iterable[Sequence[float]]) -> Path:
    about = f"# {run.start.sample}, run {run.start.run_id} ({run.status}), {run.start.convention} fluence"
    try:
        with Path(path).open("x", newline="", encoding="utf-8") as file:
            file.write(about.replace("\n", " ").replace("\r", " ") + "\n")
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(rows)
    except OSError as exc:
        raise DataError(f"cannot write {path}: {exc.strerror or exc}", "name another file") from exc
    return Path(path)
