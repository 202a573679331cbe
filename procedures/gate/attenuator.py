"""The attenuator: what it transmits at which angle, where to turn it, and whether it is there.

Malus' law or a measured table, on one monotone branch. Transmissions here are RELATIVE to the highest one of
the curve, so that 1 is the nominal full energy; how far the energy is from that is learned from the meter.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from labctl.analysis.fluence import (
    LEAST_TRANSMISSION,
    malus_error_rel,
    malus_transmission,
    table_error_rel,
)
from labctl.model.clock import Clock, Stop
from labctl.model.errors import ConfigError, InstrumentError, SafetyStop
from labctl.model.pump import MalusCurve, TableCurve
from labctl.model.records import FloatArray
from labctl.model.roles import Attenuator
from procedures.gate.fluence import Beam
from procedures.gate.safe_state import retried
from procedures.gate.shutter import unlocked

QUARTER_DEG = 90.0
"""Period of Malus' law of a half-wave plate in front of a polariser."""
_ON_BRANCH_DEG = 0.05


class Curve(Protocol):
    """An attenuator's calibration on the branch that is used."""

    @property
    def reach(self) -> tuple[float, float]:
        """Lowest and highest relative transmission on the branch, inside the angles allowed."""

    def transmission(self, angle_deg: float) -> float:
        """Return the relative transmission at an angle; the highest possible where the curve is unknown."""

    def angle_deg(self, transmission: float) -> float:
        """Return the angle on the branch for a transmission, held to :attr:`reach`."""

    @property
    def floor_deg(self) -> float:
        """Angle of the least transmission on the branch."""

    def dark_end_deg(self, from_deg: float) -> float:
        """Return the darkest angle allowed that is reached from ``from_deg`` without crossing a maximum."""

    def highest_between(self, a_deg: float, b_deg: float) -> float:
        """Return the highest relative transmission met on the way from one angle to the other."""

    def sigma_rel(self, angle_deg: float, angle_sigma_deg: float) -> float:
        """Return the relative error of the transmission that an error of the angle makes."""


def make_curve(settings: MalusCurve | TableCurve, angle_range_deg: tuple[float, float]) -> Curve:
    """Choose the curve's branch so that it lies inside the angles that are allowed.

    :param angle_range_deg: lowest and highest angle allowed.
    :raises ConfigError: the curve is not valid, or no part of it lies inside the range.
    """
    if isinstance(settings, MalusCurve):
        return Malus.inside(settings, angle_range_deg)
    return Table.inside(settings, angle_range_deg)


def branch_deg(curve: Curve) -> tuple[float, float]:
    """Return the lowest and the highest angle of the branch that is used."""
    ends = [curve.angle_deg(transmission) for transmission in curve.reach]
    return min(ends), max(ends)


def off_branch(curve: Curve, angle_deg: float) -> str:
    """Say that an angle is none of the branch that is used; an empty string for one that is."""
    low, high = branch_deg(curve)
    if low - _ON_BRANCH_DEG <= angle_deg <= high + _ON_BRANCH_DEG:
        return ""
    return f"{angle_deg:g} deg is outside the part of the curve in use, {low:.4g} to {high:.4g} deg"


def allowed_angles(
    own_deg: tuple[float, float], limit_deg: tuple[float, float] | None
) -> tuple[float, float]:
    """Return the lowest and highest angle that both the mount and the bench's limits allow."""
    low, high = limit_deg or own_deg
    return max(own_deg[0], low), min(own_deg[1], high)


def off(found_deg: float, wanted_deg: float) -> float:
    """Return how far off a mount is; it may say 359.99 for -0.01."""
    return (found_deg - wanted_deg + 180.0) % 360.0 - 180.0


def nearest_minimum(dark_deg: float, from_deg: float) -> float:
    """Return that repetition of a half-wave plate's minimum which is reached without crossing a maximum."""
    return dark_deg + QUARTER_DEG * round((from_deg - dark_deg) / QUARTER_DEG)


