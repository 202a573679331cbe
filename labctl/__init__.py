"""labctl: fluence sweeps on a femtosecond bench, with live spectra and an honest lasing threshold.

From a script or notebook::

    from labctl import open_bench, read_run, sweep

The names are imported on first use, so that ``labctl --help`` answers at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labctl.data import read_run
    from labctl.session import AdaptivePlan, SweepPlan, open_bench, sweep

__version__ = "0.1.0"

__all__ = ["AdaptivePlan", "SweepPlan", "__version__", "open_bench", "read_run", "sweep"]

_HOMES = {
    "open_bench": "labctl.session",
    "sweep": "labctl.session",
    "SweepPlan": "labctl.session",
    "AdaptivePlan": "labctl.session",
    "read_run": "labctl.data",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
