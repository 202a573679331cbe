"""Thorlabs SC10 shutter controller over RS-232 (manual 8654-D02, command list on page 15).

9600 baud 8N1, or 115200 where it was set to that. The controller echoes each command, then sends the value
and the prompt ``"> "``. ``ens`` toggles, so the state is asked before and after it under the connection's
lock, and what the blade does is read from the head's sensor. Tried on a simulator only.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Literal

from pydantic import Field
from pymeasure.adapters import Adapter
from pymeasure.instruments import Instrument
from pymeasure.instruments.validators import strict_discrete_set, strict_range

from drivers.support.failures import ConnectionLost
from drivers.support.session import Port
from drivers.support.spec import BaudRate, DriverSpec, Probe, Support, VisaConfig
from drivers.support.visa import VisaInstrument
from labctl.model.clock import Clock
from labctl.model.errors import InstrumentFault, InstrumentTimeout, ProtocolError
from labctl.model.records import Identity

MANUAL_MODE, SINGLE_MODE = 1, 3
LONGEST_OPEN_MS = 999_999
COMMAND_LIMIT_S = 0.7
"""Wall time within which a command must have been taken; the blade's travel is added to it.

Short enough that the attenuator is told within 1 s of a shutter that failed.
"""
BLADE_POLL_S = 0.005
GREETING_TIMEOUT_S = 1.0


def _flag(text: str) -> bool:
    return {"0": False, "1": True}[text]


class ThorlabsSC10(VisaInstrument):
    """Shutter controller SC10 with a head that reports its blade; safe to use from two threads.

    :param adapter: VISA resource, e.g. ``"ASRL4::INSTR"``.
    :param travel_s: longest time of the blade from one end to the other.
    :raises NotConnected: nobody, or something else, answers at the address.
    """

    port = Port(baud_rate=9600, read_termination=">", write_termination="\r", timeout_s=0.3)

    enabled = Instrument.measurement(
        "ens?", """Get whether the blade is commanded open (bool).""", cast=_flag
    )
    blade_closed = Instrument.measurement(
        "closed?", """Get whether the head's sensor reports the blade closed (bool).""", cast=_flag
    )
    interlock_tripped = Instrument.measurement(
        "interlock?", """Get whether the interlock is tripped (bool).""", cast=_flag
    )
    mode = Instrument.control(
        "mode?",
        "mode=%d",
        """Control the mode (int, 1 manual, 2 auto, 3 single, 4 repeat, 5 external gate).""",
        validator=strict_discrete_set,
        values=(1, 2, 3, 4, 5),
        cast=int,
        check_set_errors=True,
    )

    triggered = Instrument.control(
        "trig?",
        "trig=%d",
        """Control whether a command to open only arms, until the trigger input rises (int, 0 or 1).""",
        validator=strict_discrete_set,
        values=(0, 1),
        cast=int,
        check_set_errors=True,
    )

    open_time_ms = Instrument.control(
        "open?",
        "open=%d",
        """Control how long the single mode keeps the shutter open (int, ms, up to 6 digits).""",
        validator=strict_range,
        values=(1, LONGEST_OPEN_MS),
        cast=int,
        check_set_errors=True,
    )

    def __init__(
        self,
        adapter: str | Adapter,
        *,
        travel_s: float = 0.05,
        self_closing: bool = False,
        baud_rate: int | None = None,
        clock: Clock | None = None,
        visa_library: str = "@py",
        role: str = "shutter",
    ) -> None:
        super().__init__(adapter, role, clock, visa_library, baud_rate)
        self._travel_s = travel_s
        self.self_closing = self_closing
        self.greet(self._check_device)

    def _check_device(self) -> None:
        self.expect_model("id?", "SC10", b">", GREETING_TIMEOUT_S)
        self._go_to(MANUAL_MODE)
        if self.triggered:  # else it would only arm, and wait for a signal that nobody sends
            self.triggered = 0
            if self.triggered:
                raise InstrumentFault(self.name, "keeps its trigger input on", "set trig=0 at its panel")

    def _go_to(self, mode: int) -> None:
        """Choose a mode; a change of mode closes the shutter."""
        if self.mode != mode:
            self.mode = mode
            if self.mode != mode:
                word = "manual" if mode == MANUAL_MODE else "single"
                hint = f"set mode {mode} at its panel"
                raise InstrumentFault(self.name, f"does not go to {word} mode", hint)

    @property
    def travel_s(self) -> float:
        """Longest time from a command to the blade's end position, in s."""
        return self._travel_s

    def identity(self) -> Identity:
        """Ask the controller who it is."""
        words = self.ask("id?").split()
        model = next((word for word in words if "SC10" in word.upper()), "SC10")
        return self.remember(Identity("Thorlabs", model, "", words[-1] if len(words) > 1 else ""))

    def is_open(self) -> bool:
        """Ask the head's sensor; anything but a confirmed "closed" counts as open."""
        return not self.blade_closed

    def open(self, within_s: float | None = None) -> None:
        """Open and return once the head's sensor confirms it.

        :param within_s: with ``self_closing``, the controller closes the shutter by itself after this time
            (its single mode), 0.001 to 999.999 s of its own clock; longer times are cut to that.
        :raises InstrumentFault: the interlock is tripped, the blade does not open, a setting does not stay.
        """
        with self._mine():
            if self.interlock_tripped:
                raise InstrumentFault(self.name, "the interlock is tripped", "close the interlock circuit")
            if self.self_closing:
                self._close_after(within_s)
            self._drive(want_open=True)

    def _close_after(self, within_s: float | None) -> None:
        """Have the controller close by itself; None: leave that to whoever opens."""
        self._go_to(MANUAL_MODE if within_s is None else SINGLE_MODE)
        if within_s is None:
            return
        wanted_ms = min(max(math.ceil(within_s * 1000), 1), LONGEST_OPEN_MS)
        if self.open_time_ms != wanted_ms:
            self.open_time_ms = wanted_ms
            if self.open_time_ms != wanted_ms:
                raise InstrumentFault(self.name, f"does not keep an open time of {wanted_ms} ms")

    def close_beam(self) -> None:
        """Close and return once the head's sensor confirms it; gives up after about 0.8 s.

        :raises InstrumentFault: the blade does not close.
        """
        with self._mine():
            self._drive(want_open=False)

    @contextmanager
    def _mine(self) -> Iterator[None]:
        if not self.lock.acquire(timeout=COMMAND_LIMIT_S + self._travel_s):
            raise InstrumentTimeout(self.name, "another thread keeps the connection busy")
        try:
            yield
        finally:
            self.lock.release()

    def _drive(self, *, want_open: bool) -> None:
        end = time.monotonic() + COMMAND_LIMIT_S + self._travel_s
        # Whether it is late is known before each question: a program that stood still asks once more.
        tried = late = False
        while self.enabled != want_open:
            if tried and late:
                raise InstrumentFault(self.name, f"does not take the command to {_word(want_open)}")
            tried, late = True, time.monotonic() > end
            # A lost echo, or a line that was cut: what counts is the next ens?
            with suppress(InstrumentTimeout, ProtocolError, ConnectionLost):
                self.ask("ens")
        late = False
        while self.blade_closed == want_open:
            if late:
                if want_open and self.triggered:
                    text = "its trigger input is on: a command to open only arms it"
                    raise InstrumentFault(self.name, text, "send trig=0, or connect again")
                hint = "check the shutter blade, the cable of the head and the panel of the controller"
                raise InstrumentFault(self.name, f"the blade does not {_word(want_open)}", hint)
            self.clock.sleep(BLADE_POLL_S)
            late = time.monotonic() > end

    def check_set_errors(self) -> list[str]:
        """Read the echo that follows a set command; there is nothing else to tell.

        :raises InstrumentFault: the controller refuses the command.
        """
        self.reply()
        return []

    def reply(self) -> str:
        """Read up to the prompt, take the echo off and return the value."""
        sent = self._sent
        text = super().reply()
        return self.without_echo(sent, text)

    def is_idempotent(self, command: str) -> bool:
        """Questions may be repeated; ``ens`` may not."""
        return command.endswith("?")


