"""What differs between the bench a run was measured on and the bench that is to continue it."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np

from labctl.data import nexus, schema
from labctl.data.files.guard import opened
from labctl.data.files.hdf5 import LARGEST_CHUNK, create_growing, guarded, open_h5
from labctl.data.files.lock import Holder, RunLock, this_process
from labctl.data.nexus import Expected, as_json, check_space, first_bytes
from labctl.data.reader import damaged_points, read_run
from labctl.data.run import SESSIONS, Run, Session
from labctl.data.shots import LARGEST_FRAME_CHUNK, sound_lengths
from labctl.data.writer import RunPaths, RunWriter, sync
from labctl.model.errors import ConfigError, DataError
from labctl.model.run import RunFacts, RunStart

_PLACEHOLDER = "nothing"
_CLOSE_NM = 1e-6


def differences(run: Run, start: RunStart) -> tuple[str, ...]:
    """Return, one line each, how instruments and configuration differ from the run's latest session.

    :param start: what the present bench says of itself.
    """
    before = run.sessions[-1]
    roles = sorted({*before.identities, *start.identities})
    found = []
    for role in roles:
        was, now = before.identities.get(role), start.identities.get(role)
        if was != now:
            found.append(f"{role}: was {was or _PLACEHOLDER}, is {now or _PLACEHOLDER}")
    was_flat, now_flat = dict(_flat(before.config)), dict(_flat(start.config))
    for key in sorted({*was_flat, *now_flat}):
        was_value, now_value = was_flat.get(key, _PLACEHOLDER), now_flat.get(key, _PLACEHOLDER)
        if was_value != now_value:
            found.append(f"{key}: was {was_value}, is {now_value}")
    return tuple(found)


def refuse_other_axes(run: Run, start: RunStart) -> None:
    """Refuse what one file cannot hold: other wavelengths, another fluence convention, other bands.

    :raises ConfigError: says which, and what to do.
    """
    reasons = []
    was_nm, now_nm = run.wavelength_nm, start.wavelength_nm
    if was_nm.size != now_nm.size:
        reasons.append(f"the spectrometer has {now_nm.size} pixels, the run {was_nm.size}")
    elif not np.allclose(was_nm, now_nm, rtol=0.0, atol=_CLOSE_NM):
        off = float(np.max(np.abs(was_nm - now_nm)))
        reasons.append(f"the spectrometer's wavelengths differ by up to {off:.3g} nm")
    if run.start.convention != start.convention:
        reasons.append(
            f"fluences are {start.convention} values on the bench, {run.start.convention} in the run"
        )
    for band in ("emission_nm", "lasing_nm"):
        was, now = run.start.plan.get(band), start.plan.get(band)
        if was != now:
            reasons.append(f"{band} is {now} on the bench, {was} in the run")
    if reasons:
        raise ConfigError(
            f"{run.path.name} cannot be continued on this bench: {'; '.join(reasons)}",
            hint="restore the bench, or start another run",
        )


def _calibration(copy: Mapping[str, object]) -> str:
    """Name the copy of a calibration in one line instead of a thousand numbers."""
    body = copy["calibration"]
    measured = body.get("measured_utc") if isinstance(body, dict) else None
    return f"{copy.get('file')} of {measured} (sha256 {str(copy['sha256'])[:12]})"


def _flat(config: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield every leaf of a configuration, as it is stored, with its dotted key."""
    stored = json.loads(as_json(config))
    waiting: list[tuple[str, object]] = [("", stored)]
    while waiting:
        above, value = waiting.pop()
        if isinstance(value, dict) and {"sha256", "calibration"} <= set(value):
            yield above, _calibration(value)
        elif isinstance(value, dict):
            waiting += [(f"{above}.{key}" if above else str(key), item) for key, item in value.items()]
        else:
            yield above, json.dumps(value)


