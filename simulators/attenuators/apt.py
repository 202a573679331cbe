"""Thorlabs APT controllers: what all of them answer, and those of rotation mounts (K10CR1; KDC101, PRM1-Z8).

A message has 6 bytes: identifier, two parameters, destination, source; where the top bit of the destination
is set, the parameters are the length of the data that follow. All numbers are little endian. Source:
Thorlabs APT Controllers Host-Controller Communications Protocol; scales of position, speed and acceleration
from public clients. Messages that are not described here are taken without an answer.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from labctl.model.clock import Clock
from simulators.link import DUE_TOLERANCE_S, Wire
from simulators.registry import Simulator
from simulators.scene import Scene
from simulators.usb.ftdi import APT, Ftdi

HOST, UNIT = 0x01, 0x50
CHANNEL = 1
LONGEST = 255
"""Bytes of data: no message of the protocol has more."""
UPDATE_S = 0.1

FORWARD, REVERSE, CONNECTED, HOMING, HOMED, ENABLED = 0x10, 0x20, 0x100, 0x200, 0x400, 0x80000000


class AptDevice(Wire):
    """Cuts messages, answers who it is and the channel's switch; a subclass adds what it does.

    :param model: up to 8 characters. :param serial: its first two digits name the model.
    """

    baud_rate = 115200

    def __init__(self, clock: Clock, model: str, serial: int, firmware: tuple[int, int, int]) -> None:
        super().__init__(clock)
        self.model, self.serial, self._firmware = model, serial, firmware
        self.enabled = True
        self._updates_s: float | None = None
        self._buffer = b""
        self._short: dict[int, Callable[[int, int], object]] = {
            0x0005: lambda *_: self._tell_who(),
            0x0011: lambda *_: self._start_updates(),
            0x0012: lambda *_: self._stop_updates(),
            0x0210: self._enable,
            0x0211: lambda *_: self.tell(0x0212, CHANNEL, 1 if self.enabled else 2),
        }
        self._long: dict[int, Callable[[bytes], object]] = {}

    def new_client(self) -> None:
        """Forget half a message; the device goes on with its updates."""
        self._buffer = b""

    def receive(self, data: bytes) -> None:
        """Take bytes and carry out every message they complete."""
        self._buffer += data
        while len(self._buffer) >= 6:
            number, low, high, to, _ = struct.unpack("<HBBBB", self._buffer[:6])
            size = low + 256 * high if to & 0x80 else 0
            if to & 0x7F != UNIT or size > LONGEST:
                self._buffer = self._buffer[1:]  # no beginning of a message: the next byte may be one
                continue
            if len(self._buffer) < 6 + size:
                return
            body, self._buffer = self._buffer[6 : 6 + size], self._buffer[6 + size :]
            if to & 0x80:
                if number in self._long:
                    self._long[number](body)
            elif number in self._short:
                self._short[number](low, high)

    def tell(self, number: int, first: int = 0, second: int = 0) -> None:
        """Send a short message."""
        self._send(struct.pack("<HBBBB", number, first, second, HOST, UNIT))

    def tell_data(self, number: int, data: bytes) -> None:
        """Send a message with data."""
        self._send(struct.pack("<HHBB", number, len(data), HOST | 0x80, UNIT) + data)

    def due_s(self) -> float | None:
        """Return when the next unasked status is due."""
        return self._updates_s

    def wake(self) -> None:
        """Send the status that is due."""
        if self._updates_s is not None and self._updates_s <= self.clock.now_s() + DUE_TOLERANCE_S:
            self._updates_s += UPDATE_S
            self.update()

    def update(self) -> None:
        """Send one unasked status."""

    def _tell_who(self) -> None:
        major, interim, minor = self._firmware
        head = struct.pack("<l8sH4B", self.serial, self.model.encode(), 16, minor, interim, major, 0)
        self.tell_data(0x0006, head + bytes(60) + struct.pack("<HHH", 3, 1, 1))

    def _start_updates(self) -> None:
        self._updates_s = self.clock.now_s() + UPDATE_S

    def _stop_updates(self) -> None:
        self._updates_s = None

    def _enable(self, _channel: int, state: int) -> None:
        self.enabled = state == 1


class Mount(Protocol):
    """The part of the scene that turns; angles in degrees, times in seconds of the scene's clock."""

    speed_rel: float

    def encoder_deg(self) -> float:
        """Return what the encoder shows now."""

    def moving(self) -> bool:
        """Return whether it turns now."""

    def move_to(self, angle_deg: float, /) -> float:
        """Start a motion; return its end."""

    def home(self) -> float:
        """Start the search for the reference; return its end."""

    def stop(self) -> None:
        """Stop where it is."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Counts of a degree, of a degree/s and of a degree/s^2, and the speed after power-up, degrees/s."""

    position: float
    speed: float
    acceleration: float
    speed_deg_s: float


SCALES: Mapping[str, Scale] = {
    "K10CR1": Scale(409600 / 3, 7329109.0, 1502.0, 10.0),
    "KDC101": Scale(1919.6418578623391, 42941.66, 14.66, 10.0),
}


