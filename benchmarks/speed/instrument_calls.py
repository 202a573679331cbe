"""How often instruments are called for a point of a sweep. Run by hand, prints a table.

    python -m benchmarks.speed.instrument_calls [--points 16] [--average 1 10] [--speed 5] [--list]

A sweep over real sockets and drivers, on a simulated bench ``--speed`` times as fast as real time, with
exposures of 0.1 s and without references; a point at which a dark was taken, and the first, count for none.
``--list`` prints the calls of the last point, in their order.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.benches import SWEEPS, scene, served
from benchmarks.tables import show, table
from benchmarks.trials import parser
from labctl.data import RunWriter
from labctl.model.clock import ScaledClock
from labctl.runner.facts import RunRequest, run_start
from labctl.session import open_bench
from procedures.fluence_sweep import sweep
from procedures.gate.hooks import Call

EXPOSURE_S = 0.1
HEADS = ("exposures a point", "points", "calls, median", "exposures", "readings", "others")


class Diary:
    """Writes down the calls of the instruments."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    @contextmanager
    def around(self, call: Call) -> Iterator[None]:
        self.calls.append(f"{call.role}.{call.name}")
        yield


def calls_of_points(points: int, average: int, speed: float) -> list[list[str]]:
    """Sweep once; return the calls of each point that counts."""
    plan = dataclasses.replace(
        SWEEPS["ola"], points=points, average=average, integration_s=(EXPOSURE_S,), reference_every=0
    )
    diary, found = Diary(), list[list[str]]()
    clock = ScaledClock(speed)
    with (
        served(scene("ola", "typical", 1), clock) as (simulated, config),
        tempfile.TemporaryDirectory() as folder,
        RunWriter(Path(folder), "calls") as writer,
        open_bench(config, simulated.scene.clock) as bench,
    ):
        bench.hooks.attach(diary)
        writer.begin(run_start(bench, plan, RunRequest(Path(folder), "OLA")))
        dark, number = -1, 0
        for point in sweep(plan, bench.roles, bench.pump, bench.bands, sink=writer):
            if number and point.dark_number == dark:
                found.append(diary.calls)
            diary.calls, dark, number = [], point.dark_number, number + 1
    return found


def row(average: int, every: list[list[str]]) -> tuple[object, ...]:
    def median(*names: str) -> str:
        return f"{statistics.median(sum(calls.count(name) for name in names) for calls in every):g}"

    acquired, read = "spectrometer.acquire", "power_meter.read"
    names = {name for calls in every for name in calls}
    return (
        average,
        len(every),
        median(*names),
        median(acquired),
        median(read),
        median(*names - {acquired, read}),
    )


def main() -> None:
    made = parser(__doc__, points=16)
    made.add_argument("--average", type=int, nargs="+", default=[1, 10])
    made.add_argument("--speed", type=float, default=5.0)
    made.add_argument("--list", action="store_true")
    given = made.parse_args()
    found = {average: calls_of_points(given.points, average, given.speed) for average in given.average}
    show(table(HEADS, (row(average, every) for average, every in found.items())))
    for average, every in found.items() if given.list else ():
        print(f"\n{average} exposures:", *every[-1], sep="\n    ")


if __name__ == "__main__":
    main()
