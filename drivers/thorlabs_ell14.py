"""Thorlabs Elliptec ELL14 rotation mount on its serial bus (ELLx protocol manual).

9600 baud 8N1. A request is the address, two lower-case letters and upper-case hex data without any end; an
answer carries address, two upper-case letters and data, and ends with CR LF. Button messages (BS, BO) come
unasked and are skipped. Tried on a simulator only.
"""

from __future__ import annotations

import time
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pymeasure.adapters import Adapter
from pymeasure.instruments import Instrument

from drivers.support.elliptec import (
    ANSWER,
    BUSY,
    ELL14_TYPE,
    FRAME,
    STATUS_TEXT,
    parse_module,
    parse_position,
)
from drivers.support.failures import not_connected
from drivers.support.ports import Port
from drivers.support.spec import DriverSpec, VisaConfig
from drivers.support.visa import SLICE_S, VisaInstrument
from labctl.model.clock import Clock, Stop, check_stop
from labctl.model.errors import Aborted, InstrumentFault, InstrumentTimeout, NotConnected
from labctl.model.records import Identity

PAUSE_BETWEEN_MOVES_S = 0.1
"""A move sent sooner after the last one may end at 0 instead (seen by the authors of pylablib)."""
ARRIVAL_TOLERANCE_DEG = 0.5
ASK_AFTER_S = 3.0
"""Wall time without a word from a motion after which the module is asked whether it still turns."""


