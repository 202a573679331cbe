"""ELL14: transcripts on the bus, its faults, and the wrong device at an address."""

from __future__ import annotations

import dataclasses
import threading

import pytest
from drivers_stub import NoSleep, stub
from patience import PATIENCE_S
from pymeasure.test import expected_protocol

from drivers.attenuators.thorlabs_ell14 import ThorlabsELL14
from labctl.model.clock import SteppedClock
from labctl.model.errors import Aborted, InstrumentFault, InstrumentTimeout, NotConnected, ProtocolError

PULSES = 143360
INFO = "0E1140042120231701016800023000"
HELLO = ("0in", f"0IN{INFO}\r\n")


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make waits short for tests in which no answer comes; an answer to other questions has all the time."""
    monkeypatch.setattr(ThorlabsELL14, "port", dataclasses.replace(ThorlabsELL14.port, timeout_s=0.3))
    monkeypatch.setattr("drivers.support.visa.OTHER_TIMEOUT_S", PATIENCE_S)


def move(degrees: float) -> str:
    return f"0ma{round(degrees * PULSES / 360) & 0xFFFFFFFF:08X}"


def position(degrees: float, address: str = "0") -> str:
    return f"{address}PO{round(degrees * PULSES / 360) & 0xFFFFFFFF:08X}\r\n"


def test_a_move_rounds_and_reads_back() -> None:
    talk = [HELLO, (move(35.71), position(35.71)), ("0gp", position(35.71))]
    with expected_protocol(ThorlabsELL14, talk, clock=NoSleep()) as mount:
        assert mount.move_to(35.7101) == pytest.approx(35.71, abs=360 / PULSES)


def test_pulses_are_rounded_not_cut() -> None:
    wanted = 1000.7 * 360 / PULSES
    talk = [HELLO, ("0ma000003E9", "0PO000003E9\r\n"), ("0gp", "0PO000003E9\r\n")]
    with expected_protocol(ThorlabsELL14, talk, clock=NoSleep()) as mount:
        assert mount.move_to(wanted) == pytest.approx(1001 * 360 / PULSES)


def test_pulses_per_turn_are_taken_from_the_module() -> None:
    info = INFO[:-8] + f"{1 << 18:08X}"
    talk = [("0in", f"0IN{info}\r\n"), ("0gp", "0PO00010000\r\n")]
    with expected_protocol(ThorlabsELL14, talk) as mount:
        assert mount.angle_deg() == pytest.approx(90.0)


def test_negative_positions_are_two_s_complement() -> None:
    talk = [HELLO, ("0maFFFFC7A8", position(-36.2)), ("0gp", position(-36.2))]
    options = {"angle_range_deg": (-90.0, 90.0), "clock": NoSleep()}
    with expected_protocol(ThorlabsELL14, talk, **options) as mount:
        assert mount.move_to(-14424 * 360 / PULSES) == pytest.approx(-36.22, abs=0.05)


def test_buttons_and_other_addresses_are_skipped() -> None:
    talk = [
        HELLO, ("0gp", "0BS00\r\n"), (None, "2PO00000001\r\n"), (None, "0BO00001234\r\n"),
        (None, position(90)),
    ]  # fmt: skip
    with expected_protocol(ThorlabsELL14, talk) as mount:
        assert mount.angle_deg() == pytest.approx(90.0)


def test_homing_makes_it_referenced() -> None:
    talk = [HELLO, ("0ho0", position(0)), ("0gp", position(0))]
    with expected_protocol(ThorlabsELL14, talk, clock=NoSleep()) as mount:
        assert not mount.is_referenced()
        mount.home()
        assert mount.is_referenced()


def test_a_failed_homing_takes_the_reference_away() -> None:
    talk = [HELLO, ("0ho0", position(0)), ("0ho0", "0GS02\r\n")]
    with expected_protocol(ThorlabsELL14, talk, clock=NoSleep()) as mount:
        mount.home()
        with pytest.raises(InstrumentFault, match="status 2: mechanical time-out"):
            mount.home()
        assert not mount.is_referenced()


@pytest.mark.parametrize(
    ("code", "text"), [("01", "communication"), ("0A", "sensor"), ("0D", "over-current"), ("1F", "reserved")]
)
def test_faults_have_texts(code: str, text: str) -> None:
    talk = [HELLO, (move(100), f"0GS{code}\r\n")]
    with (
        expected_protocol(ThorlabsELL14, talk, clock=NoSleep()) as mount,
        pytest.raises(InstrumentFault, match=text),
    ):
        mount.move_to(100.0)


def test_a_busy_mount_is_polled_and_told_again() -> None:
    clock = NoSleep()
    talk = [
        HELLO, (move(100), "0GS09\r\n"), ("0gs", "0GS09\r\n"), ("0gs", "0PO00000007\r\n"),
        (None, "0GS00\r\n"), (move(100), position(100)), ("0gp", position(100)),
    ]  # fmt: skip
    with expected_protocol(ThorlabsELL14, talk, clock=clock) as mount:
        before_s = clock.now_s()
        assert mount.move_to(100.0) == pytest.approx(100.0, abs=360 / PULSES)
        assert clock.now_s() - before_s >= 2 * 0.1  # two polls


def test_ending_elsewhere_is_a_fault() -> None:
    talk = [HELLO, (move(100), position(0)), ("0gp", position(0))]
    with (
        expected_protocol(ThorlabsELL14, talk, clock=NoSleep()) as mount,
        pytest.raises(InstrumentFault, match=r"sent to 100\.000 degrees, reached 0\.000"),
    ):
        mount.move_to(100.0)


def test_an_angle_outside_the_range_moves_nothing() -> None:
    with (
        expected_protocol(ThorlabsELL14, [HELLO], angle_range_deg=(0.0, 60.0)) as mount,
        pytest.raises(InstrumentFault, match="outside 0 to 60"),
    ):
        mount.move_to(60.5)


def test_another_module_is_not_an_ell14() -> None:
    with (
        pytest.raises(NotConnected, match="module of type 11 answered, not an ELL14"),
        expected_protocol(ThorlabsELL14, [("0in", f"0IN11{INFO[2:]}\r\n")]),
    ):
        pass


@pytest.mark.parametrize("reply", ["0PO12345\r\n", "0POXYZ\r\n", "zz\r\n", "0PO0000000000\r\n"])
def test_a_garbled_position_is_asked_again_and_then_an_error(reply: str) -> None:
    talk = [HELLO, ("0gp", reply), ("0gp", reply)]
    with (
        expected_protocol(ThorlabsELL14, talk) as mount,
        pytest.raises(ProtocolError, match="cannot be parsed"),
    ):
        mount.angle_deg()


@pytest.mark.usefixtures("silence")
def test_another_device_at_the_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.support.elliptec.SLICE_S", 0.01)  # the scan of the bus finds nothing here
    with (
        stub(lambda data: b"THORLABS,PM100D,P0012345,2.4.0\n" if b"IDN" in data else b"") as server,
        pytest.raises(NotConnected, match="THORLABS,PM100D"),
    ):
        ThorlabsELL14(server.resource)


@pytest.mark.usefixtures("silence")
def test_a_wrong_bus_address_names_the_one_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.support.elliptec.SLICE_S", 0.03)  # for each of the silent ones

    def bus(data: bytes) -> bytes:
        if data == b"2in":
            monkeypatch.setattr("drivers.support.elliptec.SLICE_S", 0.03)
            return f"2IN{INFO}\r\n".encode()
        if data == b"1in":  # the next one answers, however long it takes
            monkeypatch.setattr("drivers.support.elliptec.SLICE_S", PATIENCE_S)
            return b"\n"
        return b""

    with stub(bus) as server, pytest.raises(NotConnected, match='address = "2"'):
        ThorlabsELL14(server.resource, "7")


class SlowMount:
    """A module whose motion ends when the test says so."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []
        self.began = threading.Event()
        self.moving = False

    def __call__(self, data: bytes) -> bytes:
        self.commands.append(data)
        if data == b"0in":
            return HELLO[1].encode()
        if data.startswith(b"0ma"):
            if self.moving:
                return b"0GS09\r\n"
            if self.began.is_set():
                return position(10).encode()
            self.moving = True
            self.began.set()
        if data == b"0gp":
            return position(10).encode()
        if data == b"0gs":
            self.moving, late = False, position(200).encode()
            return late + b"0GS00\r\n"
        return b""


