"""SC10: transcripts, the toggling command, two threads, and what can go wrong."""

from __future__ import annotations

import sys
import threading

import pytest
from drivers_stub import NoSleep, Stub, stub
from patience import PATIENCE_S
from pymeasure.test import expected_protocol

from drivers import registry
from drivers.shutters.thorlabs_sc10 import COMMAND_LIMIT_S, ThorlabsSC10
from labctl.model.clock import ScaledClock, SteppedClock
from labctl.model.errors import InstrumentFault, InstrumentTimeout, NotConnected
from simulators import presets
from simulators.bench import SimulatedBench

HELLO = [
    ("id?", "id?\rTHORLABS SC10 VERSION 1.07\r> "), ("mode?", "mode?\r1\r> "), ("trig?", "trig?\r0\r> "),
]  # fmt: skip


def said(command: str, value: object = None) -> tuple[str, str]:
    """Return one exchange with echo and prompt."""
    return command, f"{command}\r> " if value is None else f"{command}\r{value}\r> "


class Controller:
    """Byte-level SC10 with a blade that needs ``lag`` questions to arrive."""

    def __init__(self, lag: int = 0) -> None:
        self.enabled = self.closed_after = 0
        self.mode, self.interlock, self.lag, self.trigger = 1, 0, lag, 0
        self.toggles = 0
        self.stuck = False
        self._buffer = b""
        self._lock = threading.Lock()

    def __call__(self, data: bytes) -> bytes:
        with self._lock:
            *lines, self._buffer = (self._buffer + data).split(b"\r")
            return b"".join(self._line(line.decode()) for line in lines)

    def _line(self, command: str) -> bytes:
        values = {
            "id?": "THORLABS SC10 VERSION 1.07", "ens?": self.enabled, "mode?": self.mode,
            "interlock?": self.interlock, "closed?": self._closed, "trig?": self.trigger,
        }  # fmt: skip
        if command == "ens" and not self.stuck:
            self.enabled, self.closed_after = 1 - self.enabled, self.lag
            self.toggles += 1
        if command.startswith("mode="):
            self.mode = int(command[5:])
        if command.startswith("trig="):
            self.trigger = int(command[5:])
        found = values.get(command)
        value = found() if callable(found) else found
        return (f"{command}\r> " if value is None else f"{command}\r{value}\r> ").encode()

    def _closed(self) -> int:
        if self.closed_after > 0:
            self.closed_after -= 1
            return self.enabled
        return 1 - self.enabled


def opened(server: Stub) -> ThorlabsSC10:
    return ThorlabsSC10(server.resource, clock=NoSleep())


def test_opening_toggles_once_and_waits_for_the_blade() -> None:
    talk = [
        *HELLO, said("interlock?", 0), said("ens?", 0), said("ens"), said("ens?", 1),
        said("closed?", 1), said("closed?", 0),
    ]  # fmt: skip
    with expected_protocol(ThorlabsSC10, talk, clock=NoSleep()) as shutter:
        shutter.open()


def test_closing_what_is_closed_sends_no_toggle() -> None:
    talk = [*HELLO, said("ens?", 0), said("closed?", 1)]
    with expected_protocol(ThorlabsSC10, talk) as shutter:
        shutter.close_beam()


def test_another_mode_is_set_to_manual_and_verified() -> None:
    talk = [HELLO[0], said("mode?", 3), said("mode=1"), said("mode?", 1), HELLO[2]]
    with expected_protocol(ThorlabsSC10, talk):
        pass


def test_a_trigger_input_left_on_is_switched_off_and_verified() -> None:
    talk = [*HELLO[:2], said("trig?", 1), said("trig=0"), said("trig?", 0)]
    with expected_protocol(ThorlabsSC10, talk):
        pass


def test_a_trigger_input_that_stays_on_is_a_failed_connection() -> None:
    talk = [*HELLO[:2], said("trig?", 1), said("trig=0"), said("trig?", 1)]
    with pytest.raises(NotConnected, match="trigger input"), expected_protocol(ThorlabsSC10, talk):
        pass


