"""Write a run to its HDF5 file: every point that was returned is on disk, whatever happens afterwards."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np
from numpy.typing import NDArray

from labctl.data import nexus, schema
from labctl.data.files.hdf5 import Growing, HeldFile, Room, guarded, open_h5
from labctl.data.files.lock import RunLock, this_process
from labctl.data.nexus import as_json, check_space, first_bytes, run_bytes, storable, try_room
from labctl.data.schema import COLUMNS
from labctl.data.shots import ShotTables
from labctl.model.errors import DataError
from labctl.model.mapping import plain
from labctl.model.records import DarkRecord, SweepPoint
from labctl.model.run import RunStart, RunStop
from labctl.model.shots import ShotBlock, ShotsSummary

_RESERVED = re.compile(r"(?i)^(con|prn|aux|nul|com\d|lpt\d)$")
_LONGEST = 80
_ATTEMPTS = 10_000


@dataclass(frozen=True, slots=True)
class RunPaths:
    """The two files of a run, absolute: the HDF5 file and pymeasure's CSV beside it."""

    h5: Path
    csv: Path


def safe_stem(text: str) -> str:
    """Return a file name without suffix that every platform accepts and that cannot leave its directory.

    >>> safe_stem("../OLA film: #2")
    'OLA-film-2'
    >>> safe_stem("nul")
    'run-nul'
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    stem = re.sub(r"[^A-Za-z0-9_+-]+", "-", plain).strip("-")[:_LONGEST].strip("-")
    return f"run-{stem}".rstrip("-") if not stem or _RESERVED.match(stem) else stem


def reserve(directory: Path, stem: str) -> RunPaths:
    """Create ``directory`` and an empty ``<stem>.h5`` in it that nobody else has; "-2", "-3" ... if taken.

    :raises DataError: the directory cannot be created or written to.
    """
    clean = safe_stem(stem)
    try:
        directory = directory.expanduser().resolve()
        directory.mkdir(parents=True, exist_ok=True)
        for number in range(1, _ATTEMPTS):
            name = clean if number == 1 else f"{clean}-{number}"
            paths = RunPaths(directory / f"{name}.h5", directory / f"{name}.csv")
            if not paths.csv.exists() and _created(paths.h5):
                return paths
    except (OSError, RuntimeError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise DataError(
            f"cannot write to {directory}: {reason}", "name another directory with --output"
        ) from exc
    raise DataError(f"{directory} already holds {_ATTEMPTS} runs named {clean}", "choose another directory")


def _created(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    except FileExistsError:
        return False
    return True


_TREES_BYTES = 1 << 20


def add_for_viewers(file: h5py.File, room: Room, result: Mapping[str, object], convention: str) -> None:
    """Add, below ``entry/analysis``, the result as groups, the columns as datasets, and two more plots."""
    rows = file[schema.RECORD]["points"][()]
    room.lengthen(rows.nbytes + _TREES_BYTES)
    table = column_tree(file, rows, convention)
    peaks = ("peaks_signal", "peaks_signal_sigma", "Lasing peaks against fluence")
    trees = {
        "result": result_tree(file, result),
        "columns": table,
        "peaks_curve": plot_tree(file, table, *peaks),
        "linewidth": plot_tree(file, table, "fwhm_nm", None, "Width of the emission against fluence"),
    }
    file.flush()
    for name, tree in trees.items():
        file[schema.ANALYSIS][name] = tree
        file.flush()


def result_tree(file: h5py.File, result: Mapping[str, object]) -> h5py.Group:
    """Return an unlinked NXcollection with ``result`` as nested groups."""
    tree = h5py.Group(h5py.h5g.create(file.id, None))
    tree.attrs["NX_class"] = "NXcollection"
    _fill(tree, result)
    return tree


def column_tree(file: h5py.File, rows: NDArray[np.void], convention: str) -> h5py.Group:
    """Return an unlinked NXcollection with every scalar of ``rows`` as a dataset with its unit."""
    tree = h5py.Group(h5py.h5g.create(file.id, None))
    tree.attrs["NX_class"] = "NXcollection"
    for column in COLUMNS:
        made = tree.create_dataset(column.field, data=rows[column.field])
        label = column.label.replace("cm^2", f"cm^2, {convention}")
        made.attrs.update(units=column.unit.replace("counts per pulse", "counts/pulse"), long_name=label)
    return tree


def plot_tree(
    file: h5py.File, columns: h5py.Group, signal: str, errors: str | None, title: str
) -> h5py.Group:
    """Return an unlinked NXdata of one column against fluence, made of links to ``columns``."""
    tree = h5py.Group(h5py.h5g.create(file.id, None))
    tree.attrs.update(NX_class="NXdata", signal=signal, axes=["fluence"], fluence_indices=0)
    tree.create_dataset("title", data=title, dtype=h5py.string_dtype())
    tree[signal] = columns[signal]
    tree["fluence"] = file[schema.CURVE]["fluence"]
    if errors:
        tree[f"{signal}_errors"] = columns[errors]
    return tree


def _fill(group: h5py.Group, values: Mapping[str, object]) -> None:
    for key, value in values.items():
        name = storable(str(key)).replace("/", "_").strip(".") or "_"
        if name not in group:
            _put(group, name, value)


def _put(group: h5py.Group, name: str, value: object) -> None:
    """Store one value; None is left out, as NeXus does with what is not known."""
    if isinstance(value, Mapping):
        inner = group.create_group(name)
        inner.attrs["NX_class"] = "NXcollection"
        _fill(inner, value)
    elif isinstance(value, (bool, int, float, np.generic)):
        group.create_dataset(name, data=value)
    elif isinstance(value, (list, tuple, np.ndarray)):
        _put_sequence(group, name, value)
    elif value is not None:
        group.create_dataset(name, data=storable(str(value)), dtype=h5py.string_dtype())


def _put_sequence(
    group: h5py.Group, name: str, values: list[object] | tuple[object, ...] | NDArray[np.generic]
) -> None:
    numbers = [np.nan if item is None else item for item in values]
    if all(isinstance(item, (int, float, np.number)) for item in numbers):
        group.create_dataset(name, data=np.asarray(numbers, dtype=np.float64))
    elif any(isinstance(item, Mapping) for item in values):
        _put(group, name, {str(number): item for number, item in enumerate(values)})
    else:
        group.create_dataset(name, data=as_json(values), dtype=h5py.string_dtype())


log = logging.getLogger(__name__)

_AT_FIRST = 4 << 20
"""What a file needs beside its points: tables, configuration, and the room kept ahead of them."""


class RunWriter:
    """The :class:`~labctl.model.roles.RunSink` of a run file. Belongs to one thread.

    Should the file lose its name while it is written, the next flush copies the whole run to another name
    and goes on there.

    :param directory: created if it does not exist.
    :param stem: wished file name without suffix; cleaned, and numbered if such a run exists.
    :ivar paths: the run's files as they are now.
    :ivar on_move: told in one line what became of the old file and where the run goes on, now in ``paths``.
    :raises DataError: the directory cannot be written to.
    """

    def __init__(self, directory: Path, stem: str) -> None:
        self._set_up(reserve(Path(directory), stem))

    def _set_up(self, paths: RunPaths) -> None:
        self.paths = paths
        self._lock: RunLock | None = None
        self._file: h5py.File | None = None
        self._held: HeldFile | None = None
        self._room: Room
        self.on_move: Callable[[str], None] = log.warning
        self._tables: dict[str, Growing] = {}
        self._shots: ShotTables | None = None
        self._status_at: dict[str, int] = {}
        self._convention = ""
        self._broken: DataError | None = None
        self._ended = False

    def begin(self, start: RunStart) -> None:
        """Check the disk, then create the whole file under another name and move it into place.

        :raises DataError: not enough space, not writable, held by another process, or begun before.
        """
        if self._file is not None or self._ended:
            raise DataError(f"{self.paths.h5} has already been started")
        expected = nexus.expected_size(start.plan)
        check_space(self.paths.h5.parent, expected, start.wavelength_nm.size)
        part = self.paths.h5.with_name(self.paths.h5.name + ".part")
        holder = this_process()
        self._lock = RunLock(self.paths.h5, holder)
        try:
            with guarded(self.paths.h5):
                try_room(part, run_bytes(expected, start.wavelength_nm.size) + _AT_FIRST)
                with open_h5(part, "w") as file:
                    nexus.build(file, start, holder, expected)
                sync(part)
                part.replace(self.paths.h5)
                self._open(first_bytes(expected, start.wavelength_nm.size))
        except DataError:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            self._unlock()
            raise
        self._convention = start.convention

    def dark(self, record: DarkRecord) -> None:
        """Store a dark or a blank: its two arrays, then its row."""
        with self._writing() as file:
            arrays = [np.ascontiguousarray(a, "<f8")[None, :] for a in (record.counts, record.spread)]
            crc = zlib.crc32(arrays[1].tobytes(), zlib.crc32(arrays[0].tobytes()))
            measured = (_or_nan(record.temperature_c), _or_nan(record.fluence_uj_cm2), crc)
            row = (record.number, record.kind, record.n, record.integration_s, record.at_s, *measured)
            self._tables["dark_counts"].append(arrays[0])
            self._tables["dark_spread"].append(arrays[1])
            self._tables["dark_table"].append(np.array([row], schema.DARK_DTYPE))
            file.flush()

    def append(self, point: SweepPoint, *, flush: bool = True) -> None:
        """Store one point: raw frames, spectrum and curve, then the row that makes it exist.

        :param flush: False leaves the flush to the caller (:meth:`flush`, every 0.1 s of a stream).
        :raises DataError: the disk is full or the arrays do not fit this run; earlier points are safe.
        """
        with self._writing() as file:
            kind, frames = _stored_frames(point.frames)
            spectrum = np.ascontiguousarray(point.spectrum, "<f8")[None, :]
            first = self._tables[schema.FRAME_KINDS[kind][0]].append(frames)
            spikes = [(point.index, *spike) for spike in point.spikes]
            spikes_first = self._tables["spikes"].append(np.array(spikes, schema.SPIKE_DTYPE))
            self._tables["left_out"].append(_left_out(point))
            self._tables["spectrum"].append(spectrum)
            sigma = point.fluence_uj_cm2 * point.fluence_sigma_rel
            curve = (point.fluence_uj_cm2, sigma, point.signal, point.signal_sigma)
            for name, value in zip(schema.CURVE_NAMES, curve, strict=True):
                self._tables[name].append(np.array([value]))
            crc = zlib.crc32(spectrum.data, zlib.crc32(frames.data))
            where = (kind, first, len(frames), spikes_first, len(spikes), crc)
            self._tables["points"].append(_row(point, where))
            if flush:
                file.flush()

    def shots(self, block: ShotBlock) -> None:
        """Store shots: frames, their rows and gaps, then the row of the batch that makes them exist.

        :raises DataError: the run was not planned to keep shots, or the disk is full; earlier ones are safe.
        """
        with self._writing() as file:
            self._shot_tables().append(block)
            file.flush()

    def shot_point(self, summary: ShotsSummary) -> None:
        """Store what the shots of one fluence gave.

        :raises DataError: as :meth:`shots`.
        """
        with self._writing() as file:
            self._shot_tables().end_point(summary)
            file.flush()

    def _shot_tables(self) -> ShotTables:
        if self._shots is None:
            raise DataError(f"{self.paths.h5} was not begun as a run that keeps every shot")
        return self._shots

    def flush(self) -> None:
        """Put on disk what ``append(..., flush=False)`` left behind."""
        with self._writing() as file:
            file.flush()

    def event(self, at_s: float, text: str) -> None:
        """Store one line of the run's log; a long one takes several rows."""
        with self._writing() as file:
            pieces = _pieces(text, schema.EVENT_DTYPE["text"].itemsize)
            rows = [(at_s, number > 0, piece) for number, piece in enumerate(pieces)]
            self._tables["events"].append(np.array(rows, schema.EVENT_DTYPE))
            file.flush()

    def end(self, stop: RunStop) -> None:
        """Write the result, then how the run ended, and close the file.

        :raises DataError: it could not be written; the status is then written in place if at all possible.
        """
        if self._ended:
            raise DataError(f"{self.paths.h5} has already ended")
        try:
            self.flush()  # a file that has lost its name is found before the result is in it
            with self._writing() as file:
                self._write_result(file, self._room, stop)
            self._close_file()
            with guarded(self.paths.h5):
                assert self._held is not None
                self._held.sync()
        except DataError:
            self._close_file()
            self._rescue(_ending(stop))
            raise
        finally:
            self._ended = True
            self._let_go()

    def close(self) -> None:
        """Let go of the file; a run that was not ended becomes a failed one. Never raises."""
        if self._file is None and not self._ended and self._broken is None:
            self._ended = True
            with contextlib.suppress(OSError):  # the name was reserved, the run never began
                if self.paths.h5.stat().st_size == 0:
                    self.paths.h5.unlink()
        elif not self._ended:
            try:
                self.end(RunStop("failed", "the writer was closed before the run ended", ""))
            except DataError as exc:
                log.warning("%s", exc)
        self._close_file()
        self._let_go()

    def points(self) -> NDArray[np.void]:
        """Return the scalar rows of all points of the open file, shape ``(n,)``."""
        with guarded(self.paths.h5):
            if self._file is None:
                raise DataError(f"{self.paths.h5} is not open")
            return np.asarray(self._file[schema.GROWING["points"]][()])

    def csv_lost(self, why: str) -> None:
        """Take another name, ``paths``, if that of the CSV is taken: both files of a run share theirs.

        :param why: what became of the CSV.
        :raises DataError: there is no place for the run.
        """
        if not os.path.lexists(self.paths.csv):
            self.on_move(f"{self.paths.csv} {why}; it is rewritten from {self.paths.h5.name}")
            return
        with self._noting():
            self._go_elsewhere(f"{self.paths.csv} {why}", self._renamed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, planned: int) -> None:
        self._held = HeldFile(self.paths.h5)
        self._file = file = open_h5(self.paths.h5, "r+")
        self._room = room = Room(file, self._held)
        room.add(planned)
        self._tables = {name: Growing(file[path], room) for name, path in schema.GROWING.items()}
        self._shots = ShotTables(file, room) if schema.SHOT_FRAMES in file else None
        self._status_at = {name: file[schema.ENTRY][name].id.get_offset() for name in schema.STATUS_BYTES}

    def _write_result(self, file: h5py.File, room: Room, stop: RunStop) -> None:
        """Store the result where a kill cannot hurt it, then the status: from here on the run has ended."""
        found = plain(stop.result)
        text = np.frombuffer(nexus.as_json(found).encode(), np.uint8)
        self._tables["result"].append(text)
        file.flush()
        for name, words in _ending(stop).items():
            file[schema.ENTRY][name][()] = np.bytes_(_clipped(words, schema.STATUS_BYTES[name]))
            file.flush()
        add_for_viewers(file, room, found, self._convention)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[h5py.File]:
        if self._broken is not None:
            raise DataError(f"{self.paths.h5}: no longer written: {self._broken.message}")
        if self._file is None:
            raise DataError(f"{self.paths.h5} is not open")
        with self._noting():
            self._refuse_a_cut()
            with guarded(self.paths.h5):
                yield self._file
            self._keep()

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except DataError as exc:
            self._broken = exc
            raise

    # --- a file that loses its name while it is written -----------------------------------------------

    def _keep(self) -> None:
        """Make sure that what was just flushed can be found under the name the user knows."""
        if self._held is not None and (why := self._held.lost()):
            self._go_elsewhere(f"{self.paths.h5} {why}", self._copied)

    def _refuse_a_cut(self) -> None:
        """Say what the library, which would fail at it, could only say of its own insides."""
        if self._held is not None and self._held.shrank():
            raise DataError(
                f"{self.paths.h5} was truncated by another program: points are lost",
                "find the program that has it open; labctl verify shows what is left",
            )

    def _go_elsewhere(self, what: str, move: Callable[[Path, str], None]) -> None:
        """Put the whole run where it can be written, and go on there.

        :raises DataError: there is no such place.
        """
        assert self._held is not None
        failed = []
        for place in self._held.places():
            if self._file is None:  # the copy could not be opened
                break
            try:
                with guarded(place):
                    move(place, self.paths.h5.stem)
            except DataError as exc:
                failed.append(exc.message)
                continue
            self.on_move(f"{what}. No point is lost: the whole run is in {self.paths.h5} and continues there")
            return
        raise DataError(
            f"{what}, and no copy of the run could be written ({'; '.join(failed) or 'no place'})",
            "the run has stopped here; reconnect the disk, or name another directory with --output",
        )

    def _copied(self, place: Path, stem: str) -> None:
        """Copy the open file to a name that nobody has, through its handle, and open the copy."""
        file, held = self._file, self._held
        assert file is not None
        assert held is not None
        left = self._room.left
        self._room.release()
        file.flush()
        with _reserved(place, stem) as (paths, lock):
            part = paths.h5.with_name(paths.h5.name + ".part")
            try:
                held.copy_to(part)
                with contextlib.closing(HeldFile(part)) as copy:
                    Room.trim(copy)
                part.replace(paths.h5)
            except OSError:
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)
                raise
        self._close_file()
        self._rescue({"status": "failed", "status_reason": f"the run continues in {paths.h5}"})
        self._let_go()
        self.paths, self._lock = paths, lock
        self._open(left)

    def _renamed(self, place: Path, stem: str) -> None:
        """Give the file, which is where it should be, another name; copy it where that is not allowed."""
        assert self._held is not None
        try:
            with _reserved(place, stem) as (paths, lock):
                self.paths.h5.replace(paths.h5)
        except OSError:
            self._copied(place, stem)
            return
        if self._lock is not None:
            self._lock.release()
        self.paths, self._lock, self._held.path = paths, lock, paths.h5

    def _rescue(self, status: dict[str, str]) -> None:
        """Write the status over its own bytes without the library, which needs space to close cleanly."""
        status = status | {"status": "failed" if status["status"] == "finished" else status["status"]}
        try:
            assert self._held is not None
            for name, text in status.items():
                width = schema.STATUS_BYTES[name]
                self._held.write(self._status_at[name], _clipped(text, width).ljust(width, b"\0"))
        except (OSError, KeyError) as exc:
            log.warning("could not store how the run ended in %s: %s", self.paths.h5, exc)

    def _close_file(self) -> None:
        file, self._file = self._file, None
        self._tables, self._shots = {}, None
        if file is not None and self._held is not None:
            try:
                self._room.release()
                file.close()
                Room.trim(self._held)
            except Exception as exc:  # noqa: BLE001  a full disk makes the library fail again as it closes
                log.warning("while closing %s: %s", self.paths.h5, exc)

    def _let_go(self) -> None:
        if self._held is not None:
            self._held.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()


