"""pyseabreeze over TCP with an end to every wait: the transport and protocol of network spectrometers.

seabreeze 2.11's own IPv4 transport spins for ever when the peer closes, has no time-out until the first
spectrum, lets it grow with each one, and closes the wrong socket; its OBP protocol swallows a refused
setting and turns a refused question into a time-out. Sources: seabreeze 2.11 pyseabreeze/transport.py and
protocol.py; message numbers from libseabreeze's OBPMessageTypes.h.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import time
from typing import Any

from seabreeze.pyseabreeze import SeaBreezeError
from seabreeze.pyseabreeze.api import _seabreeze_device_factory
from seabreeze.pyseabreeze.devices import _model_class_registry
from seabreeze.pyseabreeze.protocol import OBPProtocol
from seabreeze.pyseabreeze.transport import IPv4Transport, IPv4TransportHandle

CONNECT_TIMEOUT_S = 3.0
ANSWER_TIMEOUT_MS = 3000
HEADER_SIZE = 44
FOOTER_SIZE = 20
CHECKSUM_TYPE_AT = 22
LONGEST_ANSWER = 1 << 22

GET_SPECTRUM = 0x00101000
GET_INTEGRATION_US = 0x00110000
GET_INTEGRATION_MIN_US = 0x00110001
GET_INTEGRATION_MAX_US = 0x00110002
SET_INTEGRATION_US = 0x00110010
GET_TRIGGER = 0x00110100
GET_NONLINEARITY_COUNT = 0x00181100
GET_NONLINEARITY = 0x00181101
GET_TEMPERATURE = 0x00400001
GET_BUFFERING, SET_BUFFERING = 0x00100800, 0x00100810
GET_LARGEST_BUFFER, SET_BUFFER_SIZE = 0x00100820, 0x00100832
CLEAR_BUFFER = 0x00100830
GET_BUFFERED_COUNT, GET_BUFFERED = 0x00100900, 0x00100980
GET_PER_TRIGGER, SET_PER_TRIGGER = 0x00110102, 0x00110112
GET_SCANS, SET_SCANS = 0x00120000, 0x00120010
GET_BOXCAR, SET_BOXCAR = 0x00121000, 0x00121010
GET_DELAY_US, SET_DELAY_US = 0x00110500, 0x00110510
MESSAGES = {
    GET_BUFFERING: "",
    SET_BUFFERING: "<B",
    GET_LARGEST_BUFFER: "",
    SET_BUFFER_SIZE: "<L",
    CLEAR_BUFFER: "",
    GET_BUFFERED_COUNT: "",
    GET_BUFFERED: "<L",
    GET_PER_TRIGGER: "",
    SET_PER_TRIGGER: "<L",
    GET_SCANS: "",
    SET_SCANS: "<H",
    GET_BOXCAR: "",
    SET_BOXCAR: "<B",
    GET_DELAY_US: "",
    SET_DELAY_US: "<L",
    GET_INTEGRATION_US: "",
    GET_INTEGRATION_MIN_US: "",
    GET_INTEGRATION_MAX_US: "",
    GET_TRIGGER: "",
    GET_TEMPERATURE: "<B",
}
OBPProtocol.msgs.update({number: struct.Struct(layout).pack for number, layout in MESSAGES.items()})


class Refused(SeaBreezeError):  # noqa: N818
    """The device answered with a NACK; the connection is in order."""


class StrictOBP(OBPProtocol):
    """OBP that reads whole messages, skips late ones, checks their sums and raises on every NACK.

    Every request carries a number of its own in the header's field "regarding", which a device repeats in its
    answer: one that came twice, or late, is not taken for the next answer of the same kind (coefficients are
    asked for one by one). A device that leaves the field at 0 is believed.
    """

    _awaited = 0
    _number = 0

    def send(
        self,
        msg_type: int,
        payload: Any = (),
        timeout_ms: int | None = None,
        request_ack: bool = True,
        **kwargs: Any,
    ) -> int:
        """Send a message; with an acknowledgement asked for, wait for it.

        :raises Refused: the device refuses.
        """
        values = payload if isinstance(payload, tuple | list) else (payload,)
        data = self.msgs[msg_type](*values)
        self._awaited, self._number = msg_type, self._number % 0xFFFF_FFFF + 1
        message = self._construct_outgoing_message(
            msg_type, data, request_ack=request_ack, regarding=self._number
        )
        written = int(self.transport.write(message, **kwargs))
        if request_ack:
            self.receive(timeout_ms=timeout_ms)
        return written

    def receive(self, size: int | None = None, timeout_ms: int | None = None, **kwargs: Any) -> bytes:
        """Return the data of the answer to the message sent last.

        :raises Refused: the device refuses.
        :raises SeaBreezeError: the bytes are no OBP message.
        :raises TimeoutError: no whole answer within ``timeout_ms``.
        """
        del size, kwargs
        end = time.monotonic() + (timeout_ms or ANSWER_TIMEOUT_MS) / 1000
        while True:
            header = self._read(HEADER_SIZE, end)
            fields = struct.unpack(self.OBP.HEADER_FMT, header)
            start, _, flags, error, msg_type, regarding, *_, remaining = fields
            if start != self.OBP.HEADER_START_BYTES or not FOOTER_SIZE <= remaining <= LONGEST_ANSWER:
                raise SeaBreezeError(f"not an OBP message: {header!r}")
            message = header + self._read(remaining, end)
            self._check_sum(message)
            if msg_type != self._awaited or regarding not in (0, self._number):
                continue
            if flags & (self.OBP.FLAG_NACK | self.OBP.FLAG_HW_EXCEPTION):
                raise Refused(self.OBP.ERROR_CODES.get(error, f"error {error}"))
            return bytes(self._extract_message_data(message))

    def _read(self, size: int, end: float) -> bytes:
        left_ms = max(1, round((end - time.monotonic()) * 1000))
        return bytes(self.transport.read(size=size, timeout_ms=left_ms))

    def _check_sum(self, message: bytes) -> None:
        found = self._check_incoming_message_footer(message[-FOOTER_SIZE:])
        if message[CHECKSUM_TYPE_AT] != self.OBP.CHECKSUM_TYPE_MD5:
            return
        if found != hashlib.md5(message[:-FOOTER_SIZE], usedforsecurity=False).digest():
            raise SeaBreezeError("the check sum of an answer is wrong")


class PatientTransport(IPv4Transport):
    """A socket with a time-out on every step, which notices when the peer closes."""

    def open_device(self, device: IPv4TransportHandle) -> None:
        """Connect within 3 s.

        :raises OSError: nobody listens.
        """
        device.socket.close()
        device.socket = socket.create_connection(device.get_address(), CONNECT_TIMEOUT_S)
        device.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._device = device
        self._opened = True
        self._protocol = self._protocol_cls(self)

    def close_device(self) -> None:
        """Close the socket that is in use."""
        if self._device is not None:
            self._device.socket.close()
        super().close_device()

    def write(self, data: bytes, timeout_ms: int | None = None, **kwargs: Any) -> int:
        """Write all of ``data``."""
        del kwargs
        connection = self._connection(timeout_ms or ANSWER_TIMEOUT_MS)
        connection.sendall(data)
        return len(data)

    def read(
        self, size: int | None = None, timeout_ms: int | None = None, mode: str | None = None, **kwargs: Any
    ) -> bytes:
        """Read exactly ``size`` bytes within ``timeout_ms``.

        :raises ConnectionError: the peer closed.
        :raises TimeoutError: they did not come in time.
        """
        del mode, kwargs
        limit_ms = timeout_ms or ANSWER_TIMEOUT_MS
        end = time.monotonic() + limit_ms / 1000
        connection = self._connection(limit_ms)
        data = bytearray()
        wanted = size or HEADER_SIZE + FOOTER_SIZE
        while len(data) < wanted:
            connection.settimeout(max(0.001, end - time.monotonic()))
            piece = connection.recv(wanted - len(data))
            if not piece:
                raise ConnectionResetError("the spectrometer closed the connection")
            data += piece
        return bytes(data)

    def _connection(self, timeout_ms: int) -> socket.socket:
        if self._device is None:
            raise ConnectionError("the spectrometer is not open")
        self._device.socket.settimeout(timeout_ms / 1000)
        return self._device.socket

    @property
    def default_timeout_ms(self) -> int:
        """How long an answer may take on top of an exposure; it stays the same."""
        return ANSWER_TIMEOUT_MS


def network_models() -> tuple[str, ...]:
    """Return the models that pyseabreeze can reach over a network."""
    return tuple(
        name
        for name, kind in _model_class_registry.items()
        if any(issubclass(transport, IPv4Transport) for transport in kind._transport_classes)
    )


def network_device(model: str, host: str, port: int) -> Any:
    """Return the unopened seabreeze device at an address, reached through the classes above.

    No libusb is needed and no discovery is run.

    :raises OSError: the host's name is unknown.
    """
    address = socket.gethostbyname(host)
    kind = _model_class_registry[model]
    kind._transport_classes = (PatientTransport.specialize(model, ipv4_protocol=StrictOBP),)
    IPv4Transport.devices_ip_port[(address, port)] = model
    return _seabreeze_device_factory(IPv4TransportHandle(address, port))
