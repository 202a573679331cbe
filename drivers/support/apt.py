"""The Thorlabs APT protocol over a serial line: messages of 6 bytes, some with data behind them.

115200 baud 8N1. Source: Thorlabs APT Controllers Host-Controller Communications Protocol. Devices talk
unasked: they report the end of a motion, and their status ten times a second if another program has asked for
it. Both are skipped here; what counts is the answer to a question.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from typing import Any

from pymeasure.adapters import Adapter

from drivers.support.failures import ConnectionLost
from drivers.support.session import Port
from drivers.support.spec import Probe
from drivers.support.visa import SHOWN, VisaInstrument
from labctl.model.clock import Clock
from labctl.model.errors import InstrumentFault, InstrumentTimeout, ProtocolError
from labctl.model.records import Identity

HOST, UNIT = 0x01, 0x50
CHANNEL = 1
SENDERS = (UNIT, 0x11, *range(0x21, 0x2B))
LONGEST_DATA = 255
INFO, STOP_UPDATES = (0x0005, 0x0006), 0x0012
TROUBLE = (0x0080, 0x0081)


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it arrived: its number, the two parameters, and the data."""

    number: int
    first: int
    second: int
    data: bytes = b""


def short(number: int, first: int = 0, second: int = 0) -> bytes:
    """Return a message without data.

    >>> short(0x0443, 1).hex(" ")
    '43 04 01 00 50 01'
    """
    return struct.pack("<HBBBB", number, first, second, UNIT, HOST)


def with_data(number: int, data: bytes) -> bytes:
    """Return a message with data.

    >>> with_data(0x0453, bytes(6)).hex(" ")
    '53 04 06 00 d0 01 00 00 00 00 00 00'
    """
    return struct.pack("<HHBB", number, len(data), UNIT | 0x80, HOST) + data


def probe(models: tuple[str, ...]) -> Probe:
    """Return the question by which these models are known; the serial number in its answer is no text.

    A status that another program has asked for may come before the answer.
    """
    answer = rf"(?s).*?\x06\x00T\x00.{{6}}(?P<model>{'|'.join(models)})\x00.*"
    return Probe(short(INFO[0]), answer, until=b"\x01\x00\x01\x00", baud_rate=115200)


class AptDevice(VisaInstrument):
    """A controller that speaks APT; a subclass says which models it drives.

    Commands are hexadecimal text, as errors show them.

    :param baud_rate: of the line; 115200 if left out.
    """

    models: tuple[str, ...]

    # Asked again after this; light that stands on a silent device is then off within 1 s.
    port = Port(baud_rate=115200, read_termination="", write_termination="", timeout_s=0.3)

    def __init__(
        self,
        adapter: str | Adapter,
        role: str,
        *,
        clock: Clock | None = None,
        visa_library: str = "@py",
        baud_rate: int | None = None,
    ) -> None:
        super().__init__(adapter, role, clock, visa_library, baud_rate)
        self._partial = b""
        self.model = ""
        self.greet(self._check_model)

    def _check_model(self) -> None:
        self._partial = b""
        self.tell(short(STOP_UPDATES))
        wanted = f"a Thorlabs {' or '.join(self.models)}"
        try:
            found = self._who()
        except ProtocolError as exc:
            raise self.stranger(exc.received, wanted) from exc
        if found.model not in self.models:
            raise self.stranger(found.model.encode(), wanted)
        self.model = found.model

    def _who(self) -> Identity:
        answer = self.question(short(INFO[0]), INFO[1])
        if len(answer.data) < 18:
            raise self.garbled(self._sent, answer.data)
        serial, model, _, minor, interim, major, _ = struct.unpack_from("<l8sH4B", answer.data)
        name = model.split(b"\0")[0].decode("ascii", "replace").strip()
        return Identity("Thorlabs", name, str(serial), f"{major}.{interim}.{minor}")

    def identity(self) -> Identity:
        """Ask the controller who it is."""
        return self.remember(self._who())

    # -- messages ----------------------------------------------------------------------------------

    def put(self, command: str, **kwargs: Any) -> None:
        """Send the bytes that a command stands for."""
        self.adapter.write_bytes(bytes.fromhex(command), **kwargs)

    def tell(self, message: bytes) -> None:
        """Send a message that has no answer."""
        self.write(message.hex(" "))

    def question(self, message: bytes, answer: int) -> Message:
        """Send a question and return its answer; what else arrives is skipped. Asked once more if need be.

        :param answer: number of the message that answers it.
        :raises InstrumentTimeout: it does not come.
        :raises InstrumentFault: the device reports trouble.
        """
        with self.lock:
            try:
                return self._answered(message, answer)
            except (InstrumentTimeout, ProtocolError, ConnectionLost):
                if self._reconnecting:
                    raise
                self._answer_owed = True
                return self._answered(message, answer)

    def _answered(self, message: bytes, answer: int) -> Message:
        self.tell(message)
        end = time.monotonic() + self._timeout_s
        while True:
            found = self._next(end)
            if found.number == answer:
                return found
            if found.number in TROUBLE:
                raise InstrumentFault(self.name, f"reports an error: {_in_words(found)}", "power-cycle it")
            if time.monotonic() > end:
                self._answer_owed = True
                raise InstrumentTimeout(self.name, f"no answer to {self._sent!r} among other messages")

    def _next(self, end: float) -> Message:
        """Return the next message."""
        self._fill(6, end)
        number, low, high, to, sender = struct.unpack("<HBBBB", self._partial[:6])
        size = low + 256 * high if to & 0x80 else 0
        if to & 0x7F not in (0, HOST) or sender not in SENDERS or size > LONGEST_DATA:
            heard, self._partial = self._partial, b""
            raise self.garbled(self._sent, heard + self.drain()[:SHOWN])
        self._fill(6 + size, end)
        data, self._partial = self._partial[6 : 6 + size], self._partial[6 + size :]
        return Message(number, low, high, data)

    def _fill(self, count: int, end: float) -> None:
        while (missing := count - len(self._partial)) > 0:
            late = time.monotonic() > end  # before listening: a program that stood still listens once more
            self._partial += self.listen(b"", self._timeout_s, missing)
            if late and len(self._partial) < count:
                self._answer_owed = True
                raise InstrumentTimeout(self.name, f"no answer to {self._sent!r}")

    def resynchronise(self) -> None:
        """Forget half a message and what is still arriving."""
        self._partial = b""
        self.drain()


def _in_words(message: Message) -> str:
    if len(message.data) < 4:
        return f"message {message.number:04X}"
    about, code = struct.unpack_from("<HH", message.data)
    notes = message.data[4:].split(b"\0")[0].decode("ascii", "replace").strip()
    return f"code {code} on message {about:04X} {notes}".strip()
