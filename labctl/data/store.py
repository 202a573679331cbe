"""Datasets that grow by a row, written so that a kill at any moment leaves a file that opens.

A row goes straight into a chunk whose place in the file is already settled, so the only metadata that
changes with a point is each dataset's extent: one small write in place, and every prefix of these writes
is a sound file. The B-tree of chunks changes only when a chunk is full. Chunks are therefore big, and not
cached (the cache would write them back whole).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from labctl.data.room import Room
from labctl.model.errors import DataError

_PLANNED_CHUNKS = 16
"""Chunks a planned run fills. One B-tree node holds 64: only a run four times as long as planned splits it,
the one moment, of some 10 us, at which a kill could still cost the index of a dataset."""
_SMALLEST_CHUNK, LARGEST_CHUNK = 4096, 1 << 25
_OUT_OF_SPACE = ("errno = 28", "errno = 27", "errno = 122", "No space", "File too large", "not enough space")


def open_h5(path: Path, mode: str) -> h5py.File:
    """Open a run file for writing: oldest format that fits, no lock, no chunk cache."""
    return h5py.File(path, mode, libver=("earliest", "v108"), locking=False, rdcc_nbytes=0)


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn whatever the HDF5 library raises while writing ``path`` into :class:`DataError`."""
    try:
        yield
    except DataError:
        raise
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as exc:
        text = str(exc)
        if any(mark in text for mark in _OUT_OF_SPACE):
            raise DataError(
                f"{path}: the disk is full", "free space there; every point already shown is in the file"
            ) from exc
        raise DataError(f"cannot write {path}: {text.splitlines()[0] if text else exc!r}") from exc


def chunk_rows(row_bytes: int, expected_rows: int) -> int:
    """Return rows per chunk for about 16 chunks of 4 kB to 32 MB in all.

    >>> chunk_rows(16384, 24), chunk_rows(16384, 20_000)
    (2, 1250)
    """
    wanted = -(-expected_rows // _PLANNED_CHUNKS)
    least = -(-_SMALLEST_CHUNK // row_bytes)
    return max(1, min(max(wanted, least), LARGEST_CHUNK // row_bytes))


def create_growing(
    group: h5py.Group, name: str, dtype: np.dtype[np.generic], row_shape: tuple[int, ...], expected_rows: int
) -> h5py.Dataset:
    """Create an empty dataset of shape ``(0, *row_shape)`` that grows along its first axis."""
    row_bytes = max(1, int(np.prod(row_shape, dtype=np.int64)) * dtype.itemsize)
    create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    create.set_chunk((chunk_rows(row_bytes, expected_rows), *row_shape))
    create.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    create.set_obj_track_times(False)
    space = h5py.h5s.create_simple((0, *row_shape), (h5py.h5s.UNLIMITED, *row_shape))
    made = h5py.h5d.create(group.id, name.encode(), h5py.h5t.py_create(dtype, logical=True), space, create)
    made.set_extent((1, *row_shape))  # brings the root of its index into being, which then stays
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.zeros((1, *row_shape), dtype))
    made.set_extent((0, *row_shape))
    return h5py.Dataset(made)


class Growing:
    """Appends rows to one growing dataset. The low-level calls save half the time of ``dataset[i] = x``."""

    def __init__(self, dataset: h5py.Dataset, room: Room) -> None:
        self._room = room
        self._id = dataset.id
        self._type = dataset.id.get_type()  # given with each write: working it out costs 0.4 ms for a row
        self._dtype = dataset.dtype
        self._row_shape = tuple(dataset.shape[1:])
        self._offset = (0,) * len(self._row_shape)
        self._limits = (h5py.h5s.UNLIMITED, *self._row_shape)
        self._target = dataset.id.get_space()
        self._one = h5py.h5s.create_simple((1, *self._row_shape))
        self.rows = int(dataset.shape[0])
        self._chunk_rows = int(dataset.chunks[0])
        self._chunk_bytes = int(np.prod(dataset.chunks, dtype=np.int64)) * dataset.dtype.itemsize

    def append(self, block: NDArray[np.generic]) -> int:
        """Append ``block``, shape ``(rows, *row_shape)``; return the number of its first row.

        :raises ValueError: the block's shape does not fit.
        """
        if block.shape[1:] != self._row_shape:
            raise ValueError(f"rows of shape {block.shape[1:]} do not fit {self._row_shape}")
        first, count = self.rows, block.shape[0]
        if count:
            data = np.ascontiguousarray(block, self._dtype)
            new_chunks = -(-(first + count) // self._chunk_rows) - -(-first // self._chunk_rows)
            if new_chunks:
                self._room.take(new_chunks * self._chunk_bytes)
            extent = (first + count, *self._row_shape)
            self._id.set_extent(extent)
            self._target.set_extent_simple(extent, self._limits)
            self._target.select_hyperslab((first, *self._offset), data.shape)
            source = self._one if count == 1 else h5py.h5s.create_simple(data.shape)
            self._id.write(source, self._target, data, self._type)
            self.rows = first + count
        return first
