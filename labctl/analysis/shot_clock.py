"""When a shot was exposed, by the clock of the bench: within bounds, from when batches came."""

from __future__ import annotations

import math

from labctl.model.shots import ShotBatch

DRIFT = 1e-4
"""By so much, relative, may the device's clock run faster or slower than the bench's."""


class ShotClock:
    """Holds the device's clock against the bench's.

    A shot cannot arrive before it is exposed, and one that was not in the buffer when that was emptied was
    exposed later. Each batch narrows the bounds; between batches they widen by what two clocks may drift.
    """

    def __init__(self) -> None:
        self._low_s, self._high_s = -math.inf, math.inf
        self._at_s = -math.inf

    @property
    def width_s(self) -> float:
        """Distance of the bounds of a shot's bench time, s; infinite while one of them is unknown."""
        return self._high_s - self._low_s

    def add(self, batch: ShotBatch) -> None:
        """Learn from a batch.

        :param batch: one shot or more; all that came since the last one.
        """
        first_s, last_s = 1e-6 * int(batch.device_time_us[0]), 1e-6 * int(batch.device_time_us[-1])
        # Which moment of the exposure the device's time marks is not known.
        low_s = batch.after_s - first_s - batch.integration_s
        high_s = batch.received_s - last_s + batch.integration_s
        if math.isfinite(self._at_s):
            drifted_s = DRIFT * (batch.received_s - self._at_s)
            low_s, high_s = max(low_s, self._low_s - drifted_s), min(high_s, self._high_s + drifted_s)
        if low_s > high_s:  # the device's clock has jumped
            low_s, high_s = batch.after_s - first_s, batch.received_s - last_s
        self._low_s, self._high_s, self._at_s = low_s, high_s, batch.received_s

    def earliest_us(self, bench_s: float) -> float:
        """Return a device time before which no shot was exposed after this bench time.

        :param bench_s: bench time, s.
        :returns: us.
        """
        return 1e6 * (bench_s - self._high_s)

    def latest_us(self, bench_s: float) -> float:
        """Return a device time after which no shot was exposed before this bench time.

        :param bench_s: bench time, s.
        :returns: us.
        """
        return 1e6 * (bench_s - self._low_s)
