"""A run as the plots see it: the same for one that is being measured and one that lies in a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.spectra.bands import Band, band_mask
from labctl.data import read_run, read_table
from labctl.data.run import Run
from labctl.data.tables.table import is_hdf5
from labctl.model.errors import DataError
from labctl.model.pump import Bands
from labctl.model.records import FloatArray, SweepPoint
from labctl.model.results.sweep import BandName, CurvePoints, Edits, SweepResult
from labctl.runner.report import is_clipped
from labctl.runner.wording import UNIT, fluence_axis, typographic

Signal = BandName
COLUMNS = (
    "fluence_uj_cm2",
    "fluence_sigma_rel",
    "signal",
    "signal_sigma",
    "peaks_signal",
    "peaks_signal_sigma",
    "fwhm_nm",
    "peak_count",
    "peak_wavelength_nm",
    "saturation",
    "saturated_exposures",
    "exposures",
    "pulses_per_exposure",
    "integration_s",
    "elapsed_s",
    "dose_uj_cm2",
    "fluence_set_uj_cm2",
)
"""Fields of a point that views use; absent numbers are nan."""

_PARTIAL = ("spikes", "shutter_open")
"""Flags that say how a point was measured, not that it is doubtful."""


@dataclass(frozen=True, slots=True)
class RunHead:
    """What is known of a run before its first point.

    :param max_counts: full scale of the detector, None where it is not known.
    :param planned: points it was to have, at most; None where nobody knows.
    :param is_run: ``path`` is a run file, beside which edits are kept.
    :param spot: place on the sample; ``meter`` the power meter's serial number; empty where not known.
    :param quantity: of the pump, and its ``unit``: those of a table may be others.
    """

    key: str
    title: str
    sample: str
    convention: str
    wavelength_nm: FloatArray
    bands: Bands
    resolution_nm: float | None = None
    max_counts: float | None = None
    planned: int | None = None
    path: Path | None = None
    is_run: bool = False
    spot: str = ""
    meter: str = ""
    quantity: str = "fluence"
    unit: str = "uJ/cm2"

    @property
    def unit_shown(self) -> str:
        """The unit of the pump as it is printed."""
        return typographic(self.unit)

    def is_same_file(self, other: RunHead) -> bool:
        """Whether both are read from, or written to, one run file."""
        mine, theirs = self.path, other.path
        if mine is None or theirs is None or not (self.is_run and other.is_run):
            return False
        return mine.resolve() == theirs.resolve()


@dataclass(frozen=True, slots=True)
class Exposure:
    """One point's mean exposure: raw counts and the dark that belongs to them, shape ``(pixel,)``.

    :param is_dark: it was taken behind the closed shutter.
    :param saturated: whether single exposures of the mean were saturated.
    """

    raw: FloatArray
    dark: FloatArray | None
    integration_s: float
    is_dark: bool = False
    saturated: bool = False


class Arrays(Protocol):
    """Where the spectra of a run are: in memory, or in its file."""

    def spectra(self) -> FloatArray:
        """Reduced spectra in counts per pulse, shape ``(n, pixel)``."""

    def exposure(self, index: int) -> Exposure | None:
        """Return the mean exposure of a point, None where there is none."""


class RunData:
    """Scalars of all points, which of them the user left out, and the bands they are summed over now.

    :param columns: one array of shape ``(n,)`` for each of :data:`COLUMNS`; missing ones are nan.
    :ivar problem: what could not be read beside the run, in words.
    :ivar result: what was last said of it; None before. ``doubt``: why nothing is said of the sample.
    :ivar paused: it is being measured, and stands still.
    """

    def __init__(
        self,
        facts: RunHead,
        arrays: Arrays,
        columns: Mapping[str, FloatArray],
        flags: tuple[tuple[str, ...], ...],
        *,
        status: str = "finished",
        reason: str = "",
    ) -> None:
        self.facts, self.arrays = facts, arrays
        self.status, self.reason = status, reason
        self.bands = facts.bands
        self.excluded: frozenset[int] = frozenset()
        self.problem = ""
        self.paused = False
        self.doubt = ""
        self.result: SweepResult | None = None
        self._flags = flags
        size = len(flags)
        self._columns = {
            name: np.asarray(columns.get(name, np.full(size, np.nan)), dtype=np.float64) for name in COLUMNS
        }

    def __len__(self) -> int:
        return len(self._flags)

    @property
    def axis_label(self) -> str:
        """Label of the fluence axis, convention and unit included."""
        if self.facts.quantity == "fluence" and self.facts.unit_shown == UNIT:
            return fluence_axis(self.facts.convention)
        return f"Pump {self.facts.quantity} ({self.facts.unit_shown})"

    @property
    def moved(self) -> bool:
        """Whether the bands are others than those the run was measured with."""
        return self.bands != self.facts.bands

    def column(self, name: str) -> FloatArray:
        """Return one of :data:`COLUMNS`, shape ``(n,)``."""
        return self._columns[name]

    def flags(self, index: int) -> tuple[str, ...]:
        """Return the flags of a point."""
        return self._flags[index]

    def extend(self, columns: Mapping[str, float], flags: tuple[str, ...]) -> None:
        """Append one point."""
        self._flags = (*self._flags, flags)
        for name in COLUMNS:
            self._columns[name] = np.append(self._columns[name], columns.get(name, np.nan))

    def take_points(self, other: RunData) -> None:
        """Begin with the points of another: the same run, before it went on."""
        self._flags, self.excluded = other._flags, other.excluded
        self._columns = {name: values.copy() for name, values in other._columns.items()}

    def leave_out(self, index: int, out: bool) -> None:
        """Leave a point out of the fit, or take it in again."""
        self.excluded = self.excluded | {index} if out else self.excluded - {index}

    def set_bands(self, bands: Bands) -> None:
        """Sum over other bands from now on."""
        self.bands = bands

    @property
    def edits(self) -> Edits:
        """What was changed by hand."""
        return Edits(self.excluded, self.bands if self.moved else None)

    def points(self, which: Signal) -> CurvePoints | None:
        """Return the points as they were last fitted; None where they have been changed since.

        Of a run that goes on, the last points may lack.
        """
        result = self.result
        points = None if result is None or result.edits != self.edits else result.of(which).points
        return points if points is not None and points.signal.size <= len(self) else None

    def signal(self, which: Signal) -> tuple[FloatArray, FloatArray]:
        """Return the light-light curve's signal and its standard error, counts per pulse, shape ``(n,)``.

        Inside moved bands both come from the raw exposures, which takes a moment: until then all light of
        the band stands for it, with the relative error it had.
        """
        name = "signal" if which == "emission" else "peaks_signal"
        stored, sigma = self.column(name), self.column(f"{name}_sigma")
        points = self.points(which) if self.moved else None
        if points is not None and points.signal.size == len(self):
            stored, sigma = points.measured_signal, points.measured_sigma
        elif self.moved and len(self):
            found = self._summed(which)
            with np.errstate(divide="ignore", invalid="ignore"):
                sigma = np.abs(sigma / stored * found)
            stored = found
        return np.where(self.clipped(), np.nan, stored), sigma

    def clipped(self) -> NDArray[np.bool_]:
        """Whether each point has not one unsaturated exposure, shape ``(n,)``."""
        return is_clipped(self.column("saturated_exposures"), self.column("exposures"))

    def _summed(self, which: Signal) -> FloatArray:
        ends = self.bands.emission_nm if which == "emission" else self.bands.lasing_nm
        spectra = self.arrays.spectra()
        if not spectra.size:
            return self.column("signal" if which == "emission" else "peaks_signal")
        mask = band_mask(self.facts.wavelength_nm, Band(*ends, which))
        return np.asarray(spectra[:, mask].sum(axis=1), dtype=np.float64)

    def doubtful(self) -> NDArray[np.bool_]:
        """Whether each point carries a flag worth a look, shape ``(n,)``."""
        return np.array([any(flag not in _PARTIAL for flag in flags) for flags in self._flags], dtype=bool)

    def describe(self, index: int) -> str:
        """Return one line on a point."""
        at = {name: float(values[index]) for name, values in self._columns.items()}
        width = f"{at['fwhm_nm']:.2f} nm" if np.isfinite(at["fwhm_nm"]) else "none"
        width = "clipped" if self.clipped()[index] else width
        parts = [
            f"point {index + 1} of {len(self)}",
            f"{at['fluence_uj_cm2']:.4g} µJ/cm² {self.facts.convention}",
            f"signal {at['signal']:.4g} counts per pulse",
            f"FWHM {width}",
        ]
        if np.isfinite(at["integration_s"]):
            parts.append(f"{at['exposures']:.0f} × {at['integration_s']:g} s")
        if self._flags[index]:
            parts.append("flags: " + ", ".join(self._flags[index]))
        if index in self.excluded:
            parts.append("excluded by user")
        return "  ·  ".join(parts)


def scalars_of(point: SweepPoint) -> dict[str, float]:
    """Return every column of a point; what it lacks is nan."""
    values = {name: getattr(point, name) for name in COLUMNS}
    return {name: math.nan if value is None else float(value) for name, value in values.items()}


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
        spot=start.spot,
        meter=meter.serial if (meter := start.identities.get("power_meter")) else "",
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
        quantity=table.quantity,
        unit=table.unit,
        wavelength_nm=np.empty(0),
        bands=Bands((0.0, 1.0), (0.0, 1.0)),
        path=path,
    )
    unknown = np.full(size, np.nan)
    columns = {
        "fluence_uj_cm2": table.pump,
        "signal": table.signal,
        "signal_sigma": unknown if table.signal_sigma is None else table.signal_sigma,
        "peaks_signal": unknown,
        "fluence_sigma_rel": unknown if table.pump_sigma_rel is None else table.pump_sigma_rel,
        "fwhm_nm": unknown if table.fwhm_nm is None else table.fwhm_nm,
        "peak_count": unknown if table.peak_count is None else table.peak_count,
    }
    return RunData(facts, NoArrays(), columns, ((),) * size)
