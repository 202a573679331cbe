"""Whether a sample answers differently on the way down: bleaching, heat, or light that changed it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import ndtr

from labctl.analysis.both_ways import UNSEEN_DRIFT, Change, compare, pairs_of
from labctl.analysis.light_light import LightLight
from labctl.analysis.threshold.result import ThresholdResult
from labctl.model.results import Hysteresis

SIGNIFICANCE = 0.02
"""Chance of calling the ways different without a difference."""


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
        flags=("hysteresis",) if chance < SIGNIFICANCE else (),
    )


def _apart(up: ThresholdResult, down: ThresholdResult) -> Change | None:
    """Difference of two thresholds; from their total intervals, as that of one shape alone is too narrow."""
    if up.threshold_uj_cm2 is None or down.threshold_uj_cm2 is None:
        return None
    if up.ci95 is None or down.ci95 is None:
        return None
    arms = [max(math.log(ends[1] / ends[0]) / 3.92, 1e-4) for ends in (up.ci95, down.ci95)]
    value, sigma = math.log(down.threshold_uj_cm2 / up.threshold_uj_cm2), math.hypot(*arms, UNSEEN_DRIFT / 2)
    return Change(value, sigma, float(2 * ndtr(-abs(value) / sigma)))
