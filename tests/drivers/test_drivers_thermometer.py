"""The thermometer: what it asks, what it takes for an answer, and who it does not trust."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from drivers_stub import stub
from pydantic import ValidationError
from pymeasure.test import expected_protocol

from drivers import registry
from drivers.others.scpi_thermometer import ScpiThermometer
from labctl.model.clock import SteppedClock
from labctl.model.errors import InstrumentFault, NotConnected, ProtocolError
from labctl.model.roles import Thermometer
from simulators import presets
from simulators.bench import SimulatedBench

WHO = ("*IDN?", "ACME,T1,42,1.0")
HELLO = [WHO, ("MEAS:TEMP?", "+2.2015E+01")]


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make waits short for a test in which no answer comes."""
    monkeypatch.setattr(ScpiThermometer, "port", dataclasses.replace(ScpiThermometer.port, timeout_s=0.3))
    monkeypatch.setattr("drivers.support.visa.OTHER_TIMEOUT_S", 0.1)


@pytest.fixture
def bench() -> Iterator[SimulatedBench]:
    settings = presets.uncalibrated(presets.scene("ola", "typical", seed=3), 3)
    with SimulatedBench(settings, SteppedClock()) as running:
        yield running


@pytest.mark.parametrize(("answer", "celsius"), [("21.5", 21.5), ("+2.15E+01 C", 21.5), (" -.5 C ", -0.5)])
def test_a_number_is_a_temperature(answer: str, celsius: float) -> None:
    with expected_protocol(ScpiThermometer, [*HELLO, ("MEAS:TEMP?", answer)]) as sensor:
        assert sensor.temperature_c() == pytest.approx(celsius)


def test_the_question_and_the_unit_are_settings() -> None:
    talk = [WHO, ("SENS1:TEMP:DATA?", "295.15"), ("SENS1:TEMP:DATA?", "296.15")]
    with expected_protocol(ScpiThermometer, talk, query="SENS1:TEMP:DATA?", unit="K") as sensor:
        assert sensor.temperature_c() == pytest.approx(23.0)


@pytest.mark.parametrize("shown", ["9.9E37", "295.15e3", "-9.9E37", "1e999"])
def test_an_open_sensor_is_a_fault(shown: str) -> None:
    with (
        expected_protocol(ScpiThermometer, [*HELLO, ("MEAS:TEMP?", shown)]) as sensor,
        pytest.raises(InstrumentFault, match="shows"),
    ):
        sensor.temperature_c()


def test_words_are_no_number_even_when_asked_again() -> None:
    with (
        expected_protocol(ScpiThermometer, [*HELLO, ("MEAS:TEMP?", "warm")]) as sensor,
        pytest.raises(ProtocolError, match="cannot be parsed"),
    ):
        sensor.temperature_c()


def test_it_says_who_it_is() -> None:
    with expected_protocol(ScpiThermometer, [*HELLO, WHO, ("*IDN?", "ACME,T1,42")]) as sensor:
        assert str(sensor.identity()) == "ACME T1 42 1.0"
        assert sensor.identity().firmware == ""


def test_the_wrong_name_is_refused() -> None:
    with (
        pytest.raises(NotConnected, match="not 'fluke'"),
        expected_protocol(ScpiThermometer, [WHO], identity_contains="fluke"),
    ):
        pass


@pytest.mark.usefixtures("silence")
def test_other_instruments_are_not_taken_for_a_thermometer(bench: SimulatedBench) -> None:
    for role in ("shutter", "stage"):
        with pytest.raises(NotConnected):
            ScpiThermometer(bench.resources[role])
    with (
        stub(lambda data: b"ACME,SCOPE,1,2\n" if b"IDN" in data else b"") as server,
        pytest.raises(NotConnected, match="no answer to 'MEAS:TEMP"),
    ):
        ScpiThermometer(server.resource)


def test_a_thermometer_on_the_simulated_bench(bench: SimulatedBench) -> None:
    spec = registry.find("thermometer", "scpi-thermometer")
    table = {"driver": "scpi-thermometer", "resource": bench.resources["thermometer"]}
    sensor = spec.open(spec.config.model_validate(table), bench.scene.clock)
    room = bench.scene.thermometer
    assert room is not None
    assert isinstance(sensor, Thermometer)
    assert sensor.identity().serial == room.serial
    readings = []
    for _ in range(40):
        bench.scene.clock.sleep(600.0)
        readings.append(sensor.temperature_c())
        assert readings[-1] == pytest.approx(room.true_c(bench.scene.clock.now_s()), abs=0.06)
    assert 0.1 < max(readings) - min(readings) < 4.0
    sensor.close()
    with pytest.raises(ValidationError, match="query"):
        spec.config.model_validate({**table, "query": "no question"})
