"""How near to the best possible? labctl beside an oracle that knows the noise, on the same trials.

    python -m benchmarks.accuracy.oracle --trials 500 --seed 1 --jobs 2

The oracle is told the exact noise of every point. Its threshold is log-uniform over the scan, its
coefficients (baseline, luminescence and excess at the brightest point) are flat above zero, and every shape
of labctl's library weighs the same. It states the posterior mean and a 95 % interval for every run. Its
detection is the likelihood-ratio test of the whole library against kink-free curves, with the false alarms
that labctl has on the same kink-free sweeps. Nobody who is not told the curve does better on average over
the library; on one truth alone, an estimator that leans towards it can.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import ndtr, owens_t

from benchmarks.accuracy.threshold import Setting
from benchmarks.accuracy.threshold_null_table import WORST as KINDS
from benchmarks.accuracy.threshold_truths import INSIDE, NULLS, OUTSIDE, Noise, s_curve, scan
from benchmarks.tables import Array, rms, share, show, table
from benchmarks.trials import found, parser
from labctl.analysis.threshold import fit_threshold
from labctl.analysis.threshold.diagnostics import fit_null, null_columns
from labctl.analysis.threshold.shapes import LN_U_MAX, STEP, Smear, library
from labctl.analysis.threshold.sweep_data import prepare

TRUTHS = {t.name: t for t in (*INSIDE, *OUTSIDE)}
NOISES = {"5 %": Noise(), "2 %": Noise(0.02, 0.15, 3.0), "0.5 %": Noise(0.005, 0.02, 0.5)}
BETA_NOISES = {**NOISES, "1 %": Noise(0.01, 0.05, 1.0)}
SIZES = (8, 16, 32)
ONSET_UJ_CM2 = 79.81
NODES, PASSES, WORTH = 96, 4, 30.0
# Second over first excess of the mixed shapes: a sum, a curvature (over the most it may fall), a second kink.
RATIOS = {
    0: (0.0,),
    1: (0.05, 0.2, 1.0, 5.0, 20.0),
    2: (-0.9, -0.5, 0.0, 0.5, 1.0),
    3: (-0.6, 1.0, 3.0, 9.0, 19.0),
}
# Warnings that say "this interval may miss"; the others name something else.
WARNINGS = {"misfit", "outlier", "few_above", "drift", "exponent", "hysteresis", "lines_below", "second_kink"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the oracle says of a sweep: ln threshold, its 95 % interval, likelihood-ratio statistic."""

    ln_t: float
    low: float
    high: float
    statistic: float


@cache
def shapes_of(order: int) -> tuple[Array, Array]:
    """Return the library as (2, R, node) tables, one row a shape or a fixed mixture, and their weights."""
    known = library(order)
    lum, gain, weight = [], [], []
    for k, mixing in enumerate(known.mixing):
        first, second = known.tables[1, k], known.tables[2, k]
        ratios = RATIOS[int(mixing)]
        for c in ratios:
            # A negative curvature is taken as far as the excess still rises at three onsets.
            cap = 0.5 / float(np.interp(np.log(3.0), _nodes(known.tables.shape[2]), first))
            scaled = c * cap if c < 0 and mixing == 2 else c
            lum.append(known.tables[0, k])
            gain.append(first + scaled * second)
            weight.append(1.0 / len(ratios))
    return np.stack([np.stack(lum), np.stack(gain)]), np.array(weight)


def _nodes(n: int) -> Array:
    return np.linspace(-LN_U_MAX, LN_U_MAX, n)


def _columns(tables: Array, ln_u: Array) -> Array:
    at = np.clip((ln_u + LN_U_MAX) / STEP, 0, tables.shape[-1] - 1.001)
    node = at.astype(np.intp)
    low = tables[:, :, node]
    return np.asarray(low + (at - node) * (tables[:, :, node + 1] - low))


def _both_positive(h: Array, k: Array, rho: Array) -> Array:
    """Chance that two standard normals with correlation ``rho`` lie above ``-h`` and ``-k``."""
    h, k = (np.where(np.abs(x) < 1e-9, 1e-9, x) for x in (h, k))
    root = np.sqrt(np.maximum(1.0 - rho**2, 1e-12))
    owen = owens_t(h, (k - rho * h) / (h * root)) + owens_t(k, (h - rho * k) / (k * root))
    return np.clip(0.5 * (ndtr(h) + ndtr(k)) - owen - np.where(h * k < 0, 0.5, 0.0), 0.0, 1.0)


