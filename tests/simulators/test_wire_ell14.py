"""The ELL14 byte by byte, as instruments' drivers see it."""

from __future__ import annotations

import pytest
from wire_talk import IdleMount, Talk

from labctl.model.clock import SteppedClock
from simulators.attenuators.ell14 import Ell14Bus, Module, from_hex, to_hex

TURN = 143360


def bus(*addresses: str) -> tuple[Talk, list[IdleMount]]:
    clock = SteppedClock()
    mounts = [IdleMount(clock) for _ in addresses]
    modules = [Module(clock, mount, address=a) for a, mount in zip(addresses, mounts, strict=True)]
    return Talk(Ell14Bus(clock, modules), clock), mounts


@pytest.fixture
def talk() -> Talk:
    return bus("0")[0]


def test_identity_has_thirty_three_characters_and_announces_the_pulses(talk: Talk) -> None:
    reply = talk.say(b"0in")
    assert len(reply) == 35
    assert reply.startswith(b"0IN0E")
    assert reply.endswith(b"0168" + b"00023000\r\n")


def test_other_pulses_per_turn_are_announced_and_used() -> None:
    clock = SteppedClock()
    mount = IdleMount(clock)
    talk = Talk(Ell14Bus(clock, [Module(clock, mount, pulses_per_turn=262144)]), clock)
    assert talk.say(b"0in").endswith(b"00040000\r\n")
    assert talk.ask(b"0ma00010000") == b"0PO00010000\r\n"
    assert mount.encoder_deg() == pytest.approx(90.0)


def test_a_request_needs_no_end_and_may_come_in_pieces(talk: Talk) -> None:
    assert talk.say(b"0g") == b""
    assert talk.say(b"s0g") == b"0GS00\r\n"
    assert talk.say(b"p") == b"0PO00000000\r\n"


def test_line_ends_between_requests_are_ignored(talk: Talk) -> None:
    assert talk.say(b"\r\n0gs\r\n\n0gp\r") == b"0GS00\r\n0PO00000000\r\n"


