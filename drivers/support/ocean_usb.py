"""Finds spectrometers on USB through seabreeze: its compiled backend first, then the pure one.

The compiled backend does not know the models sold today (SR, HR2/4/6, ST, HDX by USB), nor the USB650; the
pure one does. A device that another program holds is passed over, and never reset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from drivers.support.failures import not_connected
from drivers.support.session import use_packaged_libusb

Library = Literal["cseabreeze", "pyseabreeze"]

ROLE = "spectrometer"
NO_LIBUSB = "there is no libusb"


@dataclass(frozen=True, slots=True)
class Found:
    """One spectrometer on the bus.

    :param device: seabreeze's object, open; None where it does not open.
    :param why: why it does not open.
    """

    library: Library
    model: str
    serial: str
    device: Any = None
    why: str = ""

    def __str__(self) -> str:
        return f"{self.model} {self.serial}" if self.device is not None else f"{self.model} ({self.why})"


def on_the_bus(libraries: tuple[Library, ...]) -> Iterator[Found]:
    """Open one spectrometer after the other; whoever takes one stops here, and closes those it does not want.

    :raises NotConnected: there is no libusb.
    """
    for library in libraries:
        for device in _LISTS[library]():
            yield _opened(library, device)


def usb_device(resource: str, libraries: tuple[Library, ...]) -> Found:
    """Open the spectrometer with the serial number ``resource``, or the first that opens.

    :raises NotConnected: there is none; those that are there are named.
    """
    seen: dict[str, None] = {}
    for found in on_the_bus(libraries):
        if found.device is not None and resource in ("first", found.serial):
            _free_of_leftovers(found)
            return found
        seen[str(found)] = None
        if found.device is not None:
            found.device.close()
    reason = f"not among {', '.join(seen)}" if seen else "no spectrometer is connected"
    raise not_connected(ROLE, resource, reason, usb_advice())


def _free_of_leftovers(found: Found) -> None:
    """Reset a device of the pure backend that is ours now: a killed program may have left half an answer."""
    handle = getattr(found.device, "_raw_device", None)
    if found.library == "pyseabreeze" and handle is not None:
        found.device.close()
        with suppress(Exception):
            handle.pyusb_device.reset()
        found.device.open()


def _opened(library: Library, device: Any) -> Found:
    model = str(device.model)
    try:
        if not device.is_open:
            device.open()
        return Found(library, model, str(device.serial_number), device)
    except Exception as exc:  # noqa: BLE001  held by another program, or no right to it: the next one may be free
        with suppress(Exception):
            device.close()
        return Found(library, model, "", why=f"does not open: {str(exc).strip() or type(exc).__name__}")


def _compiled() -> list[Any]:
    from seabreeze import cseabreeze

    return list(cseabreeze.SeaBreezeAPI().list_devices())


def _pure() -> list[Any]:
    from seabreeze.pyseabreeze import api
    from seabreeze.pyseabreeze.transport import USBTransport

    if not use_packaged_libusb():
        hint = "install a libusb: python -m pip install libusb-package"
        raise not_connected(ROLE, "USB", NO_LIBUSB, hint)
    return [api._seabreeze_device_factory(handle) for handle in USBTransport.list_devices()]


_LISTS: dict[Library, Callable[[], list[Any]]] = {
    "cseabreeze": lambda: _compiled(),
    "pyseabreeze": lambda: _pure(),
}


def usb_advice() -> str:
    """Return what to try when a spectrometer on USB cannot be opened."""
    return (
        "check cable and serial number, and close other programs that hold the spectrometer; "
        "on Linux install the udev rules of 'First bench' (vendors 2457 and 0999), on Windows its USB driver"
    )
