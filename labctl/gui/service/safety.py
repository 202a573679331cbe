"""SAFE: a thread of its own that closes the shutter, whatever the bench's thread waits for.

The shutter has its own connection and lock, so that nothing an exposure, a meter or a mount does stands in
the way. From the request until the bench's thread has made everything safe, nobody can open it again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from labctl.gui.service.messages import SafeTold
from labctl.model.delegate import DelegateShutter
from labctl.model.errors import Aborted, InstrumentError
from labctl.model.roles import Shutter

log = logging.getLogger(__name__)

TRIES = 4


class SafetyLine:
    """Closes the shutter on request; any thread may ask, and never waits.

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

    def adopt(self, shutter: Shutter) -> GuardedShutter:
        """Take charge of an open connection; return the shutter that everybody else must use."""
        self._shutter = shutter
        return GuardedShutter(shutter, self)

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


class GuardedShutter(DelegateShutter):
    """The shutter as procedures see it: it does not open while SAFE is being carried out."""

    def __init__(self, shutter: Shutter, line: SafetyLine) -> None:
        super().__init__(shutter)
        self._line = line

    def open(self, within_s: float | None = None) -> None:
        """Open, unless SAFE was asked for; also if that happens while it opens.

        :raises Aborted: SAFE was asked for.
        """
        if self._line.is_latched():
            raise Aborted
        super().open(within_s)
        if self._line.is_latched():
            self.close_beam()
            raise Aborted
