"""Is there a threshold at all? The sup-F statistic of a kink against curves without one.

The kink does not exist under the null, so the statistic follows no F distribution; its quantiles were
simulated over several kinds of kink-free data (benchmarks/accuracy/threshold_null_table.py) and are
interpolated here.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.threshold.profile import PARAMETERS, Profile
from labctl.analysis.threshold.shapes import own_spot
from labctl.analysis.threshold.sweep_data import SweepData

# Number of points of the sweep.
POINTS = (7, 8, 10, 12, 16, 24, 32, 64)
# Natural logarithm of the chance to exceed each column: 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005.
LOG_P = (-0.6931, -1.6094, -2.3026, -2.9957, -3.9120, -4.6052, -5.2983)
QUANTILES = (
    (0.000, 0.940, 2.177, 4.577, 10.304, 16.173, 33.851),
    (0.000, 1.045, 2.271, 3.509, 6.121, 8.033, 12.686),
    (0.088, 1.160, 2.318, 3.693, 5.810, 7.407, 11.793),
    (0.104, 1.218, 2.301, 3.280, 5.081, 6.477, 9.250),
    (0.154, 1.182, 1.962, 2.944, 4.499, 5.734, 7.417),
    (0.203, 1.043, 1.796, 2.719, 4.113, 5.241, 6.303),
    (0.172, 1.106, 1.916, 2.632, 3.965, 5.052, 5.899),
    (0.002, 0.954, 1.620, 2.525, 3.783, 4.820, 5.416),
)


Array = NDArray[np.float64]

# A few kinks stand for all, besides the whole spot: every further shape would let noise look more like one.
# Without strong roll-over and Lambert W, smooth onsets are found half again as often, false ones no more.
DETECTORS = ("hinge", "roll-over-0.2", "superlinear")
# Luminescence does not rise faster than this; a steeper null would explain away the first points of a laser.
STEEPEST = 5.5
EXPONENTS = np.concatenate([np.linspace(0.1, 4.0, 79), np.linspace(4.1, 10.0, 40)])


@lru_cache(maxsize=1)
def _saturations() -> Array:
    return np.geomspace(0.1, 30.0, 24)


def null_columns(data: SweepData) -> Array:
    """Return curves without a kink: powers of the fluence, then saturating luminescence, shape (curve, n)."""
    powers = np.exp(EXPONENTS[EXPONENTS <= STEEPEST, None] * data.ln_f)
    curves = [powers]
    for order in (1, 2):
        r = np.exp(order * data.ln_f)
        curves.append(r / (1.0 + _saturations()[:, None] * r))
    return np.concatenate(curves)


def fit_null(y: Array, weight: Array, columns: Array) -> tuple[Array, Array, Array]:
    """Fit ``b + a column`` to each curve; returns rss, b and a, each of shape (curve,)."""
    total = weight.sum()
    y_mean, c_mean = weight @ y / total, columns @ weight / total
    y0 = y - y_mean
    c0 = columns - c_mean[:, None]
    cc = np.maximum((c0**2) @ weight, 1e-300)
    cy = c0 @ (weight * y0)
    a = cy / cc
    yy = float(weight @ y0**2)
    rss = np.maximum(yy - cy * a, 1e-14 * yy + 1e-300)
    return rss, y_mean - a * c_mean, a


def best_kink(profile: Profile) -> tuple[int, int]:
    """Indices (shape, threshold) of the smallest residual over the shapes that stand for a kink."""
    names = (*DETECTORS, own_spot(profile.shapes.photon_order))
    rows = np.flatnonzero(np.isin(profile.shapes.names, names))
    rss = profile.grid.solved.rss[rows]
    k, g = np.unravel_index(int(np.argmin(rss)), rss.shape)
    return int(rows[k]), int(g)


def excess_share(profile: Profile) -> float:
    """Return the largest part of the signal, over the points, that the best kink's excess makes up."""
    k, g = best_kink(profile)
    excess = profile.grid.solved.coefficients[2, k, g] * profile.grid.columns[1, k, g]
    return float((excess / np.maximum(profile.grid.mean(k, g), 1e-300)).max())


def statistic(rss_null: float, rss_kink: float, n: int) -> float:
    """Return the sup-F statistic: what the kink's two extra parameters explain, over the noise left."""
    if not np.isfinite(rss_kink) or n <= PARAMETERS:
        return 0.0
    return max(0.0, (rss_null - rss_kink) / 2.0 / (rss_kink / (n - PARAMETERS)))


def p_value(value: float, n: int) -> float:
    """Return the chance of a statistic this large without a kink, from the simulated tables.

    Between tabulated sizes the quantiles are interpolated in 1/(n - 5); beyond the last level the table is
    continued as a power of the statistic, as an F distribution with n - 5 degrees of freedom would fall,
    never below 1e-12.
    """
    at = 1.0 / max(n - PARAMETERS, 1)
    nodes = 1.0 / (np.asarray(POINTS, float) - PARAMETERS)
    log_q = np.array([np.interp(at, nodes[::-1], np.log(column)[::-1]) for column in np.asarray(QUANTILES).T])
    log_p = np.asarray(LOG_P)
    x = np.log(max(value, 1e-12))
    if x <= log_q[0]:
        return float(min(1.0, np.exp(log_p[0] * np.exp(x - log_q[0]))))
    if x >= log_q[-1]:
        freedom = max(n - PARAMETERS, 1)
        tail = 0.5 * freedom * np.log1p(2.0 * np.exp(x) / freedom) - 0.5 * freedom * np.log1p(
            2.0 * np.exp(log_q[-1]) / freedom
        )
        return float(max(np.exp(log_p[-1] - tail), 1e-12))
    return float(np.exp(np.interp(x, log_q, log_p)))
