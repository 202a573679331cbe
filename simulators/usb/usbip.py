"""USB/IP, version 1.1.1: a bus on loopback whose devices any USB/IP client can list and attach.

Source: Linux, Documentation/usb/usbip_protocol.rst. One connection is one attached device; the list of
devices is a connection of its own.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from labctl.model.clock import Clock
from simulators.link import Wire
from simulators.servers import CHUNK, LOOPBACK, SEND_TIMEOUT_S, Server, Source
from simulators.usb.device import IN, BabbleError, Mishap, Plug, PulledOutError, Setup, StalledError

log = logging.getLogger(__name__)

VERSION = 0x0111
LIST, LIST_REPLY, ATTACH, ATTACH_REPLY = 0x8005, 0x0005, 0x8003, 0x0003
SUBMIT, UNLINK, SUBMITTED, UNLINKED = 1, 2, 3, 4
HEAD = struct.Struct(">HHI")
DEVICE = struct.Struct(">256s32sIIIHHHBBBBBB")
COMMAND = struct.Struct(">IIIIIIiiii8s")
UNLINK_AT = 20
RETURN = struct.Struct(">IIIIIiiiii8x")
OUT_DIRECTION = 0
LONGEST_TRANSFER = 1 << 20
BUSY, NO_DEVICE = 1, 4
"""Status of an attach request, as usbip's own tools print it."""
BUS = 1
ASK_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Transfer:
    """One request of the host that waits for its end."""

    number: int
    endpoint: int
    length: int
    data: bytes = b""


