"""Writes one line into a bench file, and nothing else: which calibration of a kind is to be used."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import tomllib
from pathlib import Path

from labctl.model.calibration import CalibrationKind
from labctl.model.errors import ConfigError, DataError

TABLE = "calibrations"
_HEADER = re.compile(r"^\s*\[\s*calibrations\s*\]\s*(#.*)?$")
_ANY_HEADER = re.compile(r"^\s*\[")


def bench_line(kind: CalibrationKind, path: Path, bench: Path) -> str:
    """Return the line for ``[calibrations]``; the path is relative to the bench file where it can be.

    >>> bench_line("spot", Path("/lab/cal/spot-1.json"), Path("/lab/bench.toml"))
    'spot = "cal/spot-1.json"'
    """
    try:
        shown = Path(os.path.relpath(path.resolve(), bench.resolve().parent)).as_posix()
    except ValueError:  # another drive
        shown = path.resolve().as_posix()
    escaped = shown.replace("\\", "\\\\").replace('"', '\\"')
    return f'{kind} = "{escaped}"'


def use_calibration(bench: Path, kind: CalibrationKind, path: Path) -> None:
    """Name a calibration in the bench file; every other line stays as it is.

    :raises ConfigError: the file cannot be changed so that it still reads as before but for this line.
    """
    try:
        raw = bench.read_bytes()
        text = raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot be read: {getattr(exc, 'strerror', None) or exc}", file=bench) from exc
    line = bench_line(kind, path, bench)
    changed = _with_line(text, kind, line)
    _refuse_more(text, changed, kind, line, bench)
    _replace(bench, changed.encode("utf-8"))


def _with_line(text: str, kind: str, line: str) -> str:
    """Put the line in place of the one of its kind, else first; a missing table goes to the end."""
    end = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    header = next((i for i, found in enumerate(lines) if _HEADER.match(found.rstrip("\r\n"))), None)
    if header is None:
        gap = "" if not text or text.endswith("\n") else end
        return f"{text}{gap}{end}[{TABLE}]{end}{line}{end}"
    if not lines[header].endswith("\n"):
        lines[header] += end
    own = re.compile(rf"""^(\s*){kind}\s*=\s*("[^"\n]*"|'[^'\n]*')([^\S\n]*(?:#[^\r\n]*)?)(\r?\n?)$""")
    for i in range(header + 1, len(lines)):
        if _ANY_HEADER.match(lines[i]):
            break
        if match := own.match(lines[i]):
            lines[i] = f"{match[1]}{line}{match[3]}{match[4]}"
            return "".join(lines)
    lines.insert(header + 1, f"{line}{end}")
    return "".join(lines)


def _refuse_more(before: str, after: str, kind: str, line: str, bench: Path) -> None:
    """Read both, and make sure that they differ in this one value alone."""
    hint = f"write it yourself, under [{TABLE}]: {line}"
    try:
        old, new = (tomllib.loads(text.removeprefix("\ufeff")) for text in (before, after))
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise ConfigError(f"the line does not fit into it ({exc})", file=bench, hint=hint) from exc
    wanted = tomllib.loads(line)[kind]
    tables = (old.pop(TABLE, {}), new.pop(TABLE, {}))
    same = old == new and {**tables[0], kind: wanted} == tables[1]
    if not same:
        raise ConfigError("the line would change more than itself", file=bench, hint=hint)


def _replace(bench: Path, raw: bytes) -> None:
    """Put a finished copy into the file's place."""
    target = bench.resolve()
    try:
        number, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(number, "wb") as stream:
                stream.write(raw)
                stream.flush()
                os.fsync(stream.fileno())
            shutil.copymode(target, name)
            Path(name).replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as exc:
        raise DataError(f"{bench}: cannot be written: {exc.strerror or exc}") from exc
