"""Light comes through the gate alone, and only onto what was verified just now."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
from procedures_fakes import BEHIND, FRONT, RATE_HZ, ZERO_DEG, FakeBench, limits, malus, pump_settings

from labctl.config import parse_bench
from labctl.model.clock import SteppedClock
from labctl.model.errors import InstrumentTimeout, SafetyStop
from labctl.model.pump import Element, Limits
from labctl.model.roles import Roles
from labctl.session import Bench, open_bench
from procedures.gate.hooks import Hooks, hooked
from procedures.gate.pump import FRESH_S, Pump
from procedures.gate.shutter import Permit, holds_key, unlocked
from procedures.manual import ManualBench
from simulators.bench import SimulatedBench
from simulators.presets import scene

Order = tuple[Element, Element, Element, Element]


def locked(roles: Roles) -> Roles:
    """Return the same instruments, with shutter and mount locked."""
    hooks = Hooks()
    found = hooked(roles, hooks)
    hooks.attach(Permit(found.shutter))
    return found


def verified(order: Order = FRONT, limit: Limits | None = None) -> tuple[FakeBench, Pump]:
    bench = FakeBench(order)
    pump = Pump(locked(bench.roles), pump_settings(order=order), limit or limits())
    pump.prepare()
    pump.set_fluence(60.0)
    pump.close()
    return bench, pump


# --- what a session hands out ------------------------------------------------------------------------


@pytest.fixture
def opened() -> Iterator[tuple[SimulatedBench, Bench]]:
    with (
        SimulatedBench(scene("ola", "ideal", 2), SteppedClock()) as simulated,
        open_bench(parse_bench(simulated.bench_toml(1.0)), simulated.scene.clock) as bench,
    ):
        yield simulated, bench


def test_a_script_gets_no_light_past_the_gate(opened: tuple[SimulatedBench, Bench]) -> None:
    simulated, bench = opened
    with pytest.raises(SafetyStop, match=r"opens only onto a fluence .* Try: bench\.pump\.set_fluence"):
        bench.roles.shutter.open()
    assert simulated.scene.shutter.closed_switch()
    bench.pump.prepare()
    bench.roles.attenuator.move_to(ZERO_DEG)  # in the dark anybody may
    bench.pump.set_fluence(60.0)
    bench.pump.open()
    past_the_gate: list[Callable[[], object]] = [
        lambda: bench.roles.attenuator.move_to(ZERO_DEG),
        bench.roles.attenuator.home,
    ]
    for way in past_the_gate:
        before = simulated.scene.mount.angle_deg()
        with pytest.raises(SafetyStop, match="only with the shutter closed"):
            way()
        assert simulated.scene.mount.angle_deg() == before


def test_the_key_is_that_of_one_thread_and_one_block() -> None:
    with unlocked():
        with unlocked():
            assert holds_key()
        assert holds_key()
    assert not holds_key()


# --- what was verified must still hold ---------------------------------------------------------------


def test_a_plate_that_was_turned_meanwhile_gets_no_light() -> None:
    bench, pump = verified()
    bench.table.turn_to(ZERO_DEG, 0.0, 0.2)
    with pytest.raises(SafetyStop, match="the energy was verified at"):
        pump.open()
    assert not bench.table.is_open
    assert bench.table.brightest == 0.0


@pytest.mark.parametrize("order", [FRONT, BEHIND])
@pytest.mark.parametrize("scale", [1.6, 0.5])
def test_an_old_setting_is_verified_again_before_light_falls_on_it(order: Order, scale: float) -> None:
    bench, pump = verified(order)
    bench.clock.sleep(FRESH_S + 1.0)
    bench.table.scale = scale
    bench.table.brightest = 0.0
    with pytest.raises(SafetyStop, match="the meter says"):
        pump.open()
    assert not bench.table.is_open
    assert bench.table.brightest == 0.0 or order == BEHIND


@pytest.mark.parametrize("order", [FRONT, BEHIND])
def test_an_old_setting_that_holds_is_opened_onto(order: Order) -> None:
    bench, pump = verified(order)
    bench.clock.sleep(3600.0)
    bench.table.events.clear()
    pump.open(2.0)
    assert bench.table.is_open
    assert bench.table.fluence() == pytest.approx(60.0, rel=0.02)
    if order == BEHIND:  # the least light first
        assert bench.table.events[:2] == [f"move {pump.curve.floor_deg:.2f}", "open"]


@pytest.mark.parametrize("angle_deg", [math.inf, -math.inf, math.nan])
def test_no_angle_is_refused(angle_deg: float) -> None:
    bench, pump = verified()
    with pytest.raises(SafetyStop, match="is not a valid angle"):
        pump.set_angle(angle_deg)
    assert not bench.table.is_open


# --- light held by hand ------------------------------------------------------------------------------


def held(order: Order = FRONT, limit: Limits | None = None) -> tuple[FakeBench, ManualBench]:
    bench, pump = verified(order, limit)
    hand = ManualBench(locked(bench.roles), pump)
    hand.set_fluence(60.0)
    hand.open()
    bench.clock.sleep(5.0)
    return bench, hand


def test_without_a_reading_there_is_no_light() -> None:
    bench, hand = held()
    bench.meter.fault = InstrumentTimeout("power meter", "no reading")
    with pytest.raises(InstrumentTimeout):
        hand.reading()
    assert not bench.table.is_open


def test_a_reading_that_is_no_number_ends_the_light() -> None:
    bench, hand = held()
    bench.meter.offset_w = math.nan
    with pytest.raises(SafetyStop, match="reads nan"):
        hand.reading()
    assert not bench.table.is_open


def test_the_dose_of_held_light_follows_the_meter() -> None:
    bench, hand = held()
    bench.table.scale = 1.15
    hand.reading()
    before = hand.pump.dose_uj_cm2
    bench.clock.sleep(100.0)
    gained = hand.pump.dose_uj_cm2 - before
    assert gained == pytest.approx(1.15 * 60.0 * RATE_HZ * 100.0, rel=0.02)


def test_behind_the_shutter_verifying_itself_may_not_pass_the_dose() -> None:
    allowed = 60.0 * RATE_HZ * 4.0
    bench, pump = verified(BEHIND, limits(max_dose_uj_cm2=allowed))

    def again_and_again() -> None:
        for _ in range(20):
            pump.set_fluence(60.0)
            pump.close()

    with pytest.raises(SafetyStop, match="the dose would exceed its limit"):
        again_and_again()
    assert not bench.table.is_open
    assert allowed / 2 < bench.table.dose <= allowed
    assert float(malus(bench.table.angle_deg)) < 1.0
