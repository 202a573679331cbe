"""A lock that is handed on in the order in which it was asked for.

The interpreter's own locks are not: a thread that lets go and takes again at once keeps them, and the one
that waits to close the shutter waits for ever.
"""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType


class FairLock:
    """A reentrant lock; who waits longest is next. For use like :class:`threading.RLock`."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: deque[tuple[int, threading.Lock]] = deque()
        self._owner: int | None = None
        self._depth = 0

    def acquire(self, timeout: float = -1) -> bool:
        """Take the lock; return False when ``timeout`` seconds have passed without it (-1: never)."""
        me = threading.get_ident()
        with self._mutex:
            if self._owner == me:
                self._depth += 1
                return True
            if self._owner is None:
                self._owner, self._depth = me, 1
                return True
            turn = threading.Lock()
            turn.acquire()
            place = (me, turn)
            self._waiting.append(place)
        try:
            if turn.acquire(timeout=timeout):
                return True
        except BaseException:  # Ctrl-C while waiting: leave the queue, or pass on what came meanwhile
            if not self._left(place):
                self.release()
            raise
        return not self._left(place)

    def _left(self, place: tuple[int, threading.Lock]) -> bool:
        """Leave the queue; return False if the lock was handed over in between."""
        with self._mutex:
            if place not in self._waiting:
                return False
            self._waiting.remove(place)
            return True

    def release(self) -> None:
        """Let go; the longest waiting thread has it then.

        :raises RuntimeError: this thread does not hold it.
        """
        with self._mutex:
            if self._owner != threading.get_ident():
                raise RuntimeError("cannot release a lock that another thread holds")
            self._depth -= 1
            if self._depth:
                return
            self._owner = None
            if self._waiting:
                self._owner, turn = self._waiting.popleft()
                self._depth = 1
                turn.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
