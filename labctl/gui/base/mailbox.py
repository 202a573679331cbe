"""The one way from any thread to the window: post here, and a timer hands it on in Qt's thread."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable

from PySide6.QtCore import QObject, Qt, QTimer

log = logging.getLogger(__name__)

PERIOD_MS = 40
"""25 Hz at most: more often nobody sees, and the acquisition would pay for it."""
MOST_AT_ONCE = 200


class Mailbox(QObject):
    """A queue emptied by a timer.

    :param handler: called in Qt's thread with each thing posted; what it raises is logged.
    :param after: called once after each emptying, and with nothing to hand on too.
    """

    def __init__(
        self,
        handler: Callable[[object], None],
        after: Callable[[], None] = lambda: None,
        period_ms: int = PERIOD_MS,
    ) -> None:
        super().__init__()
        self._queue: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._handler, self._after = handler, after
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(period_ms)
        self._timer.timeout.connect(self.empty)
        self._timer.start()

    def post(self, thing: object) -> None:
        """Leave something; never waits, any thread."""
        self._queue.put(thing)

    def empty(self) -> None:
        """Hand on what is there, a bounded number at a time so that the window stays alive."""
        for _ in range(MOST_AT_ONCE):
            try:
                thing = self._queue.get_nowait()
            except queue.Empty:
                break
            try:
                self._handler(thing)
            except Exception:
                log.exception("while showing %s", type(thing).__name__)
        self._after()

    def stop(self) -> None:
        """Hand on nothing any more."""
        self._timer.stop()
