"""Find damage in a run file on which the HDF5 library would turn in a circle for ever.

Texts lie in global heaps: a header ("GCOL", version, size) and objects one behind the other, each with index
and size (HDF5 File Format Specification 3.0, section III.E). Index 0 is free space, whose size counts its own
header; where that size is zero the library (1.14) stays at the same place for ever.
"""

from __future__ import annotations

import mmap
from pathlib import Path

_HEAP = b"GCOL\x01\0\0\0"
_HEADER, _OBJECT = 16, 16
_LEAST, _LARGEST = 4096, 1 << 30


def endless_heap(path: Path) -> int | None:
    """Return where in a file a heap begins that has no end, None if there is none.

    :raises OSError: the file cannot be read; ``ValueError``: it is empty.
    """
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        at = raw.find(_HEAP)
        while at >= 0:
            size = int.from_bytes(raw[at + 8 : at + 16], "little")
            if _LEAST <= size <= min(_LARGEST, len(raw) - at) and _is_endless(raw, at + _HEADER, at + size):
                return at
            at = raw.find(_HEAP, at + len(_HEAP))
    return None


def _is_endless(raw: mmap.mmap, place: int, end: int) -> bool:
    """Go from object to object as the library does.

    Zeros up to the end are no damage: a run cut off while a heap was being written has them, and nobody reads
    it.
    """
    while place + _OBJECT <= end:
        index = int.from_bytes(raw[place : place + 2], "little")
        size = int.from_bytes(raw[place + 8 : place + 16], "little")
        step = size if index == 0 else _OBJECT + (size + 7) // 8 * 8
        if step == 0:
            return any(raw[place:end])
        place += step
    return False
