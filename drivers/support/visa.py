"""A pymeasure Instrument that is known to be the right one, asks again, and connects anew after a drop."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

import pyvisa
from pymeasure.adapters import Adapter, VISAAdapter
from pymeasure.instruments import Instrument
from pyvisa.constants import StatusCode

from drivers.support.failures import (
    ConnectionHangs,
    ConnectionLost,
    hanging_hint,
    not_connected,
    silence_hint,
)
from drivers.support.session import (
    LONGEST_ANSWER,
    OPEN_AGAIN_S,
    OPEN_S,
    Hangs,
    Port,
    VisaSession,
    open_session,
)
from labctl.model.clock import Clock, ScaledClock, Stop, check_stop
from labctl.model.errors import (
    Aborted,
    InstrumentError,
    InstrumentFault,
    InstrumentTimeout,
    NotConnected,
    ProtocolError,
)
from labctl.model.records import Identity


class FairLock:
    """A reentrant lock; who waits longest is next. For use like :class:`threading.RLock`."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: deque[tuple[int, threading.Lock]] = deque()
        self._owner: int | None = None
        self._depth = 0

    def acquire(self, timeout: float = -1) -> bool:
        """Take the lock; return False when ``timeout`` seconds have passed without it (-1: never)."""
        me = threading.get_ident()
        with self._mutex:
            if self._owner == me:
                self._depth += 1
                return True
            if self._owner is None:
                self._owner, self._depth = me, 1
                return True
            turn = threading.Lock()
            turn.acquire()
            place = (me, turn)
            self._waiting.append(place)
        try:
            if turn.acquire(timeout=timeout):
                return True
        except BaseException:  # Ctrl-C while waiting: leave the queue, or pass on what came meanwhile
            if not self._left(place):
                self.release()
            raise
        return not self._left(place)

    def _left(self, place: tuple[int, threading.Lock]) -> bool:
        """Leave the queue; return False if the lock was handed over in between."""
        with self._mutex:
            if place not in self._waiting:
                return False
            self._waiting.remove(place)
            return True

    def release(self) -> None:
        """Let go; the longest waiting thread has it then.

        :raises RuntimeError: this thread does not hold it.
        """
        with self._mutex:
            if self._owner != threading.get_ident():
                raise RuntimeError("cannot release a lock that another thread holds")
            self._depth -= 1
            if self._depth:
                return
            self._owner = None
            if self._waiting:
                self._owner, turn = self._waiting.popleft()
                self._depth = 1
                turn.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


QUIET_S = 0.05
"""A line is taken to be quiet when nothing arrived for this long (wall time)."""
DRAIN_LIMIT_S = 1.0


