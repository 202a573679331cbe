"""Thorlabs KSC101 solenoid controller with a beam shutter (SH05, SH1 ...), by the APT protocol.

The state it tells is the controller's: whether that is a sensor at the blade is not published. So the blade
is given its travel after the state is confirmed, and what sees the light behind it has the last word. Tried
on a simulator only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

from pydantic import Field
from pymeasure.adapters import Adapter

from drivers.support.apt import CHANNEL, AptDevice, probe, short
from drivers.support.spec import BaudRate, DriverSpec, Support, VisaConfig
from labctl.model.clock import Clock
from labctl.model.errors import InstrumentFault, InstrumentTimeout

SET_MODE, MODE = 0x04C0, (0x04C1, 0x04C2)
SET_STATE, STATE = 0x04CB, (0x04CC, 0x04CD)
MANUAL = 1
OPEN, CLOSE = 1, 2
CLOSED = (0, 2)
"""What the state reads when it is closed: 2 by the protocol's description, 0 as users report."""
COMMAND_LIMIT_S = 0.7
"""Wall time within which a command must have been taken."""
POLL_S = 0.005


class ThorlabsKSC101(AptDevice):
    """Solenoid controller KSC101 (or TSC001) in manual mode; safe to use from two threads.

    :param adapter: VISA resource, e.g. ``"ASRL4::INSTR"``.
    :param travel_s: longest time of the blade from one end to the other.
    :raises NotConnected: no such controller answers there.
    """

    models = ("KSC101", "TSC001")
    confirms = False

    def __init__(
        self,
        adapter: str | Adapter,
        *,
        travel_s: float = 0.05,
        clock: Clock | None = None,
        visa_library: str = "@py",
        baud_rate: int | None = None,
        role: str = "shutter",
    ) -> None:
        self._travel_s = travel_s
        super().__init__(adapter, role, clock=clock, visa_library=visa_library, baud_rate=baud_rate)

    def _check_model(self) -> None:
        super()._check_model()
        self.tell(short(SET_STATE, CHANNEL, CLOSE))
        if self.question(short(MODE[0], CHANNEL), MODE[1]).second != MANUAL:
            self.tell(short(SET_MODE, CHANNEL, MANUAL))
            found = self.question(short(MODE[0], CHANNEL), MODE[1]).second
            if found != MANUAL:
                hint = "choose the manual mode at its panel"
                raise InstrumentFault(self.name, f"keeps mode {found} instead of {MANUAL} (manual)", hint)

    @property
    def travel_s(self) -> float:
        """Longest time from a command to the blade's end position, in s."""
        return self._travel_s

    def is_open(self) -> bool:
        """Ask the controller; anything but a confirmed "closed" counts as open."""
        return self.question(short(STATE[0], CHANNEL), STATE[1]).second not in CLOSED

    def open(self) -> None:
        """Open and return once the controller reports it and the blade has had its travel.

        :raises InstrumentFault: it does not open.
        """
        with self._mine():
            hint = "check its key switch, the interlock and its supply"
            self._drive(OPEN, "does not open", hint)

    def close_beam(self) -> None:
        """Close and return once the controller reports it and the blade has had its travel.

        :raises InstrumentFault: it does not close.
        """
        with self._mine():
            self._drive(
                CLOSE, "does not close", "check the shutter blade and its cable, or switch the controller off"
            )

    @contextmanager
    def _mine(self) -> Iterator[None]:
        if not self.lock.acquire(timeout=COMMAND_LIMIT_S + self._travel_s):
            raise InstrumentTimeout(self.name, "another thread keeps the connection busy")
        try:
            yield
        finally:
            self.lock.release()

    def _drive(self, state: int, fails: str, hint: str) -> None:
        end = time.monotonic() + COMMAND_LIMIT_S
        while True:
            late = time.monotonic() > end  # before asking: a program that stood still asks once more
            self.tell(short(SET_STATE, CHANNEL, state))
            if self.is_open() is (state == OPEN):
                break
            if late:
                raise InstrumentFault(self.name, fails, hint)
            self.clock.sleep(POLL_S)
        self.clock.sleep(self._travel_s)


class ThorlabsKSC101Config(VisaConfig):
    """``[shutter]`` with ``driver = "thorlabs-ksc101"``."""

    driver: Literal["thorlabs-ksc101"]
    baud_rate: BaudRate | None = None
    travel_s: Annotated[float, Field(gt=0, le=5)] = 0.05


def _open(config: ThorlabsKSC101Config, clock: Clock) -> ThorlabsKSC101:
    return ThorlabsKSC101(
        config.resource,
        travel_s=config.travel_s,
        clock=clock,
        visa_library=config.visa_library,
        baud_rate=config.baud_rate,
    )


DRIVER = DriverSpec(
    "thorlabs-ksc101",
    "shutter",
    ThorlabsKSC101Config,
    _open,
    "Thorlabs KSC101 shutter controller (APT)",
    Support(
        "Thorlabs KSC101, TSC001 with a solenoid shutter (SH05, SH1 ...), in manual mode",
        "serial (FTDI) 115200 8N1, APT protocol",
        "simulator, TCP and pseudo-terminal; thorlabs-apt-protocol 29 on the simulator",
        (
            "open and closed are the controller's own word: whether it asks a sensor at the blade is "
            "not published, so let the meter or the spectrometer see the light behind the shutter",
            "it does not close by itself after a time (self_closing)",
        ),
    ),
    (probe(ThorlabsKSC101.models),),
)
