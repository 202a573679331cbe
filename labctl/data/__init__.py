"""The run file: writer, reader, schema, export.

The names below are loaded when first used: h5py takes a tenth of a second that ``--help`` must not pay.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labctl.data.reader import read_run
    from labctl.data.run import Run
    from labctl.data.tables.table import Table, read_table
    from labctl.data.writer import RunWriter

__all__ = ["Run", "RunWriter", "Table", "read_run", "read_table"]

_HOMES = {
    "Run": "run",
    "RunWriter": "writer",
    "Table": "tables.table",
    "read_run": "reader",
    "read_table": "tables.table",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
