"""How noisy each point is: a variance that follows the fitted mean, its terms estimated from the residuals.

variance = scale x (mean^2 + kappa M mean + rho M^2) + (relative fluence noise x dmean/dlnF)^2,
with M the largest mean.
The three terms of the bracket are multiplicative, shot and read noise; their ratios come from the residuals
under a broad prior, because 8 points cannot tell three noises apart.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_KAPPA = (0.0, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 10.0)
_RHO = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 10.0)
_TERMS = np.array(list(product(_KAPPA, _RHO)))
# Residuals are taken as Student's with 4 degrees of freedom, so that one gross outlier does not choose the
# noise model that excuses it; the second number turns the scale so found into that of normal noise.
_TAIL, _NORMAL = 4.0, 0.6906
# Typical of a bench: 5 % multiplicative noise, some thousand counts at the top, read noise of some counts.
_LOG_PRIOR = (
    -0.5 * ((np.log(np.maximum(_TERMS[:, 0], 1e-3)) - np.log(0.03)) / 2.0) ** 2
    - 0.5 * ((np.log(_TERMS[:, 1]) - np.log(1e-4)) / 3.0) ** 2
)


def pilot_mean(y: Array, order: NDArray[np.intp]) -> Array:
    """Rough mean of each point: running median of three along fluence, so that one outlier does not weigh.

    :param y: signal, shape (n,); ``order`` sorts it by fluence. Comes back in the order of ``y``.
    """
    v = y[order]
    if v.size < 3:
        return np.array(y)
    padded = np.concatenate([v[:1], v, v[-1:]])
    middle = np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)
    out = np.empty_like(v)
    out[order] = middle
    return out


def shapes_of_variance(mean: Array) -> Array:
    """Return the candidate variances up to a scale, shape (candidate, n)."""
    top = max(float(np.abs(mean).max()), 1e-300)
    m = np.maximum(mean, 0.0) / top
    return np.asarray(m**2 + _TERMS[:, :1] * m + _TERMS[:, 1:] + 1e-12)


def estimate_variance(mean: Array, residual: Array, freedom: float, fluence_part: Array) -> Array:
    """Estimate the variance of every point from residuals about a fitted mean.

    :param mean: fitted mean, shape (n,); ``residual`` likewise, already divided by sqrt(1 - leverage).
    :param freedom: degrees of freedom left in the residuals.
    :param fluence_part: the known part of the variance due to fluence noise, shape (n,).
    :returns: the variance of each point, shape (n,): the average over candidates, by their likelihood.
    """
    candidates = shapes_of_variance(mean)
    e2 = residual**2
    scale = np.maximum((e2 / candidates).mean(axis=1), 1e-300)
    for _ in range(10):
        v = scale[:, None] * candidates + fluence_part
        own = scale[:, None] * candidates / v
        trusted = (_TAIL + 1.0) / (_TAIL * _NORMAL + e2 / v) * e2
        # Expectation step of a sum of two variances, the second of them known.
        scale = np.maximum(
            (own**2 * trusted / candidates + (1.0 - own) * scale[:, None]).mean(axis=1), 1e-300
        )
    v = scale[:, None] * candidates + fluence_part
    share = freedom / residual.size
    tail = (_TAIL + 1.0) * np.log1p(e2 / (_TAIL * v * _NORMAL))
    log_like = -0.5 * share * (np.log(v) + tail).sum(axis=1) + _LOG_PRIOR
    chance = np.exp(log_like - log_like.max())
    return np.asarray(1.0 / ((chance[:, None] / v).sum(axis=0) / chance.sum()))
