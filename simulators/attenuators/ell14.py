"""The Thorlabs ELL14 rotation mount, and what every Elliptec module answers to one request.

Source: ELLx protocol as public drivers speak it (pylablib, thorlabs_elliptec). The bus around it, which
cuts the byte stream into requests, is in ``ell14_bus``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from labctl.model.clock import Clock

OK, MECHANICAL_TIMEOUT, UNSUPPORTED, BAD_VALUE, ISOLATED, BUSY, OUT_OF_RANGE = 0, 2, 3, 4, 5, 9, 12

ELL14_TYPE = 0x0E
PULSES_PER_TURN = 143360
FREQUENCY_BASE_HZ = 14_740_000
SEARCH_S = 2.0
"""Time a search of the motor's frequency takes here."""
LARGEST_TURNS = 10
"""Moves that end further away are refused as out of range; a choice of this simulator."""


class Mover(Protocol):
    """The part of the scene that moves; positions in its own unit, times in seconds of the scene's clock.

    ``speed_rel`` is the part of its full speed that its next motions have.
    """

    speed_rel: float

    @property
    def arrival_s(self) -> float:
        """Time at which the latest motion ends."""

    def moving(self) -> bool:
        """Return whether it turns now."""

    def move_to(self, position: float, /) -> float:
        """Start a motion; return its end."""

    def home(self) -> float:
        """Start the search for the reference; return its end."""

    def stop(self) -> None:
        """Stop where it is."""


class Mount(Mover, Protocol):
    """A part that turns; angles in degrees."""

    def encoder_deg(self) -> float:
        """Return what the encoder shows now."""


def to_hex(pulses: int) -> str:
    """Eight upper-case digits, two's complement.

    >>> to_hex(-1), to_hex(143360)
    ('FFFFFFFF', '00023000')
    """
    return f"{pulses & 0xFFFFFFFF:08X}"


def from_hex(text: str) -> int:
    """Undo :func:`to_hex`.

    >>> from_hex("FFFFFFFF")
    -1
    """
    return (int(text, 16) ^ 0x80000000) - 0x80000000


@dataclass(frozen=True, slots=True)
class Model:
    """What a module announces with ``in``, and its scale.

    :param travel: in degrees or mm. :param pulses: announced; of a whole turn, or of a mm.
    :param span: pulses of the whole travel; ``farthest`` is the last position allowed, in pulses.
    """

    type: int
    travel: int
    pulses: int
    pulses_per_unit: float
    span: int
    lowest: int
    farthest: int