def test_a_stop_ends_the_wait_and_the_next_move_waits_for_the_old_one() -> None:
    module, stop = SlowMount(), threading.Event()
    with stub(module) as server:
        mount = ThorlabsELL14(server.resource, clock=SteppedClock())
        module.began = stop  # the stop is asked for once the motion has begun
        with pytest.raises(Aborted):
            mount.move_to(200.0, stop)
        assert mount.move_to(10.0) == pytest.approx(10.0, abs=0.01)
        assert module.commands.count(b"0gs") == 1
        mount.close()


def test_silence_in_a_motion_ends_at_the_deadline() -> None:
    module = SlowMount()
    with stub(lambda data: b"" if data == b"0gs" else module(data)) as server:
        mount = ThorlabsELL14(server.resource, clock=SteppedClock(), move_timeout_s=0.2)
        with pytest.raises(InstrumentTimeout, match="no answer to '0ma"):
            mount.move_to(200.0)
        mount.close()
        mount.close()


def test_the_end_of_a_motion_that_nobody_heard_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.support.elliptec.ASK_AFTER_S", 0.1)
    module = SlowMount()
    answers = {b"0gs": b"0GS00\r\n", b"0gp": position(200).encode()}
    with stub(lambda data: answers.get(data) or module(data)) as server:
        mount = ThorlabsELL14(server.resource, clock=SteppedClock())
        assert mount.move_to(200.0) == pytest.approx(200.0, abs=0.01)
        mount.close()


def test_a_search_that_ends_elsewhere_found_no_reference() -> None:
    talk = [HELLO, ("0ho0", position(33))]
    with expected_protocol(ThorlabsELL14, talk, clock=NoSleep()) as mount:
        with pytest.raises(InstrumentFault, match=r"ended at 32\.999"):
            mount.home()
        assert not mount.is_referenced()


def test_a_mount_that_is_not_where_it_was_left_has_lost_its_reference() -> None:
    talk = [
        HELLO,
        ("0ho0", position(359.9)),
        ("0gp", position(0)),
        ("0gp", position(7)),
    ]
    with expected_protocol(ThorlabsELL14, talk, clock=NoSleep()) as mount:
        mount.home()
        assert mount.is_referenced()
        assert not mount.is_referenced()


def test_half_a_line_before_a_time_out_does_not_spoil_the_next_answer() -> None:
    replies = iter([HELLO[1].encode(), b"0PO0000", b"0PO00008C00\r\n"])
    with stub(lambda data: next(replies)) as server:
        mount = ThorlabsELL14(server.resource, clock=SteppedClock())
        assert mount.angle_deg() == pytest.approx(90.0)
        mount.close()