class Line(Instrument):  # type: ignore[misc,unused-ignore]
    """One connection. What stands on it is known to be an answer to the last command, or thrown away.

    :param adapter: a VISA resource name, or a pymeasure adapter (then ``visa_library`` is not used).
    :param role: the first word of the instrument's name in errors.
    :param clock: the bench's clock; real time if left out.
    :param baud_rate: of a serial line, where it is not the one of ``port``.
    """

    port: Port

    def __init__(
        self,
        adapter: str | Adapter,
        role: str,
        clock: Clock | None = None,
        visa_library: str = "@py",
        baud_rate: int | None = None,
    ) -> None:
        self.role = role
        if baud_rate is not None:
            self.port = dataclasses.replace(self.port, baud_rate=baud_rate)
        named = adapter if isinstance(adapter, str) else getattr(adapter, "resource_name", "adapter")
        self.resource = str(named)
        if isinstance(adapter, str):
            adapter = open_session(role, adapter, self.port, visa_library)
        elif isinstance(adapter, VISAAdapter):
            adapter = _owned(adapter, self.resource, self.port)
        super().__init__(adapter, f"{role} {self.resource}", includeSCPI=False)
        self.clock: Clock = clock or ScaledClock()
        self.lock = FairLock()
        self._visa = isinstance(adapter, VisaSession)
        self._visa_library = visa_library
        self._cut = self._closed = False
        self._on_usb = self.resource.upper().startswith("USB")
        self._timeout_s = self.port.timeout_s
        self._hang = ""
        self._answer_owed = False
        self._sent = ""

    def close(self) -> None:
        """Release the connection. Never raises, may be called twice."""
        self._closed = True
        with suppress(Exception):
            self.adapter.close()

    def shutdown(self) -> None:
        """Release the connection (what a ``with`` block does at its end)."""
        self.close()
        super().shutdown()

    def listen(self, until: bytes, timeout_s: float, most: int = LONGEST_ANSWER) -> bytes:
        """Collect bytes up to ``until`` or for ``timeout_s`` of silence; nothing that arrived is lost.

        A message-based bus gives one message, or nothing.

        :param most: how many bytes are enough.
        """
        with self.lock, self.translated(self._sent):
            if not self._visa:
                return bytes(self.adapter.read_bytes(-1))
            with self.patience(timeout_s):
                return bytes(self.adapter.listen(until, most))

    def drain(self) -> bytes:
        """Throw away what is still arriving and return it, for the error message."""
        if not self._visa:
            return b""
        heard = b""
        end = time.monotonic() + DRAIN_LIMIT_S
        while time.monotonic() < end and (more := self.listen(b"\n", QUIET_S)):
            heard += more
        return heard

    @contextmanager
    def patience(self, timeout_s: float) -> Iterator[None]:
        """Wait up to ``timeout_s`` (wall time) for answers inside the block."""
        before = self._timeout_s
        self._set_timeout(timeout_s)
        try:
            yield
        finally:
            self._set_timeout(before)

    def _set_timeout(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        if self._visa:
            self.adapter.timeout_s = timeout_s

    @contextmanager
    def translated(self, sent: str) -> Iterator[None]:
        """Turn what pyvisa, pyserial and the system raise into ``InstrumentError``."""
        try:
            yield
        except pyvisa.VisaIOError as exc:
            if exc.error_code == StatusCode.error_timeout:
                if self._visa and self.adapter.peer_has_closed():
                    raise self._lost(exc) from exc
                self._answer_owed = True
                raise InstrumentTimeout(self.name, f"no answer to {sent!r}") from exc
            raise self._lost(exc) from exc
        except UnicodeDecodeError as exc:
            raise self.garbled(sent, exc.object) from exc
        except Hangs as exc:
            raise self._hung(sent, exc) from exc
        except Aborted:
            self._answer_owed = True
            raise
        except InstrumentError:
            raise
        except Exception as exc:
            if not self._visa:
                raise
            raise self._lost(exc) from exc  # termios.error, ValueError of a closed descriptor, ...

    def _lost(self, exc: Exception) -> ConnectionLost:
        self._cut = True
        hint = "check cable and power, then connect again"
        return ConnectionLost(self.name, f"the connection is lost ({_in_words(exc)})", hint)

    def _hung(self, sent: str, exc: Hangs) -> ConnectionHangs:
        self._cut = True
        self._hang = self._hang or (
            f"no answer to {sent!r}: the call has not returned within {exc.waited_s:.1f} s, "
            "and its connection is given up"
        )
        return ConnectionHangs(self.name, self._hang, hanging_hint(self.resource))

    def garbled(self, sent: str, received: object) -> ProtocolError:
        """Return the error for an answer that cannot be parsed; the next command resynchronises first."""
        self._answer_owed = True
        raw = received if isinstance(received, bytes) else str(received).encode()
        return ProtocolError(self.name, "the answer cannot be parsed", sent=sent.encode(), received=raw)


def _owned(adapter: VISAAdapter, resource: str, port: Port) -> Adapter:
    """Give an open connection of pymeasure's to a thread of its own; one of its test adapters stays."""
    if not hasattr(adapter, "manager"):
        return adapter
    session = VisaSession(resource, port.timeout_s)
    session.open(lambda: adapter, port.timeout_s)
    return session


def _in_words(exc: Exception) -> str:
    """Return what the system says of an error; a class's name only where there is nothing else."""
    words = exc.strerror if isinstance(exc, OSError) else str(exc)
    return words or str(exc) or type(exc).__name__


log = logging.getLogger(__name__)

SLICE_S = 0.1
"""How late a stop request may be noticed while an answer is awaited (wall time)."""
OTHER_QUESTIONS = (b"\r\n*IDN?\r\n", b"0in")
OTHER_TIMEOUT_S = 0.2
WRONG_DEVICE = "check which instrument is at this address"
REST_S = 5.0
"""Wall time for which what hung, and could not be opened anew, is left alone."""
SHOWN = 60
"""Bytes of a stranger's answer that the error shows."""


class VisaInstrument(Line):
    """Base of the VISA drivers: questions and answers on one line, resynchronised after a time-out.

    After the line was cut, the next command connects anew, once, and goes on only if the same device answers
    and :meth:`restore` could set its settings again.
    """

    def __init__(
        self,
        adapter: str | Adapter,
        role: str,
        clock: Clock | None = None,
        visa_library: str = "@py",
        baud_rate: int | None = None,
    ) -> None:
        super().__init__(adapter, role, clock, visa_library, baud_rate)
        self._who_is_there: Callable[[], None] = lambda: None
        self._known: Identity | None = None
        self._reconnecting = self._greeting = False
        self._rest_until, self._refusal = 0.0, ""

    def greet(self, who_is_there: Callable[[], None]) -> None:
        """Run the identity query right after opening; whatever goes wrong means "not connected".

        :raises NotConnected: nobody, or somebody else, answers.
        """
        self._who_is_there, self._greeting = who_is_there, True
        try:
            self.drain()
            who_is_there()
        except (NotConnected, Aborted):
            self.close()
            raise
        except InstrumentError as exc:
            other_device = self._other_device() if isinstance(exc, InstrumentTimeout) else b""
            self.close()
            told = isinstance(exc, InstrumentFault | ProtocolError | ConnectionHangs) and exc.hint
            hint = told or silence_hint(self.resource, self.port.baud_rate)
            reason = exc.message.removeprefix(f"{self.name}: ")
            if other_device:
                reason, hint = f"{reason}, but {other_device!r} to other questions", WRONG_DEVICE
            raise not_connected(self.role, self.resource, reason, hint) from exc
        finally:
            self._greeting = False

    def expect_model(self, question: str, model: str, prompt: bytes, timeout_s: float) -> None:
        """Ask a device of a console who it is, twice where somebody else's half command may spoil the first.

        :raises InstrumentTimeout: nothing answers.
        :raises NotConnected: another device does.
        """
        for _ in range(2):
            self.write(question)
            heard = self.listen(prompt, timeout_s)
            if model.encode() in heard.upper() or not self._visa:
                break
            self.drain()
        if not heard:
            raise InstrumentTimeout(self.name, f"no answer to {question!r}")
        if model.encode() not in heard.upper():
            raise self.stranger(heard, model)

    def without_echo(self, sent: str, text: str) -> str:
        """Take the echo and the prompt off what a console answered.

        :raises ProtocolError: the echo is another command.
        :raises InstrumentFault: the device refuses the command.
        """
        echo, *lines = [line.strip() for line in text.strip("> \r\n").split("\r")]
        if echo != sent:
            raise self.garbled(sent, text)
        value = " ".join(line for line in lines if line)
        if "error" in value.lower():
            raise InstrumentFault(self.name, f"refuses {sent!r}: {value}")
        return value

    def stranger(self, heard: bytes, wanted: str) -> NotConnected:
        """Return the error for an answer that is not the device's, or no readable text at all."""
        hint = WRONG_DEVICE
        if self.resource.upper().startswith("ASRL") and any(byte > 126 for byte in heard):
            hint = f"the baud rate may be wrong: this driver uses {self.port.baud_rate} unless told otherwise"
        more = f" and {len(heard) - SHOWN} bytes more" if len(heard) > SHOWN else ""
        return not_connected(
            self.role, self.resource, f"{heard[:SHOWN]!r}{more} answered, not {wanted}", hint
        )

    def _other_device(self) -> bytes:
        """Ask in other tongues, so that the error can name the wrong device at this address."""
        with suppress(InstrumentError):
            for question in OTHER_QUESTIONS if self._visa and not self._on_usb else ():
                with self.translated("identity"):
                    self.adapter.write_bytes(question)
                if heard := self.listen(b"\n", OTHER_TIMEOUT_S):
                    return heard + self.drain()
        return b""

    # -- after a drop ------------------------------------------------------------------------------

    def remember(self, found: Identity) -> Identity:
        """Keep the first identity that was found, and return this one."""
        self._known = self._known or found
        return found

    def restore(self) -> None:
        """Set again what the device may have forgotten; called after a new connection."""

    def _reconnect(self) -> None:
        """Connect anew after the line was cut.

        What hung, and hangs again or does not open, is left alone for 5 s: whoever makes a bench safe must
        not wait for it each time.

        :raises NotConnected: nobody, or something else, answers.
        :raises InstrumentFault: another device of the same kind answers, or a setting does not stick.
        """
        hang = self._hang
        if time.monotonic() < self._rest_until:
            raise self._not_again()
        self._reconnecting = self._greeting = True
        try:
            self._connect_anew(OPEN_AGAIN_S if hang else OPEN_S)
        except BaseException as exc:
            self._cut = True
            if hang and isinstance(exc, NotConnected | ConnectionHangs):
                reason = exc.failures[0].reason if isinstance(exc, NotConnected) else "it hangs again"
                self._rest_until, self._refusal = time.monotonic() + REST_S, f"{hang}; reopened: {reason}"
                self._hang = hang
                raise self._not_again() from exc
            raise
        finally:
            self._reconnecting = self._greeting = False
        log.warning("%s: reconnected after the line was interrupted", self.name)

    def _connect_anew(self, limit_s: float) -> None:
        with suppress(Exception):
            self.adapter.close()
        self.adapter: Any = open_session(self.role, self.resource, self.port, self._visa_library, limit_s)
        self._timeout_s, self._answer_owed, self._cut, self._hang = self.port.timeout_s, False, False, ""
        self.drain()
        self._who_is_there()
        self._greeting = False
        known = self._known
        if known is not None and (found := self.identity()) != known:
            raise InstrumentFault(self.name, f"{found} answers instead of {known}", WRONG_DEVICE)
        self.restore()

    def _not_again(self) -> NotConnected:
        return not_connected(self.role, self.resource, self._refusal, hanging_hint(self.resource))

    def identity(self) -> Identity:
        """Ask the device who it is."""
        raise NotImplementedError

    # -- exchanges ---------------------------------------------------------------------------------

    def drain(self) -> bytes:
        """Throw away what is still arriving and return it, for the error message.

        USB carries whole messages, none of them twice, and takes a read without a question for an error: it
        is read only when an answer may be owed, by us or, at the beginning, by whoever asked before.
        """
        if self._on_usb and not (self._answer_owed or self._greeting):
            return b""
        return super().drain()

    def write(self, command: str, **kwargs: Any) -> None:
        """Send a command, after draining an answer that may still be owed, on a new line if it was cut."""
        with self.lock, self.translated(command):
            if self._cut and self._visa and not (self._reconnecting or self._closed):
                self._reconnect()
            if self._answer_owed:
                self.resynchronise()
                self._answer_owed = False
            self._sent = command
            self.put(command, **kwargs)

    def put(self, command: str, **kwargs: Any) -> None:
        """Send what a command stands for: its own text."""
        self.adapter.write(command, **kwargs)

    def reply(self) -> str:
        """Read one answer without its termination."""
        with self.lock, self.translated(self._sent):
            return str(self.adapter.read())

    def await_reply(self, timeout_s: float, stop: Stop | None = None) -> str:
        """Read one answer that may take long; a stop is noticed within 0.1 s.

        :raises Aborted: ``stop`` was set; the answer still owed is drained before the next command.
        """
        if not self._visa:
            return self.reply()
        if self._on_usb:
            with self.lock, self.translated(self._sent), self.patience(timeout_s):
                check_stop(stop)
                return str(self.adapter.read(stop=stop))
        end, until, heard = time.monotonic() + timeout_s, self.port.read_termination.encode(), b""
        self._answer_owed = True
        while not heard.endswith(until):
            check_stop(stop)
            late = time.monotonic() > end  # before listening: a program that stood still listens once more
            heard += self.listen(until, SLICE_S)
            if late and not heard.endswith(until):
                raise InstrumentTimeout(self.name, f"no answer to {self._sent!r} (received {heard!r})")
        self._answer_owed = False
        return heard.decode("ascii", "replace").removesuffix(self.port.read_termination)

    def ask(self, command: str, query_delay: float | None = None) -> str:
        """Send a command and return its answer; a question that changes nothing is repeated once."""
        with self.lock:
            try:
                return self._exchange(command, query_delay)
            except (InstrumentTimeout, ProtocolError, ConnectionLost):
                if not self.is_idempotent(command) or self._reconnecting:
                    raise
                self._answer_owed = True
                return self._exchange(command, query_delay)

    def _exchange(self, command: str, query_delay: float | None) -> str:
        self.write(command)
        self.wait_for(query_delay)
        return self.reply()

    def is_idempotent(self, command: str) -> bool:
        """Return whether ``command`` may be repeated after a failure; False unless a driver knows better."""
        del command
        return False

    def values(self, command: str, cast: Callable[[str], Any] = float, **kwargs: Any) -> list[Any]:
        """Ask and convert, refusing what pymeasure would hand through as text.

        :raises ProtocolError: a part of the answer is not what ``cast`` expects.
        """
        results: list[Any] = super().values(command, cast=cast, **kwargs)
        if _unparsed(results, cast) and self.is_idempotent(command):
            self._answer_owed = True
            results = super().values(command, cast=cast, **kwargs)
        if _unparsed(results, cast):
            raise self.garbled(command, results)
        return results

    def resynchronise(self) -> None:
        """Make sure that the next answer belongs to the next question; by default, wait for silence."""
        self.drain()


def _unparsed(results: list[Any], cast: Callable[[str], Any]) -> bool:
    """Return whether pymeasure kept a part of the answer as text because ``cast`` refused it."""
    return cast is not str and any(isinstance(result, str) for result in results)
