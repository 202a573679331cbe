"""PM100 family: transcripts, settings that are verified, readings that are refused."""

from __future__ import annotations

import threading

import pytest
from drivers_stub import NoSleep, stub
from pymeasure.test import expected_protocol

from drivers.meters.pm100_console import parse_sensor
from drivers.meters.thorlabs_pm100 import ThorlabsPM100
from labctl.model.clock import SteppedClock
from labctl.model.errors import Aborted, InstrumentFault, InstrumentTimeout, NotConnected, ProtocolError
from simulators import presets
from simulators.bench import SimulatedBench

PHOTODIODE = '"S130C","16060232","2-JUN-2021",1,18,33'
HELLO = [("*IDN?", "THORLABS,PM100D,P0012345,2.4.0"), ("*CLS", None), ("SYST:SENS:IDN?", PHOTODIODE)]
FINE = ("SYST:ERR?", '0,"No error"')


def hello(sensor: str) -> list[tuple[str, str | None]]:
    return [*HELLO[:2], ("SYST:SENS:IDN?", sensor)]


PYRO = hello('"ES111C","1","1-JAN-2020",3,2,2')
THERMAL = hello('"S302C","1","1-JAN-2020",2,18,1')
LIMITS = [("SENS:CORR:WAV? MIN", "400"), ("SENS:CORR:WAV? MAX", "1100")]


def prepared(
    *, unit: str = "W", averages: str = "100", attenuation: str = "0.0", wavelength: str = "800.0"
) -> list[tuple[str, str | None]]:
    return [
        *LIMITS,
        ("SENS:POW:UNIT W", None), FINE, ("SENS:POW:UNIT?", unit),
        ("SENS:POW:REF:STAT 0", None), FINE, ("SENS:POW:REF:STAT?", "0"),
        ("INP:PDI:FILT:LPAS:STAT 1", None), FINE, ("INP:PDI:FILT:LPAS:STAT?", "1"),
        ("SENS:POW:RANG:AUTO 1", None), FINE, ("SENS:POW:RANG:AUTO?", "1"),
        ("SENS:AVER 100", None), FINE, ("SENS:AVER?", averages),
        ("SENS:CORR 0", None), FINE, ("SENS:CORR?", attenuation),
        ("SENS:CORR:WAV 800", None), FINE, ("SENS:CORR:WAV?", wavelength),
    ]  # fmt: skip


def test_prepare_sets_and_reads_back() -> None:
    with expected_protocol(ThorlabsPM100, [*HELLO, *prepared()]) as meter:
        meter.prepare(800.0)
        assert meter.sensor == "photodiode"


@pytest.mark.parametrize(
    ("answers", "upto", "text"),
    [
        ({"unit": "DBM"}, 5, "unit set to W, read back as DBM"),
        ({"averages": "1"}, 17, "averages set to 100, read back as 1"),
        ({"attenuation": "10.0"}, 20, "attenuation"),
        ({"wavelength": "633"}, 23, "wavelength set to 800, read back as 633"),
    ],
)
def test_a_setting_that_does_not_stick_is_a_fault(answers: dict[str, str], upto: int, text: str) -> None:
    talk = [*HELLO, *prepared(**answers)[:upto]]
    with expected_protocol(ThorlabsPM100, talk) as meter, pytest.raises(InstrumentFault, match=text):
        meter.prepare(800.0)


def test_a_refused_setting_names_the_entry_of_the_queue() -> None:
    queue = [("SYST:ERR?", '-222,"Data out of range, really"'), ("SYST:ERR?", '+0,"No error"')]
    with (
        expected_protocol(ThorlabsPM100, [*HELLO, ("SENS:AVER 100000", None), *queue]) as meter,
        pytest.raises(InstrumentFault, match="refuses 'SENS:AVER 100000': -222"),
    ):
        meter.averages = 100000


