"""What this process does for its watchdog, and what it does itself about light that nobody watches.

Work with the instruments is a sign of life, and light is announced first: a hook, and a clock. Light that
nobody watches is ended from a thread of its own, whatever the bench's thread waits for.

The shutter has its own connection and lock, so that it can be closed while a meter's answer is waited for.
Three things are owed in the light: every reading and every exposure in its own time and a little more;
light that is held by hand, a reading of the meter every moment; and an answer of the watchdog. All of it is
wall time, however fast a simulated bench runs.
"""

from __future__ import annotations

import logging
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import cast

from labctl.model.clock import Clock, Stop
from labctl.model.errors import Aborted, InstrumentError, LabctlError, LightUnwatched, SafetyStop
from labctl.model.roles import Roles, heard_by
from labctl.session.exits import ExitHandler
from procedures.gate.hooks import Call, Hooks

CALL_S = 2.0
"""Announced for a call that looks at no stop flag; with the limit of silence it covers drivers' deadlines."""
REOPEN_S = 30.0
"""Wall time of the call after one that failed: a spectrometer may be opened anew in it."""


class SignsOfLife:
    """What a watchdog is told and asked; this one is that of a bench without, to whom nothing matters."""

    def beat(self, busy_s: float = 0.0) -> None:
        """Give a sign of life; say before a long wait how long, in wall seconds, there will be none."""

    def require(self) -> None:
        """Make sure that light which may pass is watched; raises SafetyStop if not."""

    def consent(self, busy_s: float = 0.0) -> None:
        """Ask whether the shutter may open; raises SafetyStop if nobody watches."""

    def light(self) -> None:
        """Say that it is open."""

    def dark(self) -> None:
        """Say that it is confirmed closed."""

    def referenced(self, known: bool) -> None:
        """Say whether the mount's angle can be trusted."""

    def trouble(self) -> str:
        """Say why nobody watches any more, "" while somebody does; ask often while light may pass."""
        return ""

    def forgive(self) -> None:
        """This process stood still: let what is asked by :meth:`trouble` be asked anew."""


@dataclass(frozen=True, slots=True)
class Polled:
    """Stop flags, of the user, the program's end and the light's; to look at them is a sign of life."""

    life: SignsOfLife
    stops: tuple[Stop | None, ...]

    def is_set(self) -> bool:
        """Return whether any of them asks to stop."""
        self.life.beat()
        for stop in self.stops:  # noqa: SIM110  asked hundreds of times a point: no generator
            if stop is not None and stop.is_set():
                return True
        return False


log = logging.getLogger(__name__)

UNWATCHED_S = 1.5
"""Wall time that light may pass without a reading, beyond the reading's own duration."""
FIRST_READING_S = 1.0
"""A reading's own duration until one was taken."""
POLL_S = 0.1
OVERSLEPT_S = 0.5
"""A wait that took this much longer says that this process stood still: what is owed is granted anew."""
TRIES = 4
_KEPT = 5


class Durations:
    """How long calls of one kind take: the median of the last ones."""

    def __init__(self, first_s: float) -> None:
        self._seconds = deque([first_s], maxlen=_KEPT)
        self._only_guessed = True

    def add(self, seconds: float) -> None:
        """Take one in."""
        if self._only_guessed:
            self._seconds.clear()
            self._only_guessed = False
        self._seconds.append(seconds)

    @property
    def typical_s(self) -> float:
        """Wall seconds that one takes."""
        return statistics.median(self._seconds)


@dataclass
class _Owed:
    """Something that is owed.

    :param thread: the thread that waits for it, and hears why it does not get it.
    """

    name: str
    what: str
    since_s: float
    due_s: float
    thread: int
    given_up: LabctlError | None = None


