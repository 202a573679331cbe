"""Find damage in a run file on which the HDF5 library would turn in a circle for ever.

A text of any length lies in a global heap: a header ("GCOL", version, size) and objects one behind the other,
each with index and size; its dataset holds length, address of the heap and index (HDF5 File Format
Specification 3.0, III.E and VIII.C). Index 0 is free space, whose size counts its own header; where that size
is zero the library (1.14) stays at the same place for ever.
"""

from __future__ import annotations

import os
from typing import BinaryIO

_SIGNATURE = b"GCOL"
_HEADER = _OBJECT = 16


def heap_of(raw: BinaryIO, offset: int) -> int:
    """Return where the heap begins that holds the text whose reference stands at ``offset``."""
    raw.seek(offset)
    return int.from_bytes(raw.read(12)[4:], "little")


def is_endless(raw: BinaryIO, address: int) -> bool:
    """Go from object to object of a heap as the library does. What is no heap is the library's to refuse."""
    left = raw.seek(0, os.SEEK_END) - address - _HEADER
    raw.seek(address)
    header = raw.read(_HEADER)
    size = int.from_bytes(header[8:], "little")
    if not header.startswith(_SIGNATURE) or not 0 <= size - _HEADER <= left:
        return False
    objects = raw.read(size - _HEADER)
    place = 0
    while place + _OBJECT <= len(objects):
        index = int.from_bytes(objects[place : place + 2], "little")
        own = int.from_bytes(objects[place + 8 : place + 16], "little")
        step = own if index == 0 else _OBJECT + (own + 7) // 8 * 8
        if step == 0:
            return True
        place += step
    return False
