"""Power on the sample over power at the pick-off: one sensor at the pick-off, at the sample, and back."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from labctl.analysis.calibration.pickoff import PickoffFit, fit_pickoff, pair_interleaved
from labctl.model.calibration import Calibration
from labctl.model.errors import CalibrationRefused, ConfigError
from procedures.calibration import scanning
from procedures.calibration.context import CalContext, CalStep, PickoffOptions, Place, Steps
from procedures.calibration.placing import MeteredBeam
from procedures.calibration.record import Findings
from procedures.calibration.scanning import (
    UNSURE,
    Sided,
    arrivals,
    brightest_at_sample,
    step_of,
    survey,
    through,
)
from procedures.calibration.worst import Law, Look

SOUND_REL = 0.003
"""Drift of a sound laser between two visits."""
ARRIVALS = 3
"""Arrivals at the sample position for each reading at the pick-off."""
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
        scanning.leave(beam)
        found.filters(beam.filters)
        found.doubts(beam.gauge.doubts)
    after, _ = yield from _at_pickoff(context, options, found, zero_from, (0.8, 0.95))
    return _found_first(found, context, (before, behind, after), law)


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


def _found_first(
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
            f"a ratio of {ratio:.4g} instead of about {stated:g}: the sensor was in the wrong position, or "
            f"pickoff_ratio does not hold at full transmission"
        )
    drift = math.hypot(SOUND_REL, abs(after / before - 1) / 2)
    sigma = ratio * math.hypot(own_1 / 2, own_2, own_3 / 2, part_sigma_rel(context, law, part), drift)
    found.quantity("ratio", ratio, "1", sigma)
    for name, looks in (("pickoff", (*visits[0], *visits[2])), ("sample", tuple(visits[1]))):
        found.table(f"raw_{name}_w", [look.power_w for look in looks])
        found.table(f"raw_{name}_sigma_w", [look.sigma_w for look in looks])
        found.table(f"raw_{name}_time_s", [look.at_s for look in looks])
    found.facts |= {"wavelength_nm": context.settings.wavelength_nm, "transmission": part, "filters": "none"}
    found.flags.append("only one power: linearity not measured")
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
    """One setting of the attenuator, and the relative error due to the mount there."""

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

    :raises CalibrationRefused: the sensor stood elsewhere, or the readings are not related.
    """
    options = cast("PickoffOptions", context.options)
    if not LEAST_LEVELS <= options.points <= 40:
        raise ConfigError(f"{LEAST_LEVELS} to 40 points are allowed, not {options.points}", key="points")
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
            scanning.leave(beam)
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
            f"only {len(kept)} of {len(levels)} settings are weak enough for the sensor at the {beam.place}",
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
            "no setting is allowed at the sample position",
            "put an ND filter in front of the attenuator, or raise the limits while the sample is removed",
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
