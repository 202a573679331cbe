"""QE Pro and SR spectrometers on USB: the Ocean Binary Protocol, its first version and its second.

Source: seabreeze 2.11 (pyseabreeze/protocol.py and features/spectrometer.py; libseabreeze's QE Pro). What
stands in the 32 bytes of metadata is this simulator's choice: both libraries skip them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

from labctl.model.clock import Clock
from simulators.spectrometers import obp
from simulators.spectrometers.ocean_fx import Handler, OceanFx, Waiting, constant
from simulators.spectrometers.ocean_fx_camera import Camera, Exposure, Triggers

METADATA = struct.Struct("<LQL16x")


COOLING_S, WARMEST_RISE_C, COLDEST_C = 15.0, 10.0, -40.0
"""Time in which the detector comes to 1/e of the way, and where its set point may lie: choices made here."""


class Cooler:
    """A thermoelectric cooler at the detector: off at first, and on only when it is told.

    :param ambient_c: temperature without it, by the time of the scene.
    """

    def __init__(self, clock: Clock, ambient_c: Callable[[float], float]) -> None:
        self._clock, self._ambient_c = clock, ambient_c
        self.on, self.goal_c = False, 0.0
        self._from_c, self._since_s = ambient_c(clock.now_s()), clock.now_s()

    def temperature_c(self) -> float:
        """Return the temperature now."""
        now_s = self._clock.now_s()
        goal_c = self.goal_c if self.on else self._ambient_c(now_s)
        return goal_c + (self._from_c - goal_c) * math.exp(-(now_s - self._since_s) / COOLING_S)

    def switch(self, data: bytes) -> None:
        """Switch it on or off."""
        self._begin()
        self.on = bool(struct.unpack("<B", data)[0])

    def aim(self, data: bytes) -> None:
        """Take a set point."""
        (goal_c,) = struct.unpack("<f", data)
        if not COLDEST_C <= goal_c <= self._ambient_c(self._clock.now_s()) + WARMEST_RISE_C:
            raise obp.RefusedError(obp.BAD_DATA)
        self._begin()
        self.goal_c = goal_c

    def _begin(self) -> None:
        self._from_c, self._since_s = self.temperature_c(), self._clock.now_s()


class WithMetadata(OceanFx):
    """Sends 32 bytes ahead of the pixels."""

    sends_spectrum = False

    def _spectrum_of(self, exposure: Exposure) -> Waiting:
        head = METADATA.pack(exposure.number & 0xFFFFFFFF, exposure.end_us, exposure.integration_us)
        return Waiting(exposure.end_us, lambda: head + self._processing.counts(exposure))


class QePro(WithMetadata):
    """Pixels of four bytes; a spectrum is asked for by the message that takes one out of the buffer.

    Its buffer is not simulated: the next spectrum that is complete comes. Its cooler changes the temperature
    that it tells, and no count.
    """

    pixel_type = "<u4"

    def __init__(self, clock: Clock, camera: Camera, triggers: Triggers | None = None) -> None:
        super().__init__(clock, camera, triggers)
        self._handlers[0x00100928] = self._spectrum
        del self._handlers[0x00100980]
        self.cooler = Cooler(clock, camera.temperature_c)
        self._handlers[0x00420004] = lambda _: struct.pack("<f", self.cooler.temperature_c())
        self._handlers[0x00420010] = self.cooler.switch
        self._handlers[0x00420011] = self.cooler.aim


class Sr(WithMetadata):
    """The second version: other message numbers, coefficients in one answer behind their number."""

    version = 0x2000

    def __init__(self, clock: Clock, camera: Camera, triggers: Triggers | None = None) -> None:
        super().__init__(clock, camera, triggers)
        serial = self._handlers[0x00000100]
        self._handlers = {
            0x00000100: serial,
            0x00000C00: lambda _: struct.pack("<L", self._timeline.integration_us),
            0x00000C01: self._set_integration,
            0x00000D00: constant("<B", 0),
            0x00000D01: self._set_free_run,
            0x00001100: _coefficients(camera.wavelength_coefficients),
            0x00001200: _coefficients(camera.nonlinearity),
            0x00001C00: self._spectrum,
        }

    def _set_free_run(self, data: bytes) -> None:
        """Take the one trigger mode there is."""
        if struct.unpack("<B", data) != (0,):
            raise obp.RefusedError(obp.BAD_DATA)


def _coefficients(values: tuple[float, ...]) -> Handler:
    packed = struct.pack(f"<L{len(values)}f", len(values), *values)
    return lambda _: packed
