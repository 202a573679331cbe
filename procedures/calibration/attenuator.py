"""What the attenuator transmits at which angle: a half-wave plate by Malus' law, a wheel by a table."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import cast

import numpy as np

from labctl.analysis.calibration.malus import Branch, MalusFit, fit_malus
from labctl.analysis.calibration.plate import PlateFit, fit_plate, slope_w_per_deg
from labctl.model.calibration import Calibration
from labctl.model.errors import CalibrationRefused, ConfigError
from procedures.calibration import filters
from procedures.calibration.context import CalContext, CalStep, Place, Steps
from procedures.calibration.foresight import power_text
from procedures.calibration.law import Law
from procedures.calibration.options import AttenuatorOptions
from procedures.calibration.placing import MeteredBeam
from procedures.calibration.record import Findings
from procedures.calibration.scanning import Sided, coarse, through
from procedures.calibration.wheel import calibrate_wheel
from procedures.gate.attenuator import Malus, make_curve

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
        filters.leave(beam)
        beam.restore()
    yield _fit_step(fit, branch)
    return _found(context, beam, fit, branch, sided, steep, repeated)


def _options(context: CalContext) -> AttenuatorOptions:
    options = cast("AttenuatorOptions", context.options)
    if options.form not in ("malus", "table"):
        raise ConfigError(f"{options.form!r} is neither malus nor table", key="form")
    if not (8 <= options.points <= 200 and 3 <= options.pairs <= 50):
        raise ConfigError("8 to 200 points and 3 to 50 pairs are possible", key="points")
    return options


def _place(context: CalContext, options: AttenuatorOptions) -> Place:
    """Choose where the meter sees the attenuator."""
    order = context.settings.order
    sees = order.index("attenuator") < order.index("pick-off")
    if options.place not in ("", "pick-off", "sample"):
        raise ConfigError(f"{options.place!r} is neither pick-off nor sample", key="place")
    if options.place == "pick-off" and not sees:
        raise CalibrationRefused(
            "at the pick-off the meter stands before the attenuator", "use --place sample"
        )
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
            f"no more than {power_text(beam.ceiling_w)} are allowed at the {beam.place}: put a neutral "
            "filter before the attenuator, or raise max_average_power while the sample is out"
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
            f"{far.size} of {len(sided)} readings lie far off Malus' law: laser or mount are not steady"
        )
    for i in (int(k) for k in far):
        look, side = sided[i]
        again = yield from through(beam, [(look.angle_deg, side)], "scan", (0.95, 0.95))
        sided[i] = again[0] if again else sided[i]
    return (_fit(sided, context) if far.size else fit), int(far.size)


def _fit_step(fit: MalusFit, branch: Branch) -> CalStep:
    angles = np.linspace(branch.low_deg, branch.high_deg, 91)
    curve = (tuple(angles.tolist()), tuple((fit.max_power_w * fit.transmission(angles)).tolist()))
    text = f"zero {fit.zero_deg:.3f} +- {fit.zero_sigma_deg:.3f} deg, leakage {fit.leakage:.3g}"
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