_GAUSS, _GAUSS_WEIGHT = np.polynomial.legendre.leggauss(16)


def _all_positive(mean: Array, cov: Array) -> Array:
    """Chance that three normals of mean (m, 3) and covariance (m, 3, 3) are all positive."""
    sd = np.sqrt(cov[:, 2, 2])
    low, high = np.maximum(mean[:, 2] - 6 * sd, 0.0), np.maximum(mean[:, 2] + 6 * sd, 0.0)
    x = 0.5 * (low + high)[:, None] + 0.5 * (high - low)[:, None] * _GAUSS
    z = (x - mean[:, 2:]) / sd[:, None]
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) / sd[:, None]
    tilt = cov[:, :2, 2] / cov[:, 2, 2][:, None]
    left = cov[:, :2, :2] - tilt[:, :, None] * cov[:, 2, None, :2]
    sds = np.sqrt(np.maximum(np.einsum("mii->mi", left), 1e-300))
    at = (mean[:, :2, None] + tilt[:, :, None] * (x - mean[:, 2:])[:, None]) / sds[:, :, None]
    rho = np.clip(left[:, 0, 1] / (sds[:, 0] * sds[:, 1]), -1 + 1e-9, 1 - 1e-9)
    both = _both_positive(at[:, 0], at[:, 1], rho[:, None])
    return np.asarray(0.5 * (high - low) * ((density * both) @ _GAUSS_WEIGHT))


def _solve(columns: Array, y: Array, sigma: Array) -> tuple[Array, Array, Array, Array]:
    """Least squares of y on (1, lum, gain): chi square, solution and covariance of every cell, and ln det."""
    w = 1.0 / sigma**2
    normal, right = np.empty((*columns.shape[1:3], 3, 3)), np.empty((*columns.shape[1:3], 3))
    sums, right[..., 0] = columns @ w, w @ y
    weighted = columns[1] * w
    entries = {
        (0, 0): w.sum(), (0, 1): sums[0], (0, 2): sums[1], (1, 1): (columns[0] ** 2) @ w,
        (1, 2): (columns[0] * weighted).sum(-1), (2, 2): (columns[1] * weighted).sum(-1),
    }  # fmt: skip
    right[..., 1:] = np.moveaxis(columns @ (w * y), 0, -1)
    for (i, j), value in entries.items():
        normal[..., i, j] = normal[..., j, i] = value
    # Flat as far as the signal goes: an excess beyond it is nowhere possible.
    normal[..., [0, 1, 2], [0, 1, 2]] += 1.0 / (3.0 * float(np.abs(y).max())) ** 2
    cross = np.cross(normal[..., [1, 2, 0], :], normal[..., [2, 0, 1], :])
    det = (normal[..., 0, :] * cross[..., 0, :]).sum(-1)
    cov = cross / det[..., None, None]
    solution = (cov @ right[..., None])[..., 0]
    chi2 = float(w @ y**2) - (solution * right).sum(-1)
    return chi2, solution, cov, np.log(det)


