"""What travels on an Elliptec bus: status codes, frames and what a module says of itself (ELLx protocol)."""

from __future__ import annotations

import re
from dataclasses import dataclass

ELL14_TYPE = 0x0E
ELL20_TYPE = 0x14
BUSY = 9
STATUS_TEXT = (
    "ok",
    "communication time-out",
    "mechanical time-out",
    "command not supported",
    "value out of range",
    "module isolated",
    "module out of isolation",
    "initialising",
    "thermal error",
    "busy",
    "sensor error",
    "motor error",
    "out of range",
    "over-current",
)
ANSWER = {"in": "IN", "gs": "GS", "gp": "PO", "ma": "PO", "ho": "PO"}
FRAME = re.compile(r"[0-9A-F][A-Z]{2}[0-9A-F]*")


@dataclass(frozen=True, slots=True)
class Module:
    """What ``in`` announces: ``travel`` in degrees or mm, ``pulses`` of a revolution or of a mm."""

    type: int
    serial: str
    firmware: str
    travel: int
    pulses: int


def parse_module(payload: str) -> Module:
    """Parse the data of ``IN``: type, serial, year, firmware, hardware, travel, pulses.

    :raises ValueError: it has another length, or no pulses.
    """
    if len(payload) != 30 or int(payload[22:], 16) == 0:
        raise ValueError(payload)
    travel, pulses = int(payload[18:22], 16), int(payload[22:], 16)
    return Module(int(payload[:2], 16), payload[2:10], payload[14:16], travel, pulses)


def parse_position(payload: str) -> int:
    """Parse eight hex digits, two's complement.

    >>> parse_position("FFFFFFFF")
    -1
    """
    if len(payload) != 8:
        raise ValueError(payload)
    value = int(payload, 16)
    return value - (1 << 32) if value >= 1 << 31 else value
