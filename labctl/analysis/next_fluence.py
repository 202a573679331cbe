"""Which fluence to measure next, so that the threshold's interval shrinks fastest per point or per dose.

The draws of a fit say how the threshold and the signal at a candidate fluence vary together; a measurement
there with the noise seen so far would shrink the variance of ln threshold by the square of their correlation.
The best candidate has the largest such gain, or the largest gain per fluence where dose counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.threshold.result import Interval, ThresholdResult
from labctl.model.results.sweep import Threshold

Array = NDArray[np.float64]

SPACE_FILLING_POINTS = 10
# An interval watched until it is narrow is narrow by luck too: stopped sweeps were simulated, and their
# intervals had to be this much wider to cover again (benchmarks/accuracy/threshold_adaptive.py).
STOP_FACTOR = 1.2


@dataclass(frozen=True, slots=True)
class Proposal:
    """The next fluence.

    :ivar fluence_uj_cm2: where to measure, within the limits given.
    :ivar why: "space_filling" while the model is not trusted yet, else "interval".
    :ivar expected_half_width_rel: half-width of the 95 % interval to expect after it, relative; None if
        unknown.
    """

    fluence_uj_cm2: float
    why: Literal["space_filling", "interval"]
    expected_half_width_rel: float | None = None


def next_fluence(
    result: ThresholdResult,
    measured_uj_cm2: Sequence[float],
    *,
    low_uj_cm2: float,
    high_uj_cm2: float,
    per: Literal["point", "dose"] = "point",
    space_filling_points: int = SPACE_FILLING_POINTS,
) -> Proposal:
    """Choose the next fluence.

    :param result: the fit of the points so far.
    :param measured_uj_cm2: fluences measured so far, uJ/cm2.
    :param low_uj_cm2: smallest allowed fluence, above 0; ``high_uj_cm2`` the largest: the limit is never
        passed.
    :param per: shrink the interval fastest per "point", or per "dose" (sum of fluence x pulses).
    :param space_filling_points: points before the model is trusted; 10 or more unless shape and noise are
        known.
    :raises ValueError: the limits are not 0 < low < high, or ``per`` is unknown.
    """
    if not 0.0 < low_uj_cm2 < high_uj_cm2 < math.inf:
        raise ValueError(f"limits must be 0 < low < high, not {low_uj_cm2!r} and {high_uj_cm2!r}")
    if per not in ("point", "dose"):
        raise ValueError(f'per must be "point" or "dose", not {per!r}')
    if len(measured_uj_cm2) < space_filling_points or result.model is None:
        return Proposal(widest_gap(measured_uj_cm2, low_uj_cm2, high_uj_cm2), "space_filling")
    return _most_telling(result, low_uj_cm2, high_uj_cm2, per)


def widest_gap(measured_uj_cm2: Sequence[float], low_uj_cm2: float, high_uj_cm2: float) -> float:
    """Return the middle (in ratio) of the widest gap between the points so far; first the two ends."""
    inside = sorted(f for f in measured_uj_cm2 if low_uj_cm2 <= f <= high_uj_cm2)
    # Low light first: it costs the sample least.
    for end in (low_uj_cm2, high_uj_cm2):
        if not any(abs(math.log(f / end)) < 0.02 for f in inside):
            return end
    ln_f = np.log(inside)
    i = int(np.argmax(np.diff(ln_f)))
    return float(np.exp(0.5 * (ln_f[i] + ln_f[i + 1])))


def _most_telling(result: ThresholdResult, low: float, high: float, per: str) -> Proposal:
    model = result.model
    assert model is not None
    candidates = np.geomspace(low, high, 240)
    curves = model.draws_at(candidates)[1:]
    ln_t = model.ln_threshold[1:]
    ln_t = ln_t - ln_t.mean()
    spread = curves - curves.mean(axis=0)
    together = ln_t @ spread / ln_t.size
    own, noise = (spread**2).mean(axis=0), (float(result.noise_rel or 0.05) * curves.mean(axis=0)) ** 2
    variance = max(float((ln_t**2).mean()), 1e-300)
    share = np.clip(together**2 / (variance * (own + noise + 1e-300)), 0.0, 0.999)
    gain = -0.5 * np.log1p(-share)
    best = int(np.argmax(gain / candidates if per == "dose" else gain))
    expected = 1.96 * math.sqrt(variance * (1.0 - float(share[best])))
    return Proposal(float(candidates[best]), "interval", expected)


def half_width_rel(result: Threshold) -> float | None:
    """Half-width of the total 95 % interval over the threshold; None without a two-sided interval."""
    if result.ci95 is None or result.threshold_uj_cm2 is None:
        return None
    return 0.5 * (result.ci95[1] - result.ci95[0]) / result.threshold_uj_cm2


def stop_corrected(result: ThresholdResult) -> ThresholdResult:
    """Widen the intervals of a sweep that was stopped because its interval had become narrow; flag it."""
    threshold = result.threshold_uj_cm2
    if threshold is None or result.ci95 is None or "stopped_early" in result.flags:
        return result
    statistical = result.statistical_ci95
    return replace(
        result,
        ci95=_wider(result.ci95, threshold),
        statistical_ci95=None if statistical is None else _wider(statistical, threshold),
        flags=(*result.flags, "stopped_early"),
    )


def _wider(interval: Interval, threshold: float) -> Interval:
    """Scale both arms of an interval in ln threshold, which keeps them positive."""
    low, high = (STOP_FACTOR * math.log(end / threshold) for end in interval)
    return threshold * math.exp(low), threshold * math.exp(high)
