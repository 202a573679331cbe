"""Runs from files: finished, aborted, failed or killed ones, of every schema; and bare tables of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from labctl.data import read_run, read_table
from labctl.data.edits import left_out
from labctl.data.run import Run
from labctl.gui.rundata import COLUMNS, Exposure, RunData, RunFacts
from labctl.model.errors import DataError
from labctl.model.pump import Bands
from labctl.model.records import FloatArray
from labctl.model.regular import open_regular
from labctl.runner.conclude import stored_doubt
from labctl.runner.outcome import planned

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


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
    try:
        with open_regular(path) as stream:
            is_run = stream.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE
    except (OSError, ValueError) as exc:
        raise DataError(f"{path}: cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
    return _of_run(read_run(path)) if is_run else _of_table(path)


def _of_run(run: Run) -> RunData:
    if run.status == "running":
        raise DataError(f"{run.path} is {run.reason or 'being written'}", "open it once the run has ended")
    start = run.start
    facts = RunFacts(
        key=str(run.path.resolve()),
        title=" ".join(part for part in (start.sample, f"spot {start.spot}" if start.spot else "") if part),
        sample=start.sample,
        convention=start.convention,
        wavelength_nm=run.wavelength_nm,
        bands=_bands(start.plan, run.wavelength_nm),
        photon_order=_whole(_inner(start.config, "pump").get("photon_order"), 2),
        resolution_nm=_number(_inner(start.config, "spectrometer").get("resolution_nm")),
        max_counts=_full_scale(run),
        budget=_inner(run.result, "budget"),
        planned=planned(run.result),
        path=run.path,
        is_run=True,
        plan=start.plan,
    )
    columns = {name: run.column(name) for name in COLUMNS}
    made = RunData(facts, FileArrays(run), columns, run.flags, status=run.status, reason=run.reason)
    made.doubt = stored_doubt(run)
    try:
        made.excluded = left_out(run)
    except DataError as exc:  # the run itself is sound: it is shown, and what is wrong is said
        made.problem = str(exc)
    return made


def _of_table(path: Path) -> RunData:
    table = read_table(path)
    size = int(table.signal.size)
    facts = RunFacts(
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


def _bands(plan: Mapping[str, object], wavelength_nm: FloatArray) -> Bands:
    whole = _pair(plan.get("emission_nm")) or (float(wavelength_nm[0]), float(wavelength_nm[-1]))
    return Bands(whole, _pair(plan.get("lasing_nm")) or whole)


def _full_scale(run: Run) -> float | None:
    """Return the detector's full scale, which the file holds only as a share: the saturation of a point."""
    shares = run.column("saturation")
    if not shares.size or not np.nanmax(shares) > 0:
        return None
    brightest = int(np.nanargmax(shares))
    bands = _bands(run.start.plan, run.wavelength_nm)
    axis, margin = run.wavelength_nm, _number(run.start.plan.get("margin_nm")) or 0.0
    inside = (axis >= bands.emission_nm[0] - margin) & (axis <= bands.emission_nm[1] + margin)
    frames = run.frames(brightest)[:, inside]
    return float(frames.max() / shares[brightest]) if frames.size else None


def _inner(config: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = config.get(key)
    return found if isinstance(found, Mapping) else {}


def _pair(value: object) -> tuple[float, float] | None:
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return float(value[0]), float(value[1])
    return None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _whole(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and value > 0 else otherwise
