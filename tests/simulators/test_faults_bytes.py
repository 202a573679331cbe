"""Faults of whole messages, on every wire, as a plain client sees them."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any, ClassVar

import pytest
from fault_bench import GET_INTEGRATION, SOON_S, SPECTRUM, Faulty, WallClock, frame
from patience import PATIENCE_S, until

from labctl.model.clock import SteppedClock
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.faults import FaultPlan
from simulators.faults.tamper import MOST_ANSWERS, Tamper

QUERIES = {
    "attenuator": b"0gp",
    "power_meter": b"*IDN?\n",
    "shutter": b"id?\r",
    "spectrometer": frame(GET_INTEGRATION),
}
ROLES = sorted(QUERIES)


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """The wall clock of every server, in the test's hands."""
    clock = WallClock()
    monkeypatch.setattr("simulators.servers.time", clock)
    return clock


class HeldTimer(threading.Timer):
    """Does not go off before the test says so."""

    latest: ClassVar[HeldTimer]

    def start(self) -> None:
        HeldTimer.latest = self

    def go_off(self) -> None:
        self.function()


def fault(kind: str, role: str, when: str = "nth = 2", **how: object) -> str:
    more = "\n".join(f"{key} = {value!r}" for key, value in how.items())
    return f'[[fault]]\nkind = "{kind}"\ninstrument = "{role}"\n{when}\n{more}\n'


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("direction", ["request", "reply"])
def test_a_dropped_message_is_silence_and_only_that_one_is_lost(role: str, direction: str) -> None:
    with Faulty(fault("drop", role, direction=direction)) as bench, bench.client(role) as client:
        good = client.ask(QUERIES[role])
        assert client.ask(QUERIES[role], SOON_S) == b""
        assert client.ask(QUERIES[role]) == good != b""
        (firing,) = bench.fired()
        assert (firing.fault, firing.kind, firing.instrument, firing.message) == (1, "drop", role, 2)


@pytest.mark.parametrize("role", ROLES)
def test_a_garbled_answer_has_its_length_and_other_bytes(role: str) -> None:
    with Faulty(fault("garble", role)) as bench, bench.client(role) as client:
        good = client.ask(QUERIES[role])
        bad = client.all_of(QUERIES[role], size=len(good))
        assert len(bad) == len(good)
        assert all(a != b for a, b in zip(good, bad, strict=True))
        assert client.ask(QUERIES[role]) == good


@pytest.mark.parametrize("role", ROLES)
def test_a_truncated_answer_is_a_beginning(role: str) -> None:
    with Faulty(fault("truncate", role, bytes=3)) as bench, bench.client(role) as client:
        good = client.ask(QUERIES[role])
        assert client.ask(QUERIES[role], SOON_S) == good[:3]


@pytest.mark.parametrize("role", ROLES)
def test_a_duplicated_answer_comes_twice(role: str) -> None:
    with Faulty(fault("duplicate", role)) as bench, bench.client(role) as client:
        good = client.ask(QUERIES[role])
        assert client.ask(QUERIES[role]) == good
        assert client.hear() == good
        assert client.hear(SOON_S) == b""


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", ["delay", "stall"])
def test_a_delayed_message_is_late_by_wall_time(role: str, kind: str) -> None:
    with Faulty(fault(kind, role, wall_s=0.04)) as bench, bench.client(role) as client:
        good = client.ask(QUERIES[role])
        begin = time.monotonic()
        assert client.ask(QUERIES[role]) == good
        assert time.monotonic() - begin >= 0.039
        assert bench.clock.now_s() < 0.5


def test_a_stall_without_end_holds_everything_and_still_lets_the_bench_stop() -> None:
    with Faulty(fault("stall", "shutter")) as bench, bench.client("shutter") as client:
        client.ask(b"id?\r")
        assert client.ask(b"ens\r", SOON_S) == b""
        with bench.client("shutter") as second:
            assert second.ask(b"id?\r", SOON_S) == b""
        assert not bench.scene.shutter.is_open()


@pytest.mark.parametrize("role", ROLES)
def test_a_cut_line_ends_the_connection_and_the_next_one_works(role: str) -> None:
    with Faulty(fault("disconnect", role)) as bench, bench.client(role) as client:
        good = client.ask(QUERIES[role])
        with pytest.raises(EOFError):
            client.ask(QUERIES[role])
        with bench.client(role) as second:
            assert second.ask(QUERIES[role]) == good


@pytest.mark.parametrize(("direction", "opens"), [("request", False), ("reply", True)])
def test_a_line_is_cut_before_or_after_the_command_was_carried_out(direction: str, opens: bool) -> None:
    with Faulty(fault("disconnect", "shutter", direction=direction)) as bench:
        with bench.client("shutter") as client:
            client.ask(b"id?\r")
            with pytest.raises(EOFError):
                client.ask(b"ens\rens\r")
        with bench.client("shutter") as client:
            assert client.ask(b"ens?\r") == b"ens?\r%d\r> " % opens


