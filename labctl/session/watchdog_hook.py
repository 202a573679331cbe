"""Work with the instruments is a sign of life, and light is announced first: a hook, and a clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import cast

from labctl.model.clock import Clock, Stop
from labctl.model.errors import Aborted, InstrumentError
from labctl.model.meters import heard_by
from labctl.model.roles import Roles
from labctl.session.deadman import DeadMan
from labctl.session.watchdog_calls import CALL_S, REOPEN_S, End, Life, Polled
from procedures.gate.hooks import Call, Hooks


class Nobody:
    """The watchdog of a bench that has none."""

    def beat(self, busy_s: float = 0.0) -> None:
        """Ignore."""

    def require(self) -> None:
        """Require nothing."""

    def consent(self, busy_s: float = 0.0) -> None:
        """Consent."""

    def light(self) -> None:
        """Ignore."""

    def dark(self) -> None:
        """Ignore."""

    def referenced(self, known: bool) -> None:
        """Ignore."""

    def trouble(self) -> str:
        """Know of none."""
        return ""

    def forgive(self) -> None:
        """Ignore."""


@dataclass(frozen=True, slots=True)
class Ends:
    """The end of the program, and of the light that a thread waits in."""

    end: End
    deadman: DeadMan

    @property
    def asked(self) -> bool:
        """Whether no shutter may open any more."""
        return self.end.asked

    def is_set(self) -> bool:
        """Return whether a wait shall end."""
        return self.deadman.given_up() or self.end.is_set()


def watched(roles: Roles, hooks: Hooks, life: Life, end: End, deadman: DeadMan | None = None) -> Roles:
    """Attach a watchdog to the hooks of instruments; return these with a clock on which waiting is life.

    :param end: looked at wherever a stop flag is.
    :param deadman: told of every reading and exposure; it passes signs of life on to ``life``.
    """
    if deadman is not None:
        life, end = deadman, Ends(end, deadman)
    hooks.attach(WatchdogHook(life, end, deadman))
    return replace(roles, clock=WatchedClock(roles.clock, life, end), watch=deadman)


class WatchedClock:
    """A clock; to wait on it is a sign of life, again and again."""

    def __init__(self, clock: Clock, life: Life, end: Stop) -> None:
        self._clock, self._life, self._end = clock, life, end

    @property
    def speed(self) -> float:
        """Its seconds in a second of wall time."""
        return self._clock.speed

    def now_s(self) -> float:
        """Seconds since an arbitrary start."""
        return self._clock.now_s()

    def sleep(self, seconds: float, stop: Stop | None = None) -> None:
        """Wait; raises :class:`Aborted` when ``stop`` is set.

        :raises SafetyStop: light may pass, and nobody watches any more.
        """
        self._life.require()
        try:
            self._clock.sleep(seconds, Polled(stop, self._life, self._end))
        except Aborted:
            self._life.require()  # it may be light that was ended, not the user
            raise


class WatchdogHook:
    """Every call is announced, each look at its stop flag is a sign of life, and no light goes unwatched."""

    def __init__(self, life: Life, end: End, deadman: DeadMan | None) -> None:
        self._life, self._end, self._deadman = life, end, deadman
        self._failed: set[str] = set()
        self._integration_s = 0.0

    def around(self, call: Call) -> AbstractContextManager[None]:
        """Watch over a call.

        :raises SafetyStop: light may pass, and nobody watches any more; or it would, and nobody does.
        :raises LightUnwatched: in the light, a reading or an exposure did not come in time.
        :raises Aborted: the shutter would open while the program ends.
        """
        return self._opening() if call.name == "open" else self._working(call)

    @contextmanager
    def _opening(self) -> Iterator[None]:
        """Have the shutter open only once the watchdog has said that it watches."""
        if self._end.asked:
            raise Aborted
        self._life.consent(CALL_S)
        yield
        self._life.light()  # once more: another thread may have closed it in between

    @contextmanager
    def _working(self, call: Call) -> Iterator[None]:
        call.stop = Polled(call.stop, self._life, self._end)
        is_mount = call.role == "attenuator"
        if is_mount and call.name == "home":
            self._life.referenced(False)
        with self._owed(call), self._announced(call.role):
            yield
        if is_mount and call.name == "is_referenced":
            self._life.referenced(bool(call.result))
        elif call.name == "set_integration":
            self._integration_s = cast("float", call.result)
        elif call.name == "close_beam":
            self._life.dark()  # it is confirmed: no signs of life are owed

    def _owed(self, call: Call) -> AbstractContextManager[None]:
        """Owe what the light is watched by, and what it falls on."""
        if call.name not in ("read", "acquire"):
            return nullcontext()
        self._life.require()
        if self._deadman is None:
            return nullcontext()
        if call.name == "read":
            return self._reading(self._deadman, call)
        return self._deadman.exposing(call.instrument, self._integration_s)

    @contextmanager
    def _reading(self, deadman: DeadMan, call: Call) -> Iterator[None]:
        """Owe every single reading of an average."""
        count = cast("int", call.arguments[0])
        with deadman.reading(call.instrument, count) as came, heard_by(lambda _power_w: came()):
            yield

    @contextmanager
    def _announced(self, role: str) -> Iterator[None]:
        """Announce a call that may take a while, and give a sign of life after it."""
        self._life.beat(REOPEN_S if role in self._failed else CALL_S)
        try:
            yield
        except InstrumentError:
            self._failed.add(role)
            raise
        except Aborted:
            self._life.require()  # it may be light that was ended, not the user
            raise
        else:
            self._failed.discard(role)
        finally:
            self._life.beat()
