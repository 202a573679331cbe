"""Whether a sample answers differently on the way down: bleaching, heat, or light that changed it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from labctl.analysis.chance import chance_of, scaled_error
from labctl.analysis.light_light import LightLight
from labctl.analysis.threshold.result import ThresholdResult
from labctl.model.records import FloatArray

SIGNIFICANCE = 0.005
"""Chance of calling either difference real without one; there are two of them."""


@dataclass(frozen=True, slots=True)
class Hysteresis:
    """The way down against the way up, each number relative to the way up; None where it cannot be told.

    :param pairs: fluences measured both ways.
    :param signal_change_rel: weighted mean over the pairs, down over up, minus 1.
    :param signal_p_value: chance of a change as large without a difference; ``threshold_p_value`` likewise.
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

    @property
    def flags(self) -> tuple[str, ...]:
        """``hysteresis`` where signal or threshold differ beyond chance."""
        chances = [p for p in (self.signal_p_value, self.threshold_p_value) if p is not None]
        return ("hysteresis",) if min(chances) < SIGNIFICANCE else ()

    def to_mapping(self) -> dict[str, object]:
        """Return a plain mapping, ready for JSON."""
        plain: dict[str, object] = {name: getattr(self, name) for name in self.__slots__}
        return {**plain, "flags": list(self.flags)}


def measure_hysteresis(curve: LightLight, fit: Callable[[LightLight], ThresholdResult]) -> Hysteresis | None:
    """Compare the two ways of an up-and-down sweep, in order of acquisition.

    :param fit: makes a threshold of the points of one way.
    :returns: None with fewer than 3 usable pairs.
    """
    grid = curve.grid
    if not grid.signal.size:
        return None
    turn = int(np.argmax(grid.fluence_set_uj_cm2))
    place = np.arange(grid.signal.size)
    up, down = grid.only(place <= turn), grid.only(place > turn)
    change, sigma = _changes(up, down)
    if change.size < 3:
        return None
    mean, error, p_value = _mean(change, sigma)
    fits = fit(up), fit(down)
    apart, apart_sigma = _apart(*fits)
    return Hysteresis(
        pairs=int(change.size),
        signal_change_rel=math.expm1(mean),
        signal_change_sigma_rel=math.exp(mean) * error,
        signal_p_value=p_value,
        threshold_up_uj_cm2=fits[0].threshold_uj_cm2,
        threshold_down_uj_cm2=fits[1].threshold_uj_cm2,
        threshold_change_rel=None if apart is None else math.expm1(apart),
        threshold_change_sigma_rel=None if apart is None else math.exp(apart) * apart_sigma,
        threshold_p_value=None if apart is None else float(2 * norm.sf(abs(apart) / apart_sigma)),
    )


def _changes(up: LightLight, down: LightLight) -> tuple[FloatArray, FloatArray]:
    """Logarithm of down over up at each fluence set both ways, with its standard error, shape (pair,).

    Mount and laser never give the same fluence twice: the difference is taken out along the local slope.
    """
    up, down = (way.only((way.signal > 0) & (way.fluence_uj_cm2 > 0)) for way in (up, down))
    once = np.isin(np.arange(up.signal.size), np.unique(up.fluence_set_uj_cm2, return_index=True)[1])
    up = up.only(once)
    if up.signal.size < 3:
        return np.empty(0), np.empty(0)
    ln_f, ln_y = np.log(up.fluence_uj_cm2), np.log(up.signal)
    slope = np.gradient(ln_y, np.log(up.fluence_set_uj_cm2))
    partner = np.array([np.argmin(np.abs(up.fluence_set_uj_cm2 - f)) for f in down.fluence_set_uj_cm2], int)
    paired = np.abs(up.fluence_set_uj_cm2[partner] / down.fluence_set_uj_cm2 - 1) < 1e-6
    i, down = partner[paired], down.only(paired)
    change = np.log(down.signal) - ln_y[i] - slope[i] * (np.log(down.fluence_uj_cm2) - ln_f[i])
    parts = (
        up.signal_sigma[i] / up.signal[i],
        down.signal_sigma / down.signal,
        slope[i] * up.fluence_sigma_rel[i],
        slope[i] * down.fluence_sigma_rel,
    )
    return change, np.sqrt(np.maximum(sum(np.nan_to_num(part) ** 2 for part in parts), 1e-8))


def _mean(change: FloatArray, sigma: FloatArray) -> tuple[float, float, float]:
    """Weighted mean, its standard error, and the chance of one as large by luck."""
    w = 1 / sigma**2
    mean = float(w @ change / w.sum())
    chi2 = float(w @ (change - mean) ** 2)
    error, freedom = scaled_error(1 / math.sqrt(float(w.sum())), chi2, change.size - 1)
    return mean, error, chance_of(mean, error, freedom)


def _apart(up: ThresholdResult, down: ThresholdResult) -> tuple[float | None, float]:
    """Logarithm of the thresholds' ratio, down over up, and its standard error from the statistical parts."""
    sigma = [_sigma(result) for result in (up, down)]
    if up.threshold_uj_cm2 is None or down.threshold_uj_cm2 is None or None in sigma:
        return None, math.nan
    return math.log(down.threshold_uj_cm2 / up.threshold_uj_cm2), math.hypot(*(s or 0.0 for s in sigma))


def _sigma(result: ThresholdResult) -> float | None:
    ends = result.statistical_ci95
    return None if ends is None else max(math.log(ends[1] / ends[0]) / 3.92, 1e-4)
