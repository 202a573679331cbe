"""What the watchdog hears, when it acts, and in which order it makes safe: no process is started here."""

from __future__ import annotations

import json
import math
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE_S

from drivers.shutters.thorlabs_sc10 import ThorlabsSC10
from labctl.config import parse_bench
from labctl.model.clock import ScaledClock, SteppedClock
from labctl.model.errors import InstrumentFault, NotConnected
from labctl.session.exits import closed_when_silent
from labctl.session.watchdog import child, rescue
from labctl.session.watchdog.child import Message, WatchdogTimer, listen, serve, watch
from labctl.session.watchdog.parent import assignment
from labctl.session.watchdog.report import own_log, report
from labctl.session.watchdog.rescue import Rescue
from labctl.session.watchdog.wire import Assignment, Lines, assignment_of, busy_s, decode, encode
from simulators.bench import SimulatedBench
from simulators.presets import scene

NOBODY = (1 << 22) + 1
"""A process number above all that Linux gives."""
ASSIGNMENT = Assignment(
    pid=NOBODY,
    limit_s=5.0,
    time_scale=1.0,
    shutter={"driver": "thorlabs-sc10", "resource": "TCPIP::127.0.0.1::9::SOCKET"},
    attenuator={"driver": "thorlabs-ell14", "resource": "TCPIP::127.0.0.1::9::SOCKET"},
    curve={"kind": "malus", "zero_deg": 12.0, "t_min": 0.002, "t_max": 1.0, "branch": "+"},
)


# -- what travels ------------------------------------------------------------------------------------


def test_an_assignment_survives_the_pipe() -> None:
    sent = replace(ASSIGNMENT, angle_range_deg=(0.0, 90.0), log="/tmp/x.log")
    heard = decode(encode(sent.message()).rstrip(b"\n"))
    assert heard is not None
    assert assignment_of(heard) == sent


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit_s": -1},
        {"limit_s": float("nan")},
        {"time_scale": "1"},
        {"pid": None},
        {"pid": 1},
        {"pid": -5},
        {"pid": True},
        {"shutter": 3},
        {"curve": []},
        {"curve": {"angle_deg": [0.0] * 10_001}},
        {"angle_range_deg": [1]},
    ],
)
def test_what_is_no_assignment_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        assignment_of({**ASSIGNMENT.message(), **wrong})


@given(st.lists(st.binary(max_size=40)), st.integers(1, 30))
def test_lines_are_cut_in_bounded_memory(chunks: list[bytes], longest: int) -> None:
    lines = Lines(longest)
    cut = [line for chunk in chunks for line in lines.feed(chunk)]
    whole = b"".join(chunks).split(b"\n")[:-1]
    assert cut == [line for line in whole if len(line) <= longest]


@given(st.binary(max_size=200))
def test_garbage_is_no_message(line: bytes) -> None:
    message = decode(line)
    assert message is None or isinstance(message["say"], str)


def test_deeply_nested_json_is_no_message() -> None:
    assert decode(b"[" * 100_000) is None


@pytest.mark.parametrize("value", ["1", None, True, math.inf, -math.inf, math.nan, [], -3.0])
def test_an_announcement_that_is_no_time_counts_for_nothing(value: object) -> None:
    assert busy_s({"for_s": value}) == 0.0


def test_an_announcement_is_bounded() -> None:
    assert busy_s({"for_s": 1e30}) == 3600.0


# -- when to act -------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def short_farewell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "FAREWELL_S", 0.05)


class Main(child.MainProcess):
    """A main process that lives until it is killed, or for some questions."""

    def __init__(self, answers: float = math.inf) -> None:
        self.answers, self.killed = answers, False

    def is_alive(self) -> bool:
        self.answers -= 1
        return self.answers >= 0 and not self.killed

    def kill(self) -> None:
        self.killed = True