class ResumedWriter(RunWriter):
    """Writes on in a run that was aborted, failed or killed. The file is untouched until :meth:`begin`.

    :param path: the run's ``.h5``, or the ``.csv`` beside it.
    :ivar run: the run as it was found.
    :ivar dose_uj_cm2: what its sessions so far are charged with; set it before :meth:`begin`.
    :raises DataError: it is no run, it has finished, or another process writes it (which one is said).
    """

    def __init__(self, path: Path) -> None:
        h5 = Path(path).expanduser().absolute()
        h5 = h5.with_suffix(".h5") if h5.suffix.lower() == ".csv" else h5
        self._set_up(RunPaths(h5, h5.with_suffix(".csv")))
        read_run(h5)  # whatever is no run gets no lock file beside it
        self._holder = this_process()
        self.dose_uj_cm2 = 0.0
        self._lock = RunLock(h5, self._holder)
        try:
            self.run = continuable(h5)
        except BaseException:
            self._unlock()
            raise

    def begin(self, start: RunStart) -> None:
        """Mend the file, note that the run goes on, and open it for writing.

        :param start: the present bench, program and time; plan, sample and labels stay those of the run.
        :raises ConfigError: the bench has other axes than the run.
        :raises DataError: not enough space, not writable, or begun before.
        """
        if self._file is not None or self._ended:
            raise DataError(f"{self.paths.h5} has already been started")
        refuse_other_axes(self.run, start)
        expected = nexus.expected_size(self.run.start.plan)
        points = max(expected.points - len(self.run), 1)
        left = Expected(points, expected.exposures, points * expected.shots // max(expected.points, 1))
        pixels, part = self.run.wavelength_nm.size, self.paths.h5.with_name(self.paths.h5.name + ".part")
        sessions = continued_sessions(self.run, start, self._holder, self.dose_uj_cm2)
        try:
            with guarded(self.paths.h5):
                check_space(self.paths.h5.parent, left, pixels, self.paths.h5.stat().st_size)
                shutil.copyfile(self.paths.h5, part)
                mend(part, self.run, sessions, self._holder, start.facts)
                sync(part)
                part.replace(self.paths.h5)
                self._open(first_bytes(left, pixels))
        except DataError:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        self._convention = self.run.start.convention


def continuable(h5: Path) -> Run:
    """Read a run that can be continued.

    :raises DataError: it has finished, is being written, is of another procedure, or a point is damaged.
    """
    run = read_run(h5)
    if run.status == "finished":
        raise DataError(
            f"{h5} has finished: all of its {len(run)} points are measured",
            "start another run with labctl sweep",
        )
    if run.status == "running":
        raise DataError(
            f"{h5} is {run.reason}",
            "wait until it has ended; a file from another host can be resumed there at once, here one hour "
            "after the last write",
        )
    if damaged := damaged_points(run.path, run.points, run.wavelength_nm.size):
        raise DataError(
            f"{h5} is damaged: {len(damaged)} of its {len(run)} points do not match their checksums, the "
            f"first is point {damaged[0] + 1}",
            "labctl verify lists all; the undamaged points can be fitted, but the run cannot be continued",
        )
    return run


def continued_sessions(run: Run, start: RunStart, holder: Holder, dose_uj_cm2: float) -> tuple[Session, ...]:
    """Return the sessions so far, the last of them with its end, and the one that begins now."""
    *earlier, last = run.sessions
    written = datetime.fromtimestamp(run.path.stat().st_mtime, UTC).isoformat(timespec="milliseconds")
    ended_utc = run.stop.stopped_utc if run.stop is not None else written
    last = replace(last, ended=run.status, ended_utc=ended_utc, reason=run.reason)
    now = Session(
        start.started_utc,
        start.identities,
        start.versions,
        start.config,
        first_point=len(run),
        first_event=len(run.events),
        differences=differences(run, start),
        dose_uj_cm2=dose_uj_cm2,
        writer=holder.to_mapping(),
    )
    return (*earlier, last, now)


def mend(
    path: Path, run: Run, sessions: tuple[Session, ...], holder: Holder, facts: RunFacts | None = None
) -> None:
    """Cut ``path``, a copy of ``run``, to its whole points and darks, and make it a running run again.

    :param facts: of the bench it goes on with; those it holds stay where there are none.
    """
    lengths = {schema.GROWING[name]: rows for name, rows in _sound_lengths(run).items()}
    shots = sound_lengths(run.path, run.wavelength_nm.size, len(run))
    lengths |= {schema.SHOT_TABLES[name]: rows for name, rows in shots.items()}
    with opened(path) as checked:  # no link out of the file, nothing external, before anything is written
        for name, rows in lengths.items():
            found, largest = checked.dataset(name), LARGEST_CHUNK
            if found.maxshape[0] is not None or found.chunks is None or found.shape[0] < rows:
                raise checked.refusal(f"{name} cannot grow")
            if name == schema.SHOT_FRAMES:
                largest = LARGEST_FRAME_CHUNK
            if int(np.prod(found.chunks, dtype=object)) * found.dtype.itemsize > 2 * largest:
                raise checked.refusal(f"{name} is stored in pieces that are too large")
    with open_h5(path, "r+") as file:
        for name, rows in lengths.items():
            dataset = file[name]
            if dataset.shape[0] != rows:
                dataset.resize(rows, axis=0)
        _forget_the_end(file)
        if run.left_out is None:
            record, _, name = schema.LEFT_OUT.rpartition("/")
            create_growing(file[record], name, schema.LEFT_OUT_DTYPE, (), max(len(run), 16))
        if facts is not None:
            _text(file, schema.FACTS, nexus.facts_text(facts))
        _text(file, SESSIONS, as_json({"sessions": [one.to_mapping() for one in sessions]}))
        _text(file, f"{schema.RECORD}/writer", as_json(holder.to_mapping()))


def _sound_lengths(run: Run) -> dict[str, int]:
    """Return how many rows of each growing dataset belong to whole points and darks."""
    points = run.points
    lengths = dict.fromkeys(("points", "spectrum", *schema.CURVE_NAMES), len(points))
    lengths |= dict.fromkeys(("dark_counts", "dark_spread", "dark_table"), len(run.darks))
    ends = points["frames_first"] + points["frames_count"]
    for kind, (name, _) in enumerate(schema.FRAME_KINDS):
        lengths[name] = int(ends[points["frames_kind"] == kind].max(initial=0))
    lengths["spikes"] = int((points["spikes_first"] + points["spikes_count"]).max(initial=0))
    lengths["result"] = 0
    if run.left_out is not None:
        lengths["left_out"] = int(np.isin(run.left_out["point"], points["index"]).sum())
    return lengths


def _forget_the_end(file: h5py.File) -> None:
    """Take back what says that the run has ended; it is written anew when it really has."""
    entry = file[schema.ENTRY]
    analysis = entry["analysis"] if "analysis" in entry else entry.create_group("analysis")
    analysis.attrs.setdefault("NX_class", "NXprocess")
    for name in ("result", "columns", "peaks_curve", "linewidth"):
        if name in analysis:
            del analysis[name]
    for name in schema.STATUS_BYTES:
        entry[name][()] = np.bytes_(b"running" if name == "status" else b"")


def _text(file: h5py.File, name: str, text: str) -> None:
    if name in file:
        del file[name]
    file.create_dataset(name, data=text, dtype=h5py.string_dtype())
