"""What a plan cannot give, said before there is light."""

from __future__ import annotations

from labctl.analysis.threshold.fit import MIN_DISTINCT, MIN_POINTS
from labctl.model.plan import AdaptivePlan, SweepPlan
from procedures.plan import steps


def too_few(plan: SweepPlan) -> str:
    """Say that a plan has too few points for a threshold; an empty string when it has enough."""
    if isinstance(plan, AdaptivePlan):
        count = distinct = plan.budget_points
    else:
        planned = [step.fluence_uj_cm2 for step in steps(plan)]
        count, distinct = len(planned), len(set(planned))
    if count < MIN_POINTS:
        points = "1 point" if count == 1 else f"{count} points"
        return f"{points}: too few for a threshold, which needs {MIN_POINTS}; measured all the same"
    if distinct < MIN_DISTINCT:
        return (
            f"{distinct} fluences: too few for a threshold, which needs {MIN_DISTINCT}; measured all the same"
        )
    return ""
