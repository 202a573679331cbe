"""Is what a stability run says is left the truth? Whole runs over the wires of the simulated bench.

Films fade by one exponential, two, or a stretched one; scene and client share one stepped clock. The truth is
what the film's own law leaves between the middle of the first point's light and the middle of the last one's.

    python -m benchmarks.accuracy.stability --seeds 12 [--law single,double] [--scene typical] [--points 40]

With ``--misfit TRIALS`` instead: is a decay that misses its points told so, and no other one? Light over time
made here, with errors of 0.2 to 3 %, a wander of the laser of 0 to 1 %, and 20 to 150 points.

    python -m benchmarks.accuracy.stability --misfit 200 [--seed 1]
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.benches import run_to_end, scene, served
from benchmarks.tables import Array, column, rms, share, show, table
from benchmarks.trials import parser
from labctl.analysis.fading import fit_decay
from labctl.data import read_run
from labctl.data.run import Run
from labctl.model.errors import CalibrationRefused
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


def late(u: Array, rng: np.random.Generator) -> Array:
    """Hold for a while, then fall."""
    at, width = rng.uniform(0.3, 0.6), rng.uniform(0.05, 0.15)
    return np.asarray((1 + np.exp(-at / width)) / (1 + np.exp((u - at) / width)))


def parabolic(u: Array, rng: np.random.Generator) -> Array:
    return np.asarray(np.exp(-((rng.uniform(1, 2) * u) ** 2)))


def waiting(u: Array, rng: np.random.Generator) -> Array:
    """Nothing at first, then one exponential."""
    return np.asarray(np.exp(-rng.uniform(1, 4) * np.maximum(u - rng.uniform(0.1, 0.3), 0)))


def stepped(u: Array, rng: np.random.Generator) -> Array:
    """One exponential, and a step down of 10 to 25 % in its midst."""
    return np.asarray(
        np.exp(-rng.uniform(0.3, 3) * u) * np.where(u > rng.uniform(0.3, 0.7), rng.uniform(0.75, 0.9), 1)
    )


def brightening(u: Array, rng: np.random.Generator) -> Array:
    """Rise by tens of per cent, then fade."""
    fading = np.exp(-rng.uniform(0.3, 3) * u)
    return np.asarray(fading + rng.uniform(0.2, 0.5) * (fading - np.exp(-u / rng.uniform(0.03, 0.15))))


def plain(u: Array, rng: np.random.Generator) -> Array:
    return np.asarray(np.exp(-rng.uniform(0.3, 3) * u))


def twofold(u: Array, rng: np.random.Generator) -> Array:
    fast, slow = rng.uniform(0.2, 0.7), rng.uniform(0.3, 3)
    return np.asarray(fast * np.exp(-slow * rng.uniform(4, 20) * u) + (1 - fast) * np.exp(-slow * u))


def drawn_out(u: Array, rng: np.random.Generator) -> Array:
    return np.asarray(np.exp(-((rng.uniform(0.3, 3) * u) ** rng.uniform(0.4, 0.9))))


FITTING = {"single": plain, "double": twofold, "stretched": drawn_out}
MISSED = {
    "late": late, "parabola in the exponent": parabolic, "waits": waiting, "step of 10 to 25 %": stepped,
    "brightens first": brightening,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    """One series: whether a misfit, and whether a lifetime was told; whether the retained part is covered."""

    misfit: float
    lifetime: float
    covers: float


def told(law: Callable[[Array, np.random.Generator], Array], seed: tuple[int, ...]) -> Told | None:
    rng = np.random.default_rng(seed)
    n = int(rng.choice([20, 40, 80, 150]))
    noise, wander = float(rng.choice([0.002, 0.01, 0.03])), float(rng.choice([0.0, 0.003, 0.01]))
    u = np.linspace(0.5 / n, 1, n)
    light = law(u, rng)
    memory = float(np.exp(-(u[1] - u[0]) / np.exp(rng.uniform(np.log(0.02), np.log(0.3)))))
    slow = np.zeros(n)
    for i in range(n):
        before = slow[i - 1] if i else rng.standard_normal()
        slow[i] = memory * before + np.sqrt(1 - memory**2) * rng.standard_normal()
    sigma = np.hypot(noise * light, 0.001)
    try:
        fit = fit_decay(36000 * u, light * (1 + wander * slow) + sigma * rng.standard_normal(n), sigma)
    except CalibrationRefused:
        return None
    named = fit.amplitude_lifetime_s is not None
    truth = light[-1] / light[0]
    return Told(
        float("decay_misfit" in fit.flags),
        float(named),
        float(fit.retained.low <= truth <= fit.retained.high),
    )


def misfit_row(name: str, trials: int, seed: int) -> Iterator[object]:
    law = (FITTING | MISSED)[name]
    every = [told(law, (seed, i, len(name), ord(name[0]))) for i in range(trials)]
    found = [one for one in every if one is not None]
    yield from (name, "yes" if name in FITTING else "no", trials, trials - len(found))
    yield from (f"{share(column(found, key)):.1f}" for key in ("misfit", "lifetime", "covers"))


MISFIT_HEADS = (
    "light", "one of the shapes", "trials", "refused", "misfit told (%)", "lifetime told (%)",
    "95 % interval of the retained part covers (%)",
)  # fmt: skip

HEADS = (
    "law", "seeds", "truly left", "median error (%)", "rms error (%)", "worst (%)",
    "worst without a model (%)", "worst (points of a hundred)", "95 % interval covers (%)",
    "sd of the pulls", "model chosen",
)  # fmt: skip


def main() -> None:
    made = parser(
        __doc__, seeds=12, law="single,double,stretched", scene="typical", points=80, misfit=0, seed=1
    )
    wanted = made.parse_args()
    if wanted.misfit:
        trials = {
            **dict.fromkeys(FITTING, wanted.misfit),
            **dict.fromkeys(MISSED, max(wanted.misfit // 4, 1)),
        }
        show(table(MISFIT_HEADS, (misfit_row(name, n, wanted.seed) for name, n in trials.items())))
        return
    laws, seeds = wanted.law.split(","), range(wanted.seeds)
    rows = (row(law, [measured(law, wanted.scene, seed, wanted.points) for seed in seeds]) for law in laws)
    show(table(HEADS, rows))


if __name__ == "__main__":
    main()
