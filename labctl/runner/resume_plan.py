"""The plan of a stored run, read back as strictly as if a stranger had written it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from pydantic import TypeAdapter, ValidationError

from labctl.data.run import Run
from labctl.model.errors import DataError
from labctl.model.plan import AdaptivePlan, StabilityPlan, SweepPlan
from procedures.plan import steps

_BESIDE = {"fluences", "emission_nm", "lasing_nm"}
"""Written beside the plan's own fields, for people."""
_MOST_POINTS, _MOST_EXPOSURES = 1_000_000, 100_000


def stored_plan(run: Run) -> SweepPlan:
    """Return the plan a run was begun with.

    :raises DataError: it is no plan, one of another labctl, or the points do not belong to it.
    """
    stored = {key: value for key, value in run.start.plan.items() if key not in _BESIDE}
    kind = AdaptivePlan if "target_rel" in stored else StabilityPlan if "every_s" in stored else SweepPlan
    unknown = sorted(set(stored) - {field.name for field in dataclasses.fields(kind)})
    if unknown:
        raise DataError(f"{run.path}: its plan says {', '.join(unknown)}, which this labctl does not know")
    try:
        plan = TypeAdapter(kind).validate_python(stored)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{run.path}: its plan is not sound: {where}: {first['msg']}") from exc
    if plan.points > _MOST_POINTS or plan.average > _MOST_EXPOSURES:
        raise DataError(f"{run.path}: its plan asks for {plan.points} points of {plan.average} exposures")
    _check_points(run, plan)
    return plan


def _check_points(run: Run, plan: SweepPlan) -> None:
    """The points must be the plan's first ones: what is left is then known by number."""
    numbers = run.points["index"].tolist()
    if numbers != list(range(len(numbers))):
        raise DataError(f"{run.path}: points are missing between others", "labctl verify says which")
    if isinstance(plan, AdaptivePlan) or plan.reference_every:
        return  # their steps follow from the points
    for step, wanted in zip(steps(plan), run.column("fluence_set_uj_cm2"), strict=False):
        if not math.isclose(step.fluence_uj_cm2, wanted, rel_tol=1e-9):
            raise DataError(
                f"{run.path}: point {step.index + 1} was set to {wanted:.6g} uJ/cm2, "
                f"its plan says {step.fluence_uj_cm2:.6g}"
            )


def dose_before(run: Run, plan: SweepPlan, repetition_rate_hz: float) -> tuple[float, float]:
    """Return the dose of all sessions so far, and how much of it is assumed (uJ/cm2).

    A killed process cannot say what light its last point had: as much is assumed as the longest point
    before it would have had at that fluence.
    """
    doses = run.column("dose_uj_cm2")
    known = max([float(doses[-1]) if doses.size else 0.0, run.sessions[-1].dose_uj_cm2])
    ended = run.result.dose_uj_cm2
    if ended is not None:
        return max(known, ended), 0.0
    planned = steps(plan)
    after = planned[min(len(run), len(planned) - 1)].fluence_uj_cm2
    assumed = after * _pulses(run, plan, repetition_rate_hz)
    return known + assumed, assumed


def _pulses(run: Run, plan: SweepPlan, repetition_rate_hz: float) -> float:
    """Most pulses on the sample at any point so far; before the first, those of the longest exposures."""
    longest = (plan.average + 1) * plan.max_integration_s * repetition_rate_hz
    if not len(run):
        return longest
    return float(np.max(np.diff(run.column("dose_uj_cm2"), prepend=0.0) / run.fluence_uj_cm2))


def plan_size(plan: Mapping[str, object]) -> int | None:
    """Return the number of steps a stored plan has, None where that is not known beforehand."""
    if "target_rel" in plan or plan.get("reference_every"):
        return None
    listed = plan.get("fluences")
    if not isinstance(listed, list) or not listed:
        return None
    return 2 * len(listed) - 1 if plan.get("direction") == "up-down" else len(listed)
