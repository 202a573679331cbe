"""A sweep of its own simulated bench on a stepped clock, to be killed: prints each point as it is shown.

python resume_bench.py DIRECTORY SEED POINTS [RUN.h5]       a RUN.h5 is resumed, on another such bench
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from labctl.config import parse_bench
from labctl.model.clock import SteppedClock
from labctl.model.plan import SweepPlan
from labctl.runner.events import Event, Measured, Started
from labctl.runner.report import RunReport
from labctl.runner.resume import resume_run
from labctl.runner.run import RunRequest, run_sweep
from simulators.bench import SimulatedBench
from simulators.presets import scene


def plan_of(points: int) -> SweepPlan:
    return SweepPlan(start_uj_cm2=30.0, stop_uj_cm2=180.0, points=points, average=4, reference_every=0)


def show(event: Event) -> None:
    """Print what a user would see; all of it is on disk by then."""
    if isinstance(event, Started):
        print(f"started {event.files.h5}", flush=True)
    elif isinstance(event, Measured):
        print(f"point {event.point.index} {event.point.signal!r}", flush=True)


def sweep_once(directory: Path, seed: int, points: int) -> RunReport:
    """Sweep a bench of this process from beginning to end."""
    with SimulatedBench(scene("ola", "typical", seed), SteppedClock()) as bench:
        return run_sweep(
            parse_bench(bench.bench_toml(1.0)),
            plan_of(points),
            RunRequest(directory, "OLA"),
            stop=threading.Event(),
            on_event=show,
            clock=bench.scene.clock,
        )


def resume_once(h5: Path, seed: int) -> RunReport:
    """Resume a run on another bench of the same seed; its addresses differ, and that is agreed to."""
    with SimulatedBench(scene("ola", "typical", seed), SteppedClock()) as bench:
        return resume_run(
            h5,
            parse_bench(bench.bench_toml(1.0)),
            stop=threading.Event(),
            on_event=show,
            confirm=only_addresses,
            clock=bench.scene.clock,
        )


def only_addresses(differences: tuple[str, ...]) -> None:
    other = [line for line in differences if ".resource: " not in line]
    assert not other, other


if __name__ == "__main__":
    print("awake", flush=True)
    out, number, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    done = resume_once(Path(sys.argv[4]), number) if len(sys.argv) > 4 else sweep_once(out, number, count)
    print(f"status {done.status}", flush=True)
    os._exit(0)  # the simulators' threads have nothing to say
