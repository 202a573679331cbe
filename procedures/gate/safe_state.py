"""Making safe: one policy for the pump, a calibration and the watchdog.

Shutter first; then the attenuator to its least transmission; then the shutter once more, if it had failed.
Everything is tried, each step within its deadline, and nothing is raised.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Protocol, TypeVar

from labctl.model.errors import (
    Aborted,
    InstrumentError,
    InstrumentFault,
    InstrumentTimeout,
    LabctlError,
    NotMadeSafe,
)

log = logging.getLogger(__name__)
T = TypeVar("T")

TELLING_S = 0.3
"""Wall time that is waited until a line is told."""


@dataclass(frozen=True, slots=True)
class Action:
    """A step of making safe, with the words for it.

    :param instrument: role and address of the instrument it works on, as its ``name`` says.
    :param doing: what is done, such as "closing".
    """

    instrument: str
    doing: str
    act: Callable[[], object]

    def __call__(self) -> object:
        """Do it."""
        return self.act()


def make_safe(*actions: Callable[[], object], deadline_s: float = 10.0) -> list[Exception]:
    """Try every action, an :class:`Action` by preference, in the order given (shutter first).

    Returns what failed.

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


Step = Callable[[], Sequence[Exception]]
"""Part of making safe: it returns what failed and never raises, as :func:`make_safe` does."""


def end_light(
    close: Step, drop: Callable[[bool], Sequence[Exception]], again: Step | None = None
) -> tuple[Sequence[Exception], Sequence[Exception]]:
    """Close the shutter, take the least light, and close once more what did not close; never raises.

    :param close: closes the shutter and has that confirmed.
    :param drop: turns the attenuator; told whether the shutter has failed.
    :param again: closes once more, when there is least light; by default as ``close``.
    :returns: what failed last of the shutter, and what failed of the attenuator.
    """
    with held_back():
        failures = close()
        dropped = drop(bool(failures))
        return (again or close)() if failures else failures, dropped


def may_turn(attenuator: str, *, referenced: bool, lit: bool) -> bool:
    """Return whether the attenuator may turn to its least light: one whose angle nobody knows stays.

    :param attenuator: its name.
    :param lit: whether light may pass.
    :raises InstrumentFault: it stays, and light may pass.
    """
    stays = "is not homed and is not moved"
    if not referenced and lit:
        raise InstrumentFault(attenuator, stays, "block the beam manually")
    if not referenced:
        log.warning("%s: %s; the shutter is closed", attenuator, stays)
    return referenced


class ClosingShutter(Protocol):
    """A shutter, as far as making safe works with it."""

    @property
    def name(self) -> str:
        """Role and address."""

    @property
    def closing(self) -> Action:
        """Closing it, confirmed by its own sensor."""

    def is_meant(self, error: BaseException) -> bool:
        """Return whether it is this shutter that failed, or lied."""


@dataclass(frozen=True, slots=True)
class SafeState:
    """Closes the shutter whatever goes wrong in the light.

    :param drop: turns the attenuator to the least light.
    :param tell: told at once, in one line, why a shutter that fails is followed by the attenuator.
    :param forget: called first: nothing that was verified holds any more.
    """

    shutter: ClosingShutter
    drop: Action
    tell: Callable[[str], object]
    forget: Callable[[], object] = lambda: None

    @contextmanager
    def guarded(self, *but: type[BaseException]) -> Iterator[None]:
        """Close the shutter whatever went wrong, an abort included, before anybody hears of it.

        Where it is the shutter that failed, the attenuator goes to its minimum first.

        :param but: errors that change nothing.
        """
        try:
            yield
        except but:
            raise
        except BaseException as exc:
            with held_back():
                self.forget()
                if self.shutter.is_meant(exc) or make_safe(self.shutter.closing):
                    doing = (
                        f"{self.shutter.name} does not close. BLOCK THE BEAM MANUALLY; "
                        "turning the attenuator to its lowest transmission first"
                    )
                    announce(exc, doing, self.tell)
                    make_safe(self.drop, self.shutter.closing)
            raise


