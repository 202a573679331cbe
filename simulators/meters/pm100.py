"""A Thorlabs PM100D console: program messages in, response messages out.

The text is that of the PM100 family; the console itself has USB only, so a socket or a pseudo-terminal
reproduces what is said, not the plug. Erroneous queries are not answered: the error waits in the queue.
"""

from __future__ import annotations

from collections import deque

from labctl.model.clock import Clock
from simulators.link import DUE_TOLERANCE_S, Wire
from simulators.meters.pm100_commands import Commands
from simulators.meters.pm100_meter import Head, Meter
from simulators.meters.pm100_scpi import Answer, Pending, ScpiError, number, only
from simulators.meters.pm100_settings import BAUD_RATES
from simulators.meters.pm100_status import Status
from simulators.registry import Simulator

IDENTITY = "THORLABS,PM100D,P0012345,2.4.0"
LONGEST_MESSAGE = 200
"""Characters of one program message (PM103 reference)."""


class Pm100(Wire):
    """One console with one head."""

    def __init__(self, clock: Clock, head: Head) -> None:
        super().__init__(clock)
        self.meter = Meter(head)
        self.status = Status()
        self.baud_rate = 115200
        self._tree = Commands(self.meter, self.status, clock, IDENTITY).tree
        self._add_baud_rate()
        self._line = b""
        self._messages: deque[str] = deque()
        self._units: deque[str] = deque()
        self._path: tuple[str, ...] = ()
        self._answers: list[str] = []
        self._pending: Pending | None = None

    def _add_baud_rate(self) -> None:
        """Enter the command of the consoles with a serial port; it takes effect at once."""

        def set_rate(arguments: list[str]) -> None:
            wanted = int(number(only(arguments), BAUD_RATES[0], BAUD_RATES[-1], 115200))
            if wanted not in BAUD_RATES:
                raise ScpiError(-224)
            self.baud_rate = wanted

        self._tree.add("SYSTem:SERial:TRANsmit:BAUD", set_rate)
        self._tree.add("SYSTem:SERial:TRANsmit:BAUD?", lambda _: str(self.baud_rate))

    def new_client(self) -> None:
        """Forget unfinished messages and the measurement somebody waited for."""
        self._line = b""
        self._messages.clear()
        self._finish_message()
        self._pending = None

    def receive(self, data: bytes) -> None:
        """Take bytes; a line feed ends a program message."""
        *lines, self._line = (self._line + data).split(b"\n")
        if len(self._line) > LONGEST_MESSAGE:
            self._line = self._line[: LONGEST_MESSAGE + 1]  # enough to know that it was too long
        for line in lines:
            text = line.rstrip(b"\r")
            if len(text) > LONGEST_MESSAGE:
                self.status.report(-363)
            else:
                self._messages.append(text.decode("latin-1"))
        self._work()

    def due_s(self) -> float | None:
        """Return when the measurement that blocks the interface is complete."""
        return None if self._pending is None else self._pending.due_s

    def wake(self) -> None:
        """Answer what was waited for, then whatever arrived meanwhile."""
        pending = self._pending
        if pending is not None and pending.due_s - self.clock.now_s() <= DUE_TOLERANCE_S:
            self._pending = None
            try:
                self._take(pending.result())
            except ScpiError as error:
                self.status.report(error.code)
            self._end_of_unit()
            self._work()

    def _work(self) -> None:
        while self._pending is None and (self._units or self._messages):
            if not self._units:
                self._units.extend(_split(self._messages.popleft(), ";"))
            self._unit(self._units.popleft().strip())
            self._end_of_unit()

    def _end_of_unit(self) -> None:
        if not self._units and self._pending is None:
            self._finish_message()

    def _unit(self, unit: str) -> None:
        if not unit:
            return
        header, _, rest = unit.partition(" ")
        arguments = [part.strip() for part in _split(rest, ",")] if rest.strip() else []
        try:
            handler, self._path = self._tree.find(header, self._path)
            self._take(handler(arguments))
        except ScpiError as error:
            self.status.report(error.code)

    def _take(self, answer: Answer) -> None:
        if isinstance(answer, Pending):
            self._pending = answer
        elif answer is not None:
            self._answers.append(answer)

    def _finish_message(self) -> None:
        answers, self._answers = self._answers, []
        self._units.clear()
        self._path = ()
        if answers:
            self._send((";".join(answers) + "\n").encode("ascii"))


def _split(text: str, separator: str) -> list[str]:
    """Split at a separator outside quotes."""
    if '"' not in text and "'" not in text:
        return text.split(separator)
    parts, quote = [""], ""
    for character in text:
        if character == separator and not quote:
            parts.append("")
            continue
        if character in "\"'":
            quote = "" if quote == character else quote or character
        parts[-1] += character
    return parts


SIMULATOR = Simulator("thorlabs-pm100", "power_meter", lambda scene: Pm100(scene.clock, scene.meter))
