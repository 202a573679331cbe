"""Opening a VISA resource with a device's settings, and saying why where it cannot be opened."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache

from pymeasure.adapters import VISAAdapter

from drivers.support.failures import hanging_hint, not_connected, opening_hint
from drivers.support.session import LOAD_S, Hangs, VisaSession, claim, load_visa
from labctl.model.errors import Aborted

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
