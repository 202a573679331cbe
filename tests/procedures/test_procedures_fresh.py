"""Exposures that are too old, automatic exposure, and darks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from procedures_fakes import BANDS, FakeBench, FakeSink, limits, pump_settings

from labctl.model.errors import InstrumentError, InstrumentTimeout, SafetyStop
from labctl.model.plan import SweepPlan
from labctl.model.records import Spectrum
from procedures.gate.pump import Pump
from procedures.point.exposure import AutoExposure, SaturationCheck, ladder, pulses_in
from procedures.point.reduction import Darks
from procedures.point.stale_frames import StaleFrameFilter

PLAN = SweepPlan(average=10)


def fresh_of(bench: FakeBench, changed_at_s: float = 0.0) -> StaleFrameFilter:
    fresh = StaleFrameFilter(bench.spectrometer, bench.clock, lambda: changed_at_s)
    fresh.set_integration(0.1)
    return fresh


def test_the_first_exposure_after_a_change_is_dropped_whatever_its_stamp_says() -> None:
    bench = FakeBench()
    fresh = fresh_of(bench)
    assert fresh.acquire().counts.max() < 9000  # the one with 9999 counts everywhere was an old one
    assert fresh.discarded == 1
    fresh.acquire()
    assert fresh.discarded == 1
    fresh.set_integration(0.1)
    fresh.acquire()
    assert fresh.discarded == 1  # nothing was changed
    fresh.set_integration(0.2)
    fresh.acquire()
    assert fresh.discarded == 2


def test_exposures_begun_before_the_light_changed_are_dropped_by_their_start_time() -> None:
    bench = FakeBench()
    fresh = fresh_of(bench)
    fresh.acquire()
    bench.spectrometer.stale_stamp = 3
    spectrum = fresh.acquire()
    assert fresh.discarded == 1 + 3
    assert spectrum.start_s >= 0


def test_a_spectrometer_that_has_only_old_exposures_is_an_error() -> None:
    bench = FakeBench()
    bench.spectrometer.stale_stamp = 1000
    with pytest.raises(InstrumentError, match="before the last change"):
        fresh_of(bench).acquire()


@pytest.mark.parametrize("wrong", ["integration", "pixels"])
def test_an_exposure_of_another_setting_is_an_error(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = FakeBench()
    acquire = bench.spectrometer.acquire

    def other(stop: object = None) -> Spectrum:
        spectrum = acquire()
        if wrong == "integration":
            return replace(spectrum, integration_s=0.5)
        return replace(spectrum, counts=spectrum.counts[:-1])

    monkeypatch.setattr(bench.spectrometer, "acquire", other)
    with pytest.raises(InstrumentError):
        fresh_of(bench).acquire()


def test_a_timeout_of_an_exposure_is_told_at_once_since_there_may_be_light() -> None:
    bench = FakeBench()
    fresh = fresh_of(bench)
    bench.spectrometer.timeouts = [InstrumentTimeout("spectrometer", "late")]
    with pytest.raises(InstrumentTimeout):
        fresh.acquire()


def test_a_spectrometer_that_was_restarted_gets_its_exposure_time_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = FakeBench()
    fresh = fresh_of(bench)
    fresh.set_integration(0.2)
    fresh.acquire()
    bench.spectrometer.integration_s = 0.01
    before = bench.spectrometer.acquired
    assert fresh.acquire().integration_s == 0.2
    assert bench.spectrometer.acquired == before + 3  # one of the wrong time, one perhaps still of it, this


def test_an_exposure_time_is_sent_when_it_changes_and_after_a_time_out() -> None:
    bench = FakeBench()
    fresh, sent = fresh_of(bench), list[float]()
    set_integration = bench.spectrometer.set_integration

    def noted(seconds: float) -> float:
        sent.append(seconds)
        return set_integration(seconds)

    bench.spectrometer.set_integration = noted  # type: ignore[method-assign]
    for seconds in (0.2, 0.2, 0.1, 0.1):
        fresh.set_integration(seconds)
    assert sent == [0.2, 0.1]
    bench.spectrometer.timeouts = [InstrumentTimeout("spectrometer", "late")]
    with pytest.raises(InstrumentTimeout):
        fresh.acquire()
    fresh.set_integration(0.1)  # the device may have been opened anew, with a time of its own
    assert sent == [0.2, 0.1, 0.1]


# --- automatic exposure ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "rate_hz", "expected"),
    [
        ({}, 1000.0, (0.1, 0.2, 0.5)),
        ({"max_integration_s": 3.0}, 1000.0, (0.1, 0.2, 0.5, 1.0, 2.0)),
        ({"min_pulses": 300}, 1000.0, (0.3, 0.5)),
        ({"integration_s": (0.5, 0.15)}, 1000.0, (0.15, 0.5)),
        ({"max_integration_s": 0.02}, 1e5, (0.001, 0.002, 0.005, 0.01, 0.02)),
    ],
)
def test_the_ladder_is_short_and_holds_enough_pulses(
    changes: dict[str, object], rate_hz: float, expected: tuple[float, ...]
) -> None:
    plan = replace(PLAN, **changes)  # type: ignore[arg-type]
    assert ladder(plan, rate_hz, FakeBench().spectrometer.info) == pytest.approx(expected)


@pytest.mark.parametrize("rate_hz", [987.0, 1000.0, 1030.7, 250.0])
def test_exposures_last_whole_pulse_periods(rate_hz: float) -> None:
    plan = replace(PLAN, max_integration_s=2.0)
    for seconds in ladder(plan, rate_hz, FakeBench().spectrometer.info):
        assert seconds * rate_hz == pytest.approx(round(seconds * rate_hz))
        assert round(seconds * rate_hz) >= 100
        assert pulses_in(seconds, rate_hz, triggered=False) == pytest.approx(seconds * rate_hz)


def test_triggered_exposures_end_between_two_pulses() -> None:
    plan = replace(PLAN, triggered=True, integration_s=(0.01,))
    (seconds,) = ladder(plan, 1000.0, FakeBench().spectrometer.info)
    assert seconds == pytest.approx(9.5e-3)
    assert pulses_in(seconds, 1000.0, triggered=True) == pytest.approx(10.0)


def test_saturation_is_judged_in_the_bands_and_a_margin_only() -> None:
    info = FakeBench().spectrometer.info
    judge = SaturationCheck(info, BANDS, margin_nm=5.0)
    for wavelength, counts in ((800.0, False), (400.0, False), (563.0, True), (502.0, True), (540.0, True)):
        frame = np.full(1000, 1000.0)
        frame[np.argmin(np.abs(info.wavelength_nm - wavelength))] = 65535.0
        assert bool(judge.saturated(frame[None])[0]) is counts
        assert (judge.highest(frame) > 0.9) is counts


def test_one_hot_pixel_does_not_choose_the_exposure() -> None:
    judge = SaturationCheck(FakeBench().spectrometer.info, BANDS, 5.0)
    frame = np.full(1000, 1000.0)
    frame[330] = 60000.0
    assert judge.light(frame, None) < 0.01
    assert judge.light(frame + 500.0, frame) == pytest.approx(500.0 / 65535.0)


def test_the_next_exposure_is_predicted_from_the_growth_seen() -> None:
    auto = AutoExposure((0.1, 0.2, 0.5, 1.0), PLAN, photon_order=2)
    assert auto.predict(50.0) == 0.1
    auto.learn(50.0, 0.6)
    assert auto.predict(50.0) == 1.0
    assert auto.predict(60.0) == 0.5  # 0.6 x 1.44 a second
    auto.learn(60.0, 1.2)  # steeper than the square
    assert auto.predict(75.0) == 0.2
    assert auto.predict(50.0) == 1.0
    assert auto.predict(25.0) == 1.0


def test_a_saturated_exposure_is_redone_shorter_and_a_faint_one_longer() -> None:
    auto = AutoExposure((0.1, 0.2, 0.5, 1.0), PLAN, photon_order=2)
    assert auto.shorter(1.0, 1.0) == 0.5
    assert auto.shorter(1.0, 0.9) == 0.5
    assert auto.shorter(0.1, 1.0) is None
    assert auto.longer(0.1, 0.01) == 1.0
    assert auto.longer(0.1, 0.2) == 0.2
    assert auto.longer(0.5, 0.4) is None
    assert auto.longer(0.1, 0.01, 0.3) == 0.2


def test_light_on_the_sample_is_bounded_by_the_ladder() -> None:
    auto = AutoExposure((0.1, 0.2, 0.5, 1.0), replace(PLAN, average=9, max_light_s=3.0), photon_order=2)
    assert auto.times_s == (0.1, 0.2)


# --- darks -----------------------------------------------------------------------------------------


def darks_of(bench: FakeBench, plan: SweepPlan = PLAN) -> tuple[Darks, FakeSink, Pump]:
    pump = Pump(bench.roles, pump_settings(), limits())
    pump.prepare()
    sink = FakeSink()
    fresh = StaleFrameFilter(bench.spectrometer, bench.clock, lambda: pump.changed_at_s)
    return Darks(pump, fresh, bench.clock, plan, sink), sink, pump


def test_a_dark_is_taken_in_the_dark_four_times_as_often_and_stored() -> None:
    bench = FakeBench()
    darks, sink, pump = darks_of(bench)
    pump.set_fluence(200.0)
    pump.open()
    record = darks.get(0.1, 25.0)
    assert not bench.table.is_open
    assert record.n == 4 * 10
    assert record.counts == pytest.approx(np.full(1000, 1000.0), abs=3.0)
    assert record.spread.mean() == pytest.approx(3.0, rel=0.1)
    assert (record.kind, record.integration_s, record.temperature_c) == ("dark", 0.1, 25.0)
    assert sink.darks == [record]


def test_a_dark_is_shared_until_a_rule_renews_it() -> None:
    bench = FakeBench()
    darks, sink, _pump = darks_of(bench)
    first = darks.get(0.1, 25.0)
    assert darks.get(0.1, 25.15) is first
    assert darks.get(0.2, 25.0).number == 2
    bench.spectrometer.temperature = 25.6
    assert darks.get(0.1, 25.6).number == 3
    bench.clock.sleep(601.0)
    assert darks.get(0.1, 25.6).number == 4
    assert [("0.1 s" in e, "renewed" in e) for e in sink.events] == [(True, True)] * 2
    assert darks.known(0.1) is sink.darks[-1]


def test_a_cosmic_spike_does_not_stay_in_a_dark() -> None:
    bench = FakeBench()
    bench.spectrometer.spike = True
    darks, _sink, _pump = darks_of(bench)
    assert darks.get(0.1, 25.0).counts[320] == pytest.approx(1000.0, abs=4.0)


def test_without_a_confirmed_closed_shutter_there_is_no_dark() -> None:
    bench = FakeBench()
    darks, sink, pump = darks_of(bench)
    pump.set_fluence(100.0)
    pump.open()
    bench.shutter.jammed = True
    with pytest.raises(SafetyStop):
        darks.get(0.1, 25.0)
    assert sink.darks == []


def test_a_top_that_is_flat_below_the_maximum_is_saturated() -> None:
    """A detector that clips at 60000 of 65535 counts; from then on that is its full scale."""
    bench = FakeBench()
    info = bench.spectrometer.info
    rng = np.random.default_rng(1)
    middle = int(np.argmin(np.abs(info.wavelength_nm - sum(BANDS.emission_nm) / 2)))
    line = 70000.0 * np.exp(-(((np.arange(info.wavelength_nm.size) - middle) / 4.0) ** 2))
    frames = 1000.0 + np.round(line + 20.0 * rng.standard_normal((4, line.size)))
    clipped = np.minimum(frames * np.array([[0.5], [1.0], [1.0], [0.5]]), 60000.0)
    judge = SaturationCheck(info, BANDS, 5.0)
    assert judge.saturated(frames * 0.5).tolist() == [False] * 4
    assert judge.saturated(clipped).tolist() == [False, True, True, False]
    assert judge.highest(clipped[1]) == 1.0


def test_the_detector_temperature_is_asked_for_every_ten_seconds_and_after_a_failure() -> None:
    bench = FakeBench()
    fresh = fresh_of(bench)
    assert fresh.temperature_c() == 25.0
    bench.spectrometer.temperature = 26.0
    bench.clock.sleep(9.0)
    assert fresh.temperature_c() == 25.0
    bench.clock.sleep(2.0)
    assert fresh.temperature_c() == 26.0
    bench.spectrometer.temperature = 27.0
    bench.spectrometer.fault = InstrumentTimeout("spectrometer FAKE", "late")
    with pytest.raises(InstrumentTimeout):
        fresh.acquire()
    bench.spectrometer.fault = None
    assert fresh.temperature_c() == 27.0