def test_who_comes_back_too_early_is_turned_away(wall: WallClock) -> None:
    with Faulty(fault("disconnect", "shutter", "nth = 1", wall_s=60.0)) as bench:
        for _ in range(2):
            with bench.client("shutter") as client, pytest.raises(EOFError):
                client.ask(b"id?\r")
        wall.now_s += 60.1
        with bench.client("shutter") as client:
            assert b"SC10" in client.ask(b"id?\r")


def test_a_late_answer_comes_just_before_the_next_one() -> None:
    with Faulty(fault("late-answer", "shutter")) as bench, bench.client("shutter") as client:
        client.ask(b"id?\r")
        assert client.ask(b"ens?\r", SOON_S) == b""
        assert client.ask(b"closed?\r") == b"ens?\r0\r> "
        assert client.hear() == b"closed?\r1\r> "


def test_a_late_answer_can_come_by_itself_and_be_overtaken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulators.faults.tamper.threading.Timer", HeldTimer)
    plan = fault("late-answer", "shutter", "nth = 1", wall_s=0.05)
    with Faulty(plan) as bench, bench.client("shutter") as client:
        client.say(b"ens?\r")
        assert client.ask(b"closed?\r") == b"closed?\r1\r> "
        HeldTimer.latest.go_off()
        assert client.hear() == b"ens?\r0\r> "


def test_nobody_hears_a_late_answer_to_somebody_who_has_left() -> None:
    held = fault("late-answer", "shutter", "nth = 1")
    timed = fault("late-answer", "shutter", "nth = 1", wall_s=0.02)
    for plan in (held, timed):
        with Faulty(plan) as bench:
            with bench.client("shutter") as client:
                client.say(b"id?\r")
            with bench.client("shutter") as client:
                assert client.ask(b"closed?\r") == b"closed?\r1\r> "
                assert client.hear(SOON_S) == b""


def test_answers_still_under_way_are_forgotten_with_the_bench() -> None:
    with Faulty(fault("late-answer", "shutter", "nth = 1", wall_s=600.0)) as bench:
        assert bench.client("shutter").ask(b"id?\r", SOON_S) == b""
        waiting = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
        assert len(waiting) == 1
    waiting[0].join(PATIENCE_S)
    assert not waiting[0].is_alive()


def test_a_stale_answer_is_the_one_to_the_same_request_before() -> None:
    plan = fault("stale-answer", "shutter", "nth = 2", match="closed?")
    with Faulty(plan) as bench, bench.client("shutter") as client:
        assert client.ask(b"closed?\r") == b"closed?\r1\r> "
        client.ask(b"ens\r")
        assert client.ask(b"closed?\r") == b"closed?\r1\r> "
        assert client.ask(b"closed?\r") == b"closed?\r0\r> "
        assert bench.fired()[0].request == "closed?"


def test_a_stale_spectrum_is_the_last_one_again() -> None:
    plan = fault("stale-answer", "spectrometer", "nth = 3", match="00101000")
    with Faulty(plan) as bench, bench.client("spectrometer") as client:
        spectra = [client.ask(frame(SPECTRUM)) for _ in range(4)]
        assert spectra[2] == spectra[1]
        assert len(set(spectra)) == 3


def test_a_short_frame_is_sound_but_lacks_pixels() -> None:
    plan = fault("short-frame", "spectrometer", "nth = 1", bytes=100)
    with Faulty(plan) as bench, bench.client("spectrometer") as client:
        client.ask(frame(GET_INTEGRATION))
        short, whole = client.ask(frame(SPECTRUM)), client.ask(frame(SPECTRUM))
        assert len(whole) - len(short) == 100
        assert int.from_bytes(short[40:44], "little") == len(short) - 44


def test_a_duplicated_toggle_leaves_the_shutter_as_it_was() -> None:
    plan = fault("duplicate", "shutter", "nth = 1", direction="request")
    with Faulty(plan) as bench, bench.client("shutter") as client:
        client.ask(b"ens\r")
        assert client.hear() == b"ens\r> "
        assert client.ask(b"ens?\r") == b"ens?\r0\r> "


def test_several_requests_in_one_packet_are_several_messages() -> None:
    with Faulty(fault("drop", "power_meter")) as bench, bench.client("power_meter") as client:
        client.say(b"SYST:VERS?\n*IDN?\nSENS:AVER?\n")
        assert [client.hear(), client.hear()] == [b"1999.0\n", b"1\n"]


def test_a_request_in_several_packets_is_one_message() -> None:
    plan = fault("drop", "attenuator", "nth = 2", direction="request")
    with Faulty(plan) as bench, bench.client("attenuator") as client:
        for piece in (b"0", b"m", b"a0000"):
            client.say(piece)
            time.sleep(0.005)  # noqa: TID251  so that they travel alone
        assert client.ask(b"1000").startswith(b"0PO")
        assert client.ask(b"0gp", SOON_S) == b""


