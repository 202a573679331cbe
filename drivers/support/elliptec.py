"""What travels on an Elliptec bus: status codes, frames and what a module says of itself (ELLx protocol)."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, TypedDict, Unpack

from pydantic import Field
from pymeasure.adapters import Adapter
from pymeasure.instruments import Instrument

from drivers.support.failures import not_connected
from drivers.support.session import LONGEST_ANSWER, Port
from drivers.support.spec import BaudRate, Probe, VisaConfig
from drivers.support.visa import SHOWN, SLICE_S, VisaInstrument
from labctl.model.clock import Clock, Stop, check_stop
from labctl.model.errors import Aborted, InstrumentFault, InstrumentTimeout, NotConnected, ProtocolError
from labctl.model.records import Identity

ROTATION_MOUNTS = {0x0E: "ELL14", 0x12: "ELL18", 0x08: "ELL8", 0x10: "ELL16", 0x15: "ELL21"}
"""By the type that ``in`` announces, which is the number of the model: so it is known of ELL14, ELL18 and
ELL20, and concluded of the others."""
LINEAR_STAGES = {0x14: "ELL20"}
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
FRAME = re.compile(r"[0-9A-Fa-f][A-Z]{2}[0-9A-Fa-f]*")
BEGINS = re.compile(r"[0-9A-Fa-f][A-Z]{2}")


@dataclass(frozen=True, slots=True)
class Module:
    """What ``in`` announces: ``travel`` in degrees or mm, ``pulses`` of a turn or of a mm, 0 of neither."""

    type: int
    serial: str
    firmware: str
    travel: int
    pulses: int


def parse_module(payload: str) -> Module:
    """Parse the data of ``IN``: type, serial, year, firmware, hardware, travel, pulses.

    :raises ValueError: it has another length.
    """
    if len(payload) != 30:
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


class ElliptecModule(VisaInstrument):
    """What every module answers; a subclass says which ones it takes.

    :cvar models: names by the type that ``in`` announces.
    :param address: bus address, one hex digit.
    """

    models: ClassVar[Mapping[int, str]]

    # Asked again after this; light that stands on a silent module is then off within 1 s.
    port = Port(baud_rate=9600, read_termination="\n", write_termination="", timeout_s=0.7)

    module = Instrument.measurement("in", """Get the identity of the module (Module).""", cast=parse_module)
    position_pulses = Instrument.measurement("gp", """Get the position (int, pulses).""", cast=parse_position)
    status = Instrument.measurement(
        "gs",
        """Get the status (int, 0 ok to 13, 9 busy); reading it clears a fault.""",
        cast=lambda payload: int(payload, 16),
    )

    def __init__(
        self,
        adapter: str | Adapter,
        address: str,
        *,
        baud_rate: int | None,
        clock: Clock | None,
        visa_library: str,
        role: str,
    ) -> None:
        self.address = address.upper()
        super().__init__(adapter, role, clock, visa_library, baud_rate)
        self._partial = b""

    # -- who is there ------------------------------------------------------------------------------

    def find(self) -> Module:
        """Return what the module says of itself.

        :raises NotConnected: something else answers, or a module at another address.
        """
        try:
            module: Module = self.module
        except InstrumentTimeout as exc:
            raise self._nobody(exc) from exc
        except ProtocolError as exc:
            if len(exc.received) < SHOWN:
                raise
            raise self.stranger(exc.received, "an Elliptec module") from exc  # who never ends a line is none
        if module.type not in self.models:
            wanted = " or ".join(f"{name} ({number:02X})" for number, name in self.models.items())
            answer = f"an Elliptec module of type {module.type:02X} answered, not an {wanted}"
            hint = (
                "check the bus address; for another instrument see docs, 'Adapters' and 'Your own instrument'"
            )
            raise not_connected(self.role, self.resource, answer, hint)
        if not module.pulses:
            answer = f"the {self.models[module.type]} announces no pulses: its positions have no scale"
            raise not_connected(self.role, self.resource, answer, "check it with the manufacturer's program")
        return module

    def _nobody(self, exc: InstrumentTimeout) -> NotConnected | InstrumentTimeout:
        """Say what else answers: other bytes at this address, or modules at other addresses."""
        if self._partial:
            return self.stranger(self._partial, "an Elliptec module")
        others = [address for address in "0123456789ABCDEF" if self._visa and self._answers(address)]
        if not others:
            return exc
        hint = f'set address = "{others[0]}" (answers: {", ".join(others)})'
        return not_connected(self.role, self.resource, f"no answer from {self.address}", hint)

    def _answers(self, address: str) -> bool:
        with self.translated("in"):
            self.adapter.write(f"{address}in")
        return self.listen(b"\n", SLICE_S).startswith((f"{address}IN".encode(), f"{address}GS".encode()))

    def identity(self) -> Identity:
        """Ask the module who it is."""
        module = self.module
        model = self.models.get(module.type, f"Elliptec {module.type:02X}")
        return self.remember(Identity("Thorlabs", model, module.serial, module.firmware))

    # -- frames ------------------------------------------------------------------------------------

    def frame(self, codes: tuple[str, ...], end: float, stop: Stop | None = None) -> tuple[str, str]:
        """Return code and data of the next frame of this address with one of ``codes``.

        Everything else on the bus is skipped: button messages, other modules, the end of an older motion.
        """
        while True:
            line = self._line(end, stop)
            text = line.decode("ascii", "replace").strip()
            if not text and time.monotonic() <= end:
                continue
            theirs = BEGINS.match(text) is not None and text[0].upper() != self.address
            if not (theirs or FRAME.fullmatch(text)):
                raise self.garbled(self._sent, line)
            if not theirs and text[1:3] in codes:
                return text[1:3], text[3:].upper()
            if time.monotonic() > end:  # a bus that is never quiet must not hold us
                self._answer_owed = True
                raise InstrumentTimeout(self.name, f"no answer to {self._sent!r} among other messages")

    def _line(self, end: float, stop: Stop | None) -> bytes:
        while not self._partial.endswith(b"\n"):
            check_stop(stop)
            late = time.monotonic() > end  # before listening: a program that stood still listens once more
            self._partial += self.listen(b"\n", SLICE_S)
            if len(self._partial) > LONGEST_ANSWER:  # whoever talks there never ends a line
                raise self.garbled(self._sent, self._partial[:SHOWN])
            if late and not self._partial.endswith(b"\n"):
                self._answer_owed = True
                raise InstrumentTimeout(self.name, f"no answer to {self._sent!r}")
        line, self._partial = self._partial, b""
        return line

    def refuse_fault(self, payload: str) -> None:
        """Raise for a status that is neither fine nor busy.

        :raises InstrumentFault: what the status says.
        """
        number = int(payload or "0", 16)
        if number not in (0, BUSY):
            text = STATUS_TEXT[number] if number < len(STATUS_TEXT) else "reserved"
            raise InstrumentFault(self.name, f"status {number}: {text}", "home the mount, then try again")

    def write(self, command: str, **kwargs: object) -> None:
        """Send a command to this address of the bus."""
        super().write(self.address + command, **kwargs)

    def reply(self) -> str:
        """Return the data of the answer that belongs to the last command."""
        code = ANSWER.get(self._sent[1:3], "GS")
        got, payload = self.frame((code, "GS"), time.monotonic() + self._timeout_s)
        if got != code:
            self.refuse_fault(payload)
            raise self.garbled(self._sent, f"{got}{payload}")
        return payload

    def resynchronise(self) -> None:
        """Forget half a line and what is still arriving."""
        self._partial = b""
        self.drain()

    def is_idempotent(self, command: str) -> bool:
        """Reading position and identity may be repeated; reading the status clears a fault."""
        return command in ("in", "gp")


def module_probes(models: Mapping[int, str]) -> tuple[Probe, ...]:
    """Return the questions that find these modules at any address of a bus."""
    names = {f"{number:02X}": name for number, name in models.items()}
    answer = rf"(?s).*?(?P<address>[0-9A-F])IN(?P<model>{'|'.join(names)})(?P<serial>[0-9A-F]{{8}}).*"
    return tuple(Probe(f"{address}in".encode(), answer, names=names) for address in "0123456789ABCDEF")


PAUSE_BETWEEN_MOVES_S = 0.1
"""A move sent sooner after the last one may end at 0 instead (seen by the authors of pylablib)."""
ASK_AFTER_S = 3.0
"""Wall time without a word from a motion after which the module is asked."""


class ElliptecConfig(VisaConfig):
    """What a bench file says of any of them."""

    address: Annotated[str, Field(pattern="^[0-9A-Fa-f]$")] = "0"
    baud_rate: BaudRate = 9600


class MotorOptions(TypedDict, total=False):
    """What any of them may be told when it is made.

    ``move_timeout_s`` is 30 s unless told otherwise, ``clock`` real time.
    """

    move_timeout_s: float
    baud_rate: int | None
    clock: Clock | None
    visa_library: str


class ElliptecMotor(ElliptecModule):
    """One module with an encoder; a subclass says which, and in which unit it counts.

    ``unit`` is the word for the unit, ``tolerance`` (in it) how far from its goal a motion may end,
    ``blocked`` what may keep it from there.

    :param move_timeout_s: wall time within which any motion must have ended.
    :raises NotConnected: no such module answers here.
    """

    unit: ClassVar[str]
    tolerance: ClassVar[float]
    blocked: ClassVar[str]

    def __init__(
        self, adapter: str | Adapter, address: str, role: str, **options: Unpack[MotorOptions]
    ) -> None:
        clock, library = options.get("clock"), options.get("visa_library", "@py")
        super().__init__(
            adapter,
            address,
            baud_rate=options.get("baud_rate"),
            clock=clock,
            visa_library=library,
            role=role,
        )
        self._move_timeout_s = options.get("move_timeout_s", 30.0)
        self._referenced = False
        self._left: float | None = None
        self._stopped_short = False
        self._last_motion_s = self.clock.now_s() - PAUSE_BETWEEN_MOVES_S
        self._pulses_per_unit = 0.0
        self.greet(self._measure)

    def _measure(self) -> None:
        self._pulses_per_unit = self._scale(self.find())

    def _scale(self, module: Module) -> float:
        """Return the pulses of one unit."""
        raise NotImplementedError

    def _apart(self, a: float, b: float) -> float:
        """Return how far two positions are from each other."""
        return abs(a - b)

    def _range(self) -> tuple[float, float]:
        """Return the lowest and the highest position that may be asked for."""
        raise NotImplementedError

    # -- what the roles have in common -------------------------------------------------------------

    def is_referenced(self) -> bool:
        """Return whether this driver has homed the module since it was opened, and finds it where it left it.

        The module cannot tell whether it was homed before; a position of an earlier session is not trusted,
        nor one that changed by itself: after a loss of power the module counts from 0 where it stands.
        """
        if self._referenced and self._stopped_short:
            self._await_idle(time.monotonic() + self._move_timeout_s, None)
            self._stopped_short = False
        if self._referenced:
            self._referenced = (
                self._left is not None and self._apart(self._where(), self._left) <= self.tolerance
            )
        return self._referenced

    def home(self, stop: Stop | None = None) -> None:
        """Find the reference, through any position on the way: the shutter must be closed.

        A mount turns clockwise, a stage goes to the end of its rail.

        :raises InstrumentFault: a fault of the module, or the search ended elsewhere.
        """
        self._referenced = False
        reached = self._travel("ho0", stop) / self._pulses_per_unit
        if self._apart(reached, 0.0) > self.tolerance:
            hint = f"{self.blocked}, or the home offset may be set: see the manufacturer's program"
            where = f"homing ended at {reached:.3f} {self.unit}"
            raise InstrumentFault(self.name, where, hint)
        self._referenced, self._left = True, reached

    def _where(self) -> float:
        return int(self.position_pulses) / self._pulses_per_unit

    def _go_to(self, goal: float, stop: Stop | None) -> float:
        low, high = self._range()
        if not low <= goal <= high:
            raise InstrumentFault(self.name, f"{goal:g} {self.unit} is outside {low:g} to {high:g}")
        pulses = round(goal * self._pulses_per_unit)
        self._travel(f"ma{pulses & 0xFFFFFFFF:08X}", stop, bound_for=goal)
        self._left = reached = self._where()
        if self._apart(reached, goal) > self.tolerance:
            hint = f"home it; {self.blocked} or have been moved manually"
            raise InstrumentFault(self.name, f"sent to {goal:.3f} {self.unit}, reached {reached:.3f}", hint)
        return reached

    def restore(self) -> None:
        """Trust the position after a new connection only if no motion was cut short."""
        self._partial = b""
        if self._left is None:
            self._referenced = False

    # -- motions -----------------------------------------------------------------------------------

    def _travel(self, command: str, stop: Stop | None, bound_for: float | None = None) -> int:
        """Start a motion, wait for its end and return where it ended, in pulses.

        A motion still under way is waited for first. A stop ends the wait, not the motion: the module goes on
        to where it was sent, and keeps its reference.
        """
        end = time.monotonic() + self._move_timeout_s
        with self.lock:
            ready_s = self._last_motion_s + PAUSE_BETWEEN_MOVES_S
            self.clock.sleep(ready_s - self.clock.now_s(), stop)
            self._left = None
            try:
                reached = self._start_and_wait(command, end, stop, bound_for)
            except Aborted:
                self._left, self._stopped_short = bound_for, True
                raise
            self._answer_owed = self._stopped_short = False
            self._last_motion_s = self.clock.now_s()
            return reached

    def _start_and_wait(self, command: str, end: float, stop: Stop | None, bound_for: float | None) -> int:
        """Send a motion until it is over; "busy" means an older one, or, said by an idle module, this one."""
        was_idle = False
        while True:
            self.write(command)
            self._answer_owed = True  # until the motion's end was heard, whatever happens here
            reached = self._ended(end, stop)
            if reached is not None:
                return reached
            reached = self._await_idle(end, stop)
            if was_idle and reached is None:
                reached = int(self.position_pulses)
            # An older motion may have ended near the reference, which is no search for it.
            if reached is not None and (was_idle or bound_for is not None) and self._is(reached, bound_for):
                return reached
            was_idle = True
            self._refuse_busy(end)

    def _is(self, pulses: int, goal: float | None) -> bool:
        return self._apart(pulses / self._pulses_per_unit, goal or 0.0) <= self.tolerance

    def _refuse_busy(self, end: float) -> None:
        if time.monotonic() > end:
            raise InstrumentTimeout(
                self.name, f"still busy {self._move_timeout_s:g} s after it was asked to move"
            )

    def _ended(self, end: float, stop: Stop | None) -> int | None:
        """Return where the motion ended, None if the module is busy with an older one."""
        try:
            code, payload = self.frame(("PO", "GS"), min(end, time.monotonic() + ASK_AFTER_S), stop)
        except InstrumentTimeout:
            return self._ended_unheard(end, stop)
        if code == "PO":
            return self._position(payload)
        self.refuse_fault(payload)
        return None

    def _ended_unheard(self, end: float, stop: Stop | None) -> int:
        """Ask whether it still moves: the word of the end may have been lost."""
        motion = self._sent
        while True:
            self._answer_owed = False  # what comes late is skipped or serves as well
            self.write("gs")
            try:
                code, payload = self.frame(("GS", "PO"), time.monotonic() + self._timeout_s, stop)
            except InstrumentTimeout as exc:
                raise InstrumentTimeout(self.name, f"no answer to {motion!r}, nor to {self._sent!r}") from exc
            if code == "PO":
                self.resynchronise()  # the status is still on its way
                return self._position(payload)
            self.refuse_fault(payload)
            if payload == "00":
                return int(self.position_pulses)
            self._refuse_busy(end)
            self.clock.sleep(SLICE_S, stop)

    def _position(self, payload: str) -> int:
        try:
            return parse_position(payload)
        except ValueError as exc:
            raise self.garbled(self._sent, f"PO{payload}") from exc

    def _await_idle(self, end: float, stop: Stop | None) -> int | None:
        """Wait until the module is idle; return where a motion has ended meanwhile, None where nobody said.

        Some say "busy" again and again, and answer no question, until they say where they are.
        """
        while True:
            self.clock.sleep(SLICE_S, stop)
            self.resynchronise()
            self.write("gs")
            # A question asked just before the end is worth an answer's time: "busy" is not "silent".
            code, payload = self.frame(("GS", "PO"), max(end, time.monotonic() + self._timeout_s), stop)
            reached = self._position(payload) if code == "PO" else None
            if reached is not None:
                try:
                    payload = self.frame(("GS",), time.monotonic() + self._timeout_s, stop)[1]
                except InstrumentTimeout:
                    self._answer_owed = False
                    return reached
            if payload == "00":
                return reached
            self._refuse_busy(end)
