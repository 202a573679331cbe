"""Does a sweep that chooses its fluences pay? Points, dose and coverage over the whole simulated bench.

Every sweep goes over the real wires, drivers, gate, exposure control and reduction; scene and client share
one stepped clock. An adaptive sweep ends when its interval, corrected for that end, meets the target; "plain"
says when the uncorrected one first did. It is held against the smallest uniform log grid that meets it.

    python benchmarks/adaptive_sweep.py --seeds 20 [--scene typical] [--average 4] [--bleaching off]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from labctl.analysis.evaluation import evaluate
from labctl.analysis.light_light import LightLight, light_light
from labctl.analysis.next_fluence import half_width_rel
from labctl.analysis.threshold import ThresholdResult, fit_threshold
from labctl.config import parse_bench
from labctl.model.clock import SteppedClock
from labctl.model.plan import Cause, Ending
from labctl.model.records import SweepPoint
from labctl.model.results import Threshold
from labctl.model.run import RunFacts
from labctl.session import open_bench, sweep
from procedures.plan import AdaptivePlan, SweepPlan
from simulators import presets
from simulators.bench import SimulatedBench

GRIDS = (8, 10, 12, 14, 16, 20, 24, 32, 48)
RANGES = {"ola": (25.0, 190.0), "oam": (80.0, 610.0)}
ORDER = 2


@dataclass(frozen=True, slots=True)
class Table:
    """What stands on the table, and how it is measured."""

    sample: str
    scene: str
    average: int
    bleaching: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """One sweep: its points, those after which the uncorrected interval met the target, and what it says."""

    points: int
    plain: int
    dose: float
    met: bool
    covers: bool
    off: float


def measured(table: Table, seed: int, plan: SweepPlan) -> tuple[list[SweepPoint], Cause, float]:
    """Sweep once; return the points, why it ended, and the true threshold."""
    clock = SteppedClock()
    settings = presets.scene(
        table.sample,
        table.scene,  # type: ignore[arg-type]
        seed,
        bleaching=table.bleaching,  # type: ignore[arg-type]
    )
    with (
        SimulatedBench(settings, clock) as simulated,
        open_bench(parse_bench(simulated.bench_toml(1.0)), clock) as bench,
    ):
        run = sweep(bench, plan)
        points = list(run)
        assert run.ending is not None
        return points, run.ending.cause, simulated.scene.truth.threshold_uj_cm2


def fit(curve: LightLight) -> ThresholdResult:
    grid = curve.grid
    sigma = grid.typical_fluence_sigma_rel
    return fit_threshold(grid.fluence_uj_cm2, grid.signal, fluence_sigma_rel=sigma, photon_order=ORDER)


def outcome(
    points: Sequence[SweepPoint], result: Threshold, truth: float, target: float, plain: int
) -> Outcome:
    ends, value = result.ci95, result.threshold_uj_cm2 or math.nan
    return Outcome(
        points=len(points),
        plain=plain,
        dose=points[-1].dose_uj_cm2,
        met=(half_width_rel(result) or 1.0) <= target * 1.02,  # the live form's own grid
        covers=ends is not None and ends[0] <= truth <= ends[1],
        off=value / truth - 1,
    )


def adaptive(table: Table, seed: int, target: float, per: str, start: int) -> Outcome:
    low, high = RANGES[table.sample]
    plan = AdaptivePlan(
        start_uj_cm2=low,
        stop_uj_cm2=high,
        average=table.average,
        points=start,
        target_rel=target,
        per="dose" if per == "dose" else "point",
    )
    points, cause, truth = measured(table, seed, plan)
    facts = RunFacts(ORDER, ending=Ending(cause, ""))
    result = evaluate(points, plan, facts)
    met = (
        n
        for n in range(start, len(points))
        if (half_width_rel(fit(light_light(points[:n]))) or 1.0) <= target
    )
    return outcome(points, result.threshold, truth, target, next(met, len(points)))


def uniform(table: Table, seed: int, target: float) -> Outcome:
    """Return the smallest uniform grid that meets the target, each size measured anew."""
    low, high = RANGES[table.sample]
    found: Outcome | None = None
    for n in GRIDS:
        plan = SweepPlan(start_uj_cm2=low, stop_uj_cm2=high, points=n, average=table.average)
        points, _cause, truth = measured(table, 1000 * n + seed, plan)
        found = outcome(points, fit(light_light(points)), truth, target, n)
        if found.met:
            break
    assert found is not None
    return found


def row(name: str, outcomes: Sequence[Outcome], dose: float) -> str:
    """Write one line of the table."""
    points, plain = ([getattr(o, key) for o in outcomes] for key in ("points", "plain"))
    doses, off = ([getattr(o, key) for o in outcomes] for key in ("dose", "off"))
    met, covers = (100 * float(np.mean([getattr(o, key) for o in outcomes])) for key in ("met", "covers"))
    cells = (
        name,
        f"{np.median(points):.0f}",
        f"{np.quantile(points, 0.9):.0f}",
        f"{np.median(plain):.0f}",
        f"{np.median(doses) / dose:.2f}",
        f"{met:.0f}",
        f"{covers:.0f}",
        f"{100 * np.nanmedian(off):+.2f}",
        f"{100 * math.sqrt(np.nanmean(np.square(off))):.2f}",
        str(len(outcomes)),
    )
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--sample", choices=sorted(RANGES), default="ola")
    parser.add_argument("--scene", default="typical")
    parser.add_argument("--average", type=int, default=4)
    parser.add_argument("--bleaching", default="off")
    parser.add_argument("--start-points", type=int, nargs="*", default=[10])
    parser.add_argument("--targets", type=float, nargs="*", default=[0.03, 0.01])
    parser.add_argument("--per", nargs="*", default=["point", "dose"])
    args = parser.parse_args()
    table = Table(args.sample, args.scene, args.average, args.bleaching)
    print("| sweep | points | p90 | plain | dose / uniform | met % | covers % | bias % | RMSE % | seeds |")
    print("|" + " --- |" * 10)
    for target in args.targets:
        base = [uniform(table, seed, target) for seed in range(args.seeds)]
        dose = float(np.median([o.dose for o in base]))
        label = f"{args.sample} {args.scene}, {100 * target:g} %"
        print(row(f"{label}, uniform", base, dose), flush=True)
        for start in args.start_points:
            for per in args.per:
                done = [adaptive(table, seed, target, per, start) for seed in range(args.seeds)]
                print(row(f"{label}, from {start}, per {per}", done, dose), flush=True)


if __name__ == "__main__":
    main()
