"""Frames of the Ocean Binary Protocol: 44 bytes of header, payload, 16 bytes of checksum, 4 of footer.

Source: seabreeze 2.11, pyseabreeze/protocol.py, and libseabreeze's OBPMessage.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

START = b"\xc1\xc0"
FOOTER = b"\xc5\xc4\xc3\xc2"
VERSION = 0x1100
HEADER = struct.Struct("<2sHHHLL6sBB16sL")
TAIL = 20
"""Bytes after the payload: checksum and footer."""
IMMEDIATE = 16
"""A payload up to this length travels in the header."""
LARGEST = 65536

RESPONSE, ACK, ACK_REQUESTED, NACK = 1, 2, 4, 8
NO_CHECKSUM, MD5 = 0, 1

BAD_PROTOCOL, UNKNOWN_MESSAGE, BAD_CHECKSUM, TOO_LARGE, BAD_LENGTH, BAD_DATA, NOT_READY = 1, 2, 3, 4, 5, 6, 7
BAD_CHECKSUM_TYPE, NO_SUCH_INFORMATION = 8, 12


class RefusedError(Exception):
    """A request that gets a NACK with this error number."""

    def __init__(self, error: int) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True, slots=True)
class Frame:
    """One message. ``error`` tells why it could not be read, 0 if it could."""

    message: int
    payload: bytes = b""
    flags: int = 0
    regarding: int = 0
    checksum: int = NO_CHECKSUM
    error: int = 0


def encode(frame: Frame, version: int = VERSION) -> bytes:
    """Return the bytes of a frame, with its checksum if its type asks for one."""
    payload = frame.payload
    inside = payload if len(payload) <= IMMEDIATE else b""
    outside = b"" if inside is payload else payload
    head = HEADER.pack(
        START, version, frame.flags, frame.error, frame.message, frame.regarding, b"", frame.checksum,
        len(inside), inside, len(outside) + TAIL,
    )  # fmt: skip
    digest = (
        hashlib.md5(head + outside, usedforsecurity=False).digest() if frame.checksum == MD5 else bytes(16)
    )
    return b"".join((head, outside, digest, FOOTER))


class Decoder:
    """Cuts a byte stream into frames; what is no frame is skipped up to the next start mark.

    :param version: of the protocol; a frame of another one comes with an error.
    """

    def __init__(self, version: int = VERSION) -> None:
        self._version = version
        self._buffer = bytearray()

    def clear(self) -> None:
        """Forget a half-received frame."""
        self._buffer.clear()

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes and return the frames they complete."""
        self._buffer += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        buffer = self._buffer
        if not buffer.startswith(START) and buffer[:1] != START[: len(buffer)]:
            at = buffer.find(START)
            del buffer[: at if at >= 0 else len(buffer) - buffer.endswith(START[:1])]
        if len(buffer) < HEADER.size:
            return None
        fields = HEADER.unpack_from(buffer)
        remaining = fields[-1]
        if not TAIL <= remaining <= LARGEST:
            del buffer[:2]  # no length to trust: look for the next start mark
            return Frame(fields[4], flags=fields[2], regarding=fields[5], error=TOO_LARGE)
        size = HEADER.size + remaining
        if len(buffer) < size:
            return None
        whole = bytes(buffer[:size])
        del buffer[:size]
        return _parse(whole, self._version)


def _parse(whole: bytes, expected: int) -> Frame:
    """Read one complete frame."""
    _, version, flags, _, message, regarding, _, checksum, length, inside, _ = HEADER.unpack_from(whole)
    outside = whole[HEADER.size : -TAIL]
    error = 0
    if version != expected or not whole.endswith(FOOTER):
        error = BAD_PROTOCOL
    elif checksum not in (NO_CHECKSUM, MD5):
        error = BAD_CHECKSUM_TYPE
    elif checksum == MD5 and hashlib.md5(whole[:-TAIL], usedforsecurity=False).digest() != whole[-TAIL:-4]:
        error = BAD_CHECKSUM
    elif length > IMMEDIATE or (length and outside):
        error = BAD_LENGTH
    return Frame(message, outside or inside[:length], flags, regarding, checksum, error)
