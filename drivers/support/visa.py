"""A pymeasure Instrument that is known to be the right one, asks again, and connects anew after a drop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pymeasure.adapters import Adapter

from drivers.support.failures import (
    ConnectionHangs,
    ConnectionLost,
    hanging_hint,
    not_connected,
    silence_hint,
)
from drivers.support.line import Line
from drivers.support.ports import OPEN_AGAIN_S, OPEN_S, open_session
from labctl.model.clock import Clock, Stop, check_stop
from labctl.model.errors import (
    Aborted,
    InstrumentError,
    InstrumentFault,
    InstrumentTimeout,
    NotConnected,
    ProtocolError,
)
from labctl.model.records import Identity

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
        self, adapter: str | Adapter, role: str, clock: Clock | None = None, visa_library: str = "@py"
    ) -> None:
        super().__init__(adapter, role, clock, visa_library)
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

    def stranger(self, heard: bytes, wanted: str) -> NotConnected:
        """Return the error for an answer that is not the device's, or no readable text at all."""
        hint = WRONG_DEVICE
        if self.resource.upper().startswith("ASRL") and any(byte > 126 for byte in heard):
            hint = f"the baud rate may be wrong: this driver uses {self.port.baud_rate}"
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
                self._rest_until, self._refusal = time.monotonic() + REST_S, f"{hang}; opened anew: {reason}"
                self._hang = hang
                raise self._not_again() from exc
            raise
        finally:
            self._reconnecting = self._greeting = False
        log.warning("%s: connected anew after the line was cut", self.name)

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
