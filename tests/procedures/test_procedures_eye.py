"""The spectrometer stands behind the shutter: it sees whether that is closed, and errs in neither way."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lying_scene import Glowing, LyingShutter, OpensAgain, Order, bench, pump_of
from procedures_fakes import BEHIND, FRONT

from benchmarks.scene_roles import BANDS, SceneSpectrometer
from labctl.cli.commands.manual import line
from labctl.model.clock import Stop
from labctl.model.errors import Aborted, SafetyStop
from labctl.model.plan import SweepPlan
from labctl.model.records import Spectrum, SweepPoint
from labctl.model.roles import Roles
from procedures.alignment import AlignmentPlan, align
from procedures.fluence_sweep import sweep
from procedures.gate.pump import Pump
from procedures.manual import SEEN_NOW, UNSEEN, ManualBench
from procedures.plan import stability_plan
from procedures.point.light_witness import LightWitness
from simulators.scene import Scene
from simulators.scene.chance import Spell
from simulators.scene.settings import Level, RoomSettings, SceneSettings

PLAN = SweepPlan(start_uj_cm2=30.0, stop_uj_cm2=200.0, points=6, average=2)
FOUND = r"the shutter reports closed, but spectrometer behind it still sees \d+% of the last light"


def lying(
    nth: int, level: Level = "typical", seed: int = 1, *, order: Order | None = None, **lie: float
) -> tuple[Scene, LyingShutter, Roles, Pump]:
    scene, roles, _ = bench(level, seed, order=order)
    shutter = LyingShutter(scene, nth, **lie)
    roles = replace(roles, shutter=shutter)
    return scene, shutter, roles, pump_of(scene, roles)


def measured(points: Iterator[SweepPoint]) -> tuple[list[SweepPoint], SafetyStop]:
    found: list[SweepPoint] = []
    with pytest.raises(SafetyStop) as told:
        found.extend(points)
    return found, told.value


def dark_now(scene: Scene) -> bool:
    """Whether the plate, all that is left, lets the least light through."""
    return bool(scene.beam.malus(scene.mount.angle_deg()) < 1.5 * scene.settings.optics.t_min)


@pytest.mark.parametrize("level", ["ideal", "typical", "nasty"])
@pytest.mark.parametrize("nth", [1, 2, 4, 6])
def test_a_sweep_ends_at_the_closing_that_is_a_lie(level: Level, nth: int) -> None:
    scene, shutter, roles, pump = lying(nth, level)
    points, stop = measured(sweep(PLAN, roles, pump, BANDS))
    assert len(points) == nth - 1  # the point whose closing it was is not yielded
    assert "block the beam manually" in str(stop)
    assert any("NOT MADE SAFE" in note for note in stop.__notes__)
    assert dark_now(scene)
    assert scene.clock.now_s() - shutter.since_s < 12.0


@pytest.mark.parametrize("nth", [2, 4, 6])
def test_a_blade_that_sticks_in_half_of_the_beam_is_seen(nth: int) -> None:
    scene, _, roles, pump = lying(nth, share=0.5)
    points, stop = measured(sweep(PLAN, roles, pump, BANDS))
    assert len(points) == nth - 1
    assert "still sees" in str(stop)
    assert dark_now(scene)


@pytest.mark.parametrize("after_s", [0.1, 2.0, 4.0])
def test_a_shutter_that_opens_by_itself_is_seen_before_the_next_light(after_s: float) -> None:
    scene, _, roles, pump = lying(3, after_s=after_s)
    points, stop = measured(sweep(PLAN, roles, pump, BANDS))
    assert len(points) <= 3
    assert "still sees" in str(stop)
    assert dark_now(scene)


@pytest.mark.parametrize("order", [FRONT, BEHIND])
def test_an_alignment_ends_when_its_shutter_lies(order: Order) -> None:
    scene, _, roles, pump = lying(1, order=order)
    plan = AlignmentPlan(reference=SweepPlan(start_uj_cm2=40, stop_uj_cm2=160, points=10), max_readouts=2)
    with pytest.raises(SafetyStop, match="reports closed, but"):
        list(align(plan, roles, pump, BANDS))
    assert dark_now(scene)


def test_a_stability_run_ends_when_its_shutter_lies() -> None:
    scene, _, roles, pump = lying(4)
    points, stop = measured(sweep(stability_plan(60.0, 100.0, 10.0), roles, pump, BANDS))
    assert len(points) == 3
    assert "still sees" in str(stop)
    assert dark_now(scene)


@pytest.mark.parametrize("end", [ManualBench.close, lambda hand: hand.dark(0.1, 3)])
def test_a_hand_is_told_that_the_shutter_lies(end: Callable[[ManualBench], object]) -> None:
    scene, _, roles, pump = lying(1)
    hand = ManualBench(roles, pump)
    pump.prepare()
    hand.set_fluence(100.0)
    hand.open()
    with pytest.raises(SafetyStop, match=FOUND):
        end(hand)
    assert dark_now(scene)


def test_the_last_closing_of_a_hand_is_judged_too() -> None:
    scene, _, roles, pump = lying(1)
    hand = ManualBench(roles, pump)
    pump.prepare()
    hand.set_fluence(100.0)
    hand.open()
    report = pump.safe()
    assert "still sees" in str(report.failures[0])
    assert "NOT confirmed closed" in report.shutter
    assert dark_now(scene)


def test_an_honest_closing_is_confirmed_by_the_spectrometer() -> None:
    _, roles, pump = bench()
    hand = ManualBench(roles, pump)
    pump.prepare()
    hand.set_fluence(100.0)
    hand.open()
    report = pump.safe()
    assert report.failures == ()
    assert report.shutter == "the shutter is closed (its sensor and the spectrometer behind it)"


def room(counts_s: float, step_rel: float) -> Callable[[SceneSettings], SceneSettings]:
    return lambda s: replace(
        s,
        camera=replace(s.camera, room_counts_s=counts_s),
        room=RoomSettings(step_rel=step_rel, interval_s=7.0),
    )


def camera(**changes: float) -> Callable[[SceneSettings], SceneSettings]:
    return lambda s: replace(s, camera=replace(s.camera, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        room(100.0, 0.0), room(100.0, 0.5), camera(throughput=300.0), camera(throughput=0.03),
        camera(hot_pixels=300), camera(spikes_per_s=30.0),
        camera(warm_up_c=10.0, offset_counts_per_c=20.0, dark_counts_s=50.0),
    ],
    ids=["room", "lamp", "saturated", "faint", "hot pixels", "cosmics", "warming up"],
)  # fmt: skip
@pytest.mark.parametrize("level", ["typical", "nasty"])
def test_an_honest_shutter_is_never_doubted(
    level: Level, change: Callable[[SceneSettings], SceneSettings]
) -> None:
    scene, roles, pump = bench(level, 7, change=change)
    assert len(list(sweep(PLAN, roles, pump, BANDS))) == 6
    assert scene.shutter.closed_switch()


@pytest.mark.parametrize(("part", "lifetime_s"), [(0.05, 2.0), (0.3, 0.3), (0.3, 5.0), (0.8, 1.0)])
def test_a_film_that_glows_on_is_no_open_shutter(part: float, lifetime_s: float) -> None:
    scene, roles, _ = bench("typical", 3)
    roles = replace(roles, spectrometer=Glowing(scene, part, lifetime_s))
    pump = pump_of(scene, roles)
    pump.tell = logging.getLogger("test").warning
    assert len(list(sweep(PLAN, roles, pump, BANDS))) == 6


def test_the_looks_of_a_point_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bench time of a sweep with and without them."""
    took = []
    for _ in range(2):
        scene, roles, pump = bench("typical", 3)
        assert len(list(sweep(replace(PLAN, start_uj_cm2=60.0), roles, pump, BANDS))) == 6
        took.append(scene.clock.now_s())
        monkeypatch.setattr(LightWitness, "light_left", lambda _eye, _stop: "")
    assert (took[0] - took[1]) / 6 < 0.25


