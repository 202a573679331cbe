"""From the laser pulse to the threshold: coverage, bias and Q of whole sweeps over the simulated bench.

Every sweep goes over the real wires (TCP), drivers, gate, exposure control, reduction and fit; scene and
client share one stepped clock, so that nothing waits. The truth is read from the scene, never by labctl.

    python benchmarks/end_to_end.py --seeds 100 [--scene typical] [--collection centre] [--spectrometer fine]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from labctl.analysis.evaluation import evaluate, fit_curve
from labctl.analysis.light_light import light_light
from labctl.analysis.threshold.fit import MIN_POINTS
from labctl.config import load_bench
from labctl.model.clock import SteppedClock
from labctl.model.records import DarkRecord, SweepPoint
from labctl.model.results import QResult, Threshold
from labctl.model.run import PointList
from labctl.session import open_bench
from procedures import fluence_sweep
from procedures.plan import SweepPlan
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.scene import Truth
from simulators.scene.settings import Collection, Level, SpectrometerKind

PLANS = {
    "oam": SweepPlan(start_uj_cm2=65, stop_uj_cm2=640),
    "ola": SweepPlan(start_uj_cm2=20, stop_uj_cm2=200),
}


@dataclass(frozen=True)
class Case:
    """One sweep: what stands on the table."""

    sample: str
    seed: int
    scene: Level
    collection: Collection
    spectrometer: SpectrometerKind


@dataclass(frozen=True)
class Outcome:
    """What came of it, beside the truth; both bands where they were found.

    :ivar running: of each fit while the sweep ran that found a threshold: provisional, covers the truth.
    """

    case: Case
    truth: float
    status: str
    value: float
    low: float
    high: float
    statistical_rel: float
    shape: str
    peaks_value: float
    peaks_low: float
    peaks_high: float
    q: float
    q_truth: float
    q_is_bound: bool
    running: tuple[tuple[bool, bool], ...]
    scene_s: float
    wall_s: float


def run(case: Case) -> Outcome:
    """Sweep once and fit."""
    clock = SteppedClock()
    settings = presets.scene(
        case.sample,
        case.scene,
        case.seed,
        collection=case.collection,
        spectrometer=case.spectrometer,
    )
    began = time.perf_counter()
    with SimulatedBench(settings, clock) as simulated, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bench.toml"
        file.write_text(simulated.bench_toml(1.0), encoding="utf-8")
        darks = Darks()
        with open_bench(load_bench(file), clock) as bench:
            plan = PLANS[case.sample]
            points = list(fluence_sweep.sweep(plan, bench.roles, bench.pump, bench.bands, sink=darks))
            facts = bench.facts
        result = evaluate(PointList(points, darks.taken), plan, facts)
        seconds = (clock.now_s(), time.perf_counter() - began)
        truth = simulated.scene.truth
        running = running_fits(points, facts.photon_order, truth.threshold_uj_cm2)
        fitted = (result.threshold, result.threshold_lasing, result.q)
        return _outcome(case, truth, running, *fitted, seconds)


class Darks(fluence_sweep.NoSink):
    """Keeps the darks alone."""

    def __init__(self) -> None:
        self.taken: list[DarkRecord] = []

    def dark(self, record: DarkRecord) -> None:
        """Keep it."""
        self.taken.append(record)


def running_fits(points: Sequence[SweepPoint], order: int, truth: float) -> tuple[tuple[bool, bool], ...]:
    """Fit the first points, and one more each time, as a running sweep does."""
    fits = (fit_curve(light_light(points[:k]), order) for k in range(MIN_POINTS, len(points) + 1))
    return tuple((f.provisional, f.ci95[0] <= truth <= f.ci95[1]) for f in fits if f.ci95 is not None)


def _outcome(
    case: Case,
    truth: Truth,
    running: tuple[tuple[bool, bool], ...],
    whole: Threshold,
    peaks: Threshold,
    found: QResult | None,
    seconds: tuple[float, float],
) -> Outcome:
    nan = (float("nan"), float("nan"))
    low, high = whole.ci95 or nan
    value = whole.threshold_uj_cm2 or float("nan")
    statistical = whole.statistical_ci95 or nan
    return Outcome(
        case=case,
        truth=truth.threshold_uj_cm2,
        status=whole.status,
        value=value,
        low=low,
        high=high,
        statistical_rel=(statistical[1] - statistical[0]) / 2 / value,
        shape=whole.shape or "",
        peaks_value=peaks.threshold_uj_cm2 or float("nan"),
        peaks_low=(peaks.ci95 or nan)[0],
        peaks_high=(peaks.ci95 or nan)[1],
        q=found.value if found else float("nan"),
        q_truth=truth.q,
        q_is_bound=bool(found and found.lower_bound),
        running=running,
        scene_s=seconds[0],
        wall_s=seconds[1],
    )


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return one row of the table."""
    n = len(outcomes)
    value = np.array([o.value for o in outcomes])
    truth = np.array([o.truth for o in outcomes])
    low, high = np.array([o.low for o in outcomes]), np.array([o.high for o in outcomes])
    error = value / truth - 1
    covered = int(np.sum((low <= truth) & (truth <= high)))
    peaks_error = np.array([o.peaks_value for o in outcomes]) / truth - 1
    peaks_low, peaks_high = np.array([(o.peaks_low, o.peaks_high) for o in outcomes]).T
    peaks_covered = int(np.sum((peaks_low <= truth) & (truth <= peaks_high)))
    q_error = np.array([o.q / o.q_truth - 1 for o in outcomes if not o.q_is_bound])
    bounds = sum(o.q_is_bound for o in outcomes)
    of_q = "-"
    if q_error.size:
        of_q = f"{np.nanmedian(np.abs(q_error)):.1%}, worst {np.nanmax(np.abs(q_error)):.1%}"
    found = sum(o.status == "found" for o in outcomes)
    return (
        f"found {found}/{n} | covered {covered}/{n} | median |error| {np.nanmedian(np.abs(error)):.2%} "
        f"| median error {np.nanmedian(error):+.2%} "
        f"| half-width {np.nanmedian((high - low) / 2 / value):.2%} "
        f"| peaks band: covered {peaks_covered}/{n}, median |error| {np.nanmedian(np.abs(peaks_error)):.2%}, "
        f"half-width {np.nanmedian((peaks_high - peaks_low) / 2 / truth):.2%} "
        f"| Q error: median {of_q}; lower bounds {bounds}/{n} "
        f"| while it ran, missed: {_missed(outcomes, True)} provisional, {_missed(outcomes, False)} others "
        f"| {np.mean([o.scene_s for o in outcomes]):.0f} s of bench, "
        f"{np.mean([o.wall_s for o in outcomes]):.1f} s of wall a sweep"
    )


