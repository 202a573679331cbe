"""Why a connection failed and what to try, in the words every driver uses."""

from __future__ import annotations

import sys

from labctl.model.errors import ConnectionFailure, InstrumentError, NotConnected


class ConnectionLost(InstrumentError):  # noqa: N818
    """The line was cut; the next command connects anew and checks who is there."""


class ConnectionHangs(InstrumentError):  # noqa: N818
    """A call did not come back, and its connection was given up; the next command tries a new one.

    Not repeated at once like what was merely lost: whoever waits for it has waited long enough.
    """


def not_connected(role: str, resource: str, reason: str, hint: str) -> NotConnected:
    """Return the error for one instrument that could not be reached."""
    return NotConnected((ConnectionFailure(role, resource, reason, hint),))


THORLABS_USB = ("0X1313", "::4883::")
HELD_WORDS = ("exclusively lock", "busy", "in use", "access is denied")
NO_LIBRARY_WORDS = ("error while accessing", "open visa library", "locate a visa", "wrapper not found")
CLOSE_THE_OTHER = "close the vendor's software or any other program that holds the port"


def opening_hint(resource: str, error: BaseException) -> str:
    """Return advice for an address that could not be opened."""
    text = f"{type(error).__name__} {error}".lower()
    upper = resource.upper()
    if "backend" in text or "libusb" in text:
        return "install a libusb: python -m pip install libusb-package"
    if any(word in text for word in NO_LIBRARY_WORDS):
        return 'check visa_library: "@py" needs no installer, "@ivi" the vendor\'s VISA'
    if any(word in text for word in HELD_WORDS):
        return CLOSE_THE_OTHER
    if "permission" in text:
        return _no_rights(upper)
    if upper.startswith("USB"):
        return _usb_hint(upper)
    if upper.startswith("ASRL"):
        return "check the name of the port and that the cable is plugged in"
    if upper.startswith("TCPIP"):
        return "check host and port, and that the instrument or the simulator is running"
    return "check the VISA resource name and visa_library"


def silence_hint(resource: str, baud_rate: int) -> str:
    """Return advice for an address that opens but does not answer."""
    upper = resource.upper()
    if upper.startswith("ASRL"):
        return f"check power, address, port and baud rate (this driver uses {baud_rate})"
    if upper.startswith("TCPIP"):
        return "check that the instrument or the simulator listens at this host and port"
    return _usb_hint(upper)


def hanging_hint(resource: str) -> str:
    """Return advice for a connection that neither answers nor fails."""
    if resource.upper().startswith("TCPIP"):
        return "check the network, power-cycle the instrument, then connect again"
    return "unplug the instrument and plug it in again, then connect again"


def _no_rights(upper: str) -> str:
    windows = sys.platform == "win32"
    if windows:
        return CLOSE_THE_OTHER
    if upper.startswith("USB"):
        return "a udev rule is missing for this USB device: see docs, 'First bench'"
    return "add yourself to the group that owns the port (dialout or uucp) and log in again"


def _usb_hint(upper: str) -> str:
    windows = sys.platform == "win32"
    if any(vendor in upper for vendor in THORLABS_USB):
        if windows:
            return (
                "Thorlabs' own TLPM driver may hold the meter: switch it to the NI-VISA (USBTMC) driver "
                "with the Power Meter Driver Switcher, or close the vendor's software"
            )
        return "check the cable; on Linux a udev rule for vendor 1313 gives access without root"
    return "check the cable, the udev rule (Linux) or the USB driver (Windows), and that no program holds it"
