"""What waits in the buffer of an Ocean FX, and how it leaves it."""

from __future__ import annotations

import struct
import zlib
from collections import deque

from simulators.ocean_fx_camera import FREE_RUN, Exposure, Timeline

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
