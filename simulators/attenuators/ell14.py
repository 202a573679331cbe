"""The Thorlabs ELL14 rotation mount, what every Elliptec module answers, and the serial bus they share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from labctl.model.clock import Clock
from simulators.link import DUE_TOLERANCE_S, Wire
from simulators.registry import Simulator
from simulators.usb.ftdi import Ftdi

OK, MECHANICAL_TIMEOUT, UNSUPPORTED, BAD_VALUE, ISOLATED, BUSY, OUT_OF_RANGE = 0, 2, 3, 4, 5, 9, 12

ELL14_TYPE = 0x0E
PULSES_PER_TURN = 143360
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
        self.says_busy = self.lower_case = False
        """Firmware that says "busy", and nothing else, until a motion's end; that writes a to f."""
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
        if self.finish is not None and self.says_busy:
            return ""
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
        return self._status_reply(BUSY) if self.says_busy else ""

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
    """One ELL14 on the bus, or another rotation mount.

    :param mount: what it turns. :param address: one hexadecimal digit.
    :param pulses_per_turn: announced by ``in``; public sources name 143360 and 262144.
    :param kind: announced by ``in``: 0E ELL14, 12 ELL18.
    """

    def __init__(
        self,
        clock: Clock,
        mount: Mount,
        *,
        address: str = "0",
        serial: int = 11400421,
        pulses_per_turn: int = PULSES_PER_TURN,
        kind: int = ELL14_TYPE,
    ) -> None:
        farthest = LARGEST_TURNS * pulses_per_turn
        scale = pulses_per_turn / 360.0
        model = Model(kind, 360, pulses_per_turn, scale, pulses_per_turn, -farthest, farthest)
        super().__init__(clock, mount, mount.encoder_deg, model, address=address, serial=serial)


_ANSWERED_IN_MOTION = frozenset({"gs", "gp", "in", "gj", "go", "gv", "i1", "i2", "st"})


ADDRESSES = "0123456789ABCDEF"
COMMUNICATION_TIMEOUT = 1

DATA_DIGITS = {
    "in": 0, "gs": 0, "us": 0, "st": 0, "ho": 1, "ma": 8, "mr": 8, "gp": 0, "fw": 0, "bw": 0, "sj": 8,
    "gj": 0, "so": 8, "go": 0, "sv": 2, "gv": 0, "i1": 0, "i2": 0, "i3": 0, "s1": 0, "s2": 0, "s3": 0,
    "f1": 4, "b1": 4, "f2": 4, "b2": 4, "f3": 4, "b3": 4, "ca": 1, "is": 2, "ga": 1,
}  # fmt: skip
_MOVES = frozenset({"ma", "mr", "ho", "fw", "bw"})


class Seat:
    """A module's place on the bus: the address it answers to now, its group, its isolation."""

    def __init__(self, module: BusModule) -> None:
        self.module = module
        self.group: str | None = None
        self.isolated_until_s = -1.0


class Ell14Bus(Wire):
    """All modules on one serial line.

    :param modules: each with an address of its own.
    """

    def __init__(self, clock: Clock, modules: Iterable[BusModule]) -> None:
        super().__init__(clock)
        self._seats = [Seat(module) for module in modules]
        self._buffer = ""

    def new_client(self) -> None:
        """Forget a half-received request."""
        self._buffer = ""

    def receive(self, data: bytes) -> None:
        """Take bytes and answer every request they complete."""
        self._buffer += data.decode("latin-1")
        while self._cut():
            pass

    def press_button(self, address: str, pulses: int) -> None:
        """Turn a module by hand: it tells the line with BS, and with BO when it has arrived."""
        for seat in self._seats:
            if seat.module.address == address:
                self._reply(address, seat.module.press_button(pulses))

    def due_s(self) -> float | None:
        """Return when the next motion ends."""
        ends = [seat.module.finish_s for seat in self._seats if seat.module.finish is not None]
        return min(ends, default=None)

    def wake(self) -> None:
        """Report every motion that has ended."""
        now_s = self.clock.now_s() + DUE_TOLERANCE_S
        for seat in self._seats:
            finish = seat.module.finish
            if finish is None or seat.module.finish_s > now_s:
                continue
            seat.module.finish = None
            self._reply(seat.module.address, finish())

    def _cut(self) -> bool:
        """Take one request off the buffer; return False when no whole one is left."""
        text = self._buffer = self._buffer.lstrip("\r\n")
        if text and text[0] not in ADDRESSES:
            self._buffer = text[1:]
            return True
        if len(text) < 3:
            return False
        command = text[1:3]
        digits = DATA_DIGITS.get(command)
        if digits is None:
            return self._unknown(text)
        data = text[3 : 3 + digits]
        cut_short = min((at for end in "\r\n" if (at := data.find(end)) >= 0), default=-1)
        if cut_short < 0 and len(data) < digits:
            return False
        if cut_short >= 0:
            self._buffer = text[3 + cut_short :]
            self._request(text[0], command, None)
        else:
            self._buffer = text[3 + digits :]
            self._request(text[0], command, data)
        return True

    def _unknown(self, text: str) -> bool:
        """Refuse what looks like a request and is none; drop the rest, whose length nobody knows."""
        self._buffer = ""
        if text[1:3].isalnum() and text[1:3] == text[1:3].lower():
            for seat in self._listeners(text[0], ""):
                self._reply(text[0], seat.module.fail(UNSUPPORTED))
        return False

    def _request(self, address: str, command: str, data: str | None) -> None:
        for seat in self._listeners(address, command):
            if data is None:
                reply = seat.module.fail(COMMUNICATION_TIMEOUT)
            elif command in {"ca", "ga", "is"}:
                reply = self._arrange(seat, command, data)
            else:
                reply = seat.module.answer(command, data)
            self._reply(seat.group or seat.module.address, reply)
            if command in _MOVES:
                seat.group = None

    def _listeners(self, address: str, command: str) -> list[Seat]:
        """Return who hears a request: the module itself, and for a move also the members of its group."""
        return [
            seat
            for seat in self._seats
            if (seat.module.address == address or (command in _MOVES and seat.group == address))
            and (self.clock.now_s() >= seat.isolated_until_s or command == "is")
        ]

    def _arrange(self, seat: Seat, command: str, data: str) -> str:
        """Change how a module is addressed: ``ca`` for good, ``ga`` for one move, ``is`` for minutes."""
        module = seat.module
        try:
            number = int(data, 16)
        except ValueError:
            return module.fail(BAD_VALUE)
        if command == "is":
            seat.isolated_until_s = self.clock.now_s() + 60.0 * number
            return f"GS{ISOLATED if number else OK:02X}"
        address = data.upper()
        if command == "ga":
            seat.group = address
        elif any(other.module.address == address for other in self._seats if other is not seat):
            return module.fail(BAD_VALUE)
        else:
            module.address = address
        return f"GS{OK:02X}"

    def _reply(self, address: str, reply: str) -> None:
        if any(seat.module.lower_case for seat in self._seats if seat.module.address == address):
            reply = reply[:2] + reply[2:].lower()
        if reply:
            self._send(f"{address}{reply}\r\n".encode("ascii"))


SIMULATOR = Simulator(
    "thorlabs-ell14",
    "attenuator",
    lambda scene: Ell14Bus(scene.clock, [Module(scene.clock, scene.mount)]),
    plug=lambda _: partial(Ftdi, "SIMELL14"),
)