class Inbox(queue.SimpleQueue):  # type: ignore[type-arg]
    """Messages that arrive at given times of a stepped clock; waiting steps it."""

    def __init__(self, *arrivals: tuple[float, Message | None], late_s: float = 0.0) -> None:
        self.arrivals, self.clock, self.late_s = list(arrivals), SteppedClock(), late_s

    def get(self, block: bool = True, timeout: float | None = None) -> Message | None:
        now, wait = self.clock.now_s(), timeout or 0.0
        if self.arrivals and self.arrivals[0][0] <= now + wait:
            at, message = self.arrivals.pop(0)
            self.clock.sleep(at - now)
            return message
        self.clock.sleep(wait + self.late_s)
        self.late_s = 0.0
        raise queue.Empty


def acted(inbox: Inbox, main: Main, limit_s: float = 5.0) -> tuple[str, float, list[Mapping[str, object]]]:
    answers: list[Mapping[str, object]] = []
    reason = watch(inbox, WatchdogTimer(limit_s), main, answers.append, inbox.clock.now_s)
    return reason, inbox.clock.now_s(), answers


def beats(*times: float, for_s: float = 0.0) -> list[tuple[float, Message | None]]:
    return [(t, {"say": "beat", "for_s": for_s}) for t in times]


def test_silence_in_the_light_ends_the_main_process_first() -> None:
    main = Main()
    reason, at_s, answers = acted(Inbox((1.0, {"say": "lit", "n": 1}), *beats(2.0, 3.0)), main)
    assert main.killed
    assert "stopped responding" in reason
    assert "was ended" in reason
    assert 8.0 <= at_s <= 8.8
    assert answers == [{"say": "ok", "n": 1}]


def test_an_announced_wait_is_granted_and_no_more() -> None:
    _, at_s, _ = acted(Inbox((0.0, {"say": "lit"}), *beats(1.0, for_s=30.0)), Main())
    assert 36.0 <= at_s <= 36.8


def test_silence_in_the_dark_harms_nobody() -> None:
    main = Main()
    inbox = Inbox((0.0, {"say": "lit"}), (1.0, {"say": "dark"}), *beats(2.0), (9000.0, None))
    reason, at_s, _ = acted(inbox, main)
    assert at_s >= 9000.0
    assert "closed the pipe" in reason


def test_the_end_of_the_pipe_waits_for_the_end_of_the_process() -> None:
    main = Main(answers=3)
    reason, _, _ = acted(Inbox((1.0, None)), main)
    assert not main.killed
    assert "ended unexpectedly" in reason


def test_a_process_that_ends_while_a_stranger_holds_the_pipe_is_noticed() -> None:
    reason, at_s, _ = acted(Inbox(), Main(answers=2))
    assert "ended unexpectedly" in reason
    assert at_s <= 2.0


def test_unknown_words_are_no_sign_of_life() -> None:
    chatter: list[tuple[float, Message | None]] = [(float(t), {"say": "hello"}) for t in range(1, 20)]
    _, at_s, _ = acted(Inbox((0.0, {"say": "lit"}), *chatter), Main())
    assert at_s <= 6.8


def test_what_waited_in_the_pipe_while_the_watchdog_itself_slept_counts() -> None:
    main = Main()
    late = Inbox(
        (0.0, {"say": "lit"}), (60.0, {"say": "beat"}), (61.0, {"say": "dark"}), (70.0, None), late_s=59.0
    )
    _, at_s, _ = acted(late, main)
    assert at_s >= 70.0  # the limit began anew after the sleep, and was kept


def test_a_sign_of_life_that_comes_a_moment_late_still_counts() -> None:
    main = Main()
    _, at_s, _ = acted(Inbox((0.0, {"say": "lit"}), *beats(5.1), (8.0, {"say": "dark"}), (20.0, None)), main)
    assert at_s >= 20.0


def test_an_unhomed_mount_is_not_trusted() -> None:
    timer = WatchdogTimer(5.0)
    for value, known in ((True, True), ("yes", False), (True, True), (False, False)):
        timer.hear({"say": "referenced", "value": value}, 0.0)
        assert timer.referenced is known


def test_a_farewell_ends_it_whatever_else_is_waiting() -> None:
    out, into = os.pipe()
    inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
    left: list[str] = []
    os.write(into, b'garbage\n{"say": "lit"}\n{"say": "done"}\n{"say": "dark"}\n')
    listen(inbox, lambda: left.append("left"), out)
    os.close(into)
    os.close(out)
    assert left == ["left"]
    assert inbox.get_nowait() == {"say": "lit"}
    assert inbox.empty()


