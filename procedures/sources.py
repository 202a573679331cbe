"""Where the steps of a sweep come from: a plan, or a choice made from the points so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from labctl.analysis.light_light import is_reference
from labctl.model.plan import Ending, SweepPlan
from labctl.model.records import SweepPoint
from procedures.plan import Step, reference_fluence, steps

__all__ = ["PlannedSource", "ReferencedSource", "StepSource", "with_reference"]


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


def with_reference(source: StepSource, plan: SweepPlan) -> StepSource:
    """Put the plan's reference, if it has one, between the steps of a source."""
    fluence = reference_fluence(plan)
    return source if fluence is None else ReferencedSource(source, plan.reference_every, fluence)
