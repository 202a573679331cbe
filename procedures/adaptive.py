"""Where to measure next: what narrows the threshold's interval, until it is narrow or enough is spent."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from labctl.analysis.evaluation import emission_threshold
from labctl.analysis.light_light import is_reference
from labctl.analysis.next_fluence import half_width_rel, next_fluence, stop_corrected
from labctl.analysis.threshold import ALL_LINES, START_LOWER, ThresholdResult
from labctl.model.plan import AdaptivePlan, Cause, Ending, StabilityPlan, SweepPlan
from labctl.model.pump import Limits, PumpSettings
from labctl.model.records import SweepPoint
from procedures.plan import Step, fluences, steps
from procedures.sources import PlannedSource, StepSource, with_reference
from procedures.stability import TimedSource


class AdaptiveSource:
    """Begins with the plan's own steps, then chooses; the live form of the fit keeps a choice short.

    :param photon_order: of the pumping.
    :param max_dose_uj_cm2: the bench's own limit, which a sweep ends before rather than runs into.
    """

    def __init__(self, plan: AdaptivePlan, photon_order: int, max_dose_uj_cm2: float | None) -> None:
        self._plan, self._photon_order = plan, photon_order
        self._first = steps(plan)
        self._low, self._high = min(fluences(plan)), max(fluences(plan))
        doses = [d for d in (plan.budget_dose_uj_cm2, max_dose_uj_cm2) if d is not None]
        self._budget_dose = min(doses, default=math.inf)
        self._width: float | None = None
        self.ending: Ending | None = None

    @property
    def most(self) -> int:
        """The budget of points."""
        return self._plan.budget_points

    def next(self, points: Sequence[SweepPoint]) -> Step | None:
        """Return the most telling step, None when the target is met or the next point fits no budget."""
        own = [p for p in points if not is_reference(p)]
        step, self.ending = self._wanted(points, own)
        if step is None:
            return None
        if spent := self._spent(points, own, step.fluence_uj_cm2):
            self.ending = _ending(*spent, self._width)
            return None
        return step

    def _wanted(
        self, points: Sequence[SweepPoint], own: Sequence[SweepPoint]
    ) -> tuple[Step | None, Ending | None]:
        """Return a step if budgets did not matter, or the end that the target makes."""
        if len(own) < len(self._first):
            return self._first[len(own)], None
        result = emission_threshold(points, self._plan, self._photon_order)
        self._width = half_width_rel(stop_corrected(result))
        target, chosen = self._plan.target_rel, len(own) - len(self._first)
        if self._width is not None and self._width <= target and chosen >= self._plan.confirm_points:
            return None, _ending("target", f"the target of +-{100 * target:.3g} % is met", self._width)
        if ALL_LINES in result.flags:
            return None, _ending("above", result.reason, None)
        return self._choose(result, own), None

    def _choose(self, result: ThresholdResult, own: Sequence[SweepPoint]) -> Step:
        # Where all of it may lie above threshold, more light is more damage and no more knowledge.
        high = math.sqrt(self._low * self._high) if START_LOWER in result.flags else self._high
        proposal = next_fluence(
            result,
            [p.fluence_set_uj_cm2 for p in own],  # as set: a mount that is off leaves no gap at the ends
            low_uj_cm2=self._low,
            high_uj_cm2=high,
            per=self._plan.per,
            space_filling_points=len(self._first),
        )
        fluence = min(max(proposal.fluence_uj_cm2, self._low), self._high)
        return Step(len(own), fluence, "up" if fluence >= own[-1].fluence_set_uj_cm2 else "down")

    def _spent(
        self, points: Sequence[SweepPoint], own: Sequence[SweepPoint], fluence_uj_cm2: float
    ) -> tuple[Cause, str] | None:
        """Say which budget has no room for one more point, judged by what points have cost so far."""
        plan = self._plan
        if len(own) >= plan.budget_points:
            return "points", f"the budget of {plan.budget_points} points is spent"
        if not points:
            return None
        dose = points[-1].dose_uj_cm2 + _pulses(points) * fluence_uj_cm2
        if dose > self._budget_dose:
            return "dose", f"one more point would pass the budget of {self._budget_dose:.4g} uJ/cm2 of dose"
        elapsed = points[-1].elapsed_s
        if plan.budget_time_s is not None and elapsed + elapsed / len(points) > plan.budget_time_s:
            return "time", f"one more point would pass the budget of {plan.budget_time_s:.4g} s"
        return None


def _ending(cause: Cause, reason: str, width: float | None) -> Ending:
    reached = "no interval" if width is None else f"interval +-{100 * width:.2g} %"
    return Ending(cause, f"{reason}; {reached}", width)


def _pulses(points: Sequence[SweepPoint]) -> float:
    """Pulses on the sample that a point has cost lately, trials and the shutter's travel included."""
    dose = np.array([0.0, *(p.dose_uj_cm2 for p in points)])
    return float(np.median((np.diff(dose) / [p.fluence_uj_cm2 for p in points])[-5:]))


def make_source(plan: SweepPlan, settings: PumpSettings, limits: Limits) -> StepSource:
    """Return where the steps of a plan come from, its reference in between."""
    if isinstance(plan, AdaptivePlan):
        own: StepSource = AdaptiveSource(plan, settings.photon_order, limits.max_dose_uj_cm2)
    elif isinstance(plan, StabilityPlan):
        own = TimedSource(plan, limits.max_dose_uj_cm2)
    else:
        own = PlannedSource(plan)
    return with_reference(own, plan)
