"""What can happen between two statements while meter and spectrometer are at work: light never comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from patience import PATIENCE_S
from procedures_fakes import BANDS, BEHIND, FRONT, FakeBench, Order, limits, pump_settings

from labctl.model.clock import ScaledClock, Stop
from labctl.model.errors import SafetyStop, ShutterLied
from labctl.model.plan import SweepPlan
from labctl.model.records import PowerReading, Spectrum, SweepPoint
from procedures.fluence_sweep import sweep
from procedures.gate.pump import Pump
from procedures.point.exposure import ExposureSequence
from procedures.point.metering import Metering

busy = threading.Event().wait
"""Seconds of wall time in which this thread does nothing, and looks at no stop flag."""

PLAN = SweepPlan(
    start_uj_cm2=40.0, stop_uj_cm2=120.0, points=2, average=4, integration_s=(0.2,), reference_every=0
)


class Bench:
    """A sweep over fakes; ``changes`` holds what the shutter did, in order."""

    def __init__(self, order: Order = FRONT, speed: float = 10.0, top: float = 700.0, **more: Any) -> None:
        self.fakes = FakeBench(order, ScaledClock(speed))
        self.pump = Pump(self.fakes.roles, pump_settings(order=order), limits(top, **more))
        self.changes: list[str] = []
        self.points: list[SweepPoint] = []
        shut = self.fakes.table.set_shutter

        def noted(*, open_: bool) -> None:
            shut(open_=open_)
            self.changes.append("open" if open_ else "close")

        self.fakes.table.set_shutter = noted  # type: ignore[method-assign]

    def run(self, stop: Stop | None = None, **changes: Any) -> None:
        for point in sweep(replace(PLAN, **changes), self.fakes.roles, self.pump, BANDS, stop=stop):
            self.points.append(point)

    def on_lit_exposure(self, act: Callable[[], None]) -> None:
        """Do something once, as the first exposure in the light begins."""
        acquire, done = self.fakes.spectrometer.acquire, [False]

        def acting(stop: Stop | None = None) -> Spectrum:
            if self.fakes.table.is_open and not done[0]:
                done[0] = True
                act()
            return acquire(stop)

        self.fakes.spectrometer.acquire = acting  # type: ignore[method-assign]


def test_light_does_not_come_back_after_a_reading_above_the_limit_between_two_exposure_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench, hot = Bench(top=130.0), threading.Event()
    bench.fakes.table.scale_at = lambda _s: 6.0 if hot.is_set() else 1.0
    better = ExposureSequence._better

    def slow(self: ExposureSequence, *given: Any) -> float | None:
        found = better(self, *given)
        if found is not None and not hot.is_set():
            hot.set()
            busy(0.1)
        return found

    monkeypatch.setattr(ExposureSequence, "_better", slow)
    with pytest.raises(SafetyStop, match="the meter says"):
        bench.run(integration_s=(), retries=0)
    assert hot.is_set()
    assert bench.points == []
    assert bench.changes == ["open", "close"]
    bench.fakes.assert_safe()


def test_a_point_is_not_stored_with_a_last_reading_above_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, hot = Bench(top=130.0), threading.Event()
    bench.fakes.table.scale_at = lambda _s: 6.0 if hot.is_set() else 1.0
    exposed = Metering.exposed

    def jumping(self: Metering) -> None:
        exposed(self)
        hot.set()

    monkeypatch.setattr(Metering, "exposed", jumping)
    with pytest.raises(SafetyStop, match="the meter says"):
        bench.run(retries=0)
    assert bench.points == []
    bench.fakes.assert_safe()


@pytest.mark.parametrize("error", [SafetyStop("nobody watches"), KeyboardInterrupt()])
def test_what_ends_the_light_is_told_whatever_the_meter_then_sees(error: BaseException) -> None:
    bench = Bench(BEHIND)

    def end() -> None:
        bench.fakes.shutter.close_beam()
        busy(0.1)
        raise error

    bench.on_lit_exposure(end)
    with pytest.raises(type(error)):
        bench.run()
    assert bench.points == []
    assert bench.changes == ["open", "close"]


def test_a_shutter_closed_by_its_panel_behind_which_the_meter_sees_no_energy_ends_the_run() -> None:
    bench = Bench(BEHIND)
    bench.on_lit_exposure(bench.fakes.shutter.close_beam)
    with pytest.raises(SafetyStop, match="closed when it should be open"):
        bench.run()
    assert bench.changes == ["open", "close"]


def test_a_thread_that_exposes_and_hangs_asks_for_no_more_readings() -> None:
    """The watchdog would take them for signs of life."""
    bench, begun = Bench(), list[str]()
    read = bench.fakes.meter.read

    def noted(count: int = 1, stop: Stop | None = None) -> PowerReading:
        begun.append(threading.current_thread().name)
        return read(count, stop)

    bench.fakes.meter.read = noted  # type: ignore[method-assign]
    during: list[int] = []

    def hang() -> None:
        before = len(begun)
        busy(0.5)  # fifty readings of this bench
        during.append(len(begun) - before)

    bench.on_lit_exposure(hang)
    bench.run()
    assert during
    assert during[0] <= 1


def test_waiting_for_readings_in_the_light_keeps_the_dose_limit() -> None:
    def dose(limit: float | None) -> float:
        bench = Bench(BEHIND, 4.0, max_dose_uj_cm2=limit)
        read = bench.fakes.meter.read

        def slow(count: int = 1, stop: Stop | None = None) -> PowerReading:
            bench.fakes.clock.sleep(1.0 * count, stop)
            return read(count, stop)

        bench.fakes.meter.read = slow  # type: ignore[method-assign]
        if limit is None:
            bench.run(average=1, integration_s=(0.1,))
        else:
            with pytest.raises(SafetyStop, match="dose"):
                bench.run(average=1, integration_s=(0.1,))
            bench.fakes.assert_safe()
        return bench.fakes.table.dose

    whole = dose(None)
    for part in (0.97, 0.9):
        assert dose(part * whole) <= part * whole


def test_light_that_a_lying_shutter_let_through_while_the_plate_turned_is_in_the_dose() -> None:
    bench = Bench(speed=5.0)
    table, shutter, closings = bench.fakes.table, bench.fakes.shutter, [0]
    close = shutter.close_beam

    def lying() -> None:
        closings[0] += table.is_open
        if closings[0] == 2:
            shutter.jammed, shutter.says_open = True, False
        close()

    shutter.close_beam = lying  # type: ignore[method-assign]
    with pytest.raises(ShutterLied):
        bench.run(start_uj_cm2=60.0, stop_uj_cm2=240.0, points=4, integration_s=(0.1,))
    table.account()
    assert closings[0] >= 2
    assert bench.pump.dose_uj_cm2 >= 0.95 * table.dose
    assert table.flashes == 0


def test_readings_that_scatter_do_not_end_a_run_near_the_limit_but_their_mean_does() -> None:
    for seed in range(3):
        bench = Bench(speed=20.0, top=121.0)
        bench.fakes.meter.rng, bench.fakes.meter.noise_rel = np.random.default_rng(seed), 0.01
        bench.run(start_uj_cm2=90.0, stop_uj_cm2=119.0, average=8)
        assert len(bench.points) == 2
    bench = Bench(speed=20.0, top=121.0)
    bench.on_lit_exposure(lambda: setattr(bench.fakes.table, "scale", 1.04))
    with pytest.raises(SafetyStop, match="above the"):
        bench.run(start_uj_cm2=119.0, stop_uj_cm2=120.0, average=8)


@pytest.mark.parametrize("order", [FRONT, BEHIND])
def test_the_scatter_of_the_readings_is_in_the_error_of_every_point(order: Order) -> None:
    """Four exposures of a fifth of a second hold 800 pulses; readings of 0.1 s scatter by 4 %."""
    bench = Bench(order, 20.0)
    bench.run(points=5, start_uj_cm2=60.0)
    quiet = [point.fluence_sigma_rel for point in bench.points]
    bench = Bench(order, 20.0)
    bench.fakes.meter.noise_rel = 0.03
    bench.run(points=5, start_uj_cm2=60.0)
    noisy = [point.fluence_sigma_rel for point in bench.points]
    assert max(quiet) < 0.002
    assert min(noisy[1:]) > 0.004


def test_an_interrupt_while_a_look_is_waited_for_leaves_the_spectrometer_to_one_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench, inside, overlaps = Bench(speed=5.0), list[str](), list[str]()
    acquire = bench.fakes.spectrometer.acquire

    def alone(stop: Stop | None = None) -> Spectrum:
        me = threading.current_thread().name
        overlaps.extend(f"{me} while {other}" for other in inside)
        inside.append(me)
        try:
            return acquire(stop)
        finally:
            inside.remove(me)

    bench.fakes.spectrometer.acquire = alone  # type: ignore[method-assign]
    from procedures.point.beside import Beside

    wait, waits = Beside.wait, [0]

    def interrupted(self: Beside[Any], deadline_s: float) -> None:
        if "spectrometer" in self._instrument and threading.current_thread() is threading.main_thread():
            waits[0] += 1
            if waits[0] == 1:
                raise KeyboardInterrupt
        wait(self, deadline_s)

    monkeypatch.setattr(Beside, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench.run(points=3)
    assert waits[0] >= 1
    assert overlaps == []
    bench.fakes.assert_safe()
    end_s = time.monotonic() + PATIENCE_S
    while [t for t in threading.enumerate() if t.name.startswith("beside")] and time.monotonic() < end_s:
        busy(0.02)
    assert not [t for t in threading.enumerate() if t.name.startswith("beside")]
