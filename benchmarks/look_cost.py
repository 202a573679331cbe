"""What the spectrometer's looks at the closed shutter add to a point, in bench time. Prints a table.

    PYTHONPATH=. python benchmarks/look_cost.py [--points 12] [--level typical] [--seed 1]

The same sweep twice over sockets and drivers, on a simulated bench whose clock is stepped: with the looks and
without them. The camera exposes without a pause, so an exposure under way has to end before a look begins.
"""

from __future__ import annotations

import argparse
import statistics

from labctl.config import parse_bench
from labctl.model.clock import SteppedClock
from labctl.session import open_bench
from procedures.fluence_sweep import sweep
from procedures.plan import SweepPlan
from procedures.point.eye import Eye
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.scene.settings import Level


def times(level: Level, seed: int, points: int) -> list[tuple[float, float]]:
    """Sweep; return fluence and bench time at the end of each point."""
    clock, found = SteppedClock(), list[tuple[float, float]]()
    plan = SweepPlan(start_uj_cm2=30.0, stop_uj_cm2=200.0, points=points, average=10)
    with (
        SimulatedBench(presets.scene("ola", level, seed), clock) as simulated,
        open_bench(parse_bench(simulated.bench_toml(1.0)), clock) as bench,
    ):
        for point in sweep(plan, bench.roles, bench.pump, bench.bands):
            found.append((point.fluence_uj_cm2, clock.now_s()))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--points", type=int, default=12)
    parser.add_argument("--level", choices=("ideal", "typical", "nasty"), default="typical")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    looking = times(given.level, given.seed, given.points)
    Eye.light_left = lambda _eye, _stop=None: ""  # type: ignore[method-assign, assignment]
    Eye.ready = lambda _eye: None  # type: ignore[method-assign, assignment]
    blind = times(given.level, given.seed, given.points)
    print("| fluence, uJ/cm2 | added, s | point without, s |\n| --- | --- | --- |")
    added = []
    for k in range(1, len(blind)):
        alone = blind[k][1] - blind[k - 1][1]
        added.append(looking[k][1] - looking[k - 1][1] - alone)
        print(f"| {blind[k][0]:.0f} | {added[-1]:.3f} | {alone:.2f} |")
    print(f"\nmedian {statistics.median(added):.3f} s, mean {statistics.mean(added):.3f} s")


if __name__ == "__main__":
    main()