def _word(want_open: bool) -> str:
    return "open" if want_open else "close"


class ThorlabsSC10Config(VisaConfig):
    """``[shutter]`` with ``driver = "thorlabs-sc10"``."""

    driver: Literal["thorlabs-sc10"]
    travel_s: Annotated[float, Field(gt=0, le=5)] = 0.05
    self_closing: bool = False
    baud_rate: BaudRate = 9600
    """115200 where the controller was set to it (``baud=1``)."""


def _open(config: ThorlabsSC10Config, clock: Clock) -> ThorlabsSC10:
    return ThorlabsSC10(
        config.resource,
        travel_s=config.travel_s,
        self_closing=config.self_closing,
        baud_rate=config.baud_rate,
        clock=clock,
        visa_library=config.visa_library,
    )


_ANSWER = r"(?s)id\?\r(?:THORLABS )?(?P<model>SC10).*"
DRIVER = DriverSpec(
    "thorlabs-sc10",
    "shutter",
    ThorlabsSC10Config,
    _open,
    "Thorlabs SC10 shutter controller",
    Support(
        "Thorlabs SC10 with a head that reports its blade",
        "serial 9600 8N1, or 115200 where it was set to that (baud_rate)",
        "simulator, TCP and pseudo-terminal",
        ("it has no serial number to tell: two of them are told apart by their ports only",),
    ),
    tuple(Probe(b"id?\r", _ANSWER, b">", rate) for rate in (9600, 115200)),
)
