"""Whether a sample answers differently on the way down: bleaching, heat, or light that changed it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from labctl.analysis.both_ways import UNSEEN_DRIFT, Change, compare, pairs_of
from labctl.analysis.light_light import LightLight
from labctl.analysis.threshold.result import ThresholdResult

SIGNIFICANCE = 0.02
"""Chance of calling the ways different without a difference."""


@dataclass(frozen=True, slots=True)
class Hysteresis:
    """The way down against the way up, each number relative to the way up; None where it cannot be told.

    :param pairs: fluences measured both ways.
    :param signal_change_rel: common factor of the pairs, down over up, minus 1. What they share as added
        counts, or as a drift of the fluence that no meter sees, is in its error.
    :param signal_p_value: chance of a change as large without a difference; ``threshold_p_value`` likewise.
    :param threshold_up_uj_cm2: of the way up fitted alone; ``threshold_down_uj_cm2`` likewise.
    :param threshold_change_rel: of the onset, from the pairs, which share what two fits do not; from the two
        fits where the curve of both ways has no onset.
    :param p_value: chance that signal or threshold are as far apart by luck, a loss that grows with the dose
        included.
    """

    pairs: int
    signal_change_rel: float
    signal_change_sigma_rel: float
    signal_p_value: float
    threshold_up_uj_cm2: float | None
    threshold_down_uj_cm2: float | None
    threshold_change_rel: float | None
    threshold_change_sigma_rel: float | None
    threshold_p_value: float | None
    p_value: float

    @property
    def flags(self) -> tuple[str, ...]:
        """``hysteresis`` where signal or threshold differ beyond chance."""
        return ("hysteresis",) if self.p_value < SIGNIFICANCE else ()

    def to_mapping(self) -> dict[str, object]:
        """Return a plain mapping, ready for JSON."""
        plain: dict[str, object] = {name: getattr(self, name) for name in self.__slots__}
        return {**plain, "flags": list(self.flags)}


def measure_hysteresis(curve: LightLight, fit: Callable[[LightLight], ThresholdResult]) -> Hysteresis | None:
    """Compare the two ways of an up-and-down sweep, in order of acquisition.

    :param fit: makes a threshold of points: of both ways together, and of each alone.
    :returns: None with fewer than 3 usable pairs.
    """
    grid = curve.grid
    if not grid.signal.size:
        return None
    turn = int(np.argmax(grid.fluence_set_uj_cm2))
    whole = fit(grid)
    pairs = pairs_of(grid, turn, whole.model)
    if pairs is None:
        return None
    place = np.arange(grid.signal.size)
    up, down = fit(grid.only(place <= turn)), fit(grid.only(place > turn))
    found = compare(pairs)
    signal, onset, chance = found.signal, found.onset, found.p_value
    if onset is None and (onset := _apart(up, down)) is not None:
        chance = min(1.0, 2 * min(chance, onset.p_value))
    return Hysteresis(
        pairs=int(pairs.change.size),
        signal_change_rel=math.expm1(signal.value),
        signal_change_sigma_rel=math.exp(signal.value) * signal.sigma,
        signal_p_value=signal.p_value,
        threshold_up_uj_cm2=up.threshold_uj_cm2,
        threshold_down_uj_cm2=down.threshold_uj_cm2,
        threshold_change_rel=None if onset is None else math.expm1(onset.value),
        threshold_change_sigma_rel=None if onset is None else math.exp(onset.value) * onset.sigma,
        threshold_p_value=None if onset is None else onset.p_value,
        p_value=chance,
    )


def _apart(up: ThresholdResult, down: ThresholdResult) -> Change | None:
    """Difference of two thresholds; from their total intervals, as that of one shape alone is too narrow."""
    if up.threshold_uj_cm2 is None or down.threshold_uj_cm2 is None:
        return None
    if up.ci95 is None or down.ci95 is None:
        return None
    arms = [max(math.log(ends[1] / ends[0]) / 3.92, 1e-4) for ends in (up.ci95, down.ci95)]
    value, sigma = math.log(down.threshold_uj_cm2 / up.threshold_uj_cm2), math.hypot(*arms, UNSEEN_DRIFT / 2)
    return Change(value, sigma, float(2 * norm.sf(abs(value) / sigma)))
