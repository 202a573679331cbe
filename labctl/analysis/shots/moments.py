"""Mean, scatter and skewness of single shots, with standard errors; lines that brighten together."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labctl.analysis.statistics import finite
from labctl.model.results.shot_statistics import Estimate, LineCorrelation, Moments

Array = NDArray[np.float64]

_SHOWN = 3.0
"""Standard errors by which a mean must exceed 0 before a scatter is given relative to it."""
_OWN = 2.0
"""Standard errors by which a scatter beside that of the noise must exceed 0 before it is given."""


def moments(signal: ArrayLike, noise: float = 0.0) -> Moments:
    """Summarise the light of shots.

    The standard errors are those of the jackknife: each shot left out once. They suppose that the moments
    exist, which :func:`~labctl.analysis.shots.heavy_tail.heavy_tail` looks at.

    :param signal: counts of each shot, any shape; values that are not finite are left out.
    :param noise: standard deviation of the detector's noise in it, counts.
    :raises ValueError: fewer than three finite values.
    """
    values = finite(signal)
    n = values.size
    if n < 3:
        raise ValueError(f"{n} shots: at least 3 are needed")
    centre = float(np.mean(values))
    x = values - centre
    powers = np.stack([x, x**2, x**3])
    sums = powers.sum(axis=1, keepdims=True)
    whole = _moments(n, sums, centre, noise)[:, 0]
    left = _moments(n - 1, sums - powers, centre, noise)
    sigma = [math.sqrt(max((n - 1) / n * float(np.sum((row - row.mean()) ** 2)), 0.0)) for row in left]
    found = [
        Estimate(float(value), error) if math.isfinite(value) else Estimate()
        for value, error in zip(whole, sigma, strict=True)
    ]
    mean, cv, own_cv, skewness = found
    if whole[0] < _SHOWN * sigma[0]:
        cv = own_cv = Estimate()  # a scatter relative to nothing
    if own_cv.value is not None and own_cv.sigma is not None and own_cv.value < _OWN * own_cv.sigma:
        own_cv = Estimate()
    return Moments(n, mean, cv, own_cv, skewness)


def _moments(n: int, sums: Array, centre: float, noise: float) -> Array:
    """Return mean, CV, own CV and skewness, ``(4, k)``, from the sums of powers 1 to 3, ``(3, k)``."""
    one, two, three = sums
    shift = one / n
    mean = centre + shift
    variance = np.maximum(two / n - shift**2, 0.0)
    third = three / n - 3.0 * shift * two / n + 2.0 * shift**3
    sample = variance * n / (n - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        rows = (
            mean,
            np.where(mean > 0, np.sqrt(sample) / mean, np.nan),
            np.where((mean > 0) & (sample > noise**2), np.sqrt(np.abs(sample - noise**2)) / mean, np.nan),
            np.where(variance > 0, third / variance**1.5, np.nan),
        )
    return np.stack(rows)


def line_correlation(wavelength_nm: ArrayLike, light: ArrayLike) -> LineCorrelation | None:
    """Say which lines brighten together from shot to shot; None with fewer than two lines or ten shots.

    :param wavelength_nm: of the lines, nm, shape ``(line,)``.
    :param light: of each line in each shot, above the luminescence under it, counts, shape
        ``(shot, line)``; shots without light in all of the lines together are left out.
    :raises ValueError: the shapes do not fit.
    """
    centres, table = np.asarray(wavelength_nm, dtype=np.float64), np.asarray(light, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != centres.size:
        raise ValueError(f"{centres.size} lines do not fit light of shape {table.shape}")
    total = table.sum(axis=1)
    table, total = table[total > 0], total[total > 0]
    if centres.size < 2 or total.size < 10:
        return None
    return LineCorrelation(
        centres, _correlation(table), _correlation(table / total[:, None]), 1.96 / math.sqrt(total.size)
    )


def _correlation(columns: Array) -> Array:
    """Return the correlation of columns; a column that never changes goes with none."""
    x = columns - columns.mean(axis=0)
    length = np.sqrt((x**2).sum(axis=0))
    return np.asarray((x.T @ x) / np.maximum(np.outer(length, length), 1e-300))
