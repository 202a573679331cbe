"""What the attenuator transmits at which angle: a half-wave plate by Malus' law, a wheel by a table."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from labctl.analysis.calibration.malus import (
    Branch,
    MalusFit,
    PlateFit,
    fit_malus,
    fit_plate,
    slope_w_per_deg,
)
from labctl.analysis.calibration.table import TableFit, fit_table
from labctl.model.calibration import Calibration
from labctl.model.clock import Stop
from labctl.model.errors import Aborted, CalibrationRefused, ConfigError
from labctl.model.pump import Limits, PumpSettings
from labctl.model.roles import Request, Roles
from procedures.calibration import scanning
from procedures.calibration.beam import DECADE_DEG, UncalibratedBeam, power_text
from procedures.calibration.context import AttenuatorOptions, CalContext, CalOptions, CalStep, Place, Steps
from procedures.calibration.placing import MeteredBeam
from procedures.calibration.record import Findings
from procedures.calibration.scanning import Sided, coarse, through
from procedures.calibration.worst import Law
from procedures.gate.attenuator import Malus, make_curve

LONGEST_STEP_DEG = 12.0


def calibrate_wheel(context: CalContext, options: AttenuatorOptions, place: Place) -> Steps:
    """Go from the darkest angle known towards more light, step by step, then back over what was found; fit.

    :raises CalibrationRefused: what was seen is not monotone, or too short.
    """
    with MeteredBeam(context, place, smooth=False) as beam:
        beam.place_meter()
        beam.learn_zero()
        yield CalStep(
            "note", "the meter's zero is read; following the wheel towards higher transmission", progress=0.05
        )
        first = yield from _follow(beam, options.points)
        stretch = _monotone(first)
        brightest = max((look for look, _ in stretch), key=lambda look: look.power_w)
        beam.refuse_wrong_place(brightest)
        back = [(look.angle_deg, -1) for look, _ in stretch][::-1]
        again = yield from through(beam, back, "scan", (0.55, 0.95))
        sided = [*stretch, *again]
        fit = _fit_wheel(sided)
        beam.course.dark_deg = float(fit.angle_deg[int(np.argmin(fit.transmission))])
        scanning.leave(beam)
        beam.restore()
    curve = (tuple(fit.angle_deg.tolist()), tuple((fit.max_power_w * fit.transmission).tolist()))
    text = f"table of {fit.angle_deg.size} angles, transmission down to {fit.transmission.min():.3g}"
    yield CalStep("fit", text, unit="W", x_unit="deg", progress=0.98, series="scan", curve=curve)
    return _found_wheel(context, beam, fit, sided)


def _follow(beam: MeteredBeam, points: int) -> Generator[CalStep, None, list[Sided]]:
    """Scan the allowed range outwards from the darkest angle known, as far as light may grow."""
    start = min(max(beam.guessed_dark_deg, beam.low_deg), beam.high_deg)
    step = min((beam.high_deg - beam.low_deg) / max(points - 1, 1), LONGEST_STEP_DEG)
    up = list(np.arange(start, beam.high_deg + 1e-6, step))
    down = list(np.arange(start - step, beam.low_deg - 1e-6, -step))
    looks: list[Sided] = []
    for angles in (up, down):
        for angle in (float(a) for a in angles):
            if looks and not beam.allowed(angle):
                break
            found = yield from through(beam, [(angle, 1)], "scan", (0.05, 0.05))
            looks += found
    return sorted(looks, key=lambda sided: sided[0].angle_deg)


def _monotone(sided: Sequence[Sided]) -> list[Sided]:
    """Return the longest stretch, in decades of power, over which the power rises or falls throughout."""
    power = np.log(np.maximum([look.power_w for look, _ in sided], 1e-15))
    sigma = np.array([look.sigma_w / max(look.power_w, 1e-15) for look, _ in sided])
    angle = np.array([look.angle_deg for look, _ in sided])
    steps, noise = np.diff(power), 3 * np.hypot(sigma[1:], sigma[:-1]) + 0.01
    jumps = np.abs(steps) > np.log(10) * (np.diff(angle) + 1.0) / DECADE_DEG  # where a wheel begins anew
    best: tuple[float, int, int] = (0.0, 0, 0)
    for sign in (1.0, -1.0):
        begin = 0
        for i in range(1, power.size + 1):
            if i == power.size or jumps[i - 1] or sign * steps[i - 1] < -noise[i - 1]:
                best = max(best, (abs(float(power[i - 1] - power[begin])), begin, i))
                begin = i
    _, begin, end = best
    if end - begin < 8:
        raise CalibrationRefused(
            f"the longest monotone stretch has {end - begin} readings, 8 or more are needed: the scan is "
            f"too short, or this is not a gradient wheel"
        )
    return list(sided[begin:end])


def _fit_wheel(sided: Sequence[Sided]) -> TableFit:
    return fit_table(
        [look.angle_deg for look, _ in sided],
        [look.power_w for look, _ in sided],
        [look.sigma_w for look, _ in sided],
        angle_sigma_deg=None,
        time_s=[look.at_s for look, _ in sided],
    )


def _found_wheel(
    context: CalContext, beam: MeteredBeam, fit: TableFit, sided: Sequence[Sided]
) -> Calibration:
    found = Findings()
    scale = context.settings.meter_sigma_rel
    found.quantity("max_power", fit.max_power_w, "W", fit.max_power_sigma_w, scale * fit.max_power_w)
    found.table("angle_deg", fit.angle_deg.tolist())
    found.table("transmission", fit.transmission.tolist())
    found.table("transmission_sigma_rel", fit.sigma_rel.tolist())
    looks = [look for look, _ in sided]
    found.looks("", looks, "angle_deg", [look.angle_deg for look in looks])
    found.table("raw_direction", [side for _, side in sided])
    found.facts |= {"form": "table", "branch": "-" if fit.falling else "+", "place": beam.place}
    found.facts |= {"wavelength_nm": context.settings.wavelength_nm, "zero_w": beam.zero_w}
    found.facts |= {"least_transmission": float(fit.transmission.min()), "highest_transmission": 1.0}
    found.filters(beam.filters)
    found.flags += fit.flags
    found.doubts(beam.gauge.doubts)
    return found.calibration("attenuator", context)


STEEP_DEG = 22.5
DARK = 2.0
"""The fine scan goes down to this multiple of the leakage."""
SHOWN = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
OUTLIER = 6.0
MOST_OUTLIERS = 4
LASER_REL = 0.0005
"""What a sound laser changes from one reading to the next, beyond what the readings' own scatter shows."""


