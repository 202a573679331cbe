"""A scene worked by hand, without any instrument between: for tests of the physics."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from labctl.model.clock import SteppedClock
from labctl.model.records import FloatArray
from simulators import presets
from simulators.scene import Scene, SceneSettings


def changed(settings: SceneSettings, **parts: dict[str, Any]) -> SceneSettings:
    """Return the settings with fields of their parts changed: ``changed(s, laser={"pulse_cv": 0.1})``."""
    new = {name: dataclasses.replace(getattr(settings, name), **fields) for name, fields in parts.items()}
    return dataclasses.replace(settings, **new)


def noiseless(sample: str = "ola", **choice: Any) -> SceneSettings:
    """Return an ideal scene whose detector adds next to nothing of its own."""
    ideal = presets.scene(sample, "ideal", **choice)
    return changed(ideal, camera={"read_counts": 0.0, "electrons_per_count": 1e9})


class Bench:
    """A homed bench with the shutter closed, at a small fluence."""

    def __init__(self, settings: SceneSettings) -> None:
        self.clock = SteppedClock()
        self.scene = Scene(settings, self.clock)
        self.truth = self.scene.truth
        self.until(self.scene.mount.home())
        self.set_u(0.2)

    def until(self, at_s: float) -> None:
        self.clock.sleep(at_s - self.clock.now_s() + 1e-6)

    def angle_for(self, fluence_uj_cm2: float) -> float:
        """Malus' law the other way round, with the textbook's peak fluence 2 E / (pi w^2)."""
        t = self.truth
        energy = fluence_uj_cm2 * 1e-6 * np.pi * (t.w_um * 1e-4) ** 2 / 2
        part = (energy / t.max_pulse_energy_j - t.t_min) / (t.t_max - t.t_min)
        return float(t.zero_deg + np.degrees(np.arccos(np.sqrt(part))) / 2)

    def set_u(self, u: float) -> None:
        """Go to a fluence in thresholds and let a photodiode settle."""
        self.until(self.scene.mount.move_to(self.angle_for(u * self.truth.threshold_uj_cm2)))
        self.clock.sleep(0.2)

    def shutter(self, open_: bool) -> None:
        self.until(self.scene.shutter.command(open_))

    def expose(self, integration_s: float = 0.1) -> FloatArray:
        start = self.clock.now_s()
        self.clock.sleep(integration_s + 0.001)
        counts: FloatArray = self.scene.camera.expose(start, integration_s).astype(float)
        return counts

    def exposures(self, number: int, integration_s: float = 0.1) -> FloatArray:
        return np.array([self.expose(integration_s) for _ in range(number)])

    def light(self, number: int = 1, integration_s: float = 0.1) -> float:
        """Return mean counts per exposure over all pixels, minus those with the shutter closed."""
        was_open = self.scene.shutter.is_open()
        self.shutter(False)
        dark = self.exposures(number, integration_s).sum(axis=1).mean()
        self.shutter(True)
        bright = self.exposures(number, integration_s).sum(axis=1).mean()
        self.shutter(was_open)
        return float(bright - dark)

    def power(self, samples: int = 100, wavelength_nm: float = 800.0) -> float:
        self.clock.sleep(samples * 1e-3)
        return self.scene.meter.power_w(self.clock.now_s(), samples, 1e-3, wavelength_nm, 0.0, 1e-5)
