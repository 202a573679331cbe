"""A run as it was measured: scalars as arrays at hand, spectra and raw frames read when asked for."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.data import columns, layout
from labctl.data.edits import edits_of
from labctl.data.facts import bands_of, doubt_of, facts_of, plan_of
from labctl.data.guard import GuardedFile, opened
from labctl.data.sessions import Session, read_sessions
from labctl.model.plan import SweepPlan
from labctl.model.pump import Bands
from labctl.model.records import DarkRecord, FloatArray, SweepPoint
from labctl.model.results import NO_EDITS, Edits, SweepResult
from labctl.model.run import RunFacts, RunStart, RunStatus, RunStop


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a run's own log, at a time of the bench's clock."""

    at_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Run:
    """A stored run; ``n`` points, ``pixel`` wavelengths. Nothing in it is ever written to.

    :param path: the ``.h5``.
    :param start: how it began: plan, configuration, identities, wavelengths.
    :param darks: the darks and blanks that points refer to.
    :param events: the run's own log.
    :param status: "running" while another process still writes, "killed" if that process is gone.
    :param reason: why it ended as it did, in words; empty for a run that simply finished.
    :param stop: how it ended; None while running and after a kill.
    :param points: structured array of the rows (``labctl.data.layout.POINT_DTYPE``), shape ``(n,)``.
    :param left_out: exposures the points left out (``LEFT_OUT_DTYPE``); None in the file of an older labctl.
    :param stored_result: what came of it, as the file holds it; :attr:`result` is the record of it.
    """

    path: Path
    status: RunStatus
    reason: str
    start: RunStart
    stop: RunStop | None
    darks: tuple[DarkRecord, ...]
    events: tuple[Event, ...]
    points: NDArray[Any]
    left_out: NDArray[Any] | None = None
    stored_result: Mapping[str, object] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.points)

    @property
    def csv_path(self) -> Path:
        """The CSV beside the file."""
        return self.path.with_suffix(".csv")

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The session it began with, and one for each time it was resumed; read from the file."""
        with opened(self.path) as file:
            return read_sessions(file, self.start)

    @property
    def result(self) -> SweepResult:
        """Thresholds, Q and the like as they were found at its end; refused for a run without one."""
        return self.stop.result if self.stop else SweepResult()

    @property
    def doubt(self) -> str:
        """Why what was measured says nothing of the sample; empty for most runs."""
        return doubt_of(self)

    @property
    def plan(self) -> SweepPlan:
        """What was to be measured; what an older plan lacks has its default."""
        return plan_of(self.start.plan)

    @property
    def bands(self) -> Bands:
        """Bands it was measured with, nm."""
        return bands_of(self)

    @property
    def edits(self) -> Edits:
        """What was changed by hand since: points left out, bands moved.

        :raises DataError: it cannot be read, or belongs to another run.
        """
        return edits_of(self)

    @property
    def facts(self) -> RunFacts:
        """What evaluating the run needs beside points and plan, :attr:`edits` among them.

        :raises DataError: as :attr:`edits`.
        """
        return facts_of(self, self.edits)

    @property
    def unedited_facts(self) -> RunFacts:
        """The same without what was changed by hand."""
        return facts_of(self, NO_EDITS)

    @property
    def damaged(self) -> tuple[int, ...]:
        """Places of the points whose numbers do not match their checksum."""
        return tuple(at for at, row in enumerate(self.points) if not is_sound_row(row))

    @property
    def wavelength_nm(self) -> FloatArray:
        """Shape ``(pixel,)``."""
        return self.start.wavelength_nm

    @property
    def fluence_uj_cm2(self) -> FloatArray:
        """On the sample, in the run's convention (``start.convention``); shape ``(n,)``."""
        return self.column("fluence_uj_cm2")

    @property
    def fluence_sigma_rel(self) -> FloatArray:
        """Relative point-to-point standard error, shape ``(n,)``."""
        return self.column("fluence_sigma_rel")

    @property
    def signal(self) -> FloatArray:
        """Whole emission, counts per pulse, shape ``(n,)``."""
        return self.column("signal")

    @property
    def signal_sigma(self) -> FloatArray:
        """Standard error of :attr:`signal`, shape ``(n,)``."""
        return self.column("signal_sigma")

    @property
    def peaks_signal(self) -> FloatArray:
        """Lasing peaks, counts per pulse, shape ``(n,)``."""
        return self.column("peaks_signal")

    @property
    def peaks_signal_sigma(self) -> FloatArray:
        """Standard error of :attr:`peaks_signal`, shape ``(n,)``."""
        return self.column("peaks_signal_sigma")

    @property
    def fwhm_nm(self) -> FloatArray:
        """Width of the emission, NaN where there is none or the peak is clipped, shape ``(n,)``."""
        return self.column("fwhm_nm")

    @property
    def flags(self) -> tuple[tuple[str, ...], ...]:
        """Flags of each point."""
        texts = (bytes(text).decode("utf-8", "replace") for text in self.points["flags"])
        return tuple(tuple(filter(None, text.split(columns.FLAG_SEPARATOR))) for text in texts)

    def column(self, field: str) -> FloatArray:
        """Return one numeric field of :class:`SweepPoint` for every point, shape ``(n,)``.

        A width of a point without one unsaturated exposure is NaN, also where an older labctl stored one.

        :param field: its name, e.g. "dose_uj_cm2".
        :raises KeyError: no such numeric field.
        """
        if field not in _NUMERIC:
            raise KeyError(field)
        values = np.asarray(self.points[field], dtype=np.float64)
        if field not in _WIDTHS:
            return values
        return np.where(self.points["saturated_exposures"] >= self.points["exposures"], np.nan, values)

    @property
    def spectra(self) -> FloatArray:
        """All reduced spectra, counts per pulse, shape ``(n, pixel)``; read from the file at each call."""
        return self._spectra(0, len(self))

    def spectrum(self, index: int) -> FloatArray:
        """Return the reduced spectrum of a point, counts per pulse, shape ``(pixel,)``.

        :param index: from 0, in the order in which points were stored; -1 is the last.
        :raises DataError: the file lost it.
        """
        return self._spectra(self._at(index), 1).reshape(-1)

    def frames(self, index: int) -> FloatArray:
        """Return the raw counts of a point, shape ``(exposure, pixel)``.

        :param index: from 0, in the order in which points were stored; -1 is the last.
        :raises DataError: the file lost it.
        """
        row = self.points[self._at(index)]
        with opened(self.path) as file:
            frames = stored_frames(file, row, self.wavelength_nm.size)
        return np.asarray(frames, dtype=np.float64)

    def point(self, index: int) -> SweepPoint:
        """Return a point just as it was appended, arrays included.

        :param index: from 0, in the order in which points were stored; -1 is the last.
        :raises DataError: the file lost it.
        """
        with opened(self.path) as file:
            spikes = _spikes(file, self.points[self._at(index)])
        return replace(
            self.scalars(index),
            frames=self.frames(index),
            spectrum=self.spectrum(index),
            spikes=spikes,
            left_out=self._left_out(index),
        )

    def scalars(self, index: int) -> SweepPoint:
        """Return a point without its arrays: they are empty, and so are its spikes.

        :param index: from 0, in the order in which points were stored; -1 is the last.
        """
        row = self.points[self._at(index)]
        scalars = columns.fields({name: row[name].item() for name in columns.ROW_DTYPE.names or ()})
        return SweepPoint(**scalars, frames=np.empty((0, 0)), spectrum=np.empty(0))  # type: ignore[arg-type]

    def _left_out(self, index: int) -> tuple[tuple[int, str], ...] | None:
        """Return which exposures a point left out, and why; None where the file does not say."""
        if self.left_out is None:
            return None
        rows = self.left_out[self.left_out["point"] == self.points[self._at(index)]["index"]]
        if not rows.size:
            return None
        return tuple((int(r["exposure"]), bytes(r["why"]).decode()) for r in rows if r["exposure"] >= 0)

    def _at(self, index: int) -> int:
        return range(len(self))[index]

    def _spectra(self, first: int, count: int) -> FloatArray:
        with opened(self.path) as file:
            return stored_rows(file, _SPECTRUM, first, count, self.wavelength_nm.size).astype(
                np.float64, copy=False
            )


