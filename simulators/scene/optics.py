"""Between laser and sample: attenuator, pick-off, shutter, spot, and what hands put in between."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from labctl.model.clock import Clock
from labctl.model.records import FloatArray
from simulators.scene.chance import Spells, Stream, Wander, generator
from simulators.scene.hand import Hand, Placed
from simulators.scene.laser import Laser, Pulses
from simulators.scene.motor import LinearStage, Mount, Track
from simulators.scene.settings import Element, OpticsSettings, ShutterSettings


class Blade:
    """One blade, closed at power-up. ``track`` is the part of the beam that passes, 0 to 1.

    In ``stuck`` spells no command moves it; the switch still tells the truth unless the spell's value is 1,
    when it tells what was commanded. ``slow`` spells add their value to the delay, and the switch knows.
    """

    def __init__(self, settings: ShutterSettings, clock: Clock, lock: threading.RLock) -> None:
        self.settings, self._clock, self._lock = settings, clock, lock
        self.track = Track(0.0)
        self.stuck, self.slow = Spells(), Spells()
        self._open = False
        self._arrival_s = self._leaves_s = -float("inf")
        self.before_motion: Callable[[], None] = lambda: None

    def command(self, open_: bool) -> float:
        """Send the blade to one end; return when it will have arrived there, if nothing is wrong."""
        with self._lock:
            now, s = self._clock.now_s(), self.settings
            if open_ == self._open:
                return max(self._arrival_s, now) if math.isfinite(self._arrival_s) else now
            self.before_motion()
            self._open = open_
            begin = self._begin_s(now + s.delay_s, now)
            if math.isfinite(begin):
                self.track.go(begin, begin + s.crossing_s, 1.0 if open_ else 0.0)
            self._arrival_s, self._leaves_s = begin + s.crossing_s + s.settle_s, begin - s.delay_s
            return now + s.delay_s + s.crossing_s + s.settle_s

    def is_open(self) -> bool:
        """Return what was commanded last."""
        with self._lock:
            return self._open

    def closed_switch(self) -> bool:
        """Return whether the blade rests at its closed end."""
        with self._lock:
            now = self._clock.now_s()
            if (stuck := self.stuck.at(now)) is not None:
                return not self._open if stuck.value else self.track.at(now) == 0.0
            return now < self._leaves_s if self._open else now >= self._arrival_s

    def _begin_s(self, healthy_s: float, now_s: float) -> float:
        """Return when the blade really starts to cross: later if slow, once released if stuck."""
        if (stuck := self.stuck.at(now_s)) is not None:
            return stuck.end_s
        slow = self.slow.at(now_s)
        return healthy_s + (slow.value if slow is not None else 0.0)


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

    def __init__(
        self,
        settings: OpticsSettings,
        seed: int,
        laser: Laser,
        mount: Mount,
        blade: Blade,
        hand: Hand,
        stage: LinearStage | None,
    ) -> None:
        self.settings, self.laser, self.mount, self.blade = settings, laser, mount, blade
        self.hand, self.stage = hand, stage
        self.film_transmission = 1.0
        self.to_meter = Spells()
        self._pickoff = Wander(settings.pickoff_rel, settings.pickoff_time_s, generator(seed, Stream.PICKOFF))
        self.radii_um = settings.radii_um
        area_cm2 = math.pi * self.radii_um[0] * self.radii_um[1] * 1e-8
        self.peak_uj_cm2_per_j = 2e6 / area_cm2 * math.cos(math.radians(settings.incidence_deg))

    def malus(self, angle_deg: FloatArray | float) -> FloatArray | float:
        """Return the transmission of wave plate and polariser."""
        s = self.settings
        cosine = np.cos(2 * np.radians(np.subtract(angle_deg, s.zero_deg)))
        return s.t_min + (s.t_max - s.t_min) * cosine * cosine  # type: ignore[no-any-return]

    def at_sample(self, pulses: Pulses) -> FloatArray:
        """Return the energy of each pulse in the sample plane, J, as if no blade stood there."""
        energy = self._energy(pulses.times_s, pulses.energy, "sample")
        for part, placed in self.hand.over(pulses.times_s):
            if placed.blocked:
                energy[part] = 0.0
        return energy

    def at_meter(self, pulses: Pulses) -> FloatArray:
        """Return the energy of each pulse on the meter's head, J, wherever the head stands."""
        times, energy = pulses.times_s, np.zeros(pulses.times_s.size)
        for part, placed in self.hand.over(times):
            at = self._head_sees(placed)
            if at is not None:
                energy[part] = self._energy(times[part], pulses.energy[part], at) * placed.passing
            if at == "sample":
                energy[part] *= self._before_head(placed, times[part], pulses.x_um[part], pulses.y_um[part])
            elif at == "pick-off":
                drift = 1.0 + self._pickoff.at(float(times[-1]))
                energy[part] *= drift / self.settings.pickoff_ratio
        return energy * self.to_meter.factor(times)

    def on_film(self, pulses: Pulses) -> FloatArray | float:
        """Return the part of each pulse that meets the film: none without a sample, some behind a blade."""
        times = pulses.times_s
        if times.size and times[0] >= self.hand.since_s and self.hand.now.plain:
            return 1.0
        share = np.zeros(times.size)
        for part, placed in self.hand.over(times):
            if placed.sample:
                share[part] = self._uncovered(placed, times[part], pulses.x_um[part], pulses.y_um[part])
        return share

    def off_axis(self, pulses: Pulses) -> FloatArray:
        """Return 2 (x^2/wx^2 + y^2/wy^2) of each pulse's distance from the spot at full transmission."""
        shift_x, shift_y = self._wedge_um(pulses.times_s)
        x, y = (pulses.x_um + shift_x) / self.radii_um[0], (pulses.y_um + shift_y) / self.radii_um[1]
        return 2.0 * (x * x + y * y)

    def mean_power(self, start_s: float, stop_s: float, at: Element) -> MeanPower:
        """Return the mean power between two times in the sample plane, or on the head wherever it stands.

        :param at: "sample", or "pick-off" for the head.
        """
        edges = self._edges(start_s, stop_s)
        middle = 0.5 * (edges[1:] + edges[:-1])
        s = self.laser.settings
        level = self.laser.level(0.5 * (start_s + stop_s)) * (1.0 - s.missing)
        relative = np.full(middle.size, level) * self.laser.spells.factor(middle)
        if at == "pick-off":
            energy = self._mean_at_meter(middle, relative)
        else:
            energy = self._energy(middle, relative, at)
            for part, placed in self.hand.over(middle):
                if placed.blocked or not placed.sample:
                    energy[part] = 0.0
        return MeanPower(edges, energy * s.repetition_rate_hz)

    def _edges(self, start_s: float, stop_s: float) -> FloatArray:
        """Return the times between which nothing changes much."""
        moving = (self.mount.track, self.mount.lag, self.mount.slips, self.blade.track, self.laser.spells)
        more = (self.to_meter, self.hand, *((self.stage,) if self.stage else ()))
        moves = [move for part in (*moving, *more) for move in part.moves(start_s, stop_s)]
        sides = np.array([start_s, stop_s])
        if not moves:
            return sides
        inside = [np.linspace(begin, end, SLICES + 1) for begin, end in moves]
        return np.unique(np.clip(np.concatenate([sides, *inside]), start_s, stop_s))

    def _mean_at_meter(self, times_s: FloatArray, relative: FloatArray) -> FloatArray:
        """Return the mean energy on the head; the jitter of the pointing blurs the blade's edge."""
        energy = np.zeros(times_s.size)
        for part, placed in self.hand.over(times_s):
            at = self._head_sees(placed)
            if at is None:
                continue
            energy[part] = self._energy(times_s[part], relative[part], at) * placed.passing
            if at == "sample":
                energy[part] *= self._before_head(placed, times_s[part], 0.0, 0.0)
            else:
                energy[part] /= self.settings.pickoff_ratio
        return energy * self.to_meter.factor(times_s)

    def _head_sees(self, placed: Placed) -> Element | None:
        if placed.blocked or not placed.meter:
            return None
        return placed.meter

    def _before_head(
        self, placed: Placed, times_s: FloatArray, x_um: FloatArray | float, y_um: FloatArray | float
    ) -> FloatArray | float:
        """Return what blade and film leave for a head behind the sample plane."""
        film = self.film_transmission if placed.sample else 1.0
        return self._uncovered(placed, times_s, x_um, y_um) * film

    def _uncovered(
        self, placed: Placed, times_s: FloatArray, x_um: FloatArray | float, y_um: FloatArray | float
    ) -> FloatArray | float:
        """Return the part of the light that passes the blade; plain zeros for x and y mean: on average."""
        if placed.axis is None:
            return 1.0
        along = 0 if placed.axis == "x" else 1
        edge = placed.knife_um
        position = self.stage.over_um(times_s) if edge is None and self.stage else (edge or 0.0)
        s = self.hand.settings
        centre = (s.knife_x_um, s.knife_y_um)[along] + self._wedge_um(times_s)[along]
        w = self.radii_um[along]
        if isinstance(x_um, float):
            w = math.hypot(w, 2.0 * self.laser.settings.pointing_um)
        away = position - centre - (x_um, y_um)[along]
        return 0.5 * (1.0 + _erf(np.asarray(math.sqrt(2.0) / w * away)))

    def _wedge_um(self, times_s: FloatArray) -> tuple[FloatArray | float, FloatArray | float]:
        """Return where the plate's wedge has carried the spot since full transmission."""
        angle = np.radians(self.mount.plate_over(times_s))
        aligned, wedge = math.radians(self.settings.zero_deg), self.settings.wedge_um
        return wedge * (np.cos(angle) - math.cos(aligned)), wedge * (np.sin(angle) - math.sin(aligned))

    def _energy(self, times_s: FloatArray, relative: FloatArray, at: Element) -> FloatArray:
        order = self.settings.order
        passed = order[: order.index(at)]
        energy = relative * self.laser.settings.max_pulse_energy_j
        if "attenuator" in passed:
            energy = energy * self.malus(self.mount.plate_over(times_s))
        if "shutter" in passed:
            energy = energy * self.blade.track.over(times_s)
        return energy


def _erf(values: FloatArray) -> FloatArray:
    """Return the error function of every value; numpy has none."""
    return np.array([math.erf(value) for value in values.ravel().tolist()]).reshape(values.shape)
