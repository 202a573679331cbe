"""The spectrometer, which stands behind the shutter always: it sees light on the sample by its emission.

A broad emission stands out over the rest of the axis; room light, dark current and stray light do not.
"""

from __future__ import annotations

import math

import numpy as np

from labctl.model.errors import CalibrationRefused, SafetyStop
from labctl.model.records import FloatArray
from procedures.calibration.context import CalContext
from procedures.point.fresh import StaleFrameFilter

EXPOSURE_S = 0.2
FRAMES = 3
"""Exposures that are averaged for the dark."""
SURE = 8.0
LEAST_COUNTS = 3.0
"""Emission below this, in counts a pixel, is none."""
LEAST_PIXELS = 20


class Witness:
    """Compares the emission band with the rest of the axis, and with what it was in the dark."""

    def __init__(self, context: CalContext) -> None:
        roles = context.roles
        self._stop, self._clock, bands = context.stop, roles.clock, context.bands
        self._changed_s = self._clock.now_s()
        info = roles.spectrometer.info
        self._fresh = StaleFrameFilter(roles.spectrometer, self._clock, lambda: self._changed_s)
        self._seconds = min(max(EXPOSURE_S, info.integration_min_s), info.integration_max_s)
        axis = info.wavelength_nm
        low, high = (math.inf, -math.inf) if bands is None else bands.emission_nm
        self._inside = (axis >= low) & (axis <= high)
        self._able = min(int(self._inside.sum()), int((~self._inside).sum())) >= LEAST_PIXELS
        self._dark: FloatArray | None = None

    def learn(self) -> None:
        """Take the dark, behind the closed shutter and at the least transmission known."""
        if self._able:
            frames = [self._frame() for _ in range(FRAMES)]
            self._dark = np.median(np.stack(frames), axis=0)

    def refuse_leak(self) -> None:
        """Look whether the closed shutter lets light onto the sample.

        :raises SafetyStop: it does.
        """
        if seen := self._emission():
            raise SafetyStop(
                f"the shutter says that it is closed, but the spectrometer sees {seen:.3g} counts a pixel of "
                "emission more than in the dark",
                "block the beam by hand, then look at the blade and its sensor",
            )

    def refuse_sample(self) -> None:
        """Look, in the light, whether the sample emits that should be out.

        :raises CalibrationRefused: it does.
        """
        if seen := self._emission():
            raise CalibrationRefused(
                f"the spectrometer sees {seen:.3g} counts a pixel of emission: the sample is still in",
                "take the sample out when you are asked to, then start again",
            )

    def _frame(self) -> FloatArray:
        self._changed_s = self._clock.now_s()
        self._fresh.set_integration(self._seconds)
        return self._fresh.acquire(self._stop).counts

    def _emission(self) -> float:
        """Return how far the band stands over the rest, in counts a pixel; 0 within chance."""
        if self._dark is None:
            return 0.0
        change = self._frame() - self._dark
        inside, outside = change[self._inside], change[~self._inside]
        level = float(np.median(inside) - np.median(outside))
        noise = 1.4826 * float(np.median(np.abs(outside - np.median(outside))))
        sigma = 1.25 * noise * math.sqrt(1 / inside.size + 1 / outside.size)
        if level > max(SURE * sigma, LEAST_COUNTS):
            return level
        lines = inside - float(np.median(outside)) > SURE * max(noise, LEAST_COUNTS)  # of a laser, or a spike
        return float(np.mean(inside) - np.median(outside)) if int(lines.sum()) >= LEAST_PIXELS else 0.0