_SPECTRUM = f"{layout.SPECTRA}/spectrum"
_FLOAT = np.dtype("<f8")
_WIDTHS = ("fwhm_nm", "equivalent_width_nm")
_NUMERIC = {column.field for column in columns.COLUMNS if column.kind != "text"}


def is_sound_row(row: np.void) -> bool:
    """Return whether the checksum of a row's own numbers is right."""
    return bool(row["crc32_row"] == zlib.crc32(row.tobytes()[:-4]))


def stored_frames(file: GuardedFile, row: np.void, pixels: int) -> NDArray[Any]:
    """Read the frames of one row in the type they are stored in, shape ``(exposure, pixel)``."""
    kind, first, count = int(row["frames_kind"]), int(row["frames_first"]), int(row["frames_count"])
    if kind >= len(layout.FRAME_KINDS):
        raise file.refusal(f"frames of unknown kind {kind}")
    name, dtype = layout.FRAME_KINDS[kind]
    return stored_rows(file, f"{layout.DETECTOR}/{name}", first, count, pixels, dtype)


def stored_rows(
    file: GuardedFile, name: str, first: int, count: int, pixels: int, dtype: np.dtype[Any] = _FLOAT
) -> NDArray[Any]:
    """Read ``count`` rows of ``pixels`` values from the row ``first`` on.

    :raises DataError: they are not all there.
    """
    dataset = file.growing(name, dtype, (pixels,))
    if first < 0 or count < 0 or first + count > dataset.shape[0]:
        raise file.refusal(f"{name} has no rows {first} to {first + count}")
    return np.asarray(dataset[first : first + count])


def _spikes(file: GuardedFile, row: np.void) -> tuple[tuple[int, int, float], ...]:
    first, count = int(row["spikes_first"]), int(row["spikes_count"])
    dataset = file.growing(f"{layout.RECORD}/spikes", layout.SPIKE_DTYPE, ())
    if first < 0 or count < 0 or first + count > dataset.shape[0]:
        raise file.refusal("spikes are missing")
    found = dataset[first : first + count] if count else ()
    return tuple((int(s["exposure"]), int(s["pixel"]), float(s["counts"])) for s in found)
