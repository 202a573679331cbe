"""labctl: fluence sweeps on a femtosecond bench, with live spectra and an honest lasing threshold.

From a script or notebook::

    from labctl import evaluate, open_bench, read_run, run_sweep, sweep

The names are imported on first use, so that ``labctl --help`` answers at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labctl.analysis.evaluation import evaluate
    from labctl.data import read_run
    from labctl.model.plan import AdaptivePlan, SweepPlan
    from labctl.model.results import SweepResult
    from labctl.model.run import RunFacts
    from labctl.runner.run import run_sweep
    from labctl.session import open_bench, sweep

__version__ = "0.1.0"

__all__ = [
    "AdaptivePlan",
    "RunFacts",
    "SweepPlan",
    "SweepResult",
    "__version__",
    "evaluate",
    "open_bench",
    "read_run",
    "run_sweep",
    "sweep",
]

_HOMES = {
    "open_bench": "labctl.session",
    "run_sweep": "labctl.runner.run",
    "sweep": "labctl.session",
    "SweepPlan": "labctl.model.plan",
    "AdaptivePlan": "labctl.model.plan",
    "SweepResult": "labctl.model.results",
    "RunFacts": "labctl.model.run",
    "evaluate": "labctl.analysis.evaluation",
    "read_run": "labctl.data",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
