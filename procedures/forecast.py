"""What a plan will ask of time and light, told before either is spent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from labctl.analysis.threshold.fit import MIN_DISTINCT, MIN_POINTS
from labctl.model.plan import AdaptivePlan, StabilityPlan, SweepPlan, dark_shots
from labctl.model.pump import Limits, PumpSettings
from procedures.gate.fluence import make_beam
from procedures.plan import all_fluences, most_references, reference_fluence, shortest_exposure_s, steps
from procedures.point.precision import light_budget_s

POINT_S = 1.5
"""Plate, blade, stale frame and readings of a point: what the simulated bench takes for them in real time."""
LONG_S = 1800.0
"""A run that may take longer says so before its first light."""
STRONG = 0.8
"""Share of a limit from which on a plan says so before its first light."""

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Forecast:
    """Time and light of a plan. A pair runs from the shortest exposures that are allowed to the longest.

    :param points: of the plan, without references; least and most.
    :param references: at most.
    :param time_s: on the bench's clock; plate and shutter are taken to be as fast as the simulated ones.
    :param dose_uj_cm2: sum of fluence x pulses on the sample.
    :param highest_fluence_uj_cm2: on the sample, in the bench's convention.
    :param highest_energy_j: pulse energy on the sample that makes it.
    :param warnings: what is too few, long or strong, one sentence each, without a full stop.
    """

    DERIVED: ClassVar[tuple[str, ...]] = ("text",)

    points: tuple[int, int]
    references: int
    time_s: Span
    dose_uj_cm2: Span
    highest_fluence_uj_cm2: float
    highest_energy_j: float
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All of it but the warnings, in one line."""
        least, most = self.points
        count = f"{least} points" if least == most else f"{least} to {most} points"
        extra = f" and up to {self.references} references" if self.references else ""
        return (
            f"{count}{extra}, about {_span(self.time_s, _minutes)}; dose {_span(self.dose_uj_cm2, _dose)}; "
            f"highest fluence {self.highest_fluence_uj_cm2:.4g} uJ/cm2, "
            f"highest pulse energy {self.highest_energy_j * 1e9:.4g} nJ on the sample"
        )


def forecast(plan: SweepPlan, settings: PumpSettings, limits: Limits) -> Forecast:
    """Return what a plan asks for.

    :param plan: one that :func:`procedures.plan.validate` accepts.
    :param settings: of the pump, and ``limits`` of the sample.
    :raises ConfigError: settings or limits make no sense.
    """
    beam, planned = make_beam(settings, limits), len(steps(plan))
    most = plan.budget_points if isinstance(plan, AdaptivePlan) else planned
    exposures_s = (
        shortest_exposure_s(plan, settings.repetition_rate_hz),
        longest_exposure_s(plan, settings.repetition_rate_hz),
    )
    highest = max(all_fluences(plan))
    found = Forecast(
        points=(planned, most),
        references=most_references(plan, most),
        time_s=_time_s(plan, (planned, most + most_references(plan, most)), exposures_s),
        dose_uj_cm2=_dose_uj_cm2(plan, settings.repetition_rate_hz, exposures_s, limits),
        highest_fluence_uj_cm2=highest,
        highest_energy_j=beam.energy_j(highest),
    )
    share = found.highest_energy_j / beam.highest_energy_j
    return replace(found, warnings=(*filter(None, [too_few(plan)]), *_warnings(found, share, limits)))


def too_few(plan: SweepPlan) -> str:
    """Say that a plan has too few points for a threshold; "" when it has enough, or asks for none."""
    if isinstance(plan, StabilityPlan):
        return ""
    if isinstance(plan, AdaptivePlan):
        count = distinct = plan.budget_points
    else:
        planned = [step.fluence_uj_cm2 for step in steps(plan)]
        count, distinct = len(planned), len(set(planned))
    if count < MIN_POINTS:
        points = "1 point" if count == 1 else f"{count} points"
        return f"{points}: too few for a threshold, which needs {MIN_POINTS}; measured anyway"
    if distinct < MIN_DISTINCT:
        return f"{distinct} fluences: too few for a threshold, which needs {MIN_DISTINCT}; measured anyway"
    return ""