def test_a_wavelength_outside_the_head_is_refused() -> None:
    with (
        expected_protocol(ThorlabsPM100, [*HELLO, *LIMITS]) as meter,
        pytest.raises(InstrumentFault, match="1550 nm is outside the head's 400 to 1100"),
    ):
        meter.prepare(1550.0)


def test_a_fixed_range_is_the_next_step_up() -> None:
    steps: list[tuple[str, str | None]] = [("SENS:POW:RANG 5e-06", None), FINE, ("SENS:POW:RANG?", "6.7e-6")]
    talk = [*HELLO, *prepared()[:11], *steps, *prepared()[14:]]
    with expected_protocol(ThorlabsPM100, talk, upper_range_w=5e-6) as meter:
        meter.prepare(800.0)


def test_a_range_too_low_is_a_fault() -> None:
    steps: list[tuple[str, str | None]] = [("SENS:POW:RANG 5e-06", None), FINE, ("SENS:POW:RANG?", "6.7e-7")]
    with (
        expected_protocol(ThorlabsPM100, [*HELLO, *prepared()[:11], *steps], upper_range_w=5e-6) as meter,
        pytest.raises(InstrumentFault, match="range stays at"),
    ):
        meter.prepare(800.0)


def test_a_mean_has_its_standard_error() -> None:
    talk = [*HELLO, ("MEAS:POW?", "1.0E-6"), ("MEAS:POW?", "2.0E-6"), ("MEAS:POW?", "3.0E-6")]
    with expected_protocol(ThorlabsPM100, talk) as meter:
        reading = meter.read(3)
    assert reading.power_w == pytest.approx(2e-6)
    assert reading.sigma_w == pytest.approx(1e-6 / 3**0.5)
    assert reading.n == 3


def test_an_answer_that_is_the_last_one_again_is_asked_for_again() -> None:
    """An answer that came twice would stand for every later reading: each is then one question old."""
    talk = [*HELLO, ("MEAS:POW?", "1.0E-6"), ("MEAS:POW?", "1.0E-6"), ("MEAS:POW?", "2.0E-6")]
    with expected_protocol(ThorlabsPM100, talk) as meter:
        assert meter.read().power_w == pytest.approx(1e-6)
        assert meter.read().power_w == pytest.approx(2e-6)


def test_a_head_that_shows_the_same_twice_has_no_noise_and_is_believed() -> None:
    talk = [*HELLO, *[("MEAS:POW?", "1.0E-6")] * 3]
    with expected_protocol(ThorlabsPM100, talk) as meter:
        assert meter.read().power_w == meter.read().power_w == pytest.approx(1e-6)


def test_one_reading_has_the_noise_of_the_head() -> None:
    with expected_protocol(ThorlabsPM100, [*HELLO, ("MEAS:POW?", "1.0E-6")], noise_w=3e-9) as meter:
        assert meter.read().sigma_w == 3e-9


@pytest.mark.parametrize("shown", ["9.90000000E+37", "-9.9E37", "INFINITY", "-INF", "9.91E+37", "NAN"])
def test_over_range_is_a_fault(shown: str) -> None:
    with (
        expected_protocol(ThorlabsPM100, [*HELLO, ("MEAS:POW?", shown), ("MEAS:POW?", shown)]) as meter,
        pytest.raises(InstrumentFault, match="out of range"),
    ):
        meter.read()


def test_what_is_no_number_is_asked_again_and_then_an_error() -> None:
    talk = [*HELLO, ("MEAS:POW?", "S130C"), ("MEAS:POW?", "S130C")]
    with (
        expected_protocol(ThorlabsPM100, talk) as meter,
        pytest.raises(ProtocolError, match="S130C"),
    ):
        meter.read()


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ('"S120C","16060232","2-JUN-2021",1,18,33', 1, "S120C"),
        ("S120C,16060232,2-JUN-2021,1,18,33", 1, "S120C"),
        ('"S302C","0042","JUN 2, 2021",2,18,1057', 2, "S302C"),
        ('"no sensor","","",0,0,0', 0, "no sensor"),
    ],
)
def test_the_head_is_read_quoted_or_not(text: str, kind: int, name: str) -> None:
    head = parse_sensor(text)
    assert (head.type, head.name) == (kind, name)


