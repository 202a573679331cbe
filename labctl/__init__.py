"""labctl: fluence sweeps on a femtosecond bench, with live spectra and an honest lasing threshold.

From a script or notebook::

    from labctl import evaluate, open_bench, read_run, run_sweep, sweep

The names are imported on first use, so that ``labctl --help`` answers at once.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labctl.analysis.evaluation import evaluate
    from labctl.data import read_run
    from labctl.model.plan import AdaptivePlan, SweepPlan
    from labctl.model.results.sweep import SweepResult
    from labctl.model.run import RunFacts
    from labctl.runner.figures.of_runs import figures
    from labctl.runner.refit import compare
    from labctl.runner.run import run_sweep
    from labctl.session import open_bench, sweep

__version__ = "0.1.0"

__all__ = [
    "AdaptivePlan",
    "RunFacts",
    "SweepPlan",
    "SweepResult",
    "__version__",
    "compare",
    "evaluate",
    "figures",
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
    "SweepResult": "labctl.model.results.sweep",
    "RunFacts": "labctl.model.run",
    "compare": "labctl.runner.refit",
    "evaluate": "labctl.analysis.evaluation",
    "figures": "labctl.runner.figures.of_runs",
    "read_run": "labctl.data",
}


def shadow() -> str:
    """Say what stands in the way of a package that comes with this one; an empty string for nothing.

    A folder or file of that name, where Python was started or on its path, would be imported in its stead.
    """
    ours = Path(__file__).parents[1]
    for name in ("drivers", "procedures", "simulators"):
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else [*(spec.submodule_search_locations or [str(spec.origin)])]
        parents = [Path(place).parent for place in places]
        if not any(parent.exists() and parent.samefile(ours) for parent in parents):
            found = places[0] if places else "nothing"
            return f"{found} is imported instead of labctl's own {ours / name}"
    return ""


SHADOW_HINT = "start Python in another folder, or rename the one that is in the way"


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if reason := shadow():
        raise ImportError(f"{reason}. Try: {SHADOW_HINT}")
    return getattr(importlib.import_module(_HOMES[name]), name)
