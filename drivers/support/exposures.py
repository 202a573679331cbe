"""When an exposure can have begun: a free-running spectrometer does not say."""

from __future__ import annotations

import math

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
