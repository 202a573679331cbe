"""Does choosing the next fluence pay? Points and dose to a wanted half-width, and coverage after stopping.

    python -m benchmarks.accuracy.threshold_adaptive --trials 100

"free" starts with 10 space-filling points, or with 7, and knows nothing; "trusted" tracks with the shape of a
reference sweep of 24 points and starts with 3. Dose is the sum of fluence over onset (one exposure of equal
length a point). The uniform sweep to compare with is the smallest log grid from 0.3 to 2.4 onsets that
reaches the half-width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.accuracy.threshold_truths import INSIDE, Noise, Truth
from benchmarks.tables import column, share, show, table
from benchmarks.trials import parser
from labctl.analysis.next_fluence import (
    SPACE_FILLING_POINTS,
    Proposal,
    half_width_rel,
    next_fluence,
    stop_corrected,
)
from labctl.analysis.threshold import ThresholdResult, ThresholdTracker, fit_threshold

ONSET, LOW, HIGH = 79.81, 0.3, 2.4
GRIDS = (8, 10, 12, 14, 16, 20, 24, 32, 40, 48, 64)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One sweep: points and dose when it stopped, whether it met the target, and whether it covers."""

    points: int
    dose: float
    met: bool
    covers: bool
    corrected_covers: bool


def _measure(truth: Truth, fluence: float, rng: np.random.Generator) -> float:
    return float(Noise().measure(truth.signal, np.array([fluence / ONSET]), rng)[0])


def _outcome(result: ThresholdResult, fluence: list[float], target: float, true: float) -> Outcome:
    ends, fixed = result.ci95, stop_corrected(result).ci95
    met = (half_width_rel(result) or 1.0) <= target
    covers = ends is not None and ends[0] <= true <= ends[1]
    corrected = fixed is not None and fixed[0] <= true <= fixed[1]
    return Outcome(len(fluence), sum(fluence) / ONSET, met, covers, corrected)


def free(
    truth: Truth,
    target: float,
    per: str,
    most: int,
    rng: np.random.Generator,
    start: int = SPACE_FILLING_POINTS,
) -> Outcome:
    """Adaptive sweep without prior knowledge, from ``start`` space-filling points on."""
    fluence: list[float] = []
    signal: list[float] = []
    result = fit_threshold([], [])
    while len(fluence) < most:
        step = _next(result, fluence, per, start)
        fluence.append(step.fluence_uj_cm2)
        signal.append(_measure(truth, step.fluence_uj_cm2, rng))
        if len(fluence) < start:
            continue
        result = fit_threshold(fluence, signal)
        if (half_width_rel(result) or 1.0) <= target:
            break
    return _outcome(result, fluence, target, ONSET)


def trusted(truth: Truth, target: float, per: str, most: int, rng: np.random.Generator) -> Outcome:
    """Adaptive sweep with shape, ratios and noise of a reference: stops by its statistical interval."""
    f = ONSET * np.geomspace(LOW, HIGH, 24)
    reference = fit_threshold(f, Noise().measure(truth.signal, f / ONSET, rng))
    if reference.status != "found":
        return Outcome(most, float("nan"), met=False, covers=True, corrected_covers=True)
    tracker = ThresholdTracker(reference, keep=most)
    fluence = [u * ONSET for u in (0.7, 1.2, 1.6)]
    result = tracker.add(fluence, [_measure(truth, x, rng) for x in fluence])
    while len(fluence) < most and _statistical(result) > target:
        step = _next(result, fluence, per, 3)
        fluence.append(step.fluence_uj_cm2)
        result = tracker.add([fluence[-1]], [_measure(truth, fluence[-1], rng)])
    end = _outcome(result, fluence, target, ONSET)
    return replace(end, met=_statistical(result) <= target)


def _statistical(result: ThresholdResult) -> float:
    if result.statistical_ci95 is None or result.threshold_uj_cm2 is None:
        return 1.0
    return 0.5 * (result.statistical_ci95[1] - result.statistical_ci95[0]) / result.threshold_uj_cm2


def _next(result: ThresholdResult, fluence: list[float], per: str, start: int) -> Proposal:
    words: dict[str, Any] = {"per": "dose"} if per == "dose" else {}
    low, high = LOW * ONSET, HIGH * ONSET
    return next_fluence(
        result, fluence, low_uj_cm2=low, high_uj_cm2=high, space_filling_points=start, **words
    )


def uniform(truth: Truth, target: float, rng: np.random.Generator) -> Outcome:
    """Smallest uniform log grid that reaches the target, each size measured anew."""
    for n in GRIDS:
        f = ONSET * np.geomspace(LOW, HIGH, n)
        result = fit_threshold(f, Noise().measure(truth.signal, f / ONSET, rng))
        if (half_width_rel(result) or 1.0) <= target:
            break
    return _outcome(result, list(f), target, ONSET)


def row(name: str, outcomes: list[Outcome], dose: float) -> tuple[object, ...]:
    middle, late = np.quantile(column(outcomes, "points"), [0.5, 0.9])
    shares = [f"{share(column(outcomes, key)):.0f}" for key in ("met", "covers", "corrected_covers")]
    cost = np.nanmedian(column(outcomes, "dose")) / dose
    return (name, f"{middle:.0f}", f"{late:.0f}", f"{cost:.2f}", *shares, len(outcomes))


How = Callable[[Truth, float, str, int, np.random.Generator], Outcome]
HOW: tuple[tuple[str, How, str], ...] = (
    ("free", free, "point"),
    ("free", free, "dose"),
    ("free from 7", partial(free, start=7), "point"),
    ("trusted", trusted, "point"),
    ("trusted", trusted, "dose"),
)


def _rows(trials: int, truths: Sequence[int]) -> Iterator[tuple[object, ...]]:
    for truth in (INSIDE[i] for i in truths):
        for target in (0.03, 0.01):
            base = [uniform(truth, target, np.random.default_rng([1, i])) for i in range(trials)]
            dose = float(np.median(column(base, "dose")))
            label = f"{truth.name}, {100 * target:g} %"
            yield row(f"{label}, uniform", base, dose)
            for name, how, per in HOW:
                rngs = (np.random.default_rng([2, i]) for i in range(trials))
                done = [how(truth, target, per, 40, rng) for rng in rngs]
                yield row(f"{label}, {name}, per {per}", done, dose)


def adaptive_table(trials: int, truths: Sequence[int]) -> Iterator[str]:
    """Write the table of adaptive sweeps, one line at a time; ``truths`` are places in ``INSIDE``."""
    heads = ("sweep", "points", "p90", "dose / uniform", "met %", "covers %", "corrected covers %", "trials")
    yield from table(heads, _rows(trials, truths))


def main() -> None:
    made = parser(__doc__, trials=100)
    made.add_argument("--truths", type=int, nargs="*", default=[0, 1, 2])
    args = made.parse_args()
    show(adaptive_table(args.trials, args.truths))


if __name__ == "__main__":
    main()
