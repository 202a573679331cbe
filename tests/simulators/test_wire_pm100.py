"""The PM100 console, message by message."""

from __future__ import annotations

import pytest
from wire_talk import PlainHead, Talk

from labctl.model.clock import SteppedClock
from simulators.meters.pm100 import Pm100
from simulators.meters.pm100_meter import Kind


def console(kind: Kind = "photodiode", watts: float = 1e-5) -> tuple[PlainHead, Talk]:
    clock, head = SteppedClock(), PlainHead(kind, watts)
    return head, Talk(Pm100(clock, head), clock)  # type: ignore[arg-type]


@pytest.fixture
def talk() -> Talk:
    return console()[1]


def value(reply: bytes) -> float:
    assert reply.endswith(b"\n")
    return float(reply)


def test_identity(talk: Talk) -> None:
    assert talk.say(b"*IDN?\n") == b"THORLABS,PM100D,P0012345,2.4.0\n"
    assert talk.say(b"*idn?\r\n") == b"THORLABS,PM100D,P0012345,2.4.0\n"


def test_the_sensor_quotes_its_strings(talk: Talk) -> None:
    assert talk.say(b"SYST:SENS:IDN?\n") == b'"S130C","17050001","02-JUN-2021",1,18,33\n'


@pytest.mark.parametrize(
    "header",
    [b"SENS:CORR:WAV?", b"sense:correction:wavelength?", b"SENS1:CORR:WAV?", b":Sens:CORRECTION:wav?"],
)
def test_short_and_long_forms_in_any_case(talk: Talk, header: bytes) -> None:
    assert value(talk.say(header + b"\n")) == 635.0


@pytest.mark.parametrize(
    "header", [b"SENSO:CORR:WAV?", b"SENS:CORRE:WAV?", b"CORRE:WAV?", b"NONSENSE?", b"*FOO?"]
)
def test_anything_between_is_not_answered_and_waits_in_the_queue(talk: Talk, header: bytes) -> None:
    assert talk.ask(header + b"\n") == b""
    assert talk.say(b"SYST:ERR:COUN?\n") == b"1\n"
    assert talk.say(b"SYST:ERR?\n") == b'-113,"Undefined header"\n'
    assert talk.say(b"SYST:ERR?\n") == b'0,"No error"\n'


def test_joined_messages_keep_their_place_in_the_tree(talk: Talk) -> None:
    assert talk.say(b"SENS:AVER 3;CORR:WAV 850;:SENS:AVER?;CORR:WAV?\n") == b"3;8.50000000E+02\n"
    assert talk.say(b"SENS:CORR:WAV 800;WAV?;LOSS 3;LOSS?\n") == b"8.00000000E+02;3.00000000E+00\n"
    assert talk.say(b"SENS:CORR:WAV 700;*OPC?;WAV?\n") == b"1;7.00000000E+02\n"
    assert talk.say(b"SENS:CORR:WAV 700;SENS:AVER?\n") == b""
    assert talk.say(b"SYST:ERR?\n") == b'-113,"Undefined header"\n'


def test_the_sense_node_may_be_left_out(talk: Talk) -> None:
    assert talk.say(b"CORR:BEAM 2;WAVE 900;:AVER 7\n") == b""
    assert talk.say(b"CORR:WAV?;BEAM?;:AVER?;:SENS:AVER?\n") == b"9.00000000E+02;2.00000000E+00;7;7\n"
    assert talk.say(b"CURR:DC:RANG? MIN\n") == talk.say(b"SENS:CURR:RANG:UPP? MIN\n") != b""
    assert talk.say(b"SYST:ERR?\n") == b'0,"No error"\n'


