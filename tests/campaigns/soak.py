"""A hundred thousand points in one process: memory, time per point, threads and handles, run after run.

Whole sweeps as ``labctl sweep`` makes them (gate, drivers over real sockets, live fit, CSV and HDF5, flushed
per point) on one simulated bench whose clock is stepped. Points are cheap: one exposure each between single
readings of the meter, in every second run with the shutter left open between points. The live fit takes a
core for itself, so that only every tenth run has one. A line is printed every thousand points; files of a
finished run are removed. It fails (exit code 1) if memory, the time of a point, threads or handles at
the end are not what they were after the first run.

    python tests/campaigns/soak.py                      # 20 runs of 5000 points
    python tests/campaigns/soak.py --runs 2 --points 500 --trace
"""

from __future__ import annotations

import gc
import logging
import shutil
import statistics
import sys
import tempfile
import threading
import time
import tracemalloc
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.benches import scene, served
from benchmarks.tables import head, line
from benchmarks.trials import parser
from labctl.config import BenchConfig
from labctl.model.clock import SteppedClock
from labctl.model.plan import SweepPlan
from labctl.runner import run
from labctl.runner.events import Event, Measured
from labctl.runner.run import LiveFit, RunRequest, run_sweep
from procedures.gate.pump import Pump

EVERY = 1000
LIVE_EVERY = 10
READINGS = 1
MIB = 1024.0 * 1024.0
GROWTH_MIB = 20.0
"""Memory that may be more at the end of the last run than at the end of the first."""
SLOWER = 1.3
"""Time of a point in the last run over that in the first: other programs share the computer."""


@dataclass(frozen=True, slots=True)
class State:
    """What the process holds."""

    points: int
    point_ms: float
    resident_mib: float
    threads: int
    handles: int
    children: int

    def row(self) -> str:
        sizes = (f"{self.point_ms:.1f}", f"{self.resident_mib:.0f}")
        return line(self.points, *sizes, self.threads, self.handles, self.children)


class Watch:
    """Notes the time of each point, and the state of the process now and then."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._last_s = time.perf_counter()
        self._recent_ms: list[float] = []
        self.points = 0
        self.states: list[State] = []

    def __call__(self, event: Event) -> None:
        """Take in an event of a run."""
        if not isinstance(event, Measured):
            return
        now_s = time.perf_counter()
        self._recent_ms.append(1e3 * (now_s - self._last_s))
        self._last_s = now_s
        self.points += 1
        if self.points % EVERY == 0:
            self.note()

    def begin(self) -> None:
        """Time from now on: another run begins."""
        self._last_s = time.perf_counter()

    def note(self) -> State:
        """Print and keep the state; the time of a point is a median, the first of a run homes the mount."""
        self.states.append(self.state(statistics.median(self._recent_ms or [0.0])))
        self._recent_ms.clear()
        print(self.states[-1].row(), flush=True)
        return self.states[-1]

    def state(self, point_ms: float = 0.0) -> State:
        process = self._process
        handles = process.num_handles() if sys.platform == "win32" else process.num_fds()
        return State(
            points=self.points,
            point_ms=point_ms,
            resident_mib=process.memory_info().rss / MIB,
            threads=threading.active_count(),
            handles=handles,
            children=len(process.children(recursive=True)),
        )


def one_run(config: BenchConfig, clock: SteppedClock, plan: SweepPlan, watch: Watch) -> None:
    """Sweep once and remove the files."""
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    watch.begin()
    try:
        report = run_sweep(
            config, plan, RunRequest(folder, "OLA"), stop=threading.Event(), on_event=watch, clock=clock
        )
        if report.status != "finished" or report.points != plan.points:
            raise RuntimeError(f"a run of {report.points} points is {report.status}: {report.notes}")
    finally:
        shutil.rmtree(folder)


def _cheap_points() -> None:
    """Have the pump take fewer readings of the meter than it does by default."""
    defaults = Pump.__init__.__kwdefaults__
    assert defaults is not None
    assert "readings" in defaults
    defaults["readings"] = READINGS


def no_fit(*_: object) -> nullcontext[None]:
    """Stand in for the live fit."""
    return nullcontext()


def soak(runs: int, points: int, watch: Watch) -> list[State]:
    """Return the state after each run, when everything of it should be gone."""
    clock, after = SteppedClock(), list[State]()
    _cheap_points()
    with served(scene("ola", "ideal", 1), clock) as (_, config):
        for number in range(runs):
            vars(run)["LiveFit"] = no_fit if number % LIVE_EVERY else LiveFit
            plan = SweepPlan(points=points, average=1, keep_open=bool(number % 2))
            one_run(config, clock, plan, watch)
            gc.collect()
            times = [s.point_ms for s in watch.states if s.points > number * points]
            after.append(watch.state(statistics.median(times) if times else 0.0))
            print(f"after run {number + 1}: {after[-1].row()}", flush=True)
            if tracemalloc.is_tracing():
                _grown()
    return after


_seen: list[tracemalloc.Snapshot] = []


def _grown() -> None:
    """Print where memory was taken since the run before."""
    now = tracemalloc.take_snapshot()
    for found in now.compare_to(_seen[-1], "lineno")[:12] if _seen else ():
        print(f"    {found}", flush=True)
    _seen[:] = [now]


def complaints(after: list[State]) -> list[str]:
    """Compare the end of the last run with that of the first."""
    first, last = after[0], after[-1]
    found = []
    if last.resident_mib > first.resident_mib + GROWTH_MIB:
        found.append(f"memory grew from {first.resident_mib:.0f} to {last.resident_mib:.0f} MiB")
    if last.point_ms > first.point_ms * SLOWER:
        found.append(f"a point took {first.point_ms:.1f} ms, in the end {last.point_ms:.1f} ms")
    for what in ("threads", "handles", "children"):
        before, now = getattr(first, what), getattr(last, what)
        if now > before:
            found.append(f"{now} {what} instead of {before}")
    return found


def main() -> int:
    """Run, print the table, and say what grew."""
    made = parser(__doc__, runs=20, points=5000)
    made.add_argument("--trace", action="store_true", help="say where memory is taken; slow")
    given = made.parse_args()
    logging.disable(logging.CRITICAL)
    if given.trace:
        tracemalloc.start()
    began = time.monotonic()
    print(head("points", "ms a point", "memory, MiB", "threads", "handles", "children"), flush=True)
    watch = Watch()
    after = soak(given.runs, given.points, watch)
    print(f"\n{watch.points} points in {time.monotonic() - began:.0f} s")
    wrong = complaints(after)
    for text in wrong:
        print(f"NOT FLAT: {text}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
