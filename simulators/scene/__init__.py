"""The optical table: one physical truth behind all simulated instruments.

Seeded, on one clock, pulse by pulse. A method never sleeps; the simulated instrument that asks does.
Times are seconds of the scene's clock.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from labctl.model.clock import Clock
from simulators.scene.camera import Camera
from simulators.scene.chance import Steps
from simulators.scene.laser import Laser
from simulators.scene.meter import Head
from simulators.scene.mount import Mount
from simulators.scene.optics import Beam
from simulators.scene.sample import Sample
from simulators.scene.settings import SceneSettings
from simulators.scene.shutter import Blade

__all__ = ["Scene", "SceneSettings", "Truth"]

MEMORY_S = 120.0
"""Exposures and thermal heads look back less than this; older motions are forgotten."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What a measurement should find. For tests and benchmarks only; labctl never sees it.

    :param threshold_uj_cm2: local onset at this spot, peak fluence.
    :param q: of the brightest mode, which is ``mode_wavelengths_nm[0]``; ``linewidth_nm`` its FWHM without
        the spectrometer. Neighbouring modes follow in no order.
    """

    threshold_uj_cm2: float
    q: float
    linewidth_nm: float
    mode_wavelengths_nm: tuple[float, ...]
    mode_linewidths_nm: tuple[float, ...]
    resolution_nm: float
    zero_deg: float
    t_min: float
    t_max: float
    w_um: float
    pickoff_ratio: float
    max_pulse_energy_j: float
    repetition_rate_hz: float
    wavelength_nm: float
    law: str
    contrast: float
    collection: str


class Scene:
    """The bench; its parts are ``mount``, ``shutter``, ``meter`` and ``camera``, one per instrument."""

    def __init__(self, settings: SceneSettings, clock: Clock) -> None:
        self.settings, self.clock = settings, clock
        self.lock = threading.RLock()
        seed = settings.seed
        self.laser = Laser(settings.laser, seed)
        self.room = Steps(settings.room.step_rel, settings.room.interval_s, seed)
        self.mount = Mount(settings.mount, seed, clock, self.lock)
        self.shutter = Blade(settings.shutter, clock, self.lock)
        self.beam = Beam(settings.optics, seed, self.laser, self.mount, self.shutter)
        self.sample = Sample(settings.sample, seed, self.beam)
        self.meter = Head(settings.meter, seed, self.beam, self.room, self.lock)
        self.camera = Camera(settings.camera, seed, self.laser, self.sample, self.room, self.lock)
        self.mount.before_motion = self.shutter.before_motion = self._forget
        self.truth = self._truth()

    def _forget(self) -> None:
        """Keep memory flat: let the film suffer what lies far back, then drop the motions that did it."""
        horizon = self.clock.now_s() - MEMORY_S
        self.sample.age(horizon)
        self.mount.forget(horizon)
        self.shutter.track.forget(horizon)

    def _truth(self) -> Truth:
        optics, laser, sample = self.settings.optics, self.settings.laser, self.settings.sample
        modes = self.sample.modes.set
        return Truth(
            threshold_uj_cm2=self.sample.threshold_uj_cm2,
            q=sample.q,
            linewidth_nm=float(modes.fwhm_nm[0]),
            mode_wavelengths_nm=tuple(modes.wavelength_nm.tolist()),
            mode_linewidths_nm=tuple(modes.fwhm_nm.tolist()),
            resolution_nm=self.settings.camera.resolution_nm,
            zero_deg=optics.zero_deg,
            t_min=optics.t_min,
            t_max=optics.t_max,
            w_um=optics.w_um,
            pickoff_ratio=optics.pickoff_ratio,
            max_pulse_energy_j=laser.max_pulse_energy_j,
            repetition_rate_hz=laser.repetition_rate_hz,
            wavelength_nm=laser.wavelength_nm,
            law=sample.law,
            contrast=sample.contrast,
            collection=sample.collection,
        )
