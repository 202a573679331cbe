"""One thread for each instrument: it carries bytes between a client and a wire, and it does the waiting.

On a clock that runs by itself the thread waits for bytes or for the moment the wire named, whichever is
first. On a stepped clock nothing would ever come due, so with no bytes waiting the thread steps the clock.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from labctl.model.clock import Clock, ScaledClock
from labctl.model.errors import Aborted
from simulators.link import DUE_TOLERANCE_S, Link, Wire

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
SEND_TIMEOUT_S = 2.0
"""Wall time after which a client that does not read is dropped."""
CHUNK = 65536


class Source(Protocol):
    """Anything ``select`` accepts."""

    def fileno(self) -> int:
        """Return the descriptor."""


class Server:
    """The thread and the waiting; a subclass owns the transport.

    :param wire: what answers. :param clock: the clock the wire's times belong to.
    """

    def __init__(self, wire: Wire, clock: Clock) -> None:
        self.clock = clock
        self.link = Link(wire, self._transmit)
        self._speed = clock.speed if isinstance(clock, ScaledClock) else None
        self._stopping = threading.Event()
        self._away_until = 0.0
        self._calls: deque[Callable[[], None]] = deque()
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_in.setblocking(False)
        self._thread = threading.Thread(target=self._run, name=type(wire).__name__, daemon=True)

    @property
    def wire(self) -> Wire:
        """The instrument that answers now."""
        return self.link.wire

    @property
    def resource(self) -> str:
        """VISA resource name of this server."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving: the thread has ended and everything is closed when this returns."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._ring()
        if self._thread.ident is not None:
            self._thread.join()
        self._close()
        self._wake_in.close()
        self._wake_out.close()

    def call(self, action: Callable[[], None]) -> None:
        """Run ``action`` in the server's thread, e.g. to press a button on the wire. Returns at once."""
        self._calls.append(action)
        self._ring()

    def pause(self, wall_s: float) -> None:
        """Let bytes wait for so long; for the server's own thread. Stopping the server ends it."""
        self._stopping.wait(min(wall_s, threading.TIMEOUT_MAX))

    def hang_up(self, wall_s: float = 0.0) -> None:
        """Part from the present client, and turn away whoever comes in the next ``wall_s``."""
        self._away_until = time.monotonic() + wall_s
        self._drop()

    def _away(self) -> bool:
        return time.monotonic() < self._away_until

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # so many bells ring already that one more changes nothing
            self._wake_in.send(b"!")

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._turn()
            except Exception:
                log.exception("%s", self._thread.name)
                self._drop()
                self.link.new_client()

    def _turn(self) -> None:
        ready = self._wait()
        if self._wake_out in ready:
            self._wake_out.recv(CHUNK)
        while self._calls:
            self._calls.popleft()()
        self._serve(ready)
        due_s = self.wire.due_s()
        if due_s is not None and due_s - self.clock.now_s() <= DUE_TOLERANCE_S:
            self.wire.wake()

    def _wait(self) -> list[Source | int]:
        sources: list[Source | int] = [self._wake_out, *self._sources()]
        due_s, limit_s = self.wire.due_s(), self._longest_wait_s()
        if due_s is None:
            return select.select(sources, [], [], limit_s)[0]
        left_s = max(due_s - self.clock.now_s(), 0.0)
        if self._speed is not None:
            wall_s = left_s / self._speed
            return select.select(sources, [], [], wall_s if limit_s is None else min(wall_s, limit_s))[0]
        ready: list[Source | int] = select.select(sources, [], [], 0)[0]
        if not ready:
            self.clock.sleep(left_s)
        return ready

    def _longest_wait_s(self) -> float | None:
        """Return the wall time after which :meth:`_serve` is wanted although nothing came; None for never."""
        return None

    def _sources(self) -> Sequence[Source | int]:
        raise NotImplementedError

    def _serve(self, ready: list[Source | int]) -> None:
        raise NotImplementedError

    def _transmit(self, data: bytes) -> None:
        raise NotImplementedError

    def _drop(self) -> None:
        """Part from the present client."""

    def _close(self) -> None:
        """Release the transport; called after the thread has ended."""


