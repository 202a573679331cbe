"""A default sweep of the demo's OLA in real time: its time, dose and interval. Prints a table.

    python -m benchmarks.speed.default_sweep [--runs 5] [--average 0]

References and trials are included; another tree's default is measured by running this file there. With
``--average N`` the number of exposures is fixed. Each run has a simulated bench of its own, of another seed.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from benchmarks.speed.sweep_by_hand import bench_file, by_labctl
from benchmarks.tables import show, table
from benchmarks.trials import parser
from labctl.model.plan import SweepPlan

HEADS = ("seed", "time, s", "dose, J/cm2", "half-width, %", "points")


def main() -> None:
    made = parser(__doc__, runs=5, average=0)
    given = made.parse_args()
    more = {"average": given.average} if given.average else {}
    plan = SweepPlan(start_uj_cm2=20.0, stop_uj_cm2=200.0, **more)
    found: list[tuple[float, float, float]] = []

    def rows() -> Iterator[tuple[object, ...]]:
        for seed in range(1, given.runs + 1):
            with bench_file(seed) as file:
                swept = by_labctl(file, plan)
            found.append((swept.total_s, swept.dose_uj_cm2 * 1e-6, 100 * swept.half_width_rel))
            yield seed, *(f"{number:.2f}" for number in found[-1]), len(swept.exposures_s)

    show(table(HEADS, rows()))
    medians = (statistics.median(column) for column in zip(*found, strict=True))
    print("median: {:.1f} s, {:.3f} J/cm2, half-width {:.2f} %".format(*medians))


if __name__ == "__main__":
    main()
