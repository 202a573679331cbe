"""What a Thorlabs console understands of SCPI and IEEE 488.2: headers, parameters, errors, status."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

ERRORS = {
    -104: "Data type error", -108: "Parameter not allowed", -109: "Missing parameter",
    -113: "Undefined header", -200: "Execution error", -221: "Settings conflict", -222: "Data out of range",
    -224: "Illegal parameter value", -230: "Data corrupt or stale", -350: "Queue overflow",
    -363: "Input buffer overrun", -365: "Time out error", -410: "Query INTERRUPTED",
    -420: "Query UNTERMINATED",
}  # fmt: skip


class ScpiError(Exception):
    """A message unit that could not be carried out; it goes to the error queue."""

    def __init__(self, code: int) -> None:
        super().__init__(f'{code},"{ERRORS[code]}"')
        self.code = code


@dataclass(frozen=True, slots=True)
class Pending:
    """An answer that is not there yet: ask ``result`` once the clock has reached ``due_s``."""

    due_s: float
    result: Callable[[], Answer]


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

Answer = str | Pending | None
Handler = Callable[[list[str]], Answer]


def expand(canonical: str) -> Iterator[str]:
    """Yield every header a canonical form allows, still with its upper and lower case.

    >>> sorted(expand("SENSe:AVERage[:COUNt]"))
    ['SENSe:AVERage', 'SENSe:AVERage:COUNt']
    """
    begin = canonical.find("[")
    if begin < 0:
        yield canonical
        return
    depth, end = 0, begin
    for end in range(begin, len(canonical)):
        depth += {"[": 1, "]": -1}.get(canonical[end], 0)
        if depth == 0:
            break
    before, inside, after = canonical[:begin], canonical[begin + 1 : end], canonical[end + 1 :]
    yield from expand(before + after)
    yield from expand(before + inside + after)


class Tree:
    """All commands of an instrument, found by short or long form, in any case."""

    def __init__(self) -> None:
        self._handlers: dict[tuple[str, ...], Handler] = {}
        self._short: dict[str, str] = {}

    def add(self, canonical: str, handler: Handler) -> None:
        """Enter a command; a query's canonical form ends with a question mark."""
        query = "?" if canonical.endswith("?") else ""
        for header in expand(canonical.rstrip("?")):
            key = []
            for node in header.strip(":").split(":"):
                short = re.sub("[a-z]", "", node)
                self._short[short] = self._short[node.upper()] = short
                key.append(short)
            self._handlers[(*key, query)] = handler

    def find(self, header: str, path: tuple[str, ...]) -> tuple[Handler, tuple[str, ...]]:
        """Return the handler of one header and the tree path that holds for the next one.

        :param path: what the header before left behind.
        :raises ScpiError: -113, no such command.
        """
        query = "?" if header.endswith("?") else ""
        text = header.removesuffix("?").upper()
        if text.startswith("*"):
            nodes: tuple[str, ...] = (text,)
            here = path
        else:
            names = tuple(self._short.get(_unnumbered(name), "") for name in text.lstrip(":").split(":"))
            nodes = names if text.startswith(":") else path + names
            here = nodes[:-1]
        handler = self._handlers.get((*nodes, query))
        if handler is None:
            raise ScpiError(-113)
        return handler, here


def _unnumbered(node: str) -> str:
    """Drop the channel suffix of a node: these consoles have one channel, 1."""
    return node[:-1] if node.endswith("1") else node


def number(text: str, low: float, high: float, default: float) -> float:
    """Read a numeric parameter: a number, MIN, MAX or DEF.

    :raises ScpiError: -104 not a number, -222 outside ``low`` to ``high``.
    """
    named = {"MIN": low, "MINIMUM": low, "MAX": high, "MAXIMUM": high, "DEF": default, "DEFAULT": default}
    if (value := named.get(text.upper())) is not None:
        return value
    if not _NUMBER.fullmatch(text):
        raise ScpiError(-104)
    value = float(text)
    if not low <= value <= high:
        raise ScpiError(-222)
    return value


def boolean(text: str) -> bool:
    """Read ON, OFF, 0 or 1.

    :raises ScpiError: -104 anything else.
    """
    value = {"0": False, "OFF": False, "1": True, "ON": True}.get(text.upper())
    if value is None:
        raise ScpiError(-104)
    return value


def only(arguments: list[str]) -> str:
    """Return the one parameter a command takes.

    :raises ScpiError: -109 there is none, -108 there are more.
    """
    if not arguments:
        raise ScpiError(-109)
    if len(arguments) > 1:
        raise ScpiError(-108)
    return arguments[0]


def none(arguments: list[str]) -> None:
    """Check that there is no parameter.

    :raises ScpiError: -108 there is one.
    """
    if arguments:
        raise ScpiError(-108)


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