@contextmanager
def cause_said(tell: Callable[[str], object]) -> Iterator[None]:
    """Say what ends the block before the bench is made safe, which may take a while; each cause once.

    Stand inside of :func:`made_safe`.

    :param tell: told one line.
    """
    try:
        yield
    except LabctlError as exc:
        announce(exc, "closing the shutter, then turning the attenuator to its lowest transmission", tell)
        raise


def announce(error: BaseException, doing: str, tell: Callable[[str], object]) -> None:
    """Say once what is wrong and what is done about it; a terminal that takes nothing holds up nothing.

    :param doing: what comes now.
    :param tell: told one line.
    """
    if isinstance(error, LabctlError) and not error.announced:
        error.announced = True
        line = f"{error.message}: {doing}"
        saying = threading.Thread(target=tell, args=(line,), name="announce", daemon=True)
        try:
            saying.start()
        except RuntimeError:  # no new thread while the interpreter ends
            tell(line)
        else:
            saying.join(TELLING_S)


@contextmanager
def made_safe(
    make: Callable[[], Sequence[Exception]], tell: Callable[[str], object] = log.critical
) -> Iterator[None]:
    """Make the bench safe whatever ends the block; what could not be made safe cannot be overlooked.

    :param make: returns what failed.
    :param tell: told each failure, as one line.
    :raises NotMadeSafe: something failed, and the block ended well or by a stop. Any other error goes on and
        carries it as a note.
    """
    try:
        yield
    except BaseException as exc:
        with held_back():
            failures = _told(make(), tell)
        raise_unsafe(exc, failures)
        raise
    with held_back() as asked:
        failures = _told(make(), tell)
    if failures:
        raise NotMadeSafe(failures) from failures[0]
    if asked:
        raise KeyboardInterrupt


def raise_unsafe(error: BaseException, failures: Sequence[Exception]) -> None:
    """Say beside ``error`` what could not be made safe after it.

    :raises NotMadeSafe: ``error`` is only the wish to end, which nobody would look at.
    """
    if failures and isinstance(error, Aborted | GeneratorExit):
        raise NotMadeSafe(failures) from error
    known = [str(error)] if isinstance(error, NotMadeSafe) else getattr(error, "__notes__", [])
    for failure in failures:
        line = f"NOT MADE SAFE: {_beside(error, failure)}"
        if not any(line in text or str(failure) in text for text in known):
            error.add_note(line)


def _beside(error: BaseException, failure: Exception) -> str:
    """Return a failure in words, without what ``error`` says already."""
    said = str(error)
    if not isinstance(failure, LabctlError) or isinstance(error, NotMadeSafe):
        return str(failure)
    if failure.message in said and isinstance(failure, InstrumentError):
        return f"{failure.instrument}, for this reason"
    return failure.message if failure.hint in said else str(failure)


def _told(failures: Sequence[Exception], tell: Callable[[str], object]) -> Sequence[Exception]:
    for failure in failures:
        tell(f"NOT MADE SAFE: {failure}")
    return failures


@contextmanager
def held_back() -> Iterator[list[int]]:
    """Hold back a Ctrl-C that would raise in the middle of making safe; yields those that came."""
    asked: list[int] = []

    def later(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield asked
        return
    signal.signal(signal.SIGINT, later)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
            name, doing = "making safe", "a step"
            if isinstance(action, Action):
                name, doing = action.instrument, action.doing
            return InstrumentTimeout(name, f"{doing} did not end within {deadline_s:g} s")
    return caught[0] if caught else None


def retried(query: Callable[[], T]) -> T:
    """Ask an idempotent query, and once more if it timed out."""
    try:
        return query()
    except InstrumentTimeout as exc:
        log.warning("trying again: %s", exc)
        return query()
