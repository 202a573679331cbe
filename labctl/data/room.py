"""Space set aside inside the file, so that storing a point never moves the file's end.

HDF5 notes a new end of file in the superblock, after the index that points beyond the old end and before
it lengthens the file. A process killed in between leaves a file that does not open. So the end is moved
rarely and on purpose, with the file lengthened first, and chunks are taken from what lies before it.
"""

from __future__ import annotations

import h5py
import numpy as np

from labctl.data.held import HeldFile

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
