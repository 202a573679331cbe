"""Which laser pulses of a burst have no shot, from the numbers and times that the device gives its exposures.

A step of the spectrum count by n says that the device exposed n - 1 times more than was fetched: the buffer
was full. A step of its clock by m pulse periods says that m - 1 pulses have no shot; those that the count
does not explain were never exposed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from labctl.model.errors import DataError
from labctl.model.shots import Gap, IntArray, ShotTally

COUNTS = 1 << 32
"""The device counts spectra modulo this."""
REGULAR = 0.25
"""A step is a whole number of periods if it is nearer to one than this part of a period."""
LEARNED_STEPS = 20
"""After so many single steps the period is what the device's own clock shows of it."""
OFF_RATE = 0.02
"""The device's clock and the stated repetition rate may differ by this part."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """Shots that were added to a :class:`ShotCounter`.

    :param pulse: number of the laser pulse of each shot, 0 for the first of the burst, shape ``(shot,)``.
    :param gaps: what is missing before them and between them.
    """

    pulse: IntArray
    gaps: tuple[Gap, ...]


class ShotCounter:
    """Numbers the shots of one burst, batch by batch; its memory does not grow.

    :param repetition_rate_hz: of the laser, as it is stated.
    :ivar tally: what became of the pulses so far.
    """

    def __init__(self, repetition_rate_hz: float) -> None:
        self._stated_us = 1e6 / repetition_rate_hz
        self._last: tuple[int, int, int] | None = None
        self._steps, self._span_us = 0, 0
        self.tally = ShotTally()

    @property
    def period_us(self) -> float:
        """The pulse period on the device's clock, us; the stated one until enough steps were seen."""
        return self._span_us / self._steps if self._steps >= LEARNED_STEPS else self._stated_us

    def add(self, device_time_us: IntArray, spectrum_count: IntArray) -> Numbered:
        """Number the next shots.

        :param device_time_us: the device's clock at each, us, shape ``(shot,)``, one or more.
        :param spectrum_count: its number for each, shape ``(shot,)``.
        :raises DataError: time or number does not rise: the device was restarted, or shots came twice.
        """
        if self._last is None:
            self._last = (int(device_time_us[0]), int(spectrum_count[0]) - 1, -1)
            time_steps = np.concatenate([[round(self._stated_us)], np.diff(device_time_us)])
        else:
            time_steps = np.diff(device_time_us, prepend=self._last[0])
        exposed = np.diff(spectrum_count, prepend=self._last[1]) % COUNTS
        if (time_steps <= 0).any() or (exposed == 0).any() or (exposed > COUNTS // 2).any():
            raise DataError(
                "the spectrometer's shots do not follow each other",
                "it was restarted, or sent shots twice: repeat the burst",
            )
        self._learn(time_steps, exposed)
        periods = time_steps / self.period_us
        whole = np.rint(periods)
        irregular = (np.abs(periods - whole) > REGULAR) | (whole < exposed)
        steps = np.maximum(whole, exposed).astype(np.int64)
        pulse = self._last[2] + np.cumsum(steps)
        self._last = (int(device_time_us[-1]), int(spectrum_count[-1]), int(pulse[-1]))
        gaps = _gaps(pulse, steps, exposed)
        self._tell(exposed.size, gaps, int(irregular.sum()))
        return Numbered(pulse, gaps)

    def _learn(self, time_steps: IntArray, exposed: IntArray) -> None:
        """Follow the laser's period on the device's clock, from single steps near the stated one."""
        near = np.abs(time_steps / self._stated_us - 1.0) < OFF_RATE
        single = near & (exposed == 1)
        self._steps += int(single.sum())
        self._span_us += int(time_steps[single].sum())

    def _tell(self, kept: int, gaps: tuple[Gap, ...], irregular: int) -> None:
        in_buffer = sum(gap.lost for gap in gaps if gap.cause == "buffer")
        tally = self.tally
        self.tally = replace(
            tally,
            kept=tally.kept + kept,
            lost_in_buffer=tally.lost_in_buffer + in_buffer,
            lost_triggers=tally.lost_triggers + sum(gap.lost for gap in gaps) - in_buffer,
            irregular=tally.irregular + irregular,
        )


def _gaps(pulse: IntArray, steps: IntArray, exposed: IntArray) -> tuple[Gap, ...]:
    """Return what is missing before each shot: first what the count explains, then the rest.

    Within one gap nobody knows which pulse was lost for which cause.
    """
    gaps = list[Gap]()
    for at in np.flatnonzero(steps > 1).tolist():
        first = int(pulse[at] - steps[at]) + 1
        in_buffer, unseen = int(exposed[at]) - 1, int(steps[at] - exposed[at])
        if in_buffer:
            gaps.append(Gap(first, in_buffer, "buffer"))
        if unseen:
            gaps.append(Gap(first + in_buffer, unseen, "trigger"))
    return tuple(gaps)
