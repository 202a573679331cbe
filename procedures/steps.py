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
from procedures.plan import Step, fluences, most_references, reference_fluence, steps

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


TOGETHER = 2
"""References that are measured one after another, but for the first; their dose is small."""


class ReferencedSource:
    """Another source's steps, with references before the first and after the last, and some in between.

    These come after every ``reference_every`` points. By default there is one as soon as a point lies above
    the kink, and one at the middle of the light where none does by then. Unless the plan forbids to correct
    for bleaching, a point just above the kink is repeated before the last reference: by how much it has
    changed tells emitters that were lost from signal that was lost.

    :param photon_order: of the pumping.
    """

    def __init__(self, inner: StepSource, plan: SweepPlan, fluence_uj_cm2: float, photon_order: int) -> None:
        self._inner, self._plan, self._fluence = inner, plan, fluence_uj_cm2
        self._order = photon_order
        self._half = 0.5 * math.fsum(step.fluence_uj_cm2 for step in steps(plan))
        self._repeats = plan.correct_bleaching != "off"

    @property
    def most(self) -> int:
        """Steps of all kinds at most."""
        return self._inner.most + most_references(self._plan, self._inner.most) + self._repeats

    @property
    def ending(self) -> Ending | None:
        """The inner source's."""
        return self._inner.ending

    def next(self, points: Sequence[SweepPoint]) -> Step | None:
        """Return the reference where it is due, else what the inner source wants."""
        if not points or self._is_due(points):
            return self._reference(points, self._fluence)
        step = self._inner.next(points)
        if step is not None:
            return replace(step, index=len(points))
        again = self._repeated(points)
        if again is not None:
            return self._reference(points, again)
        # The end needs a reference too, else the last points would be corrected by extrapolation. What it
        # says may bring a source that chooses to go on.
        wanted = 1 if self._plan.reference_every is not None else TOGETHER
        return self._reference(points, self._fluence) if self._in_a_row(points) < wanted else None

    def _in_a_row(self, points: Sequence[SweepPoint]) -> int:
        """How many references the points so far end with."""
        return next((n for n, p in enumerate(reversed(points)) if not self._is_own(p)), len(points))

    def _is_own(self, point: SweepPoint) -> bool:
        return is_reference(point) and math.isclose(point.fluence_set_uj_cm2, self._fluence, rel_tol=1e-9)

    def _is_due(self, points: Sequence[SweepPoint]) -> bool:
        """Whether a reference is due between two points."""
        since = next((n for n, p in enumerate(reversed(points)) if self._is_own(p)), len(points))
        every = self._plan.reference_every
        if every is not None:
            return since >= every
        taken, row = sum(map(self._is_own, points)), self._in_a_row(points)
        if row:
            return taken > row and row < TOGETHER and above_kink(points, self._order) is not None
        then, now = (above_kink(p, self._order) for p in (points[:-since], points))
        if now is not None:
            return then is None and taken <= 2
        light = math.fsum(p.fluence_set_uj_cm2 for p in points if not is_reference(p))
        return taken == 1 and light >= self._half

    def _repeated(self, points: Sequence[SweepPoint]) -> float | None:
        """Return the fluence to repeat, None where there is none, or where it was repeated already."""
        if not self._repeats or any(is_reference(p) and not self._is_own(p) for p in points):
            return None
        return above_kink(points, self._order)

    def _reference(self, points: Sequence[SweepPoint], fluence: float) -> Step:
        up = not points or fluence >= points[-1].fluence_set_uj_cm2
        return Step(len(points), fluence, "up" if up else "down", reference=True)


_ABOVE, _SIGMAS = 1.5, 5.0


def above_kink(points: Sequence[SweepPoint], photon_order: int) -> float | None:
    """Return the lowest fluence (as it was set, uJ/cm2) that lies clearly above a kink; None without one.

    There the signal exceeds what luminescence of this order, as the three lowest points have it, would give
    by half, and by five standard errors; so it does at most of the points above it.

    :param points: in any order; references are passed over.
    """
    own = sorted((p for p in points if not is_reference(p)), key=lambda p: p.fluence_set_uj_cm2)
    own = [p for p in own if p.signal > 0 and p.fluence_uj_cm2 > 0 and p.saturated_exposures < p.exposures]
    if len(own) < 4:
        return None
    fluence, signal, sigma = (
        np.array([getattr(p, name) for p in own]) for name in ("fluence_uj_cm2", "signal", "signal_sigma")
    )
    over = fluence**-photon_order
    plain = float(np.median(signal[:3] * over[:3]))
    clear = (signal * over > _ABOVE * plain) & (signal - plain / over > _SIGMAS * np.nan_to_num(sigma))
    clear[:3] = False
    most = np.cumsum(clear[::-1])[::-1] * 2 > np.arange(clear.size, 0, -1)
    found = np.flatnonzero(clear & most)
    return own[int(found[0])].fluence_set_uj_cm2 if found.size else None


def make_source(plan: SweepPlan, settings: PumpSettings, limits: Limits) -> StepSource:
    """Return where the steps of a plan come from, its reference in between."""
    if isinstance(plan, AdaptivePlan):
        own: StepSource = AdaptiveSource(plan, settings.photon_order, limits.max_dose_uj_cm2, settings)
    elif isinstance(plan, StabilityPlan):
        own = TimedSource(plan, limits.max_dose_uj_cm2)
    else:
        own = PlannedSource(plan)
    fluence = reference_fluence(plan)
    return own if fluence is None else ReferencedSource(own, plan, fluence, settings.photon_order)