def calibrate_attenuator(context: CalContext) -> Steps:
    """Scan the plate coarsely, then on its branch, then from both sides where it is steepest; fit.

    :raises CalibrationRefused: too little of the curve is allowed or seen, or it is none.
    """
    options = _options(context)
    if options.form == "table":
        return (yield from calibrate_wheel(context, options, _place(context, options)))
    with MeteredBeam(context, _place(context, options)) as beam:
        beam.place_meter()
        beam.learn_zero()
        yield CalStep("note", "the meter's zero is read; coarse scan", progress=0.05)
        sided = yield from coarse(beam, (0.05, 0.3))
        brightest = max((look for look, _ in sided), key=lambda look: look.power_w)
        beam.refuse_wrong_place(brightest)
        branch = _branch(_first_fit(sided, context, beam), context, beam)
        fine = yield from through(beam, _fine(branch, options.points), "scan", (0.3, 0.7))
        steep = yield from through(beam, _steep(branch, options.pairs), "backlash", (0.7, 0.95))
        sided = [*sided, *fine, *steep]
        fit, repeated = yield from _without_outliers(sided, context, beam)
        law = Law(fit.zero_deg, fit.leakage, 1.0, fit.max_power_sigma_w / fit.max_power_w)
        beam.course.dark_deg = beam.nearest_dark_deg(law)
        scanning.leave(beam)
        beam.restore()
    yield _fit_step(fit, branch)
    return _found(context, beam, fit, branch, sided, steep, repeated)


def _options(context: CalContext) -> AttenuatorOptions:
    options = cast("AttenuatorOptions", context.options)
    if options.form not in ("malus", "table"):
        raise ConfigError(f"invalid form {options.form!r}; choose malus or table", key="form")
    if not (8 <= options.points <= 200 and 3 <= options.pairs <= 50):
        raise ConfigError("must be 8 to 200 points and 3 to 50 pairs", key="points")
    return options


