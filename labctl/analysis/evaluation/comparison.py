"""Two samples compared: the ratio of their thresholds, and what of their light they kept.

What is common to both fluences cancels in a ratio. A link of the chain is common where both runs took the
same number from the same calibration and read the same power meter; it then leaves only what its two
contributions differ by. All else is added in quadrature, and named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import scipy

from labctl.model.results.comparison import Comparison, RetainedDifference, SampleRun, ThresholdRatio
from labctl.model.results.sweep import K95, BudgetTerm, Estimate, Interval

REDRAWN = {
    "drift of the chain": "moves between the runs",
    "incidence angle": "set again with each sample",
}
"""Links that two runs never share, and why."""
_EQUAL = 0.01  # relative difference of two sensitivities that are one


def compared(runs: Sequence[SampleRun]) -> Comparison:
    """Compare runs of several samples: thresholds with thresholds, retained parts with retained parts.

    :param runs: of any samples, in any order; fewer than two samples give an empty comparison.
    """
    return Comparison(tuple(threshold_ratios(runs)), tuple(retained_differences(runs)))


def threshold_ratios(runs: Sequence[SampleRun]) -> list[ThresholdRatio]:
    """Return the ratio of thresholds for each pair of samples, the lower threshold over the higher one.

    Stability runs take no part. A sample without any threshold is refused with the reason.

    :param runs: of two samples or more, in any order; one sample gives an empty list.
    """
    groups: dict[str, list[SampleRun]] = {}
    for run in runs:
        if run.stability is None:
            groups.setdefault(run.sample, []).append(run)
    return [_ratio(*sorted(pair, key=_level)) for pair in combinations(groups.values(), 2)]


def retained_differences(runs: Sequence[SampleRun]) -> list[RetainedDifference]:
    """Return, for each pair of stability runs of two samples, by how much one kept more light than the other.

    :param runs: others than stability runs, and those without a retained part, take no part.
    """
    found = []
    for pair in combinations([r for r in runs if r.stability is not None], 2):
        more, less = sorted(pair, key=lambda r: _kept(r).value, reverse=True)
        a, b = _kept(more), _kept(less)
        if more.sample == less.sample or not math.isfinite(a.value + b.value):
            continue
        low = a.value - b.value - math.hypot(a.value - a.low, b.high - b.value)
        high = a.value - b.value + math.hypot(a.high - a.value, b.value - b.low)
        estimate = Estimate(a.value - b.value, math.hypot(a.sigma, b.sigma), low, high)
        found.append(RetainedDifference(more.sample, less.sample, estimate, _unlike(more, less)))
    return found


_NOTHING_KEPT = Estimate(math.nan, math.nan, math.nan, math.nan)
_ALIKE_REL = 0.05
_ALIKE_C = 1.0


def _kept(run: SampleRun) -> Estimate:
    stability = run.stability
    return _NOTHING_KEPT if stability is None or stability.retained is None else stability.retained


def _unlike(a: SampleRun, b: SampleRun) -> tuple[str, ...]:
    """Say in what two stability runs differ beside the sample."""
    one, two = a.stability, b.stability
    assert one is not None
    assert two is not None
    pairs = (
        ("fluence", one.fluence_uj_cm2, two.fluence_uj_cm2, "uJ/cm2", 1.0),
        ("dose", one.dose_uj_cm2, two.dose_uj_cm2, "J/cm2", 1e-6),
        ("duration", one.duration_s, two.duration_s, "h", 1 / 3600),
    )
    said = [
        f"their {name} differs: {x * size:.3g} and {y * size:.3g} {unit}"
        for name, x, y, unit, size in pairs
        if x is not None and y is not None and abs(x - y) > _ALIKE_REL * max(abs(x), abs(y))
    ]
    warm = [_mean_c(r) for r in (one.sample_temperature_c, two.sample_temperature_c)]
    if (warm[0] is None) != (warm[1] is None):
        said.append("the temperature of one is not known")
    elif warm[0] is not None and warm[1] is not None and abs(warm[0] - warm[1]) > _ALIKE_C:
        said.append(f"their temperature differs: {warm[0]:.1f} and {warm[1]:.1f} C")
    return tuple(said)


def _mean_c(temperatures: Sequence[float | None]) -> float | None:
    known = [t for t in temperatures if t is not None]
    return float(np.mean(known)) if known else None


# --- thresholds ------------------------------------------------------------------------------------


def _level(runs: Sequence[SampleRun]) -> float:
    """Where to stand in the order of samples: by the threshold, those without one last."""
    known = _found(runs)
    return float(np.mean([_value(r) for r in known])) if known else math.inf


def _found(runs: Sequence[SampleRun]) -> list[SampleRun]:
    return [r for r in runs if r.threshold.threshold_uj_cm2 is not None and r.threshold.ci95 is not None]


def _value(run: SampleRun) -> float:
    value = run.threshold.threshold_uj_cm2
    assert value is not None
    return value


def _ratio(above: Sequence[SampleRun], below: Sequence[SampleRun]) -> ThresholdRatio:
    names = above[0].sample, below[0].sample
    for runs in (above, below):
        if not _found(runs):
            return ThresholdRatio(*names, "refused", f"{runs[0].sample} has no threshold")
    above, below = _found(above), _found(below)
    every = (*above, *below)
    for what, of in _MUST_AGREE.items():
        words = sorted({str(of(r)) for r in every if of(r) is not None})
        if len(words) > 1:
            return ThresholdRatio(*names, "refused", f"their {what} differs: {' and '.join(words)}")
    conditions = [
        f"if their {w} is the same" for w, of in _MUST_AGREE.items() if any(of(r) is None for r in every)
    ]
    parts = [_over_spots(runs) for runs in (above, below)]
    ln_ratio = parts[0][0] - parts[1][0]
    down = math.hypot(parts[0][1], parts[1][2])
    up = math.hypot(parts[0][2], parts[1][1])
    scale, cancelled, added, unstated = _scales(above[0], below[0])
    if above[0].budget is None or below[0].budget is None:
        conditions.append("if their fluences have the same scale, of which a table says nothing")
    arm = K95 * scale
    spots = (_places(above), _places(below))
    return ThresholdRatio(
        *names,
        "marked" if conditions else "compared",
        ratio=math.exp(ln_ratio),
        ci95=_interval(ln_ratio, math.hypot(down, arm), math.hypot(up, arm)),
        statistical_ci95=_interval(ln_ratio, down, up),
        scale_rel=None if unstated or above[0].budget is None or below[0].budget is None else scale,
        cancelled=cancelled,
        added=added,
        unstated=unstated,
        conditions=tuple(conditions),
        spots=spots,
        between_spots_rel=(_scatter(above), _scatter(below)),
    )


_MUST_AGREE: dict[str, Callable[[SampleRun], object]] = {
    "pump": lambda r: r.threshold.quantity,
    "unit": lambda r: r.threshold.unit if r.threshold.unit_stated else None,
    "convention": lambda r: r.threshold.convention if r.threshold.on_area else "",
    "photon order": lambda r: None if r.budget is None else r.budget.photon_order,
    "definition of threshold": lambda r: r.threshold.definition,
}
"""What makes two thresholds the same kind of number; None where it is not stated."""


def _interval(ln_value: float, down: float, up: float) -> Interval:
    return math.exp(ln_value - down), math.exp(ln_value + up)


def _by_spot(runs: Sequence[SampleRun]) -> list[list[SampleRun]]:
    places: dict[str, list[SampleRun]] = {}
    for number, run in enumerate(runs):
        places.setdefault(run.spot or f"run {number}", []).append(run)
    return list(places.values())


def _places(runs: Sequence[SampleRun]) -> int:
    return len(_by_spot(runs))


def _ln_means(runs: Sequence[SampleRun]) -> list[float]:
    return [float(np.mean([math.log(_value(r)) for r in place])) for place in _by_spot(runs)]


def _scatter(runs: Sequence[SampleRun]) -> float | None:
    """Relative standard deviation over the places of a sample; None for one place."""
    means = _ln_means(runs)
    return float(np.std(means, ddof=1)) if len(means) > 1 else None


def _over_spots(runs: Sequence[SampleRun]) -> tuple[float, float, float]:
    """Mean logarithm of a sample's thresholds, and the arms of its 95 % interval, without the scale.

    With several places their scatter makes the interval (Student's t), or the thresholds' own intervals where
    those are wider.
    """
    places, means = _by_spot(runs), _ln_means(runs)
    own = [[_arms(run) for run in place] for place in places]
    arms = [
        math.sqrt(sum(float(np.mean([a[side] ** 2 for a in place])) / len(place) for place in own)) / len(own)
        for side in (0, 1)
    ]
    if len(means) > 1:
        n = len(means)
        scatter = float(scipy.special.stdtrit(n - 1, 0.975)) * float(np.std(means, ddof=1)) / math.sqrt(n)
        arms = [max(arm, scatter) for arm in arms]
    return float(np.mean(means)), arms[0], arms[1]


def _arms(run: SampleRun) -> tuple[float, float]:
    interval = run.threshold.ci95
    assert interval is not None
    return math.log(_value(run) / interval[0]), math.log(interval[1] / _value(run))


def _scales(a: SampleRun, b: SampleRun) -> tuple[float, tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return what two scales leave in a ratio (k = 1), and which links cancel, are added, are not stated."""
    if a.budget is None or b.budget is None:
        return 0.0, (), (), ()
    cancelled: list[str] = []
    added: list[str] = []
    unstated: list[str] = []
    parts = [0.0]
    theirs = {term.name: term for term in b.budget.terms}
    for term in a.budget.terms:
        other = theirs.pop(term.name, None)
        if not _counts(term) and (other is None or not _counts(other)):
            continue
        why = _why_not_common(a, b, term, other)
        if why:
            known = [
                t.contribution_rel for t in (term, other) if t is not None and t.contribution_rel is not None
            ]
            whole = len(known) == (1 if other is None else 2)
            (added if whole else unstated).append(f"{term.name} ({why})")
            parts += known
        else:
            assert other is not None
            unequal = abs(term.sensitivity - other.sensitivity)
            if term.uncertainty is None and unequal > _EQUAL * abs(term.sensitivity):
                unstated.append(f"{term.name} (weighs more in weaker light)")
            else:  # one error, common to both: a meter's zero weighs more in weak light
                cancelled.append(term.name)
                parts.append(unequal * (term.uncertainty or 0.0))
    for term in filter(_counts, theirs.values()):
        (unstated if term.contribution_rel is None else added).append(f"{term.name} (of {b.sample} alone)")
        parts.append(term.contribution_rel or 0.0)
    return math.hypot(*parts), tuple(cancelled), tuple(added), tuple(unstated)


def _counts(term: BudgetTerm) -> bool:
    """Whether a link weighs in the fluence at all."""
    return bool(term.sensitivity and term.source) and term.contribution_rel != 0.0


def _why_not_common(a: SampleRun, b: SampleRun, mine: BudgetTerm, theirs: BudgetTerm | None) -> str:
    """Say why a link is not the same one in both runs; empty where it is."""
    if mine.name in REDRAWN:
        return REDRAWN[mine.name]
    if theirs is None:
        return f"of {a.sample} alone"
    if not (a.meter and a.meter == b.meter):
        return "another power meter" if a.meter and b.meter else "the power meter is not known"
    if mine.source != theirs.source:
        return f"{mine.source} and {theirs.source}"
    if mine.name.startswith("spot") and _spot(a) != _spot(b):
        return "another spot"
    if mine.value != theirs.value:
        return f"{mine.value:.6g} and {theirs.value:.6g}" if mine.value and theirs.value else "another value"
    return "" if mine.uncertainty == theirs.uncertainty else "another uncertainty"


def _spot(run: SampleRun) -> list[tuple[str, float | None]]:
    assert run.budget is not None
    return [(term.name, term.value) for term in run.budget.terms if term.name.startswith("spot")]
