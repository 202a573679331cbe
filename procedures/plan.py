"""What follows from the plan of a fluence sweep; it is checked completely before anything moves."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from labctl.model.errors import ConfigError
from labctl.model.options import check_options
from labctl.model.plan import MOST_POINTS, AdaptivePlan, Decay, StabilityPlan, SweepPlan
from labctl.model.pump import Bands, Limits, PumpSettings
from labctl.model.records import SpectrometerInfo
from procedures.gate.attenuator import allowed_angles, make_curve
from procedures.gate.fluence import Beam, make_beam

LEAST_POINTS = 8
"""Fewer tell nothing of the shape of a decay."""
LEAST_PIXELS = 3
LEAST_REFERENCED = 7
"""A sweep of fewer points gives no threshold, and takes no references unless they are asked for."""
_ROUNDING = 1 + 1e-9


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

    >>> reference_fluence(SweepPlan(start_uj_cm2=10, stop_uj_cm2=160))
    20.0
    """
    if isinstance(plan, StabilityPlan) or plan.reference_every == 0:
        return None
    asked = plan.reference_every is not None or plan.reference_uj_cm2 is not None
    if not asked and len(fluences(plan)) < LEAST_REFERENCED:
        return None
    if plan.reference_uj_cm2 is not None:
        return plan.reference_uj_cm2
    wanted = fluences(plan)
    # Low, because above threshold it would not tell fewer emitters from a higher threshold; not the lowest,
    # because there it would mostly measure noise.
    return float(round(min(wanted) * (max(wanted) / min(wanted)) ** 0.25, 6))


def most_references(plan: SweepPlan, points: int) -> int:
    """Return how many reference points a sweep of so many points has at most.

    :param points: without the references. By default there are one at the start, two above the kink, two at
        the end, and one in the middle of the light where the kink comes later; with a number of points
        between them, one more than they divide the sweep into.

    >>> most_references(SweepPlan(), 24), most_references(SweepPlan(reference_every=6), 24)
    (6, 5)
    """
    if reference_fluence(plan) is None:
        return 0
    return 6 if plan.reference_every is None else math.ceil(points / plan.reference_every) + 1


def all_fluences(plan: SweepPlan) -> tuple[float, ...]:
    """Return every fluence that is known before the sweep begins, rising: planned ones and the reference."""
    reference = reference_fluence(plan)
    return tuple(sorted({*fluences(plan), *(() if reference is None else (reference,))}))


def shortest_exposure_s(plan: SweepPlan, repetition_rate_hz: float) -> float:
    """Return the shortest exposure that a plan allows, before the spectrometer's own is known.

    :param repetition_rate_hz: of the laser; a triggered exposure holds one pulse or more.
    """
    least_s = (1 if plan.triggered else plan.min_pulses) / repetition_rate_hz
    return max(least_s, min(plan.integration_s, default=0.0))


def stability_plan(
    fluence_uj_cm2: float,
    duration_s: float,
    every_s: float,
    *,
    average: int = 5,
    model: Decay = "best",
    constant: bool = False,
    **heating: float | None,
) -> StabilityPlan:
    """Return the plan of a stability run.

    :param fluence_uj_cm2: on the sample, in the bench's convention.
    :param duration_s: from the first point to the last.
    :param average: exposures at each point; each of them is light on the sample.
    :param model: of the decay, and ``constant``, as :class:`StabilityPlan` has them.
    :param heating: ``temperature_c``, ``tolerance_c``, ``settle_s``, ``heating_limit_s`` and
        ``end_temperature_c`` of :class:`StabilityPlan`; without them nothing is heated.
    :raises ConfigError: too few points or too many, or a number that is not valid.

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
        **heating,  # type: ignore[arg-type]  # one of them may not be None, which the plan's check tells
    )


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
    :raises ConfigError: names the option and the reason.
    """
    check_options(plan)
    _check_grid(plan)
    _check_reference(plan)
    _check_shots(plan, settings.repetition_rate_hz)
    if isinstance(plan, AdaptivePlan):
        _check_adaptive(plan)
    _check_light(plan, settings, limits, angle_range_deg)
    if not isinstance(plan, AdaptivePlan):  # which ends before the dose passes its limit
        _check_dose(plan, settings, limits)
    if spectrometer is not None:
        _check_exposure(plan, settings.repetition_rate_hz, spectrometer)


