"""Open files whose names came from somebody: only regular ones, and never more of them than is wanted.

A pipe would be waited for, a device read without end, and its size says 0. So a file is opened without
waiting, and only then asked what it is: between asking and opening it could become another.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

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
