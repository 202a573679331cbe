"""Power on the sample over power at the pick-off: one sensor at the pick-off, at the sample, and back."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from labctl.analysis.calibration.interleave import pair_interleaved
from labctl.analysis.calibration.pickoff import PickoffFit, fit_pickoff
from labctl.model.calibration import Calibration
from labctl.model.errors import CalibrationRefused, ConfigError
from procedures.calibration import filters
from procedures.calibration.context import CalContext, CalStep, Place, Steps
from procedures.calibration.foresight import Look
from procedures.calibration.law import Law
from procedures.calibration.options import PickoffOptions
from procedures.calibration.pickoff_first import calibrate_before_attenuator
from procedures.calibration.placing import MeteredBeam
from procedures.calibration.record import Findings
from procedures.calibration.scanning import UNSURE, Sided, brightest_at_sample, survey, through

LEAST = 0.03
"""Lowest transmission at which the places are compared: further down the mount's error is all one sees."""
LOW_TOP = 0.3
"""Where limits allow no more than this transmission, most levels lie near the highest: the mount's error
grows towards the dark. The others go down to the least there is, which tells an offset."""
HIGH_SHARE, HIGH_PART, DARK_PART = 0.6, 0.6, 0.35
CYCLES = 2
PARKED = (1000, 1001)
"""Numbers of the settings at which the plate waits while the sensor is carried to the sample, and back: both
places see the very same transmission there, without the mount's error."""
PARKED_REL = 1e-4
LEAST_LEVELS = 5
_VISITS: tuple[tuple[Place, tuple[float, float]], ...] = (
    ("pick-off", (0.2, 0.4)),
    ("sample", (0.45, 0.7)),
    ("pick-off", (0.75, 0.95)),
)


@dataclass(frozen=True, slots=True)
class Level:
    """One setting of the attenuator, and the relative error that the mount makes there."""

    number: int
    angle_deg: float
    sigma_rel: float


@dataclass(frozen=True, slots=True)
class Visit:
    """What the sensor saw at one place: a look and its level."""

    place: Place
    level: Level
    look: Look


def calibrate_pickoff(context: CalContext) -> Steps:
    """Read the same settings at the pick-off, at the sample and at the pick-off again; fit the ratio.

    :raises CalibrationRefused: the sensor stood elsewhere, or the readings do not belong together.
    """
    options = cast("PickoffOptions", context.options)
    if not LEAST_LEVELS <= options.points <= 40:
        raise ConfigError(f"{LEAST_LEVELS} to 40 points are possible, not {options.points}", key="points")
    order = context.settings.order
    if order.index("attenuator") > order.index("pick-off"):
        return (yield from calibrate_before_attenuator(context, options))
    visits: list[Visit] = []
    levels: list[Level] = []
    first: MeteredBeam | None = None
    law: Law | None = None
    found = Findings()
    for number, (place, progress) in enumerate(_VISITS):
        with MeteredBeam(context, place) as beam:
            beam.place_meter()
            if first is not None and place == first.place:
                beam.take_zero_from(first)
            else:
                beam.learn_zero()
            if first is None or law is None:
                levels, law = yield from _levels(beam, options.points)
            else:
                visits.append(_as_parked(beam, PARKED[number - 1], law))
                yield foreseen(beam, law, visits[-1].look)
                levels = _kept(beam, levels)
            top = _top(levels, law)
            if number == 0:
                visits.append(_comes_to(beam, top, PARKED[1]))
            visits += yield from _visit(beam, levels, progress)
            _refuse_misplaced(beam)
            if number < len(_VISITS) - 1:
                visits.append(_comes_to(beam, replace(top, sigma_rel=PARKED_REL), PARKED[number]))
                beam.park(visits[-1].look, law.power_w(top.angle_deg) / law.highest_w, top.sigma_rel)
            else:
                visits.append(_comes_to(beam, top, PARKED[0]))
            filters.leave(beam)
            if number == len(_VISITS) - 1:
                beam.restore_sample()
            found.filters(beam.filters)
            found.doubts(beam.gauge.doubts)
            first = first or beam
    fit = _fit(visits, context.settings.pickoff_ratio)
    yield _fit_step(fit, visits)
    return _found(found, context, options, fit, visits)


