"""Light held by hand is watched: a jump, a loss or a limit closes the shutter."""

from __future__ import annotations

import dataclasses

import pytest
from procedures_scene import LIMITS, scene_pump, scene_roles

from labctl.model.clock import SteppedClock
from labctl.model.errors import SafetyStop
from labctl.model.pump import Element, Limits
from procedures.manual import ManualBench
from procedures.pump import Pump
from simulators import presets
from simulators.scene import Scene
from simulators.scene.spells import Spell

Order = tuple[Element, Element, Element, Element]
FRONT: Order = ("attenuator", "pick-off", "shutter", "sample")
BEHIND: Order = ("attenuator", "shutter", "pick-off", "sample")


def held(order: Order = FRONT, limits: Limits = LIMITS) -> tuple[Scene, ManualBench]:
    """Return 100 uJ/cm2 on the sample, held by hand for a while."""
    settings = presets.scene("ola", "typical", 4)
    settings = dataclasses.replace(settings, optics=dataclasses.replace(settings.optics, order=order))
    scene = Scene(settings, SteppedClock())
    roles = scene_roles(scene, scene.clock)
    hand = ManualBench(roles, Pump(roles, scene_pump(settings), limits))
    hand.home()
    hand.set_fluence(100.0)
    hand.open()
    for _ in range(20):
        assert hand.reading().fluence_uj_cm2 == pytest.approx(100.0, rel=0.06)
        scene.clock.sleep(1.0)
    return scene, hand


def change(scene: Scene, factor: float) -> None:
    scene.laser.spells.add(Spell(scene.clock.now_s(), value=factor))


@pytest.mark.parametrize("order", [FRONT, BEHIND])
@pytest.mark.parametrize("factor", [2.0, 0.5, 0.0])
def test_light_that_is_not_what_it_was_is_switched_off(order: Order, factor: float) -> None:
    scene, hand = held(order)
    change(scene, factor)
    scene.clock.sleep(0.5)
    with pytest.raises(SafetyStop, match=r"expected .* nJ on the sample, the meter says"):
        hand.reading()
    assert scene.shutter.closed_switch()
    assert not hand.reading().shutter_open  # in the dark nothing is compared
    with pytest.raises(SafetyStop, match="not verified"):
        hand.open()


def test_a_meter_that_sees_nothing_any_more_ends_the_light() -> None:
    scene, hand = held()
    scene.beam.to_meter.add(Spell(scene.clock.now_s(), value=0.0))
    scene.clock.sleep(0.5)
    with pytest.raises(SafetyStop, match="the meter says"):
        hand.reading()
    assert scene.shutter.closed_switch()


def test_a_limit_holds_for_light_that_creeps_up() -> None:
    scene, hand = held(limits=Limits(max_fluence_uj_cm2=110.0))
    change(scene, 1.15)
    scene.clock.sleep(0.5)
    with pytest.raises(SafetyStop, match=r"above the .* nJ allowed"):
        hand.reading()
    assert scene.shutter.closed_switch()


def test_a_setting_made_anew_is_compared_with_itself() -> None:
    scene, hand = held()
    for fluence in (60.0, 140.0):
        hand.set_fluence(fluence)
        scene.clock.sleep(0.5)
        assert hand.reading().fluence_uj_cm2 == pytest.approx(fluence, rel=0.06)
    hand.close()
    change(scene, 0.0)
    scene.clock.sleep(0.5)
    assert hand.reading().shutter_open is False
