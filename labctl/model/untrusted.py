"""Files opened within bounds and written whole, and texts of a stranger made fit to be shown."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import stat
import unicodedata
from pathlib import Path
from typing import BinaryIO

from labctl.model.errors import DataError

_FLAGS: int = getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


def open_regular(path: Path, flags: int = os.O_RDONLY) -> BinaryIO:
    """Open a regular file, for reading by default.

    :param flags: of :func:`os.open`; ``O_APPEND`` opens for writing at the end.
    :raises OSError: it cannot be opened, or is a directory, a pipe, a device or the like.
    """
    descriptor = os.open(path, flags | _FLAGS, 0o644)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            what = "is a directory" if stat.S_ISDIR(mode) else "is not a regular file"
            raise OSError(errno.EINVAL, what, str(path))
        return os.fdopen(descriptor, "ab" if flags & os.O_APPEND else "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, most: int) -> bytes:
    """Return all of a regular file.

    :param most: bytes.
    :raises OSError: as :func:`open_regular`, or it holds more.
    """
    with open_regular(path) as stream:
        raw = stream.read(most + 1)
    if len(raw) > most:
        size = f"{most >> 20} MB" if most >= 1 << 20 else f"{most} bytes"
        raise OSError(errno.EFBIG, f"is larger than {size}", str(path))
    return raw


def write_whole(path: Path, text: str) -> None:
    """Write a text in the place of a file, so that whoever sees the file sees all of it.

    :param text: becomes UTF-8; its line ends are kept.
    :raises DataError: it cannot be written; what was there before is left.
    """
    target = path.resolve()
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.unlink(missing_ok=True)
        with part.open("x", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(target, part)
        part.replace(target)
    except BaseException as exc:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        if not isinstance(exc, OSError):
            raise
        raise DataError(
            f"{path}: cannot be written: {exc.strerror or exc}", "close the file elsewhere"
        ) from exc


_INVISIBLE = frozenset(
    chr(code)
    for code in (
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x3164, 0xFFA0),
        *range(0xE0100, 0xE01F0),
    )
)
"""Letters and marks that show nothing, though their category says otherwise."""


def printable(text: object, keep: str = "") -> str:
    r"""Return ``text`` with all that does not show replaced by its escape, e.g. ``\x1b`` or ``\u202e``.

    Controls (C0, DEL, C1), line and paragraph separators, what turns the direction of writing, what has no
    width, unpaired surrogates of names that are no UTF-8, and characters without a meaning.

    :param keep: characters that stay; a text of several lines keeps the newlines that are its own.
    """
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or _shows(c) else _escaped(c) for c in text)


def _shows(character: str) -> bool:
    if character in _INVISIBLE:
        return False
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class PrintableFormatter(logging.Formatter):
    """Formats a record so that its message is one line, and its traceback holds nothing but lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Return the line of the message."""
        return printable(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and below it the traceback, which another handler may have made already."""
        return printable(super().format(record), keep="\n")
