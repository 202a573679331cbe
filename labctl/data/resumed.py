"""Continue a run in its own file: mended in a copy that takes the file's place only when it is sound."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np

from labctl.data import layout, nexus
from labctl.data.differences import differences, refuse_other_axes
from labctl.data.guard import opened
from labctl.data.holder import Holder, this_process
from labctl.data.lock import RunLock
from labctl.data.names import RunPaths
from labctl.data.nexus import Expected, as_json
from labctl.data.reader import damaged_points, read_run
from labctl.data.run import Run
from labctl.data.sessions import SESSIONS, Session
from labctl.data.space import check_space, run_bytes
from labctl.data.store import LARGEST_CHUNK, create_growing, guarded, open_h5
from labctl.data.writer import RunWriter, sync
from labctl.model.errors import DataError
from labctl.model.run import RunFacts, RunStart


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
            raise DataError(f"{self.paths.h5} was begun before")
        refuse_other_axes(self.run, start)
        expected = nexus.expected_size(self.run.start.plan)
        left = Expected(max(expected.points - len(self.run), 1), expected.exposures)
        pixels, part = self.run.wavelength_nm.size, self.paths.h5.with_name(self.paths.h5.name + ".part")
        sessions = continued_sessions(self.run, start, self._holder, self.dose_uj_cm2)
        try:
            with guarded(self.paths.h5):
                check_space(self.paths.h5.parent, left, pixels, self.paths.h5.stat().st_size)
                shutil.copyfile(self.paths.h5, part)
                mend(part, self.run, sessions, self._holder, start.facts)
                sync(part)
                part.replace(self.paths.h5)
                self._open(run_bytes(left, pixels))
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
            "begin another run with labctl sweep",
        )
    if run.status == "running":
        raise DataError(
            f"{h5} is {run.reason}",
            "wait until that has ended; a file from another host can be resumed there at once, here an hour "
            "after it was last written",
        )
    if damaged := damaged_points(run.path, run.points, run.wavelength_nm.size):
        raise DataError(
            f"{h5} is damaged: {len(damaged)} of its {len(run)} points do not match their checksums, the "
            f"first is point {damaged[0] + 1}",
            "labctl verify tells all; the points that are sound can be fitted, not continued",
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
    lengths = _sound_lengths(run)
    with opened(path) as checked:  # no link out of the file, nothing external, before anything is written
        for name, rows in lengths.items():
            found = checked.dataset(layout.GROWING[name])
            if found.maxshape[0] is not None or found.chunks is None or found.shape[0] < rows:
                raise checked.refusal(f"{name} cannot grow")
            if int(np.prod(found.chunks, dtype=object)) * found.dtype.itemsize > 2 * LARGEST_CHUNK:
                raise checked.refusal(f"{name} is stored in pieces that are too large")
    with open_h5(path, "r+") as file:
        for name, rows in lengths.items():
            dataset = file[layout.GROWING[name]]
            if dataset.shape[0] != rows:
                dataset.resize(rows, axis=0)
        _forget_the_end(file)
        if run.left_out is None:
            record, _, name = layout.LEFT_OUT.rpartition("/")
            create_growing(file[record], name, layout.LEFT_OUT_DTYPE, (), max(len(run), 16))
        if facts is not None:
            _text(file, layout.FACTS, nexus.facts_text(facts))
        _text(file, SESSIONS, as_json({"sessions": [one.to_mapping() for one in sessions]}))
        _text(file, f"{layout.RECORD}/writer", as_json(holder.to_mapping()))


def _sound_lengths(run: Run) -> dict[str, int]:
    """Return how many rows of each growing dataset belong to whole points and darks."""
    points = run.points
    lengths = dict.fromkeys(("points", "spectrum", *layout.CURVE_NAMES), len(points))
    lengths |= dict.fromkeys(("dark_counts", "dark_spread", "dark_table"), len(run.darks))
    ends = points["frames_first"] + points["frames_count"]
    for kind, (name, _) in enumerate(layout.FRAME_KINDS):
        lengths[name] = int(ends[points["frames_kind"] == kind].max(initial=0))
    lengths["spikes"] = int((points["spikes_first"] + points["spikes_count"]).max(initial=0))
    lengths["result"] = 0
    if run.left_out is not None:
        lengths["left_out"] = int(np.isin(run.left_out["point"], points["index"]).sum())
    return lengths


def _forget_the_end(file: h5py.File) -> None:
    """Take back what says that the run has ended; it is written anew when it really has."""
    entry = file[layout.ENTRY]
    analysis = entry["analysis"] if "analysis" in entry else entry.create_group("analysis")
    analysis.attrs.setdefault("NX_class", "NXprocess")
    for name in ("result", "columns", "peaks_curve", "linewidth"):
        if name in analysis:
            del analysis[name]
    for name in layout.STATUS_BYTES:
        entry[name][()] = np.bytes_(b"running" if name == "status" else b"")


def _text(file: h5py.File, name: str, text: str) -> None:
    if name in file:
        del file[name]
    file.create_dataset(name, data=text, dtype=h5py.string_dtype())
