"""An Ocean FX as bytes, written from the protocol's description and independent of the simulator."""

from __future__ import annotations

import hashlib
import struct

import numpy as np

PIXELS = 2136
HEADER = struct.Struct("<HHHHLL6xBB16sL")
NACK = 8


class Device:
    """An Ocean FX as bytes, independent of the simulator: 600 nm and up, counts 0, 1, 2 ...

    Each spectrum is one count above the one before, but for the ``stale`` ones, which begin with the last.
    """

    def __init__(self) -> None:
        self.integration_us = 10_000
        self.limits = (10, 10_000_000)
        self.silent_at: int | None = None
        self.refused: set[int] = set()
        self.spectra = 0
        self.stale: list[int] = []
        self.serial = b"FX1"
        self.md5 = False
        self.keeps: int | None = None
        self._buffer = b""

    def __call__(self, data: bytes) -> bytes:
        self._buffer += data
        out = b""
        while len(self._buffer) >= 44:
            size = 44 + HEADER.unpack(self._buffer[:44])[-1]
            if len(self._buffer) < size:
                break
            message, self._buffer = self._buffer[:size], self._buffer[size:]
            out += self._message(message)
        return out

    def _message(self, message: bytes) -> bytes:
        _, _, flags, _, number, _, _, size, data, _ = HEADER.unpack(message[:44])
        if number == self.silent_at:
            return b""
        if number in self.refused:
            return self._reply(number, b"", NACK)
        answer = self._answer(number, data[:size])
        if answer is None:
            return self._reply(number, b"", NACK)
        return self._reply(number, answer, 3 if flags & 4 else 1)

    def _answer(self, number: int, data: bytes) -> bytes | None:
        if number == 0x110010:
            (wanted,) = struct.unpack("<L", data)
            self.integration_us = self.keeps or wanted
            return b""
        if number == 0x101000:
            self.spectra += self.stale.pop() if self.stale else 1
            return (np.arange(PIXELS, dtype="<u2") + np.uint16(self.spectra - 1)).astype("<u2").tobytes()
        fixed = {
            0x101: bytes([len(self.serial)]), 0x100: self.serial, 0x180100: b"\x02", 0x110110: b"",
            0x181100: b"\x03", 0x110000: struct.pack("<L", self.integration_us),
            0x110001: struct.pack("<L", self.limits[0]), 0x110002: struct.pack("<L", self.limits[1]),
            0x400001: struct.pack("<f", 21.5),
        }  # fmt: skip
        indexed = {0x180101: (600.0, 0.1), 0x181101: (1.0, -1e-6, 1e-11)}
        if number in indexed:
            return struct.pack("<f", indexed[number][data[0]])
        return fixed.get(number)

    def _reply(self, number: int, data: bytes, flags: int) -> bytes:
        immediate = data if len(data) <= 16 else b""
        payload = b"" if immediate or not data else data
        error = 2 if flags & NACK else 0
        message = HEADER.pack(
            0xC0C1,
            0x1100,
            flags,
            error,
            number,
            0,
            int(self.md5),
            len(immediate),
            immediate,
            len(payload) + 20,
        )
        message += payload
        total = hashlib.md5(message).digest() if self.md5 else bytes(16)
        return message + total + struct.pack("<L", 0xC2C3C4C5)