def _check_grid(plan: SweepPlan) -> None:
    if plan.spacing == "list":
        if len(plan.fluences_uj_cm2) < 2:
            raise ConfigError(
                f"{len(plan.fluences_uj_cm2)} fluences are listed, a sweep needs 2 or more", key="fluences"
            )
    elif plan.start_uj_cm2 >= plan.stop_uj_cm2:
        raise ConfigError(
            f"start {plan.start_uj_cm2:g} must lie below stop {plan.stop_uj_cm2:g} uJ/cm2",
            key="start",
            hint="--direction down sweeps from the highest fluence to the lowest",
        )


def _check_reference(plan: SweepPlan) -> None:
    if plan.reference_every == 0:
        if plan.reference_uj_cm2 is not None:
            raise ConfigError("a reference fluence, but no reference points", key="reference_every")
        if plan.correct_bleaching in ("excitation", "signal"):
            raise ConfigError(
                "bleaching cannot be corrected without reference points",
                key="correct_bleaching",
                hint="--reference-every 5",
            )


def _check_shots(plan: SweepPlan, rate_hz: float) -> None:
    """Refuse what makes no sense for single shots, or a point that is lit for too long by them."""
    if plan.shots is None:
        return
    others = {
        "average": plan.average is not None,
        "integration": bool(plan.integration_s),
        "background": plan.background == "blank",
        "keep_open": plan.keep_open,
    }
    for key, given in others.items():
        if given:
            raise ConfigError("cannot be combined with --shots", key=key)
    if plan.shots / rate_hz > plan.max_light_s:
        raise ConfigError(
            f"{plan.shots} shots at {rate_hz:g} Hz take {plan.shots / rate_hz:g} s of light at each fluence, "
            f"more than {plan.max_light_s:g} s",
            key="shots",
            hint="fewer shots, or a longer --max-light",
        )


def _check_adaptive(plan: AdaptivePlan) -> None:
    first = len(steps(plan))
    if plan.budget_points < first:
        raise ConfigError(
            f"{plan.budget_points} points are fewer than the {first} start points", key="budget_points"
        )
    if plan.background == "blank":
        raise ConfigError(
            "a blank is measured first at each fluence, but an adaptive sweep chooses its fluences later",
            key="background",
            hint="--background dark",
        )


def _check_light(
    plan: SweepPlan, settings: PumpSettings, limits: Limits, angle_range_deg: tuple[float, float]
) -> None:
    """Refuse fluences above a limit or out of reach; of several above a limit the highest one is told."""
    reference, ends = reference_fluence(plan), ("start", "stop")
    if plan.spacing == "list":
        ends = ("fluences", "fluences")
    beam = make_beam(settings, limits)
    reach = make_curve(settings.curve, allowed_angles(angle_range_deg, limits.angle_range_deg)).reach
    lowest, highest = (beam.fluence_uj_cm2(settings.max_pulse_energy_j * t) for t in reach)
    asked = all_fluences(plan)
    meant = _other_unit(asked, beam, (lowest, highest))
    guess, with_unit = (f"; {meant}", "write the unit beside the number") if meant else ("", "")
    for wanted in reversed(asked):
        if reason := beam.forbidden(wanted):
            key = "reference" if wanted == reference else ends[1]
            hint = with_unit or "ask for less, or change [limits]"
            raise ConfigError(reason + guess, key=key, hint=hint)
    for wanted, fits, key in (
        (asked[-1], asked[-1] <= highest * _ROUNDING, ends[1]),
        (asked[0], asked[0] * _ROUNDING >= lowest, ends[0]),
    ):
        if not fits:
            reason = f"{wanted:.4g} uJ/cm2 is out of reach of the attenuator ({lowest:.4g} to {highest:.4g})"
            hint = with_unit or "check max_pulse_energy, the spot and the attenuator's curve in [pump]"
            raise ConfigError(reason + guess, key=key, hint=hint)


