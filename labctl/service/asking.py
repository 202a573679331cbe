"""Questions from the bench's thread to the person at the window, who may take time, refuse, or press SAFE."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from labctl.model.clock import Stop, check_stop

_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Asked:
    """A question waits for :meth:`Asking.answer`; ``what`` says what is asked."""

    number: int
    what: object


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Nobody waits for the answer to a question any more."""

    number: int


@dataclass(frozen=True, slots=True)
class Differences:
    """How the bench differs from that of the run that shall go on, one line each; agree with True."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Insert:
    """What shall be put into the beam, by hand and in the dark; light follows. True: it is there."""

    what: Literal["blank", "sample"]


class Asking:
    """Holds one question at a time.

    :param tell: called with :class:`Asked` and :class:`Withdrawn`; must not wait.
    """

    def __init__(self, tell: Callable[[object], None]) -> None:
        self._tell = tell
        self._changed = threading.Condition()
        self._number = 0
        self._answers: dict[int, object] = {}

    def ask(self, what: object, stop: Stop | None) -> object:
        """Ask and wait; not called in Qt's thread.

        :raises Aborted: ``stop`` was set meanwhile.
        """
        with self._changed:
            self._number += 1
            number = self._number
            self._answers.clear()
        self._tell(Asked(number, what))
        try:
            with self._changed:
                while number not in self._answers:
                    check_stop(stop)
                    self._changed.wait(_POLL_S)
                return self._answers.pop(number)
        finally:
            self._tell(Withdrawn(number))

    def answer(self, number: int, value: object) -> None:
        """Answer a question; one that nobody waits for is ignored. Any thread, never waits."""
        with self._changed:
            if number == self._number:
                self._answers[number] = value
                self._changed.notify_all()
