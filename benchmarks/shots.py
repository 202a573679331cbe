"""Single shots of a simulated scene, of this process: a triggered spectrometer, one exposure a pulse."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.tables import Array
from labctl.analysis.spectra.reduce import correct_nonlinearity
from labctl.model.clock import SteppedClock
from simulators.scene import Scene
from simulators.scene.settings import SceneSettings

EXPOSURE_S = 0.9e-3
"""Of a triggered shot at 1 kHz; the pulse lies in its middle."""


@dataclass(frozen=True)
class Shots:
    """Shots of a scene and the truth behind them; arrays of shape ``(shot,)``, or ``(shot, pixel)``.

    :ivar raw: counts as read.
    :ivar fluence_uj_cm2: on the sample, true.
    :ivar times_s: of the pulses.
    """

    raw: Array
    fluence_uj_cm2: Array
    times_s: Array


class ShotScene:
    """A scene whose time is stepped; its plate can be laid at an angle, or be seen while it turns."""

    def __init__(self, settings: SceneSettings) -> None:
        self.clock = SteppedClock()
        self.scene = Scene(settings, self.clock)
        self.clock.sleep(self.scene.mount.home() - self.clock.now_s() + 0.05)
        beam = self.scene.beam
        self.full_uj_cm2 = settings.laser.max_pulse_energy_j * beam.peak_uj_cm2_per_j

    def lay(self, fluence_uj_cm2: float) -> None:
        """Open the shutter, turn the plate to the angle of a fluence, and wait until it rests."""
        optics = self.scene.settings.optics
        part = (fluence_uj_cm2 / self.full_uj_cm2 - optics.t_min) / (optics.t_max - optics.t_min)
        if not 0 <= part <= 1:
            raise ValueError(f"{fluence_uj_cm2} uJ/cm2 is out of reach")
        angle = optics.zero_deg + np.degrees(np.arccos(np.sqrt(part))) / 2
        end = max(self.scene.mount.move_to(float(angle)), self.scene.shutter.command(True))
        self.clock.sleep(end - self.clock.now_s() + 0.05)

    def take(self, count: int) -> Shots:
        """Return the next shots, and let their time pass."""
        rate = self.scene.settings.laser.repetition_rate_hz
        start = self.clock.now_s() + 1.0 / rate
        self.clock.sleep((count + 2) / rate)
        return self.between(start, count)

    def between(self, start_s: float, count: int) -> Shots:
        """Return shots of the past."""
        scene = self.scene
        pulses = scene.laser.between(start_s, float(count))
        raw = [scene.camera.expose(float(t) - EXPOSURE_S / 2, EXPOSURE_S) for t in pulses.times_s]
        fluence = scene.beam.at_sample(pulses) * scene.beam.peak_uj_cm2_per_j
        return Shots(np.array(raw, dtype=np.float64), np.asarray(fluence), pulses.times_s)

    def dark(self, count: int) -> Array:
        """Return exposures before any light, shape ``(count, pixel)``."""
        begin = self.clock.now_s()
        self.clock.sleep(count * 1e-3 + 0.01)
        times = begin + 1e-3 * np.arange(count) + 0.5e-3
        if self.scene.shutter.is_open():
            raise RuntimeError("the shutter is open")
        return np.array([self.scene.camera.expose(float(t), EXPOSURE_S) for t in times], dtype=np.float64)

    def linear(self, raw: Array, dark: Array) -> Array:
        """Return counts above the dark, by the linearity that the device stores."""
        light = raw - dark
        stored = self.scene.camera.nonlinearity
        return np.asarray(correct_nonlinearity(light, stored)) if stored else light


def steady(settings: SceneSettings) -> SceneSettings:
    """Return a scene whose laser misses no pulse and does not drop out."""
    return replace(settings, laser=replace(settings.laser, missing=0.0, dropouts_per_hour=0.0))
