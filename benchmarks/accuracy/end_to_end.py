"""From the laser pulse to the threshold: coverage, bias and Q of whole sweeps over the simulated bench.

Every sweep goes over the real wires (TCP), drivers, gate, exposure control, reduction and fit; scene and
client share one stepped clock, so that nothing waits. The truth is read from the scene, never by labctl.

    python -m benchmarks.accuracy.end_to_end --seeds 100 [--scene typical] [--collection centre]
"""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.benches import SWEEPS, opened, scene
from benchmarks.tables import Array, column, show
from benchmarks.trials import found, parser
from labctl.analysis.evaluation import evaluate, fit_curve
from labctl.analysis.light_light import light_light
from labctl.analysis.threshold.fit import MIN_POINTS
from labctl.model.records import DarkRecord, SweepPoint
from labctl.model.run import PointList
from procedures import fluence_sweep
from procedures.point.exposure import NoSink


@dataclass(frozen=True)
class Case:
    """One sweep: what stands on the table."""

    sample: str
    seed: int
    scene: str
    collection: str
    spectrometer: str


@dataclass(frozen=True)
class Outcome:
    """What came of it, beside the truth; both bands where they were found.

    :ivar running: of each fit while the sweep ran that found a threshold: provisional, covers the truth.
    """

    case: Case
    truth: float
    status: str
    value: float
    ends: tuple[float, float]
    statistical_rel: float
    shape: str
    peaks_value: float
    peaks_ends: tuple[float, float]
    q: float
    q_truth: float
    q_is_bound: bool
    running: tuple[tuple[bool, bool], ...]
    scene_s: float
    wall_s: float


def run(case: Case) -> Outcome:
    """Sweep once and fit."""
    more = {"collection": case.collection, "spectrometer": case.spectrometer}
    began, darks, plan = time.perf_counter(), Darks(), SWEEPS[case.sample]
    with opened(scene(case.sample, case.scene, case.seed, **more)) as (simulated, bench):
        points = list(fluence_sweep.sweep(plan, bench.roles, bench.pump, bench.bands, sink=darks))
        facts, truth = bench.facts, simulated.scene.truth
        scene_s = simulated.scene.clock.now_s()
    result = evaluate(PointList(points, darks.taken), plan, facts)
    wall_s = time.perf_counter() - began
    nan = (float("nan"), float("nan"))
    whole, peaks, q = result.threshold, result.threshold_lasing, result.q
    value, statistical = whole.threshold_uj_cm2 or float("nan"), whole.statistical_ci95 or nan
    return Outcome(
        case=case,
        truth=truth.threshold_uj_cm2,
        status=whole.status,
        value=value,
        ends=whole.ci95 or nan,
        statistical_rel=(statistical[1] - statistical[0]) / 2 / value,
        shape=whole.shape or "",
        peaks_value=peaks.threshold_uj_cm2 or float("nan"),
        peaks_ends=peaks.ci95 or nan,
        q=q.value if q else float("nan"),
        q_truth=truth.q,
        q_is_bound=bool(q and q.lower_bound),
        running=running_fits(points, facts.photon_order, truth.threshold_uj_cm2),
        scene_s=scene_s,
        wall_s=wall_s,
    )


class Darks(NoSink):
    """Keeps the darks alone."""

    def __init__(self) -> None:
        self.taken: list[DarkRecord] = []

    def dark(self, record: DarkRecord) -> None:
        self.taken.append(record)


def running_fits(points: Sequence[SweepPoint], order: int, truth: float) -> tuple[tuple[bool, bool], ...]:
    """Fit the first points, and one more each time, as a running sweep does."""
    fits = (fit_curve(light_light(points[:k]), order) for k in range(MIN_POINTS, len(points) + 1))
    return tuple((f.provisional, f.ci95[0] <= truth <= f.ci95[1]) for f in fits if f.ci95 is not None)


def covered(truth: Array, ends: Array) -> str:
    """Say how many of the intervals hold the truth."""
    return f"{int(np.sum((ends[:, 0] <= truth) & (truth <= ends[:, 1])))}/{truth.size}"


def summary(outcomes: Sequence[Outcome]) -> str:
    n = len(outcomes)
    value, truth = column(outcomes, "value"), column(outcomes, "truth")
    ends, peaks_ends = column(outcomes, "ends"), column(outcomes, "peaks_ends")
    error, peaks_error = value / truth - 1, column(outcomes, "peaks_value") / truth - 1
    half_rel = (ends[:, 1] - ends[:, 0]) / 2 / value
    peaks_half_rel = (peaks_ends[:, 1] - peaks_ends[:, 0]) / 2 / truth
    q_error = np.array([o.q / o.q_truth - 1 for o in outcomes if not o.q_is_bound])
    bounds = sum(o.q_is_bound for o in outcomes)
    of_q = "-"
    if q_error.size:
        of_q = f"{np.nanmedian(np.abs(q_error)):.1%}, worst {np.nanmax(np.abs(q_error)):.1%}"
    number = sum(o.status == "found" for o in outcomes)
    return " | ".join(
        [
            f"found {number}/{n}",
            f"covered {covered(truth, ends)}",
            f"median |error| {np.nanmedian(np.abs(error)):.2%}",
            f"median error {np.nanmedian(error):+.2%}",
            f"half-width {np.nanmedian(half_rel):.2%}",
            f"peaks band: covered {covered(truth, peaks_ends)}, "
            f"median |error| {np.nanmedian(np.abs(peaks_error)):.2%}, "
            f"half-width {np.nanmedian(peaks_half_rel):.2%}",
            f"Q error: median {of_q}; lower bounds {bounds}/{n}",
            f"while it ran, missed: {_missed(outcomes, True)} provisional, {_missed(outcomes, False)} others",
            f"{np.mean(column(outcomes, 'scene_s')):.0f} s of bench, "
            f"{np.mean(column(outcomes, 'wall_s')):.1f} s of wall a sweep",
        ]
    )


def _missed(outcomes: Sequence[Outcome], provisional: bool) -> str:
    covers = [right for o in outcomes for kind, right in o.running if kind is provisional]
    return f"{covers.count(False)} of {len(covers)}"


def lines(args: Namespace) -> Iterator[str]:
    for sample in args.sample or ("oam", "ola"):
        seeds = range(args.first, args.first + args.seeds)
        cases = [Case(sample, seed, args.scene, args.collection, args.spectrometer) for seed in seeds]
        outcomes = sorted(found(run, cases, args.jobs), key=lambda o: o.case.seed)
        yield f"{sample} {args.scene} {args.collection} {args.spectrometer}: {summary(outcomes)}"
        for o in outcomes:
            missed = not o.ends[0] <= o.truth <= o.ends[1]
            if args.verbose or missed:
                yield (
                    f"   {'MISS' if missed else 'ok  '} seed {o.case.seed}: {o.status} {o.value:.2f} "
                    f"[{o.ends[0]:.2f}, {o.ends[1]:.2f}] truth {o.truth:.2f} "
                    f"{o.shape} q {o.q:.0f}/{o.q_truth:.0f}"
                )


def main() -> None:
    made = parser(
        __doc__, seeds=100, first=1, scene="typical", collection="centre", spectrometer="fine", jobs=2
    )
    made.add_argument("--sample", action="append", choices=("oam", "ola"))
    made.add_argument("-v", "--verbose", action="store_true")
    show(lines(made.parse_args()))


if __name__ == "__main__":
    main()
