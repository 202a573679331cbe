"""Does the choice of the number of exposures bias a point's mean? Shots with a heavy tail; prints a table.

    python -m benchmarks.accuracy.stopping [--points 40000] [--seed 1]

Shots follow a Pareto law of exponent alpha, cut at 1,000 times its start, where a detector would clip. Beside
labctl's way, which sets the number before the exposures: the same precision by looking, exposure after
exposure, until the standard error of those taken is small enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.tables import Array, show, table
from benchmarks.trials import parser
from labctl.model.plan import SweepPlan
from procedures.point.precision import Exposures, Lit

RATE_HZ, PULSES, TOP = 1000.0, 100, 1e3
LEAST, MOST = 3, 50


def shots(alpha: float, count: int, rng: np.random.Generator) -> Array:
    """Return means of 100 shots over the true mean, shape ``(count,)``."""
    cut = 1 - TOP**-alpha
    true = alpha / (alpha - 1) * (1 - TOP ** (1 - alpha)) / cut
    drawn = (1 - cut * rng.random((count, PULSES))) ** (-1 / alpha)
    return np.asarray(drawn.mean(axis=1) / true)


def set_before(alpha: float, precision: float, points: int, rng: np.random.Generator) -> Array:
    """Return the mean of each point, and how many exposures it had, by labctl's way."""
    made = Exposures(SweepPlan(precision=precision), 2, RATE_HZ)
    made.guess(Lit(50.0, 1e8, 1e4, 1.0, 0.0))
    found = np.empty((points, 2))
    for row in found:
        _, count = made.choose(50.0, (PULSES / RATE_HZ,))
        means = shots(alpha, count, rng)
        scatter = float(means.std(ddof=1) / means.mean())
        made.take(Lit(50.0, 1e8 * float(means.mean()), 1e4, scatter**2 * PULSES, 0.0))
        row[:] = means.mean(), count
    return found


def by_looking(alpha: float, precision: float, points: int, rng: np.random.Generator) -> Array:
    """Likewise, ended where the exposures so far look good enough."""
    found = np.empty((points, 2))
    for row in found:
        means = shots(alpha, MOST, rng)
        for count in range(LEAST, MOST + 1):
            so_far = means[:count]
            if so_far.std(ddof=1) / math.sqrt(count) < precision * so_far.mean():
                break
        row[:] = so_far.mean(), count
    return found


WAYS: dict[str, Callable[[float, float, int, np.random.Generator], Array]] = {
    "set before": set_before,
    "by looking": by_looking,
}


def main() -> None:
    given = parser(__doc__, points=40_000, seed=1).parse_args()

    def rows() -> Iterator[tuple[object, ...]]:
        for alpha, precision in ((1.5, 0.1), (1.5, 0.05), (2.0, 0.05), (2.0, 0.02)):
            for name, way in WAYS.items():
                means, counts = way(alpha, precision, given.points, np.random.default_rng(given.seed)).T
                bias, error = 100 * (means.mean() - 1), 100 * means.std() / math.sqrt(means.size)
                yield alpha, f"{precision:.0%}", name, f"{bias:+.2f} +- {error:.2f}", f"{counts.mean():.1f}"

    show(table(("alpha", "precision", "number", "bias, %", "exposures, mean"), rows()))


if __name__ == "__main__":
    main()