def _refuse_misplaced(beam: MeteredBeam) -> None:
    """Make sure that sensor and sample are where they should be.

    :raises CalibrationRefused: they are not.
    """
    if (brightest := beam.brightest()) is not None:
        beam.refuse_wrong_place(brightest)
        if beam.place == "sample":
            beam.refuse_sample(brightest)


def _levels(beam: MeteredBeam, points: int) -> Generator[CalStep, None, tuple[list[Level], Law]]:
    """Scan coarsely, and choose settings evenly in log power that no limit forbids at the sample either."""
    _, law = yield from survey(beam, (0.02, 0.18))
    if not beam.behind:
        beam.take_law(law)
    usable = _allowed_branch(beam, law, _parts(law, top_part(beam, law), points))
    if len(usable) < LEAST_LEVELS:
        raise CalibrationRefused(f"only {len(usable)} of {points} settings are allowed by limits and mount")
    mount_deg = beam.context.settings.angle_sigma_deg
    levels = [Level(i, angle, law.slope_rel(angle) * mount_deg + 1e-4) for i, angle in enumerate(usable)]
    return levels, law


def _parts(law: Law, top: float, points: int) -> list[float]:
    """Return the transmissions at which the places are compared, the highest first."""
    if top > LOW_TOP:
        return [float(part) for part in np.geomspace(top, LEAST * top, points)]
    high = math.ceil(HIGH_SHARE * points)
    least = min(law.lowest_w / law.highest_w, DARK_PART * top)
    dark = np.geomspace(DARK_PART * top, max(least, 1e-6), points - high)
    return [*np.linspace(top, HIGH_PART * top, high).tolist(), *dark.tolist()]


def _allowed_branch(beam: MeteredBeam, law: Law, parts: Sequence[float]) -> list[float]:
    """Return the angles of some transmissions on the branch that allows most, the nearest of equals."""
    tops = [law.zero_deg + 90.0 * k for k in range(-6, 7)]
    branches = [[end + side * law.away_deg(p) for p in parts] for end in tops for side in (1.0, -1.0)]
    allowed = [[a for a in angles if beam.allowed(a) and beam.worst.allows(a)] for angles in branches]
    return max(allowed, key=lambda a: (len(a), -abs(a[-1] - beam.guessed_dark_deg) if a else 0.0))


def _top(levels: Sequence[Level], law: Law) -> Level:
    return max(levels, key=lambda level: law.power_w(level.angle_deg))


def _comes_to(beam: MeteredBeam, level: Level, number: int) -> Visit:
    """Come to the brightest setting, under another number."""
    return Visit(beam.place, replace(level, number=number), beam.look(level.angle_deg))


def _as_parked(beam: MeteredBeam, number: int, law: Law) -> Visit:
    """Read the setting at which the plate has waited while the sensor was carried here."""
    parked = beam.course.parked
    assert parked is not None
    stated = beam.context.settings.pickoff_ratio * UNSURE if beam.place == "sample" else 1.0
    beam.expect = lambda angle_deg: stated * law.power_w(angle_deg)
    look = beam.look(parked.angle_deg)
    beam.refuse_dark(look)
    beam.course.parked = None
    return Visit(beam.place, Level(number, look.angle_deg, PARKED_REL), look)


def foreseen(beam: MeteredBeam, law: Law, look: Look) -> CalStep:
    """Foresee by one setting what the others will bring at this place."""
    ratio = look.power_w / law.power_w(look.angle_deg)
    beam.expect = lambda angle_deg: ratio * law.power_w(angle_deg)
    return CalStep("note", f"at the {beam.place}: {ratio:.4g} times the power at the pick-off")


def _kept(beam: MeteredBeam, levels: Sequence[Level]) -> list[Level]:
    """Leave out what has turned out to be too bright here.

    :raises CalibrationRefused: too few are left.
    """
    kept = [level for level in levels if beam.allowed(level.angle_deg)]
    if len(kept) < LEAST_LEVELS:
        raise CalibrationRefused(
            f"only {len(kept)} of {len(levels)} settings are dark enough for the sensor at the {beam.place}",
            "correct pickoff_ratio in the bench file, or raise the limit",
        )
    return kept


