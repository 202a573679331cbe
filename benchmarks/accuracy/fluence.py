"""Is what is known of a bench used well? Wander, pulses, collected part of the spot, heavy tails, resolution.

    python -m benchmarks.accuracy.fluence --trials 500 --seed 1 [wander pulses collected tails q]

Every cell stands beside an oracle that is told the exact noise, the exact term and nothing of the curve but
the library, each shape equally likely, on the same trials. Sweeps of 20 points, log-spaced from 0.25-0.55 to
1.7-3.0 of the onset, over sharp, saturating and impulsive kinks in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from benchmarks.accuracy.threshold_truths import INSIDE, Truth, scan
from benchmarks.tables import Array, rms, share, show, table
from benchmarks.trials import parser
from labctl.analysis.spectra.lineshape import q_factor
from labctl.analysis.threshold import fit_threshold
from labctl.analysis.threshold.likelihood import Weighting, evaluate
from labctl.analysis.threshold.shapes import Smear, library
from labctl.analysis.threshold.sweep_data import Wander, prepare

TRUTHS = tuple(t for t in INSIDE if t.name in ("hinge", "roll-over", "impulsive"))
ONSET_UJ_CM2, POINTS = 79.81, 20
RHO = 0.9
TIME = -1.0 / np.log(RHO)
HEADS = (
    *("cell", "multiplicative noise %", "told", "found %", "bias %", "RMSE %", "covered %", "half-width %"),
    *("oracle covered %", "oracle half-width %", "ratio", "flagged %", "silent misses %", "trials"),
)
SEEN = {"misfit", "outlier", "few_above", "drift", "hysteresis", "exponent", "wander"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of trial.

    :ivar wander: of the true fluence, relative, correlated from point to point by 0.9.
    :ivar order: "up", "shuffled" or "up-down".
    :ivar cv: of the pulses; measured with a standard error of ``cv_error`` of it.
    :ivar edge: of the collected part of a Gaussian spot, in parts of its peak fluence; 1 for its centre.
    :ivar alpha: tail exponent of the shots above the onset; 0 for normal noise.
    :ivar told: whether the fit is told of the term.
    """

    name: str
    noise: float
    wander: float = 0.0
    order: str = "up"
    cv: float = 0.0
    cv_error: float = 0.1
    edge: float = 1.0
    alpha: float = 0.0
    told: bool = True


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one trial, relative to the onset; nan where there is no number."""

    value: float
    low: float
    high: float
    oracle_low: float
    oracle_high: float
    flagged: bool


def ordered(u: Array, order: str, rng: np.random.Generator) -> Array:
    """Put the fluences of a sweep into the order they are taken in."""
    if order == "shuffled":
        return rng.permutation(u)
    return np.concatenate([u[::2], u[1::2][::-1]]) if order == "up-down" else u


def mean_signal(cell: Cell, truth: Truth) -> Callable[[Array], Array]:
    """Mean counts against ``u``, pulses and collected part averaged by plain sums."""
    if cell.cv > 0:
        z = np.array([NormalDist().inv_cdf((i + 0.5) / 201) for i in range(201)])
        factor = np.maximum(1.0 + cell.cv * z / z.std(), 0.0)
    else:
        factor = np.exp(np.linspace(0.0, np.log(cell.edge), 301)) if cell.edge < 1 else np.ones(1)
    return lambda u: np.mean([truth.signal(u * k) for k in factor], axis=0)


def drift_of(n: int, rng: np.random.Generator) -> Array:
    """Stationary, of variance 1, correlated from point to point."""
    w = rng.standard_normal(n)
    for i in range(1, n):
        w[i] = RHO * w[i - 1] + np.sqrt(1 - RHO**2) * w[i]
    return w


def measured(cell: Cell, mean: Array, u: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Signals and their standard errors from ten exposures."""
    own = mean * (1 + cell.noise * rng.standard_normal(u.size))
    if cell.alpha:
        # Ten exposures of ten shots each; above 0.9 of the onset a shot's weight has a Pareto tail.
        tail = (1.0 + rng.pareto(cell.alpha, (u.size, 10, 10))) * (cell.alpha - 1) / cell.alpha
        shots = np.where((u > 0.9)[:, None, None], tail, 1.0)
    else:
        shots = np.ones((u.size, 10, 1))
    exposures = own[:, None] * shots.mean(axis=2)
    exposures = exposures + np.sqrt(10 * (np.maximum(mean, 0.0) + 100.0))[:, None] * rng.standard_normal(
        (u.size, 10)
    )
    return exposures.mean(axis=1), exposures.std(axis=1, ddof=1) / np.sqrt(10)


def known_smear(cell: Cell, cv: float) -> Smear:
    """Return what is told of the smearing."""
    depth = -float(np.log(cell.edge))
    return Smear(cv if cell.cv else None, (depth, depth) if cell.edge < 1 else None)