class BusModule:
    """One module on the bus.

    :param mover: what it moves. :param read: returns what its encoder shows.
    :param address: one hexadecimal digit.
    """

    def __init__(
        self,
        clock: Clock,
        mover: Mover,
        read: Callable[[], float],
        model: Model,
        *,
        address: str,
        serial: int,
    ) -> None:
        self._clock = clock
        self.address = address
        self.mount, self._read, self.model = mover, read, model
        self.serial = serial
        self.finish: Callable[[], str] | None = None
        self.finish_s = 0.0
        self._fault = OK
        self._jog = 0
        self._velocity = 100
        self._offset = 0
        self._origin = 0
        self._periods = {"f1": 152, "b1": 187, "f2": 152, "b2": 187}
        self._handlers: dict[str, Callable[[str], str]] = {
            "in": self._info, "gs": self._status, "ho": self._home, "gp": self._get_position,
            "ma": self._move_absolute, "mr": self._move_relative, "st": self._stop,
            "fw": lambda _: self._move_by(self._jog), "bw": lambda _: self._move_by(-self._jog),
            "sj": self._set_jog, "gj": lambda _: "GJ" + to_hex(self._jog),
            "so": self._set_offset, "go": lambda _: "HO" + to_hex(self._offset),
            "sv": self._set_velocity, "gv": lambda _: f"GV{self._velocity:02X}",
            "i1": lambda _: self._motor(1), "i2": lambda _: self._motor(2),
            "s1": self._search, "s2": self._search, "us": lambda _: self._status_reply(OK),
            "f1": lambda data: self._set_period("f1", data), "b1": lambda data: self._set_period("b1", data),
            "f2": lambda data: self._set_period("f2", data), "b2": lambda data: self._set_period("b2", data),
        }  # fmt: skip

    def answer(self, command: str, data: str) -> str:
        """Return the reply to one request without its address, or "" when it comes later."""
        handler = self._handlers.get(command)
        if handler is None:
            return self.fail(UNSUPPORTED)
        if not re.fullmatch("[0-9A-Fa-f]*", data):
            return self.fail(BAD_VALUE)
        if self.finish is not None and command not in _ANSWERED_IN_MOTION:
            return self._status_reply(BUSY)
        return handler(data)

    def fail(self, code: int) -> str:
        """Refuse with a status; it stays until it has been read once more."""
        self._fault = code
        return self._status_reply(code)

    def press_button(self, pulses: int) -> str:
        """Turn by hand at the handset; return the message that says so. The end is told by ``BO``."""
        self.finish_s = self.mount.move_to(self._place(self._position() + pulses))
        self.finish = lambda: "BO" + to_hex(self._position())
        return f"BS{OK:02X}"

    def _start(self, finish_s: float, finish: Callable[[], str]) -> str:
        self.finish_s, self.finish = finish_s, finish
        return ""

    def _position_reply(self) -> str:
        return "PO" + to_hex(self._position())

    def _status_reply(self, code: int) -> str:
        return f"GS{code:02X}"

    def _position(self) -> int:
        return round(self._read() * self.model.pulses_per_unit) - self._origin

    def _place(self, position: int) -> float:
        return (position + self._origin) / self.model.pulses_per_unit

    def _info(self, _: str) -> str:
        m = self.model
        return f"IN{m.type:02X}{self.serial:08d}20231701{m.travel:04X}{m.pulses:08X}"

    def _status(self, _: str) -> str:
        code = BUSY if self.finish is not None else self._fault
        if code != BUSY:
            self._fault = OK
        return self._status_reply(code)

    def _get_position(self, _: str) -> str:
        return self._position_reply()

    def _home(self, _: str) -> str:
        return self._start(self.mount.home(), self._homed)

    def _homed(self) -> str:
        self._origin = self._offset
        if self._offset:
            return self._start(self.mount.move_to(self._place(0)), self._position_reply)
        return self._position_reply()

    def _move_absolute(self, data: str) -> str:
        return self._move(from_hex(data))

    def _move_relative(self, data: str) -> str:
        return self._move_by(from_hex(data))

    def _move_by(self, pulses: int) -> str:
        return self._move(self._position() + pulses)

    def _move(self, position: int) -> str:
        if not self.model.lowest <= position <= self.model.farthest:
            return self.fail(OUT_OF_RANGE)
        return self._start(self.mount.move_to(self._place(position)), self._position_reply)

    def _stop(self, _: str) -> str:
        self.mount.stop()
        self.finish = None
        return self._status_reply(OK)

    def _set_jog(self, data: str) -> str:
        self._jog = from_hex(data)
        return self._status_reply(OK)

    def _set_offset(self, data: str) -> str:
        offset = from_hex(data)
        if not 0 <= offset < self.model.span:
            return self.fail(BAD_VALUE)
        self._offset = offset
        return self._status_reply(OK)

    def _set_velocity(self, data: str) -> str:
        percent = int(data, 16)
        if not 1 <= percent <= 100:
            return self.fail(BAD_VALUE)
        self._velocity = percent
        self.mount.speed_rel = percent / 100.0
        return self._status_reply(OK)

    def _set_period(self, key: str, data: str) -> str:
        if not 0 < (period := int(data, 16)) < 0x8000:
            return self.fail(BAD_VALUE)
        self._periods[key] = period
        return self._status_reply(OK)

    def _search(self, _: str) -> str:
        return self._start(self._clock.now_s() + SEARCH_S, lambda: self._status_reply(OK))

    def _motor(self, number: int) -> str:
        forward, backward = self._periods[f"f{number}"], self._periods[f"b{number}"]
        return f"I{number}11{0x03A0:04X}FFFFFFFF{forward:04X}{backward:04X}"


class Module(BusModule):
    """One ELL14 on the bus.

    :param mount: what it turns. :param address: one hexadecimal digit.
    :param pulses_per_turn: announced by ``in``; public sources name 143360 and 262144.
    """

    def __init__(
        self,
        clock: Clock,
        mount: Mount,
        *,
        address: str = "0",
        serial: int = 11400421,
        pulses_per_turn: int = PULSES_PER_TURN,
    ) -> None:
        farthest = LARGEST_TURNS * pulses_per_turn
        scale = pulses_per_turn / 360.0
        model = Model(ELL14_TYPE, 360, pulses_per_turn, scale, pulses_per_turn, -farthest, farthest)
        super().__init__(clock, mount, mount.encoder_deg, model, address=address, serial=serial)


_ANSWERED_IN_MOTION = frozenset({"gs", "gp", "in", "gj", "go", "gv", "i1", "i2", "st"})