def opened_again(order: Order, **how: Any) -> tuple[Scene, OpensAgain, Roles, Pump]:
    scene, roles, _ = bench("typical", 3, order=order)
    shutter = OpensAgain(scene, **how)
    roles = replace(roles, shutter=shutter)
    return scene, shutter, roles, pump_of(scene, roles)


def closed_by_hand(roles: Roles, pump: Pump) -> ManualBench:
    hand = ManualBench(roles, pump)
    pump.prepare()
    hand.set_fluence(100.0)
    if pump.meter_in_front:
        hand.open()
        roles.clock.sleep(2.0)
        hand.close()
    return hand


def idle(hand: ManualBench) -> None:
    for _ in range(30):
        hand.reading()
        hand.roles.clock.sleep(1.0)


@pytest.mark.parametrize("order", [FRONT, BEHIND])
@pytest.mark.parametrize("honest", [True, False])
def test_a_shutter_that_somebody_else_opens_is_closed_while_a_hand_idles(order: Order, honest: bool) -> None:
    scene, shutter, roles, pump = opened_again(order, nth=1, after_s=5.0, honest=honest)
    hand = closed_by_hand(roles, pump)
    with pytest.raises(SafetyStop, match="is open when it should be closed" if honest else "still sees"):
        idle(hand)
    assert scene.clock.now_s() - shutter.since_s < (2.0 if honest else 14.0)
    assert dark_now(scene) or not scene.shutter.track.at(scene.clock.now_s())


