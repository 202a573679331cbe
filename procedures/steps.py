"""What a sweep measures next: the steps of a plan, or a choice made from the points so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from labctl.analysis.evaluation import emission_threshold
from labctl.analysis.light_light import is_reference
from labctl.analysis.next_fluence import half_width_rel, next_fluence, stop_corrected
from labctl.analysis.threshold import ALL_LINES, START_LOWER, ThresholdResult
from labctl.model.errors import ConfigError
from labctl.model.plan import AdaptivePlan, Cause, Ending, StabilityPlan, SweepPlan
from labctl.model.pump import Limits, PumpSettings
from labctl.model.records import SweepPoint
from procedures.plan import Step, fluences, reference_fluence, steps

_RECENT = 5


class StepSource(Protocol):
    """Says what to measure next. Asked again with the same points, it gives the same answer."""

    @property
    def most(self) -> int:
        """How many steps there are at most."""

    @property
    def ending(self) -> Ending | None:
        """Why the last answer was None; None while it was a step."""

    def next(self, points: Sequence[SweepPoint]) -> Step | None:
        """Return the next step, None for the end.

        :param points: all measured so far, in order, those at a reference included; arrays may be empty.
        """


class PlannedSource:
    """The steps of a plan, one after another."""

    def __init__(self, plan: SweepPlan) -> None:
        self._steps = steps(plan)
        self.ending: Ending | None = None

    @property
    def most(self) -> int:
        """Number of steps."""
        return len(self._steps)

    def next(self, points: Sequence[SweepPoint]) -> Step | None:
        """Return the first step that was not measured yet."""
        done = sum(not is_reference(p) for p in points)
        if done < len(self._steps):
            return self._steps[done]
        self.ending = Ending("plan", "every planned point was measured")
        return None


class TimedSource(PlannedSource):
    """The steps of a stability run, each with the time it is due; ends before the dose passes its limit.

    :raises ConfigError: the plan would leave the light on, or visit other fluences as well.
    """

    def __init__(self, plan: StabilityPlan, max_dose_uj_cm2: float | None) -> None:
        super().__init__(plan)
        if plan.keep_open:
            raise ConfigError("a stability run closes the shutter between points", key="keep_open")
        if plan.spacing != "list" or len(set(plan.fluences_uj_cm2)) != 1 or plan.reference_every:
            raise ConfigError("a stability run has one fluence", key="fluences")
        self._every_s = plan.every_s
        self._most_dose = math.inf if max_dose_uj_cm2 is None else max_dose_uj_cm2

    def next(self, points: Sequence[SweepPoint]) -> Step | None:
        """Return the next step, None after the last one or where its dose would pass the limit."""
        step = super().next(points)
        if step is None or not points:
            return step
        spent = np.array([0.0, *(p.dose_uj_cm2 for p in points)])
        if spent[-1] + np.diff(spent)[-_RECENT:].max() > self._most_dose:
            self.ending = Ending(
                "dose", f"one more point would exceed the dose of {self._most_dose:.4g} uJ/cm2"
            )
            return None
        return replace(step, due_s=points[0].elapsed_s + step.index * self._every_s)


class AdaptiveSource:
    """Begins with the plan's own steps, then chooses; the live form of the fit keeps a choice short.

    :param photon_order: of the pumping.
    :param max_dose_uj_cm2: the bench's own limit, which a sweep ends before rather than runs into.
    :param settings: the chain to the sample, where it is known.
    """

    def __init__(
        self,
        plan: AdaptivePlan,
        photon_order: int,
        max_dose_uj_cm2: float | None,
        settings: PumpSettings | None = None,
    ) -> None:
        self._plan, self._photon_order, self._settings = plan, photon_order, settings
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
        result = emission_threshold(points, self._plan, self._photon_order, self._settings)
        self._width = half_width_rel(stop_corrected(result))
        target, chosen = self._plan.target_rel, len(own) - len(self._first)
        if self._width is not None and self._width <= target and chosen >= self._plan.confirm_points:
            return None, _ending("target", f"the target of +-{100 * target:.3g} % is reached", self._width)
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
            return "points", f"the budget of {plan.budget_points} points is used up"
        if not points:
            return None
        dose = points[-1].dose_uj_cm2 + _pulses(points) * fluence_uj_cm2
        if dose > self._budget_dose:
            return "dose", f"one more point would exceed the budget of {self._budget_dose:.4g} uJ/cm2 of dose"
        elapsed = points[-1].elapsed_s
        if plan.budget_time_s is not None and elapsed + elapsed / len(points) > plan.budget_time_s:
            return "time", f"one more point would exceed the budget of {plan.budget_time_s:.4g} s"
        return None


def _ending(cause: Cause, reason: str, width: float | None) -> Ending:
    reached = "no interval" if width is None else f"interval +-{100 * width:.2g} %"
    return Ending(cause, f"{reason}; {reached}", width)


def _pulses(points: Sequence[SweepPoint]) -> float:
    """Pulses on the sample that a point has cost lately, trials and the shutter's travel included."""
    dose = np.array([0.0, *(p.dose_uj_cm2 for p in points)])
    return float(np.median((np.diff(dose) / [p.fluence_uj_cm2 for p in points])[-5:]))


class ReferencedSource:
    """Another source's steps with a reference before the first, after every ``every`` and after the last."""

    def __init__(self, inner: StepSource, every: int, fluence_uj_cm2: float) -> None:
        self._inner, self._every, self._fluence = inner, every, fluence_uj_cm2

    @property
    def most(self) -> int:
        """Steps of both kinds at most."""
        return self._inner.most + math.ceil(self._inner.most / self._every) + 1

    @property
    def ending(self) -> Ending | None:
        """The inner source's."""
        return self._inner.ending

    def next(self, points: Sequence[SweepPoint]) -> Step | None:
        """Return the reference where it is due, else what the inner source wants."""
        since = next((n for n, p in enumerate(reversed(points)) if is_reference(p)), None)
        if since is None or since >= self._every:
            return self._reference(points)
        step = self._inner.next(points)
        if step is not None:
            return replace(step, index=len(points))
        # The end needs a reference too, else the last points would be corrected by extrapolation. What it
        # says may bring a source that chooses to go on.
        return self._reference(points) if since else None

    def _reference(self, points: Sequence[SweepPoint]) -> Step:
        up = not points or self._fluence >= points[-1].fluence_set_uj_cm2
        return Step(len(points), self._fluence, "up" if up else "down", reference=True)


def make_source(plan: SweepPlan, settings: PumpSettings, limits: Limits) -> StepSource:
    """Return where the steps of a plan come from, its reference in between."""
    if isinstance(plan, AdaptivePlan):
        own: StepSource = AdaptiveSource(plan, settings.photon_order, limits.max_dose_uj_cm2, settings)
    elif isinstance(plan, StabilityPlan):
        own = TimedSource(plan, limits.max_dose_uj_cm2)
    else:
        own = PlannedSource(plan)
    fluence = reference_fluence(plan)
    return own if fluence is None else ReferencedSource(own, plan.reference_every, fluence)
