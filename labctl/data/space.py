"""Refuse a run that the disk has no room for, before anything moves."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from labctl.data.nexus import Expected
from labctl.model.errors import DataError

_SPARE_BYTES = 16 << 20
_SPECTRUM_BYTES, _FRAME_BYTES, _ROW_BYTES = 8, 2, 1024
_TABLE_BYTES = 64 << 10
_PIECE = 1 << 20
_CANNOT_ALLOCATE = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
"""A file system that knows no allocation is written to instead."""


def needed_bytes(expected: Expected, pixels: int) -> int:
    """Return the bytes a run of this size takes, with 16 MB to spare for darks, tables and the CSV."""
    return run_bytes(expected, pixels) + _SPARE_BYTES


def run_bytes(expected: Expected, pixels: int) -> int:
    """Return the bytes that the frames, spectra, darks and rows of a run of this size take in the file."""
    per_point = pixels * (_SPECTRUM_BYTES + _FRAME_BYTES * expected.exposures) + _ROW_BYTES
    darks = 16 * 2 * _SPECTRUM_BYTES * pixels
    chunks = 1 + 1 / 8  # the last chunk of each dataset is not full
    return int(expected.points * per_point * chunks) + darks + _TABLE_BYTES


def try_room(path: Path, size: int) -> None:
    """Let an empty file at ``path`` grow so far, by the system's own means.

    The HDF5 library takes the process with it when the file it creates may not grow, as under a quota.

    :raises OSError: it may not.
    """
    with path.open("wb") as probe:
        allocate = getattr(os, "posix_fallocate", None)
        try:
            if allocate is not None:
                allocate(probe.fileno(), 0, size)
                return
        except OSError as exc:
            if exc.errno not in _CANNOT_ALLOCATE:
                raise
        for _ in range(-(-size // _PIECE)):
            probe.write(bytes(_PIECE))


def check_space(directory: Path, expected: Expected, pixels: int, more_bytes: int = 0) -> None:
    """Check that ``directory`` has room for the planned run, and for ``more_bytes`` besides.

    :raises DataError: it has not, or cannot be asked.
    """
    needed = needed_bytes(expected, pixels) + more_bytes
    try:
        free = shutil.disk_usage(directory).free
    except OSError as exc:
        raise DataError(
            f"{directory}: {exc.strerror or exc}", "name another directory with --output"
        ) from exc
    if free < needed:
        raise DataError(
            f"{directory}: {free / 1e6:.0f} MB free, the run needs {needed / 1e6:.0f} MB",
            "free space there or name another directory with --output",
        )
