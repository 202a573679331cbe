"""The bus itself: what any USB/IP client sees, and what a host must not be able to break."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

import pytest
from patience import PATIENCE_S, until
from usbip_client import Attached, Bus, UsbFailure

from labctl.model.clock import SteppedClock
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.usb.device import BabbleError, InPipe

METER = "1-2"
SOON_S = 0.03
"""How long silence is listened to; nothing that must be heard has to come within it."""


@pytest.fixture
def bench() -> Iterator[SimulatedBench]:
    with SimulatedBench(presets.scene("ola", "ideal"), SteppedClock(), "usb") as bench:
        yield bench


def bus_of(bench: SimulatedBench) -> Bus:
    assert bench.usb is not None
    return Bus(f"{bench.usb.host}:{bench.usb.port}")


@pytest.fixture
def meter(bench: SimulatedBench) -> Iterator[Attached]:
    line = bus_of(bench).attach(METER)
    yield line
    line.close()


def message(text: bytes, tag: int = 1, kind: int = 1, size: int | None = None) -> bytes:
    """One transfer of USBTMC, written down independently of the simulator."""
    length = len(text) if size is None else size
    head = struct.pack("<BBBBLBBBB", kind, tag, 255 - tag, 0, length, 1, 0, 0, 0)
    return head + text + bytes(-len(text) % 4)


def test_the_list_names_the_meter(bench: SimulatedBench) -> None:
    listed = next(item for item in bus_of(bench).devices() if item.bus_id == METER)
    assert (listed.bus_id, listed.vendor_id, listed.product_id) == (METER, 0x1313, 0x8078)
    assert listed.interfaces == ((0xFE, 3, 1),)


def test_descriptors_are_those_of_the_standard(meter: Attached) -> None:
    device = meter.control(0x80, 6, 0x0100, 0, b"", 18, PATIENCE_S)
    assert device[:2] == b"\x12\x01"
    assert struct.unpack_from("<HH", device, 8) == (0x1313, 0x8078)
    whole = meter.control(0x80, 6, 0x0200, 0, b"", 255, PATIENCE_S)
    assert struct.unpack_from("<H", whole, 2) == (len(whole),)
    assert meter.control(0x80, 6, 0x0200, 0, b"", 9, PATIENCE_S) == whole[:9]
    serial = meter.control(0x80, 6, 0x0300 | device[16], 0x0409, b"", 255, PATIENCE_S)
    assert serial[2:].decode("utf-16-le") == "P0012345"
    assert meter.control(0x80, 8, 0, 0, b"", 1, PATIENCE_S) == b"\x01"


def test_a_question_is_answered_with_its_tag_in_packets(meter: Attached) -> None:
    meter.write(1, message(b"*IDN?"), PATIENCE_S)
    meter.write(1, message(b"", 7, kind=2, size=1000), PATIENCE_S)
    answer = meter.read(0x82, 1024, PATIENCE_S)
    assert answer[:4] == bytes((2, 7, 0xF8, 0))
    (size,) = struct.unpack_from("<L", answer, 4)
    assert answer[12 : 12 + size] == b"THORLABS,PM100D,P0012345,2.4.0\n"
    assert len(answer) % 4 == 0


def test_an_answer_longer_than_was_asked_for_comes_in_parts(meter: Attached) -> None:
    meter.write(1, message(b"*IDN?"), PATIENCE_S)
    heard = b""
    for tag in (2, 3, 4):
        meter.write(1, message(b"", tag, kind=2, size=11), PATIENCE_S)
        part = meter.read(0x82, 64, PATIENCE_S)
        assert part[8] == (tag == 4)
        heard += part[12 : 12 + part[4]]
    assert heard == b"THORLABS,PM100D,P0012345,2.4.0\n"


def test_who_reads_without_a_question_waits_and_can_withdraw(meter: Attached) -> None:
    with pytest.raises(UsbFailure, match="ETIMEDOUT"):
        meter.read(0x82, 64, SOON_S)
    meter.write(1, message(b"*IDN?"), PATIENCE_S)
    meter.write(1, message(b"", 9, kind=2, size=100), PATIENCE_S)
    assert meter.read(0x82, 64, PATIENCE_S)[1] == 9


@pytest.mark.parametrize("garbage", [b"", b"hello", bytes((1, 0, 255, 0)) + bytes(8), message(b"x", kind=77)])
def test_what_is_no_message_halts_the_endpoint_until_the_host_clears_it(
    meter: Attached, garbage: bytes
) -> None:
    with pytest.raises(UsbFailure) as failed:
        meter.write(1, garbage, PATIENCE_S)
    assert failed.value.number == errno.EPIPE
    with pytest.raises(UsbFailure):
        meter.write(1, message(b"*IDN?"), PATIENCE_S)
    meter.control(0x02, 1, 0, 0x01, b"", 0, PATIENCE_S)
    assert meter.write(1, message(b"*IDN?"), PATIENCE_S) == 20


def test_an_unknown_request_stalls_and_nothing_else(meter: Attached) -> None:
    for kind, request in ((0xC0, 77), (0xA1, 77), (0x80, 77)):
        with pytest.raises(UsbFailure) as failed:
            meter.control(kind, request, 0, 0, b"", 8, PATIENCE_S)
        assert failed.value.number == errno.EPIPE
    assert meter.control(0xA1, 7, 0, 0, b"", 24, PATIENCE_S)[0] == 1


def test_a_device_belongs_to_one_client_until_it_leaves(bench: SimulatedBench) -> None:
    bus = bus_of(bench)
    first = bus.attach(METER)
    with pytest.raises(UsbFailure) as failed:
        bus.attach(METER)
    assert failed.value.number == errno.EBUSY
    first.close()
    bus.attach(METER).close()


def test_there_is_nothing_at_a_place_where_nothing_is(bench: SimulatedBench) -> None:
    with pytest.raises(UsbFailure) as failed:
        bus_of(bench).attach("9-9")
    assert failed.value.number == errno.ENODEV


@pytest.mark.parametrize(
    "garbage", [b"\0" * 8, b"GET / HTTP/1.1\r\n\r\n", struct.pack(">HHI", 0x0111, 0x8003, 0)]
)
def test_strangers_do_not_hold_up_the_bus(bench: SimulatedBench, garbage: bytes) -> None:
    assert bench.usb is not None
    with socket.create_connection((bench.usb.host, bench.usb.port), PATIENCE_S) as stranger:
        with suppress(ConnectionError, OSError):  # the bus may hang up before it has read all
            stranger.sendall(garbage)
            stranger.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            assert stranger.recv(100) == b""
    assert bus_of(bench).devices()


def test_a_client_that_talks_nonsense_after_it_attached_loses_the_device(bench: SimulatedBench) -> None:
    bus = bus_of(bench)
    line = bus.attach(METER)
    line._line.sendall(b"\xff" * 200)
    with pytest.raises(UsbFailure) as failed:
        line.control(0x80, 8, 0, 0, b"", 1, PATIENCE_S)
    assert failed.value.number == errno.ENODEV
    line.close()
    bus.attach(METER).close()


def test_what_is_unplugged_is_gone_from_the_list(bench: SimulatedBench) -> None:
    bus = bus_of(bench)
    line = bus.attach(METER)
    server = bench.server("power_meter")
    before = len(bus.devices())
    server.call(lambda: server.hang_up(3600.0))
    until(lambda: len(bus.devices()) == before - 1)
    with pytest.raises(UsbFailure) as failed:
        line.control(0x80, 8, 0, 0, b"", 1, PATIENCE_S)
    assert failed.value.number == errno.ENODEV
    line.close()
    with pytest.raises(UsbFailure) as failed:
        bus.attach(METER)
    assert failed.value.number == errno.ENODEV
    server.call(lambda: server.hang_up(0.0))
    until(lambda: len(bus.devices()) == before)
    bus.attach(METER).close()


def test_a_transfer_ends_with_a_short_packet_or_when_it_is_full() -> None:
    pipe = InPipe(4)
    pipe.put(b"abcdefgh")
    assert pipe.take(16) is None, "a full packet does not end a transfer"
    pipe.put(b"")
    assert pipe.take(16) == b"abcdefgh"
    pipe.put(b"abcdefghi")
    assert pipe.take(8) == b"abcdefgh"
    assert pipe.take(8) == b"i"
    assert pipe.take(8) is None
    pipe.put(b"abcd")
    with pytest.raises(BabbleError):
        pipe.take(3)
