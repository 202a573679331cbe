"""Kill -9 a fast sweep at random moments, again and again, and resume each. Run by hand, prints a table.

    python tests/campaigns/kill_and_resume.py [--kills 200] [--seed 1] [--benches 5] [--points 12]
                                                      [--keep DIR]

A child (tests/resume_bench.py) sweeps a simulated bench of its own on a stepped clock and prints each point
as it is shown. The moment is a random number of shown points, none to all of them, and a random part of a
point's time, so that some fall into the last writes or after them; every tenth lies before that, where the
file begins. Every file must open, hold every point that was shown, and be finished by a resume (in another
process, which is killed too every fifth time). Its threshold is held against that of an undisturbed run of
the same bench, with the 95 % interval of either. Both are measured, with noise of their own: where all is
well, an interval misses the other run's value in up to one case of six.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from argparse import Namespace
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.programs import started
from benchmarks.trials import parser
from labctl.data.reader import read_run
from labctl.data.verify import findings

CHILD = Path(__file__).parents[1] / "resume_bench.py"
COUNTED = (
    KILLS, BEFORE, AFTER, AGAIN, UNOPENED, MISSING, UNSOUND, UNFINISHED, WHOLE_OUTSIDE, RESUMED_OUTSIDE,
    APART,
) = (
    "kills", "before the file existed", "after the run had ended", "resuming process killed as well",
    "files that did not open", "shown points missing", "files that verify finds unsound",
    "resumed runs not finished", "undisturbed value outside interval", "resumed value outside the other's",
    "intervals that do not overlap",
)  # fmt: skip


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
    child = Child()
    with started([sys.executable, str(CHILD), *arguments]) as process:
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
            elif word == "status":
                child.ended = True
            seen += word in ("started", "point")
            if moment is not None and seen == moment.points and word != "status":
                killer.start()
        child.lasted_s = time.perf_counter() - began
        killer.cancel()
    return child


class Tally(Counter[str]):
    """What happened to all of them, in the words of the table."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(COUNTED, 0))
        self.at_points: list[int] = []
        self.ratios: list[float] = []

    def found(self, h5: Path) -> None:
        """Have a file verified."""
        if problems := findings(h5).problems:
            print(f"{h5}: {'; '.join(problems)}")
            self[UNSOUND] += 1


def missing(child: Child, h5: Path) -> int:
    """Count the shown points that the file does not hold just as they were shown."""
    run = read_run(h5)
    return sum(
        number >= len(run) or repr(float(run.signal[number])) != signal
        for number, signal in child.shown.items()
    )


def trial(tally: Tally, directory: Path, options: Namespace, first: Moment, again: Moment) -> None:
    """Kill one sweep, look at its file, resume it."""
    child = run_child([str(directory), str(options.bench), str(options.points)], first)
    tally[KILLS] += 1
    files = sorted(directory.glob("*.h5"))
    if not files or files[0].stat().st_size == 0:
        tally[BEFORE] += 1
        tally[MISSING] += len(child.shown)
        return
    h5 = files[0]
    try:
        tally[MISSING] += missing(child, h5)
        tally.found(h5)
        run = read_run(h5)
    except Exception as exc:  # noqa: BLE001  counted and shown
        print(f"{h5}: {exc!r}")
        tally[UNOPENED] += 1
        return
    tally.at_points.append(len(run))
    if run.status == "finished":
        tally[AFTER] += 1
    else:
        resume(tally, h5, options, again if tally[KILLS] % 5 == 0 else None)
    judge(tally, h5, options)


def resume(tally: Tally, h5: Path, options: Namespace, again: Moment | None) -> None:
    """Resume; the resuming process may be killed as well, and then resumed."""
    arguments = [str(h5.parent), str(options.bench), str(options.points), str(h5)]
    child = run_child(arguments, again)
    if again is not None and not child.ended:
        tally[AGAIN] += 1
        tally[MISSING] += missing(child, h5)
        tally.found(h5)
        if read_run(h5).status != "finished":
            run_child(arguments, None)


def judge(tally: Tally, h5: Path, options: Namespace) -> None:
    run = read_run(h5)
    whole = run.status == "finished" and run.points["index"].tolist() == list(range(options.points))
    tally[UNFINISHED] += not whole
    tally.found(h5)
    value, low, high = threshold_of(h5)
    whole_value, whole_low, whole_high = options.whole[options.bench]
    tally.ratios.append(value / whole_value)
    tally[WHOLE_OUTSIDE] += not low <= whole_value <= high
    tally[RESUMED_OUTSIDE] += not whole_low <= value <= whole_high
    tally[APART] += not (low <= whole_high and whole_low <= high)


def threshold_of(h5: Path) -> tuple[float, float, float]:
    """Return a run's threshold and its 95 % interval."""
    threshold = read_run(h5).result.threshold
    if threshold.threshold_uj_cm2 is None or threshold.ci95 is None:
        return float("nan"), float("nan"), float("nan")
    return threshold.threshold_uj_cm2, *threshold.ci95


def main() -> None:
    made = parser(__doc__, kills=200, seed=1, points=12, benches=5)
    made.add_argument("--keep", type=Path)
    options = made.parse_args()
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
                print(f"{number + 1} kills, {tally[MISSING]} points missing", flush=True)
            if (number + 1) % 50 == 0:  # what is known so far, should it be ended
                report(tally)
        report(tally)


def undisturbed(work: Path, options: Namespace) -> tuple[dict[int, tuple[float, float, float]], float]:
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
    values = np.array(tally.ratios)
    rows = dict(tally) | {
        "points in the file at the kill": f"{min(tally.at_points)} to {max(tally.at_points)}",
        "resumed over undisturbed": f"{np.nanmean(values):.4f} +- {np.nanstd(values):.4f}",
    }
    for name, value in rows.items():
        print(f"{name:34} {value}", flush=True)


if __name__ == "__main__":
    main()