def test_motion_takes_time_and_its_position_comes_at_the_end(talk: Talk) -> None:
    assert talk.say(b"0ma" + to_hex(TURN // 4).encode()) == b""
    assert talk.say(b"0gs") == b"0GS09\r\n"
    talk.clock.sleep(0.225)
    assert from_hex(talk.say(b"0gp")[3:11].decode()) == pytest.approx(TURN / 8, abs=2)
    assert talk.wait() == b"0PO" + to_hex(TURN // 4).encode() + b"\r\n"
    assert talk.clock.now_s() == pytest.approx(0.45)
    assert talk.say(b"0gs") == b"0GS00\r\n"


@pytest.mark.parametrize("request_", [b"0ma00000001", b"0mr00000001", b"0ho0", b"0s1", b"0fw", b"0sv32"])
def test_what_would_disturb_a_motion_is_refused_as_busy(talk: Talk, request_: bytes) -> None:
    talk.say(b"0ma00008000")
    assert talk.say(request_) == b"0GS09\r\n"
    assert talk.wait() == b"0PO00008000\r\n"


def test_negative_positions_are_twos_complement(talk: Talk) -> None:
    assert talk.ask(b"0mrFFFFFFFF") == b"0POFFFFFFFF\r\n"
    assert talk.ask(b"0mr00000003") == b"0PO00000002\r\n"


def test_lower_case_data_are_read_and_answers_are_upper_case(talk: Talk) -> None:
    assert talk.ask(b"0ma0000abcd") == b"0PO0000ABCD\r\n"


def test_upper_case_commands_and_lower_case_addresses_are_nobodys(talk: Talk) -> None:
    assert talk.say(b"a") == b""
    assert talk.say(b"\r\n0gs") == b"0GS00\r\n"


def test_homing_takes_time_and_finds_zero() -> None:
    talk, mounts = bus("0")
    mounts[0].move_to(90.0)
    talk.clock.sleep(1.0)
    assert talk.say(b"0ho0") == b""
    assert talk.wait() == b"0PO00000000\r\n"
    assert talk.clock.now_s() == pytest.approx(1.45)


def test_a_home_offset_moves_the_origin() -> None:
    talk, mounts = bus("0")
    assert talk.say(b"0so00001000") == b"0GS00\r\n"
    assert talk.say(b"0go") == b"0HO00001000\r\n"
    assert talk.ask(b"0ho0") == b"0PO00000000\r\n"
    assert mounts[0].encoder_deg() == pytest.approx(0x1000 * 360 / TURN)


def test_faults_are_told_and_once_more_by_the_status(talk: Talk) -> None:
    assert talk.say(b"0zz") == b"0GS03\r\n"
    assert talk.say(b"0gs") == b"0GS03\r\n"
    assert talk.say(b"0gs") == b"0GS00\r\n"
    assert talk.say(b"0i3") == b"0GS03\r\n"
    assert talk.say(b"0maGGGGGGGG") == b"0GS04\r\n"
    assert talk.say(b"0ma7FFFFFFF") == b"0GS0C\r\n"
    assert talk.say(b"0ma00\r") == b"0GS01\r\n"


def test_jogs_by_the_size_set(talk: Talk) -> None:
    assert talk.say(b"0sj00000400") == b"0GS00\r\n"
    assert talk.say(b"0gj") == b"0GJ00000400\r\n"
    assert talk.ask(b"0fw") == b"0PO00000400\r\n"
    assert talk.ask(b"0bw") == b"0PO00000000\r\n"


def test_velocity_and_motor_settings(talk: Talk) -> None:
    assert talk.say(b"0sv32") == b"0GS00\r\n"
    assert talk.say(b"0gv") == b"0GV32\r\n"
    before_s = talk.clock.now_s()
    talk.ask(b"0ma" + to_hex(TURN // 4).encode())
    assert talk.clock.now_s() - before_s == pytest.approx(0.9)
    assert talk.say(b"0sv00") == b"0GS04\r\n"
    assert talk.say(b"0f100A0") == b"0GS00\r\n"
    info = talk.say(b"0i1")
    assert len(info) == 27
    assert info[17:21] == b"00A0"
    assert talk.say(b"0s1") == b""
    assert talk.wait() == b"0GS00\r\n"
    assert talk.say(b"0us") == b"0GS00\r\n"


def test_a_stop_ends_the_motion_where_it_is(talk: Talk) -> None:
    talk.say(b"0ma00011800")
    talk.clock.sleep(0.1)
    assert talk.say(b"0st") == b"0GS00\r\n"
    assert talk.wait() == b""
    assert from_hex(talk.say(b"0gp")[3:11].decode()) == pytest.approx(20 / 360 * TURN, abs=2)


def test_buttons_speak_unasked(talk: Talk) -> None:
    bus_ = talk.wire
    assert isinstance(bus_, Ell14Bus)
    bus_.press_button("0", 0x200)
    assert talk.heard() == b"0BS00\r\n"
    assert talk.say(b"0gs") == b"0GS09\r\n"
    assert talk.wait() == b"0BO00000200\r\n"


def test_only_the_addressed_module_answers() -> None:
    talk, _ = bus("0", "B")
    assert talk.say(b"Bgs0gs7gs") == b"BGS00\r\n0GS00\r\n"


def test_a_new_address_answers_for_itself() -> None:
    talk, _ = bus("0", "2")
    assert talk.say(b"0ca5") == b"5GS00\r\n"
    assert talk.say(b"0gs5gs") == b"5GS00\r\n"
    assert talk.say(b"5ca2") == b"5GS04\r\n"


def test_a_group_moves_together_once() -> None:
    talk, mounts = bus("0", "1")
    assert talk.say(b"1ga0") == b"0GS00\r\n"
    assert talk.ask(b"0ma00001000") == b"0PO00001000\r\n1PO00001000\r\n"
    assert talk.ask(b"0ma00000000") == b"0PO00000000\r\n"
    assert mounts[1].encoder_deg() > 0


def test_an_isolated_module_is_silent_for_minutes() -> None:
    talk, _ = bus("0", "1")
    assert talk.say(b"0is02") == b"0GS05\r\n"
    assert talk.say(b"0gs1gs") == b"1GS00\r\n"
    talk.clock.sleep(121.0)
    assert talk.say(b"0gs") == b"0GS00\r\n"


def test_an_answer_to_someone_who_left_is_not_kept() -> None:
    talk, _ = bus("0")
    talk.say(b"0ma0000")
    talk.wire.new_client()
    assert talk.say(b"0gs") == b"0GS00\r\n"
