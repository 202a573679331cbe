"""How far the energy on the sample is from the nominal one, learned from the meter as the run goes."""

from __future__ import annotations

import math

_DRIFT_REL = 0.01
"""Change of the laser and of the plate's own curve to expect between two settings."""


class EnergyScale:
    """Ratio of measured to nominal pulse energy: a running estimate (scalar Kalman filter) with its error.

    Only used to aim and to bound what may happen before the meter has spoken; what is stored is measured.

    :param start_sigma: relative standard error of the nominal energy before anything was measured.
    """

    def __init__(self, start_sigma: float) -> None:
        self.ratio = 1.0
        self._variance = start_sigma**2

    @property
    def sigma(self) -> float:
        """Relative standard error of a prediction at the next setting, without the plate's repeatability."""
        return math.sqrt(self._variance + _DRIFT_REL**2)

    def learn(self, ratio: float, sigma_rel: float) -> None:
        """Take in one measured ratio with its relative standard error (reading and plate together)."""
        before = self._variance + _DRIFT_REL**2
        gain = before / (before + max(sigma_rel, 1e-6) ** 2)
        self.ratio += gain * (ratio - self.ratio)
        self._variance = (1 - gain) * before

    def highest(self, angle_sigma_rel: float) -> float:
        """Return the ratio that is not exceeded, at three standard errors."""
        return self.ratio * (1 + 3 * math.hypot(self.sigma, angle_sigma_rel))
