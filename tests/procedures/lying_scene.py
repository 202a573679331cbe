"""Shutters that lie, on the simulated table without wires, and a film that glows on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.scene_roles import LIMITS, SceneShutter, SceneSpectrometer, scene_pump, scene_roles
from labctl.model.clock import SteppedClock, Stop
from labctl.model.pump import Element
from labctl.model.records import Spectrum
from labctl.model.roles import Roles
from procedures.gate.pump import Pump
from simulators import presets
from simulators.scene import Scene
from simulators.scene.settings import Level, SceneSettings

Order = tuple[Element, Element, Element, Element]


class LyingShutter(SceneShutter):
    """From its n-th closing on the blade stays where it lies, and the sensor says what was commanded.

    :param share: of the beam that passes from then on.
    :param after_s: how long after the closing, which is honest, the blade moves there; None: it never closes.
    """

    def __init__(self, scene: Scene, nth: int, *, share: float = 1.0, after_s: float | None = None) -> None:
        super().__init__("shutter", scene)
        self.nth, self.share, self.after_s = nth, share, after_s
        self.closings, self.said_open, self.lies = 0, False, False
        self.since_s = np.inf

    def is_open(self) -> bool:
        return self.said_open

    def open(self) -> None:
        self.said_open = True
        if not self.lies:
            super().open()

    def close_beam(self) -> None:
        was, self.said_open = self.said_open, False
        self.closings += was
        if was and self.closings >= self.nth and not self.lies:
            self.lies = True
            now = self.scene.clock.now_s()
            if self.after_s is not None:
                super().close_beam()
                now = self.scene.clock.now_s() + self.after_s
            self.since_s = now
            self.scene.shutter.track.go(now, now + 0.01, self.share)
        elif not self.lies:
            super().close_beam()


class Glowing(SceneSpectrometer):
    """Every exposure holds a part of what the last one in the light held, fading with a lifetime."""

    def __init__(self, scene: Scene, part: float, lifetime_s: float) -> None:
        super().__init__("spectrometer", scene)
        self.part, self.lifetime_s = part, lifetime_s
        self._lit, self._lit_s = np.zeros(scene.camera.pixels), 0.0

    def acquire(self, stop: Stop | None = None) -> Spectrum:
        spectrum = super().acquire(stop)
        rate = (spectrum.counts - np.median(spectrum.counts)) / spectrum.integration_s
        if self.scene.shutter.track.at(self.scene.clock.now_s()) > 0:
            self._lit, self._lit_s = np.maximum(rate, 0.0), spectrum.stop_s
            return spectrum
        age = max(spectrum.stop_s - self._lit_s, 0.0)
        glow = self.part * np.exp(-age / self.lifetime_s) * self._lit * spectrum.integration_s
        return replace(spectrum, counts=np.clip(np.rint(spectrum.counts + glow), 0, 65535))


def bench(
    level: Level = "typical",
    seed: int = 1,
    *,
    sample: str = "ola",
    order: Order | None = None,
    change: Callable[[SceneSettings], SceneSettings] = lambda settings: settings,
) -> tuple[Scene, Roles, Pump]:
    """Return a scene with honest instruments; replace some and make a pump anew with :func:`pump_of`."""
    settings = change(presets.scene(sample, level, seed))
    if order is not None:
        settings = replace(settings, optics=replace(settings.optics, order=order))
    scene = Scene(settings, SteppedClock())
    roles = scene_roles(scene, scene.clock)
    return scene, roles, pump_of(scene, roles)


def pump_of(scene: Scene, roles: Roles) -> Pump:
    return Pump(roles, scene_pump(scene.settings), LIMITS)


class OpensAgain(SceneShutter):
    """Closes honestly; some time after its n-th closing the blade opens without a command, as by its panel.

    :param honest: whether its sensor tells.
    :param deaf: whether no closing moves it any more then.
    """

    def __init__(self, scene: Scene, nth: int, after_s: float, *, honest: bool, deaf: bool = False) -> None:
        super().__init__("shutter", scene)
        self.nth, self.after_s, self.honest, self.deaf = nth, after_s, honest, deaf
        self.closings, self.said_open, self.since_s = 0, False, np.inf

    def is_open(self) -> bool:
        return (
            bool(self.scene.shutter.track.at(self.scene.clock.now_s()) > 0) if self.honest else self.said_open
        )

    def open(self) -> None:
        self.said_open = True
        super().open()

    def close_beam(self) -> None:
        was, self.said_open = self.said_open, False
        self.closings += was
        now = self.scene.clock.now_s()
        if now > self.since_s and not self.deaf:
            self.scene.shutter.track.go(now, now + 0.01, 0.0)
            self.wait_until(now + 0.02)
        super().close_beam()
        if was and self.closings == self.nth:
            self.since_s = self.scene.clock.now_s() + self.after_s
            self.scene.shutter.track.go(self.since_s, self.since_s + 0.01, 1.0)
