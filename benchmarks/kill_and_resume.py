"""Kill -9 a fast sweep at random moments, again and again, and resume each. Run by hand, prints a table.

    PYTHONPATH=. python benchmarks/kill_and_resume.py [--kills 200] [--seed 1] [--benches 5] [--points 12]
                                                      [--keep DIR]

A child sweeps a simulated bench of its own on a stepped clock and prints each point as it is shown. The
moment is a random number of shown points, none to all of them, and a random part of a point's time, so that
some fall into the last writes or after them; every tenth lies before that, where the file begins. Every file
must open, hold every point that was shown, and be finished by a resume (in another process, which is killed
too every fifth time). Its threshold is held against that of an undisturbed run of the same bench, with the
95 % interval of either. Both are measured, with noise of their own: where all is well, an interval misses the
other run's value in up to one case of six.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from labctl.config import parse_bench
from labctl.data.reader import read_run
from labctl.data.verify import findings
from labctl.model.clock import SteppedClock
from labctl.runner.events import Event, Measured, Started
from labctl.runner.report import RunReport
from labctl.runner.resume import resume_run
from labctl.runner.run import RunRequest, run_sweep
from procedures.plan import SweepPlan
from simulators.bench import SimulatedBench
from simulators.presets import scene


def show(event: Event) -> None:
    if isinstance(event, Started):
        print(f"started {event.files.h5}", flush=True)
    elif isinstance(event, Measured):
        print(f"point {event.point.index} {event.point.signal!r}", flush=True)


def agree(differences: tuple[str, ...]) -> None:
    """The addresses of another simulated bench differ, and nothing else."""
    other = [line for line in differences if ".resource: " not in line]
    if other:
        raise SystemExit(f"differences: {other}")


def sweep_child(directory: Path, seed: int, points: int, h5: Path | None) -> RunReport:
    print("awake", flush=True)
    never = threading.Event()
    with SimulatedBench(scene("ola", "typical", seed), SteppedClock()) as bench:
        config, clock = parse_bench(bench.bench_toml(1.0)), bench.scene.clock
        if h5 is not None:
            return resume_run(h5, config, stop=never, on_event=show, confirm=agree, clock=clock)
        plan = SweepPlan(start_uj_cm2=30.0, stop_uj_cm2=180.0, points=points, average=4)
        request = RunRequest(directory, "OLA")
        return run_sweep(config, plan, request, stop=never, on_event=show, clock=clock)


@dataclass
class Child:
    """One process that sweeps or resumes; ``shown`` are its points, by number."""

    h5: Path | None = None
    shown: dict[int, str] = field(default_factory=dict)
    ended: bool = False
    lasted_s: float = 0.0


@dataclass(frozen=True)
class Moment:
    """So many seconds after so many points; -1 point is when everything has been imported."""

    points: int
    seconds: float


def run_child(arguments: list[str], moment: Moment | None) -> Child:
    """Run a child, and kill it at a moment if one is given."""
    command = [sys.executable, __file__, "--child", *arguments]
    child = Child()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "awake\n"
        began = time.perf_counter()
        killer = threading.Timer(moment.seconds if moment else 0.0, process.kill)
        if moment is not None and moment.points < 0:
            killer.start()
        seen = -1
        for line in process.stdout:
            if not line.endswith("\n"):
                continue
            word, _, rest = line.strip().partition(" ")
            if word == "started":
                child.h5 = Path(rest)
            elif word == "point":
                number, _, signal = rest.partition(" ")
                child.shown[int(number)] = signal
            elif word == "ended":
                child.ended = True
            seen += word in ("started", "point")
            if moment is not None and seen == moment.points and word != "ended":
                killer.start()
        child.lasted_s = time.perf_counter() - began
        killer.cancel()
    return child


@dataclass
class Tally:
    """What happened to all of them."""

    kills: int = 0
    before_the_file: int = 0
    after_the_end: int = 0
    did_not_open: int = 0
    points_missing: int = 0
    not_sound: int = 0
    not_finished: int = 0
    whole_outside: int = 0
    resumed_outside: int = 0
    apart: int = 0
    killed_again: int = 0
    at_points: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


def missing(child: Child, h5: Path) -> int:
    """Count the shown points that the file does not hold just as they were shown."""
    run = read_run(h5)
    return sum(
        number >= len(run) or repr(float(run.signal[number])) != signal
        for number, signal in child.shown.items()
    )


def trial(tally: Tally, directory: Path, options: argparse.Namespace, first: Moment, again: Moment) -> None:
    """Kill one sweep, look at its file, resume it."""
    child = run_child([str(directory), str(options.bench), str(options.points)], first)
    tally.kills += 1
    files = sorted(directory.glob("*.h5"))
    if not files or files[0].stat().st_size == 0:
        tally.before_the_file += 1
        tally.points_missing += len(child.shown)
        return
    h5 = files[0]
    try:
        tally.points_missing += missing(child, h5)
        tally.not_sound += bool(findings(h5).problems)
        run = read_run(h5)
    except Exception as exc:  # noqa: BLE001  counted and shown
        print(f"{h5}: {exc!r}")
        tally.did_not_open += 1
        return
    tally.at_points.append(len(run))
    if run.status == "finished":
        tally.after_the_end += 1
    else:
        resume(tally, h5, options, again if tally.kills % 5 == 0 else None)
    judge(tally, h5, options)


def resume(tally: Tally, h5: Path, options: argparse.Namespace, again: Moment | None) -> None:
    """Resume; the resuming process may be killed as well, and then resumed."""
    arguments = [str(h5.parent), str(options.bench), str(options.points), str(h5)]
    child = run_child(arguments, again)
    if again is not None and not child.ended:
        tally.killed_again += 1
        tally.points_missing += missing(child, h5)
        tally.not_sound += bool(findings(h5).problems)
        if read_run(h5).status != "finished":
            run_child(arguments, None)


def judge(tally: Tally, h5: Path, options: argparse.Namespace) -> None:
    run, found = read_run(h5), findings(h5)
    whole = run.status == "finished" and run.points["index"].tolist() == list(range(options.points))
    tally.not_finished += not whole
    if found.problems:
        print(f"{h5}: {'; '.join(found.problems)}")
    tally.not_sound += bool(found.problems)
    value, low, high = threshold_of(h5)
    whole_value, whole_low, whole_high = options.whole[options.bench]
    tally.values.append(value / whole_value)
    tally.whole_outside += not low <= whole_value <= high
    tally.resumed_outside += not whole_low <= value <= whole_high
    tally.apart += not (low <= whole_high and whole_low <= high)


def threshold_of(h5: Path) -> tuple[float, float, float]:
    """Return a run's threshold and its 95 % interval."""
    threshold = read_run(h5).result.threshold
    if threshold.threshold_uj_cm2 is None or threshold.ci95 is None:
        return float("nan"), float("nan"), float("nan")
    return threshold.threshold_uj_cm2, *threshold.ci95


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--points", type=int, default=12)
    parser.add_argument("--benches", type=int, default=5)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--child", nargs="+")
    options = parser.parse_args()
    if options.child:
        out, seed, points, *rest = options.child
        sweep_child(Path(out), int(seed), int(points), Path(rest[0]) if rest else None)
        print("ended", flush=True)
        os._exit(0)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.keep or Path(temporary)
        options.whole, lasted_s = undisturbed(work, options)
        rng, tally = np.random.default_rng(options.seed), Tally()
        for number in range(options.kills):
            options.bench = options.seed + number % options.benches
            at, again = rng.integers(0, options.points + 1), rng.integers(0, 3)
            early, late = rng.uniform(0.0, lasted_s), rng.uniform(0.0, lasted_s / options.points, 2)
            first = Moment(-1, float(early)) if number % 10 == 9 else Moment(int(at), float(late[0]))
            trial(tally, work / str(number), options, first, Moment(int(again), float(late[1])))
            if (number + 1) % 10 == 0:
                print(f"{number + 1} kills, {tally.points_missing} points missing", flush=True)
            if (number + 1) % 50 == 0:  # what is known so far, should it be ended
                report(tally)
        report(tally)


