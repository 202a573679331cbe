"""Exposures of a lamp, and darks without it, behind the closed shutter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from labctl.model.clock import check_stop
from labctl.model.errors import CalibrationRefused
from labctl.model.hands import Request
from labctl.model.records import FloatArray
from procedures.calibration.context import CalContext
from procedures.gate.shutter import Blade, LightAccount
from procedures.point.exposure import SATURATED
from procedures.point.fresh import StaleFrameFilter

AIM = 0.6
"""Share of the full scale that the strongest line should reach."""
LONGEST_S = 4.0
_FIRST_S = 0.01
_STEPS = 14
_GROW = 12.0
_SEEN = 0.004
"""Share of the full scale below which a lamp counts as unseen."""
_SETTLED_S = 0.5


@dataclass(frozen=True, slots=True)
class Series:
    """Exposures of one time with one lamp, "" for none; ``frames`` are raw counts ``(exposure, pixel)``."""

    lamp: str
    integration_s: float
    frames: FloatArray
    at_s: float


class LampWork:
    """The spectrometer and a pair of hands; a context manager that leaves the shutter closed.

    :raises SafetyStop: the shutter does not confirm that it is closed.
    """

    def __init__(self, context: CalContext) -> None:
        self._context, self._clock = context, context.roles.clock
        rate = context.settings.repetition_rate_hz
        self._blade = Blade(context.roles.shutter, self._clock, LightAccount(self._clock, rate))
        self._changed_s = self._clock.now_s()
        self._fresh = StaleFrameFilter(context.roles.spectrometer, self._clock, lambda: self._changed_s)
        self.info = context.roles.spectrometer.info

    def __enter__(self) -> LampWork:
        self._blade.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._blade.close()

    def put(self, lamp: str) -> None:
        """Have a lamp put before the spectrometer, or with "" taken away."""
        self._blade.close()
        text = (
            f"Light the {lamp} lamp and hold it before the spectrometer's input, where it can stay."
            if lamp
            else "Take every lamp away from the spectrometer's input; leave all else as it is."
        )
        self._context.ask(Request("lamp", text, {"name": lamp}))
        self._clock.sleep(_SETTLED_S, self._context.stop)
        self._changed_s = self._clock.now_s()

    def series(self, lamp: str, seconds: float, count: int) -> Series:
        """Take ``count`` exposures of one time."""
        stop = self._context.stop
        check_stop(stop)
        confirmed_s = self._fresh.set_integration(self.possible(seconds))
        start_s = self._clock.now_s()
        frames = np.stack([self._fresh.acquire(stop).counts for _ in range(count)])
        return Series(lamp, confirmed_s, frames, 0.5 * (start_s + self._clock.now_s()))

    def possible(self, seconds: float) -> float:
        """Return the exposure time nearest to ``seconds`` that the device can do, whole microseconds."""
        low, high = self.info.integration_min_s, self.info.integration_max_s
        return min(max(round(seconds, 6), low), high)

    def suitable_s(self, lamp: str) -> tuple[float, float]:
        """Return an exposure time at which the strongest line is bright and not saturated, and its share.

        :raises CalibrationRefused: saturated however short, or not seen however long.
        """
        seconds = self.possible(_FIRST_S)
        longest = min(self.info.integration_max_s, LONGEST_S)
        for _ in range(_STEPS):
            counts = self.series(lamp, seconds, 1).frames[0]
            share, raw = self._shares(counts)
            if raw >= SATURATED:
                if seconds <= self.info.integration_min_s * 1.001:
                    raise CalibrationRefused(
                        f"the lamp saturates the spectrometer in {seconds:g} s, its shortest exposure",
                        "move the lamp away, or put a diffuser or a filter before it",
                    )
                seconds = self.possible(seconds / 8.0)
            elif share >= 0.5 * AIM and raw <= 0.85:
                return seconds, share
            elif seconds >= longest * 0.999:
                if self._wide_share(counts) < _SEEN:
                    raise CalibrationRefused(
                        f"no light of the {lamp} lamp is seen in {seconds:g} s",
                        "check that it burns and that its light reaches the input",
                    )
                return seconds, share
            else:
                seconds = self.possible(min(seconds * min(AIM / max(share, 1e-6), _GROW), longest))
        raise CalibrationRefused(
            f"the {lamp} lamp is too unsteady to choose an exposure for", "let it warm up for some minutes"
        )

    def _shares(self, counts: FloatArray) -> tuple[float, float]:
        """Light above the typical pixel and raw counts as shares of the full scale, of the third brightest
        pixel: one may be hot, one struck by a cosmic particle."""
        top = float(np.partition(counts, -3)[-3])
        return (top - float(np.median(counts))) / self.info.max_counts, top / self.info.max_counts

    def _wide_share(self, counts: FloatArray) -> float:
        """Light of whatever is wider than one hot pixel."""
        middle = np.median(np.stack([counts[:-2], counts[1:-1], counts[2:]]), axis=0)
        return float(middle.max() - np.median(counts)) / self.info.max_counts

    def darks(self, times_s: Iterable[float], count: int) -> dict[float, Series]:
        """Take darks of every time, the longest with fewer exposures; by the time as confirmed."""
        taken = [self.series("", seconds, dark_count(seconds, count)) for seconds in sorted(set(times_s))]
        return {series.integration_s: series for series in taken}


def dark_count(seconds: float, count: int) -> int:
    """Exposures at a time: fewer of long ones, never fewer than 5."""
    return int(min(max(40.0 / seconds, 5), max(count, 5)))
