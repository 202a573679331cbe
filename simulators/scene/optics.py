"""Between laser and sample: attenuator, pick-off, shutter and spot."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from labctl.model.records import FloatArray
from simulators.scene.chance import Stream, Wander, generator
from simulators.scene.laser import Laser, Pulses
from simulators.scene.mount import Mount
from simulators.scene.settings import Element, OpticsSettings
from simulators.scene.shutter import Blade
from simulators.scene.spells import Spells

SLICES = 24
"""Pieces into which a turn of the plate is cut where only mean power matters."""


@dataclass(frozen=True, slots=True)
class MeanPower:
    """Mean power in consecutive intervals: ``edges_s`` has shape ``(n + 1,)``, ``power_w`` ``(n,)``."""

    edges_s: FloatArray
    power_w: FloatArray


class Beam:
    """Follows the light. Energies in J, on the sample or on the meter's head, pulse by pulse.

    ``to_meter`` are factors on what reaches the head alone.
    """

    def __init__(self, settings: OpticsSettings, seed: int, laser: Laser, mount: Mount, blade: Blade) -> None:
        self.settings, self.laser, self.mount, self.blade = settings, laser, mount, blade
        self.to_meter = Spells()
        self._pickoff = Wander(settings.pickoff_rel, settings.pickoff_time_s, generator(seed, Stream.PICKOFF))
        area_cm2 = math.pi * (settings.w_um * 1e-4) ** 2
        self.peak_uj_cm2_per_j = 2e6 / area_cm2 * math.cos(math.radians(settings.incidence_deg))

    def malus(self, angle_deg: FloatArray | float) -> FloatArray | float:
        """Return the transmission of wave plate and polariser."""
        s = self.settings
        cosine = np.cos(2 * np.radians(np.subtract(angle_deg, s.zero_deg)))
        return s.t_min + (s.t_max - s.t_min) * cosine * cosine  # type: ignore[no-any-return]

    def at_sample(self, pulses: Pulses) -> FloatArray:
        """Return the energy of each pulse on the sample, J."""
        return self._energy(pulses.times_s, pulses.energy, "sample")

    def at_meter(self, pulses: Pulses) -> FloatArray:
        """Return the energy of each pulse on the meter's head, J."""
        energy = self._energy(pulses.times_s, pulses.energy, "pick-off")
        if not pulses.times_s.size:
            return energy
        drift = 1.0 + self._pickoff.at(float(pulses.times_s[-1]))
        return energy * self.to_meter.factor(pulses.times_s) * (drift / self.settings.pickoff_ratio)

    def displacement_um2(self, pulses: Pulses) -> FloatArray:
        """Return the squared distance of each pulse from the spot aligned at full transmission, um2."""
        angle = np.radians(self.mount.plate_over(pulses.times_s))
        aligned = math.radians(self.settings.zero_deg)
        x = pulses.x_um + self.settings.wedge_um * (np.cos(angle) - math.cos(aligned))
        y = pulses.y_um + self.settings.wedge_um * (np.sin(angle) - math.sin(aligned))
        return x * x + y * y

    def mean_power(self, start_s: float, stop_s: float, at: Element) -> MeanPower:
        """Return the mean power between two times on the sample or, at the pick-off, on the head."""
        sides = np.array([start_s, stop_s])
        moving = (self.mount.track, self.mount.lag, self.mount.slips, self.blade.track, self.laser.spells)
        moves = [move for part in (*moving, self.to_meter) for move in part.moves(start_s, stop_s)]
        if moves:
            inside = [np.linspace(begin, end, SLICES + 1) for begin, end in moves]
            sides = np.unique(np.clip(np.concatenate([sides, *inside]), start_s, stop_s))
        middle = 0.5 * (sides[1:] + sides[:-1])
        s = self.laser.settings
        level = self.laser.level(0.5 * (start_s + stop_s)) * (1.0 - s.missing)
        energy = self._energy(middle, np.full(middle.size, level) * self.laser.spells.factor(middle), at)
        if at == "pick-off":
            energy = energy * self.to_meter.factor(middle) / self.settings.pickoff_ratio
        return MeanPower(sides, energy * s.repetition_rate_hz)

    def _energy(self, times_s: FloatArray, relative: FloatArray, at: Element) -> FloatArray:
        order = self.settings.order
        passed = order[: order.index(at)]
        energy = relative * self.laser.settings.max_pulse_energy_j
        if "attenuator" in passed:
            energy = energy * self.malus(self.mount.plate_over(times_s))
        if "shutter" in passed:
            energy = energy * self.blade.track.over(times_s)
        return energy
