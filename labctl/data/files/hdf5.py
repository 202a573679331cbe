"""Datasets that grow by a row, written so that a kill at any moment leaves a file that opens.

Space is set aside inside the file, so that storing a point never moves the file's end; whether the name
still leads to the file is checked.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from labctl.model.errors import DataError

_PIECE = 1 << 20
_BINARY: int = getattr(os, "O_BINARY", 0)


class HeldFile:
    """One existing file, held until :meth:`close`.

    :raises OSError: it cannot be opened for reading and writing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | _BINARY)
        self._device = path.parent.stat().st_dev
        # Some network file systems number a file anew at every look: there only its absence is noticed.
        self._tells = why_lost(self._fd, path) == ""
        self._size = 0

    def lost(self) -> str:
        """Return what became of the file under its name, an empty text where all is well."""
        why = why_lost(self._fd, self.path)
        if why and not self._tells and os.path.exists(self.path):  # noqa: PTH110  never raises
            why = ""
        return why

    def shrank(self) -> bool:
        """Return whether the file is shorter than when this was asked last: what was cut off is lost."""
        before, self._size = self._size, self.size
        return self._size < before

    @property
    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self._fd).st_size

    def set_size(self, size: int) -> None:
        """Make the file so long."""
        os.ftruncate(self._fd, size)

    def read(self, start: int, count: int) -> bytes:
        """Return at most ``count`` bytes from ``start`` on."""
        os.lseek(self._fd, start, os.SEEK_SET)
        return os.read(self._fd, count)

    def write(self, start: int, data: bytes) -> None:
        """Write over the bytes from ``start`` on."""
        os.lseek(self._fd, start, os.SEEK_SET)
        os.write(self._fd, data)

    def sync(self) -> None:
        """Put the file on the medium."""
        os.fsync(self._fd)

    def copy_to(self, path: Path) -> None:
        """Copy what is in the file, whatever became of its name; on the medium when this returns.

        :raises OSError: it cannot be read, or the copy not written.
        """
        with path.open("wb") as copy:
            at = 0
            while piece := self.read(at, _PIECE):
                copy.write(piece)
                at += len(piece)
            copy.flush()
            os.fsync(copy.fileno())

    def places(self) -> Iterator[Path]:
        """Yield where a copy may go: beside the file if that place is still there, else where one can write.

        A directory on which another file system lies now, or none any more, is not that place: what is
        written there is hidden once the old one is back.
        """
        beside = self.path.parent
        with contextlib.suppress(OSError):
            if beside.stat().st_dev == self._device:
                yield beside
        for make in (Path.cwd, Path.home, lambda: Path(tempfile.gettempdir())):
            with contextlib.suppress(OSError, RuntimeError):
                if (place := make()) != beside:
                    yield place

    def close(self) -> None:
        """Let go. May be called twice."""
        descriptor, self._fd = self._fd, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def why_lost(descriptor: int, path: Path | str) -> str:
    """Return why ``path`` no longer names the file of an open descriptor; an empty text where it does."""
    try:
        found = os.stat(path)  # noqa: PTH116  a third of the time, and this is asked at every flush
        if os.path.samestat(os.fstat(descriptor), found):
            return ""
    except (FileNotFoundError, NotADirectoryError):
        return "has disappeared: it was deleted or renamed, or its disk was removed"
    except (OSError, ValueError) as exc:
        return f"cannot be accessed any more: {getattr(exc, 'strerror', None) or exc}"
    return "was replaced by another file"


_STEP, _SLACK = 8 << 20, 1 << 20
_BYTES = h5py.h5t.py_create(np.dtype("u1"))


class Room:
    """Keeps free space ahead of the chunks of one open file.

    :ivar left: bytes that are set aside and not yet taken.
    """

    def __init__(self, file: h5py.File, held: HeldFile) -> None:
        self._file, self._held = file, held
        self.left = 0
        self._anchor: h5py.h5d.DatasetID | None = None

    def take(self, size: int) -> None:
        """Have ``size`` bytes at hand for the chunks about to be allocated."""
        if size > self.left:
            self.add(max(_STEP, 2 * size))
        self.left -= size

    def add(self, size: int) -> None:
        """Set ``size`` more bytes aside: a nameless block, let go of, in front of one that stays."""
        self.lengthen(size)
        block = self._nameless(size)
        old, self._anchor = self._anchor, self._nameless(8)
        self._file.flush()
        del old, block  # the space of a dataset without a name is free again once nobody holds it
        self.left += size

    def lengthen(self, size: int) -> None:
        """Make the file longer than HDF5 is about to say it is; it cuts off what it does not need."""
        self._held.set_size(self._held.size + size + _SLACK)

    @staticmethod
    def trim(held: HeldFile) -> None:
        """Cut a file that is not open to the end that its superblock names (version 0: 8 bytes at 40)."""
        head = held.read(0, 48)
        end = int.from_bytes(head[40:48], "little")
        if head[8] == 0 and head[13] == 8 and 48 < end < held.size:
            held.set_size(end)

    def release(self) -> None:
        """Let the library give the unused end back when the file is closed."""
        self._anchor = None

    def _nameless(self, size: int) -> h5py.h5d.DatasetID:
        create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        create.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        create.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        return h5py.h5d.create(self._file.id, None, _BYTES, h5py.h5s.create_simple((size,)), create)


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


def chunk_rows(row_bytes: int, expected_rows: int, largest: int = LARGEST_CHUNK) -> int:
    """Return rows per chunk for about 16 chunks of 4 kB to ``largest`` (32 MB) in all.

    >>> chunk_rows(16384, 24), chunk_rows(16384, 20_000)
    (2, 1250)
    """
    wanted = -(-expected_rows // _PLANNED_CHUNKS)
    least = -(-_SMALLEST_CHUNK // row_bytes)
    return max(1, min(max(wanted, least), largest // row_bytes))


def create_growing(
    group: h5py.Group,
    name: str,
    dtype: np.dtype[np.generic],
    row_shape: tuple[int, ...],
    expected_rows: int,
    largest: int = LARGEST_CHUNK,
) -> h5py.Dataset:
    """Create an empty dataset of shape ``(0, *row_shape)`` that grows along its first axis."""
    row_bytes = max(1, int(np.prod(row_shape, dtype=np.int64)) * dtype.itemsize)
    create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    create.set_chunk((chunk_rows(row_bytes, expected_rows, largest), *row_shape))
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
