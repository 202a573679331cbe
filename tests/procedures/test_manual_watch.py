"""Light held by hand is watched: a jump, a loss or a limit closes the shutter."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from procedures_fakes import BANDS, FakeBench, FakeMeter, limits, pump_settings

from benchmarks.scene_roles import LIMITS, scene_pump, scene_roles
from labctl.model.clock import SteppedClock, Stop
from labctl.model.errors import SafetyStop
from labctl.model.plan import SweepPlan
from labctl.model.pump import Element, Limits
from labctl.model.records import PowerReading
from labctl.model.roles import has_read
from procedures.fluence_sweep import sweep
from procedures.gate.fluence import make_beam
from procedures.gate.power_monitor import Monitor
from procedures.gate.pump import Pump
from procedures.manual import ManualBench
from simulators import presets
from simulators.scene import Scene
from simulators.scene.chance import Spell

Order = tuple[Element, Element, Element, Element]
FRONT: Order = ("attenuator", "pick-off", "shutter", "sample")
SWEEP = SweepPlan(
    spacing="list",
    fluences_uj_cm2=(60.0, 80.0, 100.0),
    points=3,
    average=2,
    start_uj_cm2=60.0,
    stop_uj_cm2=100.0,
)
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


@pytest.mark.parametrize("order", [FRONT, BEHIND])
def test_a_meter_that_repeats_itself_is_no_watch(order: Order) -> None:
    bench = FakeBench(order)
    pump = Pump(bench.roles, pump_settings(order=order), limits())
    bench.meter.wobble = 0.3
    hand = ManualBench(bench.roles, pump)
    hand.set_fluence(100.0)
    hand.open()
    hand.reading()
    bench.meter.hung = True
    with pytest.raises(SafetyStop, match=r"power meter FAKE shows .* W 3 times in a row"):
        hand.reading()  # one that shows the same again is asked again at once
    assert not bench.table.is_open


def test_a_meter_that_shows_its_zero_again_and_again_is_none_the_worse() -> None:
    bench = FakeBench(FRONT)
    hand = ManualBench(bench.roles, Pump(bench.roles, pump_settings(), limits()))
    bench.table.scale = 0.0
    bench.meter.hung, bench.meter.last_w = True, 0.0
    for _ in range(5):
        assert hand.reading().power_w == 0.0


@pytest.mark.parametrize("plan", [SWEEP, replace(SWEEP, fluences_uj_cm2=(80.0,) * 8, points=8)])
def test_in_a_sweep_too(plan: SweepPlan) -> None:
    bench = FakeBench(FRONT)
    bench.meter.wobble = 0.3
    points = sweep(plan, bench.roles, Pump(bench.roles, pump_settings(), limits()), BANDS)
    next(points)
    bench.meter.hung = True
    with pytest.raises(SafetyStop, match="power meter FAKE shows"):
        list(points)
    bench.assert_safe()


def test_long_light_is_looked_at_between_exposures() -> None:
    bench = FakeBench(FRONT)
    bench.spectrometer.gain = 1e-4  # so little that the exposures get long
    pump = Pump(bench.roles, pump_settings(), limits())
    plan = replace(SWEEP, average=8, max_integration_s=1.0)
    laps = [0.0]

    def lap() -> None:
        if bench.table.is_open:
            laps.append(bench.clock.now_s() - bench.meter.read_s)

    bench.spectrometer.on_exposure = lap
    points = sweep(plan, bench.roles, pump, BANDS)
    assert next(points).integration_s > 0.3
    assert max(laps) <= 1.5 + 1.0  # bench time without a reading: 1.5 s and one exposure
    bench.table.scale_at = lambda _s: 3.0 if bench.table.is_open else 1.0
    exposed = bench.spectrometer.acquired
    with pytest.raises(SafetyStop, match="the meter says"):
        next(points)
    assert bench.spectrometer.acquired - exposed < 8  # not at the end of the point
    bench.assert_safe()


def test_the_zero_of_a_meter_behind_the_shutter_is_learned_for_hands_too() -> None:
    bench = FakeBench(BEHIND)
    bench.meter.offset_w = 3e-9  # the room's light
    hand = ManualBench(bench.roles, Pump(bench.roles, pump_settings(order=BEHIND), limits()))
    hand.set_fluence(4.0)
    hand.open()
    hand.close()  # no false alarm
    assert hand.pump.safe().failures == ()


def test_a_meter_that_repeats_itself_as_a_rule_has_coarse_digits() -> None:
    """Two readings of one light agree at every setting, without noise; then three may."""
    monitor = Monitor(FakeBench(FRONT).roles, make_beam(pump_settings(), limits()), 1, lambda _angle: 1.0)
    for step in range(6):
        for _ in range(2):
            monitor.refuse_repeated(PowerReading(1e-7 * (1 + step), 0.0, 1, float(step), step + 0.1))
    for _ in range(4):
        monitor.refuse_repeated(PowerReading(2e-6, 0.0, 1, 9.0, 9.1))


def test_a_meter_whose_noise_shows_does_not_repeat_itself() -> None:
    monitor = Monitor(FakeBench(FRONT).roles, make_beam(pump_settings(), limits()), 1, lambda _angle: 1.0)
    for step in range(12):
        monitor.refuse_repeated(PowerReading(1.2345e-7 * (1 + step), 0.0, 1, float(step), step + 0.1))
    again = PowerReading(2e-6, 0.0, 1, 99.0, 99.1)
    monitor.refuse_repeated(again)
    monitor.refuse_repeated(again)
    with pytest.raises(SafetyStop, match="3 times in a row"):
        monitor.refuse_repeated(again)


def test_a_meter_without_noise_shows_one_light_again_and_again() -> None:
    """From the first light on: it may be stuck, and only another setting would tell."""
    monitor = Monitor(FakeBench(FRONT).roles, make_beam(pump_settings(), limits()), 1, lambda _angle: 1.0)
    at_s = 0.0
    monitor.angle_deg = lambda: at_s
    for step in range(8):
        at_s = 10.0 * step
        monitor.refuse_repeated(PowerReading(1.31337e-7 * (1 + step), 0.0, 1, at_s, at_s))  # not settled
        for n in range(5):
            monitor.refuse_repeated(PowerReading(1.31338e-7 * (1 + step), 0.0, 1, at_s + n, at_s + n + 0.1))


@pytest.mark.parametrize("often", [0.03, 0.15, 0.5])
def test_a_meter_that_repeats_itself_now_and_then_ends_no_run(often: float) -> None:
    monitor = Monitor(FakeBench(FRONT).roles, make_beam(pump_settings(), limits()), 1, lambda _angle: 1.0)
    rng, shown_w = np.random.default_rng(7), 1e-7
    for pair in ((1e-7, 1e-7), (2e-7, 2e-7)):  # it has been seen to do so
        for power_w in pair:
            monitor.refuse_repeated(PowerReading(power_w, 0.0, 1, 0.0, 0.1))
    for n in range(20_000):
        shown_w = shown_w if rng.random() < often else 1e-7 * (1 + 1e-3 * float(rng.random()))
        monitor.refuse_repeated(PowerReading(shown_w, 0.0, 1, float(n), n + 0.1))


class ToldEach(FakeMeter):
    """Tells the readings it is given, one after the other; its mean is always new."""

    given_w: Iterator[float] = iter(())
    told: int = 0

    def read(self, count: int = 1, stop: Stop | None = None) -> PowerReading:
        for _ in range(count):
            has_read(next(self.given_w))
            self.told += 1
        return super().read(count, stop)


def told_each(given_w: Iterator[float], readings: int) -> ToldEach:
    """Have that many averages of six read."""
    bench = FakeBench(FRONT)
    meter = ToldEach(bench.table)
    meter.given_w = given_w
    roles = dataclasses.replace(bench.roles, power_meter=meter)
    monitor = Monitor(roles, make_beam(pump_settings(), limits()), 6, lambda _angle: 1.0)
    for _ in range(readings):
        monitor.read(-math.inf)
    return meter


@pytest.mark.parametrize("before", [8, 98])
def test_a_meter_that_gets_stuck_within_an_average_is_not_waited_for(before: int) -> None:
    rng = np.random.default_rng(3)
    sound = [*(1e-6 * (1 + 1e-3 * rng.standard_normal(before))), *[1e-6] * 9]
    given = iter(sound)
    with pytest.raises(SafetyStop, match="4 times in a row, identical in every digit"):
        told_each(given, 18)
    assert len(list(given)) == 5


@pytest.mark.parametrize("step_rel", [3e-3, 1e-3, 3e-4])
def test_digits_as_coarse_as_the_noise_may_agree_within_an_average(step_rel: float) -> None:
    rng = np.random.default_rng(4)
    coarse = (1e-6 * round((1 + 1e-3 * rng.standard_normal()) / step_rel) * step_rel for _ in range(18_000))
    assert told_each(coarse, 3_000).told == 18_000
