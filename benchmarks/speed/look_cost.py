"""What the spectrometer's looks at the closed shutter add to a point, in bench time. Prints a table.

    python -m benchmarks.speed.look_cost [--points 12] [--level typical] [--seed 1]

The same sweep twice over sockets and drivers, on a simulated bench whose clock is stepped: with the looks and
without them. The camera exposes without a pause, so an exposure under way has to end before a look begins.
"""

from __future__ import annotations

import statistics
from itertools import pairwise

from benchmarks.benches import opened, scene
from benchmarks.tables import show, table
from benchmarks.trials import parser
from labctl.model.plan import SweepPlan
from procedures.fluence_sweep import sweep
from procedures.point.light_witness import LightWitness


def times(level: str, seed: int, points: int) -> list[tuple[float, float]]:
    """Sweep; return fluence and bench time at the end of each point."""
    plan = SweepPlan(start_uj_cm2=30.0, stop_uj_cm2=200.0, points=points, average=10)
    with opened(scene("ola", level, seed)) as (simulated, bench):
        points_ = sweep(plan, bench.roles, bench.pump, bench.bands)
        return [(point.fluence_uj_cm2, simulated.scene.clock.now_s()) for point in points_]


def main() -> None:
    made = parser(__doc__, points=12, seed=1)
    made.add_argument("--level", choices=("ideal", "typical", "nasty"), default="typical")
    given = made.parse_args()
    looking = times(given.level, given.seed, given.points)
    LightWitness.light_left = lambda _eye, _stop=None: ""  # type: ignore[method-assign, assignment]
    LightWitness.ready = lambda _eye: None  # type: ignore[method-assign, assignment]
    blind = times(given.level, given.seed, given.points)
    alone = [b[1] - a[1] for a, b in pairwise(blind)]
    added = [b[1] - a[1] - s for (a, b), s in zip(pairwise(looking), alone, strict=True)]
    rows = zip((f"{fluence:.0f}" for fluence, _ in blind[1:]), added, alone, strict=True)
    lines = ((fluence, f"{more:.3f}", f"{least:.2f}") for fluence, more, least in rows)
    show(table(("fluence, uJ/cm2", "added, s", "point without, s"), lines))
    print(f"\nmedian {statistics.median(added):.3f} s, mean {statistics.mean(added):.3f} s")


if __name__ == "__main__":
    main()