def _missed(outcomes: Sequence[Outcome], provisional: bool) -> str:
    covers = [covered for o in outcomes for kind, covered in o.running if kind is provisional]
    return f"{covers.count(False)} of {len(covers)}"


def main() -> None:
    """Print a row a sample, and the misses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=1, help="first seed")
    parser.add_argument("--scene", default="typical")
    parser.add_argument("--collection", default="centre")
    parser.add_argument("--spectrometer", default="fine")
    parser.add_argument("--sample", action="append", choices=("oam", "ola"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("-v", "--verbose", action="store_true")
    args = parser.parse_args()
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        for sample in args.sample or ("oam", "ola"):
            seeds = range(args.first, args.first + args.seeds)
            cases = [Case(sample, seed, args.scene, args.collection, args.spectrometer) for seed in seeds]
            outcomes = list(pool.map(run, cases))
            print(
                f"{sample} {args.scene} {args.collection} {args.spectrometer}: {summary(outcomes)}",
                flush=True,
            )
            for o in outcomes:
                missed = not o.low <= o.truth <= o.high
                if args.verbose or missed:
                    print(
                        f"   {'MISS' if missed else 'ok  '} seed {o.case.seed}: {o.status} {o.value:.2f} "
                        f"[{o.low:.2f}, {o.high:.2f}] truth {o.truth:.2f} "
                        f"{o.shape} q {o.q:.0f}/{o.q_truth:.0f}"
                    )


if __name__ == "__main__":
    main()
