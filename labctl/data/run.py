"""A run as it was measured: scalars as arrays at hand, spectra and raw frames read when asked for."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.data import schema
from labctl.data.edits import edits_of
from labctl.data.files.guard import GuardedFile, opened
from labctl.data.shots import StoredShots, read_shots
from labctl.model.errors import DataError
from labctl.model.mapping import record_of
from labctl.model.plan import AdaptivePlan, Ending, FlyPlan, StabilityPlan, SweepPlan
from labctl.model.pump import Bands
from labctl.model.records import DarkRecord, FloatArray, Identity, SpectrometerInfo, SweepPoint
from labctl.model.results.sweep import DOUBT, NO_EDITS, Edits, SweepResult
from labctl.model.run import RunFacts, RunStart, RunStatus, RunStop

SESSIONS = f"{schema.RECORD}/sessions"


@dataclass(frozen=True, slots=True)
class Session:
    """One stretch of measuring, from a connection to its end.

    :param first_point: number of points that were in the file when it began.
    :param first_event: number of the run's log lines then; bench times start anew with each session.
    :param differences: what differed from the session before, as it was shown.
    :param dose_uj_cm2: dose that the sessions before it are charged with.
    :param ended: "aborted", "failed" or "killed"; empty for the last session, see the run's own status.
    :param ended_utc: when; for a killed one when the file was last written.
    """

    started_utc: str
    identities: Mapping[str, Identity]
    versions: Mapping[str, str]
    config: Mapping[str, object]
    first_point: int = 0
    first_event: int = 0
    differences: tuple[str, ...] = ()
    ended: str = ""
    ended_utc: str = ""
    reason: str = ""
    dose_uj_cm2: float = 0.0
    writer: Mapping[str, object] = field(default_factory=dict)

    def to_mapping(self) -> dict[str, object]:
        """Return the plain values that go into the file."""
        return asdict(self)


def first_session(start: RunStart) -> Session:
    """Return the session that a run began with."""
    return Session(start.started_utc, start.identities, start.versions, start.config)


def read_sessions(file: GuardedFile, start: RunStart) -> tuple[Session, ...]:
    """Read the sessions of a run; a run that was never resumed has one.

    :raises DataError: they are not what labctl writes.
    """
    if not file.has(SESSIONS):
        return (first_session(start),)
    stored = file.mapping(SESSIONS).get("sessions")
    if not isinstance(stored, list) or not stored or not all(isinstance(one, dict) for one in stored):
        raise file.refusal("its sessions must be a list")
    return tuple(_session(one) for one in stored)


def _session(stored: Mapping[str, object]) -> Session:
    differences = stored.get("differences")
    return Session(
        started_utc=str(stored.get("started_utc", "")),
        first_point=_count(stored, "first_point"),
        first_event=_count(stored, "first_event"),
        dose_uj_cm2=_dose(stored.get("dose_uj_cm2")),
        ended=str(stored.get("ended", "")),
        ended_utc=str(stored.get("ended_utc", "")),
        reason=str(stored.get("reason", "")),
        identities={role: identity(who) for role, who in _mapping(stored, "identities").items()},
        versions={name: str(version) for name, version in _mapping(stored, "versions").items()},
        config=_mapping(stored, "config"),
        differences=tuple(map(str, differences)) if isinstance(differences, list) else (),
        writer=_mapping(stored, "writer"),
    )


def _count(stored: Mapping[str, object], name: str) -> int:
    value = stored.get(name)
    return value if isinstance(value, int) and value >= 0 else 0


def _dose(value: object) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) and value >= 0 else 0.0


def identity(stored: object) -> Identity:
    """Return a stored identity, with empty texts for what it lacks."""
    words: Mapping[str, object] = stored if isinstance(stored, dict) else {}
    return Identity(*(str(words.get(name, "")) for name in ("vendor", "model", "serial", "firmware")))


def _mapping(stored: Mapping[str, object], name: str) -> dict[str, object]:
    value = stored.get(name)
    return value if isinstance(value, dict) else {}


def plan_of(stored: Mapping[str, object]) -> SweepPlan:
    """Return the plan that a file holds; what it lacks, or says in another way, has its default.

    A plan of an older labctl that says nothing of references had none.
    """
    told = {"target_rel": AdaptivePlan, "every_s": StabilityPlan, "passes": FlyPlan}
    kind = next((plan for key, plan in told.items() if key in stored), SweepPlan)
    return record_of(kind, {"reference_every": 0, "correct_bleaching": "off", **stored})


def result_of(stored: Mapping[str, object]) -> SweepResult:
    """Return the result that a file holds; empty where there is none."""
    return record_of(SweepResult, stored)


def bench_facts(stored: Mapping[str, object], wavelength_nm: FloatArray, convention: str) -> RunFacts:
    """Return what a file says of the bench.

    :param wavelength_nm: of its spectrometer, which is stored once, as is the ``convention``.
    """
    facts = replace(record_of(RunFacts, stored), convention=convention)
    info = facts.spectrometer
    return facts if info is None else replace(facts, spectrometer=replace(info, wavelength_nm=wavelength_nm))


def facts_of(run: Run, edits: Edits) -> RunFacts:
    """Return what evaluating a stored run needs beside its points and its plan.

    :param edits: what was changed by hand since.
    """
    result = run.result
    bench = run.start.facts or _guessed(run)
    adaptive = result.adaptive
    ended = None if adaptive is None or adaptive.ended is None else adaptive
    stable = result.stability
    return replace(
        bench,
        edits=edits,
        damaged=frozenset(run.damaged),
        ending=None if ended is None or ended.ended is None else Ending(ended.ended, ended.reason),
        unjudged=frozenset(_unjudged(run)),
        doubt=doubt_of(run),
        planned=result.planned,
        dose_uj_cm2=result.dose_uj_cm2,
        sample_temperature_c=() if stable is None else stable.sample_temperature_c,
        stored_budget=result.budget,
        stored_q=result.q,
        stored_step=result.energy_step,
    )


def doubt_of(run: Run) -> str:
    """Return why nothing is said of a stored run; "" if something is."""
    logged = any(event.text.startswith(DOUBT) for event in run.events)
    return run.result.doubt or (DOUBT if logged else "")


def _unjudged(run: Run) -> range:
    """Return the places of the points that a killed run took since its last closing was looked at.

    Its shutter was kept open between them; nobody knows what a next closing would have shown. A new dark is
    taken, and looked at, right after the first point that it belongs to.
    """
    if run.status != "killed" or not run.plan.keep_open:
        return range(0)
    last = max((dark.number for dark in run.darks if dark.kind == "dark"), default=0)
    since = np.flatnonzero(run.column("dark_number") == last)
    return range(int(since[0]) + 1 if since.size else len(run), len(run))


def bands_of(run: Run) -> Bands:
    """Return the bands a run was measured with: those of its plan, else all that its spectrometer sees."""
    plan, axis = run.start.plan, run.wavelength_nm
    whole = _pair(plan.get("emission_nm")) or (float(axis[0]), float(axis[-1]))
    return Bands(whole, _pair(plan.get("lasing_nm")) or whole)


def _guessed(run: Run) -> RunFacts:
    """Return what an older file lets one know of its bench: no budget can be made of it, and no Q."""
    pump, camera = (_inner(run.start.config, name) for name in ("pump", "spectrometer"))
    order, resolution = pump.get("photon_order"), camera.get("resolution_nm")
    known = isinstance(resolution, (int, float)) and not isinstance(resolution, bool)
    return RunFacts(
        photon_order=order if isinstance(order, int) and 1 <= order <= 4 else 2,
        convention=run.start.convention,
        bands=bands_of(run),
        spectrometer=SpectrometerInfo(
            identity=run.start.identities.get("spectrometer", Identity("", "", "")),
            wavelength_nm=run.wavelength_nm,
            max_counts=_full_scale(run),
            integration_min_s=0.0,
            integration_max_s=math.inf,
            resolution_nm=float(resolution) if known else None,  # type: ignore[arg-type]
        ),
    )


def _full_scale(run: Run) -> float:
    """Return the detector's full scale, which the file holds only as a share: the saturation of a point."""
    shares = run.column("saturation")
    if not shares.size or not np.nanmax(shares) > 0:
        return math.inf
    brightest = int(np.nanargmax(shares))
    axis, margin, emission = run.wavelength_nm, run.plan.margin_nm, bands_of(run).emission_nm
    inside = (axis >= emission[0] - margin) & (axis <= emission[1] + margin)
    frames = run.frames(brightest)[:, inside]
    return float(frames.max() / shares[brightest]) if frames.size else math.inf


