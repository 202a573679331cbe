"""Which fault fired when."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from simulators.faults.plan import Fault

log = logging.getLogger(__name__)

MOST = 10_000


@dataclass(frozen=True, slots=True)
class Firing:
    """One time that one fault fired.

    :param fault: its number in the plan, from 1.
    :param message: how many matching messages there had been with this one; 0 if it fired by the clock.
    :param request: the request it hit, or the last one before it; as text, at most 80 characters.
    :param scene_s: on the scene's clock. :param wall_s: on ``time.monotonic``.
    """

    fault: int
    kind: str
    instrument: str | None
    message: int
    request: str
    scene_s: float
    wall_s: float


class FaultLog:
    """The latest 10,000 firings, oldest first; may be read while the bench runs."""

    def __init__(self) -> None:
        self._kept: deque[Firing] = deque(maxlen=MOST)
        self._lock = threading.Lock()
        self.total = 0

    def __iter__(self) -> Iterator[Firing]:
        with self._lock:
            return iter(tuple(self._kept))

    def __len__(self) -> int:
        return len(self._kept)

    def kinds(self) -> tuple[str, ...]:
        """Return the kinds of what fired, in order."""
        return tuple(firing.kind for firing in self)

    def note(self, fault: Fault, scene_s: float, message: int = 0, request: str = "") -> None:
        """Enter one firing."""
        firing = Firing(
            fault.number, fault.kind, fault.instrument, message, request[:80], scene_s, time.monotonic()
        )
        with self._lock:
            self._kept.append(firing)
            self.total += 1
        log.info("fault %d: %s at %.3f s, message %d", fault.number, fault.kind, scene_s, message)
