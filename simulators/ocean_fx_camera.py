"""When an Ocean FX exposes, and what waits in its buffer.

In free run exposures follow each other without a gap, whether anybody asks or not. A request gets the next
one that FINISHES: it began before the request, unless the request came at the very end of the one before.
A new integration time waits for the running exposure to end, so the first spectrum after a change is still
one of the old setting. All times are whole microseconds of the scene's clock.
"""

from __future__ import annotations

import struct
import zlib
from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FREE_RUN, EDGE, INTERNAL, LEVEL, DISABLED = 0, 1, 2, 3, 255
SHORTEST_CYCLE_US = 250
"""Exposures do not follow each other faster, however short; a choice of this simulator."""
CAPACITY = 50_000
METADATA = struct.Struct("<HHLQLLLLQH22x")
PIXEL_U16 = 1


class Camera(Protocol):
    """The part of the scene that catches the light."""

    @property
    def pixels(self) -> int:
        """Number of pixels."""

    @property
    def wavelength_coefficients(self) -> tuple[float, ...]:
        """Polynomial of the pixel number, nm."""

    @property
    def nonlinearity(self) -> tuple[float, ...]:
        """Polynomial of the counts."""

    @property
    def serial(self) -> str:
        """Serial number."""

    @property
    def max_counts(self) -> int:
        """Saturation level."""

    @property
    def integration_min_us(self) -> int:
        """Shortest integration time."""

    @property
    def integration_max_us(self) -> int:
        """Longest integration time."""

    def expose(self, start_s: float, integration_s: float) -> NDArray[np.uint16]:
        """Return the counts of one exposure, shape ``(pixel,)``."""

    def temperature_c(self, at_s: float) -> float:
        """Return the detector's temperature."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """One exposure, known by its time alone; its counts are worked out when they are read.

    ``number`` counts all exposures since power-up.
    """

    start_us: int
    integration_us: int
    number: int

    @property
    def end_us(self) -> int:
        """Time at which the next one may begin."""
        return self.start_us + max(self.integration_us, SHORTEST_CYCLE_US)


class Timeline:
    """The sequence of exposures."""

    def __init__(self, now_us: int, integration_us: int) -> None:
        self.integration_us = integration_us
        self.mode = FREE_RUN
        self._running = Exposure(now_us, integration_us, 0)

    def running(self, now_us: int) -> Exposure:
        """Return the exposure under way in free run. One that ends right now is over."""
        late_us = now_us - self._running.end_us
        if late_us >= 0:
            first = self._follow(self._running)
            cycle_us = first.end_us - first.start_us
            skipped = late_us // cycle_us
            self._running = Exposure(
                first.start_us + skipped * cycle_us, first.integration_us, first.number + skipped
            )
        return self._running

    def set_integration(self, now_us: int, integration_us: int) -> None:
        """Change the time of every exposure that has not begun."""
        self.running(now_us)
        self.integration_us = integration_us

    def restart(self, now_us: int) -> Exposure:
        """Break off what runs and begin a new exposure now."""
        self._running = Exposure(now_us, self.integration_us, self.running(now_us).number + 1)
        return self._running

    def after(self, exposure: Exposure) -> Exposure:
        """Return the exposure that follows another."""
        return self._follow(exposure)

    def _follow(self, exposure: Exposure) -> Exposure:
        return Exposure(exposure.end_us, self.integration_us, exposure.number + 1)


class Buffer:
    """Spectra that the device keeps until they are read, oldest first.

    In free run every exposure goes in while buffering is on; otherwise each trigger, or a command, puts in as
    many as the back-to-back count says. The oldest are lost when it is full.
    """

    def __init__(self, timeline: Timeline) -> None:
        self.enabled = False
        self.capacity = CAPACITY
        self.back_to_back = 1
        self._timeline = timeline
        self._kept: deque[Exposure] = deque(maxlen=CAPACITY)
        self._next: Exposure | None = None
        self._wanted: int | None = None

    def enable(self, now_us: int, on: bool) -> None:
        """Begin or end to keep exposures; ending empties the buffer."""
        self.enabled = on
        self.clear(now_us)
        self._wanted = None if self._timeline.mode == FREE_RUN else 0

    def clear(self, now_us: int) -> None:
        """Empty the buffer; the running exposure is the first that may come in."""
        self._kept.clear()
        self._next = self._timeline.running(now_us)

    def resize(self, capacity: int) -> None:
        """Keep at most ``capacity`` spectra."""
        self.capacity = capacity
        self._kept = deque(self._kept, maxlen=capacity)

    def acquire(self, now_us: int) -> None:
        """Begin a run of back-to-back exposures now."""
        self.collect(now_us)
        self._next = self._timeline.restart(now_us)
        self._wanted = self.back_to_back

    def idle(self, now_us: int) -> bool:
        """Return whether nothing more will come in."""
        self.collect(now_us)
        return not self.enabled or self._wanted == 0

    def collect(self, now_us: int) -> None:
        """Take in every exposure that has ended."""
        if not self.enabled or self._next is None:
            return
        self._skip(now_us)
        while self._wanted != 0 and self._next.end_us <= now_us:
            self._kept.append(self._next)
            self._next = self._timeline.after(self._next)
            if self._wanted is not None:
                self._wanted -= 1

    def _skip(self, now_us: int) -> None:
        """Do not walk through exposures that would be pushed out again at once."""
        assert self._next is not None
        cycle_us = self._next.end_us - self._next.start_us
        surplus = (now_us - self._next.end_us) // cycle_us - self.capacity
        if (
            self._wanted is None
            and surplus > 0
            and self._next.integration_us == self._timeline.integration_us
        ):
            start_us = self._next.start_us + surplus * cycle_us
            self._next = Exposure(start_us, self._next.integration_us, self._next.number + surplus)

    def count(self, now_us: int) -> int:
        """Return how many spectra wait."""
        self.collect(now_us)
        return len(self._kept)

    def ready_us(self, now_us: int, count: int) -> int | None:
        """Return when ``count`` spectra will wait, or None if that many will not come."""
        missing = count - self.count(now_us)
        if missing <= 0:
            return now_us
        if not self.enabled or self._next is None or (self._wanted is not None and self._wanted < missing):
            return None
        last = self._next
        for _ in range(missing - 1):
            last = self._timeline.after(last)
        return last.end_us

    def take(self, count: int) -> list[Exposure]:
        """Remove and return the oldest spectra."""
        return [self._kept.popleft() for _ in range(min(count, len(self._kept)))]


def block(exposure: Exposure, pixels: bytes) -> bytes:
    """Return one spectrum as it leaves the buffer: 64 bytes of metadata, pixels, 4 bytes of checksum.

    The device's microsecond counter is the time of the exposure's end. Which checksum the instrument uses is
    not known, seabreeze skips it; here it is CRC-32.
    """
    head = METADATA.pack(
        1, METADATA.size, len(pixels), exposure.end_us, exposure.integration_us, PIXEL_U16,
        exposure.number & 0xFFFFFFFF, max(exposure.number - 1, 0) & 0xFFFFFFFF, exposure.start_us, 1,
    )  # fmt: skip
    return head + pixels + struct.pack("<L", zlib.crc32(head + pixels))
