"""USB Test and Measurement Class with the subclass USB488: messages of text in transfers with a tag.

Source: USBTMC specification, revision 1.0, sections 3 and 4; USB488 subclass specification, revision 1.0. An
answer that nobody fetched is thrown away at the next message and counts as an error, as does one that is
asked for without a question (IEEE 488.2, message exchange protocol).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from simulators.usb.device import IN, DeviceInfo, EndpointInfo, Mishap, Setup, StalledError, UsbDevice

MESSAGE_OUT, REQUEST_IN, MESSAGE_IN, TRIGGER = 1, 2, 2, 128
HEADER = struct.Struct("<BBBxLBBxx")
END_OF_MESSAGE = 1
SUCCESS, FAILED, NOT_IN_PROGRESS = 0x01, 0x80, 0x81
ABORT_OUT, CHECK_OUT, ABORT_IN, CHECK_IN, CLEAR, CHECK_CLEAR, CAPABILITIES, INDICATE = 1, 2, 3, 4, 5, 6, 7, 64
STATUS_BYTE, REMOTE, LOCAL, LOCKOUT = 128, 160, 161, 162
INTERFACE_CLASS = (0xFE, 0x03, 0x01)
UNTERMINATED, INTERRUPTED = -420, -410
LONGEST_MESSAGE = 1 << 16
UNREAD, WRONG_TAG = Mishap("unread"), Mishap("wrong tag")


class UsbTmc(UsbDevice):
    """One instrument of the class.

    :param report: enters the number of an error into the instrument's queue.
    :param works: says whether the instrument is still busy with a question.
    """

    def __init__(self, info: DeviceInfo, report: Callable[[int], None], works: Callable[[], bool]) -> None:
        super().__init__(info)
        self._report, self._works = report, works
        self._bulk_in = next(e.address for e in info.endpoints if e.address & IN)
        self._message = b""
        self._answer = b""
        self._asked: tuple[int, int] | None = None

    @property
    def resource(self) -> str:
        """VISA resource name of the instrument."""
        info = self.info
        return f"USB0::0x{info.vendor_id:04X}::0x{info.product_id:04X}::{info.serial}::INSTR"

    def check(self, endpoint: int, data: bytes) -> None:
        """Refuse what has no sound header.

        :raises StalledError: it has none.
        """
        del endpoint
        if len(data) < HEADER.size:
            raise StalledError
        kind, tag, inverse, *_ = HEADER.unpack_from(data)
        if kind not in (MESSAGE_OUT, REQUEST_IN, TRIGGER) or tag == 0 or tag ^ inverse != 0xFF:
            raise StalledError

    def receive(self, endpoint: int, data: bytes) -> None:
        """Take a part of a message, or a request for an answer."""
        del endpoint
        kind, tag, _, size, attributes, _ = HEADER.unpack_from(data)
        if kind == MESSAGE_OUT:
            self._message += data[HEADER.size : HEADER.size + size]
            if attributes & END_OF_MESSAGE or len(self._message) > LONGEST_MESSAGE:
                message, self._message = self._message, b""
                self._begin(message)
        elif kind == REQUEST_IN:
            self._asked = (tag, size)
            if not self._answer and not self._works():
                self._report(UNTERMINATED)
            self._deliver()

    def _begin(self, message: bytes) -> None:
        """Hand a program message on; its end is an end of line, whatever its last byte."""
        if self._answer or self.pipes[self._bulk_in].waits:
            self._answer = b""
            self.pipes[self._bulk_in].clear()
            self._report(INTERRUPTED)
        self.say(message if message.endswith(b"\n") else message + b"\n")

    def hear(self, data: bytes) -> None:
        """Keep an answer until it is asked for."""
        self._answer += data
        self._deliver()

    def _deliver(self) -> None:
        if self._asked is None or not self._answer:
            return
        (tag, size), self._asked = self._asked, None
        if self.mishap == UNREAD:  # the host will not get it, and the next message finds it unread
            self.mishap = None
            return
        part, self._answer = self._answer[:size], self._answer[size:]
        if self.mishap == WRONG_TAG:
            tag, self.mishap = tag % 255 + 1, None
        end = 0 if self._answer else END_OF_MESSAGE
        head = HEADER.pack(MESSAGE_IN, tag, tag ^ 0xFF, len(part), end, 0)
        transfer = head + part + bytes(-len(part) % 4)
        spoilt = self.mishap is not None
        self.send(self._bulk_in, transfer)
        pipe = self.pipes[self._bulk_in]
        if len(transfer) % pipe.packet_bytes == 0 and not spoilt:
            pipe.put(b"")

    def reset(self) -> None:
        """Forget half a message and what was asked for."""
        self._message = self._answer = b""
        self._asked = None
        super().reset()

    def request(self, setup: Setup, data: bytes) -> bytes:
        """Answer a request of the class.

        :raises StalledError: it is not supported.
        """
        del data
        answers: dict[int, Callable[[Setup], bytes]] = {
            ABORT_OUT: lambda _: bytes((NOT_IN_PROGRESS, 0)),
            CHECK_OUT: lambda _: bytes((SUCCESS,)) + bytes(7),
            ABORT_IN: self._abort_in,
            CHECK_IN: lambda _: bytes((SUCCESS,)) + bytes(7),
            CLEAR: self._clear,
            CHECK_CLEAR: lambda _: bytes((SUCCESS, 0)),
            CAPABILITIES: lambda _: struct.pack("<BxHBB6xHBB8x", SUCCESS, 0x0100, 0, 0, 0x0100, 0x06, 0),
            INDICATE: lambda _: bytes((SUCCESS,)),
            STATUS_BYTE: lambda s: bytes((SUCCESS, s.value & 0x7F, 0)),
            REMOTE: lambda _: bytes((SUCCESS,)),
            LOCAL: lambda _: bytes((SUCCESS,)),
            LOCKOUT: lambda _: bytes((SUCCESS,)),
        }
        answer = answers.get(setup.request)
        if answer is None:
            raise StalledError
        return answer(setup)

    def _abort_in(self, setup: Setup) -> bytes:
        """End the transfer of an answer; the host then reads on up to a short packet."""
        if self._asked is None or setup.value & 0xFF != self._asked[0]:
            return bytes((NOT_IN_PROGRESS, setup.value & 0xFF))
        tag, self._asked = self._asked[0], None
        self.pipes[self._bulk_in].put(b"")
        return bytes((SUCCESS, tag))

    def _clear(self, _: Setup) -> bytes:
        self._message = self._answer = b""
        self._asked = None
        self.pipes[self._bulk_in].clear()
        self.start_afresh()
        return bytes((SUCCESS,))


def console(serial: str, report: Callable[[int], None], works: Callable[[], bool]) -> UsbTmc:
    """Return the plug of a Thorlabs PM100D; see :class:`UsbTmc` for ``report`` and ``works``.

    Vendor and product number are those of the maker's own example. Numbers of the endpoints and full
    speed are choices of this simulator.
    """
    info = DeviceInfo(
        0x1313, 0x8078, "Thorlabs", "PM100D", serial, INTERFACE_CLASS,
        (EndpointInfo(0x01, 64), EndpointInfo(0x82, 64)), speed=2,
    )  # fmt: skip
    return UsbTmc(info, report, works)
