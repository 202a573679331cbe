"""Whole sweeps over fakes: order of what is stored and shown, dose, flags, and every way to end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from procedures_fakes import (
    BANDS,
    BEHIND,
    FRONT,
    ORDERS,
    RATE_HZ,
    FakeBench,
    FakeSink,
    StopAfter,
    limits,
    pump_settings,
)

from labctl.model.errors import (
    Aborted,
    ConfigError,
    DataError,
    InstrumentFault,
    InstrumentTimeout,
    LabctlError,
    SafetyStop,
)
from labctl.model.plan import SweepPlan
from labctl.model.pump import Bands, Element, Limits
from labctl.model.records import SweepPoint
from procedures.fluence_sweep import sweep
from procedures.gate.pump import Pump

Order = tuple[Element, Element, Element, Element]
PLAN = SweepPlan(start_uj_cm2=40.0, stop_uj_cm2=120.0, points=5, average=4, max_integration_s=0.2)
PROOF = 14
"""Exposures that prove the exposure time, before the first light."""


class Run:
    """A sweep over a fake bench, ready to be iterated."""

    def __init__(self, order: Order = FRONT, limit: Limits | None = None, **changes: Any) -> None:
        self.bench, self.sink = FakeBench(order), FakeSink()
        self.plan = replace(PLAN, **changes)
        self.pump = Pump(self.bench.roles, pump_settings(order=order), limit or limits())

    def points(self, **more: Any) -> Iterator[SweepPoint]:
        return sweep(self.plan, self.bench.roles, self.pump, BANDS, sink=self.sink, **more)

    def all(self, **more: Any) -> list[SweepPoint]:
        found = list(self.points(**more))
        self.bench.assert_safe()
        return found


@pytest.mark.parametrize("order", ORDERS)
def test_a_sweep_measures_every_fluence_and_ends_safe(order: Order) -> None:
    run = Run(order)
    points = run.all()
    assert [p.index for p in points] == [0, 1, 2, 3, 4]
    assert [p.fluence_uj_cm2 for p in points] == pytest.approx(
        [p.fluence_set_uj_cm2 for p in points], rel=0.01
    )
    below = [p for p in points if p.fluence_uj_cm2 < 79]
    slope = np.polyfit(np.log([p.fluence_uj_cm2 for p in below]), np.log([p.signal for p in below]), 1)[0]
    assert slope == pytest.approx(2.0, abs=0.05)
    assert points[-1].peak_count == 1
    assert points[-1].peak_wavelength_nm == pytest.approx(540.0, abs=0.5)


def test_nothing_is_yielded_before_it_is_stored_nor_stored_before_its_dark() -> None:
    run = Run()
    for number, point in enumerate(run.points(), start=1):
        assert len(run.sink.points) == number
        assert run.sink.points[-1] is point
        stored = [record.number for record in run.sink.darks]
        assert point.dark_number in stored
        assert run.sink.darks[stored.index(point.dark_number)].integration_s == point.integration_s
    assert run.sink.log[0] == "dark 1"


@pytest.mark.parametrize("keep_open", [False, True])
def test_light_is_on_only_while_measuring_unless_told_otherwise(*, keep_open: bool) -> None:
    run = Run(keep_open=keep_open)
    states = []
    for point in run.points():
        states.append(run.bench.table.is_open)
        assert ("shutter_open" in point.flags) is keep_open
    assert any(states) is keep_open
    run.bench.assert_safe()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("direction", ["up", "down", "up-down", "shuffled"])
def test_the_dose_of_a_point_is_what_the_sample_got(order: Order, direction: str) -> None:
    run = Run(order, direction=direction)
    last = 0.0
    for point in run.points():
        run.bench.table.account()
        assert run.bench.table.dose * 0.999 <= point.dose_uj_cm2 <= run.bench.table.dose * 1.04
        assert point.dose_uj_cm2 > last
        last = point.dose_uj_cm2
    assert last > 4 * 0.1 * RATE_HZ * sum(f for f in (40, 53, 69, 91, 120))


def test_every_run_has_a_dose_of_its_own() -> None:
    run = Run()
    first, second = run.all(), run.all()
    assert second[-1].dose_uj_cm2 == pytest.approx(first[-1].dose_uj_cm2, rel=0.2)


def test_an_abort_at_the_blank_does_not_leave_the_next_dose_uncounted() -> None:
    run = Run(background="blank")
    with pytest.raises(Aborted):
        list(run.points(insert=lambda _what: None, stop=StopAfter(60)))
    assert run.bench.table.dose > 0
    assert run.pump.light.on_sample
    run.bench.assert_safe()


def test_signals_are_counts_per_pulse_whatever_the_exposure() -> None:
    signals = [
        [p.signal for p in Run(integration_s=(t,), start_uj_cm2=50, stop_uj_cm2=70).all()] for t in (0.1, 0.2)
    ]
    assert signals[0] == pytest.approx(signals[1], rel=0.02)


def test_saturated_exposures_are_redone_shorter_and_their_light_is_counted() -> None:
    run = Run(max_integration_s=0.5, start_uj_cm2=50.0, stop_uj_cm2=160.0, points=4)
    run.bench.spectrometer.gain = 1.5
    points = run.all()
    assert points[0].integration_s == 0.5
    assert points[-1].integration_s == 0.1
    assert all(p.saturated_exposures == 0 and p.saturation < 0.98 for p in points)
    assert run.bench.table.dose <= points[-1].dose_uj_cm2


def test_where_nothing_shorter_is_allowed_saturation_is_flagged() -> None:
    run = Run(start_uj_cm2=100.0, stop_uj_cm2=300.0, points=3)
    run.bench.spectrometer.gain = 5.0
    points = run.all()
    assert points[-1].integration_s == 0.1
    assert points[-1].saturated_exposures == 4
    assert "saturated" in points[-1].flags
    assert points[-1].saturation == 1.0


def test_of_some_saturated_exposures_only_the_sound_ones_are_used() -> None:
    run = Run(integration_s=(0.1,), average=6)
    spectrometer = run.bench.spectrometer
    spectrometer.on_exposure = lambda: setattr(
        spectrometer, "gain", 500.0 if spectrometer.acquired == PROOF + 4 else 1
    )
    point = run.all()[0]
    assert (point.saturated_exposures, point.exposures) == (1, 6)
    assert "saturated" in point.flags
    assert point.signal == pytest.approx(Run(integration_s=(0.1,), average=6).all()[0].signal, rel=0.02)


def test_pump_light_does_not_drive_the_exposure() -> None:
    run = Run()
    run.bench.spectrometer.pump_counts = 1e4
    points = run.all()
    assert points[0].integration_s == 0.2
    assert points[0].saturation < 0.5
    assert points[0].frames.max() == 65535


def test_old_exposures_never_reach_a_point_or_a_dark() -> None:
    run = Run()
    points = run.all()
    assert max(float(p.frames[:, :100].max()) for p in points) < 1100  # old ones have 9999 everywhere
    assert max(float(d.counts.max()) for d in run.sink.darks) < 1100


def test_a_change_of_the_laser_during_a_point_is_flagged() -> None:
    run = Run(integration_s=(0.2,))
    run.bench.table.scale_at = lambda now: 1 - 0.012 * now if now < 12 else 0.856
    points = run.all()
    assert "drift" in points[0].flags
    assert "drift" not in points[-1].flags
    assert points[0].power_after_w < 0.98 * points[0].power_before_w


def test_a_laser_that_drops_out_repeats_the_point() -> None:
    run = Run()
    table = run.bench.table
    points = []
    for point in run.points():
        points.append(point)
        if point.index == 1:
            gone_s = table.clock.now_s() + 1.2
            table.scale_at = lambda now, s=gone_s: 0.01 if s < now < s + 2.0 else 1.0  # type: ignore[misc]
    assert len(points) == 5
    assert any("point 3 is repeated" in e for e in run.sink.events)
    assert points[2].fluence_uj_cm2 == pytest.approx(points[2].fluence_set_uj_cm2, rel=0.02)


def test_a_laser_that_fails_within_the_exposures_is_flagged() -> None:
    run = Run(integration_s=(0.1,), average=8)
    spectrometer = run.bench.spectrometer
    spectrometer.on_exposure = lambda: setattr(
        spectrometer, "gain", 0.3 if spectrometer.acquired == PROOF + 5 else 1
    )
    points = run.all()
    assert "dropout" in points[0].flags
    assert "dropout" not in points[1].flags


def test_a_shutter_closed_by_somebody_else_is_noticed() -> None:
    run = Run()

    def interlock() -> None:
        if run.bench.spectrometer.acquired == PROOF + 4:
            run.bench.table.set_shutter(open_=False)

    run.bench.spectrometer.on_exposure = interlock
    with pytest.raises(SafetyStop, match="should be open"):
        list(run.points())
    run.bench.assert_safe()


def test_spikes_are_removed_with_a_record() -> None:
    run = Run(average=8)
    run.bench.spectrometer.spike = True
    flagged = [p for p in run.all() if "spikes" in p.flags]
    assert flagged
    for point in flagged:
        assert point.spikes_removed == len(point.spikes) > 0
        for exposure, pixel, counts in point.spikes:
            assert pixel == 320
            assert counts == pytest.approx(30000.0, rel=0.01)
            assert point.frames[exposure, pixel] > 30000
    plain = Run(average=8, remove_spikes=False)
    plain.bench.spectrometer.spike = True
    assert all(p.spikes == () for p in plain.all())


def test_a_weak_meter_is_flagged() -> None:
    run = Run()
    run.bench.meter.noise_w = 1.5e-8
    flags = [("low_power" in p.flags) for p in run.all()]
    assert flags == [True, False, False, False, False]


def test_blanks_are_measured_first_and_subtracted() -> None:
    asked: list[tuple[str, bool, int]] = []
    run = Run(background="blank")
    spectrometer = run.bench.spectrometer

    def insert(what: Literal["blank", "sample"]) -> None:
        asked.append((what, run.bench.table.is_open, len(run.sink.darks)))
        spectrometer.gain = 0.1 if what == "blank" else 1.1

    points = run.all(insert=insert)
    plain = Run().all()
    assert [what for what, _lit, _n in asked] == ["blank", "sample"]
    assert not any(lit for _what, lit, _n in asked)
    blanks = [r for r in run.sink.darks if r.kind == "blank"]
    assert [b.fluence_uj_cm2 for b in blanks] == pytest.approx(
        [p.fluence_set_uj_cm2 for p in points], rel=0.02
    )
    assert [p.signal for p in points] == pytest.approx([p.signal for p in plain], rel=0.02)
    assert [p.blank_number for p in points] == [b.number for b in blanks]
    assert points[-1].dose_uj_cm2 < 0.7 * run.bench.table.dose  # the blank's light is not the sample's
    with pytest.raises(ConfigError, match="blank"):
        run.points()


def test_a_bad_plan_is_refused_before_anything_moves() -> None:
    run = Run(stop_uj_cm2=2000.0)
    with pytest.raises(ConfigError):
        run.points()
    assert run.bench.table.events == []


@pytest.mark.parametrize(
    ("bands", "key"),
    [
        (Bands((900.0, 950.0), (900.0, 950.0)), "bands.emission_nm"),
        (Bands((505.0, 560.0), (530.1, 530.2)), "bands.lasing_nm"),
    ],
)
def test_bands_that_the_spectrometer_does_not_see_are_refused_before_anything_moves(
    bands: Bands, key: str
) -> None:
    run = Run()
    with pytest.raises(ConfigError, match=r"spectrometer, which sees 390\.0 to 820\.0 nm") as told:
        sweep(run.plan, run.bench.roles, run.pump, bands)
    assert told.value.key == key
    assert run.bench.table.events == []


def test_the_dose_limit_ends_the_sweep_in_the_dark() -> None:
    run = Run(limit=limits(max_dose_uj_cm2=2e5))
    with pytest.raises(SafetyStop, match="dose"):
        list(run.points())
    assert 1 <= len(run.sink.points) < 5
    assert run.bench.table.dose <= 2e5
    run.bench.assert_safe()


def test_dropped_exposures_cannot_pass_the_dose_limit_either() -> None:
    run = Run(stop_uj_cm2=41.0, points=2, average=3, integration_s=(0.1,), limit=limits(max_dose_uj_cm2=26e3))
    spectrometer = run.bench.spectrometer
    spectrometer.on_exposure = lambda: setattr(spectrometer, "stale_stamp", spectrometer.acquired % 2)
    with pytest.raises(SafetyStop, match="dose"):
        next(run.points())
    run.bench.table.account()
    assert 20e3 < run.bench.table.dose <= 26e3


def test_closing_the_generator_makes_safe() -> None:
    run = Run(keep_open=True, integration_s=(0.1,))
    points = run.points()
    next(points)  # its dark closes the shutter, which the second point opens again
    next(points)
    assert run.bench.table.is_open
    points.close()  # type: ignore[attr-defined]
    run.bench.assert_safe()


@pytest.mark.parametrize("order", [FRONT, BEHIND])
def test_a_stop_in_any_wait_ends_safe_with_every_point_stored(order: Order) -> None:
    counter = StopAfter(100_000)
    Run(order, points=2).all(stop=counter)
    waits = 100_000 - counter.questions
    assert waits > 100
    for n in range(0, waits, 3):
        run = Run(order, points=2)
        shown: list[SweepPoint] = []
        with pytest.raises(Aborted):
            shown.extend(run.points(stop=StopAfter(n)))
        run.bench.assert_safe()
        assert len(run.sink.points) <= 2


@pytest.mark.parametrize("device", ["mount", "meter", "spectrometer", "shutter"])
def test_an_instrument_that_dies_ends_the_sweep_as_dark_as_can_be(device: str) -> None:
    run = Run()
    points = run.points()
    next(points)
    getattr(run.bench, device).fault = InstrumentFault(device, "gone")
    with pytest.raises(InstrumentFault) as caught:
        next(points)
    assert not run.bench.table.is_open
    if device in ("mount", "shutter"):
        assert any("NOT MADE SAFE" in note for note in caught.value.__notes__)
        assert any("NOT MADE SAFE" in event for event in run.sink.events)
    else:
        run.bench.assert_safe()


def test_a_full_disk_ends_the_sweep_safe() -> None:
    run = Run()
    points = run.points()
    next(points)
    run.sink.fault = DataError("no space left")
    with pytest.raises(DataError):
        next(points)
    run.bench.assert_safe()
    assert len(run.sink.points) == 1


def test_a_bench_that_cannot_be_made_safe_at_the_end_is_an_error() -> None:
    run = Run(points=2)
    points = run.points()
    next(points)
    next(points)
    run.bench.mount.fault = InstrumentFault("mount", "gone")
    with pytest.raises(LabctlError, match="NOT MADE SAFE"):
        next(points)
    assert not run.bench.table.is_open


def test_a_point_whose_spectrometer_failed_is_repeated_from_the_dark() -> None:
    run = Run()
    points = run.points()
    next(points)
    began = len(run.bench.table.events)
    run.bench.spectrometer.timeouts = [InstrumentTimeout("spectrometer", "late") for _ in range(2)]
    assert [p.index for p in points] == [1, 2, 3, 4]
    run.bench.assert_safe()
    assert any("point 2 is repeated: spectrometer: late" in e for e in run.sink.events)
    light = [e for e in run.bench.table.events[began:] if e in ("open", "close")]
    assert light[:4] == ["open", "close", "open", "close"]


def test_a_meter_that_shows_the_same_digits_at_another_angle_is_not_believed() -> None:
    run = Run(fluences_uj_cm2=(50.0, 55.0, 60.0), spacing="list")
    points = run.points()
    next(points)
    shown = run.bench.meter.read(6)
    run.bench.meter.read = lambda count=1, stop=None: replace(  # type: ignore[method-assign]
        shown, start_s=run.bench.clock.now_s(), stop_s=run.bench.clock.now_s()
    )
    with pytest.raises(SafetyStop, match=r"exactly as at|3 times in a row"):  # whichever is noticed first
        list(points)
    run.bench.assert_safe()
