"""What really happened on the simulated table, whatever labctl says of it."""

from __future__ import annotations

import math
import time

import numpy as np
from numpy.typing import NDArray

from labctl.model.records import SweepPoint
from simulators.scene import Scene


class SceneTruth:
    """What happened on the optical table, beside what labctl says of it.

    :param least: transmission, over the least one, below which the attenuator counts as dark.
    """

    def __init__(self, scene: Scene, least: float = 1.5) -> None:
        self.scene, self._least = scene, least
        self.turns: list[tuple[float, bool]] = []
        self.moves: list[tuple[float, bool]] = []
        self.exposures: list[tuple[float, float, bool]] = []
        self._command, self._expose = scene.shutter.command, scene.camera.expose
        self._move_to = scene.mount.move_to
        scene.mount.move_to = self._moved  # type: ignore[method-assign]
        scene.shutter.command = self._commanded  # type: ignore[method-assign]
        scene.camera.expose = self._exposed  # type: ignore[method-assign]

    def _commanded(self, open_: bool) -> float:
        moves = self.scene.shutter.stuck.at(self.scene.clock.now_s()) is None
        if moves and open_ != self.scene.shutter.is_open():
            self.turns.append((time.monotonic(), open_))
        return self._command(open_)

    def _moved(self, angle_deg: float) -> float:
        dims = float(self.scene.beam.malus(angle_deg)) < self._least * self.scene.settings.optics.t_min
        self.moves.append((time.monotonic(), dims))
        return self._move_to(angle_deg)

    def _exposed(self, start_s: float, integration_s: float) -> NDArray[np.uint16]:
        """Note the mean fluence of every exposure that saw light all the time."""
        beam = self.scene.beam
        rate = self.scene.settings.laser.repetition_rate_hz
        with self.scene.lock:
            energy = beam.at_sample(beam.laser.between(start_s, integration_s * rate))
            lit = energy.size > 0 and bool(
                np.all(np.asarray(beam.blade.track.over(np.array([start_s, start_s + integration_s]))) == 1.0)
            )
        self.exposures.append((integration_s, float(np.mean(energy) * beam.peak_uj_cm2_per_j), lit))
        return self._expose(start_s, integration_s)

    def fluence_of(self, point: SweepPoint) -> float:
        """Return the true mean fluence of the latest lit exposures of the point's time, and forget them."""
        mine = [f for seconds, f, lit in self.exposures if lit and abs(seconds - point.integration_s) < 1e-9]
        self.exposures.clear()
        return float(np.mean(mine[-point.exposures :])) if mine else math.nan

    def dark_after_s(self, known_s: float, *, dimmed_is_dark: bool) -> float | None:
        """Return how long after a wall time light could still pass; None if it was dark then."""
        before = [open_ for at_s, open_ in self.turns if at_s <= known_s]
        dimmed = [dims for at_s, dims in self.moves if at_s <= known_s]
        if not before or not before[-1] or (dimmed_is_dark and dimmed and dimmed[-1]):
            return None
        dark = [at_s for at_s, open_ in self.turns if not open_ and at_s > known_s]
        dark += [at_s for at_s, dims in self.moves if dimmed_is_dark and dims and at_s > known_s]
        return min(dark, default=math.inf) - known_s

    def sample_uj_cm2(self, seconds: float, before_s: float = 0.0) -> float:
        """Return the mean fluence on the sample, were the shutter open, in ``seconds`` up to a moment ago."""
        beam, scene = self.scene.beam, self.scene
        with scene.lock:
            end_s = scene.clock.now_s() - before_s
            pulses = beam.laser.between(end_s - seconds, seconds * scene.settings.laser.repetition_rate_hz)
            plate = np.asarray(scene.mount.plate_over(pulses.times_s))
            energy = pulses.energy * scene.settings.laser.max_pulse_energy_j * beam.malus(plate)
        return float(np.mean(energy) * beam.peak_uj_cm2_per_j)

    def lit_s(self, since_s: float, step_s: float = 0.005) -> float:
        """Return the bench seconds since a time in which more than the attenuator's least light passed."""
        scene = self.scene
        with scene.lock:
            times = np.arange(since_s, scene.clock.now_s(), step_s)
            blade = np.broadcast_to(np.asarray(scene.shutter.track.over(times)), times.shape)
            plate = np.broadcast_to(np.asarray(scene.mount.plate_over(times)), times.shape)
            bright = scene.beam.malus(plate) > self._least * scene.settings.optics.t_min
        return float(np.sum((blade > 0.0) & bright) * step_s)

    def blade(self) -> float:
        """Return the part of the beam that passes now."""
        return float(self.scene.shutter.track.at(self.scene.clock.now_s()))

    def transmission(self) -> float:
        """Return the attenuator's true transmission over its least one."""
        angle = self.scene.mount.angle_deg()
        return float(self.scene.beam.malus(angle)) / self.scene.settings.optics.t_min
