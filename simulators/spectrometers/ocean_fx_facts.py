"""What an Ocean FX says of itself: serial number, pixels, calibrations, temperature.

Source: seabreeze 2.11, libseabreeze OBPMessageTypes.h and its readers of each message.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from labctl.model.clock import Clock
from simulators.spectrometers import obp
from simulators.spectrometers.ocean_fx_camera import Camera

FIRMWARE, HARDWARE = 0x0137, 0x01

Fact = Callable[[bytes], bytes]


class RefusedError(Exception):
    """A request that gets a NACK with this error number."""

    def __init__(self, error: int) -> None:
        super().__init__(error)
        self.error = error


def facts(camera: Camera, clock: Clock) -> dict[int, Fact]:
    """Return the queries that are answered without touching the device."""
    serial = camera.serial.encode("ascii")
    dark: tuple[tuple[int, int], ...] = getattr(camera, "dark_pixels", ())

    def temperatures() -> tuple[float, ...]:
        return (camera.temperature_c(clock.now_s()),)

    return {
        0x00000080: constant("<B", HARDWARE),
        0x00000090: constant("<H", FIRMWARE),
        0x00000100: lambda data: _plain(data, serial),
        0x00000101: constant("<B", len(serial)),
        0x00101010: constant("<L", camera.max_counts),
        0x001010A0: constant("<L", camera.max_counts),
        0x00110220: constant("<L", camera.pixels),
        0x00110221: _ranges(_between(dark, camera.pixels - 1)),
        0x00110222: _ranges(()),
        0x00110223: _ranges(dark),
        0x00180100: constant("<B", len(camera.wavelength_coefficients)),
        0x00180101: lambda data: _indexed(data, camera.wavelength_coefficients),
        0x00181100: constant("<B", len(camera.nonlinearity)),
        0x00181101: lambda data: _indexed(data, camera.nonlinearity),
        0x00183100: constant("<B", 0),
        0x00183101: lambda data: _indexed(data, ()),
        0x00400000: constant("<B", 1),
        0x00400001: lambda data: _indexed(data, temperatures()),
        0x00400002: lambda data: _plain(data, struct.pack("<f", *temperatures())),
    }


def constant(form: str, *values: int) -> Fact:
    """Return a query whose answer never changes."""
    packed = struct.pack(form, *values)
    return lambda data: _plain(data, packed)


def _plain(data: bytes, answer: bytes) -> bytes:
    """Answer a query that takes no argument."""
    if data:
        raise RefusedError(obp.BAD_LENGTH)
    return answer


def _indexed(data: bytes, values: tuple[float, ...]) -> bytes:
    """Return the value at the index asked for, as a float of 4 bytes."""
    (index,) = struct.unpack("<B", data)
    if index >= len(values):
        raise RefusedError(obp.NO_SUCH_INFORMATION)
    return struct.pack("<f", values[index])


def _ranges(pairs: tuple[tuple[int, int], ...]) -> Fact:
    return constant(f"<{2 * len(pairs)}L", *(pixel for pair in pairs for pixel in pair))


def _between(ranges: tuple[tuple[int, int], ...], last: int) -> tuple[tuple[int, int], ...]:
    """Return the pixel ranges between the given ones, up to ``last``.

    >>> _between(((14, 29),), 2135)
    ((0, 13), (30, 2135))
    """
    edges = [-1, *(edge for pair in ranges for edge in pair), last + 1]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return tuple((after + 1, before - 1) for after, before in pairs if before - after > 1)
