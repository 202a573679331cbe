"""A USB bus without hardware: a pyusb backend with one USBTMC console on it, whose calls can be made to hang.

Put in place of libusb's, it stands under unmodified pyusb, pyvisa-py and pymeasure. What hangs does so for
ever, in the library's own thread, as a device does that answers no transfer and a system that ends none.
"""

from __future__ import annotations

import errno
import struct
import threading
import time
from array import array
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
import usb.backend.libusb1
import usb.core
from usb.backend import IBackend

from labctl.model.clock import ScaledClock
from simulators.link import Wire

SERIAL = "P0012345"
RESOURCE = f"USB0::0x1313::0x8078::{SERIAL}::INSTR"
BULK_OUT, BULK_IN = 0x01, 0x82
PACKET = 512
GET_DESCRIPTOR, GET_CAPABILITIES, REN_CONTROL = 6, 7, 160
NO_TRANSFER = 0x81
STRINGS = {1: "Thorlabs", 2: "PM100D", 3: SERIAL}
LOOK_S = 0.001


class Unplugged(usb.core.USBError):  # type: ignore[misc,unused-ignore]
    def __init__(self) -> None:
        super().__init__("No such device (it may have been disconnected)", -4, errno.ENODEV)


class UsbStandIn(IBackend):  # type: ignore[misc,unused-ignore]
    """The bus and its console.

    :ivar hangs: names of methods that never return; ``"bulk_read"``, ``"open_device"`` and so on.
    :ivar stuck: calls that hang at present, by name.
    :ivar questions: how often an answer was asked for, and ``messages`` what was sent.
    """

    def __init__(self, wire: Wire | None = None) -> None:
        self.wire = wire
        self.clock = wire.clock if wire is not None else ScaledClock()
        self.hangs: set[str] = set()
        self.stuck: list[str] = []
        self.unplugged = False
        self.messages: list[str] = []
        self.questions = 0
        self.handles = 0
        self._claimed: int | None = None
        self._tag = 0
        self._answers: deque[bytes] = deque()
        self._let_go = threading.Event()
        self._wire_lock = threading.RLock()
        if wire is not None:
            wire.attach(self._answers.append)

    def let_go(self) -> None:
        """Let what hangs end, with an error; only so that a test leaves no threads behind."""
        self.hangs.clear()
        self._let_go.set()

    def _passes(self, name: str) -> None:
        if name in self.hangs:
            self.stuck.append(name)
            while not self._let_go.wait(3600.0):
                pass
            raise Unplugged
        if self.unplugged:
            raise Unplugged

    # -- what is on the bus --------------------------------------------------------------------------

    def enumerate_devices(self) -> Any:
        self._passes("enumerate_devices")
        return iter(() if self.unplugged else ("console",))

    def get_parent(self, dev: object) -> None:
        return None

    def get_device_descriptor(self, dev: object) -> Any:
        return SimpleNamespace(
            bLength=18, bDescriptorType=1, bcdUSB=0x0200, bDeviceClass=0, bDeviceSubClass=0,
            bDeviceProtocol=0,
            bMaxPacketSize0=64, idVendor=0x1313, idProduct=0x8078, bcdDevice=0x0100, iManufacturer=1,
            iProduct=2, iSerialNumber=3, bNumConfigurations=1, address=5, bus=1, port_number=1,
            port_numbers=(1,), speed=2,
        )  # fmt: skip

    def get_configuration_descriptor(self, dev: object, config: int) -> Any:
        if config:
            raise IndexError(config)
        return SimpleNamespace(
            bLength=9, bDescriptorType=2, wTotalLength=32, bNumInterfaces=1, bConfigurationValue=1,
            iConfiguration=0, bmAttributes=0x80, bMaxPower=50, extra_descriptors=[],
        )  # fmt: skip

    def get_interface_descriptor(self, dev: object, intf: int, alt: int, config: int) -> Any:
        if intf or alt or config:
            raise IndexError(intf)
        return SimpleNamespace(
            bLength=9, bDescriptorType=4, bInterfaceNumber=0, bAlternateSetting=0, bNumEndpoints=2,
            bInterfaceClass=0xFE, bInterfaceSubClass=3, bInterfaceProtocol=1, iInterface=0,
            extra_descriptors=[],
        )  # fmt: skip

    def get_endpoint_descriptor(self, dev: object, ep: int, intf: int, alt: int, config: int) -> Any:
        address = (BULK_OUT, BULK_IN)[ep]
        return SimpleNamespace(
            bLength=7, bDescriptorType=5, bEndpointAddress=address, bmAttributes=2, wMaxPacketSize=PACKET,
            bInterval=0, bRefresh=0, bSynchAddress=0, extra_descriptors=[],
        )  # fmt: skip

    # -- one device ----------------------------------------------------------------------------------

    def open_device(self, dev: object) -> int:
        self._passes("open_device")
        self.handles += 1
        return self.handles

    def close_device(self, dev_handle: int) -> None:
        self._passes("close_device")
        if self._claimed == dev_handle:
            self._claimed = None

    def get_configuration(self, dev_handle: int) -> int:
        self._passes("get_configuration")
        return 1

    def set_configuration(self, dev_handle: int, config_value: int) -> None:
        self._passes("set_configuration")

    def set_interface_altsetting(self, dev_handle: int, intf: int, altsetting: int) -> None:
        """Nothing to set."""

    def is_kernel_driver_active(self, dev_handle: int, intf: int) -> bool:
        return False

    def claim_interface(self, dev_handle: int, intf: int) -> None:
        if self._claimed not in (None, dev_handle):
            raise usb.core.USBError("Resource busy", -6, errno.EBUSY)
        self._claimed = dev_handle

    def release_interface(self, dev_handle: int, intf: int) -> None:
        self._passes("release_interface")
        if self._claimed == dev_handle:
            self._claimed = None

    def free_claim(self) -> None:
        """As after unplugging and plugging in again: nobody holds the interface."""
        self._claimed = None

    def ctrl_transfer(
        self,
        dev_handle: int,
        request_type: int,
        request: int,
        value: int,
        index: int,
        data: Any,
        timeout: int,
    ) -> int:
        self._passes("ctrl_transfer")
        if request == GET_DESCRIPTOR and value >> 8 == 3:
            text = STRINGS.get(value & 0xFF, "").encode("utf-16-le")
            answer = bytes((len(text) + 2, 3)) + text if value & 0xFF else bytes((4, 3, 0x09, 0x04))
        elif request == GET_CAPABILITIES:
            answer = bytes((1, 0, 0, 1)) + bytes(10) + bytes((0x04,)) + bytes(9)
        else:
            answer = bytes((NO_TRANSFER, 0))
        answer = answer[: len(data)]
        data[: len(answer)] = array("B", answer)
        return len(answer)

    def bulk_write(self, dev_handle: int, ep: int, intf: int, data: Any, timeout: int) -> int:
        self._passes("bulk_write")
        raw = data.tobytes()
        kind, tag = raw[0], raw[1]
        if kind == 2:
            self._tag = tag
            self.questions += 1
            return len(raw)
        (size,) = struct.unpack_from("<L", raw, 4)
        text = raw[12 : 12 + size]
        self.messages.append(text.decode().strip())
        with self._wire_lock:
            if self.wire is not None:
                self.wire.receive(text)
        return len(raw)

    def bulk_read(self, dev_handle: int, ep: int, intf: int, buff: Any, timeout: int) -> int:
        self._passes("bulk_read")
        end = time.monotonic() + timeout / 1000
        never = threading.Event()
        while not (answer := self._answer()):
            if time.monotonic() > end:
                raise usb.core.USBTimeoutError("Operation timed out", -7, errno.ETIMEDOUT)
            never.wait(LOOK_S)
        header = struct.pack("<BBBxLBxxx", 2, self._tag, ~self._tag & 0xFF, len(answer), 1)
        whole = header + answer + bytes(-len(answer) % 4)
        buff[: len(whole)] = array("B", whole)
        return len(whole)

    def _answer(self) -> bytes:
        with self._wire_lock:
            due_s = self.wire.due_s() if self.wire is not None else None
            if self.wire is not None and due_s is not None and self.clock.now_s() >= due_s:
                self.wire.wake()
            return self._answers.popleft() if self._answers else b""


def put_in_place(backend: UsbStandIn, patch: pytest.MonkeyPatch | None = None) -> None:
    """Have pyusb find this bus and no other."""

    def get_backend(find_library: object = None) -> UsbStandIn:
        return backend

    if patch is None:
        usb.backend.libusb1.get_backend = get_backend
    else:
        patch.setattr(usb.backend.libusb1, "get_backend", get_backend)
