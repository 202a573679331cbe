"""The most light that an angle may bring to the sample's place, whether the sample is out or not.

It rests on the bench file and on what was seen while the shutter was closed, never on a sensor whose place
nobody has proved. Every limit of the bench binds, the dose too, as if the sample stood there: hands that were
asked to take it out may not have done so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from labctl.model.errors import CalibrationRefused, ConfigError, SafetyStop
from labctl.model.pump import Limits, MalusCurve, PumpSettings
from labctl.model.records import PowerReading
from procedures.gate.attenuator import ARRIVAL_DEG, make_curve
from procedures.gate.fluence import make_beam
from procedures.gate.shutter import LightAccount

LEAST_LOOKS = 6
MOST_SCATTER = 0.05
LEAST_SPAN_DEG = 35.0


@dataclass(frozen=True, slots=True)
class Look:
    """One setting, read.

    :param angle_deg: as read back; ``power_w`` at the meter, its zero subtracted, before any filter.
    :param passing: transmission of the filter that stood before the sensor.
    """

    angle_deg: float
    power_w: float
    sigma_w: float
    at_s: float
    reading: PowerReading
    passing: float = 1.0


@dataclass(frozen=True, slots=True)
class Law:
    """P = lowest + (highest - lowest) cos^2 2(angle - zero), in W at the meter.

    :param sigma_rel: standard error of ``highest_w``, relative.
    """

    zero_deg: float
    lowest_w: float
    highest_w: float
    sigma_rel: float

    def power_w(self, angle_deg: float) -> float:
        """Return the power at an angle."""
        turn = math.radians(2 * (angle_deg - self.zero_deg))
        return self.lowest_w + (self.highest_w - self.lowest_w) * math.cos(turn) ** 2

    def away_deg(self, part: float) -> float:
        """Return how far from a maximum the power has fallen to a part of the highest, 0 to 45 degrees."""
        least = self.lowest_w / self.highest_w
        share = min(max((part - least) / (1 - least), 0.0), 1.0)
        return math.degrees(math.acos(math.sqrt(share))) / 2

    def slope_rel(self, angle_deg: float) -> float:
        """Return the relative change of the power with the angle there, 1/deg, always positive."""
        turn = math.radians(4 * (angle_deg - self.zero_deg))
        change = (self.highest_w - self.lowest_w) * abs(math.sin(turn)) * math.radians(2)
        return change / max(self.power_w(angle_deg), 1e-30)


def first_law(looks: Sequence[Look]) -> Law:
    """Fit the law, which is linear in cosine and sine of four times the angle.

    :raises CalibrationRefused: too few angles, or powers that do not follow it.
    """
    angle = np.array([look.angle_deg for look in looks])
    power = np.array([look.power_w for look in looks])
    if angle.size < LEAST_LOOKS or np.ptp(angle) < LEAST_SPAN_DEG:
        span = np.ptp(angle) if angle.size else 0.0
        raise CalibrationRefused(
            f"only {angle.size} angles over {span:.0f} deg are allowed: at least {LEAST_LOOKS} over "
            f"{LEAST_SPAN_DEG:.0f} deg are needed",
            "raise angle_range_deg, the sensor's limit or max_average_power",
        )
    turn = np.radians(4 * angle)
    design = np.column_stack([np.ones_like(turn), np.cos(turn), np.sin(turn)])
    (middle, c, s), *_ = np.linalg.lstsq(design, power, rcond=None)
    size = math.hypot(c, s)
    scatter = float(np.sqrt(np.sum((power - design @ (middle, c, s)) ** 2) / max(angle.size - 3, 1)))
    if not size > 0.2 * middle or scatter > MOST_SCATTER * (middle + size):
        part = scatter / max(middle + size, 1e-30)
        raise CalibrationRefused(
            f"the powers do not follow a half-wave plate (scatter {part:.0%}): laser, wave plate or sensor "
            f"is unstable, or it is not a half-wave plate"
        )
    gradient = np.array([1.0, c / size, s / size])
    covariance = np.linalg.inv(design.T @ design) * scatter**2
    sigma = math.sqrt(float(gradient @ covariance @ gradient))
    lowest = max(middle - size, 0.0)
    return Law(math.degrees(math.atan2(s, c)) / 4, lowest, middle + size, sigma / (middle + size))


MOVED_DEG = 3.0
"""A calibrated curve may have moved by this since."""
SEEN_MOVED_DEG = 0.5
"""One that was seen a minute ago has not: the scan's own error, and that of an arrival."""
UNKNOWN = 2.0
"""The nominal energy may be this much too low; :data:`MEASURED` where it was calibrated."""
MEASURED = 1.25
LEAST_AREA = 0.35
"""Part of the stated area that a spot has at least; :data:`MEASURED_AREA` where it was measured."""
MEASURED_AREA = 0.9
MARGIN = 1.03
"""For a law's own error near its dark end."""
PLANNED = 1.05
"""Room for where the mount arrives, when an angle is planned."""
_STEPS = 6

