"""Fits of a fading light: series made ready, shapes tried from several starts, and compared."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from labctl.analysis.calibration import checks
from labctl.analysis.calibration.decay_models import SHAPES, SIZES, Shape, model_of, starts
from labctl.analysis.calibration.noise import Noise
from labctl.analysis.calibration.noisefit import Model, Posterior, fit, least_squares
from labctl.model.errors import CalibrationRefused
from labctl.model.records import FloatArray

MOST_POINTS = 72
"""More are averaged in groups that grow with time, so that fits stay quick."""
_SINGLE = 8  # of the first points stay alone
MOST_SCATTER = 0.25
_MEMORIES = (0.01, 0.05, 0.25)  # of the laser's wander, over the whole time
_LEAST_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Series:
    """Times over ``end_s``, signals over ``unit``, rising in time, shapes ``(n,)``; ``full_*`` ungrouped."""

    t: FloatArray
    y: FloatArray
    sigma: FloatArray
    end_s: float
    unit: float
    full_t: FloatArray
    full_y: FloatArray
    full_sigma: FloatArray


@dataclass(frozen=True, slots=True)
class Candidate:
    """One shape, fitted; ``separable`` is False where its two lifetimes cannot be told apart."""

    shape: Shape
    posterior: Posterior
    aicc: float
    separable: bool
    scatter_rel: float


@dataclass(frozen=True, slots=True)
class Candidates:
    """Shapes in order of preference, and the single exponential without a constant, always there."""

    tried: tuple[Candidate, ...]
    plain: Posterior


def prepare(time_s: FloatArray, signal: FloatArray, sigma: FloatArray | None) -> Series:
    """Sort, scale and group a series.

    :raises CalibrationRefused: negative times, all at one time, or no light at the start.
    """
    order = np.argsort(time_s, kind="stable")
    t, y = time_s[order], signal[order]
    if t[0] < 0 or not t[-1] > t[0]:
        raise CalibrationRefused(f"times of {checks.spread(t)} s: they must begin at 0 or later, and go on")
    found = _scatter(y) if sigma is None else sigma[order]
    first = max(3, y.size // 10)
    unit = float(np.mean(y[:first]))
    if not unit > 3 * float(np.sqrt(np.sum(found[:first] ** 2))) / first:
        raise CalibrationRefused("no light above the noise at the start: nothing can be seen to fade")
    u, v, s = t / t[-1], y / unit, found / unit
    groups = _groups(t.size)
    count = np.diff(np.append(groups, t.size))
    binned = [np.add.reduceat(a, groups) / count for a in (u, v)]
    errors = np.sqrt(np.add.reduceat(s**2, groups)) / count
    return Series(binned[0], binned[1], errors, float(t[-1]), unit, u, v, s)


def _scatter(y: FloatArray) -> FloatArray:
    """Standard deviation from second differences, which a smooth decay hardly adds to; one for all points."""
    second = y[2:] - 2 * y[1:-1] + y[:-2]
    typical = math.sqrt(float(np.mean(second**2)) / 6)
    return np.full(y.size, max(typical, 1e-6 * float(np.max(np.abs(y))), 1e-300))


def _groups(n: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """First index of each group: single points first, then ever larger groups."""
    if n <= MOST_POINTS:
        return np.arange(n, dtype=np.intp)
    rest = MOST_POINTS - _SINGLE
    share = np.linspace(0, 1, rest + 1)[:-1]
    growing = np.exp(share * math.log(n / _SINGLE)) * _SINGLE
    even = _SINGLE + share * (n - _SINGLE)
    later = np.floor(np.sqrt(growing * even)).astype(np.intp)
    return np.unique(np.concatenate([np.arange(_SINGLE, dtype=np.intp), later]))


def fit_candidates(series: Series, only: Shape | None, *, constant: bool) -> Candidates:
    """Fit one shape, or all; the first is the one to take.

    The noise is found once, beside the most flexible shape that can be fitted, and all shapes are compared by
    AICc = chi2 + 2 k + 2 k (k + 1)/(n - k - 1) with it.

    :raises CalibrationRefused: nothing can be fitted, or the light is too unsteady.
    """
    noise = _noise(series, constant)
    plain = _fit(series, "single", noise, constant=False)
    if plain is None:
        raise CalibrationRefused("the light does not follow any decay: the fit does not settle")
    shapes = SHAPES if only is None else (only,)
    fitted = {shape: _fit(series, shape, noise, constant=constant) for shape in shapes}
    posteriors = {shape: found for shape, found in fitted.items() if found is not None}
    if not posteriors:
        raise CalibrationRefused(f"{series.t.size} points cannot fix a {only or 'single'} exponential")
    reference = min(posteriors.values(), key=lambda p: float(np.linalg.slogdet(p.data_covariance)[1]))
    inverse = np.asarray(np.linalg.inv(reference.data_covariance), dtype=np.float64)
    tried = [_candidate(shape, found, inverse) for shape, found in posteriors.items()]
    tried.sort(key=lambda c: (not c.separable, c.aicc))
    if tried[0].scatter_rel > MOST_SCATTER:
        raise CalibrationRefused(
            f"the light scatters by {tried[0].scatter_rel:.0%} of its start about the decay: too unsteady"
        )
    return Candidates(tuple(tried), plain)


def _noise(series: Series, constant: bool) -> Noise:
    """Choose how long the light's wander lasts, by the likelihood beside a flexible shape."""
    base = Noise(series.sigma, 0.0, 0.0, 0.003, 0.003, time_s=series.t)
    best, best_value = replace(base, memory_s=_MEMORIES[0]), -math.inf
    for memory in _MEMORIES:
        noise = replace(base, memory_s=memory)
        found = _fit(series, "stretched", noise, constant=constant, members=0)
        if found is not None and found.log_evidence > best_value:
            best, best_value = noise, found.log_evidence
    return best


