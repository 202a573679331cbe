"""One module on an Elliptec bus: who it is, what it is asked, and what else is heard there.

9600 baud 8N1. A request is address, two lower-case letters and upper-case hex data without any end; an answer
is address, two upper-case letters and data up to CR LF. Button messages (BS, BO) come unasked: skipped.
"""

from __future__ import annotations

import time
from typing import ClassVar

from pymeasure.adapters import Adapter
from pymeasure.instruments import Instrument

from drivers.support.elliptec import ANSWER, BUSY, FRAME, STATUS_TEXT, Module, parse_module, parse_position
from drivers.support.failures import not_connected
from drivers.support.ports import Port
from drivers.support.session import LONGEST_ANSWER
from drivers.support.visa import SHOWN, SLICE_S, VisaInstrument
from labctl.model.clock import Clock, Stop, check_stop
from labctl.model.errors import InstrumentFault, InstrumentTimeout, NotConnected, ProtocolError
from labctl.model.records import Identity


class ElliptecModule(VisaInstrument):
    """What every module answers; a subclass says which one it is.

    :cvar type: what ``in`` announces.
    :param address: bus address, one hex digit.
    """

    model: ClassVar[str]
    type: ClassVar[int]

    # Asked again after this; light that stands on a silent module is then off within 1 s.
    port = Port(baud_rate=9600, read_termination="\n", write_termination="", timeout_s=0.7)

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
        self, adapter: str | Adapter, address: str, *, clock: Clock | None, visa_library: str, role: str
    ) -> None:
        self.address = address.upper()
        super().__init__(adapter, role, clock, visa_library)
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
        if module.type != self.type:
            wanted = f"{self.model} ({self.type:02X})"
            answer = f"an Elliptec module of type {module.type:02X} answered, not an {wanted}"
            raise not_connected(self.role, self.resource, answer, "check the bus address")
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
        return self.listen(b"\n", SLICE_S).startswith(f"{address}IN".encode())

    def identity(self) -> Identity:
        """Ask the module who it is."""
        module = self.module
        return self.remember(Identity("Thorlabs", self.model, module.serial, module.firmware))

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