def top_part(beam: MeteredBeam, law: Law) -> float:
    """Return the highest transmission that is allowed at the sample too, as far as can be foreseen.

    :raises CalibrationRefused: none is.
    """
    angle = brightest_at_sample(beam, law)
    if angle is None:
        raise CalibrationRefused(
            "no setting is allowed at the sample's place",
            "put a neutral filter before the attenuator, or raise the limits while the sample is out",
        )
    return law.power_w(angle) / law.highest_w


def _visit(
    beam: MeteredBeam, levels: Sequence[Level], progress: tuple[float, float]
) -> Generator[CalStep, None, list[Visit]]:
    """Go through the levels from dark to bright and back, each angle from below once and from above once."""
    rising = sorted(levels, key=lambda level: level.number, reverse=True)
    order = [level for cycle in range(CYCLES) for level in (rising if cycle % 2 == 0 else rising[::-1])]
    sided = [(level.angle_deg, 1 if i // len(levels) % 2 == 0 else -1) for i, level in enumerate(order)]
    looks: list[Sided] = yield from through(beam, sided, beam.place, progress)
    if len(looks) != len(order):
        raise CalibrationRefused(f"some settings are too bright for the sensor at the {beam.place}")
    return [Visit(beam.place, level, look) for level, (look, _) in zip(order, looks, strict=True)]


def _fit(visits: Sequence[Visit], stated: float) -> PickoffFit:
    """Pair the readings in time, and fit them with the mount's error, which both places share."""
    sigma = [math.hypot(v.look.sigma_w, v.look.power_w * v.level.sigma_rel) for v in visits]
    pairs = pair_interleaved(
        [v.look.at_s for v in visits],
        [float(v.place == "sample") for v in visits],
        [v.level.number for v in visits],
        [v.look.power_w for v in visits],
        sigma,
    )
    return fit_pickoff(
        pairs.pickoff_w,
        pairs.sample_w,
        pairs.pickoff_sigma_w,
        pairs.sample_sigma_w,
        stated_ratio=stated,
        drift_sigma_rel=pairs.drift_sigma_rel,
    )


def _fit_step(fit: PickoffFit, visits: Sequence[Visit]) -> CalStep:
    powers = sorted(v.look.power_w for v in visits if v.place == "pick-off")
    curve = (tuple(powers), tuple(fit.offset_w + fit.ratio * power for power in powers))
    text = f"ratio {fit.ratio:.4g} +- {fit.ratio_sigma:.2g}, nonlinearity {fit.nonlinearity:+.2%}"
    return CalStep("fit", text, unit="W", x_unit="W", progress=0.98, series="sample", curve=curve)


def _found(
    found: Findings, context: CalContext, options: PickoffOptions, fit: PickoffFit, visits: Sequence[Visit]
) -> Calibration:
    found.quantity("ratio", fit.ratio, "1", fit.ratio_sigma)
    found.quantity("nonlinearity", fit.nonlinearity, "1", fit.nonlinearity_sigma)
    for place, prefix in (("pick-off", "pickoff"), ("sample", "sample")):
        here = [v for v in visits if v.place == place]
        found.table(f"raw_{prefix}_w", [v.look.power_w for v in here])
        found.table(f"raw_{prefix}_sigma_w", [v.look.sigma_w for v in here])
        found.table(f"raw_{prefix}_angle_deg", [v.look.angle_deg for v in here])
        found.table(f"raw_{prefix}_time_s", [v.look.at_s for v in here])
    named = ", ".join(f"{name}: {value:g}" for name, value in options.filters.items())
    found.facts |= {"filters": named or "none", "wavelength_nm": context.settings.wavelength_nm}
    found.facts |= {"drift_sigma_rel": fit.drift_sigma_rel, "offset_w": fit.offset_w}
    found.flags += fit.flags
    return found.calibration("pickoff", context)