def test_a_serial_number_keeps_its_zeros() -> None:
    assert parse_sensor('"S302C","0042","x",2,18,1').serial == "0042"


def test_without_a_head_it_is_not_connected() -> None:
    with (
        pytest.raises(NotConnected, match="no usable head"),
        expected_protocol(ThorlabsPM100, hello('"no sensor","","",0,0,0')),
    ):
        pass


def test_another_instrument_is_named() -> None:
    with (
        pytest.raises(NotConnected, match="KEITHLEY"),
        expected_protocol(ThorlabsPM100, [("*IDN?", "KEITHLEY,2000,1,A02")]),
    ):
        pass


def test_a_thermometer_of_the_same_vendor_is_no_power_meter() -> None:
    with (
        pytest.raises(NotConnected, match="TSP01"),
        expected_protocol(ThorlabsPM100, [("*IDN?", "Thorlabs,TSP01,M00001,1.0")]),
    ):
        pass


def test_a_thermal_head_settles_by_its_own_time_constant() -> None:
    with expected_protocol(ThorlabsPM100, [*THERMAL, ("INP:THER:ACC:TAU?", "0.5")]) as meter:
        assert meter.settling_s == pytest.approx(3.45, abs=0.01)
        assert meter.sensor == "thermal"


def test_a_pyro_head_measures_pulses_without_blocking() -> None:
    talk = [
        *PYRO,
        ("ABOR", None), ("CONF:FREQ", None), ("INIT", None), ("FETC:STAT?", "1"), ("FETC?", "1000"),
        ("ABOR", None), ("CONF:ENER", None), ("INIT", None), ("FETC:STAT?", "0"), ("FETC:STAT?", "1"),
        ("FETC?", "2.5E-9"),
    ]  # fmt: skip
    with expected_protocol(ThorlabsPM100, talk, clock=NoSleep()) as meter:
        assert meter.read().power_w == pytest.approx(2.5e-6)


def test_no_pulse_ends_with_an_abort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.meters.thorlabs_pm100.PULSE_TIMEOUT_S", -1.0)
    talk = [*PYRO, ("ABOR", None), ("CONF:ENER", None), ("INIT", None), ("FETC:STAT?", "0"), ("ABOR", None)]
    with (
        expected_protocol(ThorlabsPM100, talk) as meter,
        pytest.raises(InstrumentTimeout, match="no result of ENER"),
    ):
        meter.pulse_energy_j()


def test_why_there_is_no_pulse_stands_in_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ThorlabsPM100, "result", property(_unanswered), raising=True)
    asked = [("ABOR", None), ("CONF:ENER", None), ("INIT", None), ("FETC:STAT?", "1")]
    talk = [*PYRO, *asked, ("SYST:ERR?", '-365,"Time out error"'), FINE]
    with (
        expected_protocol(ThorlabsPM100, talk, clock=NoSleep()) as meter,
        pytest.raises(
            InstrumentFault, match=r"measured no ENER: -365.*check that strong enough pulses reach the head"
        ),
    ):
        meter.pulse_energy_j()


def _unanswered(meter: ThorlabsPM100) -> float:
    raise InstrumentTimeout(meter.name, "no answer to 'FETC?'")


ZERO = "SENS:CORR:COLL:ZERO"


