"""How well the calibrations' intervals hold, on scans of a bench simulated here with numpy alone.

    python -m benchmarks.accuracy.calibrations --seeds 1000
    python -m benchmarks.accuracy.calibrations --only "attenuator" --seeds 200

Coverage is that of the statistical 95 % intervals; "spread" the rms relative (or absolute) error, "sigma" the
median standard error stated, "bias" the mean error. The laser has noise from reading to reading, a slow
wander (Ornstein-Uhlenbeck) and a straight drift; the plate repeatability and play; the micrometer reading
errors.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from benchmarks.tables import rms, share, show
from benchmarks.trials import parser
from labctl.analysis.calibration.malus import fit_malus, fit_plate
from labctl.analysis.calibration.pickoff import fit_pickoff, pair_interleaved
from labctl.analysis.calibration.pulses import pulse_statistics
from labctl.analysis.calibration.spot import fit_knife_edge
from labctl.analysis.calibration.table import fit_table
from labctl.analysis.fading import fit_decay
from labctl.model.errors import CalibrationRefused
from labctl.model.results.sweep import Estimate

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Bench:
    """Flaws of a simulated bench; powers relative to the highest of a scan."""

    meter: float = 3e-4
    laser: float = 0.002
    slow: float = 0.003
    slow_s: float = 120.0
    drift_per_h: float = 0.01
    repeat_deg: float = 0.03
    play_deg: float = 0.02
    reading_um: float = 2.0
    sigmas: int | None = None

    def power(self, clean: Floats, times: Floats, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
        """Return readings, their stated standard errors, and the laser's level."""
        level = 1 + self.wander(times, rng)
        noisy = clean * level * (1 + self.laser * rng.standard_normal(clean.size))
        readings = noisy + self.meter * rng.standard_normal(clean.size)
        sigma = np.full(clean.size, self.meter)
        if self.sigmas:  # found from so many readings each, laser and all
            sigma = np.hypot(sigma, clean * self.laser)
            freedom = self.sigmas - 1
            sigma = sigma * np.sqrt(rng.chisquare(freedom, clean.size) / freedom)
        return readings, sigma, level

    def wander(self, times: Floats, rng: np.random.Generator) -> Floats:
        out = np.empty(times.size)
        value = float(rng.standard_normal())
        for i in range(times.size):
            keep = math.exp(-(times[i] - times[i - 1]) / self.slow_s) if i else 1.0
            value = keep * value + math.sqrt(1 - keep**2) * float(rng.standard_normal())
            out[i] = value
        drift = self.drift_per_h * float(rng.choice((-1, 1))) * (times - times.mean()) / 3600
        return np.asarray(self.slow * out + drift)


TYPICAL = Bench()
NASTY = Bench(
    meter=2e-3, laser=0.005, slow=0.01, slow_s=60.0, drift_per_h=0.04, repeat_deg=0.06, play_deg=0.1,
    reading_um=4.0,
)  # fmt: skip
Row = dict[str, tuple[bool, float, float]]
Trial = Callable[[int], Row]


