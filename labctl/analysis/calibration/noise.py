"""What makes the errors of a scan: the meter, the laser and the position of a plate or a blade.

The covariance of the data is  V = V_known + sum_j exp(theta_j) V_j . Its parts are the meter, the laser
(independent from reading to reading, or wandering slowly), and errors of the abscissa, which are seen through
the slope of the curve.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from labctl.model.records import FloatArray


@dataclass(frozen=True, slots=True)
class Part:
    """One unknown part of the noise: ``covariance`` (n, n) times exp(theta), theta normal a priori."""

    covariance: FloatArray
    prior_mean: float
    prior_sigma: float


@dataclass(frozen=True, slots=True)
class Noise:
    """What is known of the errors of a scan; numbers with ``guess`` are medians of broad priors.

    :param sigma: known standard errors, shape ``(n,)``, or None: one unknown number for all points.
    :param x_sigma: standard error of the abscissa, one or shape ``(n,)``; None when unknown: ``x_guess`` then
        (0: none).
    :param relative_guess: of the source from reading to reading; 0: none.
    :param wander_guess: rms of its slow wander about its mean in the scan, relative; 0: none.
    :param memory_s: the wander forgets itself in this time; None: it is a random walk.
    """

    sigma: FloatArray | None
    x_sigma: float | FloatArray | None = 0.0
    x_guess: float = 0.0
    relative_guess: float = 0.003
    wander_guess: float = 0.0
    floor_guess: float = 0.002
    time_s: FloatArray | None = None
    memory_s: float | None = None

    def known(self, slope: FloatArray) -> FloatArray:
        """Variance known beforehand, shape ``(n,)``."""
        variance = np.zeros_like(slope) if self.sigma is None else self.sigma**2
        return variance if self.x_sigma is None else variance + (slope * self.x_sigma) ** 2

    def parts(self, mean: FloatArray, slope: FloatArray) -> list[Part]:
        """Return the unknown parts for a curve of this mean and slope."""
        top = max(float(np.max(np.abs(mean))), 1e-300)
        found = []
        if self.sigma is None:
            found.append(_part(np.diag(np.full(mean.size, top**2)), self.floor_guess, 4.0))
        if self.relative_guess:
            found.append(_part(np.diag(mean**2), self.relative_guess, 3.0))
        if self.x_sigma is None and self.x_guess:
            found.append(_part(np.diag(slope**2), self.x_guess, 2.0))
        if self.wander_guess:
            time = np.arange(mean.size, dtype=np.float64) if self.time_s is None else self.time_s
            walk = random_walk(time) if self.memory_s is None else fading(time, self.memory_s)
            found.append(_part(np.outer(mean, mean) * walk, self.wander_guess, 3.0))
        return found


def _part(covariance: FloatArray, guess: float, spread: float) -> Part:
    return Part(covariance, 2 * math.log(guess), spread)


def fading(time_s: FloatArray, memory_s: float) -> FloatArray:
    """Covariance of a wander that forgets itself exponentially, unit variance, shape ``(n, n)``."""
    return np.asarray(np.exp(-np.abs(np.subtract.outer(time_s, time_s)) / memory_s), dtype=np.float64)


def random_walk(time_s: FloatArray) -> FloatArray:
    """Covariance of a random walk about its own mean, unit mean variance, shape ``(n, n)``."""
    t = time_s - float(np.min(time_s))
    walk = np.minimum.outer(t, t)
    walk = walk - walk.mean(axis=0)
    walk = walk - walk.mean(axis=1)[:, None]
    size = float(np.trace(walk)) / t.size
    return np.asarray(walk / size if size > 0 else walk, dtype=np.float64)
