"""The ways out that no ``with`` block sees, and the loop that falls silent while light may pass."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from labctl.model.errors import InstrumentError

log = logging.getLogger(__name__)

PATIENCE_S = 3.0
"""Silence after which the shutter is closed from a second thread; less than the watchdog's own limit."""
LEAVE_S = 10.0
"""How long a thread may take to leave its bench when the interpreter ends."""
_POLL_S = 0.25


class ExitHandler:
    """What an open bench does when the interpreter ends around it.

    A bench that belongs to a thread is left by that thread: asked to stop, it makes everything safe as it
    would at any other end. One that belongs to the thread that ends, a notebook's for instance, is made safe
    here.
    """

    def __init__(self) -> None:
        self._owner = threading.current_thread()
        self._asked, self._taken, self.left = threading.Event(), threading.Event(), threading.Event()
        self._make_safe: Callable[[], Sequence[Exception]] = list
        self._release: Callable[[], None] = self.left.set

    def arm(self, make_safe: Callable[[], Sequence[Exception]], release: Callable[[], None] | None) -> None:
        """From now on, make safe by ``make_safe``, and call ``release`` when nothing failed.

        Call it when everything is open: pyvisa closes its connections at the interpreter's end as well, and
        what is registered last comes first.
        """
        self._make_safe, self._release = make_safe, release or self._release
        atexit.register(self.leave)

    @property
    def asked(self) -> bool:
        """Whether the interpreter is ending: no shutter opens any more."""
        return self._asked.is_set()

    def is_set(self) -> bool:
        """Return True once after the end was asked for: the loop stops, its making safe goes through."""
        if not self._asked.is_set() or self._taken.is_set():
            return False
        self._taken.set()
        return True

    def leave(self) -> None:
        """Have the bench left, or make it safe; what fails is left to the watchdog."""
        self._asked.set()
        if threading.current_thread() is self._owner:
            self._taken.set()
        elif self.left.wait(LEAVE_S):
            return
        failures = self._make_safe()
        for failure in failures:
            log.error("while making the bench safe at the interpreter's end: %s", failure)
        if not failures:
            self._release()


@contextmanager
def exit_handler() -> Iterator[ExitHandler]:
    """Watch over the interpreter's end while the block is open."""
    handler = ExitHandler()
    try:
        yield handler
    finally:
        atexit.unregister(handler.leave)
        handler.left.set()


@contextmanager
def closed_when_silent(
    silence_s: Callable[[], float], close: Callable[[], None], poll_s: float = _POLL_S
) -> Iterator[None]:
    """Close the shutter when the user's own loop gives no sign of life, before the watchdog ends the process.

    For scripts and notebooks, where a pause is no defect. In a frozen process this thread stands as well.

    :param silence_s: for how long a sign of life has been owed.
    :param close: closes the shutter and says so; safe to call from another thread.
    """
    over = threading.Event()

    def guard() -> None:
        while not over.wait(poll_s):
            if silence_s() < PATIENCE_S:
                continue
            log.warning(
                "the shutter was open and nothing happened for %g s: it is now closed. Before a longer "
                "pause with the shutter open, call bench.watchdog.beat(busy_s=...)",
                PATIENCE_S,
            )
            try:
                close()
            except InstrumentError as exc:
                log.error("it could not be closed: %s", exc)  # noqa: TRY400  the watchdog is next
                return

    thread = threading.Thread(target=guard, name="silence", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(PATIENCE_S)