@pytest.mark.parametrize("order", [FRONT, BEHIND])
def test_an_honest_shutter_stays_closed_while_a_hand_idles(order: Order) -> None:
    _, roles, pump = bench("nasty", 3, order=order)
    hand = closed_by_hand(roles, pump)
    before = pump.verified
    idle(hand)
    assert pump.verified == before
    assert pump.safe().failures == ()


def test_the_word_on_a_closing_is_not_from_long_ago() -> None:
    scene, _, roles, pump = opened_again(FRONT, nth=1, after_s=5.0, honest=False, deaf=True)
    closed_by_hand(roles, pump)
    scene.clock.sleep(60.0)
    report = pump.safe()
    assert "NOT confirmed closed" in report.shutter
    assert "still sees" in str(report.failures[0])


@pytest.mark.parametrize("order", [FRONT, BEHIND])
@pytest.mark.parametrize("honest", [True, False])
def test_a_shutter_that_opens_in_a_long_wait_is_found_there(order: Order, honest: bool) -> None:
    scene, shutter, roles, pump = opened_again(order, nth=3, after_s=30.0, honest=honest)
    plan = stability_plan(100.0, 8 * 300.0, 300.0)
    points, _ = measured(sweep(plan, roles, pump, BANDS))
    assert 0 < len(points) < 5
    assert scene.clock.now_s() - shutter.since_s < 14.0


def test_a_look_that_is_interrupted_changes_nothing() -> None:
    _, roles, pump = bench("typical", 3)
    hand = closed_by_hand(roles, pump)
    before, stop = pump.verified, threading.Event()
    stop.set()
    with pytest.raises(Aborted):
        pump.still_dark(stop)
    assert pump.verified == before
    hand.open()


def hand_on(scene: Scene, roles: Roles, pump: Pump, fluence_uj_cm2: float) -> tuple[ManualBench, list[str]]:
    said: list[str] = []
    pump.tell = said.append
    hand = ManualBench(roles, pump)
    pump.prepare()
    hand.set_fluence(fluence_uj_cm2)
    return hand, said