class UsbServer(Server):
    """One device on the bus and the thread that answers for it.

    :param plug: makes the USB side of an instrument; it is told how to reach the one that is there.
    :param number: where it is plugged in, from 1.
    """

    def __init__(self, wire: Wire, clock: Clock, plug: Plug, number: int) -> None:
        super().__init__(wire, clock)
        self.device, self.number = plug(lambda: self.link.wire), number
        device = self.device
        device.say = self.link.to_instrument
        device.start_afresh = self.link.new_client
        self._client: socket.socket | None = None
        self._received = bytearray()
        self._waiting: dict[int, deque[Transfer]] = {}
        self._taken_until = self._mute_until = 0.0
        self._idle_at = math.inf
        self._pulled_out_s = math.inf

    @property
    def resource(self) -> str:
        """What a driver is told to find the instrument by."""
        return self.device.resource

    @property
    def bus_id(self) -> str:
        """What ``usbip attach`` calls it."""
        return f"{BUS}-{self.number}"

    @property
    def plugged_in(self) -> bool:
        """Whether the host sees it."""
        return not self._away() or self._taken_until > time.monotonic()

    @property
    def mute(self) -> bool:
        """Whether bulk transfers get nothing but NAK."""
        return time.monotonic() < self._mute_until

    @property
    def busy(self) -> bool:
        """Whether somebody has it."""
        return self._client is not None or self._away()

    def described(self) -> bytes:
        """Return the device as USB/IP lists it, without its interface."""
        info = self.device.info
        path = f"/sys/devices/simulated/usb{BUS}/{self.bus_id}"
        return DEVICE.pack(
            path.encode(), self.bus_id.encode(), BUS, self.number + 1, info.speed, info.vendor_id,
            info.product_id, info.release, 0, 0, 0, 1, 1, 1,
        )  # fmt: skip

    def attach(self, client: socket.socket) -> None:
        """Give the device to a client; its answer to the request is sent by the device's own thread."""
        self.call(lambda: self._attach(client))

    def _attach(self, client: socket.socket) -> None:
        if self.busy:
            with contextlib.suppress(OSError):
                client.sendall(HEAD.pack(VERSION, ATTACH_REPLY, BUSY if self.plugged_in else NO_DEVICE))
            client.close()
            return
        self._client = client
        self._received.clear()
        self._waiting = {}
        self.device.reset()
        self._say(HEAD.pack(VERSION, ATTACH_REPLY, 0) + self.described())

    # What goes wrong on a cable.

    def be_mute(self, wall_s: float) -> None:
        """Answer every bulk transfer by NAK for so long, whatever there is to send."""
        self._mute_until = time.monotonic() + wall_s

    def be_taken(self, wall_s: float) -> None:
        """Let another program have the device for so long: it is there, and busy."""
        self._taken_until = time.monotonic() + wall_s
        self.hang_up(wall_s)

    def befall(self, mishap: Mishap, away_s: float) -> None:
        """Let something befall the next transfer to the host.

        :param away_s: how long the device is gone, where its plug is pulled.
        """
        self.device.mishap, self._pulled_out_s = mishap, away_s

    # The thread of the device.

    def _longest_wait_s(self) -> float | None:
        now, until = time.monotonic(), min(self._idle_at, self._mute_until if self.mute else math.inf)
        return None if until == math.inf else max(until - now, 0.0)

    def _sources(self) -> Sequence[Source | int]:
        return () if self._client is None else (self._client,)

    def _serve(self, ready: list[Source | int]) -> None:
        if self._client is not None and self._client in ready:
            try:
                data = self._client.recv(CHUNK)
            except OSError:
                data = b""
            if not data:
                self._drop()
                return
            self._received += data
            while self._client is not None and self._command():
                pass
        self._complete()
        if time.monotonic() >= self._idle_at:
            self._idle_at = math.inf
            self.device.idle()
            self._complete()

    def _command(self) -> bool:
        """Carry out the next command, if it is whole."""
        if len(self._received) < COMMAND.size:
            return False
        kind, number, _, direction, endpoint, _, length, *_, setup = COMMAND.unpack_from(self._received)
        if kind == UNLINK:
            (unlinked,) = struct.unpack_from(">I", self._received, UNLINK_AT)
            del self._received[: COMMAND.size]
            self._unlink(number, unlinked)
            return True
        if kind != SUBMIT or not 0 <= length <= LONGEST_TRANSFER:
            log.warning("%s: no command of USB/IP: %r", self.bus_id, bytes(self._received[:48]))
            self._drop()
            return False
        sent = length if direction == OUT_DIRECTION else 0
        if len(self._received) < COMMAND.size + sent:
            return False
        data = bytes(self._received[COMMAND.size : COMMAND.size + sent])
        del self._received[: COMMAND.size + sent]
        if endpoint == 0:
            self._control(Transfer(number, 0, length), Setup.of(setup), data)
        else:
            address = endpoint if direction == OUT_DIRECTION else endpoint | IN
            self._waiting.setdefault(address, deque()).append(Transfer(number, address, length, data))
            self._complete()
        return True

    def _control(self, transfer: Transfer, setup: Setup, data: bytes) -> None:
        try:
            answer = self.device.control(setup, data)
        except StalledError:
            self._end(transfer, b"", -errno.EPIPE)
        else:
            self._end(transfer, answer if setup.request_type & IN else b"", 0, sent=len(data))

    def _unlink(self, number: int, unlinked: int) -> None:
        status = 0
        for waiting in self._waiting.values():
            for transfer in waiting:
                if transfer.number == unlinked:
                    waiting.remove(transfer)
                    status = -errno.ECONNRESET
                    break
        self._say(RETURN.pack(UNLINKED, number, 0, 0, 0, status, 0, 0, 0, 0))

    def _complete(self) -> None:
        """End every bulk transfer that can be ended."""
        if self.mute:
            return
        for address, waiting in tuple(self._waiting.items()):
            while waiting and self._client is not None and self._ended(address, waiting[0]):
                self._idle_at = math.inf
        idle_s = self.device.idle_s
        if idle_s is None or not any(waiting for address, waiting in self._waiting.items() if address & IN):
            self._idle_at = math.inf
        elif self._idle_at == math.inf:
            self._idle_at = time.monotonic() + idle_s

    def _ended(self, address: int, transfer: Transfer) -> bool:
        waiting = self._waiting[address]
        if address in self.device.halted:
            waiting.popleft()
            self._end(transfer, b"", -errno.EPIPE)
            return True
        if not address & IN:
            waiting.popleft()
            self._take(transfer)
            return True
        pipe = self.device.pipes.get(address)
        try:
            data = None if pipe is None else pipe.take(transfer.length)
        except BabbleError:
            waiting.popleft()
            self._end(transfer, b"", -errno.EOVERFLOW)
            return True
        except PulledOutError as pulled:
            waiting.popleft()
            self._end(transfer, pulled.begun, -errno.ENODEV)
            self.hang_up(self._pulled_out_s)
            return False
        if data is None:
            return False
        waiting.popleft()
        self._end(transfer, data, 0)
        return True

    def _take(self, transfer: Transfer) -> None:
        """Acknowledge what the host sent, then let the device do it: its answer comes later than that."""
        try:
            self.device.check(transfer.endpoint, transfer.data)
        except StalledError:
            self.device.halted.add(transfer.endpoint)
            self._end(transfer, b"", -errno.EPIPE)
            return
        self._end(transfer, b"", 0, sent=len(transfer.data))
        self.device.receive(transfer.endpoint, transfer.data)

    def _end(self, transfer: Transfer, data: bytes, status: int, sent: int = 0) -> None:
        actual = len(data) or sent
        self._say(RETURN.pack(SUBMITTED, transfer.number, 0, 0, 0, status, actual, 0, 0, 0) + data)

    def _say(self, data: bytes) -> None:
        if self._client is None:
            return
        try:
            self._client.sendall(data)
        except OSError:
            self._drop()

    def _transmit(self, data: bytes) -> None:
        self.device.hear(data)
        self._complete()

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
            self._waiting = {}
            self.link.new_client()

    def _close(self) -> None:
        self._drop()


