"""Thorlabs rotation mounts on APT controllers: K10CR1, and KDC101 or TDC001 with a PRM1-Z8.

Scales are those of public clients that were tried on the devices. A KDC101 does not say which motor stands on
it: it is taken to be a PRM1-Z8. Tried on a simulator only.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Literal

from pymeasure.adapters import Adapter

from drivers.support.apt import CHANNEL, AptDevice, probe, short, with_data
from drivers.support.rotation import RotationConfig, homed_if_asked
from drivers.support.spec import BaudRate, DriverSpec, Support
from labctl.model.clock import Clock, Stop, check_stop
from labctl.model.errors import Aborted, InstrumentFault, InstrumentTimeout

COUNTS_PER_DEG = {"K10CR1": 409600 / 3, "KDC101": 1919.6418578623391, "TDC001": 1919.6418578623391}
ENABLE, HOME, GO, STOP = 0x0210, 0x0443, 0x0453, 0x0465
BITS, POSITION = (0x0429, 0x042A), (0x0411, 0x0412)
MOVING, HOMING, HOMED, MOTION_ERROR, ENABLED = 0xF0, 0x200, 0x400, 0x4000, 0x80000000
GENTLY = 2
TOLERANCE_DEG = 0.1
POLL_S = 0.05
Arrived = Callable[[int], bool]
"""Tells from the status bits whether the mount is where it was sent."""
STARTS_S = 1.0
"""Wall time within which a motion must show in the status bits, or be over."""


class ThorlabsAptMount(AptDevice):
    """Rotation mount on an APT controller; angles in degrees, positive as the controller counts.

    :param adapter: VISA resource, e.g. ``"ASRL3::INSTR"``.
    :param angle_range_deg: lowest and highest angle that may be asked for.
    :param move_timeout_s: wall time within which any motion must have ended.
    :raises NotConnected: no such controller answers there.
    """

    models = tuple(COUNTS_PER_DEG)

    def __init__(
        self,
        adapter: str | Adapter,
        *,
        angle_range_deg: tuple[float, float] = (0.0, 360.0),
        move_timeout_s: float = 120.0,
        clock: Clock | None = None,
        visa_library: str = "@py",
        baud_rate: int | None = None,
        role: str = "attenuator",
    ) -> None:
        self._range_deg, self._move_timeout_s = angle_range_deg, move_timeout_s
        super().__init__(adapter, role, clock=clock, visa_library=visa_library, baud_rate=baud_rate)

    @property
    def angle_range_deg(self) -> tuple[float, float]:
        """Lowest and highest angle that may be asked for, in degrees."""
        return self._range_deg

    def angle_deg(self) -> float:
        """Read the present angle, in degrees."""
        answer = self.question(short(POSITION[0], CHANNEL), POSITION[1])
        (counts,) = self._unpacked("<2xl", answer.data)
        return counts / COUNTS_PER_DEG[self.model]

    def is_referenced(self) -> bool:
        """Ask the controller whether it has homed since power-up; a motion under way is waited for."""
        end = time.monotonic() + self._move_timeout_s
        bits = self._bits()
        while bits & (MOVING | HOMING):
            self._refuse_late(end)
            self.clock.sleep(POLL_S)
            bits = self._bits()
        return bool(bits & HOMED)

    def home(self, stop: Stop | None = None) -> None:
        """Find the reference, through any angle on the way: the shutter must be closed.

        :raises InstrumentFault: the controller has no reference afterwards.
        """
        check_stop(stop)
        self._enable()
        self.tell(short(HOME, CHANNEL))
        self._await_end(lambda bits: bool(bits & HOMED), stop)
        if not self._bits() & HOMED:
            hint = "the plate may be blocked; home it in the maker's program"
            raise InstrumentFault(self.name, "did not find its reference", hint)

    def move_to(self, angle_deg: float, stop: Stop | None = None) -> float:
        """Move, wait for the end of the motion and return the angle read back, in degrees.

        :raises InstrumentFault: outside the range, the controller reports an error, or it ended elsewhere.
        """
        check_stop(stop)
        low, high = self._range_deg
        if not low <= angle_deg <= high:
            raise InstrumentFault(self.name, f"{angle_deg:g} degrees is outside {low:g} to {high:g}")
        self._enable()
        counts = round(angle_deg * COUNTS_PER_DEG[self.model])
        self.tell(with_data(GO, struct.pack("<Hl", CHANNEL, counts)))
        self._await_end(lambda _: abs(self.angle_deg() - angle_deg) <= TOLERANCE_DEG, stop)
        reached = self.angle_deg()
        if not abs(reached - angle_deg) <= TOLERANCE_DEG:
            hint = "home it; the plate may be blocked"
            text = f"sent to {angle_deg:.3f} degrees, reached {reached:.3f}"
            raise InstrumentFault(self.name, text, hint)
        return reached

    def _enable(self) -> None:
        """Switch the motor's current on, should another program have left it off."""
        if not self._bits() & ENABLED:
            self.tell(short(ENABLE, CHANNEL, 1))
            if not self._bits() & ENABLED:
                raise InstrumentFault(self.name, "does not enable its motor", "check its panel and supply")

    def _await_end(self, there: Arrived, stop: Stop | None) -> None:
        """Wait until the motion that was asked for has ended.

        It may not show at once, and a short one never: then it is over if it has arrived.
        """
        begun, end = False, time.monotonic() + self._move_timeout_s
        starts = time.monotonic() + STARTS_S
        try:
            while True:
                bits = self._bits()
                if bits & MOTION_ERROR:
                    raise InstrumentFault(self.name, "reports a motion error", "the plate may be blocked")
                if bits & (MOVING | HOMING):
                    begun = True
                elif begun or there(bits) or time.monotonic() > starts:
                    return
                self._refuse_late(end)
                self.clock.sleep(POLL_S, stop)
        except Aborted:
            self._halt()
            raise

    def _refuse_late(self, end: float) -> None:
        if time.monotonic() > end:
            self._halt()
            text = f"still moves {self._move_timeout_s:g} s after it was asked to; it was told to stop"
            raise InstrumentTimeout(self.name, text)

    def _halt(self) -> None:
        self.tell(short(STOP, CHANNEL, GENTLY))

    def _bits(self) -> int:
        answer = self.question(short(BITS[0], CHANNEL), BITS[1])
        (bits,) = self._unpacked("<2xL", answer.data)
        return bits

    def _unpacked(self, form: str, data: bytes) -> tuple[int, ...]:
        if len(data) < struct.calcsize(form):
            raise self.garbled(self._sent, data)
        found: tuple[int, ...] = struct.unpack_from(form, data)
        return found


