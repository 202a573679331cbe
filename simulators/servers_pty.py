"""Instruments on pseudo-terminals: line settings and the time a byte takes are those of a serial line.

POSIX only; the TCP server beside it works everywhere.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

from labctl.model.clock import Clock
from labctl.model.errors import Aborted
from simulators.link import Wire
from simulators.servers import CHUNK, Server, Source

BITS_PER_BYTE = 10
"""Start bit, eight data bits, stop bit."""


class PtyServer(Server):
    """Serves on a pseudo-terminal. It has no notion of a connection: whoever opens the device talks.

    To hang up is to pull the plug behind the adapter: what is said meanwhile is lost.

    What is said at another speed than the instrument's arrives as noise, in both directions.

    :raises NotImplementedError: on Windows.
    """

    def __init__(self, wire: Wire, clock: Clock) -> None:
        if sys.platform == "win32":
            raise NotImplementedError("pseudo-terminals exist on POSIX only; use transport tcp")
        super().__init__(wire, clock)
        self._master, self._slave = os.openpty()
        os.set_blocking(self._master, False)
        self._path = os.ttyname(self._slave)
        _make_raw(self._slave)
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
        return data if self._agrees() else _noise(data)

    def to_client(self, data: bytes) -> bytes:
        """Return what the client's receiver makes of it."""
        return data if self._agrees() else _noise(data)

    def _agrees(self) -> bool:
        import termios

        speed = termios.tcgetattr(self._slave)[4]
        return bool(speed == getattr(termios, f"B{self._wire.baud_rate}"))


def _make_raw(slave: int) -> None:
    """Switch off everything a terminal does to bytes, and start at 9600 baud as Linux does."""
    import termios
    import tty

    tty.setraw(slave)
    settings = termios.tcgetattr(slave)
    settings[4] = settings[5] = termios.B9600
    termios.tcsetattr(slave, termios.TCSANOW, settings)


def _noise(data: bytes) -> bytes:
    """Return bytes as a receiver of the wrong speed sees them: too few, with high bits set."""
    return bytes(0x80 | (byte ^ 0x5A) for byte in data[::2])