def test_a_process_is_over_once_it_has_ended_though_nobody_asked_for_its_end() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as program:
        process = child.MainProcess(program.pid)
        assert process.is_alive()
        process.kill()
        assert child.ended(process, PATIENCE_S)  # it is a zombie: its parent, this test, has not looked
        program.wait()
        assert not process.is_alive()
        process.kill()
    assert not child.MainProcess(NOBODY).is_alive()


def test_a_number_that_is_used_again_is_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    process = child.MainProcess(os.getpid())
    assert process._process is not None
    monkeypatch.setattr(process._process, "_ident", (os.getpid(), 1.0))
    assert not process.is_alive()
    process.kill()  # or this test would be over


def test_without_an_assignment_nothing_is_done() -> None:
    for first in (None, {"say": "watch"}):
        inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        inbox.put(first)
        assert serve(inbox, lambda _: pytest.fail("answered")) == 0


# -- making safe -------------------------------------------------------------------------------------


@pytest.fixture
def bench() -> Iterator[SimulatedBench]:
    with SimulatedBench(scene("ola", "ideal", 1), ScaledClock(50)) as simulated:
        yield simulated


def rescue_of(bench: SimulatedBench, **changed: object) -> Rescue:
    plain = assignment(parse_bench(bench.bench_toml(50.0)))
    shutter = {**plain.shutter, **changed}
    return Rescue(replace(plain, shutter=shutter))


class Mute:
    """A cable on which nothing comes back."""

    def to_instrument(self, data: bytes) -> bytes:
        return data

    def to_client(self, data: bytes) -> bytes:
        del data
        return b""


def lighten(bench: SimulatedBench) -> None:
    """Home the plate and turn it to full light; open the shutter by its panel."""
    server = bench.server("shutter")
    opened = threading.Event()
    server.call(lambda: server.wire.receive(b"ens\r"))
    server.call(opened.set)
    assert opened.wait(PATIENCE_S)
    mount, clock = bench.scene.mount, bench.scene.clock
    clock.sleep(mount.home() - clock.now_s())
    clock.sleep(mount.move_to(bench.scene.settings.optics.zero_deg) - clock.now_s())
    assert not bench.scene.shutter.closed_switch()
    assert not leaks_least(bench)


def leaks_least(bench: SimulatedBench) -> bool:
    away = abs((bench.scene.mount.angle_deg() - bench.scene.settings.optics.zero_deg) % 90.0 - 45.0)
    return away < 0.5


def test_the_shutter_is_closed_and_the_attenuator_dropped(bench: SimulatedBench) -> None:
    lighten(bench)
    assert rescue_of(bench).make_safe(referenced=True) == []
    assert bench.scene.shutter.closed_switch()
    assert leaks_least(bench)


def test_a_mount_of_unknown_angle_stays_behind_the_closed_shutter(bench: SimulatedBench) -> None:
    lighten(bench)
    assert rescue_of(bench).make_safe(referenced=False) == []
    assert bench.scene.shutter.closed_switch()
    assert not leaks_least(bench)


def test_a_shutter_that_is_gone_does_not_keep_the_attenuator(
    bench: SimulatedBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rescue, "SHUTTER_S", 0.2)
    monkeypatch.setattr(rescue, "SHUTTER_AGAIN_S", 0.2)
    lighten(bench)
    failures = rescue_of(bench, resource="TCPIP::127.0.0.1::9::SOCKET").make_safe(referenced=True)
    assert [type(f).__name__ for f in failures] == ["NotConnected"]
    tried = [r.getMessage() for r in caplog.records if "trying again for up to" in r.getMessage()]
    assert len(tried) == 2  # the shutter, before and after the attenuator
    assert all(line.startswith("shutter at TCPIP::127.0.0.1::9::SOCKET") for line in tried)
    assert leaks_least(bench)
    failures = rescue_of(bench, resource="TCPIP::127.0.0.1::9::SOCKET").make_safe(referenced=False)
    assert [type(f).__name__ for f in failures] == ["NotConnected", "InstrumentFault"]


