"""A connection as bytes: one lock, waits with an end, and errors that say what happened.

pyvisa neither locks a write and its read together nor keeps what arrived before a time-out, and pyvisa-py
opens a socket without noticing that nobody listens; this makes up for that.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

import pyvisa
from pymeasure.adapters import Adapter, VISAAdapter
from pymeasure.instruments import Instrument
from pyvisa.constants import StatusCode

from drivers.support.failures import ConnectionHangs, ConnectionLost, hanging_hint
from drivers.support.ports import Port, open_session
from drivers.support.session import Hangs, VisaSession
from labctl.model.clock import Clock, ScaledClock
from labctl.model.errors import Aborted, InstrumentError, InstrumentTimeout, ProtocolError


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
    """

    port: Port

    def __init__(
        self, adapter: str | Adapter, role: str, clock: Clock | None = None, visa_library: str = "@py"
    ) -> None:
        self.role = role
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

    def listen(self, until: bytes, timeout_s: float) -> bytes:
        """Collect bytes up to ``until`` or for ``timeout_s`` of silence; nothing that arrived is lost.

        A message-based bus gives one message, or nothing.
        """
        with self.lock, self.translated(self._sent):
            if not self._visa:
                return bytes(self.adapter.read_bytes(-1))
            with self.patience(timeout_s):
                return bytes(self.adapter.listen(until))

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
        """Return the error for an answer that does not parse; the next command resynchronises first."""
        self._answer_owed = True
        raw = received if isinstance(received, bytes) else str(received).encode()
        return ProtocolError(self.name, "the answer does not parse", sent=sent.encode(), received=raw)


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
