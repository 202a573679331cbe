"""A connection as bytes: one lock, waits with an end, and errors that say what happened.

pyvisa neither locks a write and its read together nor keeps what arrived before a time-out, and pyvisa-py
opens a socket without noticing that nobody listens; this makes up for that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pyvisa
from pymeasure.adapters import Adapter, VISAAdapter
from pymeasure.instruments import Instrument
from pyvisa.constants import StatusCode

from drivers.support.failures import ConnectionLost
from drivers.support.fairlock import FairLock
from drivers.support.ports import Port, open_adapter, peer_has_closed
from labctl.model.clock import Clock, ScaledClock
from labctl.model.errors import Aborted, InstrumentError, InstrumentTimeout, ProtocolError

QUIET_S = 0.05
"""A line is taken to be quiet when nothing arrived for this long (wall time)."""
DRAIN_LIMIT_S = 1.0
LONGEST_ANSWER = 4096
"""Bytes after which a device that never ends its line is not listened to any longer."""


class Line(Instrument):  # type: ignore[misc,unused-ignore]
    """One connection. What stands on it is known to be an answer to the last command, or thrown away.

    :param adapter: a VISA resource name, or a pymeasure adapter (then ``visa_library`` is not used).
    :param role: the first word of the instrument's name in errors.
    :param clock: the bench's clock; real time if left out.
    """

    port: Port

    def __init__(
        self, adapter: str | Adapter, role: str, clock: Clock | None = None, visa_library: str = "@py"
    ) -> None:
        self.role = role
        named = adapter if isinstance(adapter, str) else getattr(adapter, "resource_name", "adapter")
        self.resource = str(named)
        if isinstance(adapter, str):
            adapter = open_adapter(role, adapter, self.port, visa_library)
        super().__init__(adapter, f"{role} {self.resource}", includeSCPI=False)
        self.clock: Clock = clock or ScaledClock()
        self.lock = FairLock()
        self._visa = isinstance(adapter, VISAAdapter)
        self._visa_library = visa_library
        self._cut = self._closed = False
        self._on_usb = self.resource.upper().startswith("USB")
        self._timeout_s = self.port.timeout_s
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

    def listen(self, until: bytes, timeout_s: float) -> bytes:
        """Collect bytes up to ``until`` or for ``timeout_s`` of silence; nothing that arrived is lost.

        Serial ports and sockets only: a message-based bus is read as one message.
        """
        with self.lock, self.translated(self._sent):
            if not self._visa:
                return bytes(self.adapter.read_bytes(-1))
            if self._on_usb:
                return str(self.adapter.read()).encode() + until
            return self._listen_bytewise(until, timeout_s)

    def _listen_bytewise(self, until: bytes, timeout_s: float) -> bytes:
        heard = bytearray()
        with self.patience(timeout_s):
            try:
                while not heard.endswith(until) and len(heard) < LONGEST_ANSWER:
                    heard += self.adapter.read_bytes(1)
            except pyvisa.VisaIOError as exc:
                if exc.error_code != StatusCode.error_timeout or (
                    not heard and peer_has_closed(self.adapter)
                ):
                    raise
        return bytes(heard)

    def drain(self) -> bytes:
        """Throw away what is still arriving and return it, for the error message."""
        if not self._visa:
            return b""
        if self._on_usb:
            with suppress(Exception):
                self.adapter.flush_read_buffer()
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
            with suppress(Exception):
                self._set_timeout(before)

    def _set_timeout(self, timeout_s: float) -> None:
        if self._visa and timeout_s != self._timeout_s:
            with self.translated("a new time-out"):
                self.adapter.connection.timeout = max(1, round(timeout_s * 1000))
            self._timeout_s = timeout_s

    @contextmanager
    def translated(self, sent: str) -> Iterator[None]:
        """Turn what pyvisa, pyserial and the system raise into ``InstrumentError``."""
        try:
            yield
        except pyvisa.VisaIOError as exc:
            if exc.error_code == StatusCode.error_timeout:
                if peer_has_closed(self.adapter):
                    raise self._lost(exc) from exc
                self._answer_owed = True
                raise InstrumentTimeout(self.name, f"no answer to {sent!r}") from exc
            raise self._lost(exc) from exc
        except UnicodeDecodeError as exc:
            raise self.garbled(sent, exc.object) from exc
        except (InstrumentError, Aborted):
            raise
        except Exception as exc:
            if not self._visa:
                raise
            raise self._lost(exc) from exc  # termios.error, ValueError of a closed descriptor, ...

    def _lost(self, exc: Exception) -> ConnectionLost:
        self._cut = True
        hint = "check cable and power, then connect again"
        return ConnectionLost(self.name, f"the connection is lost ({_in_words(exc)})", hint)

    def garbled(self, sent: str, received: object) -> ProtocolError:
        """Return the error for an answer that does not parse; the next command resynchronises first."""
        self._answer_owed = True
        raw = received if isinstance(received, bytes) else str(received).encode()
        return ProtocolError(self.name, "the answer does not parse", sent=sent.encode(), received=raw)


def _in_words(exc: Exception) -> str:
    """Return what the system says of an error; a class's name only where there is nothing else."""
    words = exc.strerror if isinstance(exc, OSError) else str(exc)
    return words or str(exc) or type(exc).__name__
