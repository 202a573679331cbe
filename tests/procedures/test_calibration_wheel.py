"""Gradient wheels, filters before the sensor, and the quick look at the start of a run."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from calibration_scene import CalibrationBench
from procedures_fakes import (
    FULL_J,
    RATE_HZ,
    RATIO,
    ZERO_DEG,
    FakeBench,
    FakeMeter,
    Table,
    limits,
    pump_settings,
)

from labctl.model.calibration import Calibration, Quantity
from labctl.model.clock import Stop
from labctl.model.errors import CalibrationRefused, InstrumentFault
from labctl.model.pump import TableCurve
from labctl.model.records import FloatArray, PowerReading
from labctl.model.roles import Request
from procedures.calibration import PROCEDURES, CalContext
from procedures.calibration.attenuator import recheck_attenuator
from procedures.calibration.context import AttenuatorOptions

DECADE_DEG = 90.0


class Wheel(Table):
    """A gradient wheel: a decade over 90 degrees, darkest at 0; beyond 300 degrees it begins anew."""

    wavy = 0.0

    def energy_j(self, angle_deg: FloatArray | float | None = None) -> float:
        angle = self.angle_deg + self.angle_error_deg if angle_deg is None else float(np.max(angle_deg))
        part = 10 ** ((angle % 360.0 - 300.0) / DECADE_DEG) if angle % 360.0 <= 300.0 else 1e-4
        wave = 1 + self.wavy * np.sin(np.radians(angle * 12))
        return FULL_J * float(part * wave) * self.scale


@dataclass
class RangedMeter(FakeMeter):
    """A meter with a highest range, and a filter before it."""

    highest_w: float = 1.0
    upper_w: float | None = None
    filter: float = 1.0

    def set_range(self, upper_w: float | None) -> float:
        self.upper_w = None if upper_w is None else min(upper_w, self.highest_w)
        return self.upper_w or self.highest_w

    def read(self, count: int = 1, stop: Stop | None = None) -> PowerReading:
        reading = super().read(count, stop)
        power = reading.power_w * self.filter
        if power > (self.upper_w or self.highest_w):
            raise InstrumentFault(self.name, "the reading is out of range (inf)")
        return replace(reading, power_w=power, sigma_w=max(reading.sigma_w * self.filter, 1e-12))


class FakeHands:
    """Blocks the beam, and puts filters before the sensor that are not what is written on them."""

    def __init__(self, bench: FakeBench, meter: RangedMeter, filter_transmission: float = 0.083) -> None:
        self.bench, self.meter, self.transmission = bench, meter, filter_transmission
        self.asked: list[Request] = []

    def do(self, request: Request, stop: Stop | None = None) -> float | None:
        self.asked.append(request)
        if request.action == "beam":
            self.bench.table.scale = 0.0 if request.values["blocked"] else 1.0
        if request.action == "filter":
            self.meter.filter = self.transmission if request.values["name"] else 1.0
        return None


def bench_of(table: Table, highest_w: float = 1.0) -> tuple[FakeBench, RangedMeter, FakeHands]:
    bench = FakeBench()
    meter = RangedMeter(table, noise_rel=5e-4, highest_w=highest_w, noise_w=2e-11)
    for device in (bench.mount, bench.shutter):
        device.table = table
    bench.table, bench.clock, bench.meter = table, table.clock, meter
    bench.roles = replace(bench.roles, power_meter=meter, clock=table.clock)
    return bench, meter, FakeHands(bench, meter)


def run(bench: FakeBench, hands: FakeHands, options: AttenuatorOptions, **settings: Any) -> Calibration:
    context = CalContext(bench.roles, pump_settings(**settings), limits(), hands, options)
    steps = PROCEDURES["attenuator"](context)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Calibration = end.value
            return found


def wheel_curve() -> dict[str, Any]:
    return {"curve": TableCurve(np.array([0.0, 300.0]), np.array([10 ** (-300 / DECADE_DEG), 1.0]))}


def test_a_wheel_becomes_a_table() -> None:
    bench, _, hands = bench_of(Wheel())
    found = run(bench, hands, AttenuatorOptions(form="table", points=40, readings=2), **wheel_curve())
    assert found.facts["form"] == "table"
    angle, transmission = np.array(found.tables["angle_deg"]), np.array(found.tables["transmission"])
    assert np.all(np.diff(transmission) > 0)
    expected = 10 ** ((angle - angle[-1]) / DECADE_DEG)
    assert np.max(np.abs(transmission / expected - 1)) < 0.02
    assert angle[-1] - angle[0] > 250
    assert not bench.table.is_open


def test_a_wheel_that_goes_up_and_down_is_refused() -> None:
    table = Wheel()
    table.wavy = 0.6
    bench, _, hands = bench_of(table)
    with pytest.raises(CalibrationRefused, match="monotone"):
        run(bench, hands, AttenuatorOptions(form="table", points=40, readings=2), **wheel_curve())


@pytest.mark.parametrize("form", ["malus", "table"])
def test_another_filter_is_asked_for_where_the_meter_ends_and_measured(form: str) -> None:
    bench, meter, hands = bench_of(Wheel() if form == "table" else Table(), highest_w=2e-6)
    settings = wheel_curve() if form == "table" else {}
    found = run(bench, hands, AttenuatorOptions(form=form, points=24, readings=2), **settings)
    full_w = FULL_J * RATE_HZ / RATIO
    assert found.quantities["max_power"].value == pytest.approx(full_w, rel=0.03 if form == "table" else 5e-3)
    measured = str(found.facts["meter_filters"]).partition(": ")[2].partition(" +-")[0]
    assert float(measured) == pytest.approx(0.083, rel=1e-3)
    assert meter.filter == 1.0
    assert hands.asked[-1].values["name"] == ""
    if form == "malus":
        assert found.quantities["zero_deg"].value == pytest.approx(ZERO_DEG, abs=0.05)


@pytest.mark.parametrize("transmission", [1.0, 1e-6])
def test_what_is_no_filter_is_refused(transmission: float) -> None:
    bench, _, hands = bench_of(Table(), highest_w=2e-6)
    hands.transmission = transmission
    with pytest.raises(CalibrationRefused, match=r"not a 10 % filter|noise|scatter"):
        run(bench, hands, AttenuatorOptions(readings=2))


# --- the quick look ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured() -> tuple[CalibrationBench, Calibration]:
    bench = CalibrationBench(4)
    return bench, bench.run("attenuator", points=16, pairs=6)


def look(bench: CalibrationBench, calibration: Calibration) -> Any:
    return recheck_attenuator(calibration, bench.roles, bench.settings, bench.limits)


def test_an_attenuator_as_calibrated_gives_no_warning(measured: tuple[CalibrationBench, Calibration]) -> None:
    bench, calibration = measured
    began = bench.clock.now_s()
    found = look(bench, calibration)
    assert found.checked
    assert found.warnings == ()
    assert abs(found.shift_deg) < 3 * found.shift_sigma_deg < 0.3
    assert bench.clock.now_s() - began < 10.0
    bench.assert_safe()


def test_a_zero_that_has_moved_is_told(measured: tuple[CalibrationBench, Calibration]) -> None:
    bench, calibration = measured
    zero = calibration.quantities["zero_deg"]
    moved = {**calibration.quantities, "zero_deg": Quantity(zero.value - 0.6, "deg", zero.statistical)}
    found = look(bench, replace(calibration, quantities=moved))
    assert found.shift_deg == pytest.approx(0.6, abs=0.1)
    assert re.search(r"has moved by \+0\.[56]", found.warnings[0])


@pytest.mark.parametrize("moved_deg", [0.6, -0.9, 7.0, -20.0, 33.0, 45.0])
def test_it_leaves_the_plate_at_the_minimum_that_it_has_just_seen(
    measured: tuple[CalibrationBench, Calibration], moved_deg: float
) -> None:
    bench, calibration = measured
    zero = calibration.quantities["zero_deg"]
    other = {**calibration.quantities, "zero_deg": replace(zero, value=zero.value - moved_deg)}
    found = look(bench, replace(calibration, quantities=other))
    assert found.dark_deg is not None
    apart_deg = (found.dark_deg - bench.truth.zero_deg) % 90.0 - 45.0
    assert abs(apart_deg) < 0.3
    assert bench.scene.mount.encoder_deg() == pytest.approx(found.dark_deg, abs=0.05)
    assert look(bench, calibration).dark_deg is None


def test_leakage_and_lost_power_are_told(measured: tuple[CalibrationBench, Calibration]) -> None:
    bench, calibration = measured
    leak, power = calibration.quantities["leakage"], calibration.quantities["max_power"]
    other = {
        **calibration.quantities,
        "leakage": replace(leak, value=3 * leak.value),
        "max_power": replace(power, value=3 * power.value),
    }
    found = look(bench, replace(calibration, quantities=other))
    extinction, power = found.warnings
    assert extinction.startswith("the attenuator's extinction is ")
    assert power.startswith("only ")
    assert power.endswith(" of the power at calibration remains: check the laser")


def test_it_is_not_checked_where_the_shutter_would_have_to_open(
    measured: tuple[CalibrationBench, Calibration],
) -> None:
    _, calibration = measured
    bench = CalibrationBench(4, order=("attenuator", "shutter", "pick-off", "sample"))
    found = look(bench, calibration)
    assert not found.checked
    assert bench.shutter.opened == 0


def test_a_table_is_compared_with_itself() -> None:
    bench, _, hands = bench_of(Wheel())
    found = run(bench, hands, AttenuatorOptions(form="table", points=40, readings=2), **wheel_curve())
    settings = pump_settings(**wheel_curve())
    assert recheck_attenuator(found, bench.roles, settings, limits()).warnings == ()
    shifted = {**found.tables, "transmission": tuple(t**1.2 for t in found.tables["transmission"])}
    other = recheck_attenuator(replace(found, tables=shifted), bench.roles, settings, limits())
    assert "deviates from its table" in other.warnings[0]
