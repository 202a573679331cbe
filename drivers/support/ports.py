"""Opening a VISA resource with a device's settings, and saying why where it cannot be opened."""

from __future__ import annotations

import select
import socket
from dataclasses import dataclass
from typing import Any

from pymeasure.adapters import VISAAdapter

from drivers.support.failures import not_connected
from drivers.support.hints import opening_hint
from drivers.support.libusb import use_packaged_libusb


@dataclass(frozen=True, slots=True)
class Port:
    """How a device talks: serial settings, line ends and how long an answer may take (wall seconds)."""

    baud_rate: int
    read_termination: str
    write_termination: str
    timeout_s: float


def open_adapter(role: str, resource: str, port: Port, visa_library: str) -> VISAAdapter:
    """Open a VISA resource with the settings of ``port``; sockets get the terminations only.

    :raises NotConnected: it cannot be opened, with what to try.
    """
    if resource.upper().startswith("USB") and visa_library == "@py":
        use_packaged_libusb()
    try:
        adapter = VISAAdapter(
            resource,
            visa_library,
            read_termination=port.read_termination,
            write_termination=port.write_termination,
            timeout=round(port.timeout_s * 1000),
            open_timeout=3000,
            asrl={"baud_rate": port.baud_rate},
        )
        _claim(adapter)
    except Exception as exc:
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise not_connected(role, resource, reason, opening_hint(resource, exc)) from exc
    return adapter


def peer_has_closed(adapter: Any) -> bool:
    """Return whether the other end of a socket has closed it, which pyvisa-py takes for a time-out."""
    try:
        connection = adapter.connection
        sessions: Any = getattr(connection.visalib, "sessions", {})
        line: Any = getattr(sessions.get(connection.session), "interface", None)
        if not isinstance(line, socket.socket):
            return False
        readable, _, _ = select.select([line], [], [], 0)
        return bool(readable) and line.recv(1, socket.MSG_PEEK) == b""
    except (OSError, ValueError):  # reset, or closed on this side
        return True
    except Exception:  # noqa: BLE001  another kind of adapter or library
        return False


def _claim(adapter: VISAAdapter) -> None:
    """Keep a second program off a POSIX serial port, which would otherwise open it without a word."""
    sessions: Any = getattr(adapter.connection.visalib, "sessions", {})
    interface: Any = getattr(sessions.get(adapter.connection.session), "interface", None)
    if hasattr(interface, "exclusive"):
        try:
            interface.exclusive = True
        except OSError:
            adapter.close()
            raise
