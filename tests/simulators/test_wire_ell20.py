"""The ELL20 on its bus: who it is, where it goes and where it does not."""

from __future__ import annotations

import threading

import pytest
from wire_talk import Talk

from labctl.model.clock import SteppedClock
from simulators.attenuators.ell14 import Ell14Bus, from_hex, to_hex
from simulators.others.ell20 import StageModule
from simulators.scene.motor import LinearStage
from simulators.scene.settings import StageSettings


def made(**settings: float) -> tuple[Talk, LinearStage]:
    clock = SteppedClock()
    stage = LinearStage(StageSettings(**settings), 1, clock, threading.RLock())
    return Talk(Ell14Bus(clock, [StageModule(clock, stage, address="3")]), clock), stage


def test_it_says_what_it_is() -> None:
    talk, _ = made()
    answer = talk.say(b"3in").decode()
    assert answer[1:5] == "IN14"
    assert int(answer[21:25], 16) == 60
    assert int(answer[25:33], 16) == 1024
    assert talk.say(b"0in") == b""


def test_it_counts_from_the_reference_only_once_homed() -> None:
    talk, stage = made(start_mm=20.0)
    assert talk.say(b"3gp") == b"3PO00000000\r\n"
    assert talk.ask(b"3ho0") == b"3PO00000000\r\n"
    assert stage.position_um() == pytest.approx(0.0)
    assert talk.ask(f"3ma{to_hex(5 * 1024)}".encode()) == b"3PO00001400\r\n"
    assert stage.position_um() == pytest.approx(5000.0)
    assert talk.ask(f"3mr{to_hex(-1024)}".encode()) == b"3PO00001000\r\n"


def test_it_is_busy_on_its_way_and_takes_its_time() -> None:
    talk, stage = made()
    talk.ask(b"3ho0")
    began_s = talk.clock.now_s()
    assert talk.say(f"3ma{to_hex(60 * 1024)}".encode()) == b""
    assert talk.say(b"3gs") == b"3GS09\r\n"
    talk.clock.sleep(0.5)
    middle = from_hex(talk.say(b"3gp")[3:11].decode()) / 1024
    assert 20.0 < middle < 40.0
    talk.wait()
    assert talk.clock.now_s() - began_s == pytest.approx(1.06, abs=0.01)
    assert not stage.moving()


@pytest.mark.parametrize("pulses", [-1, 60 * 1024 + 1, 0x7FFFFFFF])
def test_it_goes_nowhere_off_its_rail(pulses: int) -> None:
    talk, stage = made()
    talk.ask(b"3ho0")
    assert talk.ask(f"3ma{to_hex(pulses)}".encode()) == b"3GS0C\r\n"
    assert stage.position_um() == pytest.approx(0.0)


def test_the_rail_ends_even_for_a_stage_that_does_not_know_where_it_is() -> None:
    talk, stage = made(start_mm=50.0)
    talk.ask(f"3ma{to_hex(40 * 1024)}".encode())
    assert stage.position_um() == pytest.approx(60_500.0)
    assert from_hex(talk.say(b"3gp")[3:11].decode()) == pytest.approx(10.5 * 1024, abs=1)


def test_repeatability_and_play_are_not_in_the_encoder() -> None:
    talk, stage = made(repeatability_um=2.0, backlash_um=10.0)
    talk.ask(b"3ho0")
    up, down = [], []
    for _ in range(40):
        assert talk.ask(f"3ma{to_hex(20480)}".encode()) == b"3PO00005000\r\n"
        up.append(stage.position_um() - 20_000.0)
        talk.ask(f"3ma{to_hex(40960)}".encode())
        assert talk.ask(f"3ma{to_hex(20480)}".encode()) == b"3PO00005000\r\n"
        down.append(stage.position_um() - 20_000.0)
        talk.ask(f"3ma{to_hex(1024)}".encode())
    assert sum(down) / 40 - sum(up) / 40 == pytest.approx(10.0, abs=1.5)
    mean = sum(up) / 40
    assert (sum((value - mean) ** 2 for value in up) / 39) ** 0.5 == pytest.approx(2.0, rel=0.35)