_UNITS = (("mJ/cm2", 1e3), ("J/m2", 1e2), ("mJ/m2", 0.1), ("nJ/cm2", 1e-3), ("", 10.0), ("", 0.01))
"""How many uJ/cm2 one of each is, the likeliest first; the last are slips that no unit explains."""


def _other_unit(asked: tuple[float, ...], beam: Beam, reach: tuple[float, float]) -> str:
    """Guess the unit that was meant, if these fluences fit the bench in it; else "".

    A slip that no unit explains is guessed only where not one of the fluences fits as it stands.
    """
    some_fit = asked[-1] * _ROUNDING >= reach[0] and not beam.forbidden(asked[0])
    for unit, factor in _UNITS:
        low, high = factor * asked[0], factor * asked[-1]
        inside = reach[0] <= low * _ROUNDING and high <= reach[1] * _ROUNDING
        if not inside or beam.forbidden(high) or (some_fit and not unit):
            continue
        if unit:
            return f"{asked[0]:.4g} to {asked[-1]:.4g} {unit} would fit: did you mean {unit}?"
        return f"{low:.4g} to {high:.4g} uJ/cm2 would fit: check the unit"
    return ""


def _check_dose(plan: SweepPlan, settings: PumpSettings, limits: Limits) -> None:
    """Refuse a plan whose shortest exposures alone would pass the dose that is allowed."""
    limit = limits.max_dose_uj_cm2
    if limit is None:
        return
    least = shortest_exposure_s(plan, settings.repetition_rate_hz) * settings.repetition_rate_hz
    planned = steps(plan)
    unsure = 2 if plan.reference_every is None else 0
    references = max(most_references(plan, len(planned)) - unsure, 0)
    light = math.fsum(step.fluence_uj_cm2 for step in planned) + references * (reference_fluence(plan) or 0)
    dose = light * plan.least_exposures * least
    if dose > limit:
        raise ConfigError(
            f"the dose would exceed its limit of {limit:.4g} uJ/cm2: the plan asks for at least {dose:.4g}",
            key="average",
            hint="fewer points or exposures, lower fluences, or another limits.max_dose_uj_cm2",
        )


def check_bands(bands: Bands, spectrometer: SpectrometerInfo) -> None:
    """Refuse bands of which the spectrometer sees too little.

    :raises ConfigError: fewer than ``LEAST_PIXELS`` of its pixels lie in one of them.
    """
    axis = spectrometer.wavelength_nm
    for key, (low, high) in (("emission_nm", bands.emission_nm), ("lasing_nm", bands.lasing_nm)):
        pixels = int(((axis >= low) & (axis <= high)).sum())
        if pixels < LEAST_PIXELS:
            raise ConfigError(
                f"{low:g} to {high:g} nm hold {pixels} pixels of the spectrometer, which sees "
                f"{axis[0]:.1f} to {axis[-1]:.1f} nm",
                key=f"bands.{key}",
                hint="the bands must lie within the range of the spectrometer",
            )


def _check_exposure(plan: SweepPlan, rate_hz: float, spectrometer: SpectrometerInfo) -> None:
    """Refuse exposure times that the spectrometer does not have, or that hold too few pulses."""
    shortest = spectrometer.integration_min_s
    longest = spectrometer.integration_max_s
    if (
        not plan.triggered
        and plan.min_pulses / rate_hz > min(plan.max_integration_s, longest)
        and not plan.integration_s
    ):
        raise ConfigError(
            f"{plan.min_pulses} pulses at {rate_hz:g} Hz last {plan.min_pulses / rate_hz:g} s, "
            f"longer than the longest exposure of {min(plan.max_integration_s, longest):g} s",
            key="max_integration",
        )
    for value in plan.integration_s:
        if not shortest <= value <= longest:
            raise ConfigError(f"{value:g} s is outside {shortest:g} to {longest:g} s", key="integration")
        if not plan.triggered and value * rate_hz < plan.min_pulses * (1 - 1e-9):
            raise ConfigError(
                f"{value:g} s hold {value * rate_hz:.3g} pulses, fewer than {plan.min_pulses}",
                key="integration",
                hint="an untriggered exposure miscounts pulses by up to one",
            )
