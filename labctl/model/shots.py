"""Records of single shots: one spectrum a laser pulse, from a spectrometer with a buffer of its own.

Arrays in them are never written to.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

CountArray = NDArray[np.uint16]
"""Raw counts of 16-bit converters."""
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ShotBatch:
    """Consecutive shots of one burst, oldest first. One shot is one exposure.

    :param frames: raw counts, shape ``(shot, pixel)``.
    :param device_time_us: the device's own clock at each shot, us, shape ``(shot,)``; its zero and the moment
        of the exposure that it marks are the device's affair, the same for all shots.
    :param spectrum_count: number that the device gave each exposure, shape ``(shot,)``; it rises by 1 from
        one exposure to the next, and begins again at 0 after 2^32 - 1.
    :param integration_s: exposure time of these shots, as the device states it, s.
    :param received_s: bench time at which the batch had arrived.
    """

    frames: CountArray = field(repr=False)
    device_time_us: IntArray = field(repr=False)
    spectrum_count: IntArray = field(repr=False)
    integration_s: float
    received_s: float

    def __len__(self) -> int:
        return int(self.spectrum_count.size)