def test_limits_by_name_and_silent_coercion(talk: Talk) -> None:
    assert value(talk.say(b"SENS:CORR:WAV? MIN\n")) == 400.0
    assert value(talk.say(b"SENS:CORR:WAV? MAX\n")) == 1100.0
    assert value(talk.say(b"SENS:CORR:WAV MAX;WAV?\n")) == 1100.0
    assert value(talk.say(b"SENS:CORR:WAV 9999;WAV?\n")) == 1100.0
    assert talk.say(b"SYST:ERR?\n") == b'0,"No error"\n'


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"SENS:AVER\n", b'-109,"Missing parameter"\n'),
        (b"SENS:AVER 1,2\n", b'-108,"Parameter not allowed"\n'),
        (b"SENS:AVER many\n", b'-104,"Data type error"\n'),
        (b"SENS:AVER 1_0\n", b'-104,"Data type error"\n'),
        (b"SENS:CORR:WAV nan\n", b'-104,"Data type error"\n'),
        (b"*IDN??\n", b'-113,"Undefined header"\n'),
        (b"SENS2:AVER?\n", b'-113,"Undefined header"\n'),
        (b"SENS:AVER 0\n", b'-222,"Data out of range"\n'),
        (b"SENS:CORR 61\n", b'-222,"Data out of range"\n'),
        (b"SENS:POW:UNIT HP\n", b'-224,"Illegal parameter value"\n'),
        (b"CONF:ENER\n", b'-221,"Settings conflict"\n'),
        (b"ABOR;FETC?\n", b'-230,"Data corrupt or stale"\n'),
        (b"SENS:POW:RANG:AUTO 2\n", b'-104,"Data type error"\n'),
    ],
)
def test_bad_parameters(talk: Talk, message: bytes, error: bytes) -> None:
    assert talk.ask(message) == b""
    assert talk.say(b"SYST:ERR?\n") == error


def test_messages_over_two_hundred_characters_are_refused(talk: Talk) -> None:
    assert talk.say(b"SENS:AVER?" + b" " * 191 + b"\n") == b""
    assert talk.say(b"SYST:ERR?\n") == b'-363,"Input buffer overrun"\n'
    for _ in range(10):
        assert talk.say(b"x" * 1000) == b""
    assert talk.say(b"\nSYST:ERR:COUN?\n") == b"1\n"


def test_status_registers(talk: Talk) -> None:
    assert talk.say(b"*ESR?\n") == b"128\n"
    talk.say(b"NONSENSE\n")
    assert talk.say(b"*STB?\n") == b"4\n"
    assert talk.say(b"*ESE 32;*STB?\n") == b"36\n"
    assert talk.say(b"*SRE 32;*STB?\n") == b"100\n"
    assert talk.say(b"*ESR?;*ESR?\n") == b"32;0\n"
    talk.say(b"*OPC\n")
    assert talk.say(b"*ESR?\n") == b"1\n"
    talk.say(b"NONSENSE\n*CLS\n")
    assert talk.say(b"*STB?;:SYST:ERR:COUN?\n") == b"0;0\n"
    assert talk.say(b"*OPC?;*TST?\n") == b"1;0\n"


def test_the_queue_overflows_into_its_last_place(talk: Talk) -> None:
    talk.say(b"NONSENSE\n" * 40)
    errors = [talk.say(b"SYST:ERR?\n") for _ in range(31)]
    assert errors[28:] == [b'-113,"Undefined header"\n', b'-350,"Queue overflow"\n', b'0,"No error"\n']


def test_a_reading_lasts_as_long_as_its_samples() -> None:
    head, talk = console()
    talk.say(b"SENS:POW:RANG 1e-4;RANG:AUTO 0;:SENS:AVER 100;CORR:WAV 800\n")
    assert talk.say(b"MEAS:POW?\n") == b""
    assert value(talk.wait()) == pytest.approx(1e-5)
    assert talk.clock.now_s() == pytest.approx(0.3)
    assert head.asked[-1] == {
        "stop_s": pytest.approx(0.3),
        "samples": 100,
        "wavelength": 800.0,
        "range_w": 500e-6,
    }


def test_a_waiting_query_blocks_what_follows(talk: Talk) -> None:
    assert talk.say(b"MEAS:POW?\n*IDN?\n") == b""
    first, second = talk.wait().splitlines()
    assert float(first) == pytest.approx(1e-5)
    assert second.startswith(b"THORLABS")


def test_init_poll_fetch(talk: Talk) -> None:
    talk.say(b"SENS:AVER 10;:ABOR;CONF:POW;:INIT\n")
    assert talk.say(b"CONF?\n") == b"POW\n"
    assert talk.say(b"FETC:STAT?\n") == b"0\n"
    talk.clock.sleep(0.05)
    assert talk.say(b"FETC:STAT?\n") == b"1\n"
    assert talk.say(b"FETC?\n") == talk.say(b"FETC?\n") != b""
    assert talk.ask(b"READ?\n") != b""


def test_continuous_measurements_give_the_latest_result() -> None:
    head, talk = console()
    talk.say(b"SENS:POW:RANG 1e-3;:SENS:AVER 10;:CONF:POW;:INIT:CONT\n")
    assert value(talk.ask(b"FETC?\n")) == pytest.approx(1e-5)
    assert talk.clock.now_s() == pytest.approx(0.03)
    head.watts = 2e-5
    talk.clock.sleep(0.02)
    assert value(talk.say(b"FETC?\n")) == pytest.approx(1e-5)
    talk.clock.sleep(0.05)
    assert value(talk.say(b"FETC?\n")) == pytest.approx(2e-5)
    assert head.asked[-1]["stop_s"] == pytest.approx(0.09)
    talk.say(b"ABOR\n")
    assert talk.ask(b"FETC?\n") == b""
    assert talk.say(b"SYST:ERR?\n").startswith(b"-230")


