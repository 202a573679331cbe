"""SAFE: a thread of its own that closes the shutter, whatever the bench's thread waits for.

The shutter has its own connection and lock, so that nothing an exposure, a meter or a mount does stands in
the way. From the request until the bench's thread has made everything safe, nobody can open it again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from labctl.model.errors import Aborted, InstrumentError
from labctl.model.roles import Shutter
from labctl.service.messages import SafeTold
from procedures.gate.hooks import Call

log = logging.getLogger(__name__)

TRIES = 4


class SafetyLine:
    """Closes the shutter on request, and as a hook keeps it closed; any thread may ask, and never waits.

    :param tell: called in the safety thread once the shutter is confirmed closed, or could not be.
    """

    def __init__(self, tell: Callable[[object], None]) -> None:
        self._tell = tell
        self._shutter: Shutter | None = None
        self._wanted = threading.Event()
        self._latched = threading.Event()
        self._asked_s = 0.0
        self._ending = False
        self._thread = threading.Thread(target=self._main, name="safety", daemon=True)
        self._thread.start()

    def is_latched(self) -> bool:
        """Return whether the shutter must not open."""
        return self._latched.is_set()

    def adopt(self, shutter: Shutter) -> None:
        """Take charge of the shutter of an open bench, among whose hooks this object is."""
        self._shutter = shutter

    @contextmanager
    def around(self, call: Call) -> Iterator[None]:
        """Let a call pass, but for one that opens the shutter once SAFE was asked for.

        :raises Aborted: SAFE was asked for, perhaps while it opened: it is closed again.
        """
        opening = call.role == "shutter" and call.name == "open"
        if opening and self.is_latched():
            raise Aborted
        yield
        if opening and self.is_latched():
            if self._shutter is not None:
                self._shutter.close_beam()
            raise Aborted

    def release(self) -> None:
        """The connection is about to be closed."""
        self._shutter = None

    def safe(self) -> None:
        """Close the shutter as soon as can be."""
        self._asked_s = time.monotonic()
        self._latched.set()
        self._wanted.set()

    def unlatch(self) -> None:
        """Everything is safe: the shutter may open again."""
        self._latched.clear()

    def end(self) -> None:
        """End the thread; does not wait."""
        self._ending = True
        self._wanted.set()

    def _main(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._ending:
                return
            asked_s, shutter = self._asked_s, self._shutter
            if shutter is None:
                self._tell(SafeTold(False, 0.0, "no shutter is connected: block the beam by hand"))
                continue
            problem = self._close(shutter)
            self._tell(SafeTold(not problem, time.monotonic() - asked_s, problem))

    def _close(self, shutter: Shutter) -> str:
        """Return an empty string, or why the shutter is not confirmed closed."""
        problem = ""
        for _ in range(TRIES):
            try:
                shutter.close_beam()
            except InstrumentError as exc:
                problem = str(exc)
                log.warning("SAFE: %s", exc)
            except Exception as exc:
                problem = f"{type(exc).__name__}: {exc}"
                log.exception("SAFE")
            else:
                return ""
        return f"{problem}. Block the beam by hand"