class AptMount(AptDevice):
    """A controller with a rotation mount.

    :param mount: what it turns. :param full_deg_s: its speed where the scene does not slow it, degrees/s.
    """

    def __init__(
        self, clock: Clock, mount: Mount, full_deg_s: float, model: str = "K10CR1", serial: int = 55123456
    ) -> None:
        super().__init__(clock, model, serial, (1, 0, 3))
        self._mount, self._full_deg_s, self._scale = mount, full_deg_s, SCALES[model]
        self._homing = self.homed = False
        self._silent = False
        self._ends_s: float | None = None
        self._goal = self._backlash = 0
        self._acceleration = round(10.0 * self._scale.acceleration)
        self._home_values = (2, 1, round(self._scale.speed_deg_s * self._scale.speed), 0)
        self._set_speed(round(self._scale.speed_deg_s * self._scale.speed))
        self._short |= {
            0x0443: lambda *_: self._home(),
            0x0453: lambda *_: self._go(self._goal),
            0x0465: lambda *_: self._stop(),
            0x0429: lambda *_: self.tell_data(0x042A, struct.pack("<HL", CHANNEL, self.bits())),
            0x0411: lambda *_: self.tell_data(0x0412, struct.pack("<Hl", CHANNEL, self.counts())),
            0x040A: lambda *_: self.tell_data(0x040B, struct.pack("<Hl", CHANNEL, self.counts())),
            0x0414: lambda *_: self.tell_data(0x0415, self._speeds()),
            0x043B: lambda *_: self.tell_data(0x043C, struct.pack("<Hl", CHANNEL, self._backlash)),
            0x0441: lambda *_: self.tell_data(0x0442, struct.pack("<HHHll", CHANNEL, *self._home_values)),
            0x046B: lambda *_: self._suspend(True),
            0x046C: lambda *_: self._suspend(False),
            0x0480: lambda *_: self.tell_data(0x0481, self._counters()),
            0x0490: lambda *_: self.update(),
        }
        self._long |= {
            0x0413: lambda data: self._set_speeds(*struct.unpack("<H3l", data)),
            0x043A: lambda data: self._set_backlash(*struct.unpack("<Hl", data)),
            0x0440: lambda data: self._set_home(*struct.unpack("<HHHll", data)),
            0x0448: lambda data: self._go(self.counts() + struct.unpack("<Hl", data)[1]),
            0x0450: lambda data: self._set_goal(*struct.unpack("<Hl", data)),
            0x0453: lambda data: self._go(struct.unpack("<Hl", data)[1]),
        }

    def counts(self) -> int:
        """Return the position as it is told."""
        return round(self._mount.encoder_deg() * self._scale.position)

    def bits(self) -> int:
        """Return the status bits; a mount that turns shows both directions, as users of a K10CR1 report."""
        turning = (FORWARD | REVERSE) if self._ends_s is not None else 0
        state = (HOMING if self._homing else 0) | (HOMED if self.homed else 0)
        return turning | state | CONNECTED | (ENABLED if self.enabled else 0)

    def update(self) -> None:
        """Send position, speed and status bits."""
        self.tell_data(0x0491, self._status())

    def due_s(self) -> float | None:
        """Return when a motion ends, or a status is due."""
        return min((at for at in (self._ends_s, super().due_s()) if at is not None), default=None)

    def wake(self) -> None:
        """Say that a motion has ended, and send the status that is due."""
        if self._ends_s is not None and self._ends_s <= self.clock.now_s() + DUE_TOLERANCE_S:
            self._ends_s = None
            if self._homing:
                self._homing, self.homed = False, abs(self._mount.encoder_deg()) < 0.5
                self._ended(lambda: self.tell(0x0444, CHANNEL))
            else:
                self._ended(lambda: self.tell_data(0x0464, self._status()))
        super().wake()

    def _ended(self, tell: Callable[[], None]) -> None:
        if not self._silent:
            tell()

    def _status(self) -> bytes:
        return struct.pack("<HlHHL", CHANNEL, self.counts(), 0, 0, self.bits())

    def _counters(self) -> bytes:
        return struct.pack("<HllL", CHANNEL, self.counts(), self.counts(), self.bits())

    def _speeds(self) -> bytes:
        return struct.pack("<H3l", CHANNEL, 0, self._acceleration, self._speed)

    def _set_speeds(self, _channel: int, _least: int, acceleration: int, most: int) -> None:
        self._acceleration = acceleration
        self._set_speed(most)

    def _set_speed(self, counts: int) -> None:
        self._speed = counts
        self._mount.speed_rel = min(max(counts / self._scale.speed / self._full_deg_s, 1e-6), 1.0)

    def _set_backlash(self, _channel: int, counts: int) -> None:
        self._backlash = counts

    def _set_home(self, _channel: int, direction: int, switch: int, speed: int, offset: int) -> None:
        self._home_values = (direction, switch, speed, offset)

    def _set_goal(self, _channel: int, counts: int) -> None:
        self._goal = counts

    def _suspend(self, silent: bool) -> None:
        self._silent = silent

    def _home(self) -> None:
        if self.enabled:
            self._homing, self.homed = True, False
            self._ends_s = self._mount.home()

    def _go(self, counts: int) -> None:
        if self.enabled:
            self._homing = False
            self._ends_s = self._mount.move_to(counts / self._scale.position)

    def _stop(self) -> None:
        self._mount.stop()
        self._ends_s, self._homing = None, False
        self.tell_data(0x0466, self._status())


def _make(scene: Scene) -> AptMount:
    return AptMount(scene.clock, scene.mount, scene.settings.mount.speed_deg_s)


SIMULATOR = Simulator("thorlabs-apt", "attenuator", _make, plug=lambda _: partial(Ftdi, "SIMAPT", named=APT))
