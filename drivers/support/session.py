"""One VISA connection, owned by a thread: whoever asks waits here, with an end and an ear for a stop.

A time-out is a library's promise, and none keeps all of them: a host name that nobody resolves, a USB device
that answers nothing at all, a serial port whose driver is stuck. A call that has not come back by our own
deadline is left to its thread. Its connection is never used again, nor waited for at the program's end.
"""

from __future__ import annotations

import atexit
import logging
import math
import queue
import select
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

import pyvisa
from pymeasure.adapters import Adapter, VISAAdapter
from pyvisa.constants import StatusCode
from pyvisa.highlevel import open_visa_library

from drivers.support.failures import hanging_hint, not_connected, opening_hint
from labctl.model.clock import SLICE_S, Stop, check_heard, check_stop
from labctl.model.errors import Aborted

T = TypeVar("T")

GRACE_S = 0.25
"""How much longer than the library's own time-out a call may take (wall time)."""
LOAD_S = 20.0
"""For reading the VISA library from a slow disk, which happens once."""
CLOSE_S = 0.5
LONGEST_ANSWER = 4096
"""Bytes after which a device that never ends its line is not listened to any longer."""

_given_up: list[threading.Thread] = []
_minded: list[Any] = []
"""Resource managers; kept, for pyvisa forgets the one that nobody keeps."""


class Hangs(Exception):  # noqa: N818
    """The call did not come back; its connection has been given up.

    :ivar waited_s: for how long it was waited for; 0 where it had been given up before.
    """

    def __init__(self, waited_s: float) -> None:
        super().__init__(f"it did not return within {waited_s:.1f} s")
        self.waited_s = waited_s


class _Job(Generic[T]):
    """Something to be done in the owner's thread, and what came of it."""

    __slots__ = ("done", "error", "result", "work")

    def __init__(self, work: Callable[[], T]) -> None:
        self.work = work
        self.done = threading.Lock()
        self.done.acquire()
        self.error: BaseException | None = None
        self.result: T

    def run(self) -> None:
        try:
            self.result = self.work()
        except BaseException as exc:  # noqa: BLE001  raised again where it was asked for
            self.error = exc
        self.done.release()


class _Desk:
    """What the owner's thread holds; it knows nothing of the session, which may be forgotten meanwhile."""

    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self.adapter: VISAAdapter | None = None
        self.given_up = False
        self._timeout_ms = 0

    def serve(self) -> None:
        """Do one job after the other; close the connection at the end, or as soon as a hung call returns."""
        while not self.given_up and (job := self.jobs.get()) is not None:
            job.run()
            del job  # it holds on to whoever asked
        adapter, self.adapter = self.adapter, None
        if adapter is not None:
            with suppress(Exception):
                adapter.close()

    def connection(self, timeout_s: float) -> Any:
        """Return pyvisa's resource with this time-out set."""
        if self.adapter is None:
            raise pyvisa.errors.InvalidSession
        timeout_ms = max(1, round(timeout_s * 1000))  # never 0, which pyvisa-py's USB takes for 49 days
        if timeout_ms != self._timeout_ms:
            self.adapter.connection.timeout = timeout_ms
            self._timeout_ms = timeout_ms
        return self.adapter.connection


