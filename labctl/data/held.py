"""A file that is being written, held by a descriptor of its own: does its name still lead to it?

A file may be deleted, renamed or replaced while a run is written, or its file system may go. What was written
is still there for whoever holds it, and can be copied; its name says nothing any more.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

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
        return "is gone: it was deleted or renamed, or its disk was taken away"
    except (OSError, ValueError) as exc:
        return f"cannot be reached any more: {getattr(exc, 'strerror', None) or exc}"
    return "was replaced by another file"
