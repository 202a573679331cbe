"""Instruments that answer in form and lie: a proxy between the cable and an honest simulated instrument.

A proxy sees whole requests and answers. It passes them on, changes them, or answers by itself; what the light
really does stays with the scene. Each lie begins with the n-th message of its kind and says when it began.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace

from simulators.attenuators.ell14 import PULSES_PER_TURN
from simulators.faults.framing import framer
from simulators.link import Wire
from simulators.spectrometers.obp import Decoder, encode

READING = b"MEAS:POW?"
SET_TIME, ASK_TIME, SPECTRUM = 0x00110010, 0x00110000, 0x00101000
OPENS_AGAIN_S = 0.2
"""Bench time after a closing was confirmed at which the blade opens by itself."""


class Liar(Wire):
    """Passes everything on; a subclass lies.

    :param inner: the honest instrument.
    :param nth: the message of its kind with which the lie begins, from 1.
    :ivar began_s: bench time of the first lie, None before it.
    :ivar lies: how often it lied.
    """

    def __init__(self, inner: Wire, key: str, nth: int) -> None:
        super().__init__(inner.clock)
        self.inner, self.nth, self.lies, self.seen = inner, nth, 0, 0
        self.baud_rate = inner.baud_rate
        self.began_s: float | None = None
        self._framer = framer(key)
        inner.attach(self.answered)

    def new_client(self) -> None:
        self._framer.clear()
        self.inner.new_client()

    def receive(self, data: bytes) -> None:
        for request in self._framer.feed(data):
            self.asked(request)

    def due_s(self) -> float | None:
        return self.inner.due_s()

    def wake(self) -> None:
        self.inner.wake()

    def asked(self, request: bytes) -> None:
        self.inner.receive(request)

    def answered(self, data: bytes) -> None:
        self._send(data)

    def lie(self) -> None:
        self.lies += 1
        if self.began_s is None:
            self.began_s = self.clock.now_s()


class LyingShutter(Liar):
    """An SC10 whose words follow its commands, whatever the blade does.

    :param how: "sticks open" (the n-th closing and all later commands do nothing), "misses one" (only the
        n-th closing does nothing, so that blade and words are opposite from then on), "opens again" (a moment
        after the n-th closing), "stays closed" (the n-th opening and all later commands do nothing).
    """

    def __init__(self, inner: Wire, key: str, nth: int, how: str) -> None:
        super().__init__(inner, key, nth)
        self._how, self._commanded, self._mute = how, False, 0
        self._opens_s: float | None = None

    def asked(self, request: bytes) -> None:
        """Lie about the state, and swallow what is to be swallowed."""
        line = request.strip().decode("latin-1")
        if line == "ens":
            self._toggle(request)
        elif self.lies and line in ("ens?", "closed?"):
            value = self._commanded if line == "ens?" else not self._commanded
            self._say(line, f"{int(value)}\r")
        else:
            self.inner.receive(request)

    def due_s(self) -> float | None:
        """Return when the blade opens by itself, if nothing of the instrument's comes before."""
        due = [at for at in (self._opens_s, self.inner.due_s()) if at is not None]
        return min(due, default=None)

    def wake(self) -> None:
        """Open by itself, without a word."""
        if self._opens_s is not None and self.clock.now_s() >= self._opens_s - 1e-9:
            self._opens_s = None
            self.lie()
            self._mute = len("ens\r\r> ")
            self.inner.receive(b"ens\r")
        else:
            self.inner.wake()

    def answered(self, data: bytes) -> None:
        """Keep back what was said of an opening that nobody asked for."""
        kept, self._mute = data[self._mute :], max(self._mute - len(data), 0)
        if kept:
            self._send(kept)

    def _toggle(self, request: bytes) -> None:
        self._commanded = not self._commanded
        self.seen += self._commanded == (self._how == "stays closed")
        begins = self.seen == self.nth and self._commanded == (self._how == "stays closed") and not self.lies
        if begins and self._how == "opens again":
            self._opens_s = self.clock.now_s() + OPENS_AGAIN_S
        elif begins or (self.lies and self._how in ("sticks open", "stays closed")):
            self.lie()
            self._say("ens", "")
            return
        self.inner.receive(request)

    def _say(self, line: str, value: str) -> None:
        self._send(f"{line}\r{value}> ".encode("latin-1"))


class LyingMeter(Liar):
    """A PM100 whose readings are changed from the n-th on.

    :param change: makes the reading that is told of the true one, W, and of the one told before.
    """

    def __init__(
        self, inner: Wire, key: str, nth: int, change: Callable[[float, float | None], float]
    ) -> None:
        super().__init__(inner, key, nth)
        self._change = change
        self._told: float | None = None
        self._queries: deque[bytes] = deque()

    def new_client(self) -> None:
        super().new_client()
        self._queries.clear()

    def asked(self, request: bytes) -> None:
        """Remember which answer will be a reading."""
        if b"?" in request:
            self._queries.append(request.strip())
        self.inner.receive(request)

    def answered(self, data: bytes) -> None:
        query = self._queries.popleft() if self._queries else b""
        if query == READING:
            self.seen += 1
            if self.seen >= self.nth:
                self.lie()
                self._told = self._change(float(data), self._told)
                data = f"{self._told:.6E}\n".encode("ascii")
        self._send(data)