class ThorlabsELL14(VisaInstrument):
    """Rotation mount ELL14; angles in degrees, positive as the module counts.

    :param adapter: VISA resource, e.g. ``"ASRL3::INSTR"``.
    :param address: bus address, one hex digit.
    :param angle_range_deg: lowest and highest angle that may be asked for.
    :param move_timeout_s: wall time within which any motion must have ended.
    :raises NotConnected: no ELL14 answers at this address.
    """

    port = Port(baud_rate=9600, read_termination="\n", write_termination="", timeout_s=1.0)

    module = Instrument.measurement(
        "in", """Get what the module says of itself (Module).""", cast=parse_module
    )
    position_pulses = Instrument.measurement("gp", """Get the position (int, pulses).""", cast=parse_position)
    status = Instrument.measurement(
        "gs",
        """Get the status (int, 0 ok to 13, 9 busy); reading it clears a fault.""",
        cast=lambda payload: int(payload, 16),
    )

    def __init__(
        self,
        adapter: str | Adapter,
        address: str = "0",
        *,
        angle_range_deg: tuple[float, float] = (0.0, 360.0),
        move_timeout_s: float = 30.0,
        clock: Clock | None = None,
        visa_library: str = "@py",
        role: str = "attenuator",
    ) -> None:
        self.address = address.upper()
        super().__init__(adapter, role, clock, visa_library)
        self._range_deg = angle_range_deg
        self._move_timeout_s = move_timeout_s
        self._partial = b""
        self._referenced = False
        self._left_deg: float | None = None
        self._stopped_short = False
        self._last_motion_s = self.clock.now_s() - PAUSE_BETWEEN_MOVES_S
        self._pulses_per_turn = 0
        self.greet(self._check_device)

    def _check_device(self) -> None:
        try:
            module = self.module
        except InstrumentTimeout as exc:
            raise self._nobody(exc) from exc
        if module.type != ELL14_TYPE:
            answer = f"an Elliptec module of type {module.type:02X} answered, not an ELL14 (0E)"
            raise not_connected(self.role, self.resource, answer, "check the bus address")
        self._pulses_per_turn = module.pulses_per_turn

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
        return self.listen(b"\n", SLICE_S).startswith(f"{address}IN".encode())

    # -- the role ----------------------------------------------------------------------------------

    @property
    def angle_range_deg(self) -> tuple[float, float]:
        """Lowest and highest angle that may be asked for, in degrees."""
        return self._range_deg

    def identity(self) -> Identity:
        """Ask the module who it is."""
        module = self.module
        return self.remember(Identity("Thorlabs", "ELL14", module.serial, module.firmware))

    def is_referenced(self) -> bool:
        """Return whether this driver has homed the mount since it was opened, and finds it where it left it.

        The module cannot tell whether it was homed before; a position of an earlier session is not trusted,
        nor one that changed by itself: after a loss of power the module counts from 0 where it stands.
        """
        if self._referenced and self._stopped_short:
            self._await_idle(time.monotonic() + self._move_timeout_s, None)
            self._stopped_short = False
        if self._referenced and (
            self._left_deg is None or _apart_deg(self.angle_deg(), self._left_deg) > ARRIVAL_TOLERANCE_DEG
        ):
            self._referenced = False
        return self._referenced

    def angle_deg(self) -> float:
        """Read the present angle, in degrees."""
        return self._degrees(int(self.position_pulses))

    def _degrees(self, pulses: int) -> float:
        return pulses * 360.0 / self._pulses_per_turn

    def home(self, stop: Stop | None = None) -> None:
        """Find the reference, turning clockwise through any angle: the shutter must be closed.

        :raises InstrumentFault: a fault of the module, or the search ended elsewhere.
        """
        self._referenced = False
        reached = self._degrees(self._travel("ho0", stop))
        if _apart_deg(reached, 0.0) > ARRIVAL_TOLERANCE_DEG:
            hint = "the plate may be blocked, or the home offset be set: see the maker's program"
            raise InstrumentFault(
                self.name, f"the search for the reference ended at {reached:.3f} degrees", hint
            )
        self._referenced, self._left_deg = True, reached

    def move_to(self, angle_deg: float, stop: Stop | None = None) -> float:
        """Move, wait for the end of the motion and return the angle read back, in degrees.

        :raises InstrumentFault: outside the range, a fault of the module, or it ended elsewhere.
        """
        low, high = self._range_deg
        if not low <= angle_deg <= high:
            raise InstrumentFault(self.name, f"{angle_deg:g} degrees is outside {low:g} to {high:g}")
        pulses = round(angle_deg * self._pulses_per_turn / 360.0)
        self._travel(f"ma{pulses & 0xFFFFFFFF:08X}", stop, bound_for_deg=angle_deg)
        self._left_deg = reached = self.angle_deg()
        if _apart_deg(reached, angle_deg) > ARRIVAL_TOLERANCE_DEG:
            hint = "home the mount; the plate may be blocked or turned by hand"
            raise InstrumentFault(self.name, f"sent to {angle_deg:.3f} degrees, reached {reached:.3f}", hint)
        return reached

    # -- the bus -----------------------------------------------------------------------------------

    def _travel(self, command: str, stop: Stop | None, bound_for_deg: float | None = None) -> int:
        """Start a motion, wait for its end and return where it ended, in pulses.

        A motion still under way is waited for first. A stop ends the wait, not the motion: the plate goes on
        to where it was sent, and keeps its reference.
        """
        end = time.monotonic() + self._move_timeout_s
        with self.lock:
            ready_s = self._last_motion_s + PAUSE_BETWEEN_MOVES_S
            self.clock.sleep(ready_s - self.clock.now_s(), stop)
            self._left_deg = None
            try:
                reached = self._start_and_wait(command, end, stop)
            except Aborted:
                self._left_deg, self._stopped_short = bound_for_deg, True
                raise
            self._answer_owed = self._stopped_short = False
            self._last_motion_s = self.clock.now_s()
            return reached

    def _start_and_wait(self, command: str, end: float, stop: Stop | None) -> int:
        while True:
            self.write(command)
            self._answer_owed = True  # until the motion's end was heard, whatever happens here
            reached = self._ended(end, stop)
            if reached is not None:
                return reached
            self._await_idle(end, stop)

    def _ended(self, end: float, stop: Stop | None) -> int | None:
        """Return where the motion ended, None if the module is busy with an older one."""
        try:
            code, payload = self._frame(("PO", "GS"), min(end, time.monotonic() + ASK_AFTER_S), stop)
        except InstrumentTimeout:
            return self._ended_unheard(end, stop)
        if code == "PO":
            return self._position(payload)
        self._refuse_fault(payload)
        return None

    def _ended_unheard(self, end: float, stop: Stop | None) -> int:
        """Ask whether it still turns: the word of the end may have been lost."""
        motion = self._sent
        while True:
            self._answer_owed = False  # what comes late is skipped or serves as well
            self.write("gs")
            try:
                code, payload = self._frame(("GS", "PO"), time.monotonic() + self._timeout_s, stop)
            except InstrumentTimeout as exc:
                raise InstrumentTimeout(self.name, f"no answer to {motion!r}, nor to {self._sent!r}") from exc
            if code == "PO":
                self.resynchronise()  # the status is still on its way
                return self._position(payload)
            self._refuse_fault(payload)
            if payload == "00":
                return int(self.position_pulses)
            if time.monotonic() > end:
                raise InstrumentTimeout(self.name, f"still busy with {motion!r}")
            self.clock.sleep(SLICE_S, stop)

    def _position(self, payload: str) -> int:
        try:
            return parse_position(payload)
        except ValueError as exc:
            raise self.garbled(self._sent, f"PO{payload}") from exc

    def _await_idle(self, end: float, stop: Stop | None) -> None:
        while True:
            self.clock.sleep(SLICE_S, stop)
            self.write("gs")
            if self._frame(("GS",), end, stop)[1] == "00":
                return

    def _refuse_fault(self, payload: str) -> None:
        number = int(payload or "0", 16)
        if number not in (0, BUSY):
            text = STATUS_TEXT[number] if number < len(STATUS_TEXT) else "reserved"
            raise InstrumentFault(self.name, f"status {number}: {text}", "home the mount, then try again")

    def _frame(self, codes: tuple[str, ...], end: float, stop: Stop | None = None) -> tuple[str, str]:
        """Return code and data of the next frame of this address with one of ``codes``.

        Everything else on the bus is skipped: button messages, other modules, the end of an older motion.
        """
        while True:
            line = self._line(end, stop)
            text = line.decode("ascii", "replace").strip()
            if not text and time.monotonic() <= end:
                continue
            if not FRAME.fullmatch(text):
                raise self.garbled(self._sent, line)
            if text[0] == self.address and text[1:3] in codes:
                return text[1:3], text[3:]
            if time.monotonic() > end:  # a bus that is never quiet must not hold us
                self._answer_owed = True
                raise InstrumentTimeout(self.name, f"no answer to {self._sent!r} among other messages")

    def _line(self, end: float, stop: Stop | None) -> bytes:
        while not self._partial.endswith(b"\n"):
            check_stop(stop)
            self._partial += self.listen(b"\n", SLICE_S)
            if not self._partial.endswith(b"\n") and time.monotonic() > end:
                self._answer_owed = True
                raise InstrumentTimeout(self.name, f"no answer to {self._sent!r}")
        line, self._partial = self._partial, b""
        return line

    def write(self, command: str, **kwargs: object) -> None:
        """Send a command to this address of the bus."""
        super().write(self.address + command, **kwargs)

    def reply(self) -> str:
        """Return the data of the answer that belongs to the last command."""
        code = ANSWER.get(self._sent[1:3], "GS")
        got, payload = self._frame((code, "GS"), time.monotonic() + self._timeout_s)
        if got != code:
            self._refuse_fault(payload)
            raise self.garbled(self._sent, f"{got}{payload}")
        return payload

    def restore(self) -> None:
        """Trust the angle after a new connection only if no motion was cut short."""
        self._partial = b""
        if self._left_deg is None:
            self._referenced = False

    def resynchronise(self) -> None:
        """Forget half a line and what is still arriving."""
        self._partial = b""
        self.drain()

    def is_idempotent(self, command: str) -> bool:
        """Reading position and identity may be repeated; reading the status clears a fault."""
        return command in ("in", "gp")


