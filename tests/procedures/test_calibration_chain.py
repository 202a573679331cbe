"""What calibrations find on benches nobody has measured, and what they refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from calibration_scene import CalibrationBench

from labctl.model.calibration import Calibration
from labctl.model.clock import Stop
from labctl.model.errors import CalibrationRefused, ConfigError
from labctl.model.pump import MalusCurve
from labctl.model.records import Identity, PowerReading
from labctl.model.roles import Request
from procedures.calibration.record import report
from procedures.calibration.spot import read_table

SPOT: dict[str, Any] = {"method": "hand", "points": 12, "readings": 2}


def within(calibration: Calibration, name: str, truth: float, *, sigmas: float = 4.0, rel: float) -> None:
    """The truth lies inside some standard errors, and these are no larger than they should be."""
    found = calibration.quantities[name]
    assert abs(found.value - truth) <= sigmas * found.total, (name, found, truth)
    assert found.total <= rel * abs(truth), (name, found, truth)


def test_the_plate_is_found_wherever_its_zero_is() -> None:
    bench = CalibrationBench(5)
    found = bench.run("attenuator")
    zero = found.quantities["zero_deg"]
    assert abs((zero.value - bench.truth.zero_deg + 45) % 90 - 45) < 4 * zero.total < 0.06
    within(found, "leakage", bench.truth.t_min, rel=0.03)
    full_w = bench.truth.max_pulse_energy_j * bench.truth.repetition_rate_hz / bench.truth.pickoff_ratio
    assert found.quantities["max_power"].value == pytest.approx(full_w * bench.truth.meter_scale, rel=0.01)
    assert 0.01 < found.quantities["repeatability"].value < 0.06  # 0.03 is true
    assert found.facts["form"] == "malus"
    assert found.facts["outliers_repeated"] == 0
    assert found.bound_to == ("attenuator",)
    assert any("error due to the mount" in line for line in report(found))
    silent = replace(found, instruments={"shutter": Identity("Thorlabs", "SC10", "")})
    assert report(silent)[0].endswith(" with shutter SC10")


def test_a_range_that_holds_no_minimum_is_refused() -> None:
    bench = CalibrationBench(2)
    low = bench.truth.zero_deg - 5.0
    bench.limits = replace(bench.limits, angle_range_deg=(low, low + 25.0))
    with pytest.raises(CalibrationRefused, match=r"too short|lacks|too few"):
        bench.run("attenuator", readings=2)
    bench.assert_safe(dark=1.1)


def spoilt(bench: CalibrationBench, change: Callable[[int, PowerReading], PowerReading]) -> None:
    """Change what the meter says, by the number of the reading."""
    real, numbers = bench.roles.power_meter.read, iter(range(100_000))

    def read(count: int = 1, stop: Stop | None = None) -> PowerReading:
        return change(next(numbers), real(count, stop))

    bench.roles.power_meter.read = read  # type: ignore[method-assign]


def test_a_frozen_meter_is_refused() -> None:
    bench = CalibrationBench(2)
    spoilt(bench, lambda i, reading: reading if i < 12 else replace(reading, power_w=4e-6, sigma_w=1e-9))
    with pytest.raises(CalibrationRefused, match="exactly as at another setting"):
        bench.run("attenuator", readings=2)


def test_a_doubtful_reading_is_taken_again_and_counted() -> None:
    bench = CalibrationBench(2)
    spoilt(bench, lambda i, r: replace(r, sigma_w=0.1 * r.power_w) if i in (15, 27, 28) else r)
    found = bench.run("attenuator", points=10, pairs=4)
    assert found.facts["repeated_readings"] == 3
    assert "readings repeated" in found.flags


def test_a_reading_far_off_the_curve_is_taken_again() -> None:
    bench = CalibrationBench(2)
    spoilt(bench, lambda i, r: replace(r, power_w=0.9 * r.power_w) if i == 52 else r)
    found = bench.run("attenuator")
    assert found.facts["outliers_repeated"] == 1
    within(found, "zero_deg", bench.truth.zero_deg, rel=0.02)


def test_a_laser_that_flickers_all_the_time_is_refused() -> None:
    bench = CalibrationBench(2)
    spoilt(bench, lambda _, r: replace(r, sigma_w=0.2 * abs(r.power_w) + 1e-7))
    with pytest.raises(CalibrationRefused, match=r"scatter by .* 4 times"):
        bench.run("attenuator", readings=2)


def test_the_pickoff_ratio_is_found_with_the_meters_scale_divided_out() -> None:
    bench = CalibrationBench(2)
    found = bench.run("pickoff", filters={"window": 0.92})
    within(found, "ratio", bench.truth.pickoff_ratio, rel=0.012)
    assert abs(found.quantities["nonlinearity"].value) < 0.04
    assert found.facts["filters"] == "window: 0.92"
    assert len(found.tables["raw_sample_w"]) * 2 == len(found.tables["raw_pickoff_w"])


def test_a_maximum_below_the_mounts_range_is_not_chosen() -> None:
    """The darkest angle lies at 1.1 deg: the maximum nearest to it is out of reach."""
    bench = CalibrationBench(17)
    bench.settings = replace(bench.settings, curve=MalusCurve(bench.truth.zero_deg, 0.0, 1.0, "-"))
    found = bench.run("pickoff", points=5, readings=2)
    within(found, "ratio", bench.truth.pickoff_ratio, rel=0.03)
    energy = bench.run("energy", drift_s=2.0, readings=2).quantities["pulse_energy"]
    assert energy.value == pytest.approx(bench.truth.max_pulse_energy_j * bench.truth.meter_scale, rel=0.015)


def test_a_ratio_far_from_the_stated_one_is_refused() -> None:
    bench = CalibrationBench(2)
    bench.settings = replace(bench.settings, pickoff_ratio=3.0 * bench.truth.pickoff_ratio)
    with pytest.raises(CalibrationRefused, match=r"instead of about"):
        bench.run("pickoff", points=5, readings=2)


def test_a_pickoff_before_the_attenuator_is_compared_at_full_transmission() -> None:
    bench = CalibrationBench(2, order=("pick-off", "attenuator", "shutter", "sample"))
    bench.know_the_curve()
    found = bench.run("pickoff", readings=2)
    within(found, "ratio", bench.truth.pickoff_ratio, rel=0.012)
    assert "only one power" in found.flags[-1]
    bench.assert_safe()
    bench.assert_as_found()
    bench.settings = replace(bench.settings, pickoff_ratio=3 * bench.truth.pickoff_ratio)
    with pytest.raises(CalibrationRefused, match="instead of about"):
        bench.run("pickoff", readings=2)


def test_an_attenuator_that_limits_hide_says_what_would_help() -> None:
    bench = CalibrationBench(2, order=("pick-off", "attenuator", "shutter", "sample"))
    bench.know_the_curve()
    with pytest.raises(CalibrationRefused, match="ND filter in front of the attenuator"):
        bench.run("attenuator", readings=2)
    bench.assert_safe()


def test_pulse_energy_and_variation_are_found_behind_the_limit() -> None:
    bench = CalibrationBench(2)
    bench.know_the_curve()
    found = bench.run("energy", drift_s=20.0, rate_hz=bench.truth.repetition_rate_hz, rate_sigma_hz=0.5)
    energy = found.quantities["pulse_energy"]
    assert energy.value == pytest.approx(bench.truth.max_pulse_energy_j * bench.truth.meter_scale, rel=0.012)
    missing = bench.scene.settings.laser.missing
    assert found.quantities["pulse_cv"].value == pytest.approx(
        math.hypot(0.015, math.sqrt(missing)), rel=0.35
    )
    assert found.quantities["two_photon_factor"].value == pytest.approx(1.0003, abs=3e-4)
    assert found.facts["repetition_source"] == "stated"
    assert found.facts["pulse_width_source"] == "unknown"
    assert any("unknown" in line for line in report(found))


def test_a_head_that_sees_pulses_counts_and_weighs_them() -> None:
    bench = CalibrationBench(2)
    bench.know_the_curve()
    scene, clock, meter = bench.scene, bench.clock, bench.roles.power_meter

    class Pyro(type(meter)):  # type: ignore[misc]
        sensor = "pyro"

        def frequency_hz(self, stop: Stop | None = None) -> float:
            clock.sleep(0.1, stop)
            return scene.meter.repetition_hz(clock.now_s())

        def pulse_energy_j(self, stop: Stop | None = None) -> float:
            clock.sleep(0.003, stop)
            return scene.meter.pulse_energy_j(clock.now_s())

    bench.roles = replace(bench.roles, power_meter=Pyro("power meter", scene))
    found = bench.run("energy", drift_s=5.0, pulses=300, readings=2)
    assert found.facts["repetition_source"] == "measured"
    within(found, "repetition_rate", bench.truth.repetition_rate_hz, sigmas=8, rel=2e-3)
    assert found.facts["pulse_cv_source"] == "single pulses"
    assert found.quantities["pulse_cv"].value == pytest.approx(0.0155, rel=0.25)
    assert len(found.tables["raw_pulse_j"]) == 300


def test_a_thermal_head_does_not_pretend_to_see_pulses() -> None:
    bench = CalibrationBench(2)
    bench.know_the_curve()
    meter = bench.roles.power_meter
    bench.roles = replace(
        bench.roles, power_meter=type("Thermal", (type(meter),), {"sensor": "thermal"})("t", bench.scene)
    )
    found = bench.run("energy", drift_s=2.0, readings=2)
    assert "pulse_cv" not in found.quantities
    assert found.facts["pulse_cv_source"] == "unknown"


def test_the_pulse_width_at_the_sample_is_computed_from_the_glass_before_it() -> None:
    bench = CalibrationBench(2)
    bench.know_the_curve()
    found = bench.run("energy", drift_s=1.0, readings=2, pulse_fs=35.0, glasses={"fused-silica": 16.6})
    width = found.quantities["pulse_width"]
    assert found.facts["pulse_width_source"] == "computed"
    assert width.value == pytest.approx(59.0, abs=1.0)  # 600 fs2
    assert 0.2 < width.statistical < 2.0


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"glasses": {"n-bk7": 5.0}}, ConfigError, "no pulse width before it"),
        ({"pulse_fs": 35.0, "glasses": {"plexiglas": 5.0}}, CalibrationRefused, "plexiglas"),
        ({"pulse_width_fs": -3.0}, ConfigError, "positive"),
        ({"drift_s": 0.0}, ConfigError, "must be 1 s to one day"),
    ],
)
def test_what_cannot_be_computed_is_told_before_anything_moves(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    bench = CalibrationBench(2)
    with pytest.raises(error, match=words):
        bench.run("energy", **options)
    assert bench.hands.asked == []


def test_both_radii_are_found_by_hand() -> None:
    bench = CalibrationBench(2)
    bench.know_the_curve()
    found = bench.run("spot", method="hand")
    jitter = 2 * bench.scene.settings.laser.pointing_um
    within(found, "x_um", math.hypot(bench.truth.w_x_um, jitter), rel=0.01)
    within(found, "y_um", math.hypot(bench.truth.w_y_um, jitter), rel=0.01)
    small, large = sorted((bench.truth.w_x_um, bench.truth.w_y_um))
    assert found.quantities["ellipticity"].value == pytest.approx(small / large, rel=0.02)
    assert found.facts["method"] == "knife edge, manual"
    positions = [
        r.values["position_um"] for r in bench.hands.asked if r.action == "knife" and "axis" in r.values
    ]
    assert all(float(p or 0).is_integer() for p in positions)


class Stage:
    """A stage that carries the scene's blade, with a micrometer's help."""

    name, range_um = "stage", (0.0, 25_000.0)

    def __init__(self, bench: CalibrationBench) -> None:
        self.bench, self.axis, self.at_um, self.moves = bench, "x", 0.0, 0

    def identity(self) -> Identity:
        return Identity("test", "stage", "1")

    def close(self) -> None:
        """Nothing is open."""

    def is_referenced(self) -> bool:
        return True

    def home(self, stop: Stop | None = None) -> None:
        raise AssertionError("it is referenced")

    def position_um(self) -> float:
        return self.at_um

    def move_to(self, position_um: float, stop: Stop | None = None) -> float:
        self.bench.clock.sleep(0.2, stop)
        self.bench.scene.hand.do("knife", {"axis": self.axis, "position_um": position_um})
        self.at_um, self.moves = position_um, self.moves + 1
        return position_um


def test_both_radii_are_found_by_the_stage_with_few_words() -> None:
    bench = CalibrationBench(2)
    bench.know_the_curve()
    stage = Stage(bench)
    bench.roles = replace(bench.roles, stage=stage)
    real = bench.hands.do

    def do(request: Request, stop: Stop | None = None) -> float | None:
        if request.action == "knife" and "position_um" not in request.values:
            stage.axis = str(request.values["axis"])
            bench.hands.asked.append(request)
            return None
        return real(request, stop)

    bench.hands.do = do  # type: ignore[method-assign]
    found = bench.run("spot", readings=2, points=14)
    within(found, "x_um", math.hypot(bench.truth.w_x_um, 4.0), rel=0.01)
    within(found, "y_um", math.hypot(bench.truth.w_y_um, 4.0), rel=0.01)
    assert stage.moves > 60
    knives = [r for r in bench.hands.asked if r.action == "knife"]
    assert [dict(r.values) for r in knives] == [
        {"position_um": None},
        {"axis": "x"},
        {"axis": "y"},
        {"position_um": None},
    ]
    bench.assert_safe()


@pytest.mark.parametrize(
    ("range_um", "words"),
    [
        ((0.0, 3000.0), "does not cross the beam"),
        ((8000.0, 12000.0), "does not cross the beam"),
        ((4990.0, 5400.0), r"too near|crosses|lacks"),
    ],
)
def test_a_scan_that_misses_an_edge_is_refused(range_um: tuple[float, float], words: str) -> None:
    bench = CalibrationBench(2)
    bench.know_the_curve()
    if range_um[0] == 4990.0:
        range_um = (bench.truth.knife_x_um - 40.0, bench.truth.knife_x_um + 400.0)
    with pytest.raises(CalibrationRefused, match=words):
        bench.run("spot", range_um=range_um, **SPOT)
    bench.assert_safe()


def test_a_stripe_is_stated_and_moves_nothing() -> None:
    bench = CalibrationBench(2)
    found = bench.run("spot", shape="stripe", x_um=2000.0, y_um=250.0, size_sigma_um=10.0, incidence_deg=20.0)
    assert found.facts["shape"] == "stripe"
    assert found.quantities["x_um"].scale == 10.0
    assert found.quantities["ellipticity"].value == 0.125
    assert found.quantities["incidence_deg"].value == 20.0
    assert (bench.hands.asked, bench.shutter.opened) == ([], 0)


def test_a_size_that_was_not_given_is_asked_for() -> None:
    bench = CalibrationBench(2)
    bench.hands.do = lambda request, stop=None: 70.0 if request.number == "um" else None  # type: ignore[method-assign]
    found = bench.run("spot", shape="ellipse", x_um=100.0)
    assert found.quantities["y_um"].value == 70.0


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"shape": "stripe", "x_um": 100.0}, CalibrationRefused, "size along y is missing"),
        ({"shape": "ellipse", "method": "hand"}, ConfigError, "must be stated"),
        ({"shape": "square"}, ConfigError, "invalid"),
        ({"method": "eye"}, ConfigError, "invalid"),
        ({"method": "stage"}, CalibrationRefused, "no stage"),
        ({"points": 5}, ConfigError, "12 to 60"),
        ({"absorption_csv": "700,0.5\n800,0.4\n900,0.5"}, CalibrationRefused, "2-photon"),
    ],
)
def test_a_spot_that_cannot_be_is_refused(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    bench = CalibrationBench(2)
    bench.know_the_curve()
    with pytest.raises(error, match=words):
        bench.run("spot", **options)
    assert bench.scene.shutter.closed_switch()


def test_absorptance_is_taken_for_one_photon() -> None:
    bench = CalibrationBench(2)
    bench.settings = replace(bench.settings, photon_order=1)
    wavelengths = np.arange(700.0, 901.0, 2.0)
    table = "nm;T\n" + "\n".join(f"{nm:g};{0.4 + 1e-3 * (nm - 800):g}" for nm in wavelengths)
    found = bench.run("spot", shape="stripe", x_um=100.0, y_um=100.0, absorption_csv=table, pump_fwhm_nm=27.0)
    assert found.quantities["absorptance"].value == pytest.approx(0.6, abs=1e-3)


@pytest.mark.parametrize("text", ["", "nm,T", "1,2\nthree,4", "a\nb"])
def test_a_table_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(CalibrationRefused, match="absorption spectrum"):
        read_table(text)


def test_tables_of_any_country_are_read() -> None:
    assert read_table("lambda\tT\n800,5\t0,4\n") == ([800.5], [0.4])
    assert read_table("800 0.4\n801 0.5") == ([800.0, 801.0], [0.4, 0.5])


@pytest.mark.parametrize("days", [0.0, -1.0, 1e6, math.nan])
def test_a_calibration_is_valid_for_some_time(days: float) -> None:
    with pytest.raises(CalibrationRefused, match="valid for"):
        CalibrationBench(2).run("spot", shape="stripe", x_um=1.0, y_um=1.0, valid_days=days)
