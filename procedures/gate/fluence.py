"""From a pulse energy on the sample to a fluence and back, and what of either is forbidden."""

from __future__ import annotations

import math
from dataclasses import dataclass

from labctl.analysis import fluence
from labctl.analysis.budget import fluence_budget
from labctl.model.errors import ConfigError
from labctl.model.pump import Limits, PumpSettings


@dataclass(frozen=True, slots=True)
class Beam:
    """The pump's beam on the sample, with its limits. Fluences are in the bench's own convention.

    :param fluence_per_j: fluence in uJ/cm2 of a pulse of 1 J.
    """

    settings: PumpSettings
    limits: Limits
    fluence_per_j: float

    def fluence_uj_cm2(self, pulse_energy_j: float) -> float:
        """Return the fluence of a pulse energy on the sample."""
        return pulse_energy_j * self.fluence_per_j

    def energy_j(self, fluence_uj_cm2: float) -> float:
        """Return the pulse energy on the sample that makes a fluence."""
        return fluence_uj_cm2 / self.fluence_per_j

    @property
    def scale_rel(self) -> float | None:
        """Relative standard uncertainty common to all fluences; see :mod:`labctl.analysis.budget`."""
        return fluence_budget(self.settings).combined_rel

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

    def refuse_contradiction(self, least_transmission: float) -> None:
        """Check that the limits leave anything at all that this attenuator can make.

        :raises ConfigError: they do not.
        """
        least_j = self.settings.max_pulse_energy_j * least_transmission
        if least_j > self.highest_energy_j:
            raise ConfigError(
                f"the attenuator lets at least {least_j * 1e9:.4g} nJ through, but the limits allow at most "
                f"{self.highest_energy_j * 1e9:.4g} nJ on the sample",
                key="limits",
                hint="check t_min, angle_range_deg and max_pulse_energy, or put a filter into the beam",
            )
        dose, highest = self.limits.max_dose_uj_cm2, self.fluence_uj_cm2(self.highest_energy_j)
        if dose is not None and highest > dose:
            raise ConfigError(
                f"{dose:.4g} uJ/cm2 of dose is less than one pulse of the {highest:.4g} uJ/cm2 that the "
                "other limits allow",
                key="limits.max_dose_uj_cm2",
                hint="the dose is the sum of fluence x pulses over one run: raise it, or lower "
                "max_fluence_uj_cm2",
            )

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
        "limits.max_fluence_uj_cm2": limits.max_fluence_uj_cm2,
        "limits.set_ratio": limits.set_ratio,
        "limits.max_pulse_energy": limits.max_pulse_energy_j,
        "limits.max_average_power": limits.max_average_power_w,
        "limits.max_dose_uj_cm2": limits.max_dose_uj_cm2,
    }
    for key, value in positive.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ConfigError(f"must be a positive number, not {value!r}", key=key)
    expected = {"attenuator", "pick-off", "shutter", "sample"}
    if set(settings.order) != expected or settings.order[-1] != "sample":
        raise ConfigError(
            "must name attenuator, pick-off and shutter once each, then sample", key="pump.order"
        )
    try:
        per_j = fluence.fluence_uj_cm2(
            1.0, settings.spot, settings.convention, incidence_deg=settings.incidence_deg
        )
    except ValueError as exc:
        raise ConfigError(str(exc), key="pump") from exc
    return Beam(settings, limits, per_j)
