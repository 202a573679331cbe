"""QE Pro and SR spectrometers on USB: the Ocean Binary Protocol, its first version and its second.

Source: seabreeze 2.11 (pyseabreeze/protocol.py and features/spectrometer.py; libseabreeze's QE Pro). What
stands in the 32 bytes of metadata is this simulator's choice: both libraries skip them.
"""

from __future__ import annotations

import struct

from labctl.model.clock import Clock
from simulators.spectrometers import obp
from simulators.spectrometers.ocean_fx import Handler, OceanFx, Waiting, constant
from simulators.spectrometers.ocean_fx_camera import Camera, Exposure, Triggers

METADATA = struct.Struct("<LQL16x")


class WithMetadata(OceanFx):
    """Sends 32 bytes ahead of the pixels."""

    sends_spectrum = False

    def _spectrum_of(self, exposure: Exposure) -> Waiting:
        head = METADATA.pack(exposure.number & 0xFFFFFFFF, exposure.end_us, exposure.integration_us)
        return Waiting(exposure.end_us, lambda: head + self._processing.counts(exposure))


class QePro(WithMetadata):
    """Pixels of four bytes; a spectrum is asked for by the message that takes one out of the buffer.

    Its buffer is not simulated: the next spectrum that is complete comes. Its cooler takes what it is told
    and cools nothing.
    """

    pixel_type = "<u4"

    def __init__(self, clock: Clock, camera: Camera, triggers: Triggers | None = None) -> None:
        super().__init__(clock, camera, triggers)
        self._handlers[0x00100928] = self._spectrum
        del self._handlers[0x00100980]
        self._handlers[0x00420004] = lambda _: struct.pack("<f", camera.temperature_c(clock.now_s()))
        self._handlers[0x00420010] = _takes("<B")
        self._handlers[0x00420011] = _takes("<f")


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


def _takes(form: str) -> Handler:
    """Return a setting that has no effect in the scene."""

    def handler(data: bytes) -> None:
        struct.unpack(form, data)

    return handler


def _coefficients(values: tuple[float, ...]) -> Handler:
    packed = struct.pack(f"<L{len(values)}f", len(values), *values)
    return lambda _: packed