class TcpServer(Server):
    """Serves one client after another on loopback; the next one waits in the queue of the listener.

    :param port: 0 for any free one.
    """

    def __init__(self, wire: Wire, clock: Clock, port: int = 0) -> None:
        super().__init__(wire, clock)
        self._listener = socket.create_server((LOOPBACK, port))
        self._client: socket.socket | None = None

    host = LOOPBACK

    @property
    def port(self) -> int:
        """Port the server listens on."""
        return int(self._listener.getsockname()[1])

    @property
    def resource(self) -> str:
        """VISA resource name of this server."""
        return f"TCPIP::{LOOPBACK}::{self.port}::SOCKET"

    def _sources(self) -> Sequence[Source | int]:
        return (self._listener,) if self._client is None else (self._client,)

    def _serve(self, ready: list[Source | int]) -> None:
        if self._client is None:
            if self._listener in ready:
                self._accept()
        elif self._client in ready:
            self._read(self._client)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self._away():
            client.close()
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(SEND_TIMEOUT_S)
        self._client = client
        self.link.new_client()

    def _read(self, client: socket.socket) -> None:
        try:
            data = client.recv(CHUNK)
        except OSError:  # an abrupt reset is a way to leave, too
            data = b""
        if data:
            self.link.to_instrument(data)
        else:
            self._drop()

    def _transmit(self, data: bytes) -> None:
        if self._client is None:
            return
        try:
            self._client.sendall(data)
        except OSError:
            self._drop()

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _close(self) -> None:
        self._drop()
        self._listener.close()


BITS_PER_BYTE = 10
"""Start bit, eight data bits, stop bit."""


class PtyServer(Server):
    """Serves on a pseudo-terminal. It has no notion of a connection: whoever opens the device talks.

    To hang up is to pull the plug behind the adapter: what is said meanwhile is lost.

    What is said at another speed than the instrument's arrives as noise, in both directions.

    :raises NotImplementedError: on Windows.
    """

    def __init__(self, wire: Wire, clock: Clock) -> None:
        self._master, self._slave, self._path = _open_raw()
        super().__init__(wire, clock)
        self.link.filters.append(WrongSpeed(self._slave, wire))

    @property
    def resource(self) -> str:
        """VISA resource name of this server."""
        return f"ASRL{self._path}::INSTR"

    @property
    def path(self) -> str:
        """Device file a serial library opens."""
        return self._path

    def _sources(self) -> Sequence[Source | int]:
        return (self._master,)

    def _serve(self, ready: list[Source | int]) -> None:
        if self._master in ready:
            with contextlib.suppress(BlockingIOError):
                data = os.read(self._master, CHUNK)
                if not self._away():
                    self.link.to_instrument(data)

    def _transmit(self, data: bytes) -> None:
        if self._away():
            return
        with contextlib.suppress(Aborted):
            self.clock.sleep(len(data) * BITS_PER_BYTE / self.wire.baud_rate, self._stopping)
        with contextlib.suppress(BlockingIOError):  # nobody reads: a serial line loses what does not fit
            os.write(self._master, data)

    def _close(self) -> None:
        os.close(self._master)
        os.close(self._slave)


class WrongSpeed:
    """Garbles what passes while the client's baud rate differs from the instrument's.

    :param slave: descriptor of the client's end, kept open so that its line settings can be read.
    """

    def __init__(self, slave: int, wire: Wire) -> None:
        self._slave, self._wire = slave, wire

    def to_instrument(self, data: bytes) -> bytes:
        """Return what the instrument's receiver makes of it."""
        return data if self._agrees() else at_wrong_speed(data)

    def to_client(self, data: bytes) -> bytes:
        """Return what the client's receiver makes of it."""
        return data if self._agrees() else at_wrong_speed(data)

    def _agrees(self) -> bool:
        return _has_speed(self._slave, self._wire.baud_rate)


if sys.platform == "win32":

    def _open_raw() -> tuple[int, int, str]:
        raise NotImplementedError("pseudo-terminals exist on POSIX only; use transport tcp")

    def _has_speed(slave: int, baud_rate: int) -> bool:
        raise NotImplementedError

else:
    import termios
    import tty

    def _open_raw() -> tuple[int, int, str]:
        """Open a pair of ends, and name the second; what a terminal does to bytes is off, 9600 baud set."""
        master, slave = os.openpty()
        os.set_blocking(master, False)
        tty.setraw(slave)
        settings = termios.tcgetattr(slave)
        settings[4] = settings[5] = termios.B9600  # as Linux does
        termios.tcsetattr(slave, termios.TCSANOW, settings)
        return master, slave, os.ttyname(slave)

    def _has_speed(slave: int, baud_rate: int) -> bool:
        """Return whether the line is set to this speed."""
        return bool(termios.tcgetattr(slave)[4] == getattr(termios, f"B{baud_rate}"))


def at_wrong_speed(data: bytes) -> bytes:
    """Return bytes as a receiver of the wrong speed sees them: too few, with high bits set."""
    return bytes(0x80 | (byte ^ 0x5A) for byte in data[::2])
