"""The Thorlabs KSC101 solenoid controller with a shutter, by the APT protocol.

It drives a solenoid and tells the state it drives it to: 1 open, 0 closed, as users report of the device. No
sensor of the blade is known of, and this one has none: a blade that is stuck is told to be where it was sent.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import Protocol

from labctl.model.clock import Clock
from simulators.attenuators.apt import CHANNEL, AptDevice
from simulators.link import DUE_TOLERANCE_S
from simulators.registry import Simulator
from simulators.usb.ftdi import APT, Ftdi

MANUAL, SINGLE, AUTO, TRIGGERED = 1, 2, 3, 4
OPEN, CLOSE = 1, 2


class Blade(Protocol):
    """The part of the scene that lets light pass."""

    def command(self, open_: bool) -> float:
        """Send it to one end; return when it will be there."""


class Ksc101(AptDevice):
    """A controller and its solenoid.

    :param blade: what it moves.
    """

    def __init__(self, clock: Clock, blade: Blade, serial: int = 68123456) -> None:
        super().__init__(clock, "KSC101", serial, (1, 0, 6))
        self._blade = blade
        self._mode, self._interlock_mode = MANUAL, 1
        self._times = (500, 500, 1)
        self._open = self._tripped = False
        self._next_s: float | None = None
        self._left = 0
        self._short |= {
            0x04C0: lambda _, mode: self._set_mode(mode),
            0x04C1: lambda *_: self.tell(0x04C2, CHANNEL, self._mode),
            0x04C4: lambda *_: self.tell_data(0x04C5, struct.pack("<H3l", CHANNEL, *self._times)),
            0x04C6: lambda _, mode: self._set_interlock(mode),
            0x04C7: lambda *_: self.tell(0x04C8, CHANNEL, self._interlock_mode),
            0x04CB: lambda _, state: self._set_state(state),
            0x04CC: lambda *_: self.tell(0x04CD, CHANNEL, 1 if self._open else 0),
        }
        self._long |= {0x04C3: lambda data: self._set_times(*struct.unpack("<H3l", data))}

    def trip_interlock(self, tripped: bool) -> None:
        """Open the interlock circuit, or close it again: without it the solenoid gets no current."""
        self._tripped = tripped
        if tripped:
            self._move(False)

    def due_s(self) -> float | None:
        """Return when it opens or closes by itself, or a status is due."""
        return min((at for at in (self._next_s, super().due_s()) if at is not None), default=None)

    def wake(self) -> None:
        """Go through the cycle of the single and the automatic mode."""
        if self._next_s is not None and self._next_s <= self.clock.now_s() + DUE_TOLERANCE_S:
            on_ms, off_ms, _ = self._times
            if self._open:
                self._move(False)
                self._left -= 1
                self._next_s = self.clock.now_s() + off_ms * 1e-3 if self._left > 0 else None
            else:
                self._move(True)
                self._next_s = self.clock.now_s() + on_ms * 1e-3
        super().wake()

    def _set_mode(self, mode: int) -> None:
        if mode in (MANUAL, SINGLE, AUTO, TRIGGERED):
            self._set_state(CLOSE)
            self._mode = mode

    def _set_interlock(self, mode: int) -> None:
        self._interlock_mode = mode

    def _set_times(self, _channel: int, on_ms: int, off_ms: int, cycles: int) -> None:
        self._times = (on_ms, off_ms, cycles)

    def _set_state(self, state: int) -> None:
        self._next_s = None
        if state != OPEN:
            self._move(False)
            return
        if self._tripped or not self.enabled or self._mode == TRIGGERED:
            return
        self._move(True)
        if self._mode != MANUAL:
            self._left = 1 if self._mode == SINGLE else self._times[2]
            self._next_s = self.clock.now_s() + self._times[0] * 1e-3

    def _move(self, open_: bool) -> None:
        if open_ != self._open:
            self._open = open_
            self._blade.command(open_)


SIMULATOR = Simulator(
    "thorlabs-ksc101",
    "shutter",
    lambda scene: Ksc101(scene.clock, scene.shutter),
    plug=lambda _: partial(Ftdi, "SIMKSC101", named=APT),
)
