"""Two instruments at work at the same time: one of them in a thread of its own, until that has ended."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from labctl.model.clock import Stop
from labctl.model.errors import InstrumentTimeout

T = TypeVar("T")


class Beside(Generic[T]):
    """Work with an instrument in a thread that alone uses it, from :meth:`start` on.

    It is the stop flag of its own work: set when the work is not wanted any more, or by ``stop``. Keep it
    where others find it before it is started: an interrupt in between must leave no thread that nobody knows.

    :param instrument: its name, as errors show it.
    :param work: is given the stop flag; what it raises is raised by :meth:`result`.
    :param stop: of the user.
    """

    def __init__(self, instrument: str, work: Callable[[Stop], T], stop: Stop | None) -> None:
        self._instrument, self._work, self._outer = instrument, work, stop
        self._unwanted = threading.Event()
        self._found: list[T] = []
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"beside: {instrument}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def is_set(self) -> bool:
        """Return whether the work shall end early."""
        return self._unwanted.is_set() or (self._outer is not None and self._outer.is_set())

    def _run(self) -> None:
        try:
            self._found.append(self._work(self))
        except BaseException as exc:  # noqa: BLE001  raised again in the thread that asks for the result
            self._failure = exc

    @property
    def ended(self) -> bool:
        """Whether it is over, well or not; also of one that was never started."""
        return not self._thread.is_alive()

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end, some wall time; return whether it has come."""
        self._thread.join(seconds)
        return self.ended

    def result(self, deadline_s: float) -> T:
        """Wait for what comes of it, ``deadline_s`` of wall time at most.

        :raises InstrumentTimeout: it does not come.
        """
        self.wait(deadline_s)
        if self._failure is not None:
            raise self._failure
        return self._found[0]

    def wait(self, deadline_s: float) -> None:
        """Wait for its end, good or bad: two threads must not speak with one instrument.

        :raises InstrumentTimeout: it does not end.
        """
        if not self.ends_within(deadline_s):
            raise InstrumentTimeout(self._instrument, f"still busy after {deadline_s:g} s")

    def end(self) -> None:
        """Have it end early, without waiting for that."""
        self._unwanted.set()
