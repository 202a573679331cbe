"""An FTDI FT230X between the bus and a serial line: every packet to the host begins with two bytes of status.

Source: FTDI application notes AN232B-04 (latency timer, status bytes) and AN232B-05 (divisors); ftdi_sio.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from simulators.servers import at_wrong_speed
from simulators.usb.device import FULL_SPEED, DeviceInfo, EndpointInfo, Setup, StalledError, UsbDevice

RESET, MODEM, FLOW, BAUD_RATE, LINE, STATUS, EVENT, ERROR = 0, 1, 2, 3, 4, 5, 6, 7
SET_LATENCY, GET_LATENCY, BIT_MODE, PINS, EEPROM = 9, 10, 11, 12, 0x90
TAKEN = (MODEM, FLOW, LINE, EVENT, ERROR, BIT_MODE)
"""Settings that change nothing here."""
PURGE_FROM_LINE = 1
CLEAR_TO_SEND, EMPTY = 0xB1, 0x60
PACKET = 64
CLOCK_HZ = 3_000_000
EIGHTHS = (0, 4, 2, 1, 3, 5, 6, 7)
"""Part of the divisor, in eighths, by the code of three bits that stands for it."""
Named = tuple[int, str, str]
FT230X: Named = (0x6015, "FTDI", "FT230X Basic UART")
APT: Named = (0xFAF0, "Thorlabs", "APT")
"""As in the controllers of the APT family; the name of the product is this simulator's choice."""
AGREES_REL = 0.03
"""How far two serial ports may be apart, as usual."""


def baud_rate(value: int, index: int) -> float:
    """Return the speed that a host has chosen.

    >>> round(baud_rate(0x4138, 0)), round(baud_rate(0x001A, 0)), round(baud_rate(0, 0))
    (9600, 115385, 3000000)
    """
    whole, code = value & 0x3FFF, value >> 14 | (index & 1) << 2
    if whole <= 1 and code == 0:
        return (CLOCK_HZ, 2_000_000)[whole]
    return CLOCK_HZ / max(whole + EIGHTHS[code] / 8.0, 1.0)


class Ftdi(UsbDevice):
    """One bridge; what the serial line carries at another speed than the instrument's arrives as noise.

    :param wire: returns the instrument at its end.
    :param named: number of the product, its maker and its name, where the maker has written his own into it.
    """

    def __init__(self, serial: str, wire: Callable[[], Any], named: Named = FT230X) -> None:
        ways = EndpointInfo(0x81, PACKET), EndpointInfo(0x02, PACKET)
        kind = (0xFF, 0xFF, 0xFF)
        product_id, maker, name = named
        super().__init__(DeviceInfo(0x0403, product_id, maker, name, serial, kind, ways, FULL_SPEED, 0x1000))
        self._wire = wire
        self._baud_rate = 9600.0
        self._set_latency(16)

    @property
    def resource(self) -> str:
        """VISA resource name under Linux, where the port has a name of its own."""
        name = f"{self.info.manufacturer}_{self.info.product}_{self.info.serial}".replace(" ", "_")
        return f"ASRL/dev/serial/by-id/usb-{name}-if00-port0::INSTR"

    def _set_latency(self, milliseconds: int) -> None:
        self._latency_ms, self.idle_s = milliseconds, milliseconds / 1000.0

    def _agrees(self) -> bool:
        rate: int = self._wire().baud_rate
        return abs(self._baud_rate / rate - 1.0) < AGREES_REL

    def receive(self, endpoint: int, data: bytes) -> None:
        """Send what the host wrote along the line."""
        del endpoint
        self.say(data if self._agrees() else at_wrong_speed(data))

    def hear(self, data: bytes) -> None:
        """Send what came along the line to the host, in packets that begin with the status."""
        heard = data if self._agrees() else at_wrong_speed(data)
        for at in range(0, len(heard), PACKET - 2):
            self.send(0x81, bytes((CLEAR_TO_SEND, EMPTY)) + heard[at : at + PACKET - 2])

    def idle(self) -> None:
        """Send the status alone: the latency timer has run out."""
        self.pipes[0x81].put(bytes((CLEAR_TO_SEND, EMPTY)))

    def request(self, setup: Setup, data: bytes) -> bytes:
        """Answer a request of the maker.

        :raises StalledError: it is not supported.
        """
        del data
        if setup.request == RESET:
            if setup.value <= PURGE_FROM_LINE:
                self.pipes[0x81].clear()
        elif setup.request == BAUD_RATE:
            self._baud_rate = baud_rate(setup.value, setup.index)
        elif setup.request == SET_LATENCY:
            self._set_latency(max(setup.value & 0xFF, 1))
        elif setup.request == GET_LATENCY:
            return bytes((self._latency_ms,))
        elif setup.request == STATUS:
            return bytes((CLEAR_TO_SEND, EMPTY))
        elif setup.request == PINS:
            return b"\0"
        elif setup.request == EEPROM:
            return struct.pack("<H", 0xFFFF)
        elif setup.request not in TAKEN:
            raise StalledError
        return b""
