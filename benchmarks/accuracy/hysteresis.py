"""How often is a sample called changed between up and down: without a change, and with one of stated size?

    python -m benchmarks.accuracy.hysteresis --trials 200 [--points 16]

Light-light curves as the simulated benches make them, without the wires, so that hundreds of trials fit in
minutes. "typical" and "nasty" differ in what wanders: the pick-off's ratio and the added counts, both shared
by neighbouring points, which no error of a single point shows. The sample may lose signal with the dose (10 %
from the first point to the last), answer 10 % less on the way down, or have an onset 5 % higher there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.tables import Array, show, table
from benchmarks.trials import parser
from labctl.analysis.evaluation.hysteresis import measure_hysteresis
from labctl.analysis.light_light import LightLight, middle_dose
from labctl.analysis.threshold import ThresholdResult, fit_threshold

ONSET, LOW, HIGH = 79.81, 20.0, 200.0
COUNTS, CONTRAST, SATURATION = 580.0, 12.0, 25.0
POINT_S, PULSES = 6.5, 2000.0


@dataclass(frozen=True, slots=True)
class Bench:
    """What errs: of a point alone (signal, fluence measured, fluence set), and what wanders (see above)."""

    signal_rel: float
    fluence_rel: float
    set_rel: float
    pickoff_rel: float
    pickoff_s: float
    added_counts: float
    added_s: float
    pulse_cv: float


@dataclass(frozen=True, slots=True)
class Sample:
    """Loss of signal over the whole dose, a step of the signal and one of the onset at the turn."""

    faded: float = 0.0
    step: float = 0.0
    shifted: float = 0.0


BENCHES = {
    "typical": Bench(0.003, 0.0015, 0.02, 0.001, 300.0, 0.5, 300.0, 0.015),
    "nasty": Bench(0.01, 0.003, 0.04, 0.006, 300.0, 20.0, 90.0, 0.04),
}
SAMPLES = {
    "unchanged": Sample(),
    "fades by 10 %": Sample(faded=0.1),
    "10 % less on the way down": Sample(step=-0.1),
    "onset 5 % higher on the way down": Sample(shifted=0.05),
}


def _wander(rel: float, time_s: float, at_s: Array, rng: np.random.Generator) -> Array:
    """A Gaussian process that forgets exponentially."""
    keep = np.exp(-np.diff(at_s, prepend=at_s[0]) / time_s)
    values = np.empty(at_s.size)
    last = rng.standard_normal()
    for i, k in enumerate(keep):
        last = k * last + np.sqrt(1 - k**2) * rng.standard_normal()
        values[i] = last
    return rel * values


def _jumps(size: float, time_s: float, at_s: Array, rng: np.random.Generator) -> Array:
    """Levels that are drawn anew after times of an exponential distribution: lamps, doors, new darks."""
    level = np.cumsum(rng.exponential(time_s, 200))
    return size * np.asarray(rng.standard_normal(201))[np.searchsorted(level, at_s)]


def light(u: Array, cv: float) -> Array:
    """Counts per pulse at fluences over the onset, averaged over the pulses' energies."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    pulse = u[:, None] * (1 + cv * nodes)
    over = np.maximum(pulse - 1, 0.0)
    each = COUNTS * (pulse**2 + CONTRAST * over / (1 + over / SATURATION))
    return np.asarray(each @ weights / weights.sum())


def simulated(bench: Bench, sample: Sample, points: int, rng: np.random.Generator) -> LightLight:
    """One sweep up and down."""
    up = np.geomspace(LOW, HIGH, points)
    wanted = np.concatenate([up, up[-2::-1]])
    n, place = wanted.size, np.arange(2 * points - 1)
    at_s = POINT_S * place.astype(np.float64)
    true = wanted * (1 + bench.set_rel * rng.standard_normal(n))
    dose = middle_dose(np.cumsum(PULSES * true))
    down = place >= points
    onset = ONSET * np.where(down, 1 + sample.shifted, 1.0)
    faded = (1 - sample.faded) ** (dose / dose[-1]) * np.where(down, 1 + sample.step, 1.0)
    # The luminescence is the same where only the onset has moved.
    lasing = light(true / onset, bench.pulse_cv) - COUNTS * (true / onset) ** 2
    clean = (COUNTS * (true / ONSET) ** 2 + lasing) * faded
    sigma = bench.signal_rel * clean + 0.3
    signal = clean + sigma * rng.standard_normal(n) + _jumps(bench.added_counts, bench.added_s, at_s, rng)
    unseen = _wander(bench.pickoff_rel, bench.pickoff_s, at_s, rng)
    read = true * (1 + unseen + bench.fluence_rel * rng.standard_normal(n))
    # Ten exposures tell their own scatter to a quarter.
    told = sigma * np.sqrt(rng.chisquare(9, n) / 9)
    return LightLight(read, wanted, np.full(n, bench.fluence_rel), signal, told, dose, np.zeros(n, np.bool_))


def _fit(curve: LightLight) -> ThresholdResult:
    return fit_threshold(
        curve.fluence_uj_cm2, curve.signal, fluence_sigma_rel=curve.typical_fluence_sigma_rel
    )


def _rows(trials: int, sizes: Sequence[int]) -> Iterator[tuple[object, ...]]:
    for bench_name, bench in BENCHES.items():
        for points in sizes:
            for name, sample in SAMPLES.items():
                rngs = (np.random.default_rng([points, i]) for i in range(trials))
                curves = (simulated(bench, sample, points, rng) for rng in rngs)
                found = [h for c in curves if (h := measure_hysteresis(c, _fit)) is not None]
                changes = (
                    [h.signal_change_rel for h in found],
                    [h.threshold_change_rel for h in found if h.threshold_change_rel is not None],
                )
                told = (f"{100 * np.mean(c):+.1f} +- {100 * np.std(c):.1f} %" for c in changes)
                flagged = f"{sum(bool(h.flags) for h in found)} of {len(found)}"
                yield (f"{bench_name}, {points}, {name}", flagged, *told)


def main() -> None:
    made = parser(__doc__, trials=200)
    made.add_argument("--points", type=int, nargs="*", default=[16], help="of one way")
    args = made.parse_args()
    heads = ("bench, points a way, sample", "flagged", "signal, down over up", "onset, down over up")
    show(table(heads, _rows(args.trials, args.points)))


if __name__ == "__main__":
    main()
