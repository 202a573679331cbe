"""One light-light curve, written in as many ways as laboratories write it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from labctl.data.tables.choosing import NOTHING_ASKED, Asked
from labctl.data.tables.table import Table, read_table

PUMP = np.round(np.geomspace(30.0, 220.0, 14), 2)
"""Fluences, uJ/cm2."""
_NOISE = np.random.default_rng(7).normal(0.0, 0.02, PUMP.size)
SIGNAL = np.round((120 + 0.02 * PUMP**2 + 60 * np.maximum(PUMP - 80, 0)) * (1 + _NOISE), 1)
"""What the sample answers, with a kink at 80 uJ/cm2."""


def rows(
    *columns: Sequence[float], mark: str = ",", number: Callable[[float], str] = lambda v: f"{v:.12g}"
) -> list[str]:
    """Return columns as lines of text."""
    return [mark.join(map(number, map(float, row))) for row in zip(*columns, strict=True)]


def table_of(path: Path, text: str | bytes, asked: Asked = NOTHING_ASKED) -> Table:
    """Write a text into a file of a folder and read it as a table."""
    file = path / "table.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(file, asked)


def curve(head: str, pump: Sequence[float] | np.ndarray = PUMP, mark: str = ",") -> str:
    """Return the curve below a heading."""
    return "\n".join([head, *rows(list(pump), list(SIGNAL), mark=mark)]) + "\n"
