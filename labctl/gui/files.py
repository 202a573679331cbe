"""Runs from files: finished, aborted, failed or killed ones, of every schema; and bare tables of numbers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from labctl.data import read_run, read_table
from labctl.data.run import Run
from labctl.data.table import is_hdf5
from labctl.gui.rundata import COLUMNS, Exposure, RunData, RunHead
from labctl.model.errors import DataError
from labctl.model.pump import Bands
from labctl.model.records import FloatArray


class FileArrays:
    """Spectra of a stored run, read once; exposures when somebody looks at them."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._spectra = run.spectra
        self._darks = {dark.number: dark.counts for dark in run.darks}

    def spectra(self) -> FloatArray:
        """Return shape ``(n, pixel)``."""
        return self._spectra

    def exposure(self, index: int) -> Exposure | None:
        """Return the mean of a point's frames."""
        frames = self._run.frames(index)
        if not len(frames):
            return None
        row = self._run.points[index]
        return Exposure(
            frames.mean(axis=0),
            self._darks.get(int(row["dark_number"])),
            float(row["integration_s"]),
            saturated=bool(row["saturated_exposures"] > 0),
        )


class NoArrays:
    """A table has no spectra."""

    def spectra(self) -> FloatArray:
        """Return nothing."""
        return np.empty((0, 0))

    def exposure(self, index: int) -> Exposure | None:  # noqa: ARG002
        """Return nothing."""
        return None


def open_file(path: Path) -> RunData:
    """Read a run file, or a table with a fluence and a signal.

    :raises DataError: it is neither, it is damaged, or it is still being written.
    """
    return _of_run(read_run(path)) if is_hdf5(path) else _of_table(path)


def _of_run(run: Run) -> RunData:
    if run.status == "running":
        raise DataError(f"{run.path} is {run.reason or 'being written'}", "open it once the run has ended")
    start, info = run.start, run.unedited_facts.spectrometer
    facts = RunHead(
        key=str(run.path.resolve()),
        title=" ".join(part for part in (start.sample, f"spot {start.spot}" if start.spot else "") if part),
        sample=start.sample,
        convention=start.convention,
        wavelength_nm=run.wavelength_nm,
        bands=run.bands,
        resolution_nm=None if info is None else info.resolution_nm,
        max_counts=info.max_counts if info is not None and math.isfinite(info.max_counts) else None,
        planned=run.result.planned,
        path=run.path,
        is_run=True,
    )
    columns = {name: run.column(name) for name in COLUMNS}
    made = RunData(facts, FileArrays(run), columns, run.flags, status=run.status, reason=run.reason)
    made.doubt = run.doubt
    try:
        edits = run.edits
        made.excluded, made.bands = edits.left_out, edits.bands or made.bands
    except DataError as exc:  # the run itself is sound: it is shown, and what is wrong is said
        made.problem = str(exc)
    return made


def _of_table(path: Path) -> RunData:
    table = read_table(path)
    size = int(table.signal.size)
    facts = RunHead(
        key=str(path.resolve()),
        title=path.stem,
        sample=path.stem,
        convention=table.convention or "convention not stated",
        wavelength_nm=np.empty(0),
        bands=Bands((0.0, 1.0), (0.0, 1.0)),
        path=path,
    )
    unknown = np.full(size, np.nan)
    columns = {
        "fluence_uj_cm2": table.fluence_uj_cm2,
        "signal": table.signal,
        "signal_sigma": unknown if table.signal_sigma is None else table.signal_sigma,
        "peaks_signal": unknown,
        "fluence_sigma_rel": unknown if table.fluence_sigma_rel is None else table.fluence_sigma_rel,
        "fwhm_nm": unknown if table.fwhm_nm is None else table.fwhm_nm,
        "peak_count": unknown if table.peak_count is None else table.peak_count,
    }
    return RunData(facts, NoArrays(), columns, ((),) * size)