def malus(bench: Bench, points: int, seed: int, *, given: bool, both: bool) -> Row:
    rng = np.random.default_rng([seed, points])
    zero, leak, top = rng.uniform(0, 90), rng.uniform(0.0005, 0.005), 10 ** rng.uniform(-6.5, -5)
    angle = np.linspace(rng.uniform(-30, 0), 95, points)
    side = np.ones(points)
    if both:
        angle, side = np.concatenate([angle, angle[::-1]]), np.repeat([1.0, -1.0], points)
    play = bench.play_deg if both else 0.0
    true = angle - 0.5 * play * side + bench.repeat_deg * rng.standard_normal(angle.size)
    clean = leak + (1 - leak) * np.cos(np.radians(2 * (true - zero))) ** 2
    power, sigma, level = bench.power(clean, 2.0 * np.arange(angle.size), rng)
    found = fit_malus(
        angle, top * power, top * sigma if given else None, readings=bench.sigmas,
        angle_sigma_deg=bench.repeat_deg if given else None, direction=side,
        time_s=2.0 * np.arange(angle.size),
    )  # fmt: skip
    at = rng.uniform(0, 90, 5)
    true_t = leak + (1 - leak) * np.cos(np.radians(2 * (at - zero))) ** 2
    row = {
        "zero, deg": normal((found.zero_deg - zero + 45) % 90 - 45, found.zero_sigma_deg),
        "leakage": within(leak, found.leakage_ci95, found.leakage - leak, found.leakage_sigma),
        "max power": normal(found.max_power_w / top / level.mean() - 1, found.max_power_sigma_w / top),
    }
    errors, sigmas = found.transmission(at) - true_t, found.transmission_sigma(at)
    for i in range(5):
        row[f"curve {i}"] = normal(errors[i], sigmas[i])
    if both and found.backlash_deg is not None and found.backlash_sigma_deg is not None:
        row["play, deg"] = normal(found.backlash_deg - play, found.backlash_sigma_deg)
    return row


def knife(bench: Bench, points: int, seed: int, *, given: bool, step_s: float) -> Row:
    rng = np.random.default_rng([seed, points])
    w, top = rng.uniform(60, 140), 10 ** rng.uniform(-6.5, -5)
    middle = 5000 + rng.uniform(-0.2, 0.2) * w
    x = 5000 + np.linspace(-1.8 * w, 1.8 * w, points)
    true = x + bench.reading_um * rng.standard_normal(points)
    clean = 0.5 * (1 + float(rng.choice((-1, 1))) * np.asarray(erf(math.sqrt(2) * (true - middle) / w)))
    times = step_s * np.arange(points)
    power, sigma, _ = bench.power(clean, times, rng)
    found = fit_knife_edge(
        x, top * power, top * sigma if given else None, readings=bench.sigmas, time_s=times,
        position_sigma_um=bench.reading_um if given else None,
    )  # fmt: skip
    return {
        "radius, rel": normal(found.w_um / w - 1, found.w_sigma_um / w),
        "centre, w": normal((found.centre_um - middle) / w, found.centre_sigma_um / w),
    }


def pickoff(bench: Bench, levels: int, visits: int, seed: int) -> Row:
    """One sensor carried to and fro, 40 s for each move; at the sample it shows far more than its noise."""
    rng = np.random.default_rng([seed, levels, visits])
    ratio, steps = rng.uniform(15, 40), np.geomspace(0.05, 1, levels)
    place = np.repeat(np.arange(2 * visits + 1) % 2, levels)
    times = np.repeat(np.arange(2 * visits + 1) * 40.0, levels) + 2.0 * np.arange(place.size)
    level = np.tile(np.arange(levels), 2 * visits + 1)
    clean = np.tile(steps, 2 * visits + 1) * np.where(place == 1, ratio, 1.0)
    power, sigma, _ = bench.power(clean, times, rng)
    pairs = pair_interleaved(times, place, level, 1e-6 * power, 1e-6 * sigma)
    found = fit_pickoff(
        pairs.pickoff_w, pairs.sample_w, pairs.pickoff_sigma_w, pairs.sample_sigma_w,
        stated_ratio=25.0, drift_sigma_rel=pairs.drift_sigma_rel,
    )  # fmt: skip
    return {
        "ratio, rel": normal(found.ratio / ratio - 1, found.ratio_sigma / ratio),
        "nonlinearity": normal(found.nonlinearity, found.nonlinearity_sigma),
    }


def table(bench: Bench, points: int, seed: int) -> Row:
    rng = np.random.default_rng([seed, points])
    angle, density = np.linspace(0, 270, points), rng.uniform(0.008, 0.012)
    clean = 10 ** (-density * (angle + bench.repeat_deg * rng.standard_normal(points)))
    power, sigma, _ = bench.power(clean, 2.0 * np.arange(points), rng)
    found = fit_table(angle, 1e-5 * power, 1e-5 * sigma, angle_sigma_deg=bench.repeat_deg)
    i = int(rng.integers(1, found.angle_deg.size))
    error = math.log(found.transmission[i]) + math.log(10) * density * found.angle_deg[i]
    return {"a knot, rel": normal(error, float(found.sigma_rel[i]))}


