"""What an Ocean FX does to its spectra before it sends them: averaging and boxcar smoothing.

Source of the messages: libseabreeze OBPMessageTypes.h and its spectrum processing exchanges; the limits are
this simulator's.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from simulators.spectrometers import obp
from simulators.spectrometers.ocean_fx_camera import Camera, Exposure, Timeline
from simulators.spectrometers.ocean_fx_facts import RefusedError, constant

MOST_SCANS, WIDEST_BOXCAR, LONGEST_DELAY_US = 5000, 15, 335_500

Handler = Callable[[bytes], bytes | None]


class Processing:
    """Turns exposures into counts, and answers the settings that say how."""

    def __init__(self, camera: Camera, timeline: Timeline, now_us: Callable[[], int]) -> None:
        self._camera, self._timeline, self._now_us = camera, timeline, now_us
        self._boxcar = 0

    def counts(self, exposure: Exposure) -> bytes:
        """Return the pixels of an exposure that has ended, two bytes each."""
        integration_s = exposure.integration_us * 1e-6
        scans = [
            self._camera.expose((exposure.start_us + number * exposure.cycle_us) * 1e-6, integration_s)
            for number in range(exposure.scans)
        ]
        counts = scans[0] if len(scans) == 1 else np.rint(np.mean(scans, axis=0))
        if self._boxcar:
            counts = _smoothed(counts, self._boxcar)
        return counts.astype("<u2").tobytes()

    def handlers(self) -> dict[int, Handler]:
        """Return the messages that ask for and change the settings."""
        return {
            0x00110500: lambda _: struct.pack("<L", self._timeline.delay_us),
            0x00110501: constant("<L", 0),
            0x00110502: constant("<L", LONGEST_DELAY_US),
            0x00110503: constant("<L", 1),
            0x00110510: self._set_delay,
            0x00120000: lambda _: struct.pack("<H", self._timeline.scans),
            0x00120010: self._set_scans,
            0x00121000: lambda _: struct.pack("<B", self._boxcar),
            0x00121010: self._set_boxcar,
        }

    def _set_delay(self, data: bytes) -> None:
        self._timeline.delay_us = _within(struct.unpack("<L", data)[0], 0, LONGEST_DELAY_US)

    def _set_scans(self, data: bytes) -> None:
        self._timeline.set_scans(self._now_us(), _within(struct.unpack("<H", data)[0], 1, MOST_SCANS))

    def _set_boxcar(self, data: bytes) -> None:
        self._boxcar = _within(struct.unpack("<B", data)[0], 0, WIDEST_BOXCAR)


def _within(value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise RefusedError(obp.BAD_DATA)
    return value


def _smoothed(counts: NDArray[np.generic], width: int) -> NDArray[np.float64]:
    """Return the mean of each pixel and ``width`` neighbours on both sides, fewer at the ends."""
    kernel = np.ones(2 * width + 1)
    total = np.convolve(counts.astype(np.float64), kernel, "same")
    return np.rint(total / np.convolve(np.ones(counts.size), kernel, "same"))
