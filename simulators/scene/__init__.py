"""The optical table: one physical truth behind all simulated instruments.

Seeded, on one clock, pulse by pulse. A method never sleeps; the simulated instrument that asks does.
Times are seconds of the scene's clock.
"""

from __future__ import annotations

import threading

from labctl.model.clock import Clock
from simulators.scene.camera import Camera
from simulators.scene.chance import Steps
from simulators.scene.hand import Hand
from simulators.scene.laser import Laser
from simulators.scene.motor import LinearStage, Mount
from simulators.scene.optics import Beam, Blade
from simulators.scene.sample import Sample
from simulators.scene.sensors import Head, Plate, Thermometer
from simulators.scene.settings import SceneSettings
from simulators.scene.truth import Truth, truth_of

__all__ = ["Scene", "SceneSettings", "Truth"]

MEMORY_S = 120.0
"""Exposures and thermal heads look back less than this; older motions are forgotten."""


class Scene:
    """The bench; its parts are ``mount``, ``shutter``, ``meter`` and ``camera``, one per instrument.

    ``hand`` moves what no instrument moves. ``stage``, ``thermometer`` and ``plate`` (a heated one) are there
    if the settings say so.
    """

    def __init__(self, settings: SceneSettings, clock: Clock) -> None:
        self.settings, self.clock = settings, clock
        self.lock = threading.RLock()
        seed = settings.seed
        self.laser = Laser(settings.laser, seed)
        self.room = Steps(settings.room.step_rel, settings.room.interval_s, seed)
        self.mount = Mount(settings.mount, seed, clock, self.lock)
        self.shutter = Blade(settings.shutter, clock, self.lock)
        self.hand = Hand(settings.hand, seed, clock, self.lock)
        self.stage = LinearStage(settings.stage, seed, clock, self.lock) if settings.stage else None
        self.plate = Plate(settings.heater, seed, clock, self.lock) if settings.heater else None
        sensor = settings.thermometer
        self.thermometer = Thermometer(sensor, seed, self.plate) if sensor else None
        self.hand.has_stage = self.stage is not None
        self.beam = Beam(settings.optics, seed, self.laser, self.mount, self.shutter, self.hand, self.stage)
        self.beam.film_transmission = settings.sample.transmission
        self.sample = Sample(settings.sample, seed, self.beam, self.plate)
        self.meter = Head(settings.meter, seed, self.beam, self.room, self.lock)
        self.camera = Camera(settings.camera, seed, self.laser, self.sample, self.room, self.hand, self.lock)
        for mover in (self.mount, self.shutter, self.hand, *((self.stage,) if self.stage else ())):
            mover.before_motion = self._forget
        self.truth = truth_of(self)

    def retained_after(
        self, lit_s: float, fluence_uj_cm2: float, band_nm: tuple[float, float] | None = None
    ) -> float:
        """Return the emission of a fresh spot after so long under a constant mean fluence, over that at once.

        Truth for benchmarks: no noise, no recovery in the dark, no drift of the laser.

        :param band_nm: where the emission is summed; everywhere if left out.
        """
        alive = self.sample.bleaching.alive_after(lit_s, self.sample.bleach_rate(fluence_uj_cm2))
        return self._retained(alive, fluence_uj_cm2, band_nm)

    def retained_at(
        self, at_s: float, fluence_uj_cm2: float, band_nm: tuple[float, float] | None = None
    ) -> float:
        """Return the same for the spot as it was at a past time, whatever light it had got until then."""
        with self.lock:
            self.sample.age(min(at_s, self.clock.now_s()))
            return self._retained(self.sample.bleaching.alive_at(at_s), fluence_uj_cm2, band_nm)

    def _retained(self, alive: float, fluence_uj_cm2: float, band_nm: tuple[float, float] | None) -> float:
        share = 1.0 if band_nm is None else self.camera.luminescence_share(band_nm)
        fresh = self.sample.brightness(fluence_uj_cm2, 1.0, share)
        return self.sample.brightness(fluence_uj_cm2, alive, share) / fresh

    def _forget(self) -> None:
        """Keep memory flat: let the film suffer what lies far back, then drop the motions that did it."""
        horizon = self.clock.now_s() - MEMORY_S
        self.sample.age(horizon)
        self.mount.forget(horizon)
        self.shutter.track.forget(horizon)
        self.hand.forget(horizon)
        if self.stage is not None:
            self.stage.forget(horizon)
