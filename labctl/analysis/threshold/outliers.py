"""One grossly wrong point: a leave-one-out test over the whole grid, so that no shape can hide it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri

from labctl.analysis.threshold.profile import PARAMETERS, Profile

Array = NDArray[np.float64]

# Chance of flagging anything at all in clean data.
# points already.
FALSE_ALARM = 0.02


def left_out_rss(profile: Profile) -> Array:
    """Return the smallest rss over threshold and shape with each point left out, shape (n,)."""
    grid, w = profile.grid, profile.weight
    # One excess only: a mixed shape with its extra freedom could bend around the suspect.
    k, g = np.nonzero(np.isfinite(grid.solved.rss) & (profile.shapes.mixing == 0)[:, None])
    if not k.size:
        return np.full(profile.data.n, profile.rss)
    lum, gain = grid.columns[0, k, g], grid.columns[1, k, g]
    b, a, s, _ = grid.solved.coefficients[:, k, g]
    residual = profile.data.y - (b[:, None] + a[:, None] * lum + s[:, None] * gain)
    leverage = _leverage(lum, gain, w, a > 0)
    drop = w * residual**2 / np.maximum(1.0 - leverage, 1e-6)
    left = grid.solved.rss[k, g][:, None] - np.where(leverage < 1 - 1e-6, drop, 0.0)
    return np.asarray(np.maximum(left.min(axis=0), 1e-14 * profile.rss))


def _leverage(lum: Array, gain: Array, w: Array, free: NDArray[np.bool_]) -> Array:
    """Leverage of each point in each solution, shape (solution, n); ``free``: luminescence not clamped."""
    total = w.sum()
    lum = lum - (lum @ w / total)[:, None]
    gain = gain - (gain @ w / total)[:, None]
    gg = np.maximum((gain**2) @ w, 1e-300)
    lum = lum - ((lum * gain) @ w / gg)[:, None] * gain
    ll = (lum**2) @ w
    free = free & (ll > 1e-12 * gg)
    own = np.where(free[:, None], lum**2 / np.where(free, ll, 1.0)[:, None], 0.0)
    return np.asarray(w * (1 / total + gain**2 / gg[:, None] + own))


def suspect(profile: Profile) -> int | None:
    """Return the usable point whose absence improves the fit beyond chance, or None."""
    n = profile.data.n
    freedom = n - PARAMETERS - 1
    if freedom < 2:
        return None
    left = left_out_rss(profile)
    i = int(np.argmin(left))
    value = (profile.rss - left[i]) / (left[i] / freedom)
    return i if value > fdtri(1, freedom, 1.0 - FALSE_ALARM / n) else None
