"""From a pulse energy on the sample to a fluence and back, and what of either is forbidden."""

from __future__ import annotations

import math
from dataclasses import dataclass

from labctl.model.errors import ConfigError
from labctl.model.pump import Limits, PumpSettings, SpotSize

_CM2_PER_UM2 = 1e-8
_UJ_PER_J = 1e6


@dataclass(frozen=True, slots=True)
class Beam:
    """The pump's beam on the sample, with its limits. Fluences are in the bench's own convention."""

    settings: PumpSettings
    limits: Limits

    def fluence_uj_cm2(self, pulse_energy_j: float) -> float:
        """Return the fluence of a pulse energy on the sample."""
        return pulse_energy_j * self._fluence_per_j

    def energy_j(self, fluence_uj_cm2: float) -> float:
        """Return the pulse energy on the sample that makes a fluence."""
        return fluence_uj_cm2 / self._fluence_per_j

    @property
    def _fluence_per_j(self) -> float:
        s = self.settings
        per_cm2 = _UJ_PER_J / (_area_um2(s.spot) * _CM2_PER_UM2) * math.cos(math.radians(s.incidence_deg))
        return 2 * per_cm2 if s.convention == "peak" and s.spot.shape == "gaussian" else per_cm2

    @property
    def scale_rel(self) -> float:
        """Relative standard uncertainty common to all fluences; the spot's size enters squared."""
        s = self.settings
        return math.hypot(
            s.meter_sigma_rel, s.pickoff_sigma_rel, 2 * s.spot_sigma_rel, s.repetition_sigma_rel
        )

    @property
    def highest_energy_j(self) -> float:
        """Highest pulse energy on the sample that every limit allows."""
        rate = self.settings.repetition_rate_hz
        allowed = [self.energy_j(self.limits.max_fluence_uj_cm2)]
        if self.limits.max_pulse_energy_j is not None:
            allowed.append(self.limits.max_pulse_energy_j)
        if self.limits.max_average_power_w is not None:
            allowed.append(self.limits.max_average_power_w / rate)
        return min(allowed)

    def forbidden(self, fluence_uj_cm2: float) -> str:
        """Say which limit a fluence breaks; an empty string means none."""
        if not (math.isfinite(fluence_uj_cm2) and fluence_uj_cm2 > 0):
            return f"fluence {fluence_uj_cm2:g} uJ/cm2 is not a positive number"
        energy = self.energy_j(fluence_uj_cm2)
        power = energy * self.settings.repetition_rate_hz
        checks = (
            ("fluence", fluence_uj_cm2, self.limits.max_fluence_uj_cm2, "uJ/cm2", 1.0),
            ("pulse energy", energy, self.limits.max_pulse_energy_j, "nJ", 1e9),
            ("average power", power, self.limits.max_average_power_w, "mW", 1e3),
        )
        for what, value, limit, unit, scale in checks:
            if limit is not None and value > limit * (1 + 1e-9):
                return f"{what} {value * scale:.4g} {unit} is above the limit of {limit * scale:.4g} {unit}"
        return ""


def make_beam(settings: PumpSettings, limits: Limits) -> Beam:
    """Check the numbers that everything else divides by.

    :raises ConfigError: one of them is not a positive finite number, or the order is not one.
    """
    positive = {
        "pump.repetition_rate_hz": settings.repetition_rate_hz,
        "pump.pickoff_ratio": settings.pickoff_ratio,
        "pump.max_pulse_energy": settings.max_pulse_energy_j,
        "pump.spot.x_um": settings.spot.x_um,
        "pump.spot.y_um": settings.spot.y_um,
        "limits.max_fluence_uj_cm2": limits.max_fluence_uj_cm2,
        "limits.set_ratio": limits.set_ratio,
    }
    for key, value in positive.items():
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"must be a positive number, not {value!r}", key=key)
    expected = {"attenuator", "pick-off", "shutter", "sample"}
    if set(settings.order) != expected or settings.order[-1] != "sample":
        raise ConfigError(
            "must name attenuator, pick-off and shutter once each, then sample", key="pump.order"
        )
    return Beam(settings, limits)


def _area_um2(spot: SpotSize) -> float:
    if spot.shape == "stripe":
        return 4 * spot.x_um * spot.y_um
    return math.pi * spot.x_um * spot.y_um
