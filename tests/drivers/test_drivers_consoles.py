"""Power-meter consoles as they are found: modes left on at the panel, and what a model has not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from drivers_stub import NoSleep
from pymeasure.test import expected_protocol

from drivers.meters.thorlabs_pm100 import ThorlabsPM100
from labctl.model.clock import SteppedClock
from labctl.model.errors import InstrumentFault
from labctl.model.roles import zeroed
from simulators.meters.pm100 import CONSOLES, Pm100
from simulators.meters.pm100_meter import Kind
from simulators.servers import TcpServer


class PlainHead:
    """A head that shows what the test put there."""

    wavelength_limits_nm = (400.0, 1100.0)
    serial = "17050001"

    def __init__(self, kind: Kind, watts: float) -> None:
        self.kind, self.watts = kind, watts
        self.name = {"photodiode": "S130C", "thermal": "S401C", "pyro": "ES111C"}[kind]

    def power_w(
        self, stop_s: float, samples: int, sample_period_s: float, wavelength_set_nm: float,
        zero_offset_w: float, range_w: float,
    ) -> float:  # fmt: skip
        return self.watts - zero_offset_w

    def pulse_energy_j(self, stop_s: float, wavelength_set_nm: float) -> float | None:
        return 1e-6

    def repetition_hz(self, stop_s: float) -> float:
        return 1000.0


PEAK, BANDWIDTH = "SENS:FREQ:MODE", "INP:PDI:FILT:LPAS:STAT"


@contextmanager
def opened(
    model: str, kind: Kind = "photodiode", **options: object
) -> Iterator[tuple[ThorlabsPM100, PlainHead]]:
    """Return a meter at a simulated console of this model, with a head that shows 10 uW, 1 uJ or 1 kHz."""
    clock = SteppedClock()
    head = PlainHead(kind, 0.02 if kind == "thermal" else 1e-5)
    server = TcpServer(Pm100(clock, head, model), clock)
    server.start()
    meter = ThorlabsPM100(server.resource, clock=clock, **options)  # type: ignore[arg-type]
    try:
        yield meter, head
    finally:
        meter.close()
        server.stop()


@pytest.mark.parametrize("model", CONSOLES)
@pytest.mark.parametrize(("kind", "power_w"), [("photodiode", 1e-5), ("thermal", 0.02), ("pyro", 1e-3)])
def test_every_model_measures_with_every_head(model: str, kind: Kind, power_w: float) -> None:
    options = {"energy_range_j": 2e-6} if kind == "pyro" else {}
    with opened(model, kind, **options) as (meter, _):
        meter.prepare(800.0)
        assert meter.read(2).power_w == pytest.approx(power_w)
        assert meter.altered() == ""


@pytest.mark.parametrize(
    ("left_on", "question"),
    [("SENS:FREQ:MODE PEAK", f"{PEAK}?"), (f"{BANDWIDTH} 0", f"{BANDWIDTH}?"),
     ("SENS:POW:REF 1e-6;REF:STAT 1", "SENS:POW:REF:STAT?")],
)  # fmt: skip
def test_a_mode_left_on_at_the_panel_changes_no_reading(left_on: str, question: str) -> None:
    with opened("PM103") as (meter, _):
        meter.write(left_on)
        meter.prepare(800.0)
        assert meter.read().power_w == pytest.approx(1e-5)
        meter.write(left_on)
        assert meter.altered().startswith(question)
        assert meter.read().power_w == pytest.approx(1e-5)  # made again, and read again
        assert meter.altered() == ""


def test_a_console_that_keeps_its_peak_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened("PM103") as (meter, _):
        ask = meter.ask
        monkeypatch.setattr(meter, "ask", lambda *a: "PEAK" if a[0] == f"{PEAK}?" else ask(*a))
        with pytest.raises(InstrumentFault, match="mode set to CW, read back as PEAK"):
            meter.prepare(800.0)


def test_the_rate_is_counted_with_full_bandwidth_and_the_power_read_without() -> None:
    with opened("PM103") as (meter, _):
        meter.prepare(800.0)
        assert meter.frequency_hz() == pytest.approx(1000.0)
        assert meter.ask(f"{BANDWIDTH}?") == "1"
        assert meter.read().power_w == pytest.approx(1e-5)


@pytest.mark.parametrize("model", CONSOLES)
def test_a_thermal_head_is_zeroed_where_the_model_can(model: str) -> None:
    with opened(model, "thermal") as (meter, head):
        head.watts = 1e-4
        meter.prepare(800.0)
        if model in ("PM100D", "PM400"):
            assert zeroed(meter) is not None
            assert meter.zero() == pytest.approx(1e-4)
        else:
            assert zeroed(meter) is None
            with pytest.raises(InstrumentFault, match="has no zero for a thermal head"):
                meter.zero()


def test_a_zero_that_is_refused_is_no_light_on_the_head() -> None:
    """A console of which nobody knew: once it has refused, a calibration reads the dark level instead."""
    hello = [
        ("*IDN?", "THORLABS,PM100USB,P1,1.0"), ("*CLS", None),
        ("SYST:SENS:IDN?", '"S302C","1","1-JAN-2020",2,18,1'), ("INP:THER:ACC:TAU?", "0.5"),
    ]  # fmt: skip
    refused = [("SYST:ERR?", '-221,"Settings conflict"'), ("SYST:ERR?", '0,"No error"')]
    with expected_protocol(
        ThorlabsPM100, [*hello, ("SENS:CORR:COLL:ZERO:INIT", None), *refused], clock=NoSleep()
    ) as meter:
        assert zeroed(meter) is not None
        with pytest.raises(InstrumentFault, match="has no zero for a thermal head: -221"):
            meter.zero()
        assert zeroed(meter) is None


def test_range_threshold_and_delta_mode_of_a_pyroelectric_head_are_set_and_watched() -> None:
    with opened("PM103", "pyro", energy_range_j=2e-6, peak_threshold_percent=30.0) as (meter, _):
        meter.write("SENS:ENER:REF 5e-7;REF:STAT 1")
        meter.prepare(800.0)
        assert meter.pulse_energy_j() == pytest.approx(1e-6)
        for wrong, question in (
            ("SENS:ENER:RANG 2e-3", "SENS:ENER:RANG?"),
            ("SENS:PEAK 5", "SENS:PEAK?"),
            ("SENS:ENER:REF:STAT 1", "SENS:ENER:REF:STAT?"),
        ):
            meter.write(wrong)
            assert meter.altered().startswith(question)
            assert meter.read().power_w == pytest.approx(1e-3)
            assert meter.altered() == ""


def test_a_console_that_answers_line_by_line_is_watched_all_the_same() -> None:
    with opened("PM100D3") as (meter, _):
        meter.prepare(800.0)
        for _ in range(2):
            assert meter.altered() == ""
            assert meter.read().power_w == pytest.approx(1e-5)
        meter.write("SENS:CORR 3")
        assert meter.altered().startswith("SENS:CORR? answers 3")


HELLO = [
    ("*IDN?", "THORLABS,PM100D,P1,1.0"), ("*CLS", None),
    ("SYST:SENS:IDN?", '"S130C","1","1-JAN-2020",1,18,33'),
]  # fmt: skip


def test_one_transient_over_range_of_an_auto_ranging_meter_is_read_again() -> None:
    talk = [*HELLO, ("MEAS:POW?", "9.9E37"), ("MEAS:POW?", "1E-6")]
    with expected_protocol(ThorlabsPM100, talk) as meter:
        assert meter.read().power_w == pytest.approx(1e-6)


def test_over_a_fixed_range_is_a_fault_at_once() -> None:
    fixed = [("SENS:POW:RANG 1e-06", None), ("SYST:ERR?", '0,"No error"'), ("SENS:POW:RANG?", "1e-6")]
    talk = [*HELLO, *fixed, ("MEAS:POW?", "9.9E37")]
    with expected_protocol(ThorlabsPM100, talk) as meter:
        meter.set_range(1e-6)
        with pytest.raises(InstrumentFault, match="out of range"):
            meter.read()
