"""When an exposure can have begun, and whether it was handed out before: a spectrometer does not say."""

from __future__ import annotations

import hashlib
import math
from collections import deque

import numpy as np

from labctl.model.records import FloatArray

HELD_PART, HELD_S = 0.25, 0.02
"""An answer sooner than this part of the integration time, or this time, may be a spectrum in store."""


class ExposureBounds:
    """Keeps, for one spectrometer, the latest time before which the next exposure cannot have begun.

    An exposure follows the end of the one before it; and one that was waited for ended after the request, so
    it began no earlier than the request less its integration time, which for the first one after a change
    may be the old time. All times in s of the bench clock.

    :param integration_s: the integration time in force, None when unknown.
    """

    def __init__(self, integration_s: float | None = None) -> None:
        self._previous_end_s = -math.inf
        self._integration_s = integration_s
        self._possible_s = {integration_s or math.inf}

    def changed(self, integration_s: float) -> None:
        """Take note that the device was given a new integration time."""
        self._possible_s = {self._integration_s or math.inf, integration_s}
        self._integration_s = integration_s

    def earliest_start_s(self, request_s: float, reply_s: float) -> float:
        """Return the earliest possible start of the exposure asked for and received at these times.

        Minus infinity when nothing is known yet.
        """
        start_s = max(self._previous_end_s, request_s - max(self._possible_s))
        if reply_s - request_s >= min(HELD_PART * min(self._possible_s), HELD_S):
            self._previous_end_s = request_s
        else:  # it may have ended long ago
            start_s = self._previous_end_s
        self._possible_s = {self._integration_s or math.inf}
        return start_s


def emptied_at_s(request_s: float, emptied_s: float | None, speed: float) -> float:
    """Return the bench time at which a buffer was empty; minus infinity where nobody can say.

    :param request_s: bench time of a request.
    :param emptied_s: wall time from that request on (negative: before it); None if the buffer was not empty.
    :param speed: bench seconds per wall second; 0 on a clock that is stepped.
    """
    return -math.inf if emptied_s is None or not speed else request_s + emptied_s * speed


REMEMBERED = 32


PACKET_PIXELS = 256
"""What a packet of fast USB carries."""


class HandedOut:
    """The latest 32 spectra, by their digests, and the latest one."""

    def __init__(self) -> None:
        self._digests: deque[bytes] = deque(maxlen=REMEMBERED)
        self._latest: FloatArray | None = None

    def again(self, counts: FloatArray) -> bool:
        """Remember a spectrum; return whether it was among the latest ones, or holds a part of the latest.

        Compiled seabreeze takes a transfer that ended too early for a whole one: what did not come is left
        from the spectrum before. One that is the same in every pixel, as where all are saturated, says
        nothing.
        """
        if counts.size == 0 or counts.min() == counts.max():
            return False
        digest = hashlib.blake2b(counts.tobytes(), digest_size=16).digest()
        known = digest in self._digests
        self._digests.append(digest)
        latest, self._latest = self._latest, counts
        return known or (latest is not None and _share_a_packet(counts, latest))


def _share_a_packet(one: FloatArray, other: FloatArray) -> bool:
    """Return whether a row of 256 pixels is equal in two spectra; clipped pixels do not count."""
    if one.shape != other.shape or one.size < PACKET_PIXELS:
        return False
    highest = one == one.max()
    clipped = highest if highest.sum() > 1 else False
    equal = (one == other) & (one > 0.0) & ~np.asarray(clipped)
    counted = np.concatenate([[0], np.cumsum(equal)])
    return bool((counted[PACKET_PIXELS:] - counted[:-PACKET_PIXELS] == PACKET_PIXELS).any())
