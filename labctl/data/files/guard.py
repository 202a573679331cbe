"""Read HDF5 files of unknown origin: follow no link out of the file, load nothing larger than the file.

Only hard links, plain numbers and texts, unfiltered local storage. Nothing stored can be executed, and
compressed data is refused, so what is loaded is bounded by the size of the file itself.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from labctl.model.errors import DataError
from labctl.model.untrusted import open_regular, read_regular

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


_LARGEST = 256 << 20
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def read_text(path: Path) -> str:
    """Return the text of ``path`` (UTF-8, UTF-16, else Latin-1), with "\\n" as line ends.

    :raises DataError: missing, empty, binary, or larger than 256 MB.
    """
    try:
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        raw = read_regular(path, _LARGEST)
    except (OSError, ValueError) as exc:
        raise DataError(f"cannot read {path}: {getattr(exc, 'strerror', None) or exc}") from exc
    text = _decoded(raw).rstrip("\x1a")  # the end of a file of DOS
    if not text.strip():
        raise DataError(f"{path} is empty")
    if any(ord(character) < 32 and character not in "\t\n\r\f" for character in set(text)):
        raise DataError(f"{path} is binary, not a table", "give a run's .h5 or a CSV")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decoded(raw: bytes) -> str:
    encoding = next((name for bom, name in _BOMS if raw.startswith(bom)), "utf-8")
    sample = raw[:2000]
    if encoding == "utf-8" and len(sample) > 3 and not len(raw) % 2:  # UTF-16 whose mark was lost
        zeros = sample[0::2].count(0), sample[1::2].count(0)
        if max(zeros) * 2.2 > len(sample) and min(zeros) == 0:
            encoding = "utf-16-be" if zeros[0] else "utf-16-le"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return raw.decode("latin-1")


HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""The first bytes of such a file."""
_LONGEST_TEXT = 16 << 20
_LARGEST_LOAD = 4 << 30
_ANY_SIZE = 1 << 62
_DEEPEST_JSON = 40
_MOST_DIGITS = 20


@contextmanager
def opened(path: Path) -> Iterator[GuardedFile]:
    """Open ``path`` for reading, without a lock, and tell whatever goes wrong as :class:`DataError`."""
    try:
        if not path.exists():
            raise DataError(f"{path}: no such file")
        if not path.is_file():
            raise DataError(f"{path} is not a file")
        with open_regular(path) as raw:
            if (size := os.fstat(raw.fileno()).st_size) == 0:
                raise DataError(f"{path} is empty: the run never began")
            if raw.read(8) != HDF5_SIGNATURE:
                raise DataError(f"{path} is not an HDF5 file", "give a run's .h5, or a CSV to labctl fit")
            with h5py.File(path, "r", locking=False, rdcc_nbytes=0) as file:
                yield GuardedFile(file, path, size, raw)
    except DataError:
        raise
    except FileNotFoundError as exc:
        raise DataError(f"{path}: no such file") from exc
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, OverflowError, MemoryError) as exc:
        first = (str(exc).splitlines() or [repr(exc)])[0]
        raise DataError(f"{path} is damaged or cut short: {first}", "use a backup copy of the run") from exc