class VisaSession(Adapter):  # type: ignore[misc,unused-ignore]
    """A connection as pymeasure's instruments use one; safe to be given up in the middle of a call.

    :param resource: VISA resource name.
    :param timeout_s: the library's time-out, in wall seconds, until ``timeout_s`` is set to another.
    """

    def __init__(self, resource: str, timeout_s: float) -> None:
        super().__init__()
        self.resource_name = resource
        self.timeout_s = timeout_s
        self._whole_messages = not resource.upper().startswith(("ASRL", "TCPIP"))
        # pyvisa-py's serial port looks at the clock between two bytes, each of which may take a time-out.
        self._timeouts = 2 if resource.upper().startswith("ASRL") else 1
        self._desk = _Desk()
        self._over = False
        self._owed: tuple[_Job[Any], float] | None = None
        self._thread = threading.Thread(target=self._desk.serve, name=f"VISA {resource}", daemon=True)
        self._thread.start()

    def __del__(self) -> None:
        """Have the connection closed, without waiting for it."""
        if hasattr(self, "_desk"):
            self._desk.jobs.put(None)

    def open(self, opened: Callable[[], VISAAdapter], limit_s: float) -> None:
        """Open it in the owner's thread.

        :raises Hangs: that did not end within ``limit_s``.
        """
        desk = self._desk

        def work() -> None:
            desk.adapter = opened()
            _mind_the_end(desk.adapter.manager)

        self.call(work, limit_s)

    def close(self) -> None:
        """Close the connection, or give it up where that takes longer than 0.5 s. Never raises."""
        self._over = True
        self._desk.jobs.put(None)
        if not self._desk.given_up:
            self._thread.join(CLOSE_S)
            if self._thread.is_alive():
                self._give_up()

    def call(
        self,
        work: Callable[[], T],
        limit_s: float,
        stop: Stop | None = None,
        progress: Callable[[], int] = int,
    ) -> T:
        """Do ``work`` in the owner's thread and return what it returns, or raise what it raises.

        :param limit_s: wall time for it, counted anew whenever ``progress`` has changed.
        :raises Hangs: it did not end in time, or an earlier call did not.
        :raises Aborted: ``stop`` was set, or a stop is heard here; the call goes on in its thread, and the
            next one waits for it.
        """
        check_heard()
        if self._desk.given_up:
            raise Hangs(0.0)
        if self._over:
            raise pyvisa.errors.InvalidSession
        if self._owed is not None:
            before, end = self._owed
            limit_s += max(end - time.monotonic(), 0.0) if before.done.locked() else 0.0
            self._owed = None
        job = _Job(work)
        self._desk.jobs.put(job)
        self._wait(job, limit_s, stop, progress)
        if job.error is not None:
            try:
                raise job.error
            finally:
                del job  # its error refers to this frame
        return job.result

    def _wait(self, job: _Job[Any], limit_s: float, stop: Stop | None, progress: Callable[[], int]) -> None:
        """Wait in slices, and count those: a program that stood still has not waited."""
        slices = left = math.ceil(limit_s / SLICE_S)
        seen = progress()
        try:
            while not job.done.acquire(timeout=SLICE_S):
                check_stop(stop)
                check_heard()
                left -= 1
                if (now := progress()) != seen:
                    seen, left = now, slices
                if left <= 0:
                    self._give_up()
                    raise Hangs(limit_s)
        except BaseException:
            self._owed = (job, time.monotonic() + left * SLICE_S)
            raise

    def _give_up(self) -> None:
        self._desk.given_up = True
        _given_up.append(self._thread)

    # -- what is done over it ----------------------------------------------------------------------

    def _limit_s(self) -> float:
        return self._timeouts * self.timeout_s + GRACE_S

    def _write(self, command: str, **kwargs: Any) -> None:
        desk, timeout_s = self._desk, self.timeout_s
        self.call(lambda: desk.connection(timeout_s).write(command, **kwargs), self._limit_s())

    def _write_bytes(self, content: bytes, **kwargs: Any) -> None:
        desk, timeout_s = self._desk, self.timeout_s
        self.call(lambda: desk.connection(timeout_s).write_raw(content, **kwargs), self._limit_s())

    def _read(self, stop: Stop | None = None, **kwargs: Any) -> str:
        desk, timeout_s = self._desk, self.timeout_s
        return str(self.call(lambda: desk.connection(timeout_s).read(**kwargs), self._limit_s(), stop))

    def _read_bytes(self, count: int, break_on_termchar: bool = False, **kwargs: Any) -> bytes:
        if count < 0:
            return self.listen(b"")
        desk, timeout_s = self._desk, self.timeout_s

        def work() -> bytes:
            connection = desk.connection(timeout_s)
            return bytes(connection.read_bytes(count, break_on_termchar=break_on_termchar, **kwargs))

        return self.call(work, self._limit_s())

    def flush_read_buffer(self) -> None:
        """Throw away what has arrived; pymeasure's own sets a time-out of 0, which some take for never."""
        self.listen(b"")

    def listen(self, until: bytes, most: int = LONGEST_ANSWER) -> bytes:
        """Collect up to ``most`` bytes, to ``until``, or to the first silence of ``timeout_s``; none is lost.

        A bus that carries whole messages gives one message, of any length.
        """
        desk, timeout_s, heard, whole = self._desk, self.timeout_s, bytearray(), self._whole_messages

        def work() -> bytes:
            connection = desk.connection(timeout_s)
            try:
                if whole:
                    heard.extend(connection.read_raw())
                while not (whole or (until and heard.endswith(until)) or len(heard) >= most):
                    heard.extend(connection.read_bytes(1))
            except pyvisa.VisaIOError as exc:
                if exc.error_code != StatusCode.error_timeout or (not heard and other_end_has_closed(desk)):
                    raise
            return bytes(heard)

        return self.call(work, self._limit_s(), progress=heard.__len__)

    def peer_has_closed(self) -> bool:
        """Return whether the other end of a socket has closed it, which pyvisa-py takes for a time-out."""
        return not self._desk.given_up and other_end_has_closed(self._desk)


def other_end_has_closed(desk: _Desk) -> bool:
    """Look at the socket under a connection, without waiting; False where there is none."""
    try:
        line = _interface(desk.adapter)
        if not isinstance(line, socket.socket):
            return False
        readable, _, _ = select.select([line], [], [], 0)
        return bool(readable) and line.recv(1, socket.MSG_PEEK) == b""
    except (OSError, ValueError):  # reset, or closed on this side
        return True
    except Exception:  # noqa: BLE001  another kind of library
        return False


