"""The gate for light: order, limits, verification, dose, and what it does when something is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from procedures_fakes import (
    BEFORE_ALL,
    BEHIND,
    FLUENCE_PER_J,
    FRONT,
    FULL_J,
    ORDERS,
    RATE_HZ,
    RATIO,
    T_MIN,
    ZERO_DEG,
    FakeBench,
    StopAfter,
    limits,
    malus,
    pump_settings,
)

from labctl.model.errors import Aborted, ConfigError, InstrumentFault, InstrumentTimeout, SafetyStop
from labctl.model.pump import Element, Limits, SpotSize
from labctl.model.records import PowerReading
from procedures.gate.attenuator import EnergyScale
from procedures.gate.pump import Pump

Order = tuple[Element, Element, Element, Element]


def make(order: Order = FRONT, limit: Limits | None = None, **changes: Any) -> tuple[FakeBench, Pump]:
    bench = FakeBench(order)
    return bench, Pump(bench.roles, pump_settings(order=order, **changes), limit or limits())


def prepared(order: Order = FRONT, limit: Limits | None = None) -> tuple[FakeBench, Pump]:
    bench, pump = make(order, limit)
    pump.prepare()
    bench.table.events.clear()
    return bench, pump


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("fluence", [20.0, 79.81, 257.34, 600.0])
def test_a_fluence_is_set_and_measured_wherever_the_meter_sits(order: Order, fluence: float) -> None:
    bench, pump = prepared(order)
    state = pump.set_fluence(fluence)
    assert state.fluence_uj_cm2 == pytest.approx(fluence, rel=0.01)
    assert state.pulse_energy_j == pytest.approx(bench.table.energy_j(), rel=1e-6)
    pump.open()
    assert bench.table.fluence() == pytest.approx(state.fluence_uj_cm2, rel=1e-6)


def test_in_front_of_the_shutter_the_energy_is_verified_in_the_dark() -> None:
    bench, pump = prepared(FRONT)
    pump.set_fluence(80.0)
    assert "open" not in bench.table.events
    assert pump.dose_uj_cm2 == 0


def test_behind_the_shutter_it_opens_at_the_minimum_first_and_the_reading_counts_as_dose() -> None:
    bench, pump = prepared(BEHIND)
    pump.set_fluence(80.0)
    minimum, opened, setting = bench.table.events[:3]
    assert minimum == f"move {pump.curve.floor_deg:.2f}"
    assert opened == "open"
    assert setting.startswith("move")
    assert bench.table.is_open
    pump.close()
    # 0.2 s of motion at a rising level, 0.1 s of settling, 0.6 s of reading, and the blade's 0.02 s
    assert bench.table.dose == pytest.approx(80.0 * RATE_HZ * (0.2 / 3 + 0.1 + 0.6 + 0.02), rel=0.05)
    assert bench.table.dose <= pump.dose_uj_cm2 <= bench.table.dose * 1.1


def test_energy_on_the_sample_is_power_times_pickoff_ratio_over_rate() -> None:
    _bench, pump = prepared()
    state = pump.set_fluence(100.0)
    assert state.pulse_energy_j == pytest.approx(state.reading.power_w * RATIO / RATE_HZ)
    assert state.fluence_uj_cm2 == pytest.approx(state.pulse_energy_j * FLUENCE_PER_J)


@pytest.mark.parametrize("order", ORDERS)
def test_a_fluence_above_a_limit_moves_nothing(order: Order) -> None:
    bench, pump = prepared(order)
    for forbidden in (700.1, 1e9, 0.0, -3.0, math.nan, math.inf):
        with pytest.raises(SafetyStop):
            pump.set_fluence(forbidden)
    assert not [event for event in bench.table.events if event != "close"]
    assert not bench.table.is_open


@pytest.mark.parametrize(
    "limit",
    [
        limits(max_pulse_energy_j=10e-9),
        limits(max_average_power_w=10e-6),
        limits(angle_range_deg=(50.0, 57.0)),
    ],
)
def test_every_kind_of_limit_holds(limit: Limits) -> None:
    bench, pump = prepared(FRONT, limit)
    with pytest.raises(SafetyStop):
        pump.set_fluence(120.0)
    assert "open" not in bench.table.events
    assert pump.set_fluence(40.0).fluence_uj_cm2 == pytest.approx(40.0, rel=0.02)


def test_an_unreferenced_mount_is_homed_in_the_dark() -> None:
    bench, pump = prepared(FRONT)
    state = pump.set_fluence(80.0)
    pump.open()
    bench.table.referenced = False
    pump.set_fluence(state.fluence_uj_cm2, keep_open=True)
    assert "home" in bench.table.events
    assert "home in the light" not in bench.table.events


@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=25, deadline=None)
@given(
    scale=st.floats(0.86, 1.14),
    seed=st.integers(0, 2**32 - 1),
    wanted=st.lists(st.floats(5.0, 400.0), min_size=1, max_size=6),
    keep_open=st.booleans(),
)
def test_no_history_ever_puts_more_than_the_limit_on_the_sample(
    order: Order, scale: float, seed: int, wanted: list[float], keep_open: bool
) -> None:
    limit = limits(300.0)
    bench, pump = prepared(order, limit)
    bench.table.scale = scale
    errors = np.random.default_rng(seed)
    bench.mount.errors_deg = lambda: float(errors.uniform(-0.06, 0.06))
    for fluence in wanted:
        try:
            pump.set_fluence(fluence, keep_open=keep_open)
            pump.open(0.5)
            bench.clock.sleep(0.5)
        except SafetyStop:
            assert not bench.table.is_open
        if not keep_open:
            pump.close()
    pump.safe()
    bench.table.account()
    # Where the meter does not see the plate, the plate's own error is what remains.
    assert bench.table.brightest <= 300.0 * (1.02 if order == BEFORE_ALL else 1.0005)
    bench.assert_safe()


@pytest.mark.parametrize("start_deg", [0.0, 3.0, 100.0, 147.0, 200.0, 359.0])
@pytest.mark.parametrize("order", ORDERS)
def test_wherever_the_plate_stands_no_maximum_is_crossed_in_the_light(order: Order, start_deg: float) -> None:
    bench, pump = make(order, limits(5000.0))  # so that the maximum itself is no matter of a limit
    bench.table.angle_deg = start_deg
    bench.table.is_open = True
    pump.set_fluence(20.0, keep_open=True)
    pump.open()
    bench.table.account()
    pump.set_fluence(60.0, keep_open=True)
    bench.table.angle_deg = start_deg
    pump.set_fluence(20.0, keep_open=True)
    assert bench.table.flashes == 0


def test_a_harmless_way_leaves_the_shutter_open_when_asked_to() -> None:
    bench, pump = prepared()
    pump.set_fluence(50.0)
    pump.open()
    bench.table.events.clear()
    pump.set_fluence(60.0, keep_open=True)
    assert "close" not in bench.table.events
    pump.set_fluence(695.0, keep_open=True)  # near the limit the meter has to speak first
    assert "close" in bench.table.events


def test_a_plate_that_does_not_arrive_stops_everything() -> None:
    bench, pump = prepared(BEHIND)
    pump.set_fluence(30.0)
    bench.mount.stuck = True
    with pytest.raises(SafetyStop, match=r"instead of"):
        pump.set_fluence(90.0)
    assert not bench.table.is_open


@pytest.mark.parametrize("order", [FRONT, BEHIND])
@pytest.mark.parametrize("slip_deg", [-3.0, 3.0])
def test_a_plate_that_slipped_unseen_is_found_by_the_meter(order: Order, slip_deg: float) -> None:
    bench, pump = prepared(order)
    bench.mount.errors_deg = lambda: slip_deg
    with pytest.raises(SafetyStop, match="expected"):
        pump.set_fluence(100.0)
    assert not bench.table.is_open


def test_a_laser_that_is_back_in_time_is_waited_for_in_the_dark() -> None:
    bench, pump = prepared()
    back_s = bench.clock.now_s() + 3.0
    bench.table.scale_at = lambda now: 1.0 if now > back_s else 0.0
    assert pump.set_fluence(100.0).fluence_uj_cm2 == pytest.approx(100.0, rel=0.02)
    assert bench.clock.now_s() > back_s


def test_a_dead_laser_ends_it() -> None:
    bench, pump = prepared()
    bench.table.scale = 1e-6
    with pytest.raises(SafetyStop, match="meter says"):
        pump.set_fluence(100.0)
    assert bench.clock.now_s() < 20.0


def test_a_noisy_meter_widens_the_tolerance_to_five_sigma() -> None:
    bench, pump = prepared()
    bench.table.scale = 1.3
    with pytest.raises(SafetyStop):
        pump.set_fluence(100.0)
    bench, pump = prepared()
    bench.table.scale, bench.meter.noise_w = 1.3, 3e-7  # as much as 46 % of the power
    assert pump.set_fluence(100.0).fluence_uj_cm2 > 0


def test_the_laser_s_own_scale_is_learned() -> None:
    bench, pump = prepared()
    bench.table.scale = 0.87
    first = pump.set_fluence(100.0)
    assert first.trimmed
    assert first.fluence_uj_cm2 == pytest.approx(100.0, rel=0.02)
    second = pump.set_fluence(130.0)
    assert not second.trimmed
    assert second.fluence_uj_cm2 == pytest.approx(130.0, rel=0.02)


@pytest.mark.parametrize("stale", [1, 2])
def test_an_old_reading_is_never_taken_for_the_present_one(stale: int) -> None:
    bench, pump = prepared()
    bench.meter.stale = stale
    if stale == 1:
        assert pump.set_fluence(100.0).reading.start_s > 0
    else:
        with pytest.raises(SafetyStop, match="before the last change"):
            pump.set_fluence(100.0)


def test_a_reading_that_is_no_number_is_a_stop() -> None:
    bench, pump = prepared()
    bench.meter.offset_w = math.nan
    with pytest.raises(SafetyStop, match="nan"):
        pump.set_fluence(100.0)


def test_where_the_shutter_does_not_answer_the_attenuator_goes_down_before_it_is_tried_again() -> None:
    bench, pump = prepared()
    pump.set_fluence(100.0)
    pump.open()
    began = len(bench.table.events)
    bench.shutter.timeouts = [InstrumentTimeout("shutter", "no answer") for _ in range(2)]
    with pytest.raises(InstrumentTimeout):
        pump.set_fluence(90.0)
    told = [e.split()[0] for e in bench.table.events[began:]]
    assert told[-2:] == ["move", "close"]
    assert not bench.table.is_open


@pytest.mark.parametrize("device", ["mount", "meter"])
def test_one_timeout_is_forgiven_two_are_not(device: str) -> None:
    bench, pump = prepared()
    broken = getattr(bench, device)
    broken.timeouts = [InstrumentTimeout(device, "no answer")]
    pump.set_fluence(100.0)
    broken.fault = InstrumentTimeout(device, "no answer")
    with pytest.raises(InstrumentTimeout):
        pump.set_fluence(90.0)
    assert not bench.table.is_open


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_a_jump_between_two_readings_closes_the_shutter(factor: float) -> None:
    bench, pump = prepared()
    state = pump.set_fluence(100.0)
    pump.open()
    bench.table.scale = factor
    with pytest.raises(SafetyStop):
        pump.confirm(state)
    assert not bench.table.is_open


def test_growing_beyond_the_limit_closes_the_shutter_too() -> None:
    bench, pump = prepared(FRONT, limits(100.0))
    state = pump.set_fluence(99.0)
    pump.open()
    bench.table.scale = 1.1
    with pytest.raises(SafetyStop, match="allowed"):
        pump.confirm(state)
    assert not bench.table.is_open


def test_the_shutter_opens_onto_a_verified_setting_only() -> None:
    bench, pump = prepared()
    with pytest.raises(SafetyStop, match="not verified"):
        pump.open()
    pump.set_fluence(50.0)
    pump.minimum()
    with pytest.raises(SafetyStop, match="not verified"):
        pump.open()
    assert "open" not in bench.table.events


def test_a_shutter_that_stays_shut_or_open_is_noticed() -> None:
    bench, pump = prepared()
    pump.set_fluence(50.0)
    bench.shutter.jammed = True
    with pytest.raises(SafetyStop, match="should be open"):
        pump.open()
    bench, pump = prepared()
    pump.set_fluence(50.0)
    pump.open()
    bench.shutter.jammed = True
    with pytest.raises(SafetyStop, match="does not confirm"):
        pump.close()
    before = pump.dose_uj_cm2
    bench.clock.sleep(1.0)
    leakage = pump.aim.reach_uj_cm2()[0]  # the attenuator has taken the rest away
    assert pump.dose_uj_cm2 - before == pytest.approx(leakage * RATE_HZ, rel=0.02)  # it is still counted


def test_safe_tries_the_attenuator_when_the_shutter_fails_and_flashes_nothing() -> None:
    bench, pump = prepared()
    pump.set_fluence(300.0)
    pump.open()
    bench.shutter.fault = InstrumentFault("shutter", "gone")
    failures = pump.safe().failures
    assert [type(f) for f in failures] == [InstrumentFault]
    assert bench.table.is_open
    assert float(malus(bench.table.angle_deg)) == pytest.approx(T_MIN, rel=0.01)
    assert bench.table.flashes == 0


@pytest.mark.parametrize("angle_deg", [3.0, 80.0, 120.0, 250.0])
def test_with_the_shutter_stuck_open_safe_takes_the_way_without_a_maximum(angle_deg: float) -> None:
    bench, pump = prepared()
    pump.set_fluence(300.0)
    pump.open()
    bench.shutter.jammed = True
    bench.table.angle_deg = angle_deg
    before = bench.table.fluence()
    assert len(pump.safe().failures) == 1
    assert bench.table.flashes == 0
    assert bench.table.fluence() <= before


def test_safe_leaves_an_unreferenced_mount_behind_a_closed_shutter_alone() -> None:
    bench, pump = make()
    bench.table.referenced = False
    assert pump.safe().failures == ()
    assert not [event for event in bench.table.events if event.startswith(("move", "home"))]


def test_safe_closes_the_shutter_even_when_the_mount_is_gone() -> None:
    bench, pump = prepared()
    pump.set_fluence(300.0)
    pump.open()
    bench.mount.fault = InstrumentFault("mount", "gone")
    assert len(pump.safe().failures) == 1
    assert not bench.table.is_open


@pytest.mark.parametrize("order", [FRONT, BEHIND])
def test_the_dose_is_what_the_sample_got(order: Order) -> None:
    bench, pump = prepared(order)
    for fluence in (20.0, 150.0, 60.0):
        state = pump.set_fluence(fluence)
        pump.open(2.0)
        bench.clock.sleep(2.0)
        pump.confirm(state)
        pump.close()
    assert bench.table.dose * 0.999 <= pump.dose_uj_cm2 <= bench.table.dose * 1.06


def test_the_travel_of_the_shutter_counts_both_ways() -> None:
    bench, pump = prepared()
    pump.set_fluence(100.0)
    pump.open()
    pump.close()
    assert pump.dose_uj_cm2 == pytest.approx(100.0 * RATE_HZ * 2 * 0.03, rel=0.01)
    assert pump.dose_uj_cm2 >= bench.table.dose


def test_a_setting_that_stays_above_the_limit_is_given_up_in_the_dark() -> None:
    bench, pump = prepared(FRONT, limits(100.0))
    slips = iter([0.0, -0.2, -0.5, -0.8])
    bench.mount.errors_deg = lambda: next(slips)
    pump.set_fluence(60.0)
    with pytest.raises(SafetyStop, match="are above"):
        pump.set_fluence(100.0)
    assert "open" not in bench.table.events


def test_the_dose_has_a_limit() -> None:
    bench, pump = prepared(FRONT, limits(max_dose_uj_cm2=1e5))
    pump.set_fluence(100.0)
    with pytest.raises(SafetyStop, match="dose"):
        pump.open(1.1)
    pump.set_fluence(100.0)
    pump.open(0.5)
    bench.clock.sleep(0.5)
    pump.allow(0.3)
    with pytest.raises(SafetyStop, match="dose"):
        pump.allow(0.6)
    assert not bench.table.is_open
    assert bench.table.dose < 1e5


def count_waits(order: Order, act: Callable[[Pump, StopAfter], object]) -> int:
    _bench, pump = prepared(order)
    stop = StopAfter(10_000)
    act(pump, stop)
    return 10_000 - stop.questions


@pytest.mark.parametrize("order", [FRONT, BEHIND])
def test_a_stop_is_heard_in_every_wait_and_leaves_the_dark(order: Order) -> None:
    def act(pump: Pump, stop: StopAfter) -> object:
        return pump.set_fluence(100.0, stop)

    waits = count_waits(order, act)
    assert waits >= 6
    for n in range(waits):
        bench, pump = prepared(order)
        with pytest.raises(Aborted):
            act(pump, StopAfter(n))
        assert not bench.table.is_open
        assert pump.safe().failures == ()
        bench.assert_safe()


def test_a_meter_behind_the_shutter_loses_its_room_light() -> None:
    bench, pump = make(BEHIND)
    bench.meter.offset_w = 4e-9
    pump.prepare()
    state = pump.set_fluence(20.0)
    assert state.pulse_energy_j == pytest.approx(bench.table.energy_j(), rel=1e-6)


def test_the_meter_is_told_the_pump_s_wavelength() -> None:
    bench, pump = make()
    pump.prepare()
    assert "wavelength 800" in bench.table.events


def test_the_scale_s_uncertainty_combines_its_parts() -> None:
    _bench, pump = make(meter_sigma_rel=0.03, pickoff_sigma_rel=0.02, spot_sigma_rel=0.025)
    assert pump.scale_rel == pytest.approx(math.sqrt(0.03**2 + 0.02**2 + 0.05**2))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 2 * FULL_J * 1e6 / (math.pi * 1e-4)),
        ({"convention": "average"}, FULL_J * 1e6 / (math.pi * 1e-4)),
        ({"incidence_deg": 60.0}, FULL_J * 1e6 / (math.pi * 1e-4)),
        ({"spot": SpotSize("stripe", 2000.0, 250.0)}, FULL_J * 1e6 / (0.4 * 0.05)),
        ({"spot": SpotSize("ellipse", 100.0, 50.0)}, FULL_J * 1e6 / (math.pi * 0.5e-4)),
    ],
)
def test_energy_becomes_fluence(changes: dict[str, Any], expected: float) -> None:
    _bench, pump = make(**changes)
    assert pump.beam.fluence_uj_cm2(FULL_J) == pytest.approx(expected)
    assert pump.beam.energy_j(pump.beam.fluence_uj_cm2(3e-9)) == pytest.approx(3e-9)


def test_a_set_ratio_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError):
        make(FRONT, limits(set_ratio=0.0))


def test_a_bracket_carries_the_noise_of_its_readings_and_of_the_pulses() -> None:
    bench, pump = prepared()
    bench.meter.noise_rel = 0.02
    state = pump.set_fluence(100.0)
    after = pump.confirm(state)
    few, many = pump.bracket(state, after, 100.0), pump.bracket(state, after, 1e6)
    assert many.fluence_uj_cm2 == pytest.approx((state.fluence_uj_cm2 + 100.0) / 2, rel=0.05)
    assert 0.001 < many.sigma_rel < 0.03
    assert few.sigma_rel > 2 * many.sigma_rel
    assert few.change_rel == pytest.approx(after.power_w / state.reading.power_w - 1)


def test_where_the_meter_does_not_see_the_plate_its_error_is_counted() -> None:
    sigmas = {}
    for order in (FRONT, BEFORE_ALL):
        _bench, pump = prepared(order)
        state = pump.set_fluence(20.0)
        sigmas[order] = pump.bracket(state, pump.confirm(state), 1e4).sigma_rel
    assert sigmas[BEFORE_ALL] == pytest.approx(0.026, rel=0.2)
    assert sigmas[FRONT] < 0.002


@pytest.mark.parametrize("changed", [0.05, -0.05, 0.1])
def test_a_bracket_covers_a_drift_that_is_not_linear(changed: float) -> None:
    """The mean of two readings misses a light that settled in between: what it misses is in the error."""
    _bench, pump = prepared()
    state = pump.set_fluence(100.0)
    way = 1 - np.exp(-2.0 * (np.arange(1000) + 0.5) / 1000)
    during = 1 + changed * way / (1 - math.exp(-2.0))
    after = replace(state.reading, power_w=state.reading.power_w * (1 + changed))
    found = pump.bracket(state, after, 1e6)
    missed = found.fluence_uj_cm2 / (100.0 * float(during.mean())) - 1
    assert 0.5 * abs(missed) < found.sigma_rel < abs(missed)
    still = pump.bracket(state, state.reading, 1e6)
    assert found.sigma_rel == pytest.approx(math.hypot(still.sigma_rel, changed / math.sqrt(48)), rel=0.05)


def test_the_error_of_a_reading_is_never_below_the_meter_s_own_noise() -> None:
    """Two readings that happen to agree, or stick, do not make a fluence without an error."""
    bench, pump = prepared()
    state = pump.set_fluence(100.0)
    bench.meter.noise_w = 0.01 * state.reading.power_w
    quiet = replace(state.reading, sigma_w=0.0, n=4)
    found = pump.bracket(replace(state, reading=quiet), quiet, 1e6)
    assert found.sigma_rel == pytest.approx(0.01 / math.sqrt(4) / math.sqrt(2), rel=0.01)
    assert found.power_sigma_w == pytest.approx(found.sigma_rel * state.reading.power_w, rel=0.01)


def test_a_reading_just_above_the_limit_is_set_again_and_ends_nothing() -> None:
    """A point at the top of the range: nearer than any trim for its own sake, and yet too much."""
    highest = 300.0
    bench, pump = make(FRONT, limits(highest), angle_sigma_deg=0.005)
    pump.prepare()
    bench.table.scale = 1.02
    state = pump.set_fluence(highest)
    assert state.trimmed
    assert state.fluence_uj_cm2 <= highest
    assert state.fluence_uj_cm2 == pytest.approx(highest, rel=0.02)
    pump.open()
    assert bench.table.fluence() <= highest
    assert bench.table.brightest <= highest


def monitored(power_w: float, sigma_w: float, noise_w: float) -> tuple[Pump, PowerReading]:
    bench, pump = prepared()
    bench.meter.noise_w = noise_w
    return pump, PowerReading(power_w, sigma_w, 4, 0.0, 1.0)


def test_no_noise_of_the_meter_excuses_any_energy() -> None:
    """What a noisy head may be off by is bounded, and compared with the power EXPECTED."""
    expected_w = 100.0 / FLUENCE_PER_J * RATE_HZ / RATIO
    expected_j = 100.0 / FLUENCE_PER_J
    pump, reading = monitored(expected_w, 0.0, 5 * expected_w)
    assert pump._monitor.tolerance(reading, expected_j, pump.angle_deg) == pytest.approx(0.5)
    pump, dead = monitored(1e-3 * expected_w, 1e-4 * expected_w, 1e-4 * expected_w)
    assert pump._monitor.tolerance(dead, expected_j, pump.angle_deg) == pump.limits.set_ratio
    pump, flickering = monitored(expected_w, 0.5 * expected_w, 0.0)
    allowed = pump._monitor.tolerance(flickering, expected_j, pump.angle_deg)
    assert allowed == pytest.approx(max(pump.limits.set_ratio, 0.2))


def test_a_limit_has_no_margin() -> None:
    _bench, pump = prepared(limit=limits(100.0))
    highest_j = 100.0 / FLUENCE_PER_J
    pump._verifier.within_limits(highest_j)
    with pytest.raises(SafetyStop, match="nJ allowed"):
        pump._verifier.within_limits(highest_j * 1.0001)
    assert pump._verifier.is_too_much(highest_j * 1.0001)


def test_the_shutter_s_travel_is_light_that_must_be_allowed() -> None:
    dose = 100.0 * RATE_HZ * 2.0
    for seconds, opens in ((1.9, True), (1.97, False)):  # with the 0.05 s of its travel
        bench, pump = prepared(limit=limits(max_dose_uj_cm2=dose))
        pump.set_fluence(100.0)
        if opens:
            pump.open(seconds)
        else:
            with pytest.raises(SafetyStop, match="dose would exceed"):
                pump.open(seconds)
        assert bench.table.is_open is opens


def test_the_plate_s_own_error_counts_in_what_may_happen_before_the_meter_speaks() -> None:
    scale = EnergyScale(0.05)
    sure, unsure = scale.highest(0.0), scale.highest(0.2)
    assert sure == pytest.approx(1 + 3 * math.hypot(0.05, 0.01))
    assert unsure == pytest.approx(1 + 3 * math.hypot(0.05, 0.01, 0.2))


def test_a_reading_at_an_angle_that_is_hardly_known_teaches_hardly_anything() -> None:
    """Near the least transmission the plate's error, not the meter's, says how well the energy is known."""
    learned = {}
    for sigma_deg in (0.001, 1.0):
        _bench, pump = make(FRONT, angle_sigma_deg=sigma_deg)
        pump.aim.learn(ZERO_DEG + 42.0, 1.1 * pump.aim.energy_j(ZERO_DEG + 42.0), 1e-4)
        learned[sigma_deg] = pump.aim.energy_j(ZERO_DEG) / FULL_J - 1
    assert learned[0.001] == pytest.approx(0.1, rel=0.05)
    assert learned[1.0] < 0.05