def judge(ln_f: Array, y: Array, sigma: Array, order: int) -> Verdict:
    """Say what the oracle says of one sweep; ``sigma`` is the exact standard error of each signal."""
    tables, weight = shapes_of(order)
    low, high = float(ln_f.min()), float(ln_f.max())
    edge, best = (low, high), np.inf
    for step in range(PASSES):
        ln_t = np.linspace(*edge, NODES)
        columns = _columns(tables, ln_f[None, :] - ln_t[:, None])
        top = np.maximum(columns.max(axis=-1, keepdims=True), 1e-12)
        chi2, solution, cov, ln_det = _solve(columns / top, y, sigma)
        # Bounded below what the signs allow: a cell whose best solution has them costs nothing.
        evidence = np.full(chi2.shape, -np.inf)
        usable = np.isfinite(chi2) & (chi2 < np.nanmin(chi2) + WORTH)
        sure = (solution > 5.0 * np.sqrt(np.einsum("...ii->...i", cov))).all(axis=-1)
        positive = np.ones(chi2.shape)
        positive[usable & ~sure] = _all_positive(solution[usable & ~sure], cov[usable & ~sure])
        with np.errstate(divide="ignore"):
            evidence[usable] = -0.5 * chi2[usable] - 0.5 * ln_det[usable] + np.log(positive[usable])
        signed = usable & (solution[..., 1] >= 0) & (solution[..., 2] > 0)
        if signed.any():
            best = min(best, float(chi2[signed].min()))
        evidence += np.log(weight)[:, None]
        profile = evidence.max(axis=0)
        inside = np.flatnonzero(profile > profile.max() - (30.0 if step == 0 else 12.0))
        ends = (ln_t[max(inside[0] - 1, 0)], ln_t[min(inside[-1] + 1, NODES - 1)])
        if step == PASSES - 1 or ends[1] - ends[0] > 0.6 * (edge[1] - edge[0]):
            break
        edge = ends
    chance = np.exp(evidence - evidence.max()).sum(axis=0)
    chance /= chance.sum()
    cumulative = np.cumsum(chance) - 0.5 * chance
    left, right = np.interp([0.025, 0.975], cumulative, ln_t)
    data = prepare(np.exp(ln_f), y, None)
    null = fit_null(y, 1.0 / sigma**2, null_columns(data))[0].min()
    return Verdict(float(chance @ ln_t), float(left), float(right), max(float(null) - best, 0.0))


@dataclass(frozen=True, slots=True)
class Cell:
    """A truth (or a kink-free curve) at a size and a noise, its sweeps drawn from its own seed."""

    name: str
    n: int
    noise: str
    trials: int
    seed: int

    @property
    def order(self) -> int:
        """Photon order that is declared."""
        return TRUTHS[self.name].photon_order if self.name in TRUTHS else 2

    def sweeps(self) -> Iterator[tuple[Array, Array, Array]]:
        """Yield fluence over the onset, signal and its exact standard error."""
        noise = NOISES[self.noise]
        rng = np.random.default_rng([self.seed, self.n, sum(map(ord, self.name + self.noise))])
        for _ in range(self.trials):
            if self.name in TRUTHS:
                truth = TRUTHS[self.name]
                u, y = Setting(truth, self.n, noise).sweep(rng, 1.0)
                mean = truth.signal(u)
            else:
                u = scan(self.n, rng)
                mean = NULLS[self.name](u)
                y = noise.measure(NULLS[self.name], u, rng)
            variance = (noise.multiplicative * mean) ** 2 + noise.gain * np.maximum(mean, 0.0)
            yield u, y, np.sqrt(variance + noise.read_counts**2)


@dataclass(frozen=True, slots=True)
class Judged:
    """Outcome of a cell, one row a sweep; logarithms over the true onset, nan where labctl states none.

    :ivar ours: number and ends of the interval, shape (trial, 3); ``theirs`` those of the oracle.
    :ivar statistic: of the oracle's likelihood-ratio test, shape (trial,).
    :ivar warned: whether a flag or a sentence says that the interval may miss.
    """

    cell: Cell
    ours: Array
    theirs: Array
    statistic: Array
    warned: Array


def judged(cell: Cell) -> Judged:
    """Judge every sweep of a cell by labctl and by the oracle."""
    ours, theirs, statistic, warned = [], [], [], []
    for u, y, sigma in cell.sweeps():
        r = fit_threshold(ONSET_UJ_CM2 * u, y, photon_order=cell.order)
        stated = (r.threshold_uj_cm2, *(r.ci95 or (None, None)))
        ours.append([np.nan if x is None else np.log(x / ONSET_UJ_CM2) for x in stated])
        verdict = judge(np.log(u), y, sigma, cell.order)
        theirs.append([verdict.ln_t, verdict.low, verdict.high])
        statistic.append(verdict.statistic)
        warned.append(float(bool(WARNINGS.intersection(r.flags))))
    return Judged(cell, np.array(ours), np.array(theirs), np.array(statistic), np.array(warned))


