"""What the parts of the watchdog on this side have in common: who gives signs of life, and to whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from labctl.model.clock import Stop

CALL_S = 2.0
"""Announced for a call that looks at no stop flag; with the limit of silence it covers drivers' deadlines."""
REOPEN_S = 30.0
"""Wall time of the call after one that failed: a spectrometer may be opened anew in it."""


class Life(Protocol):
    """The part of the watchdog that is needed here."""

    def beat(self, busy_s: float = 0.0) -> None:
        """Give a sign of life."""

    def require(self) -> None:
        """Make sure that light which may pass is watched; raises SafetyStop if not."""

    def consent(self, busy_s: float = 0.0) -> None:
        """Ask whether the shutter may open."""

    def light(self) -> None:
        """Say that it is open."""

    def dark(self) -> None:
        """Say that it is confirmed closed."""

    def referenced(self, known: bool) -> None:
        """Say whether the mount's angle can be trusted."""

    def trouble(self) -> str:
        """Say why nobody watches any more, "" while somebody does; ask often while light may pass."""

    def forgive(self) -> None:
        """This process stood still: let what is asked by :meth:`trouble` be asked anew."""


class End(Stop, Protocol):
    """The end of the program, as a loop sees it."""

    @property
    def asked(self) -> bool:
        """Whether no shutter may open any more."""


@dataclass(frozen=True, slots=True)
class Polled:
    """A stop flag; to look at it is a sign of life."""

    stop: Stop | None
    life: Life
    end: Stop

    def is_set(self) -> bool:
        """Return whether the user, or the program's end, asked to stop."""
        self.life.beat()
        return (self.stop is not None and self.stop.is_set()) or self.end.is_set()
