"""What a driver of any Elliptec motor does: move, wait for the end, notice what went wrong."""

from __future__ import annotations

import time
from typing import Annotated, ClassVar, TypedDict, Unpack

from pydantic import Field
from pymeasure.adapters import Adapter

from drivers.support.elliptec import Module, parse_position
from drivers.support.elliptec_bus import ElliptecModule
from drivers.support.spec import VisaConfig
from drivers.support.visa import SLICE_S
from labctl.model.clock import Clock, Stop
from labctl.model.errors import Aborted, InstrumentFault, InstrumentTimeout

PAUSE_BETWEEN_MOVES_S = 0.1
"""A move sent sooner after the last one may end at 0 instead (seen by the authors of pylablib)."""
ASK_AFTER_S = 3.0
"""Wall time without a word from a motion after which the module is asked."""


class ElliptecConfig(VisaConfig):
    """What a bench file says of any of them."""

    address: Annotated[str, Field(pattern="^[0-9A-Fa-f]$")] = "0"


class MotorOptions(TypedDict, total=False):
    """What any of them may be told when it is made.

    ``move_timeout_s`` is 30 s unless told otherwise, ``clock`` real time.
    """

    move_timeout_s: float
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
        super().__init__(adapter, address, clock=clock, visa_library=library, role=role)
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
            hint = f"{self.blocked}, or the home offset be set: see the maker's program"
            where = f"the search for the reference ended at {reached:.3f} {self.unit}"
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
            hint = f"home it; {self.blocked} or have been moved by hand"
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
                reached = self._start_and_wait(command, end, stop)
            except Aborted:
                self._left, self._stopped_short = bound_for, True
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
            self._refuse_busy(end)

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
            if self.frame(("GS",), end, stop)[1] == "00":
                return
            self._refuse_busy(end)