def undisturbed(
    work: Path, options: argparse.Namespace
) -> tuple[dict[int, tuple[float, float, float]], float]:
    """Sweep each bench in peace; return the thresholds by seed, and how long the last one took."""
    found, lasted_s = {}, 0.0
    for seed in range(options.seed, options.seed + options.benches):
        whole = run_child([str(work / f"whole-{seed}"), str(seed), str(options.points)], None)
        assert whole.h5 is not None
        found[seed], lasted_s = threshold_of(whole.h5), whole.lasted_s
        value, low, high = found[seed]
        print(f"bench {seed}, undisturbed: {value:.3f} ({low:.3f} to {high:.3f}) uJ/cm2", flush=True)
    return found, lasted_s


def report(tally: Tally) -> None:
    values = np.array(tally.values)
    rows = {
        "kills": tally.kills,
        "before the file existed": tally.before_the_file,
        "after the run had ended": tally.after_the_end,
        "resuming process killed as well": tally.killed_again,
        "files that did not open": tally.did_not_open,
        "shown points missing": tally.points_missing,
        "files that verify finds unsound": tally.not_sound,
        "resumed runs not finished": tally.not_finished,
        "undisturbed value outside interval": tally.whole_outside,
        "resumed value outside the other's": tally.resumed_outside,
        "intervals that do not overlap": tally.apart,
        "points in the file at the kill": f"{min(tally.at_points)} to {max(tally.at_points)}",
        "resumed over undisturbed": f"{np.nanmean(values):.4f} +- {np.nanstd(values):.4f}",
    }
    for name, value in rows.items():
        print(f"{name:34} {value}", flush=True)


if __name__ == "__main__":
    main()