@dataclass(frozen=True, slots=True)
class Malus:
    """T = leak + (1 - leak) cos^2 2(angle - peak) between ``low_deg`` and ``high_deg``, part of one branch.

    :param leak: lowest over highest transmission, 0 <= leak < 1: the minimum is leakage, not darkness.
    :param sign: +1 when the transmission falls with rising angle.
    """

    peak_deg: float
    leak: float
    sign: int
    low_deg: float
    high_deg: float
    allowed_deg: tuple[float, float]

    @classmethod
    def inside(cls, settings: MalusCurve, allowed_deg: tuple[float, float]) -> Malus:
        """Build the curve on that repetition of the branch of which most is allowed."""
        if not 0 <= settings.t_min < settings.t_max:
            raise ConfigError(
                f"t_min {settings.t_min:g} must lie in [0, t_max = {settings.t_max:g})",
                key="pump.attenuator_curve",
            )
        sign = 1 if settings.branch == "+" else -1
        best: Malus | None = None
        for k in (0, 1, -1, 2, -2, 3, -3, 4, -4):
            peak = settings.zero_deg + QUARTER_DEG * k
            low = max(min(peak, peak + sign * 45.0), allowed_deg[0])
            high = min(max(peak, peak + sign * 45.0), allowed_deg[1])
            found = cls(peak, settings.t_min / settings.t_max, sign, low, high, allowed_deg)
            if high > low and (best is None or found.width_deg > best.width_deg + 1e-9):
                best = found
        if best is None:
            low, high = allowed_deg
            raise ConfigError(f"no branch of the curve lies in the allowed {low:g} to {high:g} degrees")
        return best

    @property
    def width_deg(self) -> float:
        """Width of the usable branch."""
        return self.high_deg - self.low_deg

    @property
    def reach(self) -> tuple[float, float]:
        """Lowest and highest relative transmission on the branch."""
        ends = (self.transmission(self.low_deg), self.transmission(self.high_deg))
        return min(ends), max(ends)

    def transmission(self, angle_deg: float) -> float:
        """Malus' law; known at every angle."""
        return float(malus_transmission(angle_deg - self.peak_deg, self.leak))

    def angle_deg(self, transmission: float) -> float:
        """Invert Malus' law on the branch."""
        cos2 = (transmission - self.leak) / (1 - self.leak)
        turn = math.degrees(math.acos(math.sqrt(min(max(cos2, 0.0), 1.0)))) / 2
        return min(max(self.peak_deg + self.sign * turn, self.low_deg), self.high_deg)

    @property
    def floor_deg(self) -> float:
        """Far end of the branch from its maximum."""
        return self.high_deg if self.sign > 0 else self.low_deg

    def dark_end_deg(self, from_deg: float) -> float:
        """Return the minimum of the quarter turn that holds ``from_deg``, as far as it is allowed."""
        quarters = math.floor((from_deg - self.peak_deg) / QUARTER_DEG)
        angle = self.peak_deg + QUARTER_DEG * quarters + 45.0
        return min(max(angle, self.allowed_deg[0]), self.allowed_deg[1])

    def highest_between(self, a_deg: float, b_deg: float) -> float:
        """1 where a maximum lies on the way, else the larger end."""
        low, high = sorted((a_deg, b_deg))
        first_peak = self.peak_deg + QUARTER_DEG * math.ceil((low - self.peak_deg) / QUARTER_DEG)
        if low < first_peak < high:
            return 1.0
        return max(self.transmission(low), self.transmission(high))

    def sigma_rel(self, angle_deg: float, angle_sigma_deg: float) -> float:
        """First and second order of Malus' law."""
        return float(malus_error_rel(angle_deg - self.peak_deg, self.leak, angle_sigma_deg))