def plate(bench: Bench, each: int, seed: int) -> Row:
    rng = np.random.default_rng([seed, each])
    side = np.tile([1.0, -1.0], each)
    off = -0.5 * bench.play_deg * side + bench.repeat_deg * rng.standard_normal(2 * each)
    slope = -math.radians(2)
    quiet = replace(bench, slow=0.0)
    power, sigma, _ = quiet.power(0.5 + slope * off, 3.0 * np.arange(2 * each), rng)
    found = fit_plate(power, side, sigma, slope_w_per_deg=slope, laser_rel=bench.laser)
    ends = found.repeatability_ci95_deg
    error = found.repeatability_deg - bench.repeat_deg
    return {
        "play, deg": normal(found.backlash_deg - bench.play_deg, found.backlash_sigma_deg),
        "repeatability, deg": within(bench.repeat_deg, ends, error, found.repeatability_sigma_deg),
    }


def pulses(cv: float, noise: float, n: int, seed: int) -> Row:
    rng = np.random.default_rng([seed, n])
    energy = 1 + cv * rng.standard_normal(n) + noise * rng.standard_normal(n)
    found = pulse_statistics(1e-8 * energy, noise_j=1e-8 * noise, noise_sigma_rel=0.0)
    return {
        "mean, rel": normal(found.mean_j / 1e-8 - 1, found.mean_sigma_j / 1e-8),
        "pulse CV": normal(found.pulse_cv - cv, found.pulse_cv_sigma),
        "<F2>/<F>2": normal(found.two_photon_factor - 1 - cv**2, found.two_photon_factor_sigma),
    }


FADING: dict[str, tuple[Callable[[Floats], Floats], float, float]] = {
    "single": (lambda u: np.exp(-1.1 * u), 1 / 1.1, 1 / 1.1),
    "double": (
        lambda u: 0.45 * np.exp(-8 * u) + 0.55 * np.exp(-0.5 * u),
        0.45 / 8 + 0.55 * 2,
        (0.45 / 64 + 0.55 * 4) / (0.45 / 8 + 0.55 * 2),
    ),
    "stretched": (
        lambda u: np.exp(-((1.5 * u) ** 0.6)),
        math.gamma(1 / 0.6) / 0.9,
        math.gamma(2 / 0.6) / math.gamma(1 / 0.6) / 1.5,
    ),
}


def decay(kind: str, bench: Bench, points: int, seed: int, *, given: bool) -> Row:
    """An emission that grows as the square of the laser's power, over ten hours."""
    law, by_amplitude, by_intensity = FADING[kind]
    rng = np.random.default_rng([seed, points])
    t = np.linspace(60.0, 36000.0, points)
    level = 1 + replace(bench, drift_per_h=0.0).wander(t, rng)
    noise = 0.01 * rng.standard_normal(points)
    y = law(t / 36000) * level**2 * (1 + noise)
    found = fit_decay(t, y, 0.01 * np.abs(y) if given else None)
    left = float(law(np.ones(1))[0] / law(t[:1] / 36000)[0])
    row = {
        "retained, rel": estimate(found.retained, left),
        "without model": estimate(found.retained_free, left),
    }
    if found.amplitude_lifetime_s and found.intensity_lifetime_s:
        row["lifetime, ampl."] = estimate(found.amplitude_lifetime_s, 36000 * by_amplitude)
        row["lifetime, int."] = estimate(found.intensity_lifetime_s, 36000 * by_intensity)
    return row


def normal(error: float, sigma: float) -> tuple[bool, float, float]:
    return abs(error) <= 1.959964 * sigma, float(error), float(sigma)


