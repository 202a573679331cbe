"""What a sweep is told from outside: where it goes on, and when it shall stand still."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from labctl.model.clock import Stop, check_stop
from labctl.model.records import SweepPoint

_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Done:
    """What earlier sessions of the same run have measured; nothing by default.

    :param points: every point so far, in order; their arrays may be empty.
    :param dose_uj_cm2: sum of fluence x pulses so far.
    :param last_dark: number of the last dark; darks go on from it.
    :param elapsed_s: bench time that earlier sessions took.
    """

    points: tuple[SweepPoint, ...] = ()
    dose_uj_cm2: float = 0.0
    last_dark: int = 0
    elapsed_s: float = 0.0


NOTHING_DONE = Done()


class Pause:
    """Asks a sweep to stand still between two points, in the dark. Any thread may call any method.

    >>> pause = Pause()
    >>> pause.hold(); pause.is_set()
    True
    """

    def __init__(self) -> None:
        self._go_on = threading.Event()
        self._go_on.set()
        self._standing = threading.Event()

    def hold(self) -> None:
        """Stand still once the present point is stored."""
        self._go_on.clear()

    def go_on(self) -> None:
        """Go on with the next point."""
        self._go_on.set()

    def is_set(self) -> bool:
        """Return whether the sweep was asked to stand still."""
        return not self._go_on.is_set()

    @property
    def standing(self) -> bool:
        """Whether the sweep does stand still, with the shutter confirmed closed."""
        return self._standing.is_set()

    def stand(self, stop: Stop | None, note: Callable[[str], None]) -> None:
        """Wait until told to go on; called by the sweep, in the dark.

        :param note: takes a line for the run's log.
        :raises Aborted: ``stop`` was set meanwhile.
        """
        note("paused: the shutter is closed")
        self._standing.set()
        try:
            while not self._go_on.wait(_POLL_S):
                check_stop(stop)
        finally:
            self._standing.clear()
        note("the pause has ended")
