"""Where to turn the plate for a fluence, what that will give, and whether the way there is harmless."""

from __future__ import annotations

import numpy as np

from procedures.beam import Beam
from procedures.curve import Curve
from procedures.plate import Plate
from procedures.scale import EnergyScale

TRIM_REL = 0.03
"""A setting nearer to the wanted one than this is left as it is: the fluence is measured anyway."""
_ROUNDING = 1 + 1e-6


class Aim:
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

    def harmless(self, target_deg: float) -> bool:
        """Whether the plate may go there with the shutter open: no maximum on the way, no limit passed."""
        here = self._plate.angle_deg()
        ends = max(self._curve.transmission(here), self._curve.transmission(target_deg))
        on_the_way = self._curve.highest_between(here, target_deg)
        highest_j = self._nominal_j * on_the_way * self._scale.highest(self._plate.sigma_rel(target_deg))
        return highest_j <= self._beam.highest_energy_j * _ROUNDING and on_the_way <= ends * _ROUNDING

    def learn(self, angle_deg: float, measured_j: float, sigma_rel: float) -> None:
        """Take in what the meter said at an angle, with the reading's relative standard error."""
        nominal_j = self._nominal_j * self._curve.transmission(angle_deg)
        plate = self._plate.sigma_rel(angle_deg)
        self._scale.learn(measured_j / nominal_j, float(np.hypot(sigma_rel, plate)))

    @property
    def _full_j(self) -> float:
        return self._nominal_j * self._scale.ratio
