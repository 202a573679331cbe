"""Is what a stability run says is left the truth? Whole runs over the wires of the simulated bench.

Films fade by one exponential, two, or a stretched one; scene and client share one stepped clock. The truth is
what the film's own law leaves between the middle of the first point's light and the middle of the last one's.

    python benchmarks/stability.py --seeds 12 [--law single,double,stretched] [--scene typical] [--points 40]
"""

from __future__ import annotations

import argparse
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from labctl.config import parse_bench
from labctl.data import read_run
from labctl.data.run import Run
from labctl.model.clock import SteppedClock
from labctl.runner.run import RunRequest
from labctl.runner.stability import run_stability
from procedures.stability import StabilityPlan, stability_plan
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.scene import Scene
from simulators.scene.bleaching import surviving
from simulators.scene.settings import Level

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


def plan_of(points: int) -> StabilityPlan:
    return stability_plan(FLUENCE, EVERY_S * (points - 1), EVERY_S, average=5)


def measured(law: str, level: Level, seed: int, points: int) -> Outcome:
    rng = np.random.default_rng(1000 + seed)
    lit = 3.0 * 1000.0 * points * (FLUENCE / 79.81) ** 2  # pulses of a run, in those at threshold
    settings = presets.scene("ola", level, seed)
    sample = replace(settings.sample, bleach_law=law, bleach_pulses=lit / float(rng.uniform(0.3, 2.0)))  # type: ignore[arg-type]
    clock = SteppedClock()
    with (
        tempfile.TemporaryDirectory() as folder,
        SimulatedBench(replace(settings, sample=sample), clock) as simulated,
    ):
        report = run_stability(
            parse_bench(simulated.bench_toml(1.0)),
            plan_of(points),
            RunRequest(Path(folder), "OLA"),
            stop=threading.Event(),
            on_event=lambda _event: None,
            clock=clock,
        )
        assert report.h5 is not None
        truth = left(simulated.scene, read_run(report.h5))
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


def left(scene: Scene, run: Run) -> float:
    """Light of the last point over that of the first: the film's law at half of each one's own dose."""
    scene.sample.age(scene.clock.now_s())
    dose = run.column("dose_uj_cm2")
    squared = np.diff(dose, prepend=0.0) * run.fluence_uj_cm2
    # The exposures that count come last at a point: trials before the first ones are dose of an earlier time.
    middle = (np.cumsum(squared) - 0.5 * float(np.median(squared))) / squared.sum()
    total = scene.sample.bleaching._lasting
    first, last = (surviving(scene.settings.sample, total * float(share)) for share in middle[[0, -1]])
    return last / first


def row(law: str, found: Sequence[Outcome]) -> str:
    """Write one line of the table."""
    off, free, pull = (np.array([getattr(o, key) for o in found]) for key in ("off_rel", "free_rel", "pull"))
    models = [o.model for o in found]
    cells = (
        law,
        str(len(found)),
        f"{min(o.truth for o in found):.2f} to {max(o.truth for o in found):.2f}",
        f"{100 * np.median(off):+.2f}",
        f"{100 * np.sqrt(np.mean(off**2)):.2f}",
        f"{100 * np.abs(off).max():.2f}",
        f"{100 * np.abs(free).max():.2f}",
        f"{100 * max(abs(o.off) for o in found):.2f}",
        f"{100 * np.mean([o.covers for o in found]):.0f}",
        f"{np.std(pull):.2f}",
        ", ".join(f"{m} {models.count(m)}" for m in ("single", "double", "stretched") if m in models),
    )
    return "| " + " | ".join(cells) + " |"


HEAD = """\
| law | seeds | truly left | median error (%) | rms error (%) | worst (%) | worst without a model (%) \
| worst (points of a hundred) | 95 % interval covers (%) | sd of the pulls | model chosen |
|---|---|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--law", default="single,double,stretched")
    parser.add_argument("--scene", default="typical")
    parser.add_argument("--points", type=int, default=80)
    wanted = parser.parse_args()
    print(HEAD, flush=True)
    for law in wanted.law.split(","):
        found = [measured(law, wanted.scene, seed, wanted.points) for seed in range(wanted.seeds)]
        print(row(law, found), flush=True)


if __name__ == "__main__":
    main()