def oracle(cell: Cell, curve: Callable[[Array], Array], u: Array, y: Array) -> tuple[float, float]:
    """Return the 95 % interval of the posterior that knows noise and term."""
    data = prepare(u, y, None)
    mean, top = curve(u), data.signal_scale
    own = (cell.noise * mean) ** 2 + mean + 100.0
    z, w = np.polynomial.hermite_e.hermegauss(7)
    w = w / w.sum()
    steps = z if cell.wander else np.zeros(0)
    moved = np.array([curve(u * np.exp(cell.wander * x)) - mean for x in steps] or np.zeros((z.size, u.size)))
    slope = (w * z) @ moved
    own = own + w @ (moved - z[:, None] * slope) ** 2
    apart = np.abs(np.subtract.outer(np.arange(u.size), np.arange(u.size)))
    by = Weighting.of(own / top**2, np.outer(slope, slope) / top**2 * RHO**apart)
    shapes = library(2, known_smear(cell, cell.cv))
    levels = data.levels()
    best = np.linspace(levels[1], levels[-2], 80)
    for _ in range(2):
        grid = evaluate(data, shapes, best, by)
        root = by.root(np.concatenate([np.ones((1, *grid.columns.shape[1:])), grid.columns[:2]]))
        size = np.linalg.slogdet(np.einsum("ikgn,jkgn->kgij", root, root))[1]
        weight = np.where((shapes.mixing > 0) | (shapes.log_prior < -30), -np.inf, 0.0)[:, None]
        with np.errstate(invalid="ignore"):
            chance = -0.5 * grid.solved.rss - 0.5 * size + weight
        p = np.exp(chance - np.nanmax(chance))
        density = np.where(np.isfinite(p), p, 0.0).sum(axis=0)
        inside = np.flatnonzero(density > 1e-5 * density.max())
        step = best[1] - best[0]
        found = best
        best = np.linspace(best[inside[0]] - step, best[inside[-1]] + step, 160)
    total = np.cumsum(density) - 0.5 * density
    low, high = np.interp([0.025, 0.975], total / density.sum(), found)
    return float(np.exp(low)) * data.fluence_scale, float(np.exp(high)) * data.fluence_scale


def trial(cell: Cell, truth: Truth, rng: np.random.Generator, judge: bool) -> Trial:
    """Measure one sweep, fit it, and ask the oracle."""
    u = ordered(scan(POINTS, rng), cell.order, rng)
    curve = mean_signal(cell, truth)
    y, sigma = measured(cell, curve(u * np.exp(cell.wander * drift_of(u.size, rng))), u, rng)
    # In steps of half a per cent: each value costs a library of its own.
    measured_cv = cell.cv * (1 + cell.cv_error * float(np.clip(rng.standard_normal(), -3, 3)))
    cv = round(0.005 * round(measured_cv / 0.005), 4)
    told: dict[str, object] = {}
    if cell.alpha:
        told = {"signal_sigma": sigma, "exposures": 10} if cell.told else {}
    elif cell.told:
        told["smear"] = known_smear(cell, cv)
        told["pulse_cv_sigma"] = cell.cv * cell.cv_error
        told["wander"] = Wander(cell.wander, float(TIME)) if cell.wander else None
    found = fit_threshold(ONSET_UJ_CM2 * u, y, **told)  # type: ignore[arg-type]
    low, high = (np.nan, np.nan) if found.ci95 is None else found.ci95
    value = np.nan if found.threshold_uj_cm2 is None else found.threshold_uj_cm2
    best = oracle(cell, curve, u, y) if judge else (np.nan, np.nan)
    value, low, high = (x / ONSET_UJ_CM2 for x in (value, low, high))
    return Trial(value, low, high, best[0], best[1], bool(SEEN & set(found.flags)))


def row(cell: Cell, trials: int, seed: int) -> tuple[object, ...]:
    """Run one cell."""
    # The same trials for a fit that is told and for one that is not.
    sizes = (round(1000 * x) for x in (cell.noise, cell.wander, cell.cv, cell.edge, cell.alpha))
    rng = np.random.default_rng([seed, *sizes, len(cell.order)])
    judge = not cell.alpha
    with np.errstate(all="ignore"):
        every = [trial(cell, TRUTHS[i % len(TRUTHS)], rng, judge) for i in range(trials)]
    found = [t for t in every if np.isfinite(t.value)]
    value, low, high = (np.array([getattr(t, name) for t in found]) for name in ("value", "low", "high"))
    ends = np.array([(t.oracle_low, t.oracle_high) for t in every])
    silent = [not (t.low <= 1 <= t.high) and not t.flagged for t in found]
    half, oracle_half = 50 * np.median(high - low), 50 * np.median(ends[:, 1] - ends[:, 0])
    best = share((ends[:, 0] <= 1) & (ends[:, 1] >= 1))
    beside = (f"{best:.1f}", f"{oracle_half:.2f}", f"{half / oracle_half:.2f}") if judge else ("-", "-", "-")
    return (
        *(cell.name, f"{100 * cell.noise:g}", "yes" if cell.told else "no"),
        *(f"{100 * len(found) / trials:.1f}", f"{100 * (np.median(value) - 1):.2f}"),
        *(f"{100 * rms(value - 1):.2f}", f"{share((low <= 1) & (high >= 1)):.1f}", f"{half:.2f}", *beside),
        *(f"{share([t.flagged for t in every]):.1f}", f"{100 * sum(silent) / trials:.1f}", trials),
    )


