"""When an Ocean FX exposes.

In free run exposures follow each other without a gap, whether anybody asks or not. A request gets the next
one that FINISHES: it began before the request, unless the request came at the very end of the one before.
A new integration time waits for the running exposure to end, so the first spectrum after a change is still
one of the old setting. Where the laser is wired to the trigger input, an exposure in the triggered modes
begins with its next pulse. All times are whole microseconds of the scene's clock.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

FREE_RUN, EDGE, INTERNAL, LEVEL, DISABLED = 0, 1, 2, 3, 255
SHORTEST_CYCLE_US = 250
"""Exposures do not follow each other faster, however short; a choice of this simulator."""
WAITS_FOR_TRIGGER = frozenset({EDGE, LEVEL})
LEAD_US = 1
"""A laser's trigger output runs ahead of its light; by how much is a choice of this simulator."""

Triggers = Callable[[int], int]
"""Returns the time of the first trigger that is not before a time, both in us."""
DeafUntil = Callable[[float], float | None]


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

    def expose(self, start_s: float, integration_s: float) -> NDArray[np.unsignedinteger[Any]]:
        """Return the counts of one exposure, shape ``(pixel,)``."""

    def expose_each(
        self, starts_s: NDArray[np.float64], integration_s: float
    ) -> NDArray[np.unsignedinteger[Any]]:
        """Return the counts of several exposures, shape ``(exposure, pixel)``."""

    def temperature_c(self, at_s: float) -> float:
        """Return the detector's temperature."""


NEVER_US = 10**15
"""A trigger that does not come: after 30 years."""


def laser_triggers(rate_hz: float, phase: float, deaf_until_s: DeafUntil = lambda _at_s: None) -> Triggers:
    """Return the triggers of a laser whose pulse k comes at (k + phase) / rate, each just before its pulse.

    :param deaf_until_s: says of a time, s, until when the input hears nothing; None: it hears.

    >>> laser_triggers(1000.0, 0.25)(1300)
    2249
    >>> laser_triggers(1000.0, 0.25, lambda at_s: 0.004 if at_s < 0.004 else None)(1300)
    4249
    """

    def after(at_us: int) -> int:
        pulse = math.ceil((at_us + LEAD_US) * 1e-6 * rate_hz - phase) - 1
        while (trigger_us := math.floor((pulse + phase) / rate_hz * 1e6) - LEAD_US) < at_us:
            pulse += 1
        until_s = deaf_until_s(trigger_us * 1e-6)
        if until_s is None:
            return trigger_us
        return after(max(math.ceil(until_s * 1e6), trigger_us + 1)) if until_s < NEVER_US * 1e-6 else NEVER_US

    return after


@dataclass(frozen=True, slots=True)
class Exposure:
    """One exposure, known by its time alone; its counts are worked out when they are read.

    ``number`` counts all exposures since power-up, ``shot`` those since the trigger; ``scans`` follow each
    other and are averaged.
    """

    start_us: int
    integration_us: int
    number: int
    scans: int = 1
    shot: int = 0

    @property
    def cycle_us(self) -> int:
        """Time from one scan to the next."""
        return max(self.integration_us, SHORTEST_CYCLE_US)

    @property
    def end_us(self) -> int:
        """Time at which the next one may begin."""
        return self.start_us + self.scans * self.cycle_us


