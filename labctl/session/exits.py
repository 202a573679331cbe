"""The ways out that no ``with`` block sees, and the loop that falls silent while light may pass."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


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