class UsbBus:
    """Listens for USB/IP clients: lists the devices, and hands each connection to the one it asks for.

    :param port: 0 for any free one; usbip's own tools look at 3240.
    """

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.create_server((LOOPBACK, port))
        self._devices: list[UsbServer] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="USB/IP", daemon=True)

    host = LOOPBACK

    @property
    def port(self) -> int:
        """Port the bus listens on."""
        return int(self._listener.getsockname()[1])

    @property
    def devices(self) -> tuple[UsbServer, ...]:
        """What is on the bus, by number."""
        return tuple(self._devices)

    def plug_in(self, wire: Wire, clock: Clock, plug: Plug) -> UsbServer:
        """Put an instrument on the bus; its server is started by whoever asked for it."""
        server = UsbServer(wire, clock, plug, len(self._devices) + 1)
        self._devices.append(server)
        return server

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more; the thread has ended when this returns."""
        self._stopping.set()
        if self._thread.ident is not None:
            with contextlib.suppress(OSError):
                socket.create_connection((LOOPBACK, self.port), SEND_TIMEOUT_S).close()  # wakes accept
            self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(OSError):
                client, _ = self._listener.accept()
                client.settimeout(ASK_TIMEOUT_S)
                self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        """Answer the one request with which a connection begins."""
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            version, command, _ = HEAD.unpack(_exactly(client, HEAD.size))
            if version == VERSION and command == ATTACH:
                self._attach(client, _exactly(client, 32).rstrip(b"\0").decode("ascii", "replace"))
                return
            if version == VERSION and command == LIST:
                there = [device for device in self._devices if device.plugged_in]
                listed = b"".join(d.described() + bytes((*d.device.info.interface, 0)) for d in there)
                client.sendall(HEAD.pack(VERSION, LIST_REPLY, 0) + struct.pack(">I", len(there)) + listed)
        except (OSError, EOFError):
            log.debug("a client left in the middle of its request")
        client.close()

    def _attach(self, client: socket.socket, bus_id: str) -> None:
        for device in self._devices:
            if device.bus_id == bus_id:
                client.settimeout(SEND_TIMEOUT_S)
                device.attach(client)
                return
        client.sendall(HEAD.pack(VERSION, ATTACH_REPLY, NO_DEVICE))
        client.close()


def _exactly(client: socket.socket, size: int) -> bytes:
    """Return so many bytes.

    :raises EOFError: the client left before.
    """
    data = b""
    while len(data) < size:
        more = client.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data
