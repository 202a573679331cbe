"""The ways out that no ``with`` block sees, and the loop that falls silent while light may pass."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from labctl.model.errors import InstrumentError

log = logging.getLogger(__name__)

PATIENCE_S = 3.0
"""Silence after which the shutter is closed from a second thread; less than the watchdog's own limit."""
_POLL_S = 0.25


@contextmanager
def safe_at_exit(make_safe: Callable[[], list[Exception]], release: Callable[[], None]) -> Iterator[None]:
    """Make safe when the interpreter ends while the block is still open, e.g. in a thread or a notebook.

    :param make_safe: returns what failed.
    :param release: called afterwards, once nothing is left to do, whatever failed.
    """

    def leave() -> None:
        for failure in make_safe():
            log.error("while making the bench safe at the interpreter's end: %s", failure)
        release()

    atexit.register(leave)
    try:
        yield
    finally:
        atexit.unregister(leave)


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
                "the shutter was open and nothing happened for %g s: it is closed. Before a longer pause "
                "in the light call bench.watchdog.beat(busy_s=...)",
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
