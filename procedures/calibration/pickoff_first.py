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
from procedures.calibration.scanning import brightest_deg, step_of, survey

SOUND_REL = 0.003
"""Drift of a sound laser between two visits."""
Visits = tuple[Sequence[Look], Sequence[Look], Sequence[Look]]
"""Pick-off, sample, pick-off."""
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
        behind = yield from _looks(beam, brightest_deg(beam, law), options.points, "sample", (0.5, 0.75))
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
    (before, own_1), (behind, own_2), (after, own_3) = (_mean(looks) for looks in visits)
    angle = visits[1][0].angle_deg
    part = law.power_w(angle) / law.highest_w
    ratio = behind / part / (0.5 * (before + after))
    stated = context.settings.pickoff_ratio
    if not 1 / WRONG < ratio / stated < WRONG:
        raise CalibrationRefused(
            f"a ratio of {ratio:.4g} instead of about {stated:g}: a sensor stood in the wrong place, or "
            "pickoff_ratio is none of full transmission"
        )
    drift = math.hypot(SOUND_REL, abs(after / before - 1) / 2)
    mount = 0.0 if part > 1 - 1e-6 else law.slope_rel(angle) * context.settings.angle_sigma_deg
    sigma = ratio * math.hypot(own_1 / 2, own_2, own_3 / 2, law.sigma_rel, mount, drift)
    found.quantity("ratio", ratio, "1", sigma)
    for name, looks in (("pickoff", (*visits[0], *visits[2])), ("sample", tuple(visits[1]))):
        found.table(f"raw_{name}_w", [look.power_w for look in looks])
        found.table(f"raw_{name}_sigma_w", [look.sigma_w for look in looks])
        found.table(f"raw_{name}_time_s", [look.at_s for look in looks])
    found.facts |= {"wavelength_nm": context.settings.wavelength_nm, "transmission": part, "filters": "none"}
    found.flags.append("one power alone: linearity not measured")
    return found.calibration("pickoff", context)


def _mean(looks: Sequence[Look]) -> tuple[float, float]:
    """Return the mean power and its relative standard error."""
    power = np.array([look.power_w for look in looks])
    mean = float(power.mean())
    own = float(np.mean([look.sigma_w for look in looks])) / math.sqrt(power.size)
    spread = float(power.std(ddof=1)) / math.sqrt(power.size) if power.size > 1 else own
    return mean, max(own, spread) / mean
