"""The serial bus of Thorlabs ELLx modules: cuts the byte stream into requests and finds who answers.

A request is one address digit, two lower-case letters and as many digits as the command has; nothing ends
it. Carriage returns and line feeds between requests are ignored; inside one they cut it short. Replies
end with CR LF. Source: ELLx protocol as public drivers speak it.
"""

from __future__ import annotations

from collections.abc import Iterable

from labctl.model.clock import Clock
from simulators.attenuators.ell14 import BAD_VALUE, ISOLATED, OK, UNSUPPORTED, BusModule, Module
from simulators.link import DUE_TOLERANCE_S, Wire
from simulators.registry import Simulator

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
        if reply:
            self._send(f"{address}{reply}\r\n".encode("ascii"))


class IdleMount:
    """A mount outside the beam, so that a bus can carry more than one: it turns at one speed."""

    SPEED_DEG_S = 200.0
    speed_rel = 1.0

    def __init__(self, clock: Clock, angle_deg: float = 0.0) -> None:
        self._clock = clock
        self._from_deg = self._to_deg = angle_deg
        self._from_s = self.arrival_s = clock.now_s()

    def moving(self) -> bool:
        """Return whether it turns now."""
        return self._clock.now_s() < self.arrival_s

    def encoder_deg(self) -> float:
        """Return where it is now."""
        if not self.moving():
            return self._to_deg
        part = (self._clock.now_s() - self._from_s) / (self.arrival_s - self._from_s)
        return self._from_deg + part * (self._to_deg - self._from_deg)

    def move_to(self, angle_deg: float) -> float:
        """Start a motion; return its end."""
        self._from_deg, self._to_deg, self._from_s = self.encoder_deg(), angle_deg, self._clock.now_s()
        self.arrival_s = self._from_s + abs(angle_deg - self._from_deg) / (self.SPEED_DEG_S * self.speed_rel)
        return self.arrival_s

    def home(self) -> float:
        """Turn to zero; return the end."""
        return self.move_to(0.0)

    def stop(self) -> None:
        """Stop where it is."""
        self._to_deg, self.arrival_s = self.encoder_deg(), self._clock.now_s()


SIMULATOR = Simulator(
    "thorlabs-ell14", "attenuator", lambda scene: Ell14Bus(scene.clock, [Module(scene.clock, scene.mount)])
)
