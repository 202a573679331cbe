"""An Ocean FX spectrometer on TCP, speaking the Ocean Binary Protocol as both seabreeze backends expect it.

Queries are answered by their own message type; a set is answered by an ACK of exactly 64 bytes when it asks
for one; whatever cannot be done is answered by a NACK with an error number. Source: seabreeze 2.11
(pyseabreeze/protocol.py; libseabreeze OBPMessageTypes.h and the FlameX features).
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.model.clock import Clock
from simulators.link import DUE_TOLERANCE_S, Wire
from simulators.spectrometers import obp
from simulators.spectrometers.obp import Decoder, Frame, RefusedError, encode
from simulators.spectrometers.ocean_fx_camera import (
    CAPACITY,
    DISABLED,
    EDGE,
    FREE_RUN,
    INTERNAL,
    LEVEL,
    NEVER_US,
    WAITS_FOR_TRIGGER,
    Buffer,
    Camera,
    Exposure,
    Timeline,
    Triggers,
    block,
    older_block,
)

FIRMWARE, HARDWARE = 0x0137, 0x01

Fact = Callable[[bytes], bytes]


def facts(camera: Camera, clock: Clock) -> dict[int, Fact]:
    """Return the queries that are answered without touching the device."""
    serial = camera.serial.encode("ascii")
    dark: tuple[tuple[int, int], ...] = getattr(camera, "dark_pixels", ())

    def temperatures() -> tuple[float, ...]:
        return (camera.temperature_c(clock.now_s()),)

    return {
        0x00000080: constant("<B", HARDWARE),
        0x00000090: constant("<H", FIRMWARE),
        0x00000100: lambda data: _plain(data, serial),
        0x00000101: constant("<B", len(serial)),
        0x00101010: constant("<L", camera.max_counts),
        0x001010A0: constant("<L", camera.max_counts),
        0x00110220: constant("<L", camera.pixels),
        0x00110221: _ranges(_between(dark, camera.pixels - 1)),
        0x00110222: _ranges(()),
        0x00110223: _ranges(dark),
        0x00180100: constant("<B", len(camera.wavelength_coefficients)),
        0x00180101: lambda data: _indexed(data, camera.wavelength_coefficients),
        0x00181100: constant("<B", len(camera.nonlinearity)),
        0x00181101: lambda data: _indexed(data, camera.nonlinearity),
        0x00183100: constant("<B", 0),
        0x00183101: lambda data: _indexed(data, ()),
        0x00400000: constant("<B", 1),
        0x00400001: lambda data: _indexed(data, temperatures()),
        0x00400002: lambda data: _plain(data, struct.pack("<f", *temperatures())),
    }


def constant(form: str, *values: int) -> Fact:
    """Return a query whose answer never changes."""
    packed = struct.pack(form, *values)
    return lambda data: _plain(data, packed)


def _plain(data: bytes, answer: bytes) -> bytes:
    """Answer a query that takes no argument."""
    if data:
        raise RefusedError(obp.BAD_LENGTH)
    return answer


def _indexed(data: bytes, values: tuple[float, ...]) -> bytes:
    """Return the value at the index asked for, as a float of 4 bytes."""
    (index,) = struct.unpack("<B", data)
    if index >= len(values):
        raise RefusedError(obp.NO_SUCH_INFORMATION)
    return struct.pack("<f", values[index])


def _ranges(pairs: tuple[tuple[int, int], ...]) -> Fact:
    return constant(f"<{2 * len(pairs)}L", *(pixel for pair in pairs for pixel in pair))


def _between(ranges: tuple[tuple[int, int], ...], last: int) -> tuple[tuple[int, int], ...]:
    """Return the pixel ranges between the given ones, up to ``last``.

    >>> _between(((14, 29),), 2135)
    ((0, 13), (30, 2135))
    """
    edges = [-1, *(edge for pair in ranges for edge in pair), last + 1]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return tuple((after + 1, before - 1) for after, before in pairs if before - after > 1)


MOST_SCANS, WIDEST_BOXCAR, LONGEST_DELAY_US = 5000, 15, 335_500

ProcessingHandler = Callable[[bytes], bytes | None]


class Processing:
    """Turns exposures into counts, and answers the settings that say how."""

    def __init__(
        self, camera: Camera, timeline: Timeline, now_us: Callable[[], int], pixel_type: str = "<u2"
    ) -> None:
        self._camera, self._timeline, self._now_us = camera, timeline, now_us
        self._pixel_type = pixel_type
        self._boxcar = 0

    def counts(self, exposure: Exposure) -> bytes:
        """Return the pixels of an exposure that has ended."""
        integration_s = exposure.integration_us * 1e-6
        scans = [
            self._camera.expose((exposure.start_us + number * exposure.cycle_us) * 1e-6, integration_s)
            for number in range(exposure.scans)
        ]
        counts = scans[0] if len(scans) == 1 else np.rint(np.mean(scans, axis=0))
        if self._boxcar:
            counts = _smoothed(counts, self._boxcar)
        return counts.astype(self._pixel_type).tobytes()

    def counts_each(self, exposures: list[Exposure]) -> list[bytes]:
        """Return the same of several exposures; single scans of one integration time are made together."""
        times_us = {exposure.integration_us for exposure in exposures}
        if len(times_us) != 1 or self._boxcar or any(exposure.scans > 1 for exposure in exposures):
            return [self.counts(exposure) for exposure in exposures]
        starts_s = np.array([exposure.start_us for exposure in exposures]) * 1e-6
        frames = self._camera.expose_each(starts_s, times_us.pop() * 1e-6)
        return [frame.tobytes() for frame in frames.astype(self._pixel_type, copy=False)]

    def handlers(self) -> dict[int, ProcessingHandler]:
        """Return the messages that ask for and change the settings."""
        return {
            0x00110500: lambda _: struct.pack("<L", self._timeline.delay_us),
            0x00110501: constant("<L", 0),
            0x00110502: constant("<L", LONGEST_DELAY_US),
            0x00110503: constant("<L", 1),
            0x00110510: self._set_delay,
            0x00120000: lambda _: struct.pack("<H", self._timeline.scans),
            0x00120010: self._set_scans,
            0x00121000: lambda _: struct.pack("<B", self._boxcar),
            0x00121010: self._set_boxcar,
        }

    def _set_delay(self, data: bytes) -> None:
        self._timeline.delay_us = _within(struct.unpack("<L", data)[0], 0, LONGEST_DELAY_US)

    def _set_scans(self, data: bytes) -> None:
        self._timeline.set_scans(self._now_us(), _within(struct.unpack("<H", data)[0], 1, MOST_SCANS))

    def _set_boxcar(self, data: bytes) -> None:
        self._boxcar = _within(struct.unpack("<B", data)[0], 0, WIDEST_BOXCAR)


def _within(value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise RefusedError(obp.BAD_DATA)
    return value


def _smoothed(counts: NDArray[np.generic], width: int) -> NDArray[np.float64]:
    """Return the mean of each pixel and ``width`` neighbours on both sides, fewer at the ends."""
    kernel = np.ones(2 * width + 1)
    total = np.convolve(counts.astype(np.float64), kernel, "same")
    return np.rint(total / np.convolve(np.ones(counts.size), kernel, "same"))


POWER_ON_INTEGRATION_US = 10_000
MOST_BLOCKS = 15
"""Spectra one message can carry."""


@dataclass(slots=True)
class Waiting:
    """A spectrum somebody waits for.

    :param due_us: when it will be there; None until a trigger comes, which calls ``triggered``.
    """

    due_us: int | None
    result: Callable[[], bytes] = bytes
    triggered: Callable[[], Waiting] | None = None


Handler = Callable[[bytes], bytes | Waiting | None]


class OceanFx(Wire):
    """One spectrometer in front of the scene's camera.

    :param triggers: of what is wired to its trigger input; with None it sees :meth:`trigger` alone.
    """

    version = obp.VERSION
    pixel_type = "<u2"

    def __init__(self, clock: Clock, camera: Camera, triggers: Triggers | None = None) -> None:
        super().__init__(clock)
        self._camera = camera
        self._timeline = Timeline(self._now_us(), POWER_ON_INTEGRATION_US, triggers)
        self._processing = Processing(camera, self._timeline, self._now_us, self.pixel_type)
        self._buffer = Buffer(self._timeline)
        self._decoder = Decoder(self.version)
        self._queue: deque[Frame] = deque()
        self._waiting: tuple[Frame, Waiting] | None = None
        self._handlers: dict[int, Handler] = {**facts(camera, clock)}
        self._handlers |= self._processing.handlers()
        self._handlers |= self._acquisition() | self._buffering()

    def new_client(self) -> None:
        """Forget what an earlier client asked for; settings stay."""
        self._decoder.clear()
        self._queue.clear()
        self._waiting = None

    def receive(self, data: bytes) -> None:
        """Take bytes; answer every request they complete."""
        for frame in self._decoder.feed(data):
            if frame.message == 0x00100000 and not frame.error:
                self._abort(frame)
            else:
                self._queue.append(frame)
        self._work()

    def due_s(self) -> float | None:
        """Return when the spectrum somebody waits for is complete."""
        due_us = None if self._waiting is None else self._waiting[1].due_us
        return None if due_us is None or due_us >= NEVER_US else due_us * 1e-6

    def wake(self) -> None:
        """Deliver the spectrum that was waited for."""
        due_s = self.due_s()
        if self._waiting is not None and due_s is not None and due_s - self.clock.now_s() <= DUE_TOLERANCE_S:
            (frame, waiting), self._waiting = self._waiting, None
            self._reply(frame, waiting.result())
            self._work()

    def trigger(self) -> None:
        """Let the trigger input see one edge, where the laser does not give them."""
        if self._timeline.mode not in WAITS_FOR_TRIGGER or self._timeline.paced:
            return
        if self._buffer.enabled:
            self._buffer.acquire(self._now_us())
        if self._waiting is not None and (triggered := self._waiting[1].triggered) is not None:
            self._waiting = (self._waiting[0], triggered())

    def _now_us(self) -> int:
        return round(self.clock.now_s() * 1e6)

    def _work(self) -> None:
        while self._queue and self._waiting is None:
            self._request(self._queue.popleft())

    def _request(self, frame: Frame) -> None:
        handler = self._handlers.get(frame.message)
        if frame.error or handler is None:
            self._refuse(frame, frame.error or obp.UNKNOWN_MESSAGE)
            return
        try:
            answer = handler(frame.payload)
        except RefusedError as refusal:
            self._refuse(frame, refusal.error)
        except struct.error:
            self._refuse(frame, obp.BAD_LENGTH)
        else:
            if isinstance(answer, Waiting):
                self._waiting = (frame, answer)
            elif answer is not None or frame.flags & obp.ACK_REQUESTED:
                self._reply(frame, answer)

    def _reply(self, frame: Frame, payload: bytes | None) -> None:
        flags = obp.RESPONSE | (obp.ACK if payload is None or frame.flags & obp.ACK_REQUESTED else 0)
        answer = Frame(frame.message, payload or b"", flags, frame.regarding, frame.checksum)
        self._send(encode(answer, self.version))

    def _refuse(self, frame: Frame, error: int) -> None:
        checksum = frame.checksum if frame.checksum == obp.MD5 else obp.NO_CHECKSUM
        flags = obp.RESPONSE | obp.NACK
        refusal = Frame(frame.message, b"", flags, frame.regarding, checksum, error)
        self._send(encode(refusal, self.version))

    def _abort(self, frame: Frame) -> None:
        """Break off the acquisition: whoever waits for it is refused."""
        if self._waiting is not None:
            waiting, self._waiting = self._waiting[0], None
            self._refuse(waiting, obp.NOT_READY)
        self._timeline.restart(self._now_us())
        self._buffer.clear(self._now_us())
        if frame.flags & obp.ACK_REQUESTED:
            self._reply(frame, None)

    # Exposures.

    def _acquisition(self) -> dict[int, Handler]:
        return {
            0x00101000: self._spectrum,
            0x00101100: self._spectrum,
            0x00110000: lambda _: struct.pack("<L", self._timeline.integration_us),
            0x00110001: constant("<L", self._camera.integration_min_us),
            0x00110002: constant("<L", self._camera.integration_max_us),
            0x00110003: constant("<L", 1),
            0x00110010: self._set_integration,
            0x00110100: lambda _: struct.pack("<B", self._timeline.mode),
            0x00110110: self._set_trigger,
            0x00110120: lambda _: self.trigger(),
        }

    def _set_integration(self, data: bytes) -> None:
        (integration_us,) = struct.unpack("<L", data)
        if not self._camera.integration_min_us <= integration_us <= self._camera.integration_max_us:
            raise RefusedError(obp.BAD_DATA)
        now_us = self._now_us()
        self._buffer.collect(now_us)
        self._timeline.set_integration(now_us, integration_us)

    def _set_trigger(self, data: bytes) -> None:
        (mode,) = struct.unpack("<B", data)
        if mode not in {FREE_RUN, EDGE, INTERNAL, LEVEL, DISABLED}:
            raise RefusedError(obp.BAD_DATA)
        now_us = self._now_us()
        self._timeline.mode = mode
        if mode == FREE_RUN:
            self._timeline.restart(now_us)
        self._buffer.enable(now_us, self._buffer.enabled)

    def _spectrum(self, data: bytes) -> Waiting:
        if data:
            raise RefusedError(obp.BAD_LENGTH)
        mode = self._timeline.mode
        if mode == DISABLED:
            raise RefusedError(obp.NOT_READY)
        if self._timeline.paced or mode == INTERNAL:
            return self._fresh()
        if mode in WAITS_FOR_TRIGGER:
            return Waiting(None, triggered=self._fresh)
        return self._spectrum_of(self._timeline.running(self._now_us()))

    def _fresh(self) -> Waiting:
        return self._spectrum_of(self._timeline.restart(self._now_us()))

    def _spectrum_of(self, exposure: Exposure) -> Waiting:
        return Waiting(exposure.end_us, lambda: self._processing.counts(exposure))

    # The buffer.

    def _buffering(self) -> dict[int, Handler]:
        buffer = self._buffer
        return {
            0x00100800: lambda _: struct.pack("<B", buffer.enabled),
            0x00100810: self._enable_buffer,
            0x00100820: constant("<L", CAPACITY),
            0x00100822: lambda _: struct.pack("<L", buffer.capacity),
            0x00100830: lambda _: buffer.clear(self._now_us()),
            0x00100831: self._remove_oldest,
            0x00100832: self._resize_buffer,
            0x00100900: lambda _: struct.pack("<L", buffer.count(self._now_us())),
            0x00100902: self._acquire_into_buffer,
            0x00100908: lambda _: struct.pack("<B", buffer.idle(self._now_us())),
            0x00100928: lambda _: self._blocks(1, older_block),
            0x00100980: lambda data: self._blocks(struct.unpack("<L", data)[0], block),
            0x00110102: lambda _: struct.pack("<L", buffer.back_to_back),
            0x00110112: self._set_back_to_back,
        }

    def _enable_buffer(self, data: bytes) -> None:
        (on,) = struct.unpack("<B", data)
        self._buffer.enable(self._now_us(), bool(on))

    def _remove_oldest(self, data: bytes) -> None:
        (count,) = struct.unpack("<L", data)
        self._buffer.collect(self._now_us())
        self._buffer.take(count)

    def _resize_buffer(self, data: bytes) -> None:
        (capacity,) = struct.unpack("<L", data)
        if not 1 <= capacity <= CAPACITY:
            raise RefusedError(obp.BAD_DATA)
        self._buffer.resize(capacity)

    def _acquire_into_buffer(self, _: bytes) -> None:
        if not self._buffer.enabled:
            raise RefusedError(obp.NOT_READY)
        self._buffer.acquire(self._now_us())

    def _set_back_to_back(self, data: bytes) -> None:
        (count,) = struct.unpack("<L", data)
        if not 1 <= count <= CAPACITY:
            raise RefusedError(obp.BAD_DATA)
        self._buffer.back_to_back = count

    def _blocks(self, count: int, form: Callable[[Exposure, bytes], bytes]) -> Waiting:
        if not 1 <= count <= MOST_BLOCKS:
            raise RefusedError(obp.BAD_DATA)
        ready_us = self._buffer.ready_us(self._now_us(), count)
        if ready_us is not None:
            return Waiting(ready_us, lambda: self._take_blocks(count, form))
        if self._timeline.mode not in WAITS_FOR_TRIGGER:
            raise RefusedError(obp.NOT_READY)
        return Waiting(None, triggered=lambda: self._blocks(count, form))

    def _take_blocks(self, count: int, form: Callable[[Exposure, bytes], bytes]) -> bytes:
        self._buffer.collect(self._now_us())
        taken = self._buffer.take(count)
        return b"".join(map(form, taken, self._processing.counts_each(taken)))