def _place(context: CalContext, options: AttenuatorOptions) -> Place:
    """Choose where the meter sees the attenuator."""
    order = context.settings.order
    sees = order.index("attenuator") < order.index("pick-off")
    if options.place not in ("", "pick-off", "sample"):
        raise ConfigError(f"invalid place {options.place!r}; choose pick-off or sample", key="place")
    if options.place == "pick-off" and not sees:
        raise CalibrationRefused("the pick-off is upstream of the attenuator", "use --place sample")
    return cast("Place", options.place or ("pick-off" if sees else "sample"))


def _fit(sided: Sequence[Sided], context: CalContext) -> MalusFit:
    looks = [look for look, _ in sided]
    return fit_malus(
        [look.angle_deg for look in looks],
        [look.power_w for look in looks],
        [look.sigma_w for look in looks],
        angle_sigma_deg=None,
        direction=[side for _, side in sided],
        time_s=[look.at_s for look in looks],
        readings=context.options.readings,
    )


def _first_fit(sided: Sequence[Sided], context: CalContext, beam: MeteredBeam) -> MalusFit:
    """Fit the coarse scan; where limits have cut it short, say so."""
    try:
        return _fit(sided, context)
    except CalibrationRefused as exc:
        if exc.hint or beam.ceiling_w >= beam.full_w:
            raise
        hint = (
            f"no more than {power_text(beam.ceiling_w)} are allowed at the {beam.place}: put an ND filter "
            f"in front of the attenuator, or raise max_average_power while the sample is removed"
        )
        raise CalibrationRefused(exc.message, hint) from exc


def _branch(fit: MalusFit, context: CalContext, beam: MeteredBeam) -> Branch:
    """Keep the branch of the bench file, where there is one."""
    allowed = (beam.low_deg, beam.high_deg)
    try:
        known = make_curve(context.settings.curve, allowed)
    except ConfigError:
        known = None
    prefer = (known.low_deg + known.high_deg) / 2 if isinstance(known, Malus) else None
    return fit.choose_branch(allowed, least_transmission=2 * fit.leakage, prefer_deg=prefer)