@contextlib.contextmanager
def _reserved(place: Path, stem: str) -> Iterator[tuple[RunPaths, RunLock]]:
    """Take a name that nobody has, and the right to write it; both are given back on an error."""
    paths = reserve(place, f"{stem}-copy")
    lock: RunLock | None = None
    try:
        lock = RunLock(paths.h5, this_process())
        yield paths, lock
    except BaseException:
        if lock is not None:
            lock.release()
        with contextlib.suppress(OSError):
            paths.h5.unlink()
        raise


def _ending(stop: RunStop) -> dict[str, str]:
    """The status comes last: it makes the rest count."""
    return {"end_time": stop.stopped_utc, "status_reason": stop.reason, "status": stop.status}


def _stored_frames(frames: NDArray[np.float64]) -> tuple[int, NDArray[np.generic]]:
    """Return the first kind of frames whose type holds every value exactly, and the frames in it."""
    with np.errstate(invalid="ignore", over="ignore"):
        for kind, (_, dtype) in enumerate(schema.FRAME_KINDS):
            stored = np.ascontiguousarray(frames, dtype)
            if np.array_equal(stored, frames, equal_nan=dtype.kind == "f"):
                return kind, stored
    raise DataError("raw frames are not numbers")


def _left_out(point: SweepPoint) -> NDArray[np.void]:
    """Return the exposures a point left out; a row of its own says that it left out none."""
    known = [] if point.left_out is None else point.left_out or [(-1, "")]
    rows = [(point.index, exposure, why.encode()) for exposure, why in known]
    return np.array(rows, schema.LEFT_OUT_DTYPE)


def _row(point: SweepPoint, where: tuple[int, int, int, int, int, int]) -> NDArray[np.void]:
    row = np.array([(*schema.packed(point), *where, 0)], schema.POINT_DTYPE)
    row["crc32_row"] = zlib.crc32(row.tobytes()[: -row["crc32_row"].itemsize])
    return row


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _pieces(text: str, width: int) -> list[bytes]:
    """Cut ``text`` into pieces of at most ``width`` bytes, never inside a character."""
    pieces: list[bytes] = []
    rest = text.replace("\0", "")
    while rest or not pieces:
        piece = _clipped(rest, width).decode()
        pieces.append(piece.encode())
        rest = rest[len(piece) :]
    return pieces


def _clipped(text: str, width: int) -> bytes:
    return text.encode("utf-8", "replace")[:width].decode("utf-8", "ignore").encode()


def sync(path: Path) -> None:
    """Put the file on the medium, at the start and the end; a point's flush goes to the system only."""
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
