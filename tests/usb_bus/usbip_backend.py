"""A pyusb backend over USB/IP. In place of libusb's it stands under unmodified pyvisa-py and pyseabreeze."""

from __future__ import annotations

import errno
import os
import struct
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import usb.backend.libusb1
import usb.core
from usb.backend import IBackend
from usbip_client import Attached, Bus, Listed, UsbFailure

ADDRESS = "LABCTL_TEST_USBIP"
"""Environment variable: HOST:PORT of the bus, for processes that a test starts."""
GET_DESCRIPTOR, GET_CONFIGURATION, SET_CONFIGURATION, CLEAR_FEATURE = 6, 8, 9, 1
DEVICE, CONFIGURATION, STRING = 1, 2, 3
LIBUSB = {
    errno.ENODEV: ("No such device (it may have been disconnected)", -4),
    errno.EBUSY: ("Resource busy", -6),
    errno.EOVERFLOW: ("Overflow", -8),
    errno.EPIPE: ("Pipe error", -9),
}
DEVICE_FIELDS = (
    "bLength", "bDescriptorType", "bcdUSB", "bDeviceClass", "bDeviceSubClass", "bDeviceProtocol",
    "bMaxPacketSize0", "idVendor", "idProduct", "bcdDevice", "iManufacturer", "iProduct", "iSerialNumber",
    "bNumConfigurations",
)  # fmt: skip
CONFIGURATION_FIELDS = (
    "bLength", "bDescriptorType", "wTotalLength", "bNumInterfaces", "bConfigurationValue", "iConfiguration",
    "bmAttributes", "bMaxPower",
)  # fmt: skip
INTERFACE_FIELDS = (
    "bLength", "bDescriptorType", "bInterfaceNumber", "bAlternateSetting", "bNumEndpoints", "bInterfaceClass",
    "bInterfaceSubClass", "bInterfaceProtocol", "iInterface",
)  # fmt: skip
ENDPOINT_FIELDS = (
    "bLength",
    "bDescriptorType",
    "bEndpointAddress",
    "bmAttributes",
    "wMaxPacketSize",
    "bInterval",
)


def _fields(names: tuple[str, ...], layout: str, data: bytes, **more: object) -> SimpleNamespace:
    values = struct.unpack_from(layout, data)
    return SimpleNamespace(**dict(zip(names, values, strict=True)), extra_descriptors=[], **more)


@dataclass(frozen=True, slots=True)
class Known:
    """A device of the bus and its descriptors, as far as they could be read."""

    listed: Listed
    device: bytes
    configuration: bytes
    strings: tuple[bytes, ...] = ()


def _unread(listed: Listed) -> Known:
    """Return what the list of the bus says of a device that another program holds."""
    device = struct.pack(
        "<BBHBBBBHHHBBBB",
        18,
        DEVICE,
        0x0200,
        0,
        0,
        0,
        64,
        listed.vendor_id,
        listed.product_id,
        0,
        0,
        0,
        0,
        1,
    )
    interfaces = b"".join(
        struct.pack("<BBBBBBBBB", 9, 4, number, 0, 0, *kind, 0)
        for number, kind in enumerate(listed.interfaces)
    )
    head = struct.pack(
        "<BBHBBBBB", 9, CONFIGURATION, 9 + len(interfaces), len(listed.interfaces), 1, 0, 128, 50
    )
    return Known(listed, device, head + interfaces)


class Handle:
    """An opened device: what is known of it is read at once, for all else it is attached, until it is closed.

    So it is with a kernel: anybody reads descriptors, and one program claims the interface.
    """

    def __init__(self, backend: UsbIpBackend, known: Known) -> None:
        self.known = known
        self._backend = backend
        self._line: Attached | None = None

    @property
    def attached(self) -> bool:
        return self._line is not None

    @property
    def line(self) -> Attached:
        if self._line is None:
            with self._backend.translated():
                self._line = self._backend.bus.attach(self.known.listed.bus_id)
        return self._line

    def close(self) -> None:
        if self._line is not None:
            self._line.close()


