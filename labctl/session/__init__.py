"""The composition root: a configured bench, opened, and made safe on the way out.

>>> with open_bench("bench.toml") as bench:                         # doctest: +SKIP
...     plan = SweepPlan(start_uj_cm2=20, stop_uj_cm2=200, points=24)
...     for point in sweep(bench, plan):
...         print(point.fluence_uj_cm2, point.signal)

The names are imported on first use, so that the watchdog's process starts at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labctl.model.plan import AdaptivePlan, SweepPlan
    from labctl.session.bench import Bench, open_bench, sweep

__all__ = ["AdaptivePlan", "Bench", "SweepPlan", "open_bench", "sweep"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "labctl.model.plan" if name.endswith("Plan") else "labctl.session.bench"
    return getattr(importlib.import_module(home), name)
