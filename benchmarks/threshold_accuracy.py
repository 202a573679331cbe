"""How good is the threshold? Bias, RMSE, coverage, widths, false alarms, power, time.

    python benchmarks/threshold_accuracy.py --trials 500

Every line is a cell of its own seed. Coverage is printed with the median half-width of the interval beside
it: a wide interval covers cheaply.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threshold_truths import INSIDE, NULLS, OUTSIDE, Noise, Truth, scan

from labctl.analysis.threshold import ThresholdResult, fit_threshold

Array = NDArray[np.float64]
ONSETS_UJ_CM2 = (257.34, 79.81)
BENCH_NOISE = Noise()


@dataclass(frozen=True, slots=True)
class Setting:
    """One cell: what is measured and how."""

    truth: Truth
    n: int
    noise: Noise = BENCH_NOISE
    contrast: float = 20.0
    baseline: float = 100.0
    declared_fluence: float = 0.0
    spread: str = "log"
    high: float | None = None

    def sweep(self, rng: np.random.Generator, onset: float) -> tuple[Array, Array]:
        """Draw one sweep: fluence in uJ/cm2 and counts."""
        u = scan(self.n, rng)
        if self.high is not None:
            u = np.geomspace(u[0], self.high, self.n)
        if self.spread == "linear":
            u = np.linspace(u[0], u[-1], self.n)
        elif self.spread == "few above":
            u = np.concatenate([np.geomspace(u[0], 1.02, self.n - 4), np.geomspace(1.15, u[-1], 4)])
        elif self.spread == "random":
            u = np.exp(np.sort(rng.uniform(np.log(u[0]), np.log(u[-1]), self.n)))
        signal = self.noise.measure(lambda v: self.truth.signal(v, self.contrast, self.baseline), u, rng)
        return onset * u, signal


@dataclass(frozen=True, slots=True)
class Cell:
    """Outcome of a cell; relative numbers in per cent, over the sweeps with status found."""

    found: float
    bias: float
    rmse: float
    coverage: float
    half_width: float
    naive_rmse: float
    trimmed_rmse: float
    bound_right: float
    trials: int

    def row(self, *labels: object) -> str:
        """Write as a line of a table."""
        numbers = (
            self.bias,
            self.rmse,
            self.coverage,
            self.half_width,
            self.found,
            self.naive_rmse,
            self.trimmed_rmse,
        )
        return "| " + " | ".join([*map(str, labels), *(f"{x:.2f}" for x in numbers), str(self.trials)]) + " |"


Cells = Sequence[tuple[tuple[object, ...], Setting]]
HEAD = (
    "| {} | bias % | RMSE % | coverage % | half-width % | found % "
    "| x-intercept RMSE % | trimmed hinge RMSE % | trials |"
)


def trimmed_hinge(f: Array, y: Array) -> float:
    """The field's other habit: unweighted continuous hinge, points that fall behind a line above dropped."""
    best, keep = np.inf, np.ones(f.size, bool)
    answer = float("nan")
    for _ in range(2):
        best = np.inf
        for t in np.linspace(np.sort(f)[1], np.sort(f)[-2], 60):
            columns = np.stack([np.ones(f.size), f, np.maximum(f - t, 0)], axis=1)
            beta, *_ = np.linalg.lstsq(columns[keep], y[keep], rcond=None)
            rss = float(((y - columns @ beta)[keep] ** 2).sum())
            if rss < best:
                best, answer, fit = rss, float(t), columns @ beta
        keep = (f < answer) | (y > 0.93 * fit)
        if keep.sum() < 6:
            break
    return answer


def run(setting: Setting, trials: int, seed: int, *, compare: bool = True) -> Cell:
    """Simulate one cell, alternating between the two nominal onsets."""
    rng = np.random.default_rng([seed, setting.n])
    outcomes: list[tuple[float, ThresholdResult]] = []
    naive, trimmed = [], []
    for i in range(trials):
        onset = ONSETS_UJ_CM2[i % 2]
        f, y = setting.sweep(rng, onset)
        result = fit_threshold(
            f, y, fluence_sigma_rel=setting.declared_fluence, photon_order=setting.truth.photon_order
        )
        outcomes.append((onset, result))
        if compare:
            top = f > onset * 1.05
            if top.sum() >= 2:
                slope, offset = np.polyfit(f[top], y[top], 1)
                naive.append(-offset / slope / onset - 1)
            if i < 100:
                trimmed.append(trimmed_hinge(f, y) / onset - 1)
    return _cell(outcomes, np.array(naive), np.array(trimmed))


