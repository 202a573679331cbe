"""Is the attenuator still what its calibration says? A few angles, behind the closed shutter, in seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from labctl.model.calibration import Calibration
from labctl.model.clock import Stop
from labctl.model.errors import Aborted
from labctl.model.hands import Request
from labctl.model.pump import Limits, PumpSettings
from labctl.model.roles import Roles
from procedures.calibration.beam import UncalibratedBeam
from procedures.calibration.context import CalContext
from procedures.calibration.options import CalOptions

SURE = 3.0
"""Drift beyond this many standard errors is told."""
STEEP_DEG = 22.5
APPROACH_DEG = 4.0
LASER_REL = 0.001
"""A sound laser changes by this within the seconds that it takes."""
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


class _NoHands:
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
    context = CalContext(roles, settings, limits, _NoHands(), CalOptions(readings=readings), stop=stop)
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
        return Recheck(False, "not checked: the calibrated branch is not allowed by mount and limits")
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
        f"zero moved by {shift:+.3f} +- {sigma:.3f} deg, leakage {dark.power_w / full_w:.3g}, "
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
    laser = LASER_REL / abs(slope)
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
            f"the attenuator's leakage is {leakage:.3g} instead of {known.value:.3g}: calibrate it again"
        )
    found += _dim(calibration, full_w)
    return tuple(found)


def _dim(calibration: Calibration, full_w: float) -> Sequence[str]:
    known = calibration.quantities.get("max_power")
    if known is None or full_w > DIM * known.value:
        return ()
    return (
        f"there is only {full_w / known.value:.0%} of the power there was at calibration: check the laser",
    )


def _table(calibration: Calibration, beam: UncalibratedBeam) -> Recheck:
    """Compare four angles of a table with each other, so that the laser's own drift does not count."""
    angle = np.asarray(calibration.tables["angle_deg"])
    transmission = np.asarray(calibration.tables["transmission"])
    order = np.argsort(transmission)
    chosen = order[np.linspace(0.25 * (angle.size - 1), angle.size - 1, 4).round().astype(int)]
    usable = [int(i) for i in chosen if beam.low_deg <= angle[i] <= beam.high_deg]
    if len(usable) < 2:
        return Recheck(False, "not checked: the table's angles are not allowed by mount and limits")
    looks = [beam.look(float(angle[i])) for i in usable]
    ratio = np.log([look.power_w / transmission[i] for look, i in zip(looks, usable, strict=True)])
    apart = float(np.ptp(ratio))
    noise = max(look.sigma_w / look.power_w for look in looks)
    allowed = SURE * math.hypot(TABLE_REL, LASER_REL, noise)
    text = f"{len(looks)} angles of the table agree within {apart:.1%} (allowed {allowed:.1%})"
    if apart <= allowed:
        return Recheck(True, text)
    warning = f"the attenuator departs from its table by {apart:.0%}: calibrate it again"
    darkest_deg = float(angle[order[0]])
    if beam.low_deg <= darkest_deg <= beam.high_deg:
        beam.look(darkest_deg)
    beam.course.dark_deg = min(beam.looks, key=lambda look: look.power_w).angle_deg
    return Recheck(True, text, warnings=(warning,), dark_deg=beam.course.dark_deg)
