"""Writes single values into a bench file, and nothing else: a calibration to use, an instrument's address."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

from labctl.config.bench import MAX_BYTES, why_no_toml
from labctl.model.calibration import CalibrationKind
from labctl.model.errors import ConfigError, DataError
from labctl.model.regular import read_regular

TABLE = "calibrations"
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
    set_values(bench, {(TABLE, kind): bench_line(kind, path, bench)})


def set_values(bench: Path, lines: Mapping[tuple[str, str], str]) -> None:
    """Write values into a bench file; every other line, comments included, stays as it is.

    :param lines: ``key = value`` in TOML by table and key. A missing table goes to the end of the file.
    :raises ConfigError: the file cannot be changed so that it still reads as before but for these values.
    :raises DataError: it cannot be written.
    """
    text = changed = bench_text(bench)
    for (table, key), line in lines.items():
        changed = _with_line(changed, table, key, line)
    _refuse_more(text, changed, lines, bench)
    if changed != text:
        _replace(bench, changed.encode("utf-8"))


def bench_text(bench: Path) -> str:
    """Return the text of a bench file, with its line ends.

    :raises ConfigError: it cannot be read.
    """
    try:
        return read_regular(bench, MAX_BYTES).decode("utf-8")
    except (OSError, ValueError) as exc:
        raise ConfigError(f"cannot be read: {getattr(exc, 'strerror', None) or exc}", file=bench) from exc


def _with_line(text: str, table: str, key: str, line: str) -> str:
    """Put the line in place of the one of its key, else first in its table; a missing table at the end."""
    end = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    own_header = re.compile(rf"^\s*\[\s*{re.escape(table)}\s*\]\s*(#.*)?$")
    header = next((i for i, found in enumerate(lines) if own_header.match(found.rstrip("\r\n"))), None)
    if header is None:
        gap = "" if not text or text.endswith("\n") else end
        return f"{text}{gap}{end}[{table}]{end}{line}{end}"
    if not lines[header].endswith("\n"):
        lines[header] += end
    value = r"""("[^"\n]*"|'[^'\n]*'|[-+.\w]+)"""
    own = re.compile(rf"^(\s*){re.escape(key)}\s*=\s*{value}([^\S\n]*(?:#[^\r\n]*)?)(\r?\n?)$")
    for i in range(header + 1, len(lines)):
        if _ANY_HEADER.match(lines[i]):
            break
        if match := own.match(lines[i]):
            lines[i] = f"{match[1]}{line}{match[3]}{match[4]}"
            return "".join(lines)
    lines.insert(header + 1, f"{line}{end}")
    return "".join(lines)


def _refuse_more(before: str, after: str, lines: Mapping[tuple[str, str], str], bench: Path) -> None:
    """Read both, and make sure that they differ in these values alone."""
    hint = "write it yourself: " + "; ".join(f"under [{table}] {line}" for (table, _), line in lines.items())
    try:
        old, new = (tomllib.loads(text.removeprefix("\ufeff")) for text in (before, after))
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"cannot be changed: {why_no_toml(exc)}", file=bench, hint=hint) from exc
    for (table, key), line in lines.items():
        inner = old.setdefault(table, {})
        if isinstance(inner, dict):
            inner[key] = tomllib.loads(line)[key]
    if old != new:
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
