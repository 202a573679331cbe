"""A pick-off that stands before the attenuator sees one power: the ratio is that of full transmission."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence

import numpy as np

from labctl.model.calibration import Calibration
from labctl.model.errors import CalibrationRefused
from procedures.calibration import filters
from procedures.calibration.context import CalContext, CalStep, Place, Steps
from procedures.calibration.foresight import Look
from procedures.calibration.law import Law
from procedures.calibration.options import PickoffOptions
from procedures.calibration.placing import MeteredBeam
from procedures.calibration.record import Findings
from procedures.calibration.scanning import arrivals, step_of, survey

SOUND_REL = 0.003
"""Drift of a sound laser between two visits."""
Visits = tuple[Sequence[Look], Sequence[Look], Sequence[Look]]
"""Pick-off, sample, pick-off."""
ARRIVALS = 3
"""Arrivals at the sample's place for each reading at the pick-off."""
NEARLY_ALL = 0.995
WRONG = 2.0
"""A ratio off the stated one by more than this factor was measured elsewhere."""


def calibrate_before_attenuator(context: CalContext, options: PickoffOptions) -> Steps:
    """Read the pick-off, the sample's place at the brightest setting allowed, and the pick-off again.

    :raises CalibrationRefused: the sensor stood elsewhere, or there is no light.
    """
    found = Findings()
    before, zero_from = yield from _at_pickoff(context, options, found, None, (0.0, 0.2))
    with MeteredBeam(context, "sample") as beam:
        beam.place_meter()
        beam.learn_zero()
        _, law = yield from survey(beam, (0.25, 0.5))
        behind = yield from arrivals(beam, law, ARRIVALS * options.points, "sample", (0.5, 0.75))
        filters.leave(beam)
        found.filters(beam.filters)
        found.doubts(beam.gauge.doubts)
    after, _ = yield from _at_pickoff(context, options, found, zero_from, (0.8, 0.95))
    return _found(found, context, (before, behind, after), law)


def _at_pickoff(
    context: CalContext,
    options: PickoffOptions,
    found: Findings,
    first: MeteredBeam | None,
    progress: tuple[float, float],
) -> Generator[CalStep, None, tuple[list[Look], MeteredBeam]]:
    place: Place = "pick-off"
    with MeteredBeam(context, place) as beam:
        beam.place_meter()
        if first is None:
            beam.learn_zero()
        else:
            beam.take_zero_from(first)
        looks = yield from _looks(beam, beam.dark_deg, options.points, place, progress)
        beam.refuse_wrong_place(looks[0])
        if first is not None:
            beam.restore_sample()
        found.filters(beam.filters)
        found.doubts(beam.gauge.doubts)
    return looks, beam


def _looks(
    beam: MeteredBeam, angle_deg: float, count: int, what: str, progress: tuple[float, float]
) -> Generator[CalStep, None, list[Look]]:
    looks: list[Look] = []
    for i in range(count):
        looks.append(beam.look(angle_deg, keep_open=True))
        yield step_of(looks[-1], what, progress[0] + (progress[1] - progress[0]) * (i + 1) / count)
    beam.close()
    return looks


def _found(
    found: Findings,
    context: CalContext,
    visits: tuple[Sequence[Look], Sequence[Look], Sequence[Look]],
    law: Law,
) -> Calibration:
    (before, own_1), (after, own_3) = (_mean(looks) for looks in (visits[0], visits[2]))
    behind, own_2 = full_power(visits[1], law)
    part = law.power_w(visits[1][0].angle_deg) / law.highest_w
    ratio = behind / (0.5 * (before + after))
    stated = context.settings.pickoff_ratio
    if not 1 / WRONG < ratio / stated < WRONG:
        raise CalibrationRefused(
            f"a ratio of {ratio:.4g} instead of about {stated:g}: a sensor stood in the wrong place, or "
            "pickoff_ratio is none of full transmission"
        )
    drift = math.hypot(SOUND_REL, abs(after / before - 1) / 2)
    sigma = ratio * math.hypot(own_1 / 2, own_2, own_3 / 2, part_sigma_rel(context, law, part), drift)
    found.quantity("ratio", ratio, "1", sigma)
    for name, looks in (("pickoff", (*visits[0], *visits[2])), ("sample", tuple(visits[1]))):
        found.table(f"raw_{name}_w", [look.power_w for look in looks])
        found.table(f"raw_{name}_sigma_w", [look.sigma_w for look in looks])
        found.table(f"raw_{name}_time_s", [look.at_s for look in looks])
    found.facts |= {"wavelength_nm": context.settings.wavelength_nm, "transmission": part, "filters": "none"}
    found.flags.append("one power alone: linearity not measured")
    return found.calibration("pickoff", context)


def full_power(looks: Sequence[Look], law: Law) -> tuple[float, float]:
    """Return the power at full transmission by looks at less, and its relative standard error."""
    full = np.array([look.power_w * law.highest_w / law.power_w(look.angle_deg) for look in looks])
    own = float(np.mean([look.sigma_w / look.power_w for look in looks]))
    spread = float(full.std(ddof=1) / full.mean()) if full.size > 1 else own
    return float(full.mean()), max(own, spread) / math.sqrt(full.size)


def part_sigma_rel(context: CalContext, law: Law, part: float) -> float:
    """Return the relative error of a law's transmission: of its leakage, which counts most in the dark."""
    if part > NEARLY_ALL:
        return 0.0
    measured = "curve" in context.settings.sources and law.sigma_rel == 0.0
    least = context.settings.leak_sigma if measured else 2 * law.sigma_rel
    return least * (1 / part - 1)


def _mean(looks: Sequence[Look]) -> tuple[float, float]:
    """Return the mean power and its relative standard error."""
    power = np.array([look.power_w for look in looks])
    mean = float(power.mean())
    own = float(np.mean([look.sigma_w for look in looks])) / math.sqrt(power.size)
    spread = float(power.std(ddof=1)) / math.sqrt(power.size) if power.size > 1 else own
    return mean, max(own, spread) / mean