class ThorlabsAptConfig(RotationConfig):
    """``[attenuator]`` with ``driver = "thorlabs-apt"``."""

    driver: Literal["thorlabs-apt"]
    baud_rate: BaudRate | None = None


def _open(config: ThorlabsAptConfig, clock: Clock) -> ThorlabsAptMount:
    mount = ThorlabsAptMount(
        config.resource,
        angle_range_deg=(config.min_angle_deg, config.max_angle_deg),
        baud_rate=config.baud_rate,
        clock=clock,
        visa_library=config.visa_library,
    )
    return homed_if_asked(mount, config)


DRIVER = DriverSpec(
    "thorlabs-apt",
    "attenuator",
    ThorlabsAptConfig,
    _open,
    "Thorlabs K10CR1, KDC101 with PRM1-Z8 (APT)",
    Support(
        "Thorlabs K10CR1; KDC101 or TDC001 with a PRM1-Z8 (a half-wave plate before a polariser)",
        "serial (FTDI) 115200 8N1, APT protocol",
        "simulator, TCP and pseudo-terminal; thorlabs-apt-protocol 29 on the simulator",
        (
            "a KDC101 does not say which motor it drives: it is taken for a PRM1-Z8",
            'on Windows the COM port appears once "Load VCP" is ticked in the properties of its USB driver',
        ),
    ),
    (probe(ThorlabsAptMount.models),),
)