def _apart_deg(a_deg: float, b_deg: float) -> float:
    return abs((a_deg - b_deg + 180.0) % 360.0 - 180.0)


class ThorlabsELL14Config(VisaConfig):
    """``[attenuator]`` with ``driver = "thorlabs-ell14"``."""

    driver: Literal["thorlabs-ell14"]
    address: Annotated[str, Field(pattern="^[0-9A-Fa-f]$")] = "0"
    home_at_connect: bool = False
    min_angle_deg: Annotated[float, Field(ge=-360, le=360)] = 0.0
    max_angle_deg: Annotated[float, Field(ge=-360, le=360)] = 360.0

    @model_validator(mode="after")
    def _ordered(self) -> ThorlabsELL14Config:
        if self.min_angle_deg >= self.max_angle_deg:
            raise ValueError("min_angle_deg must be below max_angle_deg")
        return self


def _open(config: ThorlabsELL14Config, clock: Clock) -> ThorlabsELL14:
    mount = ThorlabsELL14(
        config.resource,
        config.address,
        angle_range_deg=(config.min_angle_deg, config.max_angle_deg),
        clock=clock,
        visa_library=config.visa_library,
    )
    if config.home_at_connect:
        try:
            mount.home()
        except BaseException:
            mount.close()
            raise
    return mount


DRIVER = DriverSpec(
    "thorlabs-ell14", "attenuator", ThorlabsELL14Config, _open, "Thorlabs Elliptec ELL14 rotation mount"
)
