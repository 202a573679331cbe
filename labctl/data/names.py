"""Where a run's files go: names from users are cleaned, and no existing run is ever written over."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from labctl.model.errors import DataError

_RESERVED = re.compile(r"(?i)^(con|prn|aux|nul|com\d|lpt\d)$")
_LONGEST = 80
_ATTEMPTS = 10_000


@dataclass(frozen=True, slots=True)
class RunPaths:
    """The two files of a run, absolute: the HDF5 file and pymeasure's CSV beside it."""

    h5: Path
    csv: Path


def safe_stem(text: str) -> str:
    """Return a file name without suffix that every platform accepts and that cannot leave its directory.

    >>> safe_stem("../OLA film: #2")
    'OLA-film-2'
    >>> safe_stem("nul")
    'run-nul'
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    stem = re.sub(r"[^A-Za-z0-9_+-]+", "-", plain).strip("-")[:_LONGEST].strip("-")
    return f"run-{stem}".rstrip("-") if not stem or _RESERVED.match(stem) else stem


def reserve(directory: Path, stem: str) -> RunPaths:
    """Create ``directory`` and an empty ``<stem>.h5`` in it that nobody else has; "-2", "-3" ... if taken.

    :raises DataError: the directory cannot be created or written to.
    """
    clean = safe_stem(stem)
    try:
        directory = directory.expanduser().resolve()
        directory.mkdir(parents=True, exist_ok=True)
        for number in range(1, _ATTEMPTS):
            name = clean if number == 1 else f"{clean}-{number}"
            paths = RunPaths(directory / f"{name}.h5", directory / f"{name}.csv")
            if not paths.csv.exists() and _created(paths.h5):
                return paths
    except (OSError, RuntimeError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise DataError(
            f"cannot write to {directory}: {reason}", "name another directory with --output"
        ) from exc
    raise DataError(f"{directory} already holds {_ATTEMPTS} runs named {clean}", "choose another directory")


def _created(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    except FileExistsError:
        return False
    return True