def _cell(outcomes: list[tuple[float, ThresholdResult]], naive: Array, trimmed: Array) -> Cell:
    found = [(o, r) for o, r in outcomes if r.threshold_uj_cm2 is not None and r.ci95 is not None]
    error = np.array([(r.threshold_uj_cm2 or 0) / o - 1 for o, r in found])
    ends = np.array([[x / o - 1 for x in (r.ci95 or (0, 0))] for o, r in found]).reshape(-1, 2)
    sided = [(o, r.bound) for o, r in outcomes if r.bound is not None]
    right = [(lo is None or lo <= o) and (hi is None or o <= hi) for o, (lo, hi) in sided]

    def root(x: Array) -> float:
        return float(100 * np.sqrt(np.mean(np.clip(x, -1, 1) ** 2))) if x.size else float("nan")

    if not found:
        return Cell(0.0, *(float("nan"),) * 4, root(naive), root(trimmed), float("nan"), len(outcomes))
    return Cell(
        100 * len(found) / len(outcomes),
        float(100 * np.median(error)),
        root(error),
        float(100 * np.mean((ends[:, 0] <= 0) & (ends[:, 1] >= 0))),
        float(50 * np.median(ends[:, 1] - ends[:, 0])),
        root(naive),
        root(trimmed),
        float(100 * np.mean(right)) if right else float("nan"),
        len(outcomes),
    )


def accuracy(trials: int) -> Iterator[str]:
    yield "\n## Truths in the library, 5 % multiplicative, shot and read noise\n"
    yield from _table(
        "truth | n", [((t.name, n), Setting(t, n)) for n in (8, 16, 32) for t in INSIDE], trials
    )
    yield "\n## Truths outside the library\n"
    yield from _table(
        "truth | n", [((t.name, n), Setting(t, n)) for n in (8, 16, 32) for t in OUTSIDE], trials
    )


def fluence_noise(trials: int) -> Iterator[str]:
    yield "\n## 2 % point-to-point fluence noise, declared\n"
    noise = Noise(fluence_rel=0.02)
    cells = [((t.name, n), Setting(t, n, noise, declared_fluence=0.02)) for n in (16, 32) for t in INSIDE]
    yield from _table("truth | n", cells, trials)


def quiet_bench(trials: int) -> Iterator[str]:
    yield "\n## 24 points, 1 % multiplicative noise, 1 % fluence noise declared\n"
    noise = Noise(multiplicative=0.01, gain=0.05, read_counts=1.0, fluence_rel=0.01)
    cells = [((t.name, 24), Setting(t, 24, noise, declared_fluence=0.01)) for t in (*INSIDE, *OUTSIDE)]
    yield from _table("truth | n", cells, trials)
    yield "\n## 24 points, 0.5 % multiplicative noise\n"
    noise = Noise(multiplicative=0.005, gain=0.02, read_counts=0.5)
    cells = [((t.name, 24), Setting(t, 24, noise)) for t in (*INSIDE, *OUTSIDE)]
    yield from _table("truth | n", cells, trials)