class LyingPlate(Liar):
    """An ELL14 whose plate goes elsewhere from the n-th motion on, and which tells where it was sent."""

    def __init__(self, inner: Wire, key: str, nth: int, off_deg: float) -> None:
        super().__init__(inner, key, nth)
        self._pulses = round(off_deg / 360.0 * PULSES_PER_TURN)

    def asked(self, request: bytes) -> None:
        text = request.decode("latin-1")
        if text[1:3] == "ma":
            self.seen += 1
            if self.seen >= self.nth:
                self.lie()
                request = _moved(text, self._pulses)
        self.inner.receive(request)

    def answered(self, data: bytes) -> None:
        """Tell the angle that was asked for."""
        text = data.decode("latin-1")
        self._send(_moved(text, -self._pulses) if self.lies and text[1:3] == "PO" else data)


def _moved(message: str, pulses: int) -> bytes:
    position = (int(message[3:11], 16) + pulses) & 0xFFFFFFFF
    return f"{message[:3]}{position:08X}{message[11:]}".encode("latin-1")


class LyingCamera(Liar):
    """An Ocean FX that exposes for another time than it confirms, or repeats its last spectrum.

    :param time: part of the time asked for that it really exposes, from the n-th setting on.
    :param repeat: from the n-th spectrum on the one before comes, with ``bits`` lowest bits changed.
    """

    def __init__(
        self, inner: Wire, key: str, nth: int, *, time: float = 1.0, repeat: bool = False, bits: int = 0
    ) -> None:
        super().__init__(inner, key, nth)
        self._time, self._repeat, self._bits = time, repeat, bits
        self._asked_us: int | None = None
        self._last: bytes | None = None
        self._in, self._out = Decoder(), Decoder()

    def new_client(self) -> None:
        super().new_client()
        self._in.clear()
        self._out.clear()

    def asked(self, request: bytes) -> None:
        """Set another time than the one asked for."""
        for frame in self._in.feed(request):
            if self._time != 1.0 and frame.message == SET_TIME:
                self.seen += 1
                if self.seen >= self.nth:
                    self.lie()
                    (self._asked_us,) = struct.unpack("<L", frame.payload)
                    frame = replace(frame, payload=struct.pack("<L", round(self._asked_us * self._time)))
            self.inner.receive(encode(frame))

    def answered(self, data: bytes) -> None:
        """Confirm the time asked for; repeat a spectrum."""
        for frame in self._out.feed(data):
            if frame.message == ASK_TIME and self._asked_us is not None:
                frame = replace(frame, payload=struct.pack("<L", self._asked_us))
            elif self._repeat and frame.message == SPECTRUM and frame.payload:
                self.seen += 1
                if self.seen >= self.nth and self._last is not None:
                    self.lie()
                    frame = replace(frame, payload=self._changed(self._last))
                self._last = frame.payload
            self._send(encode(frame))

    def _changed(self, payload: bytes) -> bytes:
        changed = bytearray(payload)
        for number in range(self._bits):
            changed[2 * ((7 * self.lies + 13 * number) % (len(changed) // 2))] ^= 1
        return bytes(changed)


Make = Callable[[Wire, str, int], Liar]
LIES: Mapping[str, Mapping[str, Make]] = {
    "shutter": {
        how: lambda wire, key, nth, how=how: LyingShutter(wire, key, nth, how)  # type: ignore[misc]
        for how in ("sticks open", "misses one", "opens again", "stays closed")
    },
    "power_meter": {
        "repeats its reading": lambda w, k, n: LyingMeter(w, k, n, lambda now, told: told or now),
        "reads 1.15 times": lambda w, k, n: LyingMeter(w, k, n, lambda now, _: 1.15 * now),
        "reads 1/1.15": lambda w, k, n: LyingMeter(w, k, n, lambda now, _: now / 1.15),
        "reads 3 times": lambda w, k, n: LyingMeter(w, k, n, lambda now, _: 3.0 * now),
        "reads a third": lambda w, k, n: LyingMeter(w, k, n, lambda now, _: now / 3.0),
        "reads zero": lambda w, k, n: LyingMeter(w, k, n, lambda _now, _: 0.0),
        "reads below zero": lambda w, k, n: LyingMeter(w, k, n, lambda now, _: -now),
        "reads no number": lambda w, k, n: LyingMeter(w, k, n, lambda _now, _: 9.91e37),
    },
    "attenuator": {
        "goes 2 deg further": lambda w, k, n: LyingPlate(w, k, n, 2.0),
        "goes 2 deg less": lambda w, k, n: LyingPlate(w, k, n, -2.0),
        "goes 20 deg further": lambda w, k, n: LyingPlate(w, k, n, 20.0),
    },
    "spectrometer": {
        "exposes half the time": lambda w, k, n: LyingCamera(w, k, n, time=0.5),
        "exposes twice the time": lambda w, k, n: LyingCamera(w, k, n, time=2.0),
        "repeats its spectrum": lambda w, k, n: LyingCamera(w, k, n, repeat=True),
        "repeats it but for one bit": lambda w, k, n: LyingCamera(w, k, n, repeat=True, bits=1),
        "repeats it but for 20 bits": lambda w, k, n: LyingCamera(w, k, n, repeat=True, bits=20),
    },
}
"""What each instrument can say."""
