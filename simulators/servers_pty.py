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
        return data if self._agrees() else _noise(data)

    def to_client(self, data: bytes) -> bytes:
        """Return what the client's receiver makes of it."""
        return data if self._agrees() else _noise(data)

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


def _noise(data: bytes) -> bytes:
    """Return bytes as a receiver of the wrong speed sees them: too few, with high bits set."""
    return bytes(0x80 | (byte ^ 0x5A) for byte in data[::2])
