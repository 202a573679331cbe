"""Writes single values into a bench file, and nothing else: a calibration to use, an instrument's address."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import tomlkit

from labctl.config.bench import MAX_BYTES, why_no_toml
from labctl.model.calibration import CalibrationKind
from labctl.model.errors import ConfigError
from labctl.model.untrusted import read_regular, write_whole

if TYPE_CHECKING:
    from tomlkit.items import Table

TABLE = "calibrations"


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
    text = bench_text(bench)
    try:
        changed = with_values(text, lines)
    except (ValueError, TypeError, RecursionError) as exc:  # tomlkit's own errors are ValueErrors
        by_hand = "; ".join(f"under [{table}] {line}" for (table, _), line in lines.items())
        raise ConfigError(
            f"cannot be changed: {why_no_toml(exc)}", file=bench, hint=f"add this line yourself: {by_hand}"
        ) from exc
    if changed != text:
        write_whole(bench, changed)


def bench_text(bench: Path) -> str:
    """Return the text of a bench file, with its line ends.

    :raises ConfigError: it cannot be read.
    """
    try:
        return read_regular(bench, MAX_BYTES).decode("utf-8")
    except (OSError, ValueError) as exc:
        raise ConfigError(f"cannot be read: {getattr(exc, 'strerror', None) or exc}", file=bench) from exc


def with_values(text: str, lines: Mapping[tuple[str, str], str]) -> str:
    """Return the text of a bench file with these values; with byte order mark and line ends as they were.

    :raises ValueError: it would not read as before but for these values.
    """
    mark, windows = "\ufeff" * text.startswith("\ufeff"), 0 < text.count("\r\n") == text.count("\n")
    plain = text.removeprefix(mark).replace("\r\n", "\n") if windows else text.removeprefix(mark)
    document = tomlkit.parse(plain if plain.endswith("\n") else plain + "\n")
    expected = document.unwrap()
    for (table, key), line in lines.items():
        value = tomllib.loads(line)[key]
        if table not in document:
            document[table] = tomlkit.table()
        cast("Table", document[table])[key] = value
        expected.setdefault(table, {})[key] = value
    changed = tomlkit.dumps(document)
    if tomllib.loads(changed) != expected:
        raise ValueError("the change would affect other lines")
    return mark + (changed.replace("\n", "\r\n") if windows else changed)
