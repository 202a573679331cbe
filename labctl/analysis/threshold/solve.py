"""Many small weighted least-squares problems at once: one for every (shape, threshold) on a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Solved:
    """Least-squares solutions of ``y = b + a lum + s gain`` with ``a >= 0`` and ``s > 0``, each shape (K, G).

    ``rss`` is the weighted residual sum of squares, infinite where no ``s > 0`` fits.
    """

    rss: Array
    b: Array
    a: Array
    s: Array


def solve(y: Array, weight: Array, lum: Array, gain: Array) -> Solved:
    """Solve every problem of the batch.

    :param y: signal, shape (n,); ``weight`` one over the variance, likewise.
    :param lum: luminescence, shape (K, G, n); ``gain`` likewise.
    """
    total = weight.sum()
    y_mean = weight @ y / total
    y0 = y - y_mean
    wy = weight * y0
    lum_mean, gain_mean = lum @ weight / total, gain @ weight / total
    # Centred second moments; the means are taken out before squaring would lose digits only where a
    # column is constant, and such a column is refused below.
    yy = float(wy @ y0)
    ly, gy = lum @ wy, gain @ wy
    weighted = gain * weight
    gg = np.einsum("kgn,kgn->kg", weighted, gain) - total * gain_mean**2
    lg = np.einsum("kgn,kgn->kg", weighted, lum) - total * gain_mean * lum_mean
    ll = np.einsum("kgn,kgn->kg", lum * weight, lum) - total * lum_mean**2
    return _closed_form(y_mean, yy, (ly, gy), (ll, lg, gg), (lum_mean, gain_mean))


def _closed_form(
    y_mean: float,
    yy: float,
    first: tuple[Array, Array],
    second: tuple[Array, Array, Array],
    mean: tuple[Array, Array],
) -> Solved:
    (ly, gy), (ll, lg, gg) = first, second
    safe_g, safe_l = np.maximum(gg, 1e-300), np.maximum(ll, 1e-300)
    det = ll - lg**2 / safe_g
    usable = det > _TINY * safe_l
    a = np.where(usable, (ly - lg * gy / safe_g) / np.where(usable, det, 1.0), 0.0)
    a = np.maximum(a, 0.0)
    s = (gy - lg * a) / safe_g
    rss = yy - 2 * a * ly - 2 * s * gy + a * a * ll + 2 * a * s * lg + s * s * gg
    fits = (s > 0) & (gg > _TINY * np.maximum(gg.max(), 1e-300))
    b = y_mean - a * mean[0] - s * mean[1]
    return Solved(np.where(fits, np.maximum(rss, 1e-14 * yy), np.inf), b, a, s)
