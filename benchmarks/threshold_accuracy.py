"""How good is the threshold? Bias, RMSE, coverage, widths, false alarms, power, time, adaptive sweeps.

    python benchmarks/threshold_accuracy.py --trials 500

Every line is a cell of its own seed. Coverage is printed with the median half-width of the interval beside
it: a wide interval covers cheaply. The acceptance table comes last, with the verdict on every bar measured.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from threshold_acceptance import acceptance, read
from threshold_adaptive import table as adaptive_table
from threshold_cells import Setting, run
from threshold_truths import INSIDE, NULLS, OUTSIDE, Noise, scan

from labctl.analysis.threshold import fit_threshold

Cells = Sequence[tuple[tuple[object, ...], Setting]]
HEAD = (
    "| {} | bias % | RMSE % | coverage % | half-width % | found % "
    "| x-intercept RMSE % | trimmed hinge RMSE % | trials |"
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


def adaptive_sweeps(trials: int) -> Iterator[str]:
    yield "\n## Adaptive sweeps\n"
    # A sweep takes dozens of fits, and its numbers are medians of integers: a fifth of the trials will do.
    yield from adaptive_table(max(trials // 5, 1), (0, 2))


SECTIONS: dict[str, Callable[[int], Iterator[str]]] = {
    "accuracy": accuracy,
    "fluence": fluence_noise,
    "quiet": quiet_bench,
    "contrast": contrasts,
    "grids": grids,
    "false": false_alarms,
    "power": power,
    "speed": speed,
    "adaptive": adaptive_sweeps,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; all of them if none is named")
    args = parser.parse_args()
    if unknown := set(args.sections) - set(SECTIONS):
        parser.error(f"no section is called {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    printed: list[str] = []
    for name in args.sections or SECTIONS:
        for line in SECTIONS[name](args.trials):
            print(line, flush=True)
            printed += line.strip("\n").splitlines()
    for line in acceptance(read(printed)):
        print(line, flush=True)


if __name__ == "__main__":
    main()
