"""What follows from the plan of a fluence sweep; it is checked completely before anything moves."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from labctl.model.errors import ConfigError
from labctl.model.plan import AdaptivePlan, Background, Correction, Direction, Per, Spacing, SweepPlan
from labctl.model.pump import Limits, PumpSettings
from labctl.model.records import SpectrometerInfo
from procedures import feasible

__all__ = [
    "AdaptivePlan",
    "Step",
    "SweepPlan",
    "all_fluences",
    "fluences",
    "reference_fluence",
    "steps",
    "validate",
]

MOST_POINTS = 10_000
"""A sweep of more is a slip of the finger: at a second or two a point it would last a working day."""
_MOST = 1e9


@dataclass(frozen=True, slots=True)
class Step:
    """One fluence to visit, not before ``due_s`` of the run; ``direction`` is that from the step before."""

    index: int
    fluence_uj_cm2: float
    direction: Literal["up", "down"]
    reference: bool = False
    due_s: float | None = None


def fluences(plan: SweepPlan) -> tuple[float, ...]:
    """Return the fluences of an upward sweep.

    >>> fluences(SweepPlan(start_uj_cm2=10, stop_uj_cm2=30, points=3, spacing="linear"))
    (10.0, 20.0, 30.0)
    """
    if plan.spacing == "list":
        return plan.fluences_uj_cm2
    make = np.linspace if plan.spacing == "linear" else np.geomspace
    return tuple(float(f) for f in make(plan.start_uj_cm2, plan.stop_uj_cm2, plan.points))


def steps(plan: SweepPlan) -> tuple[Step, ...]:
    """Return the steps in the order in which they are visited."""
    rising = fluences(plan)
    if plan.direction == "down":
        order = rising[::-1]
    elif plan.direction == "up-down":
        order = rising + rising[-2::-1]
    elif plan.direction == "shuffled":
        order = tuple(float(f) for f in np.random.default_rng(plan.seed).permutation(rising))
    else:
        order = rising
    first: Literal["up", "down"] = "down" if plan.direction == "down" else "up"
    found = [Step(0, order[0], first)]
    for i, (before, now) in enumerate(itertools.pairwise(order), start=1):
        found.append(Step(i, now, "up" if now >= before else "down"))
    return tuple(found)


def reference_fluence(plan: SweepPlan) -> float | None:
    """Return the reference fluence of a plan, None for a plan without one.

    >>> reference_fluence(SweepPlan(start_uj_cm2=10, stop_uj_cm2=160, reference_every=5))
    20.0
    """
    if not plan.reference_every:
        return None
    if plan.reference_uj_cm2 is not None:
        return plan.reference_uj_cm2
    wanted = fluences(plan)
    # Low, because above threshold it would not tell fewer emitters from a higher threshold; not the lowest,
    # because there it would mostly measure noise.
    return float(round(min(wanted) * (max(wanted) / min(wanted)) ** 0.25, 6))


def all_fluences(plan: SweepPlan) -> tuple[float, ...]:
    """Return every fluence that is known before the sweep begins, rising: planned ones and the reference."""
    reference = reference_fluence(plan)
    return tuple(sorted({*fluences(plan), *(() if reference is None else (reference,))}))


def validate(
    plan: SweepPlan,
    settings: PumpSettings,
    limits: Limits,
    *,
    spectrometer: SpectrometerInfo | None = None,
    angle_range_deg: tuple[float, float] = (-math.inf, math.inf),
) -> None:
    """Refuse a plan that cannot or must not be carried out, as far as numbers can tell.

    :param spectrometer: when known, exposure times are checked against it.
    :param angle_range_deg: the mount's own range, when known.
    :raises ConfigError: names the key and the reason.
    """
    _check_words(plan)
    _check_grid(plan)
    _check_counts(plan)
    _check_reference(plan)
    if isinstance(plan, AdaptivePlan):
        _check_adaptive(plan)
    feasible.check_light(
        all_fluences(plan), reference_fluence(plan), settings, limits, angle_range_deg=angle_range_deg
    )
    if not isinstance(plan, AdaptivePlan):  # which ends before the dose passes its limit
        feasible.check_dose(plan, [step.fluence_uj_cm2 for step in steps(plan)], settings, limits)
    if spectrometer is not None:
        feasible.check_exposure(plan, settings.repetition_rate_hz, spectrometer)


def _check_words(plan: SweepPlan) -> None:
    words: dict[str, tuple[str, tuple[str, ...]]] = {
        "spacing": (plan.spacing, get_args(Spacing)),
        "direction": (plan.direction, get_args(Direction)),
        "background": (plan.background, get_args(Background)),
        "correct_bleaching": (plan.correct_bleaching, get_args(Correction)),
    }
    if isinstance(plan, AdaptivePlan):
        words["per"] = (plan.per, get_args(Per))
    for key, (word, known) in words.items():
        if word not in known:
            raise ConfigError(f"{word!r} is none of {', '.join(known)}", key=key)


def _check_grid(plan: SweepPlan) -> None:
    if plan.spacing == "list":
        wanted = plan.fluences_uj_cm2
        if len(wanted) < 2:
            raise ConfigError(f"{len(wanted)} fluences are listed, a sweep needs 2 or more", key="fluences")
    else:
        wanted = (plan.start_uj_cm2, plan.stop_uj_cm2)
        if not 2 <= plan.points <= MOST_POINTS:
            raise ConfigError(
                f"{plan.points} points, a sweep needs 2 or more and at most {MOST_POINTS}", key="points"
            )
    for number, value in enumerate(wanted):
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(
                f"fluence {value:g} uJ/cm2 is not above zero", key="stop" if number else "start"
            )
    if plan.spacing != "list" and plan.start_uj_cm2 >= plan.stop_uj_cm2:
        raise ConfigError(
            f"start {plan.start_uj_cm2:g} must lie below stop {plan.stop_uj_cm2:g} uJ/cm2",
            key="start",
            hint="--direction down sweeps from the highest fluence to the lowest",
        )


def _check_counts(plan: SweepPlan) -> None:
    between = {
        "average": (plan.average, 1, 1_000_000),
        "min_pulses": (plan.min_pulses, 1, int(_MOST)),
        "dark_factor": (plan.dark_factor, 4, 10_000),
        "retries": (plan.retries, 0, 1_000),
        "reference_every": (plan.reference_every, 0, MOST_POINTS),
        "seed": (plan.seed, 0, 1 << 63),
    }
    for key, (value, least, most) in between.items():
        if value < least:
            raise ConfigError(f"must be {least} or more, not {value}", key=key)
        if value > most:
            raise ConfigError(f"must be {most} or less", key=key)
    positive = {
        "max_integration_s": plan.max_integration_s,
        "max_light_s": plan.max_light_s,
        "dark_max_age_s": plan.dark_max_age_s,
        "dark_max_change_c": plan.dark_max_change_c,
        "drift_limit": plan.drift_limit,
    }
    for key, number in positive.items():
        if not 0 < number <= _MOST:
            raise ConfigError(f"must be above zero and at most {_MOST:g}, not {number:g}", key=key)
    if not 0.05 <= plan.aim <= 0.9:
        raise ConfigError(f"must lie between 0.05 and 0.9 of the full scale, not {plan.aim:g}", key="aim")


def _check_reference(plan: SweepPlan) -> None:
    if plan.reference_every == 0:
        if plan.reference_uj_cm2 is not None:
            raise ConfigError("a reference fluence, but never a point at it", key="reference_every")
        if plan.correct_bleaching != "off":
            raise ConfigError(
                "bleaching cannot be corrected without a reference",
                key="correct_bleaching",
                hint="--reference-every 5",
            )
    reference = plan.reference_uj_cm2
    if reference is not None and not (math.isfinite(reference) and reference > 0):
        raise ConfigError(f"fluence {reference:g} uJ/cm2 is not above zero", key="reference")


def _check_adaptive(plan: AdaptivePlan) -> None:
    if not 0.005 < plan.target_rel < 1:
        raise ConfigError(
            f"must lie between 0.5 and 100 %, not {100 * plan.target_rel:g} %",
            key="target",
            hint="no interval is narrower than 0.5 % to either side",
        )
    first = len(steps(plan))
    if max(plan.budget_points, plan.confirm_points) > MOST_POINTS:
        raise ConfigError(f"more points than {MOST_POINTS}", key="budget_points")
    if plan.confirm_points < 0:
        raise ConfigError(f"must be 0 or more, not {plan.confirm_points}", key="confirm_points")
    if plan.budget_points < first:
        raise ConfigError(
            f"{plan.budget_points} points are fewer than the {first} to begin with", key="budget_points"
        )
    spendable = {"budget_dose": plan.budget_dose_uj_cm2, "budget_time": plan.budget_time_s}
    for key, value in spendable.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ConfigError(f"must be above zero, not {value:g}", key=key)
    if plan.background == "blank":
        raise ConfigError(
            "a blank is measured at each fluence beforehand, which an adaptive sweep does not know",
            key="background",
            hint="--background dark",
        )