@dataclass(frozen=True, slots=True)
class Table:
    """A measured curve, interpolated linearly in log T (exact for a gradient filter); unknown outside.

    :param angle: rising angles, degrees, shape ``(n,)``.
    :param log_t: logarithm of the relative transmission, strictly monotone, shape ``(n,)``.
    """

    angle: FloatArray
    log_t: FloatArray
    low_deg: float
    high_deg: float

    @classmethod
    def inside(cls, settings: TableCurve, allowed_deg: tuple[float, float]) -> Table:
        """Check the table and cut its use to the angles allowed."""
        order = np.argsort(settings.angle_deg)
        angle = np.asarray(settings.angle_deg, dtype=np.float64)[order]
        values = np.asarray(settings.transmission, dtype=np.float64)[order]
        if angle.size < 2 or angle.size != values.size or not (values > 0).all():
            raise ConfigError("the table needs two or more angles with positive transmissions")
        steps = np.diff(np.log(values))
        if not ((steps > 0).all() or (steps < 0).all()) or not (np.diff(angle) > 0).all():
            raise ConfigError("the table must be strictly monotone")
        low, high = max(float(angle[0]), allowed_deg[0]), min(float(angle[-1]), allowed_deg[1])
        if high <= low:
            raise ConfigError(
                f"the table lies outside the allowed {allowed_deg[0]:g} to {allowed_deg[1]:g} degrees"
            )
        return cls(angle, np.log(values / values.max()), low, high)

    @property
    def reach(self) -> tuple[float, float]:
        """Lowest and highest relative transmission inside the allowed angles."""
        ends = (self.transmission(self.low_deg), self.transmission(self.high_deg))
        return min(ends), max(ends)

    def transmission(self, angle_deg: float) -> float:
        """Interpolate; outside the table anything is possible, so 1."""
        if not self.angle[0] - 1e-9 <= angle_deg <= self.angle[-1] + 1e-9:
            return 1.0
        return math.exp(float(np.interp(angle_deg, self.angle, self.log_t)))

    def angle_deg(self, transmission: float) -> float:
        """Invert the table."""
        log_t = math.log(max(transmission, 1e-30))
        rising = self.log_t[-1] > self.log_t[0]
        x, y = (self.log_t, self.angle) if rising else (self.log_t[::-1], self.angle[::-1])
        return min(max(float(np.interp(log_t, x, y)), self.low_deg), self.high_deg)

    @property
    def floor_deg(self) -> float:
        """End with the lower transmission."""
        return self.low_deg if self.log_t[0] < self.log_t[-1] else self.high_deg

    def dark_end_deg(self, from_deg: float) -> float:  # noqa: ARG002  one dark end, wherever one comes from
        """Return the end with the lower transmission."""
        return self.floor_deg

    def highest_between(self, a_deg: float, b_deg: float) -> float:
        """Return the larger end: the table is monotone, and 1 outside of it."""
        return max(self.transmission(a_deg), self.transmission(b_deg))

    def sigma_rel(self, angle_deg: float, angle_sigma_deg: float) -> float:
        """Slope of log T, from the table's own neighbours."""
        return float(table_error_rel(angle_deg, self.angle, self.log_t, angle_sigma_deg))


_DRIFT_REL = 0.01
"""Change of the laser and of the plate's own curve to expect between two settings."""


class EnergyScale:
    """Ratio of measured to nominal pulse energy: a running estimate (scalar Kalman filter) with its error.

    Only used to aim and to bound what may happen before the meter has spoken; what is stored is measured.

    :param start_sigma: relative standard error of the nominal energy before anything was measured.
    """

    def __init__(self, start_sigma: float) -> None:
        self.ratio = 1.0
        self._variance = start_sigma**2

    @property
    def sigma(self) -> float:
        """Relative standard error of a prediction at the next setting, without the plate's repeatability."""
        return math.sqrt(self._variance + _DRIFT_REL**2)

    def learn(self, ratio: float, sigma_rel: float) -> None:
        """Take in one measured ratio with its relative standard error (reading and plate together)."""
        before = self._variance + _DRIFT_REL**2
        gain = before / (before + max(sigma_rel, 1e-6) ** 2)
        self.ratio += gain * (ratio - self.ratio)
        self._variance = (1 - gain) * before

    def highest(self, angle_sigma_rel: float) -> float:
        """Return the ratio that is not exceeded, at three standard errors."""
        return self.ratio * (1 + 3 * math.hypot(self.sigma, angle_sigma_rel))


ARRIVAL_DEG = 0.2
"""A plate farther off than this has not arrived: four times a mount's usual repeatability."""