def test_the_operation_register_follows_a_measurement(talk: Talk) -> None:
    talk.say(b"SENS:POW:RANG 1e-3;:SENS:AVER 10;:STAT:OPER:PTR 512;NTR 0;:STAT:OPER?\n")
    assert talk.say(b"STAT:OPER:COND?\n") == b"256\n"
    talk.say(b"INIT\n")
    assert talk.say(b"STAT:OPER:COND?;EVEN?\n") == b"272;0\n"
    talk.clock.sleep(0.03)
    assert talk.say(b"STAT:OPER:COND?;EVEN?\n") == b"768;512\n"
    talk.say(b"ABOR;:SENS:CORR:COLL:ZERO\n")
    assert talk.say(b"STAT:OPER:COND?\n") == b"384\n"


def test_a_range_change_shows_in_the_operation_register(talk: Talk) -> None:
    talk.say(b"SENS:POW:RANG:AUTO 1;:INIT\n")
    assert int(talk.say(b"STAT:OPER:COND?\n")) & 4
    talk.clock.sleep(0.1)
    assert not int(talk.say(b"STAT:OPER:COND?\n")) & 4
    assert int(talk.say(b"STAT:OPER?\n")) & 4


def test_the_head_has_a_thermometer(talk: Talk) -> None:
    assert 15.0 < value(talk.ask(b"MEAS:TEMP?\n")) < 35.0
    assert talk.say(b"CONF?\n") == b"TEMP\n"
    assert value(talk.ask(b"MEAS:RES?\n")) > 1000.0
    assert talk.say(b"CONF:PDEN;:CONF?\n") == b"POWDENS\n"


def test_a_serial_console_changes_its_speed_at_once(talk: Talk) -> None:
    assert talk.say(b"SYST:SER:TRAN:BAUD?\n") == b"115200\n"
    talk.say(b"SYST:SER:TRAN:BAUD 19200\n")
    assert talk.wire.baud_rate == 19200
    talk.say(b"SYST:SER:TRAN:BAUD 12345\n")
    assert talk.say(b"SYST:ERR?;:SYST:SER:TRAN:BAUD?\n") == b'-224,"Illegal parameter value";19200\n'


def test_units_attenuation_and_area(talk: Talk) -> None:
    assert value(talk.ask(b"SENS:POW:UNIT DBM;:MEAS:POW?\n")) == pytest.approx(-20.0)
    assert talk.say(b"SENS:POW:UNIT?\n") == b"DBM\n"
    talk.say(b"SENS:POW:UNIT W;:SENS:CORR 10\n")
    assert value(talk.ask(b"MEAS:POW?\n")) == pytest.approx(1e-4)
    talk.say(b"SENS:CORR 0;CORR:BEAM 10\n")
    assert value(talk.ask(b"MEAS:PDEN?\n")) == pytest.approx(1e-5 / 0.785398, rel=1e-5)
    response = value(talk.say(b"SENS:CORR:POW:PDI:RESP?\n"))
    assert value(talk.ask(b"MEAS:CURR?\n")) == pytest.approx(1e-5 * response)
    assert value(talk.say(b"SENS:CURR:RANG 3e-4;RANG?\n")) >= 3e-4
    assert value(talk.say(b"SENS:POW:RANG?\n")) == 5e-3


def test_a_manual_range_overflows_and_automatic_does_not() -> None:
    head, talk = console()
    assert value(talk.say(b"SENS:POW:RANG 4e-7;RANG?\n")) == 500e-9
    assert talk.say(b"SENS:POW:RANG:AUTO?\n") == b"0\n"
    assert talk.ask(b"MEAS:POW?\n") == b"9.90000000E+37\n"
    assert talk.say(b"STAT:QUES:COND?\n") == b"8\n"
    assert value(talk.ask(b"SENS:POW:RANG:AUTO ON;:MEAS:POW?\n")) == pytest.approx(1e-5)
    assert value(talk.say(b"SENS:POW:RANG?\n")) == 50e-6
    head.watts = 1e-8
    before_s = talk.clock.now_s()
    assert value(talk.ask(b"MEAS:POW?\n")) == pytest.approx(1e-8)
    assert value(talk.say(b"SENS:POW:RANG?\n")) == 50e-9
    assert talk.clock.now_s() - before_s == pytest.approx(0.02)


