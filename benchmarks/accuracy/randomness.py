"""Are combs called random, and irregular lines a cavity's? Truths of its own, by number of lines.

    python -m benchmarks.accuracy.randomness --trials 500 [--seed 1] [--limits]

Combs have places with an error of 1 % of the period and a period that changes by 2 % (standard deviation)
over the comb; a quarter of the places is empty. Two combs have periods that differ by up to 4 %, at least 4
lines each. Irregular: uniform places that keep 0.15 of the mean distance (the slit), eigenvalues of random
matrices, gaps of 0.6 plus an exponential, and a Wigner surmise. A drift moves all lines between spectra.
``--limits`` prints the quantiles that the table of ``labctl.analysis.spectra.spacing`` stands on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.tables import Array, show, table
from benchmarks.trials import parser
from labctl.analysis.spectra.spacing import COUNTS, comb_misfit, spacing_of, two_comb_misfit

Draw = Callable[[int, np.random.Generator], Array]

ERROR, CHIRP, EMPTY = 0.01, 0.02, 0.25


def comb(lines: int, rng: np.random.Generator) -> Array:
    """Draw a comb of period 1 with places missing."""
    places = int(np.ceil(lines * (1 + EMPTY)))
    k = np.sort(rng.choice(places, lines, replace=False)).astype(np.float64)
    bend = rng.normal(0.0, CHIRP) / 2 / k[-1] * (k - k[-1] / 2) ** 2
    return np.asarray(k + bend + ERROR * rng.standard_normal(lines))


def full_comb(lines: int, rng: np.random.Generator) -> Array:
    k = np.arange(lines, dtype=np.float64)
    return np.asarray(
        k * (1 + rng.normal(0.0, CHIRP) * (k / lines - 0.5)) + ERROR * rng.standard_normal(lines)
    )


def two_equal(lines: int, rng: np.random.Generator) -> Array:
    """Draw two polarisations: one period, any offset that the slit parts."""
    first = lines // 2
    return np.concatenate([comb(first, rng), comb(lines - first, rng) + rng.uniform(0.15, 0.85)])


def two_unequal(lines: int, rng: np.random.Generator) -> Array:
    first = lines // 2
    second = comb(lines - first, rng) * (1 + rng.uniform(-0.04, 0.04)) + rng.uniform(0.25, 0.75)
    return np.concatenate([comb(first, rng), second])


def drifting_comb(lines: int, rng: np.random.Generator) -> Array:
    """Draw a comb whose axis is off by up to 0.3 of a period, and stretched by 0.1 %."""
    return np.asarray(comb(lines, rng) * (1 + 1e-3 * rng.standard_normal()) + rng.uniform(-0.3, 0.3))


def uniform(lines: int, rng: np.random.Generator) -> Array:
    """Draw places that do not know of each other, but for the slit that parts them."""
    slack = rng.dirichlet(np.ones(lines - 1))
    return np.concatenate([[0.0], np.cumsum(0.15 + 0.85 * (lines - 1) * slack)])


def matrix(lines: int, rng: np.random.Generator) -> Array:
    """Draw eigenvalues from the middle of a random symmetric matrix, which repel each other."""
    size = lines + 40
    made = rng.standard_normal((size, size))
    return np.asarray(np.linalg.eigvalsh(made + made.T)[20 : 20 + lines])


def kept_apart(lines: int, rng: np.random.Generator) -> Array:
    return np.asarray(np.cumsum(0.6 + rng.exponential(0.45, lines)))


def wigner(lines: int, rng: np.random.Generator) -> Array:
    return np.asarray(np.cumsum(np.sqrt(-4 / np.pi * np.log(rng.uniform(size=lines)))))


COMBS: dict[str, Draw] = {
    "one comb, full": full_comb,
    "one comb, a quarter missing": comb,
    "one comb, axis off": drifting_comb,
    "two combs, one period": two_equal,
    "two combs, periods to 4 % apart": two_unequal,
}
RANDOM: dict[str, Draw] = {
    "uniform": uniform,
    "random matrix": matrix,
    "kept apart": kept_apart,
    "Wigner surmise": wigner,
}
SIZES = (6, 7, 8, 10, 12, 16)


def verdicts(draw: Draw, lines: int, trials: int, seed: list[int]) -> dict[str, float]:
    """Return the share of each verdict, per cent. Places become wavelengths near 540 nm, 2 nm apart."""
    rng = np.random.default_rng(seed)
    said = [spacing_of((1e7 / (18400.0 + 68.0 * draw(lines, rng))).tolist()).verdict for _ in range(trials)]
    return {
        word: 100.0 * said.count(word) / trials for word in ("irregular", "undecided", "comb", "two combs")
    }


def rows(trials: int, seed: int) -> Iterator[tuple[object, ...]]:
    for kind, draws in (("comb", COMBS), ("irregular", RANDOM)):
        for which, (name, draw) in enumerate(draws.items()):
            for lines in SIZES:
                if name.startswith("two") and lines < 8:
                    continue
                found = verdicts(draw, lines, trials, [seed, which, lines, int(kind == "comb")])
                yield (kind, name, lines, *(f"{value:.1f}" for value in found.values()), trials)


def limits(sets: int, seed: int) -> Iterator[tuple[object, ...]]:
    """Yield, for each number of lines, quantiles of both misfits, the least over kinds of irregular sets."""
    for lines in map(int, COUNTS):
        one, two = [], []
        for which, draw in enumerate((uniform, matrix, kept_apart)):
            rng = np.random.default_rng([seed, which, lines, 99])
            made = [np.sort(draw(lines, rng)) for _ in range(sets)]
            one.append(np.quantile([comb_misfit(x)[0] for x in made], 0.02))
            two.append(np.quantile([two_comb_misfit(x)[0] for x in made], 0.04))
        yield lines, f"{min(one):.3f}", f"{min(two):.3f}", *(f"{x:.3f}" for x in (*one, *two))


def main() -> None:
    made = parser(__doc__, trials=200, seed=1)
    made.add_argument("--limits", action="store_true")
    args = made.parse_args()
    if args.limits:
        show(table(("lines", "one comb", "two combs", "each kind"), limits(args.trials, args.seed)))
        return
    heads = ("truth", "kind", "lines", "irregular %", "undecided %", "comb %", "two combs %", "trials")
    show(table(heads, rows(args.trials, args.seed)))


if __name__ == "__main__":
    main()
