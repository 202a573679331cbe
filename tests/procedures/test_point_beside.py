"""Meter and spectrometer at work at the same time, on fakes in fast time: who fails first ends the light."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from lying_scene import LyingShutter, pump_of
from patience import PATIENCE_S
from procedures_fakes import BANDS, BEHIND, FRONT, FakeBench, FakeSink, Order, limits, pump_settings

from benchmarks.scene_roles import BANDS as SCENE_BANDS
from benchmarks.scene_roles import scene_roles
from labctl.model.clock import ScaledClock, SteppedClock, Stop
from labctl.model.errors import Aborted, InstrumentFault, InstrumentTimeout, SafetyStop, ShutterLied
from labctl.model.plan import Direction, SweepPlan
from labctl.model.records import PowerReading, Spectrum, SweepPoint
from procedures.fluence_sweep import sweep
from procedures.gate.pump import Pump
from procedures.point.beside import Beside
from procedures.point.metering import LEAST, reads_beside
from simulators import presets
from simulators.scene import Scene

SPEED = 10.0
PLAN = SweepPlan(
    start_uj_cm2=40.0, stop_uj_cm2=120.0, points=3, average=6, integration_s=(0.2,), reference_every=0
)


class Beamtime:
    """A sweep over fakes whose clock runs by itself."""

    def __init__(self, order: Order = FRONT, **changes: Any) -> None:
        self.bench, self.sink = FakeBench(order, ScaledClock(SPEED)), FakeSink()
        self.pump = Pump(self.bench.roles, pump_settings(order=order), limits())
        self.plan = replace(PLAN, **changes)
        self.exposed: list[tuple[float, bool]] = []
        acquire = self.bench.spectrometer.acquire

        def noted(stop: Stop | None = None) -> Spectrum:
            lit = self.bench.table.is_open
            spectrum = acquire(stop)
            self.exposed.append((spectrum.start_s, lit))
            return spectrum

        self.bench.spectrometer.acquire = noted  # type: ignore[method-assign]

    def points(self, stop: Stop | None = None) -> list[SweepPoint]:
        return list(sweep(self.plan, self.bench.roles, self.pump, BANDS, sink=self.sink, stop=stop))

    def on_reading(self, act: Callable[[], None]) -> None:
        """Do something as each of the meter's readings beside exposures begins."""
        read = self.bench.meter.read

        def acting(count: int = 1, stop: Stop | None = None) -> PowerReading:
            if threading.current_thread().name.startswith("beside"):
                act()
            return read(count, stop)

        self.bench.meter.read = acting  # type: ignore[method-assign]


def test_a_slow_head_and_a_stepped_clock_keep_the_old_order() -> None:
    bench = FakeBench()
    assert not reads_beside(bench.meter, SteppedClock())
    assert reads_beside(bench.meter, ScaledClock())
    bench.meter.settling_s = 10.0
    assert not reads_beside(bench.meter, ScaledClock())


@pytest.mark.parametrize("order", [FRONT, BEHIND])
def test_a_point_holds_readings_taken_while_it_was_exposed(order: Order) -> None:
    run = Beamtime(order)
    beside: list[float] = []
    run.on_reading(lambda: beside.append(run.bench.clock.now_s()))
    points = run.points()
    run.bench.assert_safe()
    assert [p.fluence_uj_cm2 for p in points] == pytest.approx([40.0, 69.3, 120.0], rel=0.02)
    assert len(beside) >= LEAST * len(points)
    assert all("drift" not in p.flags for p in points)
    assert max(p.fluence_sigma_rel for p in points) < 0.01


@pytest.mark.parametrize("order", [FRONT, BEHIND])
def test_no_exposure_is_in_the_light_before_the_setting_was_verified(order: Order) -> None:
    """The pick-off behind the shutter needs it open to verify: nothing is exposed meanwhile."""
    run = Beamtime(order)
    verified: list[float] = []
    opened = Pump.open

    def noted(pump: Pump, *args: Any, **more: Any) -> None:
        assert pump.verified is not None
        verified.append(pump.verified.reading.stop_s)
        opened(pump, *args, **more)

    run.pump.open = lambda *a, **m: noted(run.pump, *a, **m)  # type: ignore[method-assign]
    run.points()
    lit = [start for start, is_lit in run.exposed if is_lit]
    assert lit
    for start in lit:
        assert any(start >= at_s - 0.02 for at_s in verified)
    first = [min(s for s in lit if s >= at_s - 0.02) for at_s in verified]
    assert all(at_s <= start + 0.02 for at_s, start in zip(verified, first, strict=True))


@pytest.mark.parametrize("order", [FRONT, BEHIND])
def test_a_meter_that_fails_beside_a_long_exposure_closes_at_once(order: Order) -> None:
    run = Beamtime(order, integration_s=(5.0,), max_integration_s=5.0, retries=0)
    failed: list[float] = []

    def fail() -> None:
        failed.append(run.bench.clock.now_s())
        raise InstrumentFault("power meter FAKE", "gone")

    run.on_reading(fail)
    closed: list[float] = []
    shut = run.bench.table.set_shutter

    def noted(*, open_: bool) -> None:
        shut(open_=open_)
        if not open_:
            closed.append(run.bench.clock.now_s())

    run.bench.table.set_shutter = noted  # type: ignore[method-assign]
    with pytest.raises(InstrumentFault, match="gone"):
        run.points()
    run.bench.assert_safe()
    assert min(at for at in closed if at >= failed[0]) - failed[0] < 3.0  # the exposure lasts for 5