def _fine(branch: Branch, points: int) -> list[tuple[float, int]]:
    """Half of the angles evenly over the branch, half evenly in log transmission towards its dark end.

    Every other one on the way up, the rest on the way back, so that drift and angle do not go together.
    """
    sign = 1.0 if branch.sign == "+" else -1.0
    even = np.linspace(branch.low_deg, branch.high_deg, points // 2)
    least = max(DARK * branch.reach[0], 1e-4)
    wanted = np.geomspace(0.5, min(least, 0.4), points - points // 2)
    falling = branch.zero_deg + sign * np.degrees(np.arccos(np.sqrt(wanted))) / 2
    angles = np.sort(np.concatenate([even, np.clip(falling, branch.low_deg, branch.high_deg)]))
    order = [*angles[::2], *angles[1::2][::-1]]
    return [(float(angle), 1 if i % 2 else -1) for i, angle in enumerate(order)]


def _steep(branch: Branch, pairs: int) -> list[tuple[float, int]]:
    """The steepest angle, from below and from above in turn."""
    return [(steep_deg(branch), side) for _ in range(pairs) for side in (1, -1)]


def steep_deg(branch: Branch) -> float:
    """Return the angle at which the power changes fastest."""
    sign = 1.0 if branch.sign == "+" else -1.0
    return min(max(branch.zero_deg + sign * STEEP_DEG, branch.low_deg), branch.high_deg)


def _without_outliers(
    sided: list[Sided], context: CalContext, beam: MeteredBeam
) -> Generator[CalStep, None, tuple[MalusFit, int]]:
    """Fit; take readings far off the curve again, once each."""
    fit = _fit(sided, context)
    far = np.flatnonzero(np.abs(fit.posterior.whitened) > OUTLIER)
    if far.size > MOST_OUTLIERS:
        raise CalibrationRefused(
            f"{far.size} of {len(sided)} readings deviate from Malus' law: the laser or the mount is unstable"
        )
    for i in (int(k) for k in far):
        look, side = sided[i]
        again = yield from through(beam, [(look.angle_deg, side)], "scan", (0.95, 0.95))
        sided[i] = again[0] if again else sided[i]
    return (_fit(sided, context) if far.size else fit), int(far.size)


def _fit_step(fit: MalusFit, branch: Branch) -> CalStep:
    angles = np.linspace(branch.low_deg, branch.high_deg, 91)
    curve = (tuple(angles.tolist()), tuple((fit.max_power_w * fit.transmission(angles)).tolist()))
    text = f"zero {fit.zero_deg:.3f} +- {fit.zero_sigma_deg:.3f} deg, extinction {fit.leakage:.3g}"
    return CalStep("fit", text, unit="W", x_unit="deg", progress=0.98, series="scan", curve=curve)


def _found(
    context: CalContext,
    beam: MeteredBeam,
    fit: MalusFit,
    branch: Branch,
    sided: Sequence[Sided],
    steep: Sequence[Sided],
    repeated: int,
) -> Calibration:
    found = Findings()
    scale = context.settings.meter_sigma_rel
    mount = _mount(fit, steep)
    found.quantity("zero_deg", fit.zero_deg, "deg", fit.zero_sigma_deg)
    of_zero = beam.zero_sigma_w / fit.max_power_w
    found.quantity("leakage", fit.leakage, "1", math.hypot(fit.leakage_sigma, of_zero))
    found.quantity("max_power", fit.max_power_w, "W", fit.max_power_sigma_w, scale * fit.max_power_w)
    found.quantity("repeatability", mount.repeatability_deg, "deg", mount.repeatability_sigma_deg)
    found.quantity("backlash", *_backlash(fit, mount))
    looks = [look for look, _ in sided]
    found.looks("", looks, "angle_deg", [look.angle_deg for look in looks])
    found.table("raw_direction", [side for _, side in sided])
    _errors(found, fit, branch, math.hypot(mount.repeatability_deg, mount.backlash_deg / 2))
    found.facts |= {"form": "malus", "branch": branch.sign, "place": beam.place, "zero_w": beam.zero_w}
    found.facts |= {"wavelength_nm": context.settings.wavelength_nm, "outliers_repeated": float(repeated)}
    found.facts |= {"least_transmission": branch.reach[0], "highest_transmission": branch.reach[1]}
    found.filters(beam.filters)
    found.flags += fit.flags
    found.doubts(beam.gauge.doubts)
    return found.calibration("attenuator", context)


def _mount(fit: MalusFit, steep: Sequence[Sided]) -> PlateFit:
    """Play between the two directions, and how well a position is found again."""
    looks = [look for look, _ in steep]
    sigma = [look.sigma_w for look in looks]
    angle = sum(look.angle_deg for look in looks) / max(len(looks), 1)
    slope = slope_w_per_deg(fit, angle)
    # The encoder's own differences are known: what is looked for is what it does not see.
    power = [look.power_w - slope * (look.angle_deg - angle) for look in looks]
    return fit_plate(power, [side for _, side in steep], sigma, slope_w_per_deg=slope, laser_rel=LASER_REL)


def _backlash(fit: MalusFit, mount: PlateFit) -> tuple[float, str, float]:
    """Return the play, of the whole scan where that tells it, with its standard error."""
    if fit.backlash_deg is None or fit.backlash_sigma_deg is None:
        return mount.backlash_deg, "deg", mount.backlash_sigma_deg
    return fit.backlash_deg, "deg", fit.backlash_sigma_deg


def _errors(found: Findings, fit: MalusFit, branch: Branch, angle_sigma_deg: float) -> None:
    """What the mount's error makes of a transmission, where it can be reached."""
    sign = 1.0 if branch.sign == "+" else -1.0
    shown = [t for t in SHOWN if branch.reach[0] <= t <= branch.reach[1]] or [branch.reach[1]]
    part = [(t - fit.leakage) / (1 - fit.leakage) for t in shown]
    angles = [
        branch.zero_deg + sign * math.degrees(math.acos(math.sqrt(min(max(p, 0.0), 1.0)))) / 2 for p in part
    ]
    found.table("error_transmission", shown)
    found.table("error_angle_deg", angles)
    found.table("error_rel", fit.relative_error(angles, angle_sigma_deg).tolist())


SURE = 3.0
"""Drift beyond this many standard errors is told."""
APPROACH_DEG = 4.0
TABLE_REL = 0.03
DIM = 0.5
"""Less than this part of the power at calibration is told."""


@dataclass(frozen=True, slots=True)
class Recheck:
    """What a quick look has shown.

    :param checked: False where the meter cannot see the attenuator without opening the shutter.
    :param shift_deg: how far the zero seems to have moved, with its standard error; None for a table.
    :param power_rel: power at full transmission now over that at calibration; the laser's own drift is in it.
    :param warnings: plain sentences; empty when all is as calibrated.
    :param dark_deg: darkest angle, where it is no longer the calibrated one.
    """

    checked: bool
    text: str
    shift_deg: float | None = None
    shift_sigma_deg: float | None = None
    power_rel: float | None = None
    warnings: tuple[str, ...] = ()
    dark_deg: float | None = None

    def to_mapping(self) -> dict[str, object]:
        """Return it as plain values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class _NoOperator:
    def do(self, request: Request, stop: Stop | None = None) -> float | None:  # noqa: ARG002  nobody is there
        raise Aborted


def recheck_attenuator(
    calibration: Calibration,
    roles: Roles,
    settings: PumpSettings,
    limits: Limits,
    *,
    stop: Stop | None = None,
    readings: int = 2,
) -> Recheck:
    """Read the brightest, a steep and the darkest angle again; the shutter stays closed.

    Where they have moved, the plate is left at the least transmission that these readings show.

    :raises InstrumentError: an instrument failed.
    :raises SafetyStop: the shutter or the mount does not confirm what it was told.
    :raises CalibrationRefused: the meter's readings make no sense.
    """
    order = settings.order
    if not order.index("attenuator") < order.index("pick-off") < order.index("shutter"):
        return Recheck(False, "not checked: the meter sees the attenuator only with the shutter open")
    context = CalContext(roles, settings, limits, _NoOperator(), CalOptions(readings=readings), stop=stop)
    with UncalibratedBeam(context, "pick-off") as beam:
        beam.gauge.prepare()
        if calibration.facts.get("form", "malus") == "table":
            return _table(calibration, beam)
        return _malus(calibration, beam)


def _malus(calibration: Calibration, beam: UncalibratedBeam) -> Recheck:
    zero = calibration.quantities["zero_deg"]
    leakage = calibration.quantities["leakage"].value
    sign = 1.0 if calibration.facts.get("branch", "+") == "+" else -1.0
    k = _repetition(zero.value, sign, beam)
    if k is None:
        return Recheck(False, "not checked: mount and limits do not allow the calibrated branch")
    top_deg = zero.value + 90.0 * k
    steep_deg, dark_deg = top_deg + sign * STEEP_DEG, top_deg + sign * 45.0
    below, above = steep_deg - APPROACH_DEG, steep_deg + APPROACH_DEG
    dark = beam.look(dark_deg)
    first = beam.look(top_deg)
    steep = [beam.look(steep_deg, from_deg=side) for side in (below, above)]
    last = beam.look(top_deg)
    full_w = 0.5 * (first.power_w + last.power_w)
    slope = -(1 - leakage) * math.sin(math.radians(4 * sign * STEEP_DEG)) * math.radians(2)
    expected = leakage + (1 - leakage) * math.cos(math.radians(2 * STEEP_DEG)) ** 2
    shifts = [-(look.power_w / full_w - expected) / slope for look in steep]
    shift = float(np.mean(shifts))
    sigma = _shift_sigma_deg(calibration, slope)
    warnings = _warnings(calibration, shift, sigma, dark.power_w / full_w, full_w, beam)
    power_rel = full_w / calibration.quantities["max_power"].value
    if abs(shift) > SURE * sigma or dark.power_w > full_w:
        steep_w = 0.5 * sum(look.power_w for look in steep)
        _leave_dark(beam, top_deg, sign, full_w, steep_w, dark.power_w)
    text = (
        f"zero moved by {shift:+.3f} +- {sigma:.3f} deg, extinction {dark.power_w / full_w:.3g}, "
        f"power {power_rel:.0%} of that at calibration"
    )
    return Recheck(True, text, shift, sigma, power_rel, warnings, beam.course.dark_deg)


def _leave_dark(
    beam: UncalibratedBeam, top_deg: float, sign: float, top_w: float, steep_w: float, dark_w: float
) -> None:
    """Find the minimum anew, by the one curve of a half-wave plate through three readings, and look there.

    The readings are those at the calibrated maximum, halfway and at the minimum. Whichever of all readings
    was the darkest is where the plate is left.
    """
    swing_w, bend_w = 0.5 * (top_w - dark_w), steep_w - 0.5 * (top_w + dark_w)
    moved_deg = sign * math.degrees(math.atan2(bend_w, swing_w)) / 4
    fresh = [top_deg + moved_deg + 45.0 + 90.0 * k for k in range(-4, 5)]
    allowed = [angle for angle in fresh if beam.low_deg <= angle <= beam.high_deg]
    if allowed:
        beam.look(min(allowed, key=lambda angle: abs(angle - top_deg - sign * 45.0)))
    beam.course.dark_deg = min(beam.looks, key=lambda look: look.power_w).angle_deg


def _repetition(zero_deg: float, sign: float, beam: UncalibratedBeam) -> int | None:
    """Return which repetition of the branch is allowed, all of it."""
    for k in sorted(range(-4, 5), key=abs):
        low, high = sorted((zero_deg + 90.0 * k, zero_deg + 90.0 * k + sign * 45.0))
        if beam.low_deg <= low and high <= beam.high_deg:
            return k
    return None


def _shift_sigma_deg(calibration: Calibration, slope: float) -> float:
    """Mount, calibration and laser together; two readings, from either side, so that play cancels."""
    zero = calibration.quantities["zero_deg"]
    repeat = (
        calibration.quantities["repeatability"].value if "repeatability" in calibration.quantities else 0.05
    )
    laser = scanning.LASER_REL / abs(slope)
    return math.hypot(repeat / math.sqrt(2), zero.total, laser)


def _warnings(
    calibration: Calibration,
    shift: float,
    sigma: float,
    leakage: float,
    full_w: float,
    beam: UncalibratedBeam,
) -> tuple[str, ...]:
    found = []
    if abs(shift) > SURE * sigma:
        found.append(
            f"the attenuator's zero has moved by {shift:+.3f} deg ({abs(shift) / sigma:.0f} standard errors) "
            f"since {calibration.measured_utc[:10]}: calibrate it again"
        )
    known = calibration.quantities["leakage"]
    noise = SURE * (known.total + 3 * beam.gauge.meter.noise_w / full_w) + 0.2 * known.value
    if abs(leakage - known.value) > noise:
        found.append(
            f"the attenuator's extinction is {leakage:.3g} instead of {known.value:.3g}: calibrate it again"
        )
    found += _dim(calibration, full_w)
    return tuple(found)


def _dim(calibration: Calibration, full_w: float) -> Sequence[str]:
    known = calibration.quantities.get("max_power")
    if known is None or full_w > DIM * known.value:
        return ()
    return (f"only {full_w / known.value:.0%} of the power at calibration remains: check the laser",)


def _table(calibration: Calibration, beam: UncalibratedBeam) -> Recheck:
    """Compare four angles of a table with each other, so that the laser's own drift does not count."""
    angle = np.asarray(calibration.tables["angle_deg"])
    transmission = np.asarray(calibration.tables["transmission"])
    order = np.argsort(transmission)
    chosen = order[np.linspace(0.25 * (angle.size - 1), angle.size - 1, 4).round().astype(int)]
    usable = [int(i) for i in chosen if beam.low_deg <= angle[i] <= beam.high_deg]
    if len(usable) < 2:
        return Recheck(False, "not checked: mount and limits do not allow the angles of the table")
    looks = [beam.look(float(angle[i])) for i in usable]
    ratio = np.log([look.power_w / transmission[i] for look, i in zip(looks, usable, strict=True)])
    apart = float(np.ptp(ratio))
    noise = max(look.sigma_w / look.power_w for look in looks)
    allowed = SURE * math.hypot(TABLE_REL, scanning.LASER_REL, noise)
    text = f"{len(looks)} angles of the table agree within {apart:.1%} (allowed {allowed:.1%})"
    if apart <= allowed:
        return Recheck(True, text)
    warning = f"the attenuator deviates from its table by {apart:.0%}: calibrate it again"
    darkest_deg = float(angle[order[0]])
    if beam.low_deg <= darkest_deg <= beam.high_deg:
        beam.look(darkest_deg)
    beam.course.dark_deg = min(beam.looks, key=lambda look: look.power_w).angle_deg
    return Recheck(True, text, warnings=(warning,), dark_deg=beam.course.dark_deg)
