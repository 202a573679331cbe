"""Clocks, passed in wherever time matters, so that tests step them and simulators run fast.

Timeouts of transports use the wall clock on purpose and do not come through here.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from labctl.model.errors import Aborted

SLICE_S = 0.05
"""Longest uninterrupted wall-clock wait: how late a stop request may be noticed."""


class Stop(Protocol):
    """Whether the run has been asked to stop; ``threading.Event`` is one."""

    def is_set(self) -> bool:
        """Return True once a stop was asked for."""


class Clock(Protocol):
    """A monotonic clock in seconds, and the only way to wait."""

    @property
    def speed(self) -> float:
        """Seconds of this clock that pass in a second of wall time; 0 where none pass by themselves."""

    def now_s(self) -> float:
        """Seconds since an arbitrary start; never goes back."""

    def sleep(self, seconds: float, stop: Stop | None = None) -> None:
        """Wait; return early by raising :class:`Aborted` when ``stop`` is set.

        :param seconds: of this clock; nothing is waited if not positive.
        :param stop: ends the wait: anything with ``is_set()``; None: nothing does.
        :raises Aborted: ``stop`` was set before or during the wait.
        """


def check_stop(stop: Stop | None) -> None:
    """Raise :class:`Aborted` if ``stop`` is set.

    :param stop: anything with ``is_set()``; None is never set.
    :raises Aborted: it is set.
    """
    if stop is not None and stop.is_set():
        raise Aborted


_heard: ContextVar[Stop | None] = ContextVar("heard", default=None)


@contextmanager
def hearing(stop: Stop | None) -> Iterator[None]:
    """Have every wait for an instrument inside the block, in this thread, end when ``stop`` is set.

    For connecting and looking, where no light passes: what makes a bench safe must not be broken off.

    :param stop: what is heard; None: nothing.
    """
    token = _heard.set(stop)
    try:
        yield
    finally:
        _heard.reset(token)


def check_heard() -> None:
    """Raise :class:`Aborted` if the stop of the :func:`hearing` block around this is set."""
    check_stop(_heard.get())


class ScaledClock:
    """Wall time multiplied by ``speed``: the clock of a bench, real (speed 1) or simulated.

    :param speed: bench seconds per wall second, finite and > 0.
    :raises ValueError: speed is not a positive finite number.
    """

    def __init__(self, speed: float = 1.0) -> None:
        if not (math.isfinite(speed) and speed > 0):
            raise ValueError(f"clock speed must be positive and finite, not {speed!r}")
        self._speed = speed
        self._origin = time.perf_counter()

    @property
    def speed(self) -> float:
        """Bench seconds per wall second."""
        return self._speed

    def now_s(self) -> float:
        """Bench seconds since this clock was made."""
        return (time.perf_counter() - self._origin) * self._speed

    def sleep(self, seconds: float, stop: Stop | None = None) -> None:
        """Wait in slices of at most 0.05 s of wall time.

        :param seconds: of bench time; nothing is waited if not positive.
        :param stop: ends the wait: anything with ``is_set()``; None: nothing does.
        :raises Aborted: ``stop`` was set before or during the wait.
        """
        check_stop(stop)
        end = self.now_s() + seconds
        while (left := (end - self.now_s()) / self._speed) > 0:
            time.sleep(min(left, SLICE_S))  # noqa: TID251  the one place that really sleeps
            check_stop(stop)


class SteppedClock:
    """Time that passes only when it is slept on or stepped: for tests and fast benchmarks.

    Every sleep advances it at once, so it suits one active sleeper at a time (one acquisition thread
    and the simulated instruments that serve it).

    :param start_s: what it shows at the start, s.
    """

    def __init__(self, start_s: float = 0.0) -> None:
        self._now_s = start_s
        self._lock = threading.Lock()

    @property
    def speed(self) -> float:
        """Nothing passes by itself."""
        return 0.0

    def now_s(self) -> float:
        """Seconds stepped so far."""
        with self._lock:
            return self._now_s

    def sleep(self, seconds: float, stop: Stop | None = None) -> None:
        """Advance the clock and return at once.

        :param seconds: by how much; nothing if not positive.
        :param stop: ends the wait: anything with ``is_set()``; None: nothing does.
        :raises Aborted: ``stop`` was set.
        """
        check_stop(stop)
        with self._lock:
            self._now_s += max(seconds, 0.0)