class Timeline:
    """The sequence of exposures.

    :param triggers: of what is wired to the trigger input, None if nothing is.
    """

    def __init__(self, now_us: int, integration_us: int, triggers: Triggers | None = None) -> None:
        self.integration_us = integration_us
        self.mode = FREE_RUN
        self.delay_us = 0
        self.scans = 1
        self._triggers = triggers
        self._running = Exposure(now_us, integration_us, 0)

    @property
    def paced(self) -> bool:
        """Whether exposures begin with what is wired to the trigger input."""
        return self._triggers is not None and self.mode in WAITS_FOR_TRIGGER

    def running(self, now_us: int) -> Exposure:
        """Return the exposure under way in free run. One that ends right now is over."""
        late_us = now_us - self._running.end_us
        if late_us >= 0:
            first = self._follow(self._running)
            length_us = first.end_us - first.start_us
            skipped = late_us // length_us
            start_us = first.start_us + skipped * length_us
            self._running = replace(first, start_us=start_us, number=first.number + skipped)
        return self._running

    def set_integration(self, now_us: int, integration_us: int) -> None:
        """Change the time of every exposure that has not begun."""
        self.running(now_us)
        self.integration_us = integration_us

    def set_scans(self, now_us: int, scans: int) -> None:
        """Change how many scans every exposure that has not begun is the mean of."""
        self.running(now_us)
        self.scans = scans

    def restart(self, now_us: int) -> Exposure:
        """Break off what runs and begin a new exposure: now, or with the next trigger."""
        number = self.running(now_us).number + 1
        self._running = Exposure(self._begin_us(now_us), self.integration_us, number, self.scans)
        return self._running

    def after(self, exposure: Exposure, back_to_back: int = 1) -> Exposure:
        """Return the exposure that follows another; a trigger begins ``back_to_back`` of them."""
        following = self._follow(exposure)
        if not self.paced or following.shot < back_to_back:
            return following
        return replace(following, start_us=self._begin_us(exposure.end_us), shot=0)

    def run_us(self, exposure: Exposure, back_to_back: int) -> int:
        """Return the time from the first exposure of a trigger to that of the next, or of one exposure."""
        length_us = exposure.end_us - exposure.start_us
        if not self.paced:
            return length_us
        first_us = exposure.start_us - exposure.shot * length_us
        return self._begin_us(first_us + back_to_back * length_us) - first_us

    def skipped(self, exposure: Exposure, runs: int, back_to_back: int = 1) -> Exposure:
        """Return an exposure ``runs`` times :meth:`run_us` later, if all last as long as this one."""
        start_us = exposure.start_us + runs * self.run_us(exposure, back_to_back)
        if self.paced:
            start_us = self._begin_us(start_us - self.delay_us)
            runs *= back_to_back
        return replace(exposure, start_us=start_us, number=exposure.number + runs, shot=0)

    def _begin_us(self, at_us: int) -> int:
        if self._triggers is None or not self.paced:
            return at_us
        return self._triggers(at_us) + self.delay_us

    def _follow(self, exposure: Exposure) -> Exposure:
        return Exposure(
            exposure.end_us, self.integration_us, exposure.number + 1, self.scans, exposure.shot + 1
        )


CAPACITY = 50_000
METADATA = struct.Struct("<HHLQLLLLQH22x")
PIXEL_U16 = 1
OLDER_METADATA = struct.Struct("<LQL16x")


class Buffer:
    """Spectra that the device keeps until they are read, oldest first.

    In free run every exposure goes in while buffering is on; otherwise each trigger, or a command, puts in as
    many as the back-to-back count says. The oldest are lost when it is full.

    ``_wanted`` is how many more will come in; None if there is no end to them.
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
        self._wanted = None if self._timeline.mode == FREE_RUN or self._timeline.paced else 0

    def clear(self, now_us: int) -> None:
        """Empty the buffer; the running exposure, or the next trigger's, is the first that may come in."""
        self._kept.clear()
        paced = self._timeline.paced
        self._next = self._timeline.restart(now_us) if paced else self._timeline.running(now_us)

    def resize(self, capacity: int) -> None:
        """Keep at most ``capacity`` spectra."""
        self.capacity = capacity
        self._kept = deque(self._kept, maxlen=capacity)

    def acquire(self, now_us: int) -> None:
        """Begin a run of back-to-back exposures: now, or with every trigger."""
        self.collect(now_us)
        self._next = self._timeline.restart(now_us)
        self._wanted = None if self._timeline.paced else self.back_to_back

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
            self._next = self._timeline.after(self._next, self.back_to_back)
            if self._wanted is not None:
                self._wanted -= 1

    def _skip(self, now_us: int) -> None:
        """Do not walk through exposures that would be pushed out again at once."""
        assert self._next is not None
        if self._next.end_us > now_us:
            return
        span_us = self._timeline.run_us(self._next, self.back_to_back)
        kept = self.capacity // (self.back_to_back if self._timeline.paced else 1) + 1
        surplus = (now_us - self._next.end_us) // span_us - kept
        if (
            self._wanted is None
            and surplus > 0
            and self._next.integration_us == self._timeline.integration_us
        ):
            self._next = self._timeline.skipped(self._next, surplus, self.back_to_back)

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
            last = self._timeline.after(last, self.back_to_back)
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
        exposure.number & 0xFFFFFFFF, max(exposure.number - 1, 0) & 0xFFFFFFFF, exposure.start_us,
        exposure.scans,
    )  # fmt: skip
    return head + pixels + struct.pack("<L", zlib.crc32(head + pixels))


def older_block(exposure: Exposure, pixels: bytes) -> bytes:
    """Return one spectrum as the older message 0x00100928 has it: 32 bytes of metadata, pixels of 4 bytes.

    Both seabreeze backends know this form, of the QE Pro, and look at the pixels only; what the metadata
    holds here (number, microsecond counter, integration time) is this simulator's choice.
    """
    head = OLDER_METADATA.pack(exposure.number & 0xFFFFFFFF, exposure.end_us, exposure.integration_us)
    counts = struct.unpack(f"<{len(pixels) // 2}H", pixels)
    return head + struct.pack(f"<{len(counts)}L", *counts)