def test_zeroing_is_awaited_and_measures_the_noise() -> None:
    readings = [("MEAS:POW?", value) for value in ("1E-9", "-1E-9") * 5]
    talk = [
        *HELLO, (f"{ZERO}:INIT", None), (f"{ZERO}:STAT?", "1"), (f"{ZERO}:STAT?", "0"), FINE,
        *readings, ("SENS:CORR:POW:PDI:RESP?", "0.5"), (f"{ZERO}:MAGN?", "2E-9"),
    ]  # fmt: skip
    with expected_protocol(ThorlabsPM100, talk, clock=NoSleep()) as meter:
        assert meter.zero() == pytest.approx(4e-9)  # W, of a current in A
        assert meter.noise_w == pytest.approx(1.054e-9, rel=1e-3)


def test_zeroing_in_the_light_is_a_fault() -> None:
    queue = [("SYST:ERR?", '-200,"Execution error"'), FINE]
    talk = [*HELLO, (f"{ZERO}:INIT", None), (f"{ZERO}:STAT?", "0"), *queue]
    with (
        expected_protocol(ThorlabsPM100, talk) as meter,
        pytest.raises(InstrumentFault, match="block the pump"),
    ):
        meter.zero()


def test_a_stop_during_zeroing_aborts_it() -> None:
    stop = threading.Event()
    stop.set()
    talk = [*HELLO, (f"{ZERO}:INIT", None), (f"{ZERO}:STAT?", "1"), (f"{ZERO}:ABOR", None)]
    with (
        expected_protocol(ThorlabsPM100, talk, clock=SteppedClock()) as meter,
        pytest.raises(Aborted),
    ):
        meter.zero(stop)


def test_identity_names_console_and_head() -> None:
    with expected_protocol(ThorlabsPM100, [*HELLO, HELLO[0], HELLO[2]]) as meter:
        assert str(meter.identity()) == "THORLABS PM100D + S130C P0012345 2.4.0"


def test_a_late_answer_is_not_taken_for_the_next_one() -> None:
    fixed = {b"*IDN?\n": HELLO[0][1], b"SYST:SENS:IDN?\n": PHOTODIODE, b"SENS:AVER?\n": "100"}
    late = threading.Event()

    def console(data: bytes) -> bytes:
        if data == b"SENS:CORR:WAV?\n" and not late.is_set():
            late.set()
            return b""
        if late.is_set() and data == b"*IDN?\n":
            return f"801.0\n{HELLO[0][1]}\n".encode()  # the answer that was owed comes first
        answer = fixed.get(data, "633.0" if data == b"SENS:CORR:WAV?\n" else None)
        return b"" if answer is None else f"{answer}\n".encode()

    with stub(console) as server:
        meter = ThorlabsPM100(server.resource)
        assert meter.wavelength_nm == 633.0
        assert meter.averages == 100
        meter.close()


@pytest.mark.parametrize("text", ["", '"S130C\r"', "S130C", '"S130C","1","x",one,18,33', "a\rb,c,d,1,2,3"])
def test_a_head_that_does_not_parse_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  any text of it will do
        parse_sensor(text)


def test_half_an_identification_is_a_protocol_error() -> None:
    with (
        expected_protocol(ThorlabsPM100, [*HELLO, ("*IDN?", "Thorl")]) as meter,
        pytest.raises(ProtocolError),
    ):
        meter.identity()


def test_delta_mode_left_on_at_the_panel_is_switched_off_and_looked_at() -> None:
    clock = SteppedClock()
    with SimulatedBench(presets.scene("ola", "typical", 5), clock) as bench:
        meter = ThorlabsPM100(bench.resources["power_meter"], clock=clock)
        try:
            meter.prepare(800.0)
            honest_w = meter.read(3).power_w
            meter.write("SENS:POW:REF 1e-6;REF:STAT 1")
            assert meter.altered().startswith("SENS:POW:REF:STAT? answers 1")
            meter.prepare(800.0)
            assert meter.altered() == ""
            meter.write("SENS:POW:REF 1e-6;REF:STAT 1")
            # In the middle of its work: the reading is thrown away, and taken again without it.
            assert abs(meter.read(3).power_w - honest_w) < 0.2e-6
            assert meter.altered() == ""
        finally:
            meter.close()
