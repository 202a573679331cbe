"""Every shot of a run: 16-bit frames, their times and pulse numbers, stored batch by batch, read in pieces.

A batch exists with its row, which is written last; what a kill left without one is not read.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from labctl.data import schema
from labctl.data.files.guard import GuardedFile, opened
from labctl.data.files.hdf5 import Growing, Room, create_growing
from labctl.model.errors import DataError
from labctl.model.shots import PHASES, CountArray, Phase, ShotBlock, ShotsSummary, ShotTally

FRAME = np.dtype("<u2")
LARGEST_FRAME_CHUNK = 1 << 28
"""An hour at 1 kHz in 60 chunks: as many as one node of the index holds."""
_FINER = 3
"""So many times more chunks than a run of points has: the last one, and the room ahead, are small parts."""
_SHOTS_IN_BATCH, _BATCHES_TO_GAP = 100, 4
"""Only the size of chunks depends on them."""
_POINTS = 64
_PIECE_SHOTS = 1000


def shot_bytes(shots: int, pixels: int) -> int:
    """Return the bytes that so many shots take in a file, the unfilled part of the last chunk included."""
    per_shot = FRAME.itemsize * pixels + schema.SHOT_DTYPE.itemsize + 1
    return int(shots * per_shot * (1 + 1 / 16))


def create_shots(file: h5py.File, shots: int, pixels: int) -> None:
    """Create what keeps every shot in the skeleton of a run.

    :param shots: number that is planned.
    """
    detector, record = file[schema.DETECTOR], file[schema.RECORD]
    wavelength = file[schema.SPECTRA]["wavelength"]
    name = schema.SHOT_FRAMES.rpartition("/")[2]
    frames = create_growing(detector, name, FRAME, (pixels,), -(-shots // _FINER), LARGEST_FRAME_CHUNK)
    frames.attrs.update(units="counts", long_name="Raw counts of every shot")
    shown = file.create_group(schema.SHOTS)
    shown.attrs.update(NX_class="NXdata", signal="frames", axes=[".", "wavelength"], wavelength_indices=1)
    shown.create_dataset("title", data="Every shot, raw counts", dtype=h5py.string_dtype())
    shown["frames"], shown["wavelength"] = frames, wavelength
    batches = -(-shots // _SHOTS_IN_BATCH)
    create_growing(record, "shots", schema.SHOT_DTYPE, (), shots)
    create_growing(record, "shot_gaps", schema.SHOT_GAP_DTYPE, (), batches // _BATCHES_TO_GAP)
    create_growing(record, "shot_batches", schema.SHOT_BATCH_DTYPE, (), batches)
    create_growing(record, "shot_points", schema.SHOT_POINT_DTYPE, (), _POINTS)


class ShotTables:
    """The growing datasets of the shots of an open run file."""

    def __init__(self, file: h5py.File, room: Room) -> None:
        self._tables = {name: Growing(file[path], room) for name, path in schema.SHOT_TABLES.items()}

    def append(self, block: ShotBlock) -> None:
        """Write the shots of a batch, then the row that makes them exist."""
        batch = block.batch
        rows = np.zeros(len(batch), schema.SHOT_DTYPE)
        rows["device_time_us"], rows["spectrum_count"] = batch.device_time_us, batch.spectrum_count
        rows["pulse"], rows["phase"], rows["point"] = block.pulse, block.phase, block.point
        lost = [(block.point, gap.pulse, gap.lost, gap.cause) for gap in block.gaps]
        gaps = np.array(lost, schema.SHOT_GAP_DTYPE)
        frames = np.ascontiguousarray(batch.frames, FRAME)
        first = self._tables["frames"].append(frames)
        self._tables["table"].append(rows)
        self._tables["gaps"].append(gaps)
        crc = _sum_of(frames, rows, gaps)
        kept = (first, len(batch), self._tables["gaps"].rows, batch.integration_s, batch.received_s, crc, 0)
        row = np.array([kept], schema.SHOT_BATCH_DTYPE)
        row["crc32_row"] = _row_sum(row[0])
        self._tables["batches"].append(row)

    def end_point(self, summary: ShotsSummary) -> None:
        """Write what the shots of one fluence gave."""
        row = tuple(getattr(summary, name) for name in schema.SHOT_POINT_DTYPE.names or ())
        self._tables["points"].append(np.array([row], schema.SHOT_POINT_DTYPE))


def _sum_of(frames: NDArray[Any], rows: NDArray[Any], gaps: NDArray[Any]) -> int:
    return zlib.crc32(gaps.tobytes(), zlib.crc32(rows.tobytes(), zlib.crc32(frames.tobytes())))


def _row_sum(row: np.void) -> int:
    return zlib.crc32(row.tobytes()[: -row["crc32_row"].itemsize])


@dataclass(frozen=True, slots=True)
class StoredShots:
    """The shots of a stored run, in the order in which they came.

    :param path: the run file.
    :param pixels: of a frame.
    :param table: a row of each shot (``labctl.data.schema.SHOT_DTYPE``), shape ``(shot,)``.
    :param gaps: what is missing (``SHOT_GAP_DTYPE``).
    :param batches: as they were stored (``SHOT_BATCH_DTYPE``).
    :param points: a row of each fluence whose shots are all there (``SHOT_POINT_DTYPE``), shape ``(point,)``.
    """

    path: Path
    pixels: int
    table: NDArray[Any] = field(repr=False)
    gaps: NDArray[Any] = field(repr=False)
    batches: NDArray[Any] = field(repr=False)
    points: NDArray[Any] = field(repr=False)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def tally(self) -> ShotTally:
        """Number of shots that were kept and of those that are missing."""
        in_buffer = self.gaps["cause"] == b"buffer"
        lost = self.gaps["lost"]
        return ShotTally(len(self), int(lost[in_buffer].sum()), int(lost[~in_buffer].sum()))

    def where(self, phase: Phase, point: int | None = None) -> NDArray[np.int64]:
        """Return the places of the shots of a phase, shape ``(shot,)``.

        :param phase: where the shutter was.
        :param point: number of the point of a sweep; all of them if left out. Of one that was begun again,
            after a fault or a kill, the shots of its last burst.
        """
        chosen = self.table["phase"] == PHASES.index(phase)
        if point is not None:
            own = self.table["point"] == point
            begins = np.flatnonzero(own & (self.table["pulse"] == 0))
            chosen &= own
            chosen[: begins[-1] if begins.size else 0] = False
        return np.flatnonzero(chosen)

    def frames(self, first: int, count: int) -> CountArray:
        """Read raw counts of consecutive shots, shape ``(shot, pixel)``.

        :param first: place of the first one.
        :param count: how many; fewer are returned at the end.
        :raises DataError: they cannot be read.
        """
        last = min(first + count, len(self))
        with opened(self.path) as file:
            return _frames(file, self.pixels, first, max(last - first, 0))

    def pieces(self, places: NDArray[np.int64]) -> Iterator[CountArray]:
        """Read raw counts of chosen shots in pieces, each of shape ``(shot, pixel)``, at most 1000 at once.

        :param places: of the shots, rising, as :meth:`where` returns them.
        """
        for start in range(0, places.size, _PIECE_SHOTS):
            chosen = places[start : start + _PIECE_SHOTS]
            first = int(chosen[0])
            yield self.frames(first, int(chosen[-1]) - first + 1)[chosen - first]


def sound_lengths(path: Path, pixels: int, points: int) -> dict[str, int]:
    """Return how many rows of each table of single shots belong to whole batches; none without tables.

    :param points: number of the points of the sweep, each of which has said what its shots gave.
    """
    shots = read_shots(path, pixels)
    if shots is None:
        return {}
    kept = {"gaps": shots.gaps, "batches": shots.batches, "frames": shots.table, "table": shots.table}
    return {**{name: len(rows) for name, rows in kept.items()}, "points": min(len(shots.points), points)}


def read_shots(path: Path, pixels: int) -> StoredShots | None:
    """Return the shots of a run file; None if it keeps none.

    :raises DataError: what is stored of them is not what labctl writes.
    """
    with opened(path) as file:
        if not file.has(schema.SHOT_FRAMES):
            return None
        batches, there = _whole_batches(file, pixels)
        shots = int(batches["first"][-1] + batches["count"][-1]) if len(batches) else 0
        gaps = int(batches["gaps"][-1]) if len(batches) else 0
        points = file.array(schema.SHOT_TABLES["points"], schema.SHOT_POINT_DTYPE, ())
        return StoredShots(path, pixels, there["table"][:shots], there["gaps"][:gaps], batches, points)


def shot_problems(file: GuardedFile, pixels: int) -> Iterator[str]:
    """Yield what is wrong with the shots of a run, one line each."""
    if not file.has(schema.SHOT_FRAMES):
        return
    try:
        batches, there = _whole_batches(file, pixels)
    except DataError as exc:
        yield exc.message
        return
    for at in range(len(batches)):
        if not _is_sound(file, batches, at, there, pixels):
            first, count = int(batches["first"][at]), int(batches["count"][at])
            yield f"shots {first + 1} to {first + count}: checksum does not match"


def _whole_batches(file: GuardedFile, pixels: int) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    """Return the batches whose shots are all there, and the tables; a kill can leave a last one without."""
    there = {
        "table": file.array(schema.SHOT_TABLES["table"], schema.SHOT_DTYPE, ()),
        "gaps": file.array(schema.SHOT_TABLES["gaps"], schema.SHOT_GAP_DTYPE, ()),
    }
    batches = file.array(schema.SHOT_TABLES["batches"], schema.SHOT_BATCH_DTYPE, ())
    frames = file.growing(schema.SHOT_FRAMES, FRAME, (pixels,)).shape[0]
    ends = batches["first"] + batches["count"]
    whole = (batches["count"] > 0) & (ends <= min(frames, len(there["table"])))
    whole &= batches["gaps"] <= len(there["gaps"])
    kept = int(np.flatnonzero(whole)[-1]) + 1 if whole.any() else 0
    while kept and not _is_sound(file, batches, kept - 1, there, pixels):
        kept -= 1
    first = np.concatenate([[0], ends[: max(kept - 1, 0)]])[:kept]
    if not whole[:kept].all() or (batches["first"][:kept] != first).any():
        raise file.refusal("some batches of its shots are missing")
    return batches[:kept], there


def _is_sound(
    file: GuardedFile, batches: NDArray[Any], at: int, there: dict[str, NDArray[Any]], pixels: int
) -> bool:
    row = batches[at]
    if row["crc32_row"] != _row_sum(row):
        return False
    first, count = int(row["first"]), int(row["count"])
    gaps = there["gaps"][int(batches["gaps"][at - 1]) if at else 0 : int(row["gaps"])]
    rows = there["table"][first : first + count]
    return bool(row["crc32_data"] == _sum_of(_frames(file, pixels, first, count), rows, gaps))


def _frames(file: GuardedFile, pixels: int, first: int, count: int) -> CountArray:
    stored = file.growing(schema.SHOT_FRAMES, FRAME, (pixels,))
    return np.asarray(stored[first : first + count]).astype(np.uint16, copy=False)