def _fit(
    series: Series, shape: Shape, noise: Noise, *, constant: bool, members: int = 48
) -> Posterior | None:
    """Fit from the best of several starts; None where the points do not fix the shape."""
    model = model_of(shape, series.t, constant=constant)
    if series.t.size < SIZES[shape] + 3 + constant:
        return None
    weight = 1 / np.hypot(series.sigma, 0.01)
    best: tuple[float, FloatArray] | None = None
    for guess in starts(shape, _rate(series)):
        start = np.concatenate([[0.0], guess, [0.05] if constant else []])
        settled = settle(model, start, series.y, weight)
        cost = float(np.sum((weight * (series.y - model(settled)[0])) ** 2))
        if math.isfinite(cost) and (best is None or cost < best[0]):
            best = cost, settled
    if best is None:
        return None
    try:
        return fit(model, best[1], series.y, noise, what=f"a {shape} exponential", members=members)
    except CalibrationRefused:
        return None


def settle(model: Model, start: FloatArray, y: FloatArray, weight: FloatArray) -> FloatArray:
    """Least squares with fixed independent errors; the start itself where that fails."""
    try:
        with np.errstate(all="ignore"):
            return least_squares(model, start, y, np.diag(weight**-2))
    except np.linalg.LinAlgError:
        return start


def _rate(series: Series) -> float:
    """Overall rate over the whole time, from both ends, roughly."""
    k = max(3, series.y.size // 8)
    left = max(float(np.mean(series.y[-k:])) / float(np.mean(series.y[:k])), 0.02)
    return -math.log(left) / max(float(np.mean(series.t[-k:]) - np.mean(series.t[:k])), 0.1)


def _candidate(shape: Shape, found: Posterior, inverse: FloatArray) -> Candidate:
    n, k = found.residuals.size, found.params.size
    chi2 = float(found.residuals @ inverse @ found.residuals)
    penalty = 2 * k + 2 * k * (k + 1) / max(n - k - 1, 0.5)
    scatter = float(np.sqrt(np.mean(found.residuals**2)))
    return Candidate(shape, found, chi2 + penalty, _separable(shape, found), scatter)


def _separable(shape: Shape, found: Posterior) -> bool:
    """Whether two lifetimes are two: apart beyond their errors, each with a share that is seen."""
    if shape != "double":
        return True
    logit, ratio = float(found.params[1]), float(found.params[2] - found.params[3])
    rows = np.zeros((2, found.params.size))
    rows[0, 1], rows[1, 2:4] = 1.0, (1.0, -1.0)
    sigma = found.sigma(rows)
    least = math.log((1 - _LEAST_SHARE) / _LEAST_SHARE)
    return bool(abs(ratio) - 1.96 * sigma[1] > math.log(1.5) and sigma[0] < 1.5 and abs(logit) < least)