def wander_cells() -> list[Cell]:
    """Wander of 2 and 5 %, declared and not, in three orders."""
    told = [
        Cell(f"wander {100 * size:g} %, {order}", noise, wander=size, order=order)
        for noise in (0.01, 0.05)
        for size in (0.02, 0.05)
        for order in ("up", "shuffled", "up-down")
    ]
    return told + [replace(c, told=False) for c in told if c.noise == 0.01]


def pairs(*cells: Cell) -> list[Cell]:
    """Return each cell told, then not told."""
    return [c for cell in cells for c in (cell, replace(cell, told=False))]


CELLS: dict[str, Callable[[], list[Cell]]] = {
    "wander": wander_cells,
    "pulses": lambda: pairs(*(Cell("pulses 10 %", noise, cv=0.1) for noise in (0.01, 0.05))),
    "collected": lambda: pairs(*(Cell("spot to 0.9 of its peak", noise, edge=0.9) for noise in (0.01, 0.05))),
    "tails": lambda: pairs(*(Cell(f"Pareto shots, alpha {a:g}", 0.01, alpha=a) for a in (1.2, 1.5, 2.0))),
}


def sections(names: list[str], trials: int, seed: int) -> Iterator[str]:
    """Yield the tables."""
    for name in names:
        yield f"\n## {name}, seed {seed}\n"
        if name == "q":
            yield from quality_table(trials, seed)
        else:
            yield from table(HEADS, (row(cell, trials, seed) for cell in CELLS[name]()))


# --- Q with a resolution that is off -------------------------------------------------------------------

CENTRE_NM, RESOLUTION_NM, ERROR_REL = 540.0, 0.15, 0.05


def quality_table(trials: int, seed: int) -> Iterator[str]:
    """Yield Q of a single Gaussian line whose resolution is stated 5 % off, at random."""
    names = (
        "width of the line nm",
        "told",
        "Q covered %",
        "half-width %",
        "oracle half-width %",
        "ratio",
        "trials",
    )
    rows = (quality_row(w, told, trials, seed) for w in (0.25, 0.41, 0.8) for told in (True, False))
    yield from table(names, rows)


def quality_row(width_nm: float, told: bool, trials: int, seed: int) -> tuple[object, ...]:
    """Measure one line again and again; the oracle is told shape, background and noise."""
    rng = np.random.default_rng([seed, round(1000 * width_nm)])
    axis = np.arange(530.0, 550.0, 0.03)
    seen = float(np.hypot(width_nm, RESOLUTION_NM))
    held, half, best = [], [], []
    for _ in range(trials):
        centre = CENTRE_NM + rng.uniform(-2, 2)
        line = 20000.0 * np.exp(-4 * np.log(2) * ((axis - centre) / seen) ** 2) + 200.0
        frames = line + np.sqrt(line + 25.0) * rng.standard_normal((10, axis.size))
        stated = RESOLUTION_NM * (1 + ERROR_REL * rng.standard_normal())
        error = ERROR_REL * stated if told else 0.0
        found = q_factor(axis, frames, stated, shape="gaussian", resolution_sigma_nm=error)
        if found is None or found.lower_bound:
            continue
        true = centre / width_nm
        held.append(abs(found.value - true) <= 1.96 * found.sigma)
        half.append(1.96 * found.sigma / true)
        slope = line - 200.0
        by_width = slope * 8 * np.log(2) * ((axis - centre) / seen) ** 2 / seen
        design = np.stack([by_width, slope / 20000.0, by_width * 0 + 1, np.gradient(slope, axis)])
        weight = 10.0 / (line + 25.0)
        own = float(np.sqrt(np.linalg.inv((design * weight) @ design.T)[0, 0])) * seen / width_nm
        best.append(1.96 * float(np.hypot(own, RESOLUTION_NM**2 / width_nm * ERROR_REL)) / width_nm)
    middle, oracle_middle = 100 * float(np.median(half)), 100 * float(np.median(best))
    ratio = f"{middle / oracle_middle:.2f}"
    return (
        f"{width_nm:g}",
        "yes" if told else "no",
        f"{share(held):.1f}",
        f"{middle:.2f}",
        f"{oracle_middle:.2f}",
        ratio,
        len(held),
    )


def main() -> None:
    made = parser(__doc__, trials=500, seed=1)
    made.add_argument(
        "sections", nargs="*", help=f"of {', '.join((*CELLS, 'q'))}; all of them if none is named"
    )
    args = made.parse_args()
    if unknown := set(args.sections) - {*CELLS, "q"}:
        made.error(f"no section is called {', '.join(sorted(unknown))}")
    show(sections(args.sections or [*CELLS, "q"], args.trials, args.seed))


if __name__ == "__main__":
    main()
