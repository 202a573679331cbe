"""The field's usual thresholds, shown beside ours as second witnesses, never as the answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def naive_lines(fluence: Array, signal: Array, threshold: float) -> tuple[float | None, float | None]:
    """Two straight lines either side of a threshold: (x-intercept of the upper one, crossing of the two).

    :param fluence: shape (n,), with ``signal`` likewise; both results are in the unit of ``fluence``.
    """
    above, below = fluence > threshold, fluence <= threshold
    if above.sum() < 3 or np.ptp(fluence[above]) <= 0:
        return None, None
    slope, offset = np.polyfit(fluence[above], signal[above], 1)
    if slope <= 0:
        return None, None
    intercept = -offset / slope
    crossing = None
    if below.sum() >= 3 and np.ptp(fluence[below]) > 0:
        low_slope, low_offset = np.polyfit(fluence[below], signal[below], 1)
        if slope > low_slope:
            crossing = float((low_offset - offset) / (slope - low_slope))
    return (float(intercept) if intercept > 0 else None), crossing


def width_collapse(fluence_uj_cm2: ArrayLike, fwhm_nm: ArrayLike) -> float | None:
    """Fluence of the steepest fall of the linewidth, uJ/cm2, at the middle of the step.

    None without a clear fall.

    :param fluence_uj_cm2: uJ/cm2, shape (n,), in any order.
    :param fwhm_nm: widths, nm, shape (n,), nan where no width was found.
    """
    f, w = np.asarray(fluence_uj_cm2, float), np.asarray(fwhm_nm, float)
    good = np.isfinite(f) & np.isfinite(w) & (w > 0)
    f, w = f[good], w[good]
    order = np.argsort(f)
    f, w = f[order], w[order]
    if f.size < 4:
        return None
    fall = np.diff(w)
    i = int(np.argmin(fall))
    if -fall[i] < 0.25 * float(np.median(w[: i + 1])):
        return None
    return float(0.5 * (f[i] + f[i + 1]))


def peak_onset(fluence_uj_cm2: ArrayLike, peak_count: ArrayLike) -> float | None:
    """Middle, uJ/cm2, between the last fluence without a peak and the next one; else None.

    :param fluence_uj_cm2: uJ/cm2, shape (n,), in any order.
    :param peak_count: narrow peaks of each spectrum, shape (n,), nan where unknown.
    """
    f, c = np.asarray(fluence_uj_cm2, float), np.asarray(peak_count, float)
    good = np.isfinite(f) & np.isfinite(c)
    order = np.argsort(f[good])
    f, c = f[good][order], c[good][order]
    without = np.flatnonzero(c <= 0)
    if not without.size or without[-1] == f.size - 1:
        return None
    return float(0.5 * (f[without[-1]] + f[without[-1] + 1]))
