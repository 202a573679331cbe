"""How good is the threshold? Bias, RMSE, coverage, widths, false alarms, power, time, adaptive sweeps.

    python -m benchmarks.accuracy.threshold --trials 500

Every line is a cell of its own seed. Coverage is printed with the median half-width of the interval beside
it: a wide interval covers cheaply. The acceptance table comes last, with the verdict on every bar measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.accuracy.threshold_acceptance import acceptance, read
from benchmarks.accuracy.threshold_adaptive import adaptive_table
from benchmarks.accuracy.threshold_truths import INSIDE, NULLS, OUTSIDE, Noise, Truth, scan
from benchmarks.tables import Array, head, line, share, show, table
from benchmarks.trials import parser
from labctl.analysis.threshold import ThresholdResult, fit_threshold

ONSETS_UJ_CM2 = (257.34, 79.81)
BENCH_NOISE = Noise()
SIZES = (8, 12, 16, 32)
CONTRASTS = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
HEADS = (
    "bias %", "RMSE %", "coverage %", "half-width %", "found %", "x-intercept RMSE %", "trimmed hinge RMSE %",
    "trials",
)  # fmt: skip


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

    bias: float
    rmse: float
    coverage: float
    half_width: float
    found: float
    naive_rmse: float
    trimmed_rmse: float
    trials: int

    def numbers(self) -> tuple[object, ...]:
        """Return what stands in a line of a table."""
        return (*(f"{getattr(self, name):.2f}" for name in Cell.__slots__[:-1]), self.trials)


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

    def root(x: Array) -> float:
        return float(100 * np.sqrt(np.mean(np.clip(x, -1, 1) ** 2))) if x.size else float("nan")

    if not found:
        nan = float("nan")
        return Cell(nan, nan, nan, nan, 0.0, root(naive), root(trimmed), len(outcomes))
    return Cell(
        float(100 * np.median(error)),
        root(error),
        share((ends[:, 0] <= 0) & (ends[:, 1] >= 0)),
        float(50 * np.median(ends[:, 1] - ends[:, 0])),
        100 * len(found) / len(outcomes),
        root(naive),
        root(trimmed),
        len(outcomes),
    )


Cells = Sequence[tuple[tuple[object, ...], Setting]]


def _table(title: str, labels: tuple[str, str], cells: Cells, trials: int) -> Iterator[str]:
    yield f"\n## {title}\n"
    rows = ((*names, *run(setting, trials, seed).numbers()) for seed, (names, setting) in enumerate(cells))
    yield from table((*labels, *HEADS), rows)


def _truths(
    title: str, truths: Sequence[Truth], sizes: Sequence[int], trials: int, *noise: float
) -> Iterator[str]:
    """Yield a table of truths by size; ``noise`` as in :class:`Noise`, that of the fluence declared."""
    made, declared = Noise(*noise), noise[3] if len(noise) > 3 else 0.0
    cells = [((t.name, n), Setting(t, n, made, declared_fluence=declared)) for n in sizes for t in truths]
    yield from _table(title, ("truth", "n"), cells, trials)


def accuracy(trials: int) -> Iterator[str]:
    title = "Truths in the library, 5 % multiplicative, shot and read noise"
    yield from _truths(title, INSIDE, (8, 16, 32), trials)
    yield from _truths("Truths outside the library", OUTSIDE, (8, 16, 32), trials)


def fluence_noise(trials: int) -> Iterator[str]:
    title = "2 % point-to-point fluence noise, declared"
    yield from _truths(title, INSIDE, (16, 32), trials, 0.05, 1.0, 10.0, 0.02)


def quiet_bench(trials: int) -> Iterator[str]:
    every = (*INSIDE, *OUTSIDE)
    title = "24 points, 1 % multiplicative noise, 1 % fluence noise declared"
    yield from _truths(title, every, (24,), trials, 0.01, 0.05, 1.0, 0.01)
    yield from _truths("24 points, 0.5 % multiplicative noise", every, (24,), trials, 0.005, 0.02, 0.5)


def contrasts(trials: int) -> Iterator[str]:
    truths = [t for t in INSIDE if t.name in ("hinge", "S-curve 0.01", "two-photon spot")]
    cells = [((t.name, c), Setting(t, 16, contrast=c)) for t in truths for c in CONTRASTS]
    title = "Contrast: lasing slope over luminescence at the onset, n = 16"
    yield from _table(title, ("truth", "contrast"), cells, trials)


def grids(trials: int) -> Iterator[str]:
    hinge = INSIDE[0]
    cells: list[tuple[tuple[object, ...], Setting]] = [
        ((f"baseline {b:g}", 16), Setting(hinge, 16, baseline=b)) for b in (0.0, 1000.0)
    ]
    cells += [
        ((s, n), Setting(hinge, n, spread=s)) for s in ("linear", "few above", "random") for n in (12, 24)
    ]
    cells += [(("log", n), Setting(hinge, n)) for n in (7, 10, 64)]
    yield from _table("Baselines, coarse and lopsided grids, hinge", ("grid", "n"), cells, trials)


def false_alarms(trials: int) -> Iterator[str]:
    yield "\n## Threshold found where there is none, %\n"
    yield head("data", "n = 8", "12", "16", "32", "trials each")
    for k, (name, curve) in enumerate(NULLS.items()):
        shares = []
        for n in SIZES:
            rng = np.random.default_rng([7, k, n])
            scans = (scan(n, rng) for _ in range(trials))
            found = [fit_threshold(80.0 * u, Noise().measure(curve, u, rng)).status == "found" for u in scans]
            shares.append(f"{share(found):.2f}")
        yield line(name, *shares, trials)
    for wander in (0.002, 0.005, 0.01, 0.02):
        shares = [f"{100 * _wandering(n, wander, trials):.2f}" for n in SIZES]
        yield line(f"F^2, 0.15 % noise, {100 * wander:g} % wander", *shares, trials)


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
    yield head("truth", "contrast", "n = 8", "12", "16", "32", "n = 12 to 1.3 onset", "trials each")
    for truth in (INSIDE[0], INSIDE[5]):
        for contrast in CONTRASTS:
            settings = [Setting(truth, n, contrast=contrast) for n in SIZES]
            settings.append(Setting(truth, 12, contrast=contrast, high=1.3))
            shares = [f"{_detected(s, trials):.1f}" for s in settings]
            yield line(truth.name, f"{contrast:g}", *shares, trials)


def _detected(setting: Setting, trials: int) -> float:
    rng = np.random.default_rng([11, setting.n])
    results = (fit_threshold(*setting.sweep(rng, 79.81)) for _ in range(trials))
    return share([r.status == "found" or "edge" in r.flags for r in results])


def speed(trials: int) -> Iterator[str]:
    yield "\n## Processor time of one full fit, ms, and change of threshold under F -> kF, y -> cy\n"
    yield head("n", "median", "p99", "largest relative change", "trials")
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
        yield line(n, f"{middle:.1f}", f"{slowest:.1f}", f"{change:.1e}", len(spent))


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
    made = parser(__doc__, trials=500)
    made.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; all of them if none is named")
    args = made.parse_args()
    if unknown := set(args.sections) - set(SECTIONS):
        made.error(f"no section is called {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    printed = show(text for name in args.sections or SECTIONS for text in SECTIONS[name](args.trials))
    show(acceptance(read(printed)))


if __name__ == "__main__":
    main()