class GuardedFile:
    """A run file whose every access is checked; see the module."""

    def __init__(self, file: h5py.File, path: Path, size: int, raw: BinaryIO) -> None:
        self.path, self._size, self._raw = path, size, raw
        self._groups: dict[str, h5py.Group] = {"": file}

    def has(self, name: str) -> bool:
        """Return whether ``name`` is there, as plain nested groups."""
        return self._walk(name) is not None

    def dataset(self, name: str, most: int = _LARGEST_LOAD) -> h5py.Dataset:
        """Return the dataset ``name``, checked but not read.

        :param most: bytes that it may claim; only what is read in pieces may be larger than 4 GB.
        :raises DataError: missing, or stored in a way a run file never is.
        """
        found = self._walk(name)
        if not isinstance(found, h5py.Dataset):
            raise self.refusal(f"{name} is missing")
        layout = found.id.get_create_plist()
        if found.external is not None or found.is_virtual or layout.get_nfilters():
            raise self.refusal(f"{name} is stored outside the file or compressed")
        shape, dtype = found.shape, found.dtype
        if shape is None or (dtype.hasobject and shape != ()):
            raise self.refusal(f"{name} has an unexpected type")
        if math.prod(shape) * dtype.itemsize > min(self._size, most):
            raise self.refusal(f"{name} claims to be larger than the file")
        return found

    def array(self, name: str, dtype: np.dtype[np.generic], row_shape: tuple[int, ...]) -> NDArray[Any]:
        """Read all of ``name``, of exactly this type and shape ``(n, *row_shape)``."""
        return np.asarray(self.growing(name, dtype, row_shape, _LARGEST_LOAD)[()])

    def growing(
        self, name: str, dtype: np.dtype[np.generic], row_shape: tuple[int, ...], most: int = _ANY_SIZE
    ) -> h5py.Dataset:
        """Return ``name`` for reading by rows; it has exactly this type and shape ``(n, *row_shape)``."""
        found = self.dataset(name, most)
        if found.ndim != 1 + len(row_shape) or tuple(found.shape[1:]) != row_shape or found.dtype != dtype:
            raise self.refusal(f"{name} has an unexpected shape or type ({found.shape}, {found.dtype})")
        return found

    def text(self, name: str) -> str:
        """Read one text."""
        found = self.dataset(name)
        info = h5py.check_string_dtype(found.dtype)
        if info is None or found.shape != ():
            raise self.refusal(f"{name} is not text")
        if info.length is None:
            self._refuse_endless(found)
        value = found[()]
        if len(value) > min(self._size, _LONGEST_TEXT):
            raise self.refusal(f"{name} is longer than the file")
        return bytes(value).decode("utf-8", "replace").rstrip("\0")

    def _refuse_endless(self, text: h5py.Dataset) -> None:
        """Refuse a text at whose place the library would never come to an end."""
        offset = text.id.get_offset()
        if offset is None or offset >= self._size:
            return
        at = heap_of(self._raw, offset)
        if at < self._size and is_endless(self._raw, at):
            why = f"{self.path} is damaged: its texts at byte {at} have no end"
            raise DataError(why, "use a backup copy of the run")

    def mapping(self, name: str) -> dict[str, object]:
        """Read one text as a JSON object."""
        return self.parsed(name, self.text(name))

    def parsed(self, name: str, text: str) -> dict[str, object]:
        """Return ``text``, stored as ``name``, as a JSON object."""
        try:
            value = read_json(text)
        except (ValueError, RecursionError) as exc:
            raise self.refusal(f"{name} is not the JSON it should be") from exc
        if not isinstance(value, dict) or _too_deep(value, _DEEPEST_JSON):
            raise self.refusal(f"{name} is not the JSON object it should be")
        return value

    def refusal(self, why: str) -> DataError:
        """Return the error that says why this is no run file of ours."""
        return DataError(f"{self.path} is not a valid labctl run: {why}")

    def _walk(self, name: str) -> h5py.Group | h5py.Dataset | None:
        above, _, last = name.rpartition("/")
        group = self._groups.get(above) or self._walk(above)
        if not isinstance(group, h5py.Group):
            return None
        self._groups[above] = group
        link = group.get(last, getlink=True)
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise self.refusal(f"{name} links to another file")
        found: h5py.Group | h5py.Dataset = group[last]
        return found


def read_json(text: str | bytes) -> object:
    """Read JSON whose numbers are numbers of a measurement: finite, and whole ones of 64 bits at most.

    :raises ValueError: it is no such JSON.
    :raises RecursionError: it is nested without end.
    """
    return json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_finite)


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _finite(word: str) -> float:
    if not math.isfinite(value := float(word)):
        raise ValueError(f"{word} is not a number")
    return value


def _too_deep(value: object, left: int) -> bool:
    if left == 0:
        return True
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_too_deep(item, left - 1) for item in inner)
