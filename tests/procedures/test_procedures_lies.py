"""A shutter whose sensor lies: found out where a meter behind it can see the light, and what then happens."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest
from procedures_fakes import BEHIND, FRONT, FakeBench, limits, pump_settings

from labctl.config import parse_bench
from labctl.data import read_run
from labctl.data.verify import verify
from labctl.model.clock import SteppedClock
from labctl.model.errors import InstrumentTimeout, SafetyStop
from labctl.model.plan import SweepPlan
from labctl.model.pump import Bands, Element
from labctl.model.results.sweep import DOUBT
from labctl.runner.events import Event, Measured
from labctl.runner.run import RunFailed, RunRequest, run_sweep
from procedures.fluence_sweep import sweep
from procedures.gate.pump import Pump
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.faults import FaultPlan

Order = tuple[Element, Element, Element, Element]
BEHIND_ORDERS: list[Order] = [
    BEHIND,
    ("shutter", "attenuator", "pick-off", "sample"),
    ("shutter", "pick-off", "attenuator", "sample"),
]
BANDS = Bands((505.0, 560.0), (530.0, 556.0))
PLAN = SweepPlan(start_uj_cm2=40.0, stop_uj_cm2=120.0, points=3, average=2)


def lit(order: Order) -> tuple[FakeBench, Pump]:
    bench = FakeBench(order)
    pump = Pump(bench.roles, pump_settings(order=order), limits())
    pump.prepare()
    pump.set_fluence(100.0)
    pump.open()
    assert bench.table.is_open
    return bench, pump


def jam_and_lie(bench: FakeBench) -> None:
    bench.shutter.jammed, bench.shutter.says_open = True, False


@pytest.mark.parametrize("order", BEHIND_ORDERS)
def test_a_meter_behind_the_shutter_sees_that_closed_is_a_lie(order: Order) -> None:
    bench, pump = lit(order)
    jam_and_lie(bench)
    bench.table.events.clear()
    with pytest.raises(SafetyStop, match=r"reports closed, but .* still sees .* W") as told:
        pump.shut()
    assert "block the beam manually" in told.value.hint
    assert any(event.startswith("move") for event in bench.table.events), "the attenuator was not dropped"
    assert bench.table.fluence() < 3.0  # the least transmission: all that can be done
    assert bench.table.flashes == 0


@pytest.mark.parametrize("order", BEHIND_ORDERS)
@pytest.mark.parametrize("closed_before", [False, True])
def test_the_last_closing_is_judged_too(order: Order, closed_before: bool) -> None:
    bench, pump = lit(order)
    jam_and_lie(bench)
    if closed_before:
        pump.close()  # nobody has looked behind it
    bench.table.events.clear()
    report = pump.safe()
    assert "reports closed, but" in str(report.failures[0])
    assert report.shutter == "the shutter is NOT confirmed closed"
    assert report.attenuator == "the attenuator is at its lowest transmission"
    assert bench.table.fluence() < 3.0
    assert bench.table.flashes == 0


def test_what_confirms_the_last_closing_is_said() -> None:
    bench, pump = lit(BEHIND)
    report = pump.safe()
    assert str(report) == (
        "the shutter is closed (its sensor and the power meter behind it), "
        "the attenuator is at its lowest transmission"
    )
    assert report.failures == ()
    _bench, pump = lit(FRONT)
    assert "(only its sensor: there is no power meter behind it)" in pump.safe().shutter
    bench = FakeBench(BEHIND)
    bench.table.referenced = False
    report = Pump(bench.roles, pump_settings(order=BEHIND), limits()).safe()
    assert report.shutter == "the shutter is closed (its sensor; it has not been opened)"
    assert report.attenuator == "the attenuator was NOT moved: it is not homed"
    assert report.failures == ()


@pytest.mark.parametrize("reads", ["nothing", "nan"])
def test_a_meter_that_says_nothing_is_no_failure_of_the_shutter(reads: str) -> None:
    bench, pump = lit(BEHIND)
    if reads == "nothing":
        bench.meter.fault = InstrumentTimeout(bench.meter.name, "no reading")
    else:
        bench.meter.offset_w = float("nan")
    report = pump.safe()
    assert report.shutter == (
        "the shutter is closed (only its sensor: the power meter behind it gives no reading)"
    )
    assert report.failures == ()
    bench.assert_safe()


def test_no_reference_is_searched_behind_a_shutter_that_lies() -> None:
    bench, pump = lit(BEHIND)
    jam_and_lie(bench)
    pump.close()
    with pytest.raises(SafetyStop, match="reports closed, but"):
        pump.home()
    assert "home in the light" not in bench.table.events
    assert bench.table.flashes == 0


def test_from_then_on_no_closing_is_believed_and_its_light_counts_as_dose() -> None:
    bench, pump = lit(BEHIND)
    jam_and_lie(bench)
    with pytest.raises(SafetyStop):
        pump.shut()
    dose = pump.dose_uj_cm2
    bench.clock.sleep(10.0)
    assert pump.dose_uj_cm2 > dose + 5.0 * bench.table.fluence() * 1000.0
    with pytest.raises(SafetyStop, match="reports closed, but"):
        pump.close()
    assert any("reports closed, but" in str(failure) for failure in pump.safe().failures)


@pytest.mark.parametrize("order", BEHIND_ORDERS)
def test_an_honest_shutter_behind_which_the_meter_drifts_is_no_liar(order: Order) -> None:
    bench, pump = lit(order)
    bench.meter.offset_w = 0.02 * bench.table.power_w()
    pump.shut()
    assert not bench.table.is_open


def test_in_front_of_the_shutter_the_meter_cannot_tell() -> None:
    bench, pump = lit(FRONT)
    jam_and_lie(bench)
    pump.shut()  # nobody uses the spectrometer here, which could
    assert bench.table.is_open


def test_a_sweep_ends_at_the_first_closing_that_is_a_lie() -> None:
    bench = FakeBench(BEHIND)
    pump = Pump(bench.roles, pump_settings(order=BEHIND), limits())
    points = sweep(PLAN, bench.roles, pump, BANDS)
    honest = bench.shutter.close_beam

    def close_beam() -> None:
        bench.shutter.says_open = False if bench.table.is_open else None
        if not bench.table.is_open:
            honest()

    bench.shutter.close_beam = close_beam  # type: ignore[method-assign]
    bench.shutter.open = lambda: bench.table.set_shutter(open_=True)  # type: ignore[method-assign]
    with pytest.raises(SafetyStop, match="reports closed, but") as told:
        list(points)
    assert any("NOT MADE SAFE" in note for note in told.value.__notes__)
    assert bench.table.fluence() < 3.0


@pytest.mark.parametrize("order", BEHIND_ORDERS)
def test_a_shutter_that_says_open_but_gives_no_light_is_told_by_the_meter(order: Order) -> None:
    bench = FakeBench(order)
    pump = Pump(bench.roles, pump_settings(order=order), limits(), patience_s=0.5)
    pump.prepare()
    bench.shutter.jammed, bench.shutter.says_open = True, True
    with pytest.raises(SafetyStop) as told:
        pump.set_fluence(100.0)
    # The first closing of the setting finds a shutter that does not say "closed".
    assert "does not confirm that it is closed" in told.value.message
    bench.shutter.says_open = None
    bench.table.is_open = False
    open_ = bench.shutter.open

    def pretend() -> None:
        open_()
        bench.shutter.says_open = True

    bench.shutter.open = pretend  # type: ignore[method-assign]
    with pytest.raises(SafetyStop, match="the meter says") as told:
        pump.set_fluence(100.0)
    assert "light passes the shutter, which reports open" in told.value.hint


def test_before_the_shutter_points_without_light_carry_a_flag() -> None:
    bench = FakeBench(FRONT)
    pump = Pump(bench.roles, pump_settings(order=FRONT), limits())
    bench.shutter.open = lambda: setattr(bench.shutter, "says_open", True)  # type: ignore[method-assign]
    bench.shutter.close_beam = lambda: setattr(bench.shutter, "says_open", False)  # type: ignore[method-assign]
    points = list(sweep(PLAN, bench.roles, pump, BANDS))
    assert len(points) == 3
    assert all("no_signal" in point.flags for point in points)


@pytest.mark.parametrize("order", [FRONT, BEHIND])
def test_on_the_whole_simulated_bench(tmp_path: Path, order: Order) -> None:
    """Wires, drivers, runner and file: the blade sticks open and its switch says what was commanded."""
    settings = presets.scene("ola", "typical", 5)
    optics = dataclasses.replace(settings.optics, order=order)
    plan = FaultPlan.parse(
        '[[fault]]\nkind = "failed-shutter"\ninstrument = "shutter"\nmatch = "^ens$"\nnth = 4\n'
        'readback = "commanded"\n'
    )
    clock, shown = SteppedClock(), list[Event]()
    with SimulatedBench(dataclasses.replace(settings, optics=optics), clock, faults=plan) as bench:
        with pytest.raises(RunFailed, match="reports closed, but") as told:
            run_sweep(
                parse_bench(bench.bench_toml(1.0)),
                PLAN,
                RunRequest(tmp_path, "OLA"),
                stop=threading.Event(),
                on_event=shown.append,
                clock=clock,
            )
        assert bench.scene.mount.angle_deg() == pytest.approx(settings.optics.zero_deg + 45.0, abs=0.2)
    h5 = told.value.report.h5
    assert h5 is not None
    run = read_run(h5)
    assert run.status == "failed"
    assert len(run) == sum(isinstance(event, Measured) for event in shown)
    assert any("NOT MADE SAFE" in event.text for event in run.events)
    assert verify(h5) == ()
    assert told.value.report.threshold.reason == DOUBT
    assert told.value.report.threshold.status == "refused"