def cutoffs(outcomes: Sequence[Judged]) -> dict[int, tuple[float, float, int]]:
    """For each size: labctl's false alarms in per cent, the oracle's cut with as many, and the trials."""
    found_at: dict[int, tuple[float, float, int]] = {}
    for n in {o.cell.n for o in outcomes}:
        own = [o for o in outcomes if o.cell.n == n]
        false = np.concatenate([np.isfinite(o.ours[:, 0]) for o in own])
        statistic = np.sort(np.concatenate([o.statistic for o in own]))[::-1]
        # At least one: a rarer alarm than one in all trials cannot be measured here.
        found_at[n] = (share(false), float(statistic[max(int(false.sum()), 1)]), false.size)
    return found_at


HEADS = (
    "truth", "noise", "n", "RMSE %, oracle's", "ratio", "coverage %, oracle's", "half-width %, oracle's",
    "interval stated %, oracle's test", "silent misses %", "trials",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """What a cell comes to, in per cent."""

    outcome: Judged
    cut: float

    def numbers(self) -> dict[str, float]:
        """Return numbers by name; labctl's over the runs with an interval, the oracle's over all."""
        o = self.outcome
        stated = np.isfinite(o.ours[:, 0])
        own, known = o.ours[stated], o.theirs
        covers = (own[:, 1] <= 0) & (own[:, 2] >= 0)
        none = float("nan")
        silent = np.zeros(stated.size)
        silent[stated] = ~covers & ~o.warned[stated].astype(bool)
        return {
            "rmse": 100 * rms(own[:, 0]) if own.size else none,
            "rmse_oracle": 100 * rms(known[:, 0]),
            "coverage": share(covers) if own.size else none,
            "coverage_oracle": share((known[:, 1] <= 0) & (known[:, 2] >= 0)),
            "width": float(50 * np.median(own[:, 2] - own[:, 1])) if own.size else none,
            "width_oracle": float(50 * np.median(known[:, 2] - known[:, 1])),
            "stated": share(stated),
            "detected": share(o.statistic > self.cut),
            "silent": share(silent),
        }

    def missed(self) -> list[str]:
        """Return which bars the cell misses, by a word each."""
        x = self.numbers()
        spread = 100 * np.sqrt(0.95 * 0.05 / max(x["stated"] / 100 * self.outcome.cell.trials, 1.0))
        return [
            word
            for word, fails in (
                ("RMSE", x["rmse"] > 1.2 * x["rmse_oracle"]),
                # Two standard errors of what so few trials can tell are forgiven.
                ("coverage", x["coverage"] < 92.0 - 2 * spread),
                ("width", x["width"] > max(1.3 * x["width_oracle"], 0.6)),
                ("stated", x["stated"] < 0.95 * x["detected"]),
                ("silent", x["silent"] > 3.0),
            )
            if fails
        ]

    def cells(self) -> tuple[object, ...]:
        """Return the line of a table."""
        x, cell = self.numbers(), self.outcome.cell
        return (
            cell.name, cell.noise, cell.n, f"{x['rmse']:.2f}, {x['rmse_oracle']:.2f}",
            f"{x['rmse'] / x['rmse_oracle']:.2f}", f"{x['coverage']:.0f}, {x['coverage_oracle']:.0f}",
            f"{x['width']:.2f}, {x['width_oracle']:.2f}", f"{x['stated']:.0f}, {x['detected']:.0f}",
            f"{x['silent']:.0f}", cell.trials,
        )  # fmt: skip


def without_kink(trials: int, seed: int, jobs: int) -> dict[int, float]:
    """Print the false alarms, and return for each size the cut of the oracle's test with as many."""
    kinds = [Cell(name, n, "5 %", trials, seed) for name in KINDS for n in SIZES]
    cuts = cutoffs(list(found(judged, kinds, jobs)))
    heads = ("n", "labctl finds one, %", "cut of the oracle's test with as many", "trials")
    rows = ((n, f"{x[0]:.2f}", f"{x[1]:.1f}", x[2]) for n, x in sorted(cuts.items()))
    show(["\n## Without a kink, 5 % noise\n", *table(heads, rows)])
    return {n: x[1] for n, x in cuts.items()}


def beside(cells: Sequence[Cell], cuts: dict[int, float], jobs: int) -> Iterator[str]:
    """Yield the table of these cells, and how many of them meet each bar."""
    place = {cell: k for k, cell in enumerate(cells)}
    done = sorted(found(judged, cells, jobs), key=lambda o: place[o.cell])
    rows = [Row(o, cuts[o.cell.n]) for o in done]
    yield from table((*HEADS, "missed"), ((*r.cells(), ", ".join(r.missed()) or "-") for r in rows))
    yield ""
    for word in ("RMSE", "coverage", "width", "stated", "silent"):
        yield f"{word}: met in {sum(word not in r.missed() for r in rows)} of {len(rows)} cells"


BETAS = (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3)
BETA_HEADS = (
    "beta", "noise", "n", "reported %", "interval covers %", "its factor", "bound holds %",
    "threshold stated %", "covered %", "of the S-curve covered %", "trials",
)  # fmt: skip


def betas(trials: int, seed: int) -> Iterator[str]:
    """Yield the table of S-curves: is beta reported, and do beta and threshold lie in their intervals?"""
    yield "\n## Beta of S-curves, the light of the spot's centre declared\n"
    places = [("1 %", 24), ("1 %", 48), ("0.5 %", 24), ("5 %", 24), ("1 %", 16)]
    rows = (
        (f"{b:g}", noise, n, *_of_beta(b, noise, n, trials, seed), trials)
        for noise, n in places
        for b in BETAS
    )
    yield from table(BETA_HEADS, rows)


def _of_beta(beta: float, noise: str, n: int, trials: int, seed: int) -> tuple[str, ...]:
    rng, setting = (
        np.random.default_rng([seed, n, round(1e4 * beta)]),
        Setting(s_curve(beta), n, BETA_NOISES[noise]),
    )
    kept: dict[str, list[float]] = {name: [] for name in ("value", "factor", "bound", "stated", "curve")}
    for _ in range(trials):
        r = fit_threshold(*setting.sweep(rng, ONSET_UJ_CM2), smear=Smear(depth=(0.0, 0.0)))
        if r.ci95 is not None:
            kept["stated"].append(r.ci95[0] <= ONSET_UJ_CM2 <= r.ci95[1])
        if r.beta is None or r.beta.threshold_ci95 is None:
            continue
        low, high = r.beta.threshold_ci95
        kept["curve"].append(low <= ONSET_UJ_CM2 <= high)
        if r.beta.ci95 is not None:
            kept["value"].append(r.beta.ci95[0] <= beta <= r.beta.ci95[1])
            kept["factor"].append(np.sqrt(r.beta.ci95[1] / r.beta.ci95[0]))
        elif r.beta.upper is not None:
            kept["bound"].append(beta <= r.beta.upper)
    said = {k: f"{share(np.array(x)):.0f}" if x else "-" for k, x in kept.items()}
    wide = f"{np.median(kept['factor']):.2f}" if kept["factor"] else "-"
    reported, stated = (f"{100 * len(kept[k]) / trials:.0f}" for k in ("value", "stated"))
    return reported, said["value"], wide, said["bound"], stated, said["stated"], said["curve"]


def main() -> None:
    made = parser(__doc__, trials=500, nulls=200, seed=1, jobs=2)
    made.add_argument("--noises", nargs="*", choices=NOISES, default=list(NOISES))
    made.add_argument("sections", nargs="*", help="of library, unseen, beta; all of them if none is named")
    args = made.parse_args()
    wanted = args.sections or ["library", "unseen", "beta"]
    truths = {"library": INSIDE, "unseen": OUTSIDE}
    cuts = without_kink(args.nulls, args.seed, args.jobs) if truths.keys() & set(wanted) else {}
    for name in truths.keys() & set(wanted):
        show([f"\n## Truths: {name}\n"])
        for noise in args.noises:
            cells = [Cell(t.name, n, noise, args.trials, args.seed) for n in SIZES for t in truths[name]]
            show(beside(cells, cuts, args.jobs))
    if "beta" in wanted:
        show(betas(args.trials, args.seed))


if __name__ == "__main__":
    main()
