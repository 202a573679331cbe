"""A shutter that does not close: the attenuator takes the light away before anything is tried again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from benchmarks.scene_roles import LIMITS, SceneMount, SceneShutter, scene_pump, scene_roles
from labctl.model.clock import SteppedClock, Stop
from labctl.model.errors import InstrumentFault
from procedures.gate.pump import Pump
from simulators import presets
from simulators.scene import Scene, SceneSettings


class Deaf(SceneShutter):
    """Opens, and then hears nothing more."""

    events: list[str]

    def close_beam(self) -> None:
        if self.is_open():
            self.events.append("close")
            raise InstrumentFault(self.name, "does not take the command to close")
        super().close_beam()


class Noted(SceneMount):
    """Notes where it turns."""

    events: list[str]

    def move_to(self, angle_deg: float, stop: Stop | None = None) -> float:
        self.events.append("turn")
        return super().move_to(angle_deg, stop)


class Sticky(SceneShutter):
    """Closes at the second try only; notes both."""

    events: list[str]
    tries_left = 1

    def close_beam(self) -> None:
        if self.is_open():
            self.events.append("close")
            if self.tries_left:
                self.tries_left -= 1
                raise InstrumentFault(self.name, "does not take the command to close")
        super().close_beam()


def lit(shutter: Sticky | Deaf, mount: Noted, scene: Scene, settings: SceneSettings) -> Pump:
    """Return a pump whose light is on, through this shutter."""
    roles = dataclasses.replace(scene_roles(scene, scene.clock), shutter=shutter, attenuator=mount)
    pump = Pump(roles, scene_pump(settings), LIMITS)
    pump.prepare()
    pump.set_fluence(100.0)
    pump.open()
    return pump


@pytest.mark.parametrize("way", [Pump.close, Pump.shut, Pump.minimum, Pump.home])
def test_the_attenuator_comes_before_another_try(way: Callable[[Pump], None]) -> None:
    settings = presets.scene("ola", "typical", 4)
    scene = Scene(settings, SteppedClock())
    shutter, mount = Deaf("shutter", scene), Noted("attenuator", scene)
    events: list[str] = []
    shutter.events = mount.events = events
    pump = lit(shutter, mount, scene, settings)
    events.clear()
    with pytest.raises(InstrumentFault, match="does not take the command"):
        way(pump)
    assert events[:2] == ["close", "turn"]
    assert scene.beam.malus(scene.mount.angle_deg()) < 1.5 * settings.optics.t_min
    assert pump.light.lit


@pytest.mark.parametrize("by", ["safe", "an error"])
def test_a_blade_that_closes_at_the_second_try_is_tried_after_the_attenuator(by: str) -> None:
    settings = presets.scene("ola", "typical", 4)
    scene = Scene(settings, SteppedClock())
    shutter, mount = Sticky("shutter", scene), Noted("attenuator", scene)
    shutter.events = mount.events = []
    pump = lit(shutter, mount, scene, settings)
    shutter.events.clear()
    if by == "safe":
        report = pump.safe()
        assert report.shutter.startswith("the shutter is closed")
        assert not report.failures
    else:
        with pytest.raises(InstrumentFault, match="does not take the command"):
            pump.close()
    assert shutter.events[:3] == ["close", "turn", "close"]
    assert scene.shutter.closed_switch()
    assert not pump.light.lit
