"""What the watchdog concludes from what it hears: no process, no pipe, no clock of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from labctl.session.watchdog_wire import busy_s

OVERSLEPT_S = 0.5
"""A wait that took this much longer than asked says that the watchdog itself was stopped or starved."""


class Vigil:
    """Signs of life, owed only while light may pass.

    While the shutter is confirmed closed silence harms nobody, and a notebook may be left alone for hours.

    :param limit_s: longest silence, in wall seconds, beyond what was announced.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._due_s = math.inf
        self.referenced = False

    @property
    def lit(self) -> bool:
        """Whether light may pass, as far as was told."""
        return math.isfinite(self._due_s)

    @property
    def due_s(self) -> float:
        """Time by which the next sign of life is owed; infinite in the dark."""
        return self._due_s

    def hear(self, message: Mapping[str, Any], now_s: float) -> dict[str, object] | None:
        """Take a message; return the answer it wants, if any. Unknown words are no sign of life."""
        say = message["say"]
        if say == "lit" or (say == "beat" and self.lit):
            self._due_s = now_s + busy_s(message) + self._limit_s
        elif say == "dark":
            self._due_s = math.inf
        elif say == "referenced":
            self.referenced = message.get("value") is True
        if say == "ping":  # asked by a thread of its own: no sign of life
            return {"say": "pong"}
        return {"say": "ok", "n": message.get("n")} if say == "lit" and "n" in message else None

    def overdue(self, now_s: float) -> bool:
        """Return whether the silence has lasted too long."""
        return now_s >= self._due_s

    def waited(self, asked_s: float, took_s: float, now_s: float) -> None:
        """Grant the whole limit anew after a wait in which the watchdog itself did not run."""
        if self.lit and took_s - asked_s > OVERSLEPT_S:
            self._due_s = max(self._due_s, now_s + self._limit_s)