def test_a_controller_that_only_arms_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulator and driver: with its trigger input on, the SC10 waits for a signal that nobody sends."""
    with SimulatedBench(presets.scene("ola", "ideal", seed=3), SteppedClock()) as bench:
        resource = bench.resources["shutter"]
        line = ThorlabsSC10(resource, clock=bench.scene.clock)
        line.triggered = 1
        monkeypatch.setattr("drivers.shutters.thorlabs_sc10.COMMAND_LIMIT_S", 0.2)
        with pytest.raises(InstrumentFault, match="only arms it"):
            line.open()
        line.close()
        shutter = ThorlabsSC10(resource, clock=bench.scene.clock)
        shutter.close_beam()
        shutter.open()
        assert shutter.is_open()
        shutter.close()


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
def test_a_controller_at_115200_baud_is_found_by_its_key() -> None:
    with SimulatedBench(presets.scene("ola", "ideal", seed=3), ScaledClock(20.0), transport="pty") as bench:
        resource = bench.resources["shutter"]
        fast = ThorlabsSC10(resource, clock=bench.scene.clock)
        fast.write("baud=1")
        fast.close()
        again = registry.find("shutter", "thorlabs-sc10")
        table = {"driver": "thorlabs-sc10", "resource": resource, "baud_rate": 115200}
        shutter = again.open(again.config.model_validate(table), bench.scene.clock)
        assert shutter.identity().model == "SC10"
        shutter.close()


def test_a_mode_that_stays_is_a_failed_connection() -> None:
    talk = [HELLO[0], said("mode?", 5), said("mode=1"), said("mode?", 5)]
    with pytest.raises(NotConnected, match="manual mode"), expected_protocol(ThorlabsSC10, talk):
        pass


def test_the_interlock_is_a_fault_and_nothing_toggles() -> None:
    talk = [*HELLO, said("interlock?", 1)]
    with (
        expected_protocol(ThorlabsSC10, talk) as shutter,
        pytest.raises(InstrumentFault, match="interlock is tripped"),
    ):
        shutter.open()


def test_only_the_sensor_says_closed() -> None:
    talk = [*HELLO, said("closed?", 0), said("closed?", 1)]
    with expected_protocol(ThorlabsSC10, talk) as shutter:
        assert shutter.is_open()
        assert not shutter.is_open()


def test_a_wrong_echo_is_repeated_once_and_then_an_error() -> None:
    talk = [*HELLO, ("closed?", "ens?\r0\r> "), ("closed?", "closed?\r1\r> ")]
    with expected_protocol(ThorlabsSC10, talk) as shutter:
        assert not shutter.is_open()


def test_a_command_the_controller_does_not_know_is_a_fault() -> None:
    talk = [*HELLO, ("fly", "fly\rCommand error CMD_NOT_DEFINED\r> ")]
    with (
        expected_protocol(ThorlabsSC10, talk) as shutter,
        pytest.raises(InstrumentFault, match="refuses 'fly'"),
    ):
        shutter.ask("fly")


def test_identity_and_travel() -> None:
    talk = [*HELLO, HELLO[0]]
    with expected_protocol(ThorlabsSC10, talk, travel_s=0.02) as shutter:
        assert str(shutter.identity()) == "Thorlabs SC10 1.07"
        assert shutter.travel_s == 0.02


def test_a_change_at_the_panel_is_noticed() -> None:
    controller = Controller()
    with stub(controller) as server:
        shutter = opened(server)
        shutter.close_beam()
        controller.enabled = 1
        assert shutter.is_open()
        shutter.close_beam()
        assert not shutter.is_open()
        assert controller.toggles == 1
        shutter.close()


def test_two_threads_never_leave_it_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.shutters.thorlabs_sc10.COMMAND_LIMIT_S", PATIENCE_S)
    controller = Controller(lag=2)
    with stub(controller) as server:
        shutter = opened(server)
        safe, failures = threading.Event(), []

        def toggle() -> None:
            try:
                while not safe.is_set():
                    shutter.open()
                    shutter.close_beam()
            except Exception as exc:  # noqa: BLE001  handed to the test
                failures.append(exc)

        worker = threading.Thread(target=toggle)
        worker.start()
        states = []
        for _ in range(100):
            with shutter.lock:
                shutter.close_beam()
                states.append(controller.enabled)
        safe.set()
        worker.join(PATIENCE_S)
        shutter.close_beam()
        assert failures == []
        assert states == [0] * 100
        assert controller.enabled == 0
        assert controller.toggles >= 100, "the other thread hardly had its turn"
        shutter.close()


class SteppingTime:
    """What the driver calls ``time``: so many seconds pass between two looks at it."""

    def __init__(self, step_s: float) -> None:
        self._now_s, self._step_s = 0.0, step_s

    def monotonic(self) -> float:
        self._now_s += self._step_s
        return self._now_s


def test_a_blade_that_sticks_is_reported_within_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    controller = Controller()
    with stub(controller) as server:
        shutter = opened(server)
        shutter.open()
        controller.stuck = True
        monkeypatch.setattr("drivers.shutters.thorlabs_sc10.time", SteppingTime(0.1))
        asked = server.received.count(b"ens\r")
        with pytest.raises(InstrumentFault, match="does not take the command to close"):
            shutter.close_beam()
        assert 1 < server.received.count(b"ens\r") - asked <= (COMMAND_LIMIT_S + shutter.travel_s) / 0.1 + 2
        shutter.close()


def test_a_program_that_stood_still_closes_the_shutter_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    controller = Controller(lag=1)
    with stub(controller) as server:
        shutter = opened(server)
        shutter.open()
        monkeypatch.setattr("drivers.shutters.thorlabs_sc10.time", SteppingTime(100.0))
        shutter.close_beam()
        assert controller.enabled == 0
        shutter.close()


def test_a_dead_controller_is_reported_within_the_bound() -> None:
    controller = Controller()
    alive = True
    with stub(lambda data: controller(data) if alive else b"") as server:
        shutter = opened(server)
        alive = False
        asked = len(server.received)
        with pytest.raises(InstrumentTimeout, match="no answer to 'ens\\?'"):
            shutter.close_beam()
        assert server.received[asked:].count(b"ens?\r") == 2  # each with a time-out, and no more
        shutter.close()


def test_an_answer_that_comes_late_is_not_believed() -> None:
    controller = Controller()
    alive = True
    with stub(lambda data: controller(data) if alive else b"") as server:
        shutter = opened(server)
        alive = False
        with pytest.raises(InstrumentTimeout):
            shutter.is_open()
        alive, controller.enabled = True, 1
        server.send(b"closed?\r1\r> " * 2)
        assert shutter.is_open()
        shutter.close()


def test_a_busy_connection_does_not_block_for_ever() -> None:
    with stub(Controller()) as server:
        shutter = opened(server)
        held, release = threading.Event(), threading.Event()

        def hold() -> None:
            with shutter.lock:
                held.set()
                release.wait(PATIENCE_S)

        holder = threading.Thread(target=hold)
        holder.start()
        held.wait(PATIENCE_S)
        with pytest.raises(InstrumentTimeout, match="another thread"):
            shutter.close_beam()
        assert not release.is_set()
        release.set()
        holder.join(PATIENCE_S)
        shutter.close()


def test_single_mode_is_chosen_with_its_time_and_left_again_for_light_of_unknown_length() -> None:
    single = [
        said("interlock?", 0), said("mode?", 1), said("mode=3"), said("mode?", 3),
        said("open?", 200), said("open=12500"), said("open?", 12500),
        said("ens?", 0), said("ens"), said("ens?", 1), said("closed?", 0),
    ]  # fmt: skip
    closing = [said("ens?", 1), said("ens"), said("ens?", 0), said("closed?", 1)]
    plain = [
        said("interlock?", 0), said("mode?", 3), said("mode=1"), said("mode?", 1),
        said("ens?", 0), said("ens"), said("ens?", 1), said("closed?", 0),
    ]  # fmt: skip
    with expected_protocol(
        ThorlabsSC10, [*HELLO, *single, *closing, *plain], self_closing=True, clock=NoSleep()
    ) as shutter:
        shutter.open(12.5)
        shutter.close_beam()
        shutter.open()


def test_a_time_that_does_not_stay_opens_nothing() -> None:
    exchanges = [
        said("interlock?", 0), said("mode?", 3), said("open?", 200), said("open=999999"), said("open?", 200),
    ]  # fmt: skip
    with (
        expected_protocol(ThorlabsSC10, [*HELLO, *exchanges], self_closing=True, clock=NoSleep()) as shutter,
        pytest.raises(InstrumentFault, match="does not keep an open time of 999999 ms"),
    ):
        shutter.open(5000.0)


def test_without_self_closing_a_time_changes_nothing() -> None:
    exchanges = [said("interlock?", 0), said("ens?", 0), said("ens"), said("ens?", 1), said("closed?", 0)]
    with expected_protocol(ThorlabsSC10, [*HELLO, *exchanges], clock=NoSleep()) as shutter:
        assert not shutter.self_closing
        shutter.open(3.0)
