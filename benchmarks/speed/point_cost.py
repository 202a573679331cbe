"""What a point of a sweep costs beyond the instruments' own time. Run by hand, prints a table.

    python -m benchmarks.speed.point_cost [--points 48] [--sample ola] [--average 1 10]

A whole sweep over real sockets and drivers into a real run file (CSV and HDF5, flushed), on a simulated bench
whose clock is stepped, so that nothing waits. Two parts of a point: "labctl" is the wall time outside every
call of an instrument (gate, exposure control, reduction, files); "drivers" is this thread's processor time
inside those calls (pymeasure, pyvisa-py), without what the simulators, which share the computer, need to
answer. The bar is a median of 5 ms. Also the time that ``labctl --help`` takes; its bar is 0.5 s.
"""

from __future__ import annotations

import dataclasses
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.benches import SWEEPS, scene, served
from benchmarks.programs import labctl as command
from benchmarks.tables import show, table
from benchmarks.trials import parser
from labctl.runner.csv_worker import NewRun, PointBuffer, measure
from labctl.runner.facts import RunRequest, run_start
from labctl.session import open_bench
from procedures.gate.hooks import Call


class Stopwatch:
    """Sums up what passes inside the instruments' calls: wall time, and processor time of this thread."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0

    @contextmanager
    def around(self, _call: Call) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            self.wall_s += time.perf_counter() - wall
            self.cpu_s += time.thread_time() - cpu


def costs_ms(sample: str, points: int, average: int) -> tuple[list[float], list[float]]:
    """Sweep once; return what each point but the first, which homes the plate, cost, ms: labctl, drivers."""
    plan = dataclasses.replace(SWEEPS[sample], points=points, average=average)
    watch, found = Stopwatch(), list[tuple[float, float]]()
    with served(scene(sample, "typical", 1)) as (simulated, config), tempfile.TemporaryDirectory() as folder:
        request = RunRequest(output=Path(folder), sample=sample)
        origin = NewRun(request)
        with origin.writer() as writer, open_bench(config, simulated.scene.clock) as bench:
            buffer = PointBuffer(writer)
            bench.hooks.attach(watch)
            origin.begin(bench, buffer, run_start(bench, plan, request))
            last = (time.perf_counter(), watch.wall_s, watch.cpu_s)

            def on_row() -> None:
                nonlocal last
                now = (time.perf_counter(), watch.wall_s, watch.cpu_s)
                passed, inside, drivers = (a - b for a, b in zip(now, last, strict=True))
                found.append((1e3 * (passed - inside), 1e3 * drivers))
                last = now

            stop = threading.Event()
            measure(bench, plan, request, buffer, writer.paths.csv, stop=stop, on_row=on_row, origin=origin)
    labctl, drivers = zip(*found[1:], strict=True)
    return list(labctl), list(drivers)


def help_s(rounds: int = 9) -> float:
    """Return the median time of ``labctl --help``, interpreter and all."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run(command("--help"), check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def row(sample: str, points: int, average: int) -> tuple[object, ...]:
    own, drivers = costs_ms(sample, points, average)
    numbers = (statistics.median(own), sorted(own)[int(0.9 * len(own))], statistics.median(drivers))
    return (average, len(own), *(f"{number:.1f}" for number in numbers))


HEADS = ("exposures a point", "points", "labctl, median ms", "90 % below ms", "drivers, median ms")


def main() -> None:
    made = parser(__doc__, points=48)
    made.add_argument("--sample", choices=("oam", "ola"), default="ola")
    made.add_argument("--average", type=int, nargs="+", default=[1, 10])
    given = made.parse_args()
    show(table(HEADS, (row(given.sample, given.points, average) for average in given.average)))
    print(f"\nlabctl --help: {help_s():.2f} s (median of 9)")


if __name__ == "__main__":
    main()
