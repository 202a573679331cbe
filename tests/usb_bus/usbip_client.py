"""A USB/IP client: lists the devices of a bus, attaches one, and moves transfers with a deadline."""

from __future__ import annotations

import errno
import itertools
import socket
import struct
import threading
import time
from dataclasses import dataclass

VERSION = 0x0111
LIST, LISTED, ATTACH, ATTACHED = 0x8005, 0x0005, 0x8003, 0x0003
SUBMIT, UNLINK, SUBMITTED, UNLINKED = 1, 2, 3, 4
DEVICE_BYTES, INTERFACE_BYTES = 312, 4
OUT, IN = 0, 1
SET_CONFIGURATION = 9
UNLINK_LIMIT_S = 2.0
HELD_S, AGAIN_S = 0.5, 0.01
"""Another program that only looks at a device has it for milliseconds; one that uses it keeps it longer."""


class UsbFailure(Exception):  # noqa: N818
    """A transfer, or an attempt to attach, that failed with an error number of Linux."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode.get(number, str(number)))
        self.number = number


@dataclass(frozen=True, slots=True)
class Listed:
    """One device of the bus."""

    bus_id: str
    bus: int
    address: int
    speed: int
    vendor_id: int
    product_id: int
    interfaces: tuple[tuple[int, int, int], ...]


class Bus:
    """The bus at one address."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = host, int(port)

    def _ask(self, request: bytes, timeout_s: float) -> socket.socket:
        line = socket.create_connection(self._address, timeout_s)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.sendall(request)
        return line

    def devices(self, timeout_s: float = 10.0) -> list[Listed]:
        """Return what is plugged in."""
        with self._ask(struct.pack(">HHI", VERSION, LIST, 0), timeout_s) as line:
            *_, count = struct.unpack(">HHII", _exactly(line, 12))
            return [self._listed(line) for _ in range(count)]

    def _listed(self, line: socket.socket) -> Listed:
        raw = _exactly(line, DEVICE_BYTES)
        bus, address, speed, vendor_id, product_id = struct.unpack_from(">IIIHH", raw, 288)
        kinds = [_exactly(line, INTERFACE_BYTES) for _ in range(raw[-1])]
        bus_id = raw[256:288].rstrip(b"\0").decode()
        interfaces = tuple((kind[0], kind[1], kind[2]) for kind in kinds)
        return Listed(bus_id, bus, address, speed, vendor_id, product_id, interfaces)

    def attach(self, bus_id: str, timeout_s: float = 10.0) -> Attached:
        """Attach a device.

        :raises UsbFailure: somebody else has it, or it is gone.
        """
        end = time.monotonic() + HELD_S
        while True:
            line = self._ask(struct.pack(">HHI32s", VERSION, ATTACH, 0, bus_id.encode()), timeout_s)
            try:
                *_, status = struct.unpack(">HHI", _exactly(line, 8))
            except UsbFailure:
                line.close()
                raise
            if status == 0:
                _exactly(line, DEVICE_BYTES)
                return Attached(line)
            line.close()
            if status != 1 or time.monotonic() > end:
                raise UsbFailure(errno.EBUSY if status == 1 else errno.ENODEV)
            threading.Event().wait(AGAIN_S)


class Attached:
    """One device; one transfer at a time."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.control(0x00, SET_CONFIGURATION, 1, 0, b"", 0, 2.0)  # as the kernel does

    def close(self) -> None:
        """Detach."""
        self._line.close()

    def control(
        self, kind: int, request: int, value: int, index: int, data: bytes, length: int, timeout_s: float
    ) -> bytes:
        """Do a control transfer; ``data`` goes out, up to ``length`` bytes come in."""
        setup = struct.pack("<BBHHH", kind, request, value, index, length or len(data))
        way = IN if kind & 0x80 else OUT
        return self._transfer(way, 0, data, length if way == IN else len(data), setup, timeout_s)[0]

    def write(self, endpoint: int, data: bytes, timeout_s: float) -> int:
        """Send to a bulk endpoint; return how much was taken."""
        return self._transfer(OUT, endpoint, data, len(data), bytes(8), timeout_s)[1]

    def read(self, endpoint: int, length: int, timeout_s: float) -> bytes:
        """Read from a bulk endpoint, up to ``length`` bytes or a short packet."""
        return self._transfer(IN, endpoint & 0x0F, b"", length, bytes(8), timeout_s)[0]

    def _transfer(
        self, way: int, endpoint: int, data: bytes, length: int, setup: bytes, timeout_s: float
    ) -> tuple[bytes, int]:
        with self._lock:
            number = next(self._numbers)
            head = struct.pack(">IIIIIIiiii8s", SUBMIT, number, 0, way, endpoint, 0, length, 0, 0, 0, setup)
            self._send(head + data)
            end = time.monotonic() + timeout_s
            try:
                kind, status, actual, came = self._answer(number, way, end)
            except TimeoutError:
                kind, status, actual, came = self._take_back(number, way)
            if kind == UNLINKED:
                raise UsbFailure(errno.ETIMEDOUT)
            if status:
                raise UsbFailure(-status)
            return came, actual

    def _take_back(self, number: int, way: int) -> tuple[int, int, int, bytes]:
        """Withdraw a transfer that takes too long; it may end all the same."""
        again = next(self._numbers)
        self._send(struct.pack(">IIIIII24x", UNLINK, again, 0, 0, 0, number))
        end = time.monotonic() + UNLINK_LIMIT_S
        try:
            found = self._answer(number, way, end, again)
            if found[0] == SUBMITTED:  # it ended just before; what was withdrawn is confirmed as well
                self._answer(again, way, end, again)
        except TimeoutError:
            raise UsbFailure(errno.ETIMEDOUT) from None
        return found

    def _send(self, data: bytes) -> None:
        try:
            self._line.settimeout(10.0)
            self._line.sendall(data)
        except OSError:
            raise UsbFailure(errno.ENODEV) from None

    def _answer(
        self, number: int, way: int, end: float, unlinked: int | None = None
    ) -> tuple[int, int, int, bytes]:
        while True:
            head = self._exactly(48, end)
            kind, found, *_, status, actual = struct.unpack_from(">IIIIIii", head)
            carries = kind == SUBMITTED and way == IN and actual > 0
            data = self._exactly(actual, time.monotonic() + 10.0) if carries else b""
            if found in (number, unlinked):
                return kind, status, actual, data

    def _exactly(self, size: int, end: float) -> bytes:
        data = b""
        while len(data) < size:
            self._line.settimeout(max(end - time.monotonic(), 0.001))
            try:
                more = self._line.recv(size - len(data))
            except TimeoutError:
                if data:  # an answer has begun: it is whole soon
                    end = time.monotonic() + 10.0
                    continue
                raise
            except OSError:
                more = b""
            if not more:
                raise UsbFailure(errno.ENODEV)
            data += more
        return data


def _exactly(line: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = line.recv(size - len(data))
        if not more:
            raise UsbFailure(errno.ENODEV)
        data += more
    return data