def test_a_shutter_that_does_not_confirm_is_not_called_closed(
    bench: SimulatedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescue, "SHUTTER_S", 0.2)
    monkeypatch.setattr(rescue, "SHUTTER_AGAIN_S", 0.2)
    monkeypatch.setattr(ThorlabsSC10, "is_open", lambda self: True)
    failures = rescue_of(bench).make_safe(referenced=True)
    assert len(failures) == 1
    assert "does not confirm" in str(failures[0])


def test_a_mute_shutter_is_named_soon_and_with_its_own_reason(
    bench: SimulatedBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rescue, "SLOW_S", 0.05)
    monkeypatch.setattr(rescue, "SHUTTER_AGAIN_S", 0.2)
    lighten(bench)
    bench.server("shutter").link.filters.append(Mute())
    failures = rescue_of(bench).make_safe(referenced=True)
    assert [type(f) for f in failures] == [NotConnected]
    assert "no answer to 'id?'" in str(failures[0])
    said = [
        record.getMessage() for record in caplog.records if record.name == "labctl.session.watchdog.rescue"
    ]
    assert said[0].startswith("shutter TCPIP::127.0.0.1::")
    assert "does not answer yet" in said[0]
    assert not any("lambda" in line or "Rescue" in line for line in said)
    assert leaks_least(bench)


def test_a_driver_that_is_not_there_is_told_beforehand(tmp_path: Path) -> None:
    told: list[Mapping[str, object]] = []
    inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
    wrong = replace(ASSIGNMENT, shutter={"driver": "nobody", "resource": "x"}, log=str(tmp_path / "r.log"))
    for message in (json.loads(encode(wrong.message())), None):
        inbox.put(message)
    assert serve(inbox, told.append) == 1
    assert [m["say"] for m in told] == ["armed"]
    assert "nobody" in str(told[0]["trouble"])
    assert "NOT MADE SAFE" in (tmp_path / "r.watchdog.log").read_text()


def test_what_the_watchdog_says_is_heard_by_a_program_that_lives() -> None:
    heard: list[str] = []
    assert report(ASSIGNMENT, "it let go", Failing().make_safe, "", referenced=True, hear=heard.append) == 1
    assert heard[-1] == "NOT MADE SAFE: shutter COM4: the blade does not close. Block the beam manually"


class Failing:
    def make_safe(self, *, referenced: bool) -> list[Exception]:
        return [InstrumentFault("shutter COM4", "the blade does not close")]


def test_what_could_not_be_made_safe_is_said_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_log = tmp_path / "run.log"
    run_log.write_text("earlier\n")
    code = report(replace(ASSIGNMENT, log=str(run_log)), "it died", Failing().make_safe, "", referenced=True)
    assert code == 1
    for text in (capsys.readouterr().err, run_log.read_text(), own_log(run_log).read_text()):
        assert f"it died (process {NOBODY})" in text
        assert "NOT MADE SAFE: shutter COM4: the blade does not close" in text
    assert run_log.read_text().startswith("earlier\n")


def test_a_log_that_cannot_be_written_keeps_nothing_up(tmp_path: Path) -> None:
    gone = tmp_path / "gone" / "run.log"
    assert (
        report(replace(ASSIGNMENT, log=str(gone)), "it died", Failing().make_safe, "", referenced=True) == 1
    )
    assert not gone.parent.exists()


# -- a script that pauses in the light ---------------------------------------------------------------


def test_a_silent_script_loses_its_light_and_nothing_else() -> None:
    silence, closed = [0.0], threading.Event()

    def close() -> None:
        silence[0] = 0.0
        closed.set()

    with closed_when_silent(lambda: silence[0], close, poll_s=0.01):
        assert not closed.wait(0.05)
        silence[0] = 10.0
        assert closed.wait(PATIENCE_S)


def test_a_shutter_that_does_not_close_is_left_to_the_watchdog() -> None:
    tried = threading.Semaphore(0)

    def close() -> None:
        tried.release()
        raise InstrumentFault("shutter", "stuck")

    with closed_when_silent(lambda: 10.0, close, poll_s=0.01):
        assert tried.acquire(timeout=PATIENCE_S)
        assert not tried.acquire(timeout=0.1)
