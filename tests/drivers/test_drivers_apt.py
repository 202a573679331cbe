"""APT controllers: what is asked, what is skipped, and what ends a motion."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from drivers_stub import stub

from drivers import found as devices
from drivers import registry
from labctl.config import parse_bench
from labctl.model.clock import ScaledClock, SteppedClock
from labctl.model.errors import Aborted, InstrumentFault, NotConnected
from labctl.session import open_bench
from labctl.session.bench import UNCONFIRMED
from labctl.session.check import check_bench
from simulators import presets
from simulators.bench import SimulatedBench

KEYS: dict[registry.RoleName, str] = {"attenuator": "thorlabs-apt", "shutter": "thorlabs-ksc101"}


@pytest.fixture
def bench() -> Iterator[SimulatedBench]:
    settings = presets.scene("ola", "ideal", 3)
    with SimulatedBench(settings, SteppedClock(), instruments=tuple(KEYS.values())) as running:
        yield running


def opened(role: registry.RoleName, resource: str, clock: Any) -> Any:
    spec = registry.find(role, KEYS[role])
    return spec.open(spec.config.model_validate({"driver": spec.key, "resource": resource}), clock)


def who(model: bytes) -> bytes:
    data = struct.pack("<l8sH4B", 55000001, model, 16, 3, 0, 1, 0) + bytes(66)
    return bytes.fromhex("06 00 54 00 81 50") + data


def bits(value: int) -> bytes:
    return bytes.fromhex("2a 04 06 00 81 50") + struct.pack("<HL", 1, value)


def position(degrees: float) -> bytes:
    return bytes.fromhex("12 04 06 00 81 50") + struct.pack("<Hl", 1, round(degrees * 409600 / 3))


class Controller:
    """A K10CR1 that answers as a test wants; ``asked`` are the numbers of the messages that came."""

    def __init__(self) -> None:
        self.model = b"K10CR1"
        self.asked: list[int] = []
        self.bits = [0x80000400]
        self.degrees = 0.0
        self.moves_to: float | None = None
        self.before = b""

    def __call__(self, data: bytes) -> bytes:
        reply = b""
        while len(data) >= 6:
            number, size = struct.unpack("<HH", data[:4])
            data = data[6 + (size if data[4] & 0x80 else 0) :]
            self.asked.append(number)
            reply += self.answer(number)
        return reply

    def answer(self, number: int) -> bytes:
        if number == 0x0005:
            return self.before + who(self.model)
        if number == 0x0429:
            return self.before + bits(self.bits.pop(0) if len(self.bits) > 1 else self.bits[0])
        if self.moves_to is not None and len(self.bits) == 1:
            self.degrees = self.moves_to
        return self.before + position(self.degrees) if number == 0x0411 else b""


def test_other_models_are_refused_by_name() -> None:
    device = Controller()
    device.model = b"KST101"
    with (
        stub(device) as server,
        pytest.raises(NotConnected, match=r"KST101.*not a Thorlabs K10CR1 or KDC101"),
    ):
        opened("attenuator", server.resource, SteppedClock())


def test_what_comes_unasked_is_skipped() -> None:
    device = Controller()
    device.before = bytes.fromhex("44 04 01 00 01 50 91 04 0e 00 81 50") + bytes(14)
    device.degrees = 12.5
    with stub(device) as server:
        mount = opened("attenuator", server.resource, SteppedClock())
        assert mount.angle_deg() == pytest.approx(12.5, abs=1e-4)
        assert mount.is_referenced()
        mount.close()
    assert device.asked[0] == 0x0012  # no status unasked


def test_an_error_that_the_device_reports_is_told() -> None:
    device = Controller()
    with stub(device) as server:
        mount = opened("attenuator", server.resource, SteppedClock())
        notes = struct.pack("<HH64s", 0x0453, 7, b"overload")
        device.before = bytes.fromhex("81 00 44 00 81 50") + notes
        with pytest.raises(InstrumentFault, match="reports an error: code 7 on message 0453 overload"):
            mount.angle_deg()
        mount.close()


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        ([0x80004400], "reports a motion error"),
        ([0x80000430, 0x80000400], "sent to 30.000 degrees, reached 5"),
    ],
)
def test_a_motion_that_ends_elsewhere_is_a_fault(shown: list[int], words: str) -> None:
    device = Controller()
    device.degrees = 5.0
    with stub(device) as server:
        mount = opened("attenuator", server.resource, SteppedClock())
        device.bits = [0x80000400, *shown]
        with pytest.raises(InstrumentFault, match=words):
            mount.move_to(30.0)
        mount.close()


def test_a_motion_that_shows_late_in_the_status_is_waited_for() -> None:
    device = Controller()
    with stub(device) as server:
        mount = opened("attenuator", server.resource, SteppedClock())
        device.bits, device.moves_to = [0x80000400, 0x80000400, 0x80000430, 0x80000400], 30.0
        assert mount.move_to(30.0) == pytest.approx(30.0, abs=1e-4)
        mount.close()


def test_a_motor_without_current_is_switched_on_first() -> None:
    device = Controller()
    device.bits = [0x400, 0x80000400]
    with stub(device) as server:
        mount = opened("attenuator", server.resource, SteppedClock())
        device.degrees = 10.0
        assert mount.move_to(10.0) == pytest.approx(10.0, abs=1e-4)
        mount.close()
    assert device.asked.index(0x0210) < device.asked.index(0x0453)


def test_a_stop_halts_the_motor(bench: SimulatedBench) -> None:
    settings = presets.scene("ola", "ideal", 3)
    with SimulatedBench(settings, ScaledClock(10.0), instruments=("thorlabs-apt",)) as real:
        mount = opened("attenuator", real.resources["attenuator"], real.scene.clock)
        mount.home()
        stop = threading.Event()
        timer = threading.Timer(0.2, stop.set)
        timer.start()
        with pytest.raises(Aborted):
            mount.move_to(350.0, stop)
        timer.join()
        assert mount.is_referenced()
        assert not real.scene.mount.moving()
        assert mount.angle_deg() < 340.0
        mount.close()


def test_a_shutter_left_open_or_in_another_mode_is_closed_and_set_at_connect(bench: SimulatedBench) -> None:
    wire: Any = bench.server("shutter").wire
    wire._mode = 4
    shutter = opened("shutter", bench.resources["shutter"], bench.scene.clock)
    assert wire._mode == 1
    shutter.open()
    shutter.close()
    again = opened("shutter", bench.resources["shutter"], bench.scene.clock)
    assert not again.is_open()
    again.close()


@pytest.mark.parametrize(("state", "is_open"), [(0, False), (1, True), (2, False), (3, True)])
def test_only_a_state_that_means_closed_counts_as_closed(state: int, is_open: bool) -> None:
    def answer(data: bytes) -> bytes:
        number = int.from_bytes(data[-6:-4], "little")
        answers = {
            0x0005: who(b"KSC101"),
            0x04C1: bytes.fromhex("c2 04 01 01 01 50"),
            0x04CC: bytes.fromhex(f"cd 04 01 {state:02x} 01 50"),
        }
        return answers.get(number, b"")

    with stub(answer) as server:
        shutter = opened("shutter", server.resource, SteppedClock())
        assert shutter.is_open() is is_open
        shutter.close()


def test_a_bench_of_apt_instruments_is_checked(bench: SimulatedBench) -> None:
    report = check_bench(parse_bench(bench.bench_toml(1.0)), clock=bench.scene.clock)
    assert report.failures == ()
    found = {one.role: one.identity for one in report.instruments}
    assert found["attenuator"] == "Thorlabs K10CR1 55123456 1.0.3"
    assert found["shutter"] == "Thorlabs KSC101 68123456 1.0.6"


def test_labctl_devices_knows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_usb_devices", list)
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    settings = presets.scene("ola", "ideal", 3)
    with SimulatedBench(settings, ScaledClock(20.0), instruments=tuple(KEYS.values())) as real:
        for role, model in (("attenuator", "K10CR1"), ("shutter", "KSC101")):
            (one,) = devices.found([real.resources[role]])
            assert (one.what, one.role, one.driver, one.why) == (model, role, KEYS[role], "")  # type: ignore[index]


def test_a_shutter_without_a_sensor_is_never_said_to_have_one(bench: SimulatedBench) -> None:
    """Check, the run's warnings and the last line say what its word is worth; a detector confirms."""
    config = parse_bench(bench.bench_toml(1.0))
    report = check_bench(config, clock=bench.scene.clock)
    readings = {one.role: one.reading for one in report.instruments}
    assert readings["shutter"] == "closed (commanded, not confirmed by a sensor)"
    said: list[str] = []
    with open_bench(config, bench.scene.clock, over=said.append) as opened_bench:
        assert UNCONFIRMED in opened_bench.facts.warnings
        opened_bench.pump.prepare()
        opened_bench.pump.set_fluence(60.0)
        opened_bench.pump.open()
        opened_bench.pump.close()
    assert len(said) == 1
    assert "commanded, not confirmed: there is no power meter behind it" in said[0]
    assert "sensor" not in said[0]