def longest_exposure_s(plan: SweepPlan, repetition_rate_hz: float) -> float:
    """Return the longest exposure that a plan may come to: within its light at one point."""
    shortest_s = shortest_exposure_s(plan, repetition_rate_hz)
    if plan.shots:
        return shortest_s
    listed_s = max(plan.integration_s, default=plan.max_integration_s)
    return max(shortest_s, min(listed_s, plan.max_light_s / (plan.least_exposures + 1)))


def _time_s(plan: SweepPlan, points: tuple[int, int], exposures_s: Span) -> Span:
    """Time of so many points, each with an exposure that is thrown away, and of one set of darks.

    Single shots have darks of their own at each point.
    """
    dark_s = 0.0 if plan.shots is None else 2 * dark_shots(plan.shots) * exposures_s[0]
    least, most = (
        n * (POINT_S + light_s + dark_s) + (0 if plan.shots else plan.dark_factor) * (light_s - t)
        for n, light_s, t in zip(points, _light_s(plan, exposures_s), exposures_s, strict=True)
    )
    if isinstance(plan, StabilityPlan):
        waits_s = (points[0] - 1) * plan.every_s
        least, most = max(least, waits_s), max(most, waits_s)
    limit_s = plan.budget_time_s if isinstance(plan, AdaptivePlan) else None
    return _within((least, most), limit_s)


def _light_s(plan: SweepPlan, exposures_s: Span) -> Span:
    """Light of a point, with an exposure that is thrown away."""
    least, most = (
        (n + 1) * t for n, t in zip((plan.least_exposures, plan.most_exposures), exposures_s, strict=True)
    )
    return least, most if plan.counted else min(most, light_budget_s(plan))


def _dose_uj_cm2(plan: SweepPlan, rate_hz: float, exposures_s: Span, limits: Limits) -> Span:
    """Dose of the plan's own points at the least; of all that may come, one trial each, at the most."""
    planned = [step.fluence_uj_cm2 for step in steps(plan)]
    least = most = math.fsum(planned)
    count, own = len(planned), None
    if isinstance(plan, AdaptivePlan):  # it may choose the highest fluence every time
        most += (plan.budget_points - count) * max(planned)
        count, own = plan.budget_points, plan.budget_dose_uj_cm2
    most += most_references(plan, count) * (reference_fluence(plan) or 0.0)
    doses = (
        least * plan.least_exposures * exposures_s[0] * rate_hz,
        most * _light_s(plan, exposures_s)[1] * rate_hz,
    )
    return _within(_within(doses, own), limits.max_dose_uj_cm2)


def _within(span: Span, limit: float | None) -> Span:
    """Cut a span at what ends the run."""
    return span if limit is None else (min(span[0], limit), min(span[1], limit))


def _warnings(found: Forecast, energy_share: float, limits: Limits) -> Iterator[str]:
    if found.time_s[1] > LONG_S:
        yield f"the run is long: about {_span(found.time_s, _minutes)}"
    if energy_share > STRONG:
        yield (
            f"the light is strong: {found.highest_fluence_uj_cm2:.4g} uJ/cm2 is {energy_share:.0%} of what "
            "the limits allow"
        )
    limit = limits.max_dose_uj_cm2
    if limit is not None and found.dose_uj_cm2[1] > STRONG * limit:
        yield f"the dose may reach {_span(found.dose_uj_cm2, _dose)}; its limit is {_dose(limit)}"


def _span(span: Span, write: Callable[[float], str]) -> str:
    low, high = write(span[0]), write(span[1])
    return low if low == high else f"{low} to {high}"


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _dose(uj_cm2: float) -> str:
    return f"{uj_cm2 * 1e-6:.3g} J/cm2" if uj_cm2 >= 1e5 else f"{uj_cm2 * 1e-3:.3g} mJ/cm2"
