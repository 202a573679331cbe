"""A USB device as its host sees it: descriptors, standard requests, endpoints that carry packets.

Source: Universal Serial Bus Specification, revision 2.0, chapters 5, 8 and 9.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

FULL_SPEED, HIGH_SPEED = 2, 3
"""As USB/IP numbers them."""
IN = 0x80
BULK, INTERRUPT = 2, 3
DEVICE, CONFIGURATION, STRING, INTERFACE, ENDPOINT = 1, 2, 3, 4, 5
GET_STATUS, CLEAR_FEATURE, SET_FEATURE, GET_DESCRIPTOR = 0, 1, 3, 6
GET_CONFIGURATION, SET_CONFIGURATION, GET_INTERFACE, SET_INTERFACE = 8, 9, 10, 11
ENDPOINT_HALT = 0
STANDARD = 0
ENGLISH = 0x0409
CONTROL_PACKET = 64


class StalledError(Exception):
    """The request is not supported, or the endpoint is halted: the host is told by a STALL."""


class BabbleError(Exception):
    """More came in a packet than the host had room for."""


@dataclass(frozen=True, slots=True)
class EndpointInfo:
    """One endpoint; ``address`` with bit 7 set sends to the host."""

    address: int
    packet_bytes: int
    kind: int = BULK

    def descriptor(self) -> bytes:
        """Return the 7 bytes of its descriptor."""
        interval = 1 if self.kind == INTERRUPT else 0
        return struct.pack("<BBBBHB", 7, ENDPOINT, self.address, self.kind, self.packet_bytes, interval)


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What a device says of itself. It has one configuration with one interface.

    :param interface: class, subclass and protocol of the interface.
    """

    vendor_id: int
    product_id: int
    manufacturer: str
    product: str
    serial: str
    interface: tuple[int, int, int]
    endpoints: tuple[EndpointInfo, ...]
    speed: int = HIGH_SPEED
    release: int = 0x0100
    strings: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "strings", (self.manufacturer, self.product, self.serial))

    def device(self) -> bytes:
        """Return the 18 bytes of the device descriptor."""
        numbers = tuple(number if text else 0 for number, text in enumerate(self.strings, 1))
        return struct.pack(
            "<BBHBBBBHHHBBBB", 18, DEVICE, 0x0200, 0, 0, 0, CONTROL_PACKET, self.vendor_id, self.product_id,
            self.release, *numbers, 1,
        )  # fmt: skip

    def configuration(self) -> bytes:
        """Return the configuration descriptor with all that belongs to it."""
        body = struct.pack("<BBBBBBBBB", 9, INTERFACE, 0, 0, len(self.endpoints), *self.interface, 0)
        body += b"".join(endpoint.descriptor() for endpoint in self.endpoints)
        return struct.pack("<BBHBBBBB", 9, CONFIGURATION, 9 + len(body), 1, 1, 0, 0x80, 250) + body

    def string(self, index: int) -> bytes:
        """Return a string descriptor; number 0 names the language.

        :raises StalledError: there is none of that number.
        """
        if index > len(self.strings):
            raise StalledError
        text = struct.pack("<H", ENGLISH) if index == 0 else self.strings[index - 1].encode("utf-16-le")
        return struct.pack("<BB", 2 + len(text), STRING) + text


@dataclass(frozen=True, slots=True)
class Setup:
    """The eight bytes of a control transfer."""

    request_type: int
    request: int
    value: int
    index: int
    length: int

    @classmethod
    def of(cls, data: bytes) -> Setup:
        """Take the eight bytes apart."""
        return cls(*struct.unpack("<BBHHH", data))

    @property
    def kind(self) -> int:
        """0 standard, 1 of the class, 2 of the vendor."""
        return self.request_type >> 5 & 3


class PulledOutError(Exception):
    """The plug was pulled while a transfer ran; ``begun`` is what of it had come."""

    def __init__(self, begun: bytes) -> None:
        super().__init__(begun)
        self.begun = begun


@dataclass(frozen=True, slots=True)
class Mishap:
    """What befalls the next transfer to the host.

    :param kind: "short", "halt", "pulled", or one that a device's own protocol knows.
    :param keep: bytes of the transfer that come; None for half.
    """

    kind: str
    keep: int | None = None


class InPipe:
    """Packets on their way to the host. A packet that is not full ends a transfer."""

    def __init__(self, packet_bytes: int) -> None:
        self.packet_bytes = packet_bytes
        self._packets: deque[bytes] = deque()
        self._pulled = False

    def pull_out(self) -> None:
        """Let the plug be pulled behind what has been put in so far."""
        self._pulled = True

    def put(self, data: bytes) -> None:
        """Send data; an empty one is a packet of no length, which ends a transfer too."""
        size = self.packet_bytes
        self._packets += [data[at : at + size] for at in range(0, max(len(data), 1), size)]

    def take(self, wanted: int) -> bytes | None:
        """Return what a transfer of ``wanted`` bytes gets, None while it is not complete.

        :raises BabbleError: a packet does not fit into what is left of it.
        :raises PulledOutError: the plug was pulled before its end.
        """
        if self._pulled:
            raise PulledOutError(b"".join(self._packets))
        total = 0
        for number, packet in enumerate(self._packets, 1):
            total += len(packet)
            if len(packet) < self.packet_bytes or total >= wanted:
                taken = b"".join(self._packets.popleft() for _ in range(number))
                if total > wanted:
                    raise BabbleError
                return taken
        return None

    @property
    def waits(self) -> bool:
        """Whether there is something that has not been fetched."""
        return bool(self._packets)

    def clear(self) -> None:
        """Forget what has not been fetched."""
        self._packets.clear()
        self._pulled = False


