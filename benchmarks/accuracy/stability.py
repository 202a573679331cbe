"""Is what a stability run says is left the truth? Whole runs over the wires of the simulated bench.

Films fade by one exponential, two, or a stretched one; scene and client share one stepped clock. The truth is
what the film's own law leaves between the middle of the first point's light and the middle of the last one's.

    python -m benchmarks.accuracy.stability --seeds 12 [--law single,double] [--scene typical] [--points 40]
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.benches import run_to_end, scene, served
from benchmarks.tables import column, rms, share, show, table
from benchmarks.trials import parser
from labctl.data import read_run
from labctl.data.run import Run
from labctl.runner.stability import run_stability
from procedures.plan import stability_plan
from simulators.scene import Scene
from simulators.scene.sample import surviving

FLUENCE = 60.0
EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run: its retained fraction against the truth, its pull, whether its interval covers, the model."""

    truth: float
    off_rel: float
    pull: float
    covers: bool
    free_rel: float
    off: float
    model: str


def measured(law: str, level: str, seed: int, points: int) -> Outcome:
    rng = np.random.default_rng(1000 + seed)
    lit = 3.0 * 1000.0 * points * (FLUENCE / 79.81) ** 2  # pulses of a run, in those at threshold
    settings = scene("ola", level, seed)
    sample = replace(settings.sample, bleach_law=law, bleach_pulses=lit / float(rng.uniform(0.3, 2.0)))  # type: ignore[arg-type]
    plan = stability_plan(FLUENCE, EVERY_S * (points - 1), EVERY_S, average=5)
    with tempfile.TemporaryDirectory() as folder, served(replace(settings, sample=sample)) as (bench, config):
        report = run_to_end(run_stability, bench, config, plan, Path(folder))
        truth = left(bench.scene, read_run(report.h5))
    said = report.result.stability
    assert said is not None
    retained, free = said.retained, said.retained_model_free
    assert retained is not None
    assert free is not None
    return Outcome(
        truth,
        retained.value / truth - 1,
        (retained.value - truth) / retained.sigma,
        retained.low <= truth <= retained.high,
        free.value / truth - 1,
        retained.value - truth,
        str(said.model),
    )


def left(film: Scene, run: Run) -> float:
    """Light of the last point over that of the first: the film's law at half of each one's own dose."""
    film.sample.age(film.clock.now_s())
    dose = run.column("dose_uj_cm2")
    squared = np.diff(dose, prepend=0.0) * run.fluence_uj_cm2
    # The exposures that count come last at a point: trials before the first ones are dose of an earlier time.
    middle = (np.cumsum(squared) - 0.5 * float(np.median(squared))) / squared.sum()
    total = film.sample.bleaching._lasting
    first, last = (surviving(film.settings.sample, total * float(share)) for share in middle[[0, -1]])
    return last / first


def row(law: str, found: Sequence[Outcome]) -> Iterator[object]:
    off, truth = column(found, "off_rel"), column(found, "truth")
    models = [o.model for o in found]
    yield from (law, len(found), f"{truth.min():.2f} to {truth.max():.2f}")
    yield from (f"{100 * np.median(off):+.2f}", f"{100 * rms(off):.2f}")
    yield from (f"{100 * np.abs(column(found, key)).max():.2f}" for key in ("off_rel", "free_rel", "off"))
    yield from (f"{share(column(found, 'covers')):.0f}", f"{np.std(column(found, 'pull')):.2f}")
    yield ", ".join(f"{m} {models.count(m)}" for m in ("single", "double", "stretched") if m in models)


HEADS = (
    "law", "seeds", "truly left", "median error (%)", "rms error (%)", "worst (%)",
    "worst without a model (%)", "worst (points of a hundred)", "95 % interval covers (%)",
    "sd of the pulls", "model chosen",
)  # fmt: skip


def main() -> None:
    made = parser(__doc__, seeds=12, law="single,double,stretched", scene="typical", points=80)
    wanted = made.parse_args()
    laws, seeds = wanted.law.split(","), range(wanted.seeds)
    rows = (row(law, [measured(law, wanted.scene, seed, wanted.points) for seed in seeds]) for law in laws)
    show(table(HEADS, rows))


if __name__ == "__main__":
    main()
