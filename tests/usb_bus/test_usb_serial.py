"""Elliptec and APT devices behind an FTDI bridge: pyftdi and pyserial unmodified, drivers on top of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import serial
from patience import PATIENCE_S
from usb_bench import over_ftdi, usb_bench
from usbip_client import Attached, Bus, UsbFailure

from drivers.attenuators.thorlabs_apt import ThorlabsAptMount
from drivers.attenuators.thorlabs_ell14 import ThorlabsELL14
from drivers.shutters.thorlabs_ksc101 import ThorlabsKSC101
from labctl.model.clock import SteppedClock
from simulators.bench import SimulatedBench
from simulators.usb.ftdi import baud_rate
from simulators.usb.usbip import UsbServer

BRIDGE_IDS = (0x0403, 0x6015)
IDLE = b"\xb1\x60"
VENDOR_OUT, VENDOR_IN = 0x40, 0xC0


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedBench]:
    with usb_bench(SteppedClock(), monkeypatch) as bench:
        yield bench


@pytest.fixture
def line(bench: SimulatedBench) -> Iterator[Attached]:
    assert bench.usb is not None
    server = bench.server("attenuator")
    assert isinstance(server, UsbServer)
    attached = Bus(f"{bench.usb.host}:{bench.usb.port}").attach(server.bus_id)
    attached.control(VENDOR_OUT, 3, 0x4138, 0, b"", 0, PATIENCE_S)
    yield attached
    attached.close()


def heard(line: Attached, end: bytes) -> bytes:
    """What the line says up to an end, without the status of each packet."""
    data = b""
    while not data.endswith(end):
        packet = line.read(0x81, 64, PATIENCE_S)
        assert packet[:2] == IDLE
        data += packet[2:]
    return data


def test_the_mount_turns_over_pyftdi(bench: SimulatedBench, monkeypatch: pytest.MonkeyPatch) -> None:
    mount = ThorlabsELL14(over_ftdi(bench, "attenuator", monkeypatch), clock=bench.scene.clock)
    assert mount.identity().model == "ELL14"
    mount.home()
    mount.move_to(45.0)
    assert bench.scene.mount.angle_deg() == pytest.approx(45.0, abs=0.01)
    mount.close()


def test_the_controllers_of_the_apt_family_are_reached_over_pyftdi(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SteppedClock()
    with usb_bench(clock, monkeypatch, instruments=("thorlabs-apt", "thorlabs-ksc101")) as bench:
        mount = ThorlabsAptMount(over_ftdi(bench, "attenuator", monkeypatch), clock=clock)
        mount.home()
        mount.move_to(30.0)
        assert bench.scene.mount.angle_deg() == pytest.approx(30.0, abs=0.01)
        mount.close()
        shutter = ThorlabsKSC101(over_ftdi(bench, "shutter", monkeypatch), clock=clock)
        shutter.open()
        assert not bench.scene.shutter.closed_switch()
        shutter.close_beam()
        clock.sleep(1.0)
        assert bench.scene.shutter.closed_switch()
        shutter.close()


def test_at_another_speed_the_line_carries_noise(
    bench: SimulatedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = over_ftdi(bench, "attenuator", monkeypatch).removeprefix("ASRL").removesuffix("::INSTR")
    for speed, answers in ((9600, True), (19200, False)):
        with serial.serial_for_url(url, baudrate=speed, timeout=0.2) as port:
            port.write(b"0in")
            assert (port.read(3) == b"0IN") is answers


def test_who_waits_gets_the_status_when_the_latency_timer_runs_out(line: Attached) -> None:
    assert line.read(0x81, 64, PATIENCE_S) == IDLE
    line.control(VENDOR_OUT, 9, 1, 0, b"", 0, PATIENCE_S)
    assert line.control(VENDOR_IN, 10, 0, 0, b"", 1, PATIENCE_S) == b"\x01"
    assert line.read(0x81, 64, PATIENCE_S) == IDLE


def test_every_packet_begins_with_the_status(line: Attached) -> None:
    line.write(0x02, b"0in", PATIENCE_S)
    answer = heard(line, b"\r\n")
    assert answer.startswith(b"0IN0E")


def test_a_purge_forgets_what_has_not_been_read(line: Attached) -> None:
    line.write(0x02, b"0in", PATIENCE_S)
    assert line.control(VENDOR_IN, 5, 0, 0, b"", 2, PATIENCE_S) == IDLE
    line.control(VENDOR_OUT, 0, 1, 0, b"", 0, PATIENCE_S)
    line.write(0x02, b"0gp", PATIENCE_S)
    assert heard(line, b"\r\n").startswith(b"0PO")


def test_what_the_chip_does_not_know_stalls(line: Attached) -> None:
    with pytest.raises(UsbFailure, match="EPIPE"):
        line.control(VENDOR_OUT, 0x77, 0, 0, b"", 0, PATIENCE_S)


@pytest.mark.parametrize(
    ("value", "index", "expected"),
    [(0x4138, 0, 9600), (0x001A, 0, 115_385), (0x809C, 0, 19_200), (0, 0, 3_000_000), (1, 0, 2_000_000)],
)
def test_divisors_are_those_of_the_application_note(value: int, index: int, expected: int) -> None:
    assert baud_rate(value, index) == pytest.approx(expected, rel=0.003)
