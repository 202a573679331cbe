"""Does a sweep that chooses its fluences pay? Points, dose and coverage over the whole simulated bench.

Every sweep goes over the real wires, drivers, gate, exposure control and reduction; scene and client share
one stepped clock. An adaptive sweep ends when its interval, corrected for that end, meets the target; "plain"
says when the uncorrected one first did. It is held against the smallest uniform log grid that meets it.

    python -m benchmarks.accuracy.adaptive_sweep --seeds 20 [--scene typical] [--average 4] [--bleaching off]
"""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.benches import opened, scene
from benchmarks.tables import column, rms, share, show, table
from benchmarks.trials import parser
from labctl.analysis.evaluation import evaluate
from labctl.analysis.light_light import LightLight, light_light
from labctl.analysis.next_fluence import half_width_rel
from labctl.analysis.threshold import ThresholdResult, fit_threshold
from labctl.model.plan import AdaptivePlan, Cause, Ending, SweepPlan
from labctl.model.records import SweepPoint
from labctl.model.results.sweep import Threshold
from labctl.model.run import RunFacts
from labctl.session import sweep

GRIDS = (8, 10, 12, 14, 16, 20, 24, 32, 48)
RANGES = {"ola": (25.0, 190.0), "oam": (80.0, 610.0)}
ORDER = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """One sweep: its points, those after which the uncorrected interval met the target, and what it says."""

    points: int
    plain: int
    dose: float
    met: bool
    covers: bool
    off: float


def measured(wanted: Namespace, seed: int, plan: SweepPlan) -> tuple[list[SweepPoint], Cause, float]:
    """Sweep once; return the points, why it ended, and the true threshold."""
    with opened(scene(wanted.sample, wanted.scene, seed, bleaching=wanted.bleaching)) as (simulated, bench):
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


def adaptive(wanted: Namespace, seed: int, target: float, per: str, start: int) -> Outcome:
    low, high = RANGES[wanted.sample]
    plan = AdaptivePlan(
        start_uj_cm2=low,
        stop_uj_cm2=high,
        average=wanted.average,
        points=start,
        target_rel=target,
        per="dose" if per == "dose" else "point",
    )
    points, cause, truth = measured(wanted, seed, plan)
    facts = RunFacts(ORDER, ending=Ending(cause, ""))
    result = evaluate(points, plan, facts)
    met = (
        n
        for n in range(start, len(points))
        if (half_width_rel(fit(light_light(points[:n]))) or 1.0) <= target
    )
    return outcome(points, result.threshold, truth, target, next(met, len(points)))


def uniform(wanted: Namespace, seed: int, target: float) -> Outcome:
    """Return the smallest uniform grid that meets the target, each size measured anew."""
    low, high = RANGES[wanted.sample]
    found: Outcome | None = None
    for n in GRIDS:
        plan = SweepPlan(start_uj_cm2=low, stop_uj_cm2=high, points=n, average=wanted.average)
        points, _cause, truth = measured(wanted, 1000 * n + seed, plan)
        found = outcome(points, fit(light_light(points)), truth, target, n)
        if found.met:
            break
    assert found is not None
    return found


def row(name: str, outcomes: Sequence[Outcome], dose: float) -> tuple[object, ...]:
    points, plain, off = (column(outcomes, key) for key in ("points", "plain", "off"))
    return (
        name,
        f"{np.median(points):.0f}",
        f"{np.quantile(points, 0.9):.0f}",
        f"{np.median(plain):.0f}",
        f"{np.median(column(outcomes, 'dose')) / dose:.2f}",
        *(f"{share(column(outcomes, key)):.0f}" for key in ("met", "covers")),
        f"{100 * np.nanmedian(off):+.2f}",
        f"{100 * rms(off):.2f}",
        len(outcomes),
    )


def _rows(wanted: Namespace) -> Iterator[tuple[object, ...]]:
    seeds = range(wanted.seeds)
    for target in wanted.targets:
        base = [uniform(wanted, seed, target) for seed in seeds]
        dose = float(np.median(column(base, "dose")))
        label = f"{wanted.sample} {wanted.scene}, {100 * target:g} %"
        yield row(f"{label}, uniform", base, dose)
        for start in wanted.start_points:
            for per in wanted.per:
                done = [adaptive(wanted, seed, target, per, start) for seed in seeds]
                yield row(f"{label}, from {start}, per {per}", done, dose)


HEADS = (
    "sweep",
    "points",
    "p90",
    "plain",
    "dose / uniform",
    "met %",
    "covers %",
    "bias %",
    "RMSE %",
    "seeds",
)


def main() -> None:
    made = parser(__doc__, seeds=20, scene="typical", average=4, bleaching="off")
    made.add_argument("--sample", choices=sorted(RANGES), default="ola")
    made.add_argument("--start-points", type=int, nargs="*", default=[10])
    made.add_argument("--targets", type=float, nargs="*", default=[0.03, 0.01])
    made.add_argument("--per", nargs="*", default=["point", "dose"])
    show(table(HEADS, _rows(made.parse_args())))


if __name__ == "__main__":
    main()
