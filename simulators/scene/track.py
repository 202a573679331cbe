"""What a moving part did: a piecewise-linear record, so that the past can be asked for."""

from __future__ import annotations

import numpy as np

from labctl.model.records import FloatArray


class Track:
    """A quantity that rests or moves evenly; constant before its first and after its last knot.

    :param value: where it rests since ever.
    """

    def __init__(self, value: float) -> None:
        self._times, self._values = [-np.inf], [value]
        self._arrays = (np.array([-1e30]), np.array([value]))

    def __len__(self) -> int:
        return len(self._times)

    @property
    def end_s(self) -> float:
        """Time of the last knot: it rests from here on."""
        return self._times[-1]

    @property
    def end_value(self) -> float:
        """Where it rests, or will."""
        return self._values[-1]

    def go(self, start_s: float, end_s: float, value: float) -> None:
        """Move evenly from ``start_s`` to ``end_s``. What was planned after the start is dropped."""
        here = self.at(start_s)
        while len(self._times) > 1 and self._times[-1] > start_s:
            self._times.pop()
            self._values.pop()
        self._times += [start_s, max(end_s, start_s)]
        self._values += [here, value]
        self._arrays = (np.maximum(self._times, -1e30), np.array(self._values))

    def at(self, at_s: float) -> float:
        """Return the value at one time."""
        if at_s >= self._times[-1]:
            return self._values[-1]
        return float(np.interp(at_s, *self._arrays))

    def over(self, times_s: FloatArray) -> FloatArray | float:
        """Return the values at rising times: one number if it rested all the while."""
        if times_s.size == 0 or times_s[0] >= self._times[-1]:
            return self._values[-1]
        first, last = np.searchsorted(self._arrays[0], (times_s[0], times_s[-1]))
        around = self._values[max(first - 1, 0) : last + 1]
        if min(around) == max(around):
            return around[0]
        values: FloatArray = np.interp(times_s, *self._arrays)
        return values

    def moves(self, start_s: float, stop_s: float) -> list[tuple[float, float]]:
        """Return begin and end of every motion that touches the interval."""
        if start_s >= self._times[-1]:
            return []
        pairs = zip(self._times, self._times[1:], self._values, self._values[1:], strict=False)
        return [(a, b) for a, b, v, w in pairs if b > start_s and a < stop_s and v != w]

    def forget(self, before_s: float) -> None:
        """Drop knots that no question about times after ``before_s`` needs."""
        keep = max(int(np.searchsorted(self._arrays[0], before_s, side="right")) - 1, 0)
        if keep:
            self._times, self._values = self._times[keep:], self._values[keep:]
            self._arrays = (np.maximum(self._times, -1e30), np.array(self._values))