def test_zeroing_runs_in_the_background(talk: Talk) -> None:
    head, talk = console(watts=2e-9)
    talk.say(b"SENS:CORR:COLL:ZERO\n")
    assert talk.say(b"SENS:CORR:COLL:ZERO:STAT?\n") == b"1\n"
    talk.clock.sleep(3.1)
    assert talk.say(b"SENS:CORR:COLL:ZERO:STAT?\n") == b"0\n"
    assert value(talk.say(b"SENS:CORR:COLL:ZERO:MAGN?\n")) > 0
    head.watts = 1e-5
    assert value(talk.ask(b"MEAS:POW?\n")) == pytest.approx(1e-5 - 2e-9)


def test_a_measurement_waits_for_the_zero_and_light_spoils_it(talk: Talk) -> None:
    talk.say(b"SENS:CORR:COLL:ZERO:INIT\n")
    assert value(talk.ask(b"MEAS:POW?\n")) == pytest.approx(1e-5)
    assert talk.clock.now_s() >= 3.0
    assert talk.say(b"SYST:ERR?\n") == b'-200,"Execution error"\n'
    talk.say(b"SENS:CORR:COLL:ZERO\n")
    talk.clock.sleep(3.1)
    assert talk.say(b"SENS:CORR:COLL:ZERO:STAT?\n") == b"0\n"
    talk.say(b"SENS:CORR:COLL:ZERO;ZERO:ABOR\n")
    assert talk.say(b"SENS:CORR:COLL:ZERO:STAT?\n") == b"0\n"


def test_a_thermal_head() -> None:
    _, talk = console("thermal", 0.02)
    assert talk.say(b"SYST:SENS:IDN?\n").endswith(b",2,2,97\n")
    assert value(talk.ask(b"MEAS:POW?\n")) == pytest.approx(0.02)
    assert talk.ask(b"MEAS:FREQ?\n") == b""
    assert talk.say(b"SYST:ERR?\n") == b'-221,"Settings conflict"\n'
    assert talk.say(b"INP:THER:ACC:TAU 3;TAU?\n") == b"3\n"


def test_a_pyroelectric_head_measures_energy_and_frequency() -> None:
    head, talk = console("pyro")
    assert talk.say(b"CONF?\n") == b"ENER\n"
    assert value(talk.ask(b"MEAS:ENER?\n")) == pytest.approx(1e-6)
    assert value(talk.ask(b"MEAS:FREQ?\n")) == pytest.approx(1000.0)
    assert talk.ask(b"MEAS:POW?\n") == b""
    head.hertz = 0.0
    before_s = talk.clock.now_s()
    assert talk.ask(b"MEAS:ENER?\n") == b""
    assert talk.clock.now_s() - before_s == pytest.approx(10.0)
    assert talk.say(b"SYST:ERR?\n").startswith(b"-221")
    assert talk.say(b"SYST:ERR?\n").startswith(b"-365")


def test_reset_returns_to_the_defaults(talk: Talk) -> None:
    talk.say(b"SENS:AVER 7;CORR:WAV 900;:SENS:POW:RANG 1\n*RST\n")
    assert talk.say(b"SENS:AVER?;CORR:WAV?;:SENS:POW:RANG:AUTO?\n") == b"1;6.35000000E+02;1\n"


def test_small_settings_are_remembered(talk: Talk) -> None:
    assert talk.say(b"INP:PDI:FILT:LPAS:STAT 0;STAT?\n") == b"0\n"
    assert talk.say(b"SENS:PEAK 35;PEAK?\n") == b"35\n"
    assert talk.say(b"SENS:PEAK? DEF\n") == b"20\n"
    assert talk.say(b"SYST:DATE 2026,3,1;DATE?;TIME?\n") == b"2026,3,1;12,0,0\n"
    assert talk.say(b"INP:ADAP?;ADAP thermal;ADAP?\n") == b"PHOT;THER\n"
    talk.say(b"SYST:TIME 10;:INP:ADAP wood\n")
    assert talk.say(b"SYST:ERR?\n") == b'-109,"Missing parameter"\n'
    assert talk.say(b"SYST:ERR?\n") == b'-224,"Illegal parameter value"\n'


def test_the_next_client_gets_no_answer_to_the_last_ones_question(talk: Talk) -> None:
    talk.say(b"MEAS:POW?\nSENS:AV")
    talk.wire.new_client()
    assert talk.ask(b"SENS:AVER?\n") == b"1\n"