Transmission = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Parked:
    """A setting at which the plate waits behind the closed shutter while the sensor is carried elsewhere.

    What was read of it before holds afterwards to the last digit: no error of the mount comes in between.

    :param part: transmission there over the highest, with its relative standard error ``sigma_rel``.
    :param power_w: at the pick-off.
    """

    angle_deg: float
    part: float
    sigma_rel: float
    power_w: float


@dataclass(slots=True)
class Course:
    """What outlives one visit of the sensor: it belongs to the whole calibration.

    :param dose_uj_cm2: worst dose so far, as if the sample had stood in the beam.
    :param dark_deg: angle of the least transmission that is known by now; None: what the bench file says.
    :param law: what the plate transmits, as it was seen in front of the closed shutter by this calibration.
    :param parked: where the plate waits for the sensor; None where it waits in the dark.
    :param confirmed: by what the last closing was confirmed, in words; "" where nothing was opened.
    :param lie: why the shutter's sensor is believed no more; "" while it is.
    """

    dose_uj_cm2: float = 0.0
    dark_deg: float | None = None
    confirmed: str = ""
    lie: str = ""
    law: Law | None = None
    parked: Parked | None = None


class Worst:
    """Upper bounds of power and fluence on the sample, by the plate's angle.

    :param allowed_deg: lowest and highest angle of the mount.
    :raises ConfigError: settings or limits make no sense.
    """

    def __init__(self, settings: PumpSettings, limits: Limits, allowed_deg: tuple[float, float]) -> None:
        self._settings, self._limits = settings, limits
        self._beam = make_beam(settings, limits)
        self._rate_hz = settings.repetition_rate_hz
        energy = MEASURED if "repetition_rate_hz" in settings.sources else UNKNOWN
        self._area = MEASURED_AREA if "spot" in settings.sources else LEAST_AREA
        self.full_w = energy * settings.max_pulse_energy_j * self._rate_hz
        self.law: Law | None = None
        self._transmission: Transmission | None = None
        self._moved_deg = MOVED_DEG
        self._start(allowed_deg)

    def _start(self, allowed_deg: tuple[float, float]) -> None:
        """Take the calibrated curve; a guess of the bench file is none."""
        settings = self._settings
        if "curve" not in settings.sources:
            return
        try:
            curve = make_curve(settings.curve, allowed_deg)
        except ConfigError:
            return
        self._transmission = curve.transmission
        if isinstance(settings.curve, MalusCurve):
            self.law = Law(settings.curve.zero_deg, settings.curve.t_min / settings.curve.t_max, 1.0, 0.0)

    @property
    def known(self) -> bool:
        """Whether it is known which angle transmits how much."""
        return self._transmission is not None

    def saw(self, law: Law) -> None:
        """Take a law that was seen at the pick-off, in front of the closed shutter.

        Where it is that of the calibrated curve, this one is the better, and it has not moved.
        """
        unit = Law(law.zero_deg, law.lowest_w / law.highest_w, 1.0, law.sigma_rel)
        self._moved_deg = SEEN_MOVED_DEG
        if self.law is None or abs(_apart_deg(self.law.zero_deg, unit.zero_deg)) > SEEN_MOVED_DEG:
            self.law = unit
        self._transmission = unit.power_w

    # --- the limits --------------------------------------------------------------------------------

    @property
    def ceiling_w(self) -> float:
        """Highest power on the sample that the limits allow, the smallest spot assumed."""
        limits, beam = self._limits, self._beam
        allowed = [beam.energy_j(limits.max_fluence_uj_cm2) * self._area * self._rate_hz]
        if limits.max_pulse_energy_j is not None:
            allowed.append(limits.max_pulse_energy_j * self._rate_hz)
        if limits.max_average_power_w is not None:
            allowed.append(limits.max_average_power_w)
        return min(allowed)

    def transmission(self, angle_deg: float) -> float:
        """Highest transmission that an angle may have, 1 where the curve is unknown."""
        if self._transmission is None:
            return 1.0
        off = self._moved_deg + ARRIVAL_DEG
        steps = (angle_deg + off * k / _STEPS for k in range(-_STEPS, _STEPS + 1))
        return min(MARGIN * max(self._transmission(angle) for angle in steps), 1.0)

    def power_w(self, angle_deg: float) -> float:
        """Highest power on the sample."""
        return self.full_w * self.transmission(angle_deg)

    def fluence_uj_cm2(self, angle_deg: float) -> float:
        """Highest fluence on the sample."""
        return self._beam.fluence_uj_cm2(self.power_w(angle_deg) / self._rate_hz) / self._area

    def allows(self, angle_deg: float) -> bool:
        """Return whether no limit can be passed at this angle, nor where the mount may arrive instead."""
        return PLANNED * self.power_w(angle_deg) <= self.ceiling_w

    def refuse(self, angle_deg: float) -> None:
        """Refuse an angle that may pass a limit; nothing has opened.

        :raises CalibrationRefused: it may.
        """
        if self.power_w(angle_deg) <= self.ceiling_w:
            return
        worst = f"{self.fluence_uj_cm2(angle_deg):.3g} uJ/cm2, {self.power_w(angle_deg) * 1e6:.3g} uW"
        if not self.known:
            raise CalibrationRefused(
                f"the shutter stays closed: the attenuator curve is still unknown, so up to {worst} may "
                "reach the sample position, above the limits",
                self._hint(),
            )
        raise CalibrationRefused(
            f"the shutter stays closed: at {angle_deg:.2f} deg up to {worst} may reach the sample position, "
            f"above the limits",
            "put an ND filter in front of the attenuator, or raise the limits in the bench file while the "
            "sample is removed",
        )

    def _hint(self) -> str:
        order = self._settings.order
        most_j = self.ceiling_w / self.full_w * self._settings.max_pulse_energy_j
        if order.index("attenuator") < order.index("pick-off") < order.index("shutter"):
            return "put the sensor back at the pick-off, then: labctl calibrate attenuator --use"
        return (
            "put an ND filter in front of the attenuator and set max_pulse_energy behind it "
            f"({most_j * 1e9:.3g} nJ or less), or remove the sample and raise the limits in the bench file "
            "for that time"
        )

    def refuse_dose(self, account: LightAccount, seconds: float) -> None:
        """Refuse light that could bring the dose beyond its limit.

        :raises SafetyStop: ``seconds`` more of the present fluence may do so.
        """
        limit = self._limits.max_dose_uj_cm2
        if limit is not None and account.after_s(seconds) > limit:
            raise SafetyStop(
                f"the dose at the sample position may exceed its limit of {limit:g} uJ/cm2",
                "a calibration counts its light as if the sample were in place: raise max_dose_uj_cm2 while "
                "it is removed, or take fewer readings",
            )


def _apart_deg(a_deg: float, b_deg: float) -> float:
    """Return the difference of two zeros of a plate that repeats every 90 degrees."""
    return (a_deg - b_deg + 45.0) % 90.0 - 45.0
