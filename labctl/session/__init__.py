"""The composition root: a configured bench, opened, and made safe on the way out.

>>> with open_bench("bench.toml") as bench:                         # doctest: +SKIP
...     plan = SweepPlan(start_uj_cm2=20, stop_uj_cm2=200, points=24)
...     for point in sweep(bench, plan):
...         print(point.fluence_uj_cm2, point.signal)
"""

from labctl.session.bench import Bench, open_bench, sweep
from procedures.plan import SweepPlan

__all__ = ["Bench", "SweepPlan", "open_bench", "sweep"]
