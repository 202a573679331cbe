"""Making safe: everything is tried, in order, each step within its deadline, and nothing is raised."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from labctl.model.errors import InstrumentTimeout

log = logging.getLogger(__name__)
T = TypeVar("T")


def make_safe(*actions: Callable[[], object], deadline_s: float = 10.0) -> list[Exception]:
    """Try every action in the order given (shutter first) and return what failed.

    Each runs in a thread of its own, so that one that hangs costs its deadline and no more.

    :param deadline_s: wall-clock seconds a single action may take.
    """
    failures = []
    for action in actions:
        failure = _attempt(action, deadline_s)
        if failure is not None:
            log.error("while making the bench safe: %s", failure, exc_info=failure)
            failures.append(failure)
    return failures


def _attempt(action: Callable[[], object], deadline_s: float) -> Exception | None:
    caught: list[Exception] = []

    def run() -> None:
        try:
            action()
        except BaseException as exc:  # noqa: BLE001  the next action must still run
            caught.append(exc if isinstance(exc, Exception) else RuntimeError(repr(exc)))

    thread = threading.Thread(target=run, name="make-safe", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no new thread while the interpreter ends
        run()
    else:
        thread.join(deadline_s)
        if thread.is_alive():
            name = getattr(action, "__qualname__", repr(action))
            return InstrumentTimeout("making safe", f"{name} did not end within {deadline_s:g} s")
    return caught[0] if caught else None


def retried(query: Callable[[], T]) -> T:
    """Ask an idempotent query, and once more if it timed out."""
    try:
        return query()
    except InstrumentTimeout as exc:
        log.warning("asked again: %s", exc)
        return query()
