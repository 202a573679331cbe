"""Signs of life from calls: what the wrapped instruments of a bench have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from labctl.model.clock import Stop
from labctl.model.delegate import D, Delegate
from labctl.model.errors import Aborted, InstrumentError

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


class Watched(Delegate[D]):
    """What all of them have in common: every call is announced, and each look at the stop flag is a sign."""

    def __init__(self, device: D, life: Life, end: End) -> None:
        super().__init__(device)
        self._life, self._end = life, end
        self._failed = False

    @contextmanager
    def around(self) -> Iterator[None]:
        """Announce a call that may take a while, and give a sign of life after it."""
        self._life.beat(REOPEN_S if self._failed else CALL_S)
        try:
            yield
        except InstrumentError:
            self._failed = True
            raise
        except Aborted:
            self._life.require()  # it may be light that was ended, not the user
            raise
        else:
            self._failed = False
        finally:
            self._life.beat()

    def flag(self, stop: Stop | None) -> Stop:
        """Return a stop flag that gives a sign of life whenever it is looked at."""
        return Polled(stop, self._life, self._end)
