"""How bright an angle may be, before anybody has looked: by the bench file, by neighbours, by a law."""

from __future__ import annotations

import math
from collections.abc import Callable

from procedures.calibration.context import CalContext, Place
from procedures.calibration.worst import UNKNOWN, Look, Worst
from procedures.gate.attenuator import ARRIVAL_DEG, allowed_angles

DECADE_DEG = 10.0
"""No wheel has a gradient steeper than a decade over this angle."""
FILL_LAW = 1.1
"""Likewise where a law was fitted."""
FILL = 1.2
"""Room for the laser's drift above what was measured."""


class Foresight:
    """What the meter may come to see at each angle, and what it is allowed to.

    :param place: where the meter stands.
    :param smooth: whether the transmission is that of a half-wave plate, so that a neighbour bounds it.
    """

    def __init__(self, context: CalContext, place: Place, *, smooth: bool) -> None:
        self.context, self.place, self._smooth = context, place, smooth
        order = context.settings.order
        self.behind = place == "sample" or order.index("shutter") < order.index("pick-off")
        self.low_deg, self.high_deg = allowed_angles(
            context.roles.attenuator.angle_range_deg, context.limits.angle_range_deg
        )
        self.worst = Worst(context.settings, context.limits, (self.low_deg, self.high_deg))
        if context.course.law is not None:
            self.worst.saw(context.course.law)
        self.looks: list[Look] = []
        self.expect: Callable[[float], float] | None = None
        self.filter_transmission = 1.0

    def brightest(self, passing: float | None = None) -> Look | None:
        """Return the brightest look so far, of those behind a filter if given; None before the first."""
        looks = [look for look in self.looks if passing is None or look.passing == passing]
        return max(looks, key=lambda look: look.power_w, default=None)

    def set_filter(self, transmission: float) -> None:
        """Take account of what now stands before the sensor: powers are those in front of it."""
        self.filter_transmission = transmission

    @property
    def full_w(self) -> float:
        """Highest power at the meter that is to be expected, by the bench file's nominal numbers."""
        s = self.context.settings
        if self.place == "sample":
            return self.worst.full_w
        return UNKNOWN * s.max_pulse_energy_j * s.repetition_rate_hz / s.pickoff_ratio

    @property
    def ceiling_w(self) -> float:
        """Highest power that is allowed at the meter."""
        of_sensor, on_sample = self.context.options.sensor_limit_w, self.context.limits.max_average_power_w
        limits = [math.inf if of_sensor is None else of_sensor / self.filter_transmission]
        if self.place == "sample" and on_sample is not None:
            limits.append(on_sample)
        return min(limits)

    def bound_w(self, angle_deg: float) -> float:
        """Highest power that an angle may make: at first the full one, then by what its neighbours showed.

        Once a law is known (:attr:`expect`), by that.
        """
        full = self.full_w
        if self.expect is not None:
            return FILL_LAW * max(self.expect(angle_deg + off) for off in (-ARRIVAL_DEG, 0.0, ARRIVAL_DEG))
        if not self.looks:
            return full * self.worst.transmission(angle_deg)
        near = min(self.looks, key=lambda look: abs(look.angle_deg - angle_deg))
        step_deg = abs(near.angle_deg - angle_deg) + ARRIVAL_DEG
        if not self._smooth:
            return min(full, FILL * max(near.power_w, 0.0) * 10 ** (step_deg / DECADE_DEG))
        step = 2 * math.radians(step_deg)
        amplitude = math.sqrt(max(near.power_w, 0.0) * FILL) + step * math.sqrt(full)
        return min(full, amplitude**2)

    def step_deg(self, look: Look, longest_deg: float) -> float:
        """Return how far the plate may turn from a look so that no limit can be passed."""
        if not self._smooth:
            room = 0.97 * self.ceiling_w / max(FILL * look.power_w, 1e-30)
            return min(longest_deg, DECADE_DEG * math.log10(max(room, 1.0)) - ARRIVAL_DEG)
        if self.full_w <= self.ceiling_w:
            return longest_deg
        room = math.sqrt(0.97 * self.ceiling_w) - math.sqrt(max(look.power_w, 0.0) * FILL)
        return min(longest_deg, math.degrees(room / (2 * math.sqrt(self.full_w))) - ARRIVAL_DEG)

    def allowed(self, angle_deg: float) -> bool:
        """Return whether an angle stays below what sensor and limits allow, as far as can be known.

        Where the shutter opens for it, the limits are judged by the worst that may reach the sample's place.
        """
        if not self.low_deg <= angle_deg <= self.high_deg or self.bound_w(angle_deg) > self.ceiling_w:
            return False
        return not self.behind or self.worst.allows(angle_deg)


def power_text(watts: float) -> str:
    """Return a power with the unit that suits it."""
    for unit, size in (("W", 1.0), ("mW", 1e-3), ("uW", 1e-6)):
        if abs(watts) >= size:
            return f"{watts / size:.3g} {unit}"
    return f"{watts / 1e-9:.3g} nW"