def test_count_hits_so_many_in_a_row_and_the_duration_is_in_scene_time() -> None:
    plan = fault("drop", "shutter", "at_s = 2.0", duration_s=3.0) + fault("drop", "shutter", count=2)
    with Faulty(plan) as bench, bench.client("shutter") as client:
        assert client.ask(b"id?\r")
        assert client.is_deaf_to(b"id?\r")
        assert client.is_deaf_to(b"id?\r")
        assert client.ask(b"id?\r")
        bench.clock.sleep(2.0)
        assert client.is_deaf_to(b"id?\r")
        bench.clock.sleep(2.9)
        assert client.is_deaf_to(b"id?\r")
        bench.clock.sleep(0.2)
        assert client.ask(b"id?\r")
        assert [f.scene_s for f in bench.fired()] == pytest.approx([0.0, 0.0, 2.0, 4.9])


def hit(seed: int, bystander: bool = False) -> list[int]:
    """Return the numbers of the answers that chance hit of 60."""
    plan = f"seed = {seed}\n" + fault("delay", "shutter", "probability = 0.3", wall_s=0.0)
    if bystander:
        plan += fault("garble", "shutter", "probability = 0.5", match="nothing")
    with Faulty(plan) as bench, bench.client("shutter") as client:
        for _ in range(60):
            client.ask(b"ens?\r")
        return [f.message for f in bench.fired()]


def test_chance_is_the_seeds_and_nobody_elses() -> None:
    assert hit(1) == hit(1) == hit(1, bystander=True) != hit(2)
    assert 6 <= len(hit(1)) <= 32


def test_a_limit_of_count_ends_what_chance_does() -> None:
    plan = fault("drop", "shutter", "probability = 1.0", count=2)
    with Faulty(plan) as bench, bench.client("shutter") as client:
        assert client.is_deaf_to(b"id?\r")
        assert client.is_deaf_to(b"id?\r")
        assert client.ask(b"id?\r")
        assert client.ask(b"id?\r")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_faults_reach_pseudo_terminals_too(wall: WallClock) -> None:
    plan = FaultPlan.parse(fault("drop", "shutter") + fault("disconnect", "shutter", "nth = 3", wall_s=60.0))
    settings = presets.scene("ola", "ideal")
    with (
        SimulatedBench(settings, SteppedClock(), "pty", faults=plan) as bench,
        plugged_in(bench, "shutter") as line,
    ):
        assert answered(line) == b"ens?\r0\r> "
        line.write(b"ens?\r")
        until(lambda: bench.fault_log.kinds() == ("drop",))
        line.write(b"ens?\r")
        server = bench.server("shutter")
        until(lambda: server._away_until > wall.now_s)
        looks = wall.looks
        line.write(b"ens?\r")
        until(lambda: wall.looks > looks)  # it was read while the plug was out
        line.timeout = SOON_S
        assert line.read(1) == b""
        wall.now_s += 60.1
        assert answered(line) == b"ens?\r0\r> "
        assert bench.fault_log.kinds() == ("drop", "disconnect")


def plugged_in(bench: SimulatedBench, role: str) -> Any:
    """Open the pseudo-terminal of an instrument as any serial library does."""
    import serial

    path = bench.resources[role].removeprefix("ASRL").removesuffix("::INSTR")
    return serial.Serial(path, 9600, timeout=PATIENCE_S)


def answered(line: Any) -> bytes:
    """Ask a shutter whether it is open; return what it says."""
    line.timeout = PATIENCE_S
    line.write(b"ens?\r")
    return bytes(line.read_until(b"> "))


def test_only_so_many_answers_are_remembered_for_stale_ones() -> None:
    plan = fault("stale-answer", "power_meter", "nth = 1000")
    with Faulty(plan) as bench, bench.client("power_meter") as client:
        for number in range(MOST_ANSWERS + 8):
            client.ask(b"*IDN?" + b" " * number + b"\n")
        tamper = bench.bench.server("power_meter").link.tamper
        assert isinstance(tamper, Tamper)
        assert tamper.remembered == MOST_ANSWERS


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_what_an_instrument_says_by_itself_is_lost_without_the_plug(wall: WallClock) -> None:
    plan = FaultPlan.parse(fault("disconnect", "attenuator", wall_s=60.0))
    with (
        SimulatedBench(presets.scene("ola", "ideal"), SteppedClock(), "pty", faults=plan) as bench,
        plugged_in(bench, "attenuator") as line,
    ):
        line.write(b"0ma000010000gp")
        mount = bench.scene.mount
        until(lambda: mount.encoder_deg() > 1.0 and not mount.moving())
        line.timeout = SOON_S
        assert line.read(20) == b""
        assert wall.now_s == 1000.0
