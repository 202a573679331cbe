"""Emission against time at one fluence: points at even intervals, in the dark between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from labctl.model.errors import ConfigError
from labctl.model.plan import Decay, Ending, StabilityPlan
from labctl.model.records import SweepPoint
from procedures.plan import MOST_POINTS, Step
from procedures.sources import PlannedSource

__all__ = ["StabilityPlan", "TimedSource", "stability_plan"]

LEAST_POINTS = 8
"""Fewer tell nothing of the shape of a decay."""
_RECENT = 5


def stability_plan(
    fluence_uj_cm2: float,
    duration_s: float,
    every_s: float,
    *,
    average: int = 5,
    model: Decay = "best",
    constant: bool = False,
) -> StabilityPlan:
    """Return the plan of a stability run.

    :param fluence_uj_cm2: on the sample, in the bench's convention.
    :param duration_s: from the first point to the last.
    :param average: exposures at each point; each of them is light on the sample.
    :param model: of the decay, and ``constant``, as :class:`StabilityPlan` has them.
    :raises ConfigError: too few points or too many, or a number that makes no sense.

    >>> plan = stability_plan(60.0, 600.0, 30.0)
    >>> len(plan.fluences_uj_cm2), plan.every_s
    (21, 30.0)
    """
    for key, value in (("minutes", duration_s), ("every", every_s)):
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"must be above zero, not {value:g}", key=key)
    points = math.floor(duration_s / every_s * (1 + 1e-9)) + 1
    if not LEAST_POINTS <= points <= MOST_POINTS:
        raise ConfigError(
            f"{points} points; {LEAST_POINTS} to {MOST_POINTS} are possible",
            key="every",
            hint="another interval or duration",
        )
    listed = (float(fluence_uj_cm2),) * points
    return StabilityPlan(
        spacing="list",
        fluences_uj_cm2=listed,
        points=points,
        start_uj_cm2=fluence_uj_cm2,
        stop_uj_cm2=fluence_uj_cm2,
        average=average,
        every_s=every_s,
        model=model,
        constant=constant,
    )


class TimedSource(PlannedSource):
    """The steps of a stability run, each with the time it is due; ends before the dose passes its limit.

    :raises ConfigError: the plan would leave the light on, or visit other fluences as well.
    """

    def __init__(self, plan: StabilityPlan, max_dose_uj_cm2: float | None) -> None:
        super().__init__(plan)
        if not (math.isfinite(plan.every_s) and plan.every_s > 0):
            raise ConfigError(f"must be above zero, not {plan.every_s:g}", key="every")
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
                "dose", f"one more point would pass the dose of {self._most_dose:.4g} uJ/cm2"
            )
            return None
        return replace(step, due_s=points[0].elapsed_s + step.index * self._every_s)
