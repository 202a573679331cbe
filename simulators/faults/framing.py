"""Where one request ends and the next begins, for each instrument; and what it is called.

Half a request is held back until the rest comes: an instrument would only have waited for it, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from simulators.attenuators.ell14 import ADDRESSES, DATA_DIGITS
from simulators.spectrometers.obp import HEADER, LARGEST, START, TAIL

LONGEST = HEADER.size + LARGEST
"""More than this without an end is passed on as it is."""


class Framer(Protocol):
    """Cuts a stream of bytes into requests."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes and return the requests they complete, every byte of them."""

    def clear(self) -> None:
        """Forget half a request."""

    def label(self, message: bytes) -> str:
        """Return the text that ``match`` is looked for in."""


class _Cutter:
    """Keeps the rest; a subclass knows where the first request of some bytes ends."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes and return the requests they complete."""
        self._rest += data
        messages = []
        while self._rest and (end := self._end(self._rest)):
            messages.append(self._rest[:end])
            self._rest = self._rest[end:]
        if len(self._rest) > LONGEST:
            messages.append(self._rest)
            self._rest = b""
        return messages

    def clear(self) -> None:
        """Forget half a request."""
        self._rest = b""

    def label(self, message: bytes) -> str:
        """Return the request as text, without what ends it."""
        return message.decode("latin-1").strip()

    def _end(self, data: bytes) -> int:
        """Return the length of the first request, 0 while it is not complete."""
        return len(data)


class Chunks(_Cutter):
    """What came together is one request: for an instrument nothing is known of."""


class Lines(_Cutter):
    """A request ends with one byte."""

    def __init__(self, end: bytes) -> None:
        super().__init__()
        self._last = end

    def _end(self, data: bytes) -> int:
        return data.find(self._last) + 1


class EllxRequests(_Cutter):
    """An address, two letters and as many digits as the command has; what is no request passes at once."""

    def _end(self, data: bytes) -> int:
        text = data.decode("latin-1")
        start = len(text) - len(text.lstrip("\r\n"))
        body = text[start:]
        if not body or body[0] not in ADDRESSES:
            return len(data)
        if len(body) < 3:
            return 0
        digits = DATA_DIGITS.get(body[1:3])
        if digits is None:
            return len(data)
        cut = min((at + 1 for end in "\r\n" if 0 <= (at := body.find(end)) < 3 + digits), default=0)
        if cut:
            return start + cut
        return start + 3 + digits if len(body) >= 3 + digits else 0


class ObpFrames(_Cutter):
    """Frames whose header says how long they are; its label is the message type, 8 hexadecimal digits."""

    def label(self, message: bytes) -> str:
        """Return the message type, e.g. "00101000"."""
        return f"{HEADER.unpack_from(message)[4]:08x}" if len(message) >= HEADER.size else ""

    def _end(self, data: bytes) -> int:
        if not data.startswith(START[: len(data)]):
            return len(data)
        if len(data) < HEADER.size:
            return 0
        remaining = int(HEADER.unpack_from(data)[-1])
        if not TAIL <= remaining <= LARGEST:
            return len(data)
        size = HEADER.size + remaining
        return size if len(data) >= size else 0


class OoiCommands(_Cutter):
    """One command a transfer; its label is the first byte, two hexadecimal digits."""

    def label(self, message: bytes) -> str:
        """Return the command, e.g. "09" for a spectrum."""
        return f"{message[0]:02x}" if message else ""


class AptMessages(_Cutter):
    """6 bytes, and data where the top bit of the destination says so; the label is the message's number."""

    def label(self, message: bytes) -> str:
        """Return the number, e.g. "0453"."""
        return f"{int.from_bytes(message[:2], 'little'):04x}" if len(message) >= 6 else ""

    def _end(self, data: bytes) -> int:
        if len(data) < 6:
            return 0
        size = 6 + (int.from_bytes(data[2:4], "little") if data[4] & 0x80 else 0)
        return size if len(data) >= size else 0


FRAMERS: dict[str, Callable[[], Framer]] = {
    "thorlabs-ell14": EllxRequests,
    "thorlabs-ell20": EllxRequests,
    "thorlabs-pm100": lambda: Lines(b"\n"),
    "thorlabs-sc10": lambda: Lines(b"\r"),
    "thorlabs-tc200": lambda: Lines(b"\r"),
    "thorlabs-apt": AptMessages,
    "thorlabs-ksc101": AptMessages,
    "ocean": ObpFrames,
    "ooi": OoiCommands,
    "scpi-thermometer": lambda: Lines(b"\n"),
}


def framer(key: str) -> Framer:
    """Return a new framer for the instrument of one driver key."""
    return FRAMERS.get(key, Chunks)()