def test_an_energy_that_jumps_beside_the_exposures_repeats_the_point_from_the_dark() -> None:
    run = Beamtime()
    table, readings = run.bench.table, [0]

    def jump() -> None:
        readings[0] += 1
        if readings[0] == 2:
            gone_s = table.clock.now_s()
            table.scale_at = lambda now: 0.3 if gone_s < now < gone_s + 1.0 else 1.0

    run.on_reading(jump)
    points = run.points()
    assert len(points) == 3
    assert any("point 1 is repeated" in event for event in run.sink.events)
    assert points[0].fluence_uj_cm2 == pytest.approx(40.0, rel=0.02)
    run.bench.assert_safe()


def test_a_spectrometer_that_fails_ends_the_light_before_the_meter_has_answered() -> None:
    run = Beamtime(retries=0)
    reading, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        reading.set()
        go_on.wait(PATIENCE_S)

    run.on_reading(hang)
    acquire = run.bench.spectrometer.acquire

    def failing(stop: Stop | None = None) -> Spectrum:
        if reading.is_set():
            raise InstrumentTimeout("spectrometer FAKE", "late")
        return acquire(stop)

    run.bench.spectrometer.acquire = failing  # type: ignore[method-assign]
    dark_first: list[bool] = []
    shut = run.bench.table.set_shutter

    def noted(*, open_: bool) -> None:
        shut(open_=open_)
        if not open_ and reading.is_set():
            dark_first.append(not go_on.is_set())
            go_on.set()

    run.bench.table.set_shutter = noted  # type: ignore[method-assign]
    with pytest.raises(InstrumentTimeout, match="late"):
        run.points()
    run.bench.assert_safe()
    assert dark_first[0]


def test_a_change_in_the_midst_of_a_series_is_flagged() -> None:
    run = Beamtime(average=12)
    table = run.bench.table
    count = [0]

    def fade() -> None:
        count[0] += 1
        table.scale = 1.0 if count[0] < 9 else 0.95

    run.on_reading(fade)
    assert "drift" in run.points()[0].flags


def test_a_stop_beside_the_exposures_ends_safe() -> None:
    run, stop = Beamtime(), threading.Event()
    run.on_reading(stop.set)
    with pytest.raises(Aborted):
        run.points(stop)
    run.bench.assert_safe()


def test_a_confirmed_closing_is_not_made_twice() -> None:
    run = Beamtime()
    closings: list[bool] = []
    close = run.bench.shutter.close_beam

    def noted() -> None:
        closings.append(run.bench.table.is_open)
        close()

    run.bench.shutter.close_beam = noted  # type: ignore[method-assign]
    found = sweep(run.plan, run.bench.roles, run.pump, BANDS)
    next(found)
    closings.clear()
    next(found)
    assert closings == [True]
    found.close()


def scene_in_fast_time(nth: int) -> tuple[Scene, LyingShutter, Any, Pump]:
    scene = Scene(presets.scene("ola", "typical", 1), ScaledClock(SPEED))
    shutter = LyingShutter(scene, nth)
    roles = replace(scene_roles(scene, scene.clock), shutter=shutter)
    return scene, shutter, roles, pump_of(scene, roles)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_shutter_that_lies_while_the_plate_moves_is_seen_and_the_way_was_harmless(
    direction: Direction,
) -> None:
    scene, shutter, roles, pump = scene_in_fast_time(2)
    plan = replace(PLAN, start_uj_cm2=60.0, stop_uj_cm2=150.0, points=4, average=2, direction=direction)
    brightest: list[float] = []
    move = roles.attenuator.move_to

    def noted(angle_deg: float, stop: Stop | None = None) -> float:
        if shutter.lies:
            brightest.append(pump.curve.highest_between(pump.angle_deg, angle_deg))
        return float(move(angle_deg, stop))

    roles.attenuator.move_to = noted
    points: list[SweepPoint] = []
    with pytest.raises(ShutterLied, match="still sees"):
        points.extend(sweep(plan, roles, pump, SCENE_BANDS))
    assert len(points) == 2
    full = pump.aim.reach_uj_cm2()[1]
    assert max(brightest) * full < 1.1 * 150.0
    assert scene.beam.malus(scene.mount.angle_deg()) < 1.5 * scene.settings.optics.t_min


def test_a_look_that_nobody_asks_for_ends_the_light_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("procedures.point.light_witness._UNASKED_S", 0.2)
    scene, _, roles, pump = scene_in_fast_time(2)
    told = threading.Event()
    found = sweep(replace(PLAN, start_uj_cm2=100.0, average=2), roles, pump, SCENE_BANDS)
    next(found)
    pump.tell = lambda _line: told.set()
    next(found)  # and the script pauses, with a shutter that says "closed"
    assert told.wait(PATIENCE_S)
    with pytest.raises(SafetyStop):
        next(found)
    assert scene.beam.malus(scene.mount.angle_deg()) < 1.5 * scene.settings.optics.t_min


def test_work_beside_is_given_up_at_its_deadline() -> None:
    go_on = threading.Event()
    work = Beside("meter", lambda _stop: go_on.wait(PATIENCE_S), None)
    work.start()
    with pytest.raises(InstrumentTimeout, match="still busy"):
        work.result(0.05)
    go_on.set()
    assert work.result(PATIENCE_S)
