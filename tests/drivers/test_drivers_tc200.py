"""The TC200: what it is told, what it confirms, and what it is not trusted with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from pydantic import ValidationError

from drivers import registry
from drivers.others.thorlabs_tc200 import ThorlabsTC200
from labctl.model.clock import SteppedClock
from labctl.model.errors import InstrumentFault, NotConnected
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.scene.settings import HeaterSettings


@pytest.fixture
def bench() -> Iterator[SimulatedBench]:
    settings = replace(presets.scene("ola", "ideal"), heater=HeaterSettings(noise_c=0.0))
    with SimulatedBench(settings, SteppedClock()) as running:
        yield running


@pytest.fixture
def heater(bench: SimulatedBench) -> Iterator[ThorlabsTC200]:
    device = ThorlabsTC200(bench.resources["heater"], max_temperature_c=80.0, clock=bench.scene.clock)
    yield device
    device.close()


def test_it_says_who_it_is_and_sets_its_own_limit(heater: ThorlabsTC200) -> None:
    assert str(heater.identity()) == "Thorlabs TC200 2.0"
    assert heater.temperature_range_c == (20.0, 80.0)
    assert heater.ask("tmax?") == "80.0"


def test_a_tighter_limit_of_the_controller_stays(bench: SimulatedBench, heater: ThorlabsTC200) -> None:
    heater.ask("tmax=50.0")
    heater.close()
    again = ThorlabsTC200(bench.resources["heater"], max_temperature_c=80.0, clock=bench.scene.clock)
    assert again.ask("tmax?") == "50.0"
    with pytest.raises(InstrumentFault, match="refuses 'tset="):
        again.hold(60.0)
    assert not again.is_heating()
    again.close()


def test_an_open_sensor_is_told_as_an_error(bench: SimulatedBench, heater: ThorlabsTC200) -> None:
    assert bench.scene.plate is not None
    heater.hold(60.0)
    bench.scene.plate.sensor_open = True
    with pytest.raises(InstrumentFault, match="sensor is open"):
        heater.temperature_c()
    with pytest.raises(InstrumentFault, match="sensor is open"):
        heater.hold(60.0)
    heater.off()
    assert not heater.is_heating()


def test_another_instrument_is_not_taken_for_a_heater(bench: SimulatedBench) -> None:
    with pytest.raises(NotConnected, match="TC200"):
        ThorlabsTC200(bench.resources["shutter"], max_temperature_c=80.0)


def test_the_bench_file_must_state_the_highest_temperature() -> None:
    config = registry.find("heater", "thorlabs-tc200").config
    table = {"driver": "thorlabs-tc200", "resource": "ASRL7::INSTR"}
    with pytest.raises(ValidationError, match="max_temperature_c"):
        config.model_validate(table)
    with pytest.raises(ValidationError, match="200"):
        config.model_validate({**table, "max_temperature_c": 500})