def _nobody(data: bytes) -> None:
    """Swallow what is said before there is an instrument."""


class UsbDevice:
    """The USB side of an instrument; a subclass knows the class or the maker's own protocol.

    ``say`` carries a request on to the instrument; :meth:`hear` takes its answers.
    """

    def __init__(self, info: DeviceInfo) -> None:
        self.info = info
        self.say: Callable[[bytes], None] = _nobody
        self.start_afresh: Callable[[], None] = lambda: None
        self.pipes = {e.address: InPipe(e.packet_bytes) for e in info.endpoints if e.address & IN}
        self.halted: set[int] = set()
        self.mishap: Mishap | None = None
        """What befalls the next transfer to the host."""
        self.idle_s: float | None = None
        """Wall time after which a host that waits is sent something all the same; None: it waits for ever."""
        self._configuration = 0

    @property
    def resource(self) -> str:
        """What a driver is told to find it by."""
        return self.info.serial

    def send(self, endpoint: int, data: bytes) -> None:
        """Send a transfer to the host, unless something befalls it."""
        mishap, self.mishap = self.mishap, None
        pipe = self.pipes[endpoint]
        if mishap is None:
            pipe.put(data)
        elif mishap.kind == "halt":
            self.halted.add(endpoint)
        else:
            keep = len(data) // 2 if mishap.keep is None else mishap.keep
            pipe.put(data[:keep])
            if mishap.kind == "pulled":
                pipe.pull_out()
            elif keep % pipe.packet_bytes == 0:
                pipe.put(b"")

    def idle(self) -> None:
        """Send something although there is nothing to send."""

    def hear(self, data: bytes) -> None:
        """Take an answer of the instrument."""
        raise NotImplementedError

    def check(self, endpoint: int, data: bytes) -> None:
        """Look at a transfer of the host before it is acknowledged.

        :raises StalledError: it is no message of the protocol; the endpoint is halted.
        """

    def receive(self, endpoint: int, data: bytes) -> None:
        """Do what a transfer of the host asks for."""
        raise NotImplementedError

    def request(self, setup: Setup, data: bytes) -> bytes:
        """Answer a request of the class or the vendor.

        :raises StalledError: it is not supported.
        """
        del setup, data
        raise StalledError

    def control(self, setup: Setup, data: bytes) -> bytes:
        """Answer a control transfer.

        :raises StalledError: it is not supported.
        """
        if setup.kind != STANDARD:
            return self.request(setup, data)[: setup.length]
        answer = {
            GET_STATUS: self._status,
            CLEAR_FEATURE: self._clear_feature,
            SET_FEATURE: self._set_feature,
            GET_DESCRIPTOR: self._descriptor,
            GET_CONFIGURATION: lambda _: bytes((self._configuration,)),
            SET_CONFIGURATION: self._configure,
            GET_INTERFACE: lambda _: b"\0",
            SET_INTERFACE: self._configure,
        }.get(setup.request)
        if answer is None:
            raise StalledError
        return answer(setup)[: setup.length]

    def _status(self, setup: Setup) -> bytes:
        return struct.pack("<H", setup.index in self.halted)

    def _clear_feature(self, setup: Setup) -> bytes:
        if setup.value == ENDPOINT_HALT:
            self.halted.discard(setup.index)
        return b""

    def _set_feature(self, setup: Setup) -> bytes:
        if setup.value == ENDPOINT_HALT:
            self.halted.add(setup.index)
        return b""

    def _descriptor(self, setup: Setup) -> bytes:
        kind, index = setup.value >> 8, setup.value & 0xFF
        if kind == DEVICE:
            return self.info.device()
        if kind == CONFIGURATION and index == 0:
            return self.info.configuration()
        if kind == STRING:
            return self.info.string(index)
        raise StalledError

    def _configure(self, setup: Setup) -> bytes:
        if setup.request == SET_CONFIGURATION:
            self._configuration = setup.value
        self.reset()
        return b""

    def reset(self) -> None:
        """Forget transfers and halts, as after a reset of the port."""
        self.halted.clear()
        for pipe in self.pipes.values():
            pipe.clear()
        self.start_afresh()


Plug = Callable[[Callable[[], Any]], UsbDevice]
"""Makes the USB side of an instrument, given how to reach the wire that is there at a time."""