def claim(adapter: VISAAdapter) -> None:
    """Keep a second program off a POSIX serial port, which would otherwise open it without a word."""
    interface = _interface(adapter)
    if hasattr(interface, "exclusive"):
        try:
            interface.exclusive = True
        except OSError:
            adapter.close()
            raise


def _interface(adapter: VISAAdapter | None) -> Any:
    """Return what pyvisa-py works on: a socket, a serial port; None for another library."""
    connection: Any = None if adapter is None else adapter.connection
    sessions: Any = getattr(getattr(connection, "visalib", None), "sessions", {})
    return getattr(sessions.get(connection.session), "interface", None) if sessions else None


def load_visa(visa_library: str) -> None:
    """Load a VISA library; pyvisa-py without the look round the USB bus that it takes while it is imported.

    A bus that hangs would hold the import, and with it the instruments that stand on other lines.
    """
    if visa_library == "@py" and "pyvisa_py" not in sys.modules:
        import usb.core

        looks_round = usb.core.find
        usb.core.find = _finds_nothing
        try:
            open_visa_library(visa_library)
        finally:
            usb.core.find = looks_round
    _mind_the_end(pyvisa.ResourceManager(visa_library))


def _finds_nothing(*_: object, **__: object) -> None:
    """Stand in for ``usb.core.find``."""


def _mind_the_end(manager: Any) -> None:
    """Keep the interpreter's end from closing what hangs: pyvisa and pyusb would wait for it.

    Registered when the manager is there: what is registered last comes first, so a bench is made safe before.
    """
    if any(manager is known for known in _minded):
        return
    _minded.append(manager)
    weakref.finalize(manager, int)  # so that the finalizers' own turn is registered, and comes later
    atexit.register(_leave_what_hangs, manager)


def _leave_what_hangs(manager: Any) -> None:
    if not any(thread.is_alive() for thread in _given_up):
        return
    atexit.unregister(manager._atexit_handler)
    manager._session = None
    if "usb.core" in sys.modules:
        from usb import _objfinalizer

        _objfinalizer._AutoFinalizedObjectBase._do_finalize_object = _finds_nothing


log = logging.getLogger(__name__)


@cache
def use_packaged_libusb() -> bool:
    """Load the packaged libusb once for this process; return whether a libusb is there.

    pyusb keeps the first library it loads, so whatever asks it later (pyvisa-py, pyseabreeze) gets this one.
    """
    try:
        import libusb_package
        from usb.backend import libusb1
    except ImportError:
        log.exception("pyusb or libusb-package is missing")
        return False
    backend = libusb1.get_backend() or libusb1.get_backend(find_library=libusb_package.find_library)
    return backend is not None


OPEN_S = 4.0
"""For the first opening; pyvisa gives a host 3 s of it to be reached."""
OPEN_AGAIN_S = 1.0
"""For another opening of what has just hung (all three in wall time)."""
HOST_S = 3.0


@dataclass(frozen=True, slots=True)
class Port:
    """How a device talks: serial settings, line ends and how long an answer may take (wall seconds)."""

    baud_rate: int
    read_termination: str
    write_termination: str
    timeout_s: float


def open_session(
    role: str, resource: str, port: Port, visa_library: str, limit_s: float = OPEN_S
) -> VisaSession:
    """Open a VISA resource with the settings of ``port``; sockets get the terminations only.

    :param limit_s: wall time after which opening is given up, whatever the library does meanwhile.
    :raises NotConnected: it cannot be opened, with what to try.
    :raises Aborted: a stop was heard meanwhile.
    """
    session = VisaSession(resource, port.timeout_s)
    try:
        session.call(lambda: load_visa(visa_library), LOAD_S)
        session.open(lambda: _opened(resource, port, visa_library), limit_s)
    except Aborted:
        session.close()
        raise
    except Hangs as exc:
        reason = f"opening it has not ended within {exc.waited_s:g} s"
        raise not_connected(role, resource, reason, hanging_hint(resource)) from exc
    except Exception as exc:
        session.close()
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise not_connected(role, resource, reason, opening_hint(resource, exc)) from exc
    return session


def _opened(resource: str, port: Port, visa_library: str) -> VISAAdapter:
    if resource.upper().startswith("USB") and visa_library == "@py":
        use_packaged_libusb()
    adapter = VISAAdapter(
        resource,
        visa_library,
        read_termination=port.read_termination,
        write_termination=port.write_termination,
        timeout=round(port.timeout_s * 1000),
        open_timeout=round(HOST_S * 1000),
        asrl={"baud_rate": port.baud_rate},
    )
    claim(adapter)
    return adapter