class Plate:
    """A mount with the curve of what it carries.

    :param angle_sigma_deg: repeatability of the mount, standard error.
    """

    def __init__(self, mount: Attenuator, clock: Clock, curve: Curve, angle_sigma_deg: float) -> None:
        self._mount, self._clock = mount, clock
        self._curve, self._sigma_deg = curve, angle_sigma_deg
        self.reached_deg = 0.0
        self._sure = False
        self.changed_at_s = clock.now_s()
        self._brightest = 1.0
        self.arrived: Callable[[], object] | None = None
        """Told when a move has ended, before anybody reads the meter."""

    @property
    def name(self) -> str:
        """Role and address of the mount."""
        return self._mount.name

    def is_referenced(self) -> bool:
        """Ask whether the angle can be trusted."""

        def asked() -> bool:
            try:
                return self._mount.is_referenced()
            except InstrumentError:  # who answers after a failure may stand elsewhere
                self._sure = False
                raise

        return retried(asked)

    def angle_deg(self) -> float:
        """Ask for the present angle."""
        self._sure = False
        self.reached_deg = retried(self._mount.angle_deg)
        self._sure = True
        return self.reached_deg

    def here_deg(self, *, lit: bool) -> float:
        """Return where it is: as it was confirmed last; in the light, and after a failure, as it says now.

        Between its moves the mount says only whether it is still where it was left: :meth:`is_referenced`.
        """
        return self.angle_deg() if lit or not self._sure else self.reached_deg

    def home(self, stop: Stop | None) -> None:
        """Search the reference; only with the shutter closed.

        :raises SafetyStop: the mount does not confirm it.
        """
        self._brightest, self._sure = 1.0, False
        self._mount.home(stop)  # a session's mount refuses it in the light
        self.changed_at_s = self._clock.now_s()
        if not self.is_referenced():
            raise SafetyStop(f"{self._mount.name} does not report homed after homing")

    def move(self, angle_deg: float, stop: Stop | None) -> float:
        """Move and return the angle read back.

        :raises SafetyStop: the plate did not arrive.
        """
        self._brightest = max(self._brightest, self._curve.highest_between(self.reached_deg, angle_deg))
        self._sure = False
        with unlocked():
            found_deg = self._mount.move_to(angle_deg, stop)
        if self.arrived is not None:
            self.arrived()
        self.changed_at_s = self._clock.now_s()
        off_deg = off(found_deg, angle_deg)
        self.reached_deg = angle_deg + off_deg
        if not abs(off_deg) <= ARRIVAL_DEG:
            raise SafetyStop(
                f"{self._mount.name} is at {self.reached_deg:.3f} instead of {angle_deg:.3f} deg",
                "check that the wave plate turns freely, and home it",
            )
        self._sure = True
        return self.reached_deg

    def require_at(self, angle_deg: float) -> None:
        """Make sure that nobody has turned it since.

        :raises SafetyStop: it stands elsewhere than at ``angle_deg``.
        """
        off_deg = off(retried(self._mount.angle_deg), angle_deg)
        if not abs(off_deg) <= ARRIVAL_DEG:
            raise SafetyStop(
                f"{self._mount.name} is at {angle_deg + off_deg:.3f} deg, but the energy was verified at "
                f"{angle_deg:.3f} deg",
                "set the fluence again",
            )

    def swing(self) -> float:
        """Highest transmission met since this was last asked, over the present one, >= 1."""
        now = max(self._curve.transmission(self.reached_deg), LEAST_TRANSMISSION)
        swing, self._brightest = max(self._brightest / now, 1.0), now
        return swing

    def sigma_rel(self, angle_deg: float) -> float:
        """Relative error of the transmission from the mount's repeatability."""
        return self._curve.sigma_rel(angle_deg, self._sigma_deg)


TRIM_REL = 0.03
"""A setting nearer to the wanted one than this is left as it is: the fluence is measured anyway."""
_ROUNDING = 1 + 1e-6
_KNOWN_REL = 0.03
"""Plate and reading together: energies known less well are not held against the stated one."""