def contrasts(trials: int) -> Iterator[str]:
    yield "\n## Contrast: lasing slope over luminescence at the onset, n = 16\n"
    names = ("hinge", "S-curve 0.01", "two-photon spot")
    truths = [t for t in INSIDE if t.name in names]
    cells = [
        ((t.name, c), Setting(t, 16, contrast=c)) for t in truths for c in (2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
    ]
    yield from _table("truth | contrast", cells, trials)


def grids(trials: int) -> Iterator[str]:
    yield "\n## Baselines, coarse and lopsided grids, hinge\n"
    hinge = INSIDE[0]
    cells: list[tuple[tuple[object, ...], Setting]] = [
        ((f"baseline {b:g}", 16), Setting(hinge, 16, baseline=b)) for b in (0.0, 1000.0)
    ]
    cells += [
        ((s, n), Setting(hinge, n, spread=s)) for s in ("linear", "few above", "random") for n in (12, 24)
    ]
    cells += [(("log", n), Setting(hinge, n)) for n in (7, 10, 64)]
    yield from _table("grid | n", cells, trials)


def _table(labels: str, cells: Cells, trials: int) -> Iterator[str]:
    head = HEAD.format(labels)
    yield head
    yield "|" + " --- |" * (head.count("|") - 1)
    for seed, (names, setting) in enumerate(cells):
        yield run(setting, trials, seed).row(*names)


def false_alarms(trials: int) -> Iterator[str]:
    yield "\n## Threshold found where there is none, %\n"
    yield "| data | n = 8 | 12 | 16 | 32 | trials each |"
    yield "|" + " --- |" * 6
    for k, (name, curve) in enumerate(NULLS.items()):
        shares = []
        for n in (8, 12, 16, 32):
            rng = np.random.default_rng([7, k, n])
            hits = 0
            for _ in range(trials):
                u = scan(n, rng)
                hits += fit_threshold(80.0 * u, Noise().measure(curve, u, rng)).status == "found"
            shares.append(100 * hits / trials)
        yield f"| {name} | " + " | ".join(f"{s:.2f}" for s in shares) + f" | {trials} |"
    for wander in (0.002, 0.005, 0.01, 0.02):
        row = " | ".join(f"{100 * _wandering(n, wander, trials):.2f}" for n in (8, 12, 16, 32))
        yield f"| F^2, 0.15 % noise, {100 * wander:g} % wander | {row} | {trials} |"


def _wandering(n: int, wander: float, trials: int) -> float:
    """Share of "found" on a quiet bench whose neighbouring points err together (correlation 0.7)."""
    rng = np.random.default_rng([8, n, round(1e4 * wander)])
    hits = 0
    for _ in range(trials):
        u, chance = scan(n, rng), rng.standard_normal(n)
        for i in range(1, n):
            chance[i] = 0.7 * chance[i - 1] + np.sqrt(0.51) * chance[i]
        signal = 400.0 * u**2 * (1 + wander * chance) * (1 + 0.0015 * rng.standard_normal(n))
        hits += fit_threshold(80.0 * u, signal, fluence_sigma_rel=0.001).status == "found"
    return hits / trials


def power(trials: int) -> Iterator[str]:
    yield "\n## Kink detected, % (found, or a one-sided bound from a kink at the edge)\n"
    yield "| truth | contrast | n = 8 | 12 | 16 | 32 | n = 12 to 1.3 onset | trials each |"
    yield "|" + " --- |" * 8
    for truth in (INSIDE[0], INSIDE[5]):
        for contrast in (2.0, 5.0, 10.0, 20.0, 50.0, 100.0):
            settings = [Setting(truth, n, contrast=contrast) for n in (8, 12, 16, 32)]
            settings.append(Setting(truth, 12, contrast=contrast, high=1.3))
            shares = [_detected(s, trials) for s in settings]
            yield (
                f"| {truth.name} | {contrast:g} | "
                + " | ".join(f"{s:.1f}" for s in shares)
                + f" | {trials} |"
            )


def _detected(setting: Setting, trials: int) -> float:
    rng = np.random.default_rng([11, setting.n])
    hits = 0
    for _ in range(trials):
        result = fit_threshold(*setting.sweep(rng, 79.81))
        hits += result.status == "found" or "edge" in result.flags
    return 100 * hits / trials


def speed(trials: int) -> Iterator[str]:
    yield "\n## Processor time of one full fit, ms, and change of threshold under F -> kF, y -> cy\n"
    yield "| n | median | p99 | largest relative change | trials |"
    yield "|" + " --- |" * 5
    for n in (16, 32, 64):
        rng, spent, change = np.random.default_rng(n), [], 0.0
        for _ in range(max(trials // 5, 20)):
            f, y = Setting(INSIDE[0], n).sweep(rng, 79.81)
            start = time.process_time()
            one = fit_threshold(f, y)
            spent.append(1e3 * (time.process_time() - start))
            k, c = np.exp(rng.uniform(-7, 7, 2))
            other = fit_threshold(k * f, c * y)
            if one.threshold_uj_cm2 and other.threshold_uj_cm2:
                change = max(change, abs(other.threshold_uj_cm2 / k / one.threshold_uj_cm2 - 1))
        middle, slowest = np.quantile(spent, [0.5, 0.99])
        yield f"| {n} | {middle:.1f} | {slowest:.1f} | {change:.1e} | {len(spent)} |"


SECTIONS: dict[str, Callable[[int], Iterator[str]]] = {
    "accuracy": accuracy,
    "fluence": fluence_noise,
    "quiet": quiet_bench,
    "contrast": contrasts,
    "grids": grids,
    "false": false_alarms,
    "power": power,
    "speed": speed,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], default=list(SECTIONS))
    args = parser.parse_args()
    for name in args.sections:
        for line in SECTIONS[name](args.trials):
            print(line, flush=True)


if __name__ == "__main__":
    main()