@pytest.mark.parametrize("level", ["ideal", "typical", "nasty"])
@pytest.mark.parametrize("fluence_uj_cm2", [40.0, 150.0])
def test_a_shutter_that_stays_closed_is_not_called_open(level: Level, fluence_uj_cm2: float) -> None:
    """The meter stands in front and sees the light all the same; the shutter's switch repeats its command."""
    scene, roles, pump = bench(level, 2)
    hand, said = hand_on(scene, roles, pump, fluence_uj_cm2)
    scene.shutter.stuck.add(Spell(scene.clock.now_s(), value=1.0))
    hand.open()
    assert said == [UNSEEN]
    reading = hand.reading()
    assert (reading.shutter_open, reading.unseen) == (True, True)
    assert "no light seen; at most " in line(reading)
    assert "shutter open" not in line(reading)
    scene.clock.sleep(5.0)
    assert hand.reading().unseen
    assert said == [UNSEEN]  # once
    hand.close()
    assert not hand.reading().unseen


@pytest.mark.parametrize("level", ["ideal", "typical", "nasty"])
@pytest.mark.parametrize("fluence_uj_cm2", [40.0, 150.0])
def test_light_that_is_there_is_seen(level: Level, fluence_uj_cm2: float) -> None:
    for seed in range(4):
        scene, roles, pump = bench(level, seed)
        hand, said = hand_on(scene, roles, pump, fluence_uj_cm2)
        hand.open()
        assert not hand.reading().unseen
        assert said == []
        hand.close()


def test_a_stage_without_a_sample_gives_no_light_and_the_sentence_holds() -> None:
    scene, roles, pump = bench("typical", 2)
    hand, said = hand_on(scene, roles, pump, 100.0)
    scene.hand.do("sample", {"in": False})
    hand.open()
    assert said == [UNSEEN]
    assert "nothing on the stage emits" in UNSEEN
    scene.hand.do("sample", {"in": True})  # now there is light, and that is said
    scene.clock.sleep(3.0)
    assert not hand.reading().unseen
    assert said == [UNSEEN, SEEN_NOW]


def test_a_meter_behind_the_shutter_needs_no_spectrometer_to_see_light() -> None:
    scene, roles, pump = bench("typical", 2, order=BEHIND)
    hand, said = hand_on(scene, roles, pump, 100.0)
    scene.hand.do("sample", {"in": False})
    hand.open()
    assert not hand.reading().unseen
    assert said == []


class LampThatGoesOut(SceneSpectrometer):
    """A lamp, with the very shape of the emission, shines in the dark; at a turn of the plate it goes out."""

    def __init__(self, scene: Scene, burns: int) -> None:
        super().__init__("spectrometer", scene)
        self.burns, self.dims, self.bright = burns, 0, True
        self.lamp = np.zeros(scene.camera.pixels)

    def acquire(self, stop: Stop | None = None) -> Spectrum:
        spectrum = super().acquire(stop)
        seconds = spectrum.integration_s
        if self.scene.shutter.track.at(self.scene.clock.now_s()) > 0:
            self.lamp = np.maximum(spectrum.counts - np.median(spectrum.counts), 0.0) / seconds
            return spectrum
        bright = not dark_now(self.scene)
        self.dims += int(self.bright and not bright and bool(self.lamp.any()))
        self.bright = bright
        on = self.dims <= self.burns
        return replace(spectrum, counts=np.minimum(spectrum.counts + on * 0.5 * self.lamp * seconds, 65535.0))


def test_a_lamp_that_goes_out_in_the_moment_of_a_look_is_no_laser() -> None:
    scene, roles, _ = bench("typical", 1)
    lamp = LampThatGoesOut(scene, burns=1)
    roles = replace(roles, spectrometer=lamp)
    assert len(list(sweep(PLAN, roles, pump_of(scene, roles), BANDS))) == 6
    assert lamp.dims > 1
