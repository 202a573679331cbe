"""The threshold of one band, the run's design taken into account: references, an end it chose itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from labctl.analysis.evaluation.bleaching import (
    Bleaching,
    Model,
    corrected,
    measure_bleaching,
    with_correction_error,
)
from labctl.analysis.light_light import LightLight, light_light
from labctl.analysis.next_fluence import stop_corrected
from labctl.analysis.threshold import ThresholdResult, fit_threshold, peak_onset
from labctl.model.plan import AdaptivePlan, Cause, Ending, SweepPlan
from labctl.model.records import SweepPoint

BUDGETS = ("points", "dose", "time")


@dataclass(frozen=True, slots=True)
class Design:
    """What of a run's plan and end its threshold depends on.

    :param target_rel: half-width an adaptive sweep was to reach; None for one that was planned throughout.
    :param ended: why it asked for no more points; None if it was broken off.
    """

    photon_order: int
    direction: str = "up"
    correction: Literal["off"] | Model = "off"
    target_rel: float | None = None
    ended: Cause | None = None

    @classmethod
    def of(cls, plan: SweepPlan, photon_order: int, ending: Ending | None = None) -> Design:
        """Take it from a plan, and from why the run ended by itself."""
        target = plan.target_rel if isinstance(plan, AdaptivePlan) else None
        ended = None if ending is None else ending.cause
        return cls(photon_order, plan.direction, plan.correct_bleaching, target, ended)

    @property
    def compares_ways(self) -> bool:
        """Whether it was made to show what differs on the way down."""
        return self.direction == "up-down" and self.target_rel is None


def emission_threshold(points: Sequence[SweepPoint], plan: SweepPlan, photon_order: int) -> ThresholdResult:
    """Fit the emission of a run that still goes on, quickly, for what is to be measured next.

    The bleaching is corrected where the plan wants it; the result holds draws of the curve.

    :param points: so far, those at a reference included; their arrays may be empty.
    """
    design = Design.of(plan, photon_order)
    whole = light_light(points)
    bleaching = measure_bleaching(whole, photon_order) if design.correction != "off" else None
    return fit_curve(as_fitted(whole, bleaching, design), photon_order, quick=True)


def fit_curve(curve: LightLight, photon_order: int, *, quick: bool = False) -> ThresholdResult:
    """Fit the points of a curve that are none of a reference; the outliers are counted in all points.

    :param quick: on coarser grids, in some 30 ms for 64 points.
    """
    grid, place = curve.grid, np.flatnonzero(~curve.reference)
    result = fit_threshold(
        grid.fluence_uj_cm2,
        grid.signal,
        fluence_sigma_rel=grid.typical_fluence_sigma_rel,
        photon_order=photon_order,
        fwhm_nm=grid.fwhm_nm,
        peak_count=grid.peak_count,
        quick=quick,
    )
    checks = dict(result.cross_checks)
    if grid.peak_count is not None:
        checks["peak_onset"] = peak_onset(grid.fluence_uj_cm2, grid.peak_count)
    outliers = tuple(int(place[i]) for i in result.outliers)
    return replace(result, outliers=outliers, cross_checks=checks)


def as_fitted(curve: LightLight, bleaching: Bleaching | None, design: Design) -> LightLight:
    """Return a curve as it is fitted: corrected for the bleaching where that was asked for."""
    if bleaching is None or design.correction == "off":
        return curve
    return corrected(curve, bleaching, design.correction, design.photon_order)


def band_threshold(curve: LightLight, bleaching: Bleaching | None, design: Design) -> ThresholdResult:
    """Fit one band, the error of a correction in its interval."""
    result = fit_curve(as_fitted(curve, bleaching, design), design.photon_order)
    if bleaching is None or design.correction == "off":
        return result
    result = with_correction_error(
        result, bleaching, lambda moved: fit_curve(as_fitted(curve, moved, design), design.photon_order)
    )
    return _reworded(result, "with the correction's error")


def as_adaptive(result: ThresholdResult, ended: Cause | None) -> ThresholdResult:
    """Flag it; widen its interval unless a budget ended the sweep, which looks at no interval."""
    by_budget = ended in BUDGETS
    flags = ("adaptive", f"budget_{ended}") if by_budget else ("adaptive",)
    result = replace(result, flags=(*result.flags, *flags))
    return result if by_budget else _reworded(stop_corrected(result), "widened because it ended the sweep")


def _reworded(result: ThresholdResult, why: str) -> ThresholdResult:
    """State the interval again after it has changed."""
    if result.threshold_uj_cm2 is None or result.ci95 is None:
        return result
    low, high = result.ci95
    onset = f"onset at {result.threshold_uj_cm2:.4g} uJ/cm2"
    return replace(result, reason=f"{onset}, 95 % interval {low:.4g} to {high:.4g}, {why}")