def within(truth: float, ends: tuple[float, float], error: float, sigma: float) -> tuple[bool, float, float]:
    return ends[0] <= truth <= ends[1], error, sigma


def estimate(found: Estimate, truth: float) -> tuple[bool, float, float]:
    return found.low <= truth <= found.high, found.value / truth - 1, found.sigma / truth


def cases() -> Iterator[tuple[str, Trial, int]]:
    """Names, trials, and for how many times fewer seeds they are run."""
    few = replace(TYPICAL, sigmas=10)
    yield "attenuator, typical, 37 points", partial(malus, TYPICAL, 37, given=True, both=False), 1
    yield (
        "attenuator, typical, nothing given, 19 points",
        partial(malus, TYPICAL, 19, given=False, both=False),
        1,
    )
    yield "attenuator, typical, sigmas of 10 readings", partial(malus, few, 37, given=True, both=False), 1
    nasty = partial(malus, NASTY, 25, given=True, both=True)
    yield "attenuator, nasty, both ways, 2 x 25 points", nasty, 1
    yield "spot, typical, 25 points", partial(knife, TYPICAL, 25, given=True, step_s=3.0), 1
    yield "spot, typical, nothing given, 17 points", partial(knife, TYPICAL, 17, given=False, step_s=3.0), 1
    yield "spot, typical, by hand, 41 points", partial(knife, TYPICAL, 41, given=True, step_s=10.0), 1
    yield "spot, nasty, by hand, 31 points", partial(knife, NASTY, 31, given=True, step_s=10.0), 1
    yield "pick-off, typical, 10 levels, 1 visit", partial(pickoff, TYPICAL, 10, 1), 1
    yield "pick-off, nasty, 10 levels, 2 visits", partial(pickoff, NASTY, 10, 2), 1
    yield "graded wheel, typical, 40 points", partial(table, TYPICAL, 40), 1
    yield "mount, typical, 10 from each side", partial(plate, TYPICAL, 10), 1
    yield "mount, nasty, 10 from each side", partial(plate, NASTY, 10), 1
    yield "pulses, typical, 1000 of CV 1.5 %", partial(pulses, 0.015, 0.01, 1000), 1
    yield "pulses, nasty, 200 of CV 4 %", partial(pulses, 0.04, 0.02, 200), 1
    for kind in FADING:
        yield f"fading, {kind}, typical, 60 points", partial(decay, kind, TYPICAL, 60, given=True), 5
    yield "fading, stretched, nasty, 600 points", partial(decay, "stretched", NASTY, 600, given=False), 5


def report(name: str, trial: Trial, seeds: int) -> Iterator[str]:
    """Run a case and say what came of it."""
    refused, begin = 0, time.process_time()
    keys: dict[str, list[tuple[bool, float, float]]] = {}
    for seed in range(seeds):
        try:
            for key, value in trial(seed).items():
                keys.setdefault("curve at 5 angles" if key.startswith("curve") else key, []).append(value)
        except CalibrationRefused as error:
            refused += 1
            if refused <= 2:
                yield f"    refused: {error}"
    each = (time.process_time() - begin) / max(seeds - refused, 1) * 1e3
    yield f"{name}  ({seeds - refused} seeds, {refused} refused, {each:.0f} ms of CPU each)"
    for key, values in keys.items():
        covered, errors, sigmas = np.array(values).T
        yield (
            f"    {key:20s} covers {share(covered):5.1f} %   spread {rms(errors):9.3g}   "
            f"sigma {np.median(sigmas):9.3g}   bias {errors.mean():+9.2g}"
        )


def main() -> None:
    made = parser(__doc__, seeds=1000)
    made.add_argument("--only", default="", help="cases whose name begins so")
    args = made.parse_args()
    for name, trial, fewer in cases():
        if name.startswith(args.only):
            show(report(name, trial, max(args.seeds // fewer, 1)))


if __name__ == "__main__":
    main()