def _inner(config: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = config.get(key)
    return found if isinstance(found, Mapping) else {}


def _pair(value: object) -> tuple[float, float] | None:
    if isinstance(value, (list, tuple)) and len(value) == 2:
        low, high = value
        if isinstance(low, (int, float)) and isinstance(high, (int, float)) and low < high:
            return float(low), float(high)
    return None


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
    :param points: structured array of the rows (``labctl.data.schema.POINT_DTYPE``), shape ``(n,)``.
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
    def shots(self) -> StoredShots | None:
        """Every shot of a run that kept them, read from the file when asked for; None of other runs.

        :raises DataError: what is stored of them is not what labctl writes.
        """
        return read_shots(self.path, self.wavelength_nm.size)

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
        return tuple(tuple(filter(None, text.split(schema.FLAG_SEPARATOR))) for text in texts)

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
        if not row["frames_count"] and (shots := self.shots) is not None:
            return self._shots_of(shots, row)
        with opened(self.path) as file:
            frames = stored_frames(file, row, self.wavelength_nm.size)
        return np.asarray(frames, dtype=np.float64)

    def _shots_of(self, shots: StoredShots, row: np.void) -> FloatArray:
        """Return the raw counts of the single shots in the light of a point, which are its exposures."""
        places = shots.where("light", int(row["index"]))
        if places.size != row["exposures"]:
            held = f"{places.size} single shots, not {row['exposures']}"
            raise DataError(f"{self.path}: point {row['index'] + 1} has {held}")
        pieces = [piece.astype(np.float64) for piece in shots.pieces(places)]
        return np.concatenate(pieces)

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
        scalars = schema.fields({name: row[name].item() for name in schema.ROW_DTYPE.names or ()})
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


_SPECTRUM = f"{schema.SPECTRA}/spectrum"
_FLOAT = np.dtype("<f8")
_WIDTHS = ("fwhm_nm", "equivalent_width_nm")
_NUMERIC = {column.field for column in schema.COLUMNS if column.kind != "text"}


def is_sound_row(row: np.void) -> bool:
    """Return whether the checksum of a row's own numbers is right."""
    return bool(row["crc32_row"] == zlib.crc32(row.tobytes()[:-4]))


def stored_frames(file: GuardedFile, row: np.void, pixels: int) -> NDArray[Any]:
    """Read the frames of one row in the type they are stored in, shape ``(exposure, pixel)``."""
    kind, first, count = int(row["frames_kind"]), int(row["frames_first"]), int(row["frames_count"])
    if kind >= len(schema.FRAME_KINDS):
        raise file.refusal(f"frames of unknown kind {kind}")
    name, dtype = schema.FRAME_KINDS[kind]
    return stored_rows(file, f"{schema.DETECTOR}/{name}", first, count, pixels, dtype)


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
    dataset = file.growing(f"{schema.RECORD}/spikes", schema.SPIKE_DTYPE, ())
    if first < 0 or count < 0 or first + count > dataset.shape[0]:
        raise file.refusal("spikes are missing")
    found = dataset[first : first + count] if count else ()
    return tuple((int(s["exposure"]), int(s["pixel"]), float(s["counts"])) for s in found)
