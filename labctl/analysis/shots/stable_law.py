"""Density and upper tail of an alpha-stable law seen through normal noise, by one Fourier transform.

Zolotarev's parameterisation M, which is continuous at alpha = 1 (J. P. Nolan, Commun. Stat. Stoch. Models 13,
759, 1997). Noise multiplies the characteristic function, so it costs nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy
from numpy.typing import NDArray

Array = NDArray[np.float64]

_NODES = 2048
_STEP = 0.2
_HALF = _NODES // 2
_LENGTH = _NODES * _STEP
_X: Array = np.arange(-_HALF, _HALF, dtype=np.float64) * _STEP
# Beyond this distance, in scales, the first term of the tail's expansion takes over.
_FAR = 80.0
_NORMAL = 1.9999
# Of a density at scale 1, about what the transform's rounding leaves of nothing.
_LEAST = 1e-16


@lru_cache(maxsize=64)
def _folded(alpha: float) -> tuple[Array, Array]:
    """Return what unit tails to the right and to the left add from beyond the table's ends."""
    share, power = _X / _LENGTH, 1.0 + alpha
    return tuple(
        np.asarray(scipy.special.zeta(power, 1.0 + sign * share) * _LENGTH**-power) for sign in (1.0, -1.0)
    )  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class StableLaw:
    """An alpha-stable law.

    :ivar alpha: 0.5 to 2.
    :ivar beta: -1 to 1.
    :ivar scale: greater than 0; a normal law (alpha 2) has the standard deviation sqrt(2) x scale.
    :ivar location: in the unit of the scale.
    :ivar noise: standard deviation of normal noise that is added, in the unit of the scale.
    """

    alpha: float
    beta: float
    scale: float
    location: float
    noise: float = 0.0

    def characteristic(self, t: Array) -> Array:
        """Return the characteristic function at ``t`` > 0, location 0 and scale 1; complex."""
        power = t**self.alpha
        if abs(self.alpha - 1.0) < 1e-4:
            skew = -self.beta * 2.0 / math.pi * t * np.log(np.maximum(t, 1e-300))
        else:
            skew = self.beta * math.tan(0.5 * math.pi * self.alpha) * (power - t)
        exponent = -power + 1j * skew - 0.5 * (t * self.noise / self.scale) ** 2
        return np.asarray(np.exp(exponent))

    def _tail(self, side: float) -> float:
        """Return A of the density's tail A |x|^(-1 - alpha), at scale 1, on the side of the sign."""
        a = self.alpha
        if a > _NORMAL:
            return 0.0
        size = math.sin(0.5 * math.pi * a) * float(scipy.special.gamma(a)) / math.pi
        return a * size * max(1.0 + side * self.beta, 0.0)

    def _table(self) -> Array:
        """Return the density at the nodes, location 0 and scale 1, without what folds back from far away."""
        t = 2.0 * math.pi / _LENGTH * np.arange(1, _HALF + 1, dtype=np.float64)
        wave = np.concatenate([[1.0], self.characteristic(t)])
        density = np.fft.fftshift(np.fft.irfft(np.conj(wave), _NODES)) / _STEP
        right, left = _folded(self.alpha)
        return np.asarray(density - self._tail(1.0) * right - self._tail(-1.0) * left)

    def log_likelihood(self, values: Array, lower_bounds: Array) -> float:
        """Return the log of the likelihood of values, shape ``(n,)``, and of values known only from below.

        :param lower_bounds: the true ones are as large, or larger; shape ``(m,)``.
        """
        table = self._table()
        x = (values - self.location) / self.scale
        total = float(np.log(np.maximum(self._density(table, x), 1e-300)).sum()) - x.size * math.log(
            self.scale
        )
        if lower_bounds.size:
            above = self._above(table, (lower_bounds - self.location) / self.scale)
            total += float(np.log(np.maximum(above, 1e-300)).sum())
        return total

    def _density(self, table: Array, x: Array) -> Array:
        near = np.exp(np.interp(x, _X, np.log(np.maximum(table, _LEAST))))
        ends = np.maximum(np.interp((-_FAR, _FAR), _X, table), 0.0)
        far = np.where(x > 0, ends[1], ends[0]) * (np.maximum(np.abs(x), _FAR) / _FAR) ** (-1.0 - self.alpha)
        return np.where(np.abs(x) < _FAR, near, far)

    def _above(self, table: Array, x: Array) -> Array:
        """Return the chance of a value above each of ``x``."""
        inside = np.abs(_X) <= _FAR
        beyond = max(float(np.interp(_FAR, _X, table)), 0.0) * _FAR / self.alpha
        cells = np.where(inside, table, 0.0)[::-1] * _STEP
        # Half of the first and the last cell lies on either side of its node.
        sums = (np.cumsum(cells) - 0.5 * cells)[::-1] + beyond
        near = np.interp(x, _X[inside], sums[inside])
        far = beyond * (np.maximum(np.abs(x), _FAR) / _FAR) ** -self.alpha
        return np.where(x < -_FAR, 1.0, np.where(x > _FAR, far, near))
