"""What an attenuator transmits at which angle: Malus' law or a measured table, on one monotone branch.

Transmissions here are RELATIVE to the highest one of the curve, so that 1 is the nominal full energy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from labctl.analysis.attenuation import malus_error_rel, malus_transmission, table_error_rel
from labctl.model.errors import ConfigError
from labctl.model.pump import MalusCurve, TableCurve
from labctl.model.records import FloatArray

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
    :raises ConfigError: the curve makes no sense, or no part of it lies inside the range.
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
    return f"{angle_deg:g} deg lies outside the part of the curve that is used, {low:.4g} to {high:.4g} deg"


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
            raise ConfigError("the table must rise or fall strictly from angle to angle")
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