class DeadMan(SignsOfLife):
    """Stands between the wrapped instruments and the watchdog, and passes every sign of life on.

    :param life: the watchdog.
    :param tell: told, in one line, why light was ended; called in this object's own thread.
    :param speed: bench seconds per wall second.
    :param now_s: wall seconds.
    """

    def __init__(
        self,
        life: SignsOfLife,
        tell: Callable[[str], object],
        *,
        speed: float = 1.0,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._life, self._tell, self._speed, self._now_s = life, tell, speed, now_s
        self._close: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._calls: list[_Owed] = []
        self._held: _Owed | None = None
        self._pending: _Owed | None = None
        self._owner = threading.get_ident()
        self._lit, self._over = threading.Event(), threading.Event()
        self._reading_s, self._transfer_s = Durations(FIRST_READING_S), Durations(0.0)
        self._lead_s, self._tells_each = Durations(FIRST_READING_S), False

    # --- life, passed on ---------------------------------------------------------------------------

    def beat(self, busy_s: float = 0.0) -> None:
        """Pass on a sign of life."""
        self._life.beat(busy_s)

    def require(self) -> None:
        """Make sure that light which may pass is watched, and say why this thread's light was ended.

        :raises LightUnwatched: nothing was read for too long.
        :raises SafetyStop: the watchdog does not watch.
        """
        with self._lock:
            pending = self._pending
            mine = pending is not None and pending.thread == threading.get_ident()
            if mine:
                self._pending = None
        if mine and pending is not None and pending.given_up is not None:
            raise pending.given_up
        self._life.require()

    def consent(self, busy_s: float = 0.0) -> None:
        """Ask whether the shutter may open."""
        self._life.consent(busy_s)
        self._begin()

    def light(self) -> None:
        """Pass on that the shutter is open."""
        self._life.light()
        self._begin()

    def dark(self) -> None:
        """Pass on that it is confirmed closed: nothing is owed any more."""
        self._lit.clear()
        with self._lock:
            self._held = None
        self._life.dark()

    def referenced(self, known: bool) -> None:
        """Pass on whether the mount's angle can be trusted."""
        self._life.referenced(known)

    def trouble(self) -> str:
        """Say why the watchdog does not watch, "" while it does."""
        return self._life.trouble()

    def forgive(self) -> None:
        """Pass on that this process stood still."""
        self._life.forgive()

    def _begin(self) -> None:
        with self._lock:
            self._pending, self._owner = None, threading.get_ident()
        self._lit.set()

    # --- what is owed ------------------------------------------------------------------------------

    def is_set(self) -> bool:
        """Return whether this thread waits for what was given up: its light is out. A stop flag."""
        if not self._calls and self._pending is None:
            return False
        me = threading.get_ident()
        with self._lock:
            for owed in (*self._calls, self._pending):
                if owed is not None and owed.given_up and owed.thread == me:
                    return True
        return False

    @contextmanager
    def reading(self, name: str, count: int) -> Iterator[Callable[[], None]]:
        """Owe a meter's readings, in the light, each in its own time; the block's good end is theirs.

        A meter that does not tell each as it comes owes all of them in the time of all.

        :returns: to be called whenever one of them comes.
        :raises LightUnwatched: it did not come in time; the shutter was closed.
        """
        began_s, last_s = self._now_s(), 0.0
        own_s = self._lead_s.typical_s if self._tells_each else max(count, 1) * self._reading_s.typical_s
        with self._owed(name, "no reading", own_s) as call:

            def came() -> None:
                nonlocal last_s
                now_s = self._now_s()
                if last_s:
                    self._reading_s.add(now_s - last_s)
                else:
                    self._lead_s.add(now_s - began_s)
                last_s, self._tells_each = now_s, True
                self._has_read(name, call)

            yield came
        if not last_s or count == 1:
            self._reading_s.add((self._now_s() - began_s) / max(count, 1))
        self._has_read(name)

    def _has_read(self, name: str, call: _Owed | None = None) -> None:
        """Count from now on: what is owed in a call that goes on, and in light held by hand."""
        with self._lock:
            now_s = self._now_s()
            for owed in (call, self._held):
                if owed is not None:
                    owed.since_s, owed.due_s = now_s, now_s + self._patience_s
            if self._held is not None:
                self._held.name = name

    @contextmanager
    def exposing(self, name: str, integration_s: float) -> Iterator[None]:
        """Owe an exposure; the meter is not read meanwhile.

        :param integration_s: of the bench's clock. One that is under way may have to end before it.
        :raises LightUnwatched: it did not come in time; the shutter was closed.
        """
        began_s, exposure_s = self._now_s(), 2 * integration_s / self._speed
        wall_s = exposure_s + self._transfer_s.typical_s
        with self._lock:
            if self._held is not None:
                self._held.due_s = max(self._held.due_s, self._now_s() + wall_s + self._patience_s)
        with self._owed(name, "no exposure", wall_s):
            yield
        self._transfer_s.add(max(self._now_s() - began_s - exposure_s, 0.0))
        with self._lock:
            if self._held is not None:  # now it is the meter's turn
                self._held.due_s = min(self._held.due_s, self._now_s() + self._patience_s)

    @contextmanager
    def _owed(self, name: str, what: str, own_s: float) -> Iterator[_Owed]:
        now_s = self._now_s()
        call = _Owed(name, what, now_s, now_s + own_s + UNWATCHED_S, threading.get_ident())
        with self._lock:
            self._calls.append(call)
        try:
            yield call
        except Exception as exc:
            if (reason := self._ended(call)) is not None:
                raise reason from exc
            raise
        except BaseException:
            self._ended(call)
            raise
        if (reason := self._ended(call)) is not None:
            raise reason

    def _ended(self, call: _Owed) -> LabctlError | None:
        with self._lock:
            self._calls.remove(call)
            return call.given_up

    @property
    def _patience_s(self) -> float:
        return UNWATCHED_S + self._reading_s.typical_s

    def hold(self, meter: str) -> None:
        """Owe readings of the meter from now on: the light is held by hand, until :meth:`release` or dark."""
        now_s = self._now_s()
        with self._lock:
            if self._lit.is_set():
                self._held = _Owed(
                    meter, "no reading", now_s, now_s + self._patience_s, threading.get_ident()
                )

    def release(self) -> None:
        """Owe none but those that are asked for: the gate is at work."""
        with self._lock:
            self._held = None

    # --- the thread --------------------------------------------------------------------------------

    @contextmanager
    def guarding(self, close: Callable[[], None]) -> Iterator[None]:
        """Watch while inside.

        :param close: closes the shutter; safe to call from another thread.
        """
        self._close = close
        thread = threading.Thread(target=self._main, name="deadman", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._lit.set()
            thread.join(POLL_S + UNWATCHED_S)

    def _main(self) -> None:
        asked_s, said = self._now_s(), False
        while not self._over.is_set():
            if not self._lit.wait(UNWATCHED_S):
                asked_s = self._now_s()
                continue
            self._over.wait(POLL_S)
            slept_s, asked_s = self._now_s() - asked_s, self._now_s()
            try:
                self.check(forgive=slept_s > POLL_S + OVERSLEPT_S)
            except Exception:
                if not said:
                    log.exception("while watching the light")
                said = True

    def check(self, *, forgive: bool = False) -> None:
        """End the light if something is overdue.

        :param forgive: this process stood still: everything has all its time anew.
        """
        if self._over.is_set() or not self._lit.is_set():
            return
        now_s = self._now_s()
        with self._lock:
            owed = [*self._calls, *([] if self._held is None else [self._held])]
            if forgive:
                self._life.forgive()
                for one in owed:
                    one.due_s = max(one.due_s, now_s + UNWATCHED_S)
            late = next((one for one in owed if now_s >= one.due_s and one.given_up is None), None)
            if late is not None:
                text = f"{late.what} for {now_s - late.since_s:.1f} s in the light"
                late.given_up = LightUnwatched(late.name, text)
                if late is self._held:
                    self._pending, self._held = late, None
        if late is not None:
            self._end_light(late)
        elif not forgive and (trouble := self.trouble()):
            lost = _Owed("", "", now_s, now_s, self._owner, SafetyStop(trouble, "run it again"))
            with self._lock:
                self._pending = lost
            self._end_light(lost)

    def _end_light(self, owed: _Owed) -> None:
        """Close the shutter, then say why: nothing comes before the light's end."""
        reason = owed.given_up
        assert reason is not None
        reason.announced = True
        failure: Exception | None = None
        for number in range(TRIES):
            try:
                if self._close is not None:
                    self._close()
            except LabctlError as exc:
                if number == 0:
                    self._tell(
                        f"{reason.message}: closing the shutter; the first attempt failed: {exc.message}"
                    )
                failure = exc
            else:
                self._tell(f"{reason.message}: the shutter was closed")
                return
        self._lit.clear()  # everything was tried here; whoever waits for the instrument goes on, by the plate
        self._tell(f"{reason.message}, and the shutter does not close: {failure}. Block the beam manually")


def watched(
    roles: Roles, hooks: Hooks, life: SignsOfLife, exits: ExitHandler, deadman: DeadMan | None = None
) -> Roles:
    """Attach a watchdog to the hooks of instruments; return these with a clock on which waiting is life.

    :param exits: looked at wherever a stop flag is.
    :param deadman: told of every reading and exposure; it passes signs of life on to ``life``.
    """
    life = life if deadman is None else deadman
    hooks.attach(WatchdogHook(life, exits, deadman))
    return replace(roles, clock=WatchedClock(roles.clock, life, deadman, exits), watch=deadman)


class WatchedClock:
    """A clock; to wait on it is a sign of life, again and again."""

    def __init__(self, clock: Clock, life: SignsOfLife, *stops: Stop | None) -> None:
        self._clock, self._life, self._stops = clock, life, stops

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
            self._clock.sleep(seconds, Polled(self._life, (stop, *self._stops)))
        except Aborted:
            self._life.require()  # it may be light that was ended, not the user
            raise


class WatchdogHook:
    """Every call is announced, each look at its stop flag is a sign of life, and no light goes unwatched."""

    def __init__(self, life: SignsOfLife, exits: ExitHandler, deadman: DeadMan | None) -> None:
        self._life, self._exits, self._deadman = life, exits, deadman
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
        if self._exits.asked:
            raise Aborted
        self._life.consent(CALL_S)
        yield
        self._life.light()  # once more: another thread may have closed it in between

    @contextmanager
    def _working(self, call: Call) -> Iterator[None]:
        """Announce a call that may take a while, and give a sign of life after it."""
        call.stop = Polled(self._life, (call.stop, self._deadman, self._exits))
        is_mount = call.role == "attenuator"
        if is_mount and call.name == "home":
            self._life.referenced(False)
        with self._owed(call):
            self._life.beat(REOPEN_S if call.role in self._failed else CALL_S)
            try:
                yield
            except InstrumentError:
                self._failed.add(call.role)
                raise
            except Aborted:
                self._life.require()  # it may be light that was ended, not the user
                raise
            else:
                self._failed.discard(call.role)
            finally:
                self._life.beat()
        if is_mount and call.name == "is_referenced":
            self._life.referenced(bool(call.result))
        elif call.name == "set_integration":
            self._integration_s = cast("float", call.result)
        elif call.name == "close_beam":
            self._life.dark()  # it is confirmed: no signs of life are owed

    def _owed(self, call: Call) -> AbstractContextManager[None]:
        """Owe what the light is watched by, and what it falls on."""
        if call.name not in ("read", "acquire", "fetch"):
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
