"""What a sweep says, its own design taken into account: references, both ways, and an end it chose itself.

One place for the end of a run and for ``labctl fit``, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from labctl.analysis.bleaching import Bleaching, Model, corrected, measure_bleaching, with_correction_error
from labctl.analysis.energy_step import EnergyStep, widened
from labctl.analysis.hysteresis import Hysteresis, measure_hysteresis
from labctl.analysis.light_light import LightLight
from labctl.analysis.next_fluence import half_width_rel, stop_corrected
from labctl.analysis.threshold import ThresholdResult, fit_threshold

BUDGETS = ("points", "dose", "time")


@dataclass(frozen=True, slots=True)
class Design:
    """What of a sweep's plan its verdict depends on.

    :param target_rel: half-width an adaptive sweep was to reach; None for one that was planned throughout.
    :param ended: why it asked for no more points (``procedures.sources.Cause``); None if it was broken off.
    :param energy_step: a step of the pulse energy among its points.
    """

    photon_order: int
    direction: str = "up"
    correction: Literal["off"] | Model = "off"
    target_rel: float | None = None
    ended: str | None = None
    energy_step: EnergyStep | None = None

    @classmethod
    def of(cls, plan: Mapping[str, object], photon_order: int, ended: str | None) -> Design:
        """Read it from a plan as a run file stores it; what older files lack was not asked for."""
        correction, target = plan.get("correct_bleaching"), plan.get("target_rel")
        return cls(
            photon_order,
            str(plan.get("direction", "up")),
            correction if correction in ("excitation", "signal") else "off",
            float(target) if isinstance(target, (int, float)) else None,
            ended,
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Both bands' thresholds and what else the points say.

    :param shown: the whole emission as it was fitted, corrected where that was asked for; shape ``(n,)``
        as measured, nan for a signal at the reference.
    """

    emission: ThresholdResult
    lasing: ThresholdResult
    shown: LightLight
    bleaching: Bleaching | None = None
    hysteresis: Hysteresis | None = None


def judge(emission: LightLight, lasing: LightLight, design: Design) -> Verdict:
    """Fit both bands of a sweep and look at what its design was made to show."""
    bleaching = measure_bleaching(emission, design.photon_order)
    correcting = bleaching if design.correction != "off" else None
    shown = _as_fitted(emission, correcting, design)
    both_ways = design.direction == "up-down" and design.target_rel is None
    hysteresis = measure_hysteresis(shown, lambda c: _fit(c, design)) if both_ways else None
    whole = _of_band(emission, correcting, design)
    if design.target_rel is not None:
        whole = _of_adaptive(whole, design)
    flags = [*(bleaching.flags if bleaching else ()), *(hysteresis.flags if hysteresis else ())]
    whole = replace(whole, flags=tuple(dict.fromkeys((*whole.flags, *flags))))
    peaks = _of_band(lasing, correcting, design)
    if design.energy_step is not None:
        whole, peaks = widened(whole, design.energy_step), widened(peaks, design.energy_step)
    shown = replace(shown, signal=np.where(shown.reference, np.nan, shown.signal))
    return Verdict(whole, peaks, shown, bleaching, hysteresis)


def adaptive_mapping(result: ThresholdResult, design: Design, reason: str, points: int) -> dict[str, object]:
    """Say how a sweep that chose its fluences ended, as plain values.

    :param reason: in words; ``points`` without those at the reference.
    """
    width = half_width_rel(result)
    target = design.target_rel
    return {
        "ended": design.ended,
        "reason": reason,
        "target_rel": target,
        "half_width_rel": width,
        "target_met": width is not None and target is not None and width <= target,
        "points": points,
    }


def _as_fitted(curve: LightLight, bleaching: Bleaching | None, design: Design) -> LightLight:
    if bleaching is None or design.correction == "off":
        return curve
    return corrected(curve, bleaching, design.correction, design.photon_order)


def _of_band(curve: LightLight, bleaching: Bleaching | None, design: Design) -> ThresholdResult:
    result = _fit(_as_fitted(curve, bleaching, design), design)
    if bleaching is None:
        return result
    result = with_correction_error(
        result, bleaching, lambda moved: _fit(_as_fitted(curve, moved, design), design)
    )
    return _reworded(result, "with the correction's error")


def _of_adaptive(result: ThresholdResult, design: Design) -> ThresholdResult:
    """Flag it; widen its interval unless a budget ended the sweep, which looks at no interval."""
    by_budget = design.ended in BUDGETS
    flags = ("adaptive", f"budget_{design.ended}") if by_budget else ("adaptive",)
    result = replace(result, flags=(*result.flags, *flags))
    return result if by_budget else _reworded(stop_corrected(result), "widened because it ended the sweep")


def _reworded(result: ThresholdResult, why: str) -> ThresholdResult:
    """State the interval again after it has changed."""
    if result.threshold_uj_cm2 is None or result.ci95 is None:
        return result
    low, high = result.ci95
    onset = f"onset at {result.threshold_uj_cm2:.4g} uJ/cm2"
    return replace(result, reason=f"{onset}, 95 % interval {low:.4g} to {high:.4g}, {why}")


def _fit(curve: LightLight, design: Design) -> ThresholdResult:
    """Fit the points of the grid; the outliers it names are counted in all points."""
    grid, place = curve.grid, np.flatnonzero(~curve.reference)
    result = fit_threshold(
        grid.fluence_uj_cm2,
        grid.signal,
        fluence_sigma_rel=grid.typical_fluence_sigma_rel,
        photon_order=design.photon_order,
        fwhm_nm=grid.fwhm_nm,
        peak_count=grid.peak_count,
    )
    return replace(result, outliers=tuple(int(place[i]) for i in result.outliers))
