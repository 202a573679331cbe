"""The SC10 byte by byte."""

from __future__ import annotations

import pytest
from wire_talk import PlainBlade, Talk

from labctl.model.clock import SteppedClock
from simulators.shutters.sc10 import Sc10


@pytest.fixture
def blade_and_talk() -> tuple[PlainBlade, Talk]:
    clock = SteppedClock()
    blade = PlainBlade(clock)
    return blade, Talk(Sc10(clock, blade), clock)


@pytest.fixture
def talk(blade_and_talk: tuple[PlainBlade, Talk]) -> Talk:
    return blade_and_talk[1]


def test_echo_value_and_prompt(talk: Talk) -> None:
    assert talk.say(b"ens?\r") == b"ens?\r0\r> "
    assert talk.say(b"id?\r") == b"id?\rTHORLABS SC10 VERSION 1.07\r> "


def test_what_answers_nothing_still_echoes_and_prompts(talk: Talk) -> None:
    assert talk.say(b"ens\r") == b"ens\r> "
    assert talk.say(b"mode=1\r") == b"mode=1\r> "


def test_a_bare_carriage_return_is_a_command_that_does_not_exist(talk: Talk) -> None:
    assert talk.say(b"\r") == b"\rCommand error CMD_NOT_DEFINED\r> "
    assert talk.say(b"ens=1\r") == b"ens=1\rCommand error CMD_NOT_DEFINED\r> "


@pytest.mark.parametrize("command", [b"save", b"savp", b"resp", b"default"])
def test_storing_and_recalling_says_that_it_is_done(talk: Talk, command: bytes) -> None:
    assert talk.say(command + b"\r") == command + b"\r1\r> "


def test_enable_toggles(talk: Talk) -> None:
    talk.say(b"ens\r")
    assert talk.say(b"ens?\r") == b"ens?\r1\r> "
    talk.say(b"ens\r")
    assert talk.say(b"ens?\r") == b"ens?\r0\r> "


def test_closed_is_the_blade_not_the_command(talk: Talk) -> None:
    talk.say(b"ens\r")
    assert talk.say(b"closed?\r") == b"closed?\r0\r> "
    talk.say(b"ens\r")
    assert talk.say(b"closed?\r") == b"closed?\r0\r> "
    talk.clock.sleep(0.02)
    assert talk.say(b"closed?\r") == b"closed?\r1\r> "


def test_commands_in_pieces_and_with_line_feeds(talk: Talk) -> None:
    assert [talk.say(part) for part in (b"mo", b"de?", b"\r\n")] == [b"mo", b"de?", b"\r1\r> "]
    assert talk.say(b"rep?\r\ntrig?\r\n") == b"rep?\r1\r> trig?\r0\r> "


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("mode", 5, 6),
        ("trig", 1, 2),
        ("xto", 1, 2),
        ("rep", 99, 100),
        ("open", 999999, 1000000),
        ("shut", 0, -1),
    ],
)
def test_settings_are_read_back_and_checked(talk: Talk, key: str, good: int, bad: int) -> None:
    assert talk.say(f"{key}={good}\r".encode()) == f"{key}={good}\r> ".encode()
    assert talk.say(f"{key}?\r".encode()) == f"{key}?\r{good}\r> ".encode()
    assert b"CMD_ARG_INVALID\r> " in talk.say(f"{key}={bad}\r".encode())
    assert talk.say(f"{key}?\r".encode()) == f"{key}?\r{good}\r> ".encode()


@pytest.mark.parametrize("line", [b"ens=1", b"open", b"nonsense", b"ENS?", b"closed=1"])
def test_what_the_manual_does_not_list_is_an_error_in_words(talk: Talk, line: bytes) -> None:
    assert talk.say(line + b"\r") == line + b"\rCommand error CMD_NOT_DEFINED\r> "
    assert talk.say(b"ens?\r") == b"ens?\r0\r> "


def test_a_single_shot_closes_by_itself(blade_and_talk: tuple[PlainBlade, Talk]) -> None:
    blade, talk = blade_and_talk
    talk.say(b"mode=3\ropen=50\r")
    talk.say(b"ens\r")
    talk.wait()
    assert blade.commands == [(0.0, True), (0.05, False)]
    assert talk.say(b"ens?\r") == b"ens?\r0\r> "


def test_repeat_counts(blade_and_talk: tuple[PlainBlade, Talk]) -> None:
    blade, talk = blade_and_talk
    talk.say(b"mode=4\rrep=2\ropen=30\rshut=70\r")
    talk.say(b"ens\r")
    talk.wait()
    assert blade.commands == [(0.0, True), (0.03, False), (0.1, True), (0.13, False)]


def test_automatic_goes_on_until_disabled(blade_and_talk: tuple[PlainBlade, Talk]) -> None:
    blade, talk = blade_and_talk
    talk.say(b"mode=2\ropen=100\rshut=100\rens\r")
    talk.wait(0.95)
    assert len(blade.commands) == 10
    talk.say(b"ens\r")
    assert talk.wire.due_s() is None


def test_the_gate_mode_waits_for_its_input(blade_and_talk: tuple[PlainBlade, Talk]) -> None:
    blade, talk = blade_and_talk
    talk.say(b"mode=5\rens\r")
    assert blade.commands == []
    assert talk.say(b"ens?\r") == b"ens?\r1\r> "


def test_a_tripped_interlock_closes_and_holds(blade_and_talk: tuple[PlainBlade, Talk]) -> None:
    blade, talk = blade_and_talk
    talk.say(b"ens\r")
    wire = talk.wire
    assert isinstance(wire, Sc10)
    wire.trip_interlock(True)
    assert blade.commands[-1][1] is False
    assert talk.say(b"interlock?\r") == b"interlock?\r1\r> "
    talk.say(b"ens\r")
    assert talk.say(b"ens?\r") == b"ens?\r0\r> "
    wire.trip_interlock(False)
    talk.say(b"ens\r")
    assert talk.say(b"ens?\r") == b"ens?\r1\r> "


def test_save_restore_and_default(talk: Talk) -> None:
    talk.say(b"open=77\rsavp\ropen=88\rresp\r")
    assert talk.say(b"open?\r") == b"open?\r77\r> "
    talk.say(b"default\r")
    assert talk.say(b"open?\r") == b"open?\r200\r> "


def test_the_baud_rate_follows_its_setting(talk: Talk) -> None:
    assert talk.wire.baud_rate == 9600
    talk.say(b"baud=1\r")
    assert talk.wire.baud_rate == 115200


def test_a_question_mark_lists_the_commands(talk: Talk) -> None:
    reply = talk.say(b"?\r")
    assert reply.startswith(b"?\r")
    assert b"interlock?" in reply
    assert reply.endswith(b"\r> ")
