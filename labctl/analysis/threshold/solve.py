"""Many small weighted least-squares problems at once: one for every (shape, threshold) on a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_TINY = 1e-11


@dataclass(frozen=True, slots=True)
class Solved:
    """Least-squares solutions of ``y = b + a lum + s gain + c second`` with ``a >= 0`` and ``s > 0``.

    :ivar rss: weighted residual sum of squares, shape (K, G), infinite where the signs cannot be had.
    :ivar coefficients: b, a, s, c, shape (4, K, G).
    """

    rss: Array
    coefficients: Array


def solve(
    y: Array, weight: Array, columns: Array, second_range: tuple[Array, Array], mixed: NDArray[np.intp]
) -> Solved:
    """Solve every problem of the batch.

    :param y: signal, shape (n,); ``weight`` one over the variance, likewise.
    :param columns: luminescence, excess and second excess, shape (3, K, G, n).
    :param second_range: smallest and largest allowed ratio ``c / s``, each of shape (K, G).
    :param mixed: which shapes have a second excess, indices into K; the others' is taken as zero.
    """
    total = weight.sum()
    y_mean = float(weight @ y / total)
    wy = weight * (y - y_mean)
    yy = float(wy @ (y - y_mean))
    mean = columns @ weight / total
    moment = columns @ wy
    pairs = _second_moments(columns, weight, mean, mixed)
    a, s, c, rss = _by_elimination(yy, moment, pairs)
    low, high = second_range
    allowed = (s > 0) & (c >= low * s) & (c <= high * s) & (pairs[1, 1] > _TINY * pairs[1, 1].max())
    b = y_mean - a * mean[0] - s * mean[1] - c * mean[2]
    rss = np.where(allowed, np.maximum(rss, 1e-14 * yy), np.inf)
    return Solved(rss, np.stack([b, a, s, c]))


def _second_moments(
    columns: Array, weight: Array, mean: Array, mixed: NDArray[np.intp]
) -> dict[tuple[int, int], Array]:
    """Centred second moments of the three columns, each of shape (K, G)."""
    total = weight.sum()
    root = columns * np.sqrt(weight)
    pairs = {key: np.zeros(columns.shape[1:3]) for key in ((0, 2), (1, 2), (2, 2))}
    for i, j in ((0, 0), (0, 1), (1, 1)):
        pairs[i, j] = np.einsum("kgn,kgn->kg", root[i], root[j]) - total * mean[i] * mean[j]
    second = root[2, mixed]
    for i in range(3):
        own = np.einsum("kgn,kgn->kg", root[i, mixed], second)
        pairs[i, 2][mixed] = own - total * mean[i, mixed] * mean[2, mixed]
    return pairs


def _by_elimination(
    yy: float, moment: Array, pairs: dict[tuple[int, int], Array]
) -> tuple[Array, Array, Array, Array]:
    """Gram-Schmidt on the moments, in the order excess, second excess, luminescence; returns a, s, c, rss."""
    ly, gy, ey = moment
    ll, lg, le, gg, ge, ee = (pairs[k] for k in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)))
    g1 = _inverse(gg, gg)
    ee1, ey1, le1 = ee - ge**2 * g1, ey - ge * gy * g1, le - lg * ge * g1
    e1 = _inverse(ee1, ee)
    ll1, ly1 = ll - lg**2 * g1 - le1**2 * e1, ly - lg * gy * g1 - le1 * ey1 * e1
    l1 = _inverse(ll1, ll)
    a = np.maximum(ly1 * l1, 0.0)
    c = (ey1 - le1 * a) * e1
    s = (gy - ge * c - lg * a) * g1
    rss = yy - gy**2 * g1 - ey1**2 * e1 - a * (2.0 * ly1 - a * ll1)
    return a, s, c, rss


def _inverse(left: Array, whole: Array) -> Array:
    """One over what is left of a column's square, or 0 where it is a combination of the columns before."""
    usable = left > _TINY * np.maximum(whole, 1e-300)
    return np.where(usable, 1.0 / np.where(usable, left, 1.0), 0.0)
