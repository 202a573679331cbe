"""The status model of IEEE 488.2 and SCPI: error queue, event registers, status byte.

Source of the bits: vendor's PM101 and PM103 command references, STAT:OPER:COND? and STAT:QUES:COND?.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from simulators.meters.pm100_scpi import Handler, ScpiError, Tree, none, number, only

QUEUE_LENGTH = 30
RANGING, MEASURING, ZEROING, CONNECTED, READY = 4, 16, 128, 256, 512
QUESTIONABLE = {"VOLT": 1, "CURR": 2, "POW": 8, "ENER": 512}
"""The bit that says that a reading was out of range, by what was measured."""
_OPERATION_COMPLETE, _QUERY_ERROR, _EXECUTION_ERROR, _COMMAND_ERROR, _POWER_ON = 1, 4, 16, 32, 128


class Register:
    """A condition, what of it is remembered, and what of that is passed on."""

    def __init__(self) -> None:
        self.condition = self.event = self.enable = self.ntr = 0
        self.ptr = 0x7FFF

    def update(self, condition: int) -> None:
        """Set the condition; remember the edges the filters let through."""
        rising, falling = condition & ~self.condition, self.condition & ~condition
        self.event |= (rising & self.ptr) | (falling & self.ntr)
        self.condition = condition

    def raise_bits(self, bits: int) -> None:
        """Add bits to the condition."""
        self.update(self.condition | bits)

    def drop_bits(self, bits: int) -> None:
        """Take bits off the condition."""
        self.update(self.condition & ~bits)

    def take_event(self) -> int:
        """Read and clear what was remembered."""
        event, self.event = self.event, 0
        return event


class Status:
    """Everything ``*STB?`` summarises; ``refresh`` is called before a register is looked at."""

    def __init__(self) -> None:
        self.refresh: Callable[[], None] = lambda: None
        self.operation, self.questionable = Register(), Register()
        self.auxiliary, self.measurement = Register(), Register()
        self._standard = _POWER_ON
        self._standard_enable = self._service_enable = 0
        self._errors: deque[int] = deque()

    def report(self, code: int) -> None:
        """Put an error into the queue and its class into the standard event register."""
        if len(self._errors) == QUEUE_LENGTH:
            self._errors[-1] = -350
        else:
            self._errors.append(code)
        if code <= -400:
            self._standard |= _QUERY_ERROR
        else:
            self._standard |= _EXECUTION_ERROR if code <= -200 else _COMMAND_ERROR

    def clear(self) -> None:
        """Empty the queue and every event register (``*CLS``)."""
        self._errors.clear()
        self._standard = 0
        for register in (self.operation, self.questionable, self.auxiliary, self.measurement):
            register.event = 0

    def byte(self) -> int:
        """Return the status byte."""
        self.refresh()
        bits = 4 * bool(self._errors)
        bits |= 8 * bool(self.questionable.event & self.questionable.enable)
        bits |= 32 * bool(self._standard & self._standard_enable)
        bits |= 128 * bool(self.operation.event & self.operation.enable)
        return bits | 64 * bool(bits & self._service_enable)

    def add_to(self, tree: Tree) -> None:
        """Enter the common commands and the STATus and SYSTem:ERRor branches."""
        tree.add("*CLS", self._cls)
        tree.add("*ESR?", lambda _: str(self._take_standard()))
        tree.add("*STB?", lambda _: str(self.byte()))
        tree.add("*ESE", self._set_standard_enable)
        tree.add("*ESE?", lambda _: str(self._standard_enable))
        tree.add("*SRE", self._set_service_enable)
        tree.add("*SRE?", lambda _: str(self._service_enable))
        tree.add("*OPC", self._complete)
        tree.add("*OPC?", lambda _: "1")
        tree.add("*WAI", lambda _: None)
        tree.add("*TST?", lambda _: "0")
        tree.add("SYSTem:ERRor[:NEXT]?", self._next_error)
        tree.add("SYSTem:ERRor:COUNt?", lambda _: str(len(self._errors)))
        tree.add("STATus:PRESet", self._preset)
        for name, register in (
            ("OPERation", self.operation),
            ("QUEStionable", self.questionable),
            ("AUXiliary", self.auxiliary),
            ("AUXillary", self.auxiliary),  # the console manual's own spelling
            ("MEASurement", self.measurement),
        ):
            self._add_register(tree, f"STATus:{name}", register)

    def _add_register(self, tree: Tree, branch: str, register: Register) -> None:
        def condition(arguments: list[str]) -> str:
            none(arguments)
            self.refresh()
            return str(register.condition)

        def event(arguments: list[str]) -> str:
            none(arguments)
            self.refresh()
            return str(register.take_event())

        tree.add(f"{branch}[:EVENt]?", event)
        tree.add(f"{branch}:CONDition?", condition)
        for name, attribute in (("ENABle", "enable"), ("PTRansition", "ptr"), ("NTRansition", "ntr")):
            tree.add(f"{branch}:{name}", _setter(register, attribute))
            tree.add(f"{branch}:{name}?", _getter(register, attribute))

    def _cls(self, arguments: list[str]) -> None:
        none(arguments)
        self.clear()

    def _complete(self, _: list[str]) -> None:
        self._standard |= _OPERATION_COMPLETE

    def _take_standard(self) -> int:
        standard, self._standard = self._standard, 0
        return standard

    def _set_standard_enable(self, arguments: list[str]) -> None:
        self._standard_enable = int(number(only(arguments), 0, 255, 0))

    def _set_service_enable(self, arguments: list[str]) -> None:
        self._service_enable = int(number(only(arguments), 0, 255, 0))

    def _next_error(self, _: list[str]) -> str:
        return str(ScpiError(self._errors.popleft())) if self._errors else '0,"No error"'

    def _preset(self, _: list[str]) -> None:
        for register in (self.operation, self.questionable, self.auxiliary, self.measurement):
            register.enable, register.ptr, register.ntr = 0, 0x7FFF, 0


def _setter(register: Register, attribute: str) -> Handler:
    def handler(arguments: list[str]) -> None:
        setattr(register, attribute, int(number(only(arguments), 0, 65535, 0)))

    return handler


def _getter(register: Register, attribute: str) -> Handler:
    return lambda _: str(getattr(register, attribute))
