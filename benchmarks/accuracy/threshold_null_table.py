"""Simulate the sup-F statistic without a kink and write labctl/analysis/threshold/diagnostics.py.

    python -m benchmarks.accuracy.threshold_null_table --trials 400 --write

Each level is over several kinds of kink-free data together (powers, straight, bending down), chosen as those
that exceed it most. Takes some minutes on one core.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.accuracy.threshold_truths import NULLS, Curve, Noise, scan
from benchmarks.tables import Array
from benchmarks.trials import parser
from labctl.analysis.threshold.fit import detect
from labctl.analysis.threshold.likelihood import PARAMETERS, fit_profile
from labctl.analysis.threshold.shapes import library
from labctl.analysis.threshold.sweep_data import prepare

WORST = (
    "power 1.5",
    "power 2",
    "power 2.5",
    "power 3",
    "no baseline, power 2",
    "straight",
    "bends down, F^2/(1+F^2)",
    "bends down, F^2/(1+F^2/4)",
)
POINTS = (7, 8, 10, 12, 16, 24, 32, 64)
LEVELS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)
TABLE = Path(__file__).parents[2] / "labctl/analysis/threshold/diagnostics.py"


def statistics(curve: Curve, n: int, trials: int, rng: np.random.Generator) -> Array:
    """Draw ``trials`` statistics of one kind of data at ``n`` points, shape (trials,)."""
    out = np.empty(trials)
    with np.errstate(all="ignore"):
        for i in range(trials):
            u = scan(n, rng)
            data = prepare(u, Noise().measure(curve, u, rng), None)
            profile = fit_profile(data, library(2))
            out[i] = detect(profile)[0] if np.isfinite(profile.rss) else 0.0
    return out


def main() -> None:
    made = parser(__doc__, trials=400)
    made.add_argument("--points", type=int, nargs="*", default=POINTS)
    made.add_argument("--write", action="store_true")
    args = made.parse_args()
    rows = []
    kinds = [(name, NULLS[name]) for name in WORST]
    for n in args.points:
        found = {name: statistics(c, n, args.trials, np.random.default_rng([n, 1])) for name, c in kinds}
        levels = 1 - np.array(LEVELS)
        for name, values in found.items():
            print(f"{n:3d} {name:28s} " + " ".join(f"{x:7.2f}" for x in np.quantile(values, levels)))
        rows.append(np.quantile(np.concatenate(list(found.values())), levels))
        print(f"{n:3d} {'pooled':28s} " + " ".join(f"{x:7.2f}" for x in rows[-1]), flush=True)
    if args.write:
        module = TABLE.read_text(encoding="utf-8")
        rows = smooth(args.points, rows)
        TABLE.write_text(rewritten(module, args.points, rows, args.trials), encoding="utf-8")


def smooth(points: Sequence[int], rows: list[Array]) -> list[Array]:
    """Replace the rare levels (5 % and less), from 10 points on, by a line in 1/(n - 5) through all sizes.

    A handful of trials decide the last levels of one size; the line lets all sizes speak together.
    """
    at, table = 1.0 / (np.asarray(points, float) - PARAMETERS), np.array(rows)
    chosen = np.asarray(points) >= 10
    if chosen.sum() < 3:
        return rows
    for level in np.flatnonzero(np.asarray(LEVELS) <= 0.05):
        line = np.polyfit(at[chosen], np.log(table[chosen, level]), 1)
        table[chosen, level] = np.exp(np.polyval(line, at[chosen]))
    return list(table)


def rewritten(module: str, points: Sequence[int], rows: list[Array], trials: int) -> str:
    """Return the module with another table in it."""
    body = "\n".join("    (" + ", ".join(f"{x:.3f}" for x in row) + ")," for row in rows)
    table = f"""POINTS = ({", ".join(map(str, points))})
# {trials} sweeps for each of {len(WORST)} kinds of data at each size; rare levels smoothed over the sizes.
# Natural logarithm of the chance to exceed each column: {", ".join(f"{p:g}" for p in LEVELS)}.
LOG_P = ({", ".join(f"{np.log(p):.4f}" for p in LEVELS)})
QUANTILES = (
{body}
)
"""
    found = re.search(r"^POINTS = .*?^\)\n", module, re.DOTALL | re.MULTILINE)
    if found is None:
        raise SystemExit(f"no table in {TABLE}")
    return module[: found.start()] + table + module[found.end() :]


if __name__ == "__main__":
    main()