class UsbIpBackend(IBackend):  # type: ignore[misc,unused-ignore]
    """All devices of one USB/IP bus."""

    def __init__(self, address: str) -> None:
        self.bus = Bus(address)
        self._known: dict[Listed, Known] = {}

    @contextmanager
    def translated(self) -> Iterator[None]:
        try:
            yield
        except ConnectionError as exc:  # nobody serves the bus any more
            text, code = LIBUSB[errno.ENODEV]
            raise usb.core.USBError(text, code, errno.ENODEV) from exc
        except UsbFailure as exc:
            if exc.number == errno.ETIMEDOUT:
                raise usb.core.USBTimeoutError("Operation timed out", -7, errno.ETIMEDOUT) from exc
            text, code = LIBUSB.get(exc.number, ("Input/Output Error", -1))
            raise usb.core.USBError(text, code, exc.number) from exc

    # -- what is on the bus --------------------------------------------------------------------------

    def enumerate_devices(self) -> Iterator[Known]:
        for listed in self.bus.devices():
            if listed not in self._known:
                try:
                    self._known[listed] = self._looked_at(listed)
                except UsbFailure:
                    yield _unread(listed)
                    continue
            yield self._known[listed]

    def _looked_at(self, listed: Listed) -> Known:
        line = self.bus.attach(listed.bus_id)
        try:
            device = line.control(0x80, GET_DESCRIPTOR, DEVICE << 8, 0, b"", 18, 2.0)
            configuration = line.control(0x80, GET_DESCRIPTOR, CONFIGURATION << 8, 0, b"", 4096, 2.0)
            numbers = range(max(device[14:17]) + 1)
            strings = [line.control(0x80, GET_DESCRIPTOR, STRING << 8 | n, 0, b"", 255, 2.0) for n in numbers]
        finally:
            line.close()
        return Known(listed, device, configuration, tuple(strings))

    def get_parent(self, dev: Known) -> None:
        return None

    def get_device_descriptor(self, dev: Known) -> Any:
        listed = dev.listed
        return _fields(
            DEVICE_FIELDS, "<BBHBBBBHHHBBBB", dev.device, address=listed.address, bus=listed.bus,
            port_number=listed.address - 1, port_numbers=(listed.address - 1,), speed=listed.speed,
        )  # fmt: skip

    def get_configuration_descriptor(self, dev: Known, config: int) -> Any:
        if config:
            raise IndexError(config)
        return _fields(CONFIGURATION_FIELDS, "<BBHBBBBB", dev.configuration)

    def _interfaces(self, dev: Known) -> list[tuple[bytes, list[bytes]]]:
        found: list[tuple[bytes, list[bytes]]] = []
        rest = dev.configuration[9:]
        while rest:
            part, rest = rest[: rest[0]], rest[rest[0] :]
            if part[1] == 4:
                found.append((part, []))
            elif part[1] == 5:
                found[-1][1].append(part)
        return found

    def get_interface_descriptor(self, dev: Known, intf: int, alt: int, config: int) -> Any:
        if alt or config:
            raise IndexError(alt)
        return _fields(INTERFACE_FIELDS, "<BBBBBBBBB", self._interfaces(dev)[intf][0])

    def get_endpoint_descriptor(self, dev: Known, ep: int, intf: int, alt: int, config: int) -> Any:
        data = self._interfaces(dev)[intf][1][ep]
        return _fields(ENDPOINT_FIELDS, "<BBBBHB", data, bRefresh=0, bSynchAddress=0)

    # -- one device ----------------------------------------------------------------------------------

    def open_device(self, dev: Known) -> Handle:
        return Handle(self, dev)

    def close_device(self, dev_handle: Handle) -> None:
        dev_handle.close()

    def get_configuration(self, dev_handle: Handle) -> int:
        if not dev_handle.attached:
            return 1
        return self._control(dev_handle.line, 0x80, GET_CONFIGURATION, 0, 0, 1)[0]

    def set_configuration(self, dev_handle: Handle, config_value: int) -> None:
        self._control(dev_handle.line, 0x00, SET_CONFIGURATION, config_value, 0, 0)

    def set_interface_altsetting(self, dev_handle: Handle, intf: int, altsetting: int) -> None:
        """There is one setting."""

    def is_kernel_driver_active(self, dev_handle: Handle, intf: int) -> bool:
        return False

    def claim_interface(self, dev_handle: Handle, intf: int) -> None:
        with self.translated():
            dev_handle.line.control(0x80, GET_CONFIGURATION, 0, 0, b"", 1, 2.0)

    def release_interface(self, dev_handle: Handle, intf: int) -> None:
        """Given back when the device is closed."""

    def reset_device(self, dev_handle: Handle) -> None:
        self.set_configuration(dev_handle, 1)

    def clear_halt(self, dev_handle: Handle, ep: int) -> None:
        self._control(dev_handle.line, 0x02, CLEAR_FEATURE, 0, ep, 0)

    def _control(self, line: Attached, kind: int, request: int, value: int, index: int, length: int) -> bytes:
        with self.translated():
            return line.control(kind, request, value, index, b"", length, 2.0)

    def ctrl_transfer(
        self, dev_handle: Handle, kind: int, request: int, value: int, index: int, data: Any, timeout: int
    ) -> int:
        strings = dev_handle.known.strings
        known = (kind, request, value >> 8) == (0x80, GET_DESCRIPTOR, STRING) and value & 0xFF < len(strings)
        if known and not dev_handle.attached:
            came = strings[value & 0xFF][: len(data)]
            data[: len(came)] = array("B", came)
            return len(came)
        with self.translated():
            if kind & 0x80:
                came = dev_handle.line.control(kind, request, value, index, b"", len(data), timeout / 1000)
                data[: len(came)] = array("B", came)
                return len(came)
            dev_handle.line.control(kind, request, value, index, data.tobytes(), 0, timeout / 1000)
            return len(data)

    def bulk_write(self, dev_handle: Handle, ep: int, intf: int, data: Any, timeout: int) -> int:
        with self.translated():
            return dev_handle.line.write(ep, data.tobytes(), timeout / 1000)

    def bulk_read(self, dev_handle: Handle, ep: int, intf: int, buff: Any, timeout: int) -> int:
        with self.translated():
            came = dev_handle.line.read(ep, len(buff), timeout / 1000)
        buff[: len(came)] = array("B", came)
        return len(came)


def stand_in(address: str) -> None:
    """Have pyusb find this bus and no other, in this process."""
    backend = UsbIpBackend(address)

    def get_backend(find_library: object = None) -> UsbIpBackend:
        return backend

    usb.backend.libusb1.get_backend = get_backend


def stand_in_if_asked() -> None:
    """Do so in a process whose environment names a bus."""
    if address := os.environ.get(ADDRESS):
        stand_in(address)
