"""Records of single shots: one spectrum a laser pulse, from a spectrometer with a buffer of its own.

Arrays in them are never written to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

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
    :param after_s: bench time after which all of them were exposed, because the buffer was empty then; minus
        infinity where that is not known.
    """

    frames: CountArray = field(repr=False)
    device_time_us: IntArray = field(repr=False)
    spectrum_count: IntArray = field(repr=False)
    integration_s: float
    received_s: float
    after_s: float = -math.inf

    def __len__(self) -> int:
        return int(self.spectrum_count.size)


LossCause = Literal["buffer", "trigger"]
"""``buffer``: exposed, and gone before it was fetched. ``trigger``: never exposed, because the device did not
take the trigger or the laser gave no pulse; only a meter can tell these two apart."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Shots that are missing between two that were kept.

    :param pulse: number of the first laser pulse without a shot, from the first shot of the burst on.
    :param lost: how many are missing for this cause, 1 or more.
    :param cause: why.
    """

    pulse: int
    lost: int
    cause: LossCause


@dataclass(frozen=True, slots=True)
class ShotTally:
    """Number of kept and of missing shots of a burst, from its first kept shot to its last.

    :param kept: shots that were fetched.
    :param lost_in_buffer: shots that the device exposed and its buffer lost.
    :param lost_triggers: pulses without an exposure: trigger not taken, or no pulse.
    :param irregular: steps of the device's clock between two whole numbers of pulse periods.
    """

    kept: int = 0
    lost_in_buffer: int = 0
    lost_triggers: int = 0
    irregular: int = 0

    @property
    def lost(self) -> int:
        """All that are missing."""
        return self.lost_in_buffer + self.lost_triggers

    @property
    def flags(self) -> tuple[str, ...]:
        """Short words for what is not as it should be; empty where every pulse has its shot."""
        named = {
            "shots_lost_in_buffer": self.lost_in_buffer,
            "shots_without_trigger": self.lost_triggers,
            "irregular_shots": self.irregular,
        }
        return tuple(word for word, number in named.items() if number)


Phase = Literal["dark", "travel", "light", "dark after"]
"""Where the shutter was: closed, moving, open, closed again. ``travel`` holds the shots whose light is not
certain."""
PHASES: tuple[Phase, ...] = ("dark", "travel", "light", "dark after")


@dataclass(frozen=True, slots=True)
class ShotBlock:
    """Shots as they are stored: a batch, and what was found out about each of its shots.

    :param batch: as it was fetched.
    :param pulse: number of the laser pulse, 0 for the first of the burst, shape ``(shot,)``.
    :param phase: of each shot, counted in :data:`PHASES` from 0, shape ``(shot,)``.
    :param gaps: what is missing before these shots and between them.
    :param point: number of the point of a sweep that they belong to, from 0.
    """

    batch: ShotBatch
    pulse: IntArray = field(repr=False)
    phase: NDArray[np.uint8] = field(repr=False)
    gaps: tuple[Gap, ...] = ()
    point: int = 0


@dataclass(frozen=True, slots=True)
class ShotsSummary:
    """What a burst at one fluence gave.

    :param point: number of the fluence in the plan, from 0.
    :param fluence_set_uj_cm2: what was asked for, uJ/cm2.
    :param pulse_energy_j: mean on the sample, from the same readings as the fluence, J.
    :param angle_deg: of the attenuator, read back, degrees.
    :param fluence_uj_cm2: on the sample, in the bench's convention, uJ/cm2, from the readings before and
        after the light.
    :param fluence_sigma_rel: relative standard error of that mean, without any scale error.
    :param integration_s: exposure time of a shot, s.
    :param light: shots in the light.
    :param tally: all shots of the burst, darks included, and those that are missing.
    :param mean_counts: mean emission of a shot in the emission band, counts, dark subtracted.
    :param cv: standard deviation of the emission over its mean, noise of the detector included.
    :param dark_cv: standard deviation of the same sum in the dark over that mean: the detector's part of it.
    :param clipped: shots in the light with a saturated pixel inside the bands.
    :param dose_uj_cm2: sum of fluence x pulses on the sample, uJ/cm2.
    """

    point: int
    fluence_set_uj_cm2: float
    fluence_uj_cm2: float
    fluence_sigma_rel: float
    pulse_energy_j: float
    angle_deg: float
    integration_s: float
    light: int
    tally: ShotTally
    mean_counts: float
    cv: float
    dark_cv: float
    clipped: int
    dose_uj_cm2: float

    @property
    def flags(self) -> tuple[str, ...]:
        """Short words for what is not as it should be."""
        return (*self.tally.flags, *(("saturated",) if self.clipped else ()))