class AttenuatorModel:
    """Predicts energies on the sample from the plate's angle and the energy scale learned so far.

    :param meter_in_front: whether the meter can speak before the shutter opens.
    """

    def __init__(self, beam: Beam, curve: Curve, plate: Plate, *, meter_in_front: bool) -> None:
        self._beam, self._curve, self._plate = beam, curve, plate
        self._meter_in_front = meter_in_front
        self._nominal_j = beam.settings.max_pulse_energy_j
        self._scale = EnergyScale(beam.limits.set_ratio / 3)

    def energy_j(self, angle_deg: float) -> float:
        """Pulse energy on the sample to expect at an angle."""
        return self._full_j * self._curve.transmission(angle_deg)

    def fluence_uj_cm2(self, angle_deg: float) -> float:
        """Fluence on the sample to expect at an angle."""
        return self._beam.fluence_uj_cm2(self.energy_j(angle_deg))

    def reach_uj_cm2(self) -> tuple[float, float]:
        """Lowest and highest fluence that the attenuator can make of the energy as it is known."""
        full = self._beam.fluence_uj_cm2(self._full_j)
        low, high = self._curve.reach
        return full * low, full * high

    def mean_fluence_uj_cm2(self, a_deg: float, b_deg: float) -> float:
        """Fluence on the way from one angle to another, averaged over a steady motion."""
        way = (np.arange(32) + 0.5) / 32
        return float(np.mean([self.fluence_uj_cm2(a_deg + (b_deg - a_deg) * part) for part in way]))

    def angle_deg(self, fluence_uj_cm2: float) -> float:
        """Angle for a fluence; near a limit a little lower, as much as is not known."""
        wanted_j = self._beam.energy_j(fluence_uj_cm2)
        angle = self._curve.angle_deg(wanted_j / self._full_j)
        for _ in range(4):  # the plate's share of what is not known depends on the angle itself
            plate = self._plate.sigma_rel(angle)
            # Where the meter speaks before the light does, the plate's own error is all there is to fear.
            spare = (
                1.005 + 2 * plate if self._meter_in_front else self._scale.highest(plate) / self._scale.ratio
            )
            angle = self._curve.angle_deg(min(wanted_j, self._beam.highest_energy_j / spare) / self._full_j)
        return angle

    def worth_a_trim(self, from_deg: float, to_deg: float, sigma_rel: float) -> bool:
        """Whether turning the plate again would bring more than its own error and the meter's do."""
        sigma = max(sigma_rel, self._plate.sigma_rel(to_deg))
        change = self._curve.transmission(to_deg) / self._curve.transmission(from_deg) - 1
        return abs(change) > max(TRIM_REL, 2 * sigma)

    def harmless(self, target_deg: float, *, lit: bool) -> bool:
        """Whether the plate may go there with the shutter open: no maximum on the way, no limit passed.

        :param lit: whether it is open.
        """
        here = self._plate.here_deg(lit=lit)
        ends = max(self._curve.transmission(here), self._curve.transmission(target_deg))
        on_the_way = self._curve.highest_between(here, target_deg)
        highest_j = self._nominal_j * on_the_way * self._scale.highest(self._plate.sigma_rel(target_deg))
        return highest_j <= self._beam.highest_energy_j * _ROUNDING and on_the_way <= ends * _ROUNDING

    def learn(self, angle_deg: float, measured_j: float, sigma_rel: float) -> None:
        """Take in what the meter said at an angle, with the reading's relative standard error."""
        nominal_j = self._nominal_j * self._curve.transmission(angle_deg)
        plate = self._plate.sigma_rel(angle_deg)
        self._scale.learn(measured_j / nominal_j, float(np.hypot(sigma_rel, plate)))

    def off_stated(self, angle_deg: float, measured_j: float, sigma_rel: float) -> float | None:
        """Relative deviation of a measured energy from the stated one; None where the errors hide it."""
        if math.hypot(sigma_rel, self._plate.sigma_rel(angle_deg)) > _KNOWN_REL:
            return None
        return measured_j / (self._nominal_j * self._curve.transmission(angle_deg)) - 1

    @property
    def highest_full_j(self) -> float:
        """Highest mean pulse energy on the sample at any angle, as far as the meter has shown it."""
        return self._nominal_j * self._scale.highest(0.0) * self._curve.reach[1]

    @property
    def _full_j(self) -> float:
        return self._nominal_j * self._scale.ratio
