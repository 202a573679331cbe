"""Whether a sample answers differently on the way down: bleaching, heat, or light that changed it.

Fluences are measured twice, on the way up and on the way down. A bench wanders by itself meanwhile. Room
light and dark add counts that neighbouring points share and that are most of a faint signal; the pick-off's
ratio shifts the fluence where no meter sees it. Neither shows in the scatter of a point's exposures, so both
stand in the covariance of the pairs: the added counts with a size that the pairs themselves tell, the fluence
with ``UNSEEN_DRIFT``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy

from labctl.analysis.light_light import LightLight
from labctl.analysis.threshold.result import CurveModel, ThresholdResult
from labctl.model.records import FloatArray
from labctl.model.results.sweep import Hysteresis

SIGNIFICANCE = 0.02
"""Chance of calling the ways different without a difference."""
UNSEEN_DRIFT = 0.007
"""Standard deviation of what the fluence drifts unseen from the first point to the last, relative: the ratio
of a pick-off moves by some tenths of a per cent with temperature and polarisation."""

LEAST_PAIRS = 3
MOST_PAIRS = 100
"""More are averaged with their neighbours, so that a sweep of thousands of points is judged in no time."""

_SLOPE_ERROR = 0.1  # of the way from one fluence to the other along the curve
_SHARED_POINTS = 8.0  # points apart between which added counts have changed by much
_FREEDOM = 4.0  # standard errors from a handful of exposures are not exact
_SIZES = np.concatenate([[0.0], np.geomspace(0.003, 2.0, 8)])
_MOST_SCATTER = 0.4
_STEP = 0.02


@dataclass(frozen=True, slots=True)
class Pairs:
    """Fluences measured both ways; every array has shape ``(pair,)``.

    :param change: logarithm of down over up, freed of the difference of the two fluences; ``sigma`` its
        declared standard error.
    :param signal: counts per pulse, mean of both ways; ``slope`` of its logarithm by that of the fluence.
    :param shift: change that a rise of the onset alone makes, per logarithm of the onset; None without one.
    :param apart: points measured from one to the other; ``given`` the dose that the sample got from one to
        the other, over the largest of them (points where no dose is known).
    """

    change: FloatArray
    sigma: FloatArray
    signal: FloatArray
    slope: FloatArray
    shift: FloatArray | None
    apart: FloatArray
    given: FloatArray


@dataclass(frozen=True, slots=True)
class Change:
    """A logarithm of down over up, its standard error, and the chance of one as large by luck."""

    value: float
    sigma: float
    p_value: float


def pairs_of(grid: LightLight, turn: int, model: CurveModel | None) -> Pairs | None:
    """Pair the fluences set both ways; None with fewer than 3.

    :param turn: index of the last point of the way up.
    :param model: the curve fitted to both ways: mount and laser never give the same fluence twice, and the
        difference is taken out along it. Without one the slope of neighbouring points serves.
    """
    place = np.arange(grid.signal.size)
    usable = (grid.signal > 0) & (grid.fluence_uj_cm2 > 0)
    ups = {_key(grid, k): k for k in place[usable & (place <= turn)]}
    both = [(ups[_key(grid, k)], k) for k in place[usable & (place > turn)] if _key(grid, k) in ups]
    if len(both) < LEAST_PAIRS:
        return None
    i, j = np.array(both, dtype=np.intp).T
    ln_f = np.log(np.where(usable, grid.fluence_uj_cm2, 1.0))
    middle = 0.5 * (ln_f[i] + ln_f[j])
    slope = _slopes(grid.only(usable), model, middle)
    moved = slope * (ln_f[j] - ln_f[i])
    up, down = grid.signal[i], grid.signal[j] * np.exp(-moved)
    parts = [np.nan_to_num(grid.signal_sigma[k] / grid.signal[k]) for k in (i, j)]
    parts += [slope * np.nan_to_num(grid.fluence_sigma_rel[k]) for k in (i, j)]
    sigma = np.sqrt(np.maximum(sum(p**2 for p in parts) + (_SLOPE_ERROR * moved) ** 2, 1e-8))
    shift = None if model is None else _onset_shift(model, middle)
    apart, given = (j - i).astype(np.float64), grid.dose_uj_cm2[j] - grid.dose_uj_cm2[i]
    if not given.max() > 0:
        given = apart
    return _few(Pairs(np.log(down / up), sigma, 0.5 * (up + down), slope, shift, apart, given / given.max()))


def _key(grid: LightLight, k: int) -> float:
    return round(math.log(grid.fluence_set_uj_cm2[k]), 6)


def _slopes(points: LightLight, model: CurveModel | None, ln_f: FloatArray) -> FloatArray:
    """Slope of ln signal by ln fluence: of the fitted curve, else of a line through the nearest points."""
    if model is not None:
        low, high = (model.best(np.exp(ln_f + side * _STEP)) for side in (-1, 1))
        if min(float(low.min()), float(high.min())) > 0:
            return np.asarray(np.log(high / low) / (2 * _STEP), dtype=np.float64)
    x, y = np.log(points.fluence_uj_cm2), np.log(points.signal)
    width = 1.5 * max(float(np.ptp(x)) / max(points.signal.size / 2 - 1, 1), 1e-6)
    weight = np.exp(-0.5 * ((x[None, :] - ln_f[:, None]) / width) ** 2)
    dx = x[None, :] - (weight @ x / weight.sum(axis=1))[:, None]
    return np.asarray((weight * dx) @ y / (weight * dx**2).sum(axis=1), dtype=np.float64)


def _onset_shift(model: CurveModel, ln_f: FloatArray) -> FloatArray | None:
    """Derivative of ln signal by ln onset, luminescence held; None where the curve is not positive."""
    row, coefficients = int(model.shape[0]), model.coefficients[0, 2:]
    shapes, at = model.shapes, ln_f - model.ln_threshold[0]

    def excess(moved: float) -> FloatArray:
        columns = shapes.columns(at - moved, slice(row, row + 1))[1:, 0]
        return np.asarray(coefficients @ columns, dtype=np.float64)

    signal = model.best(np.exp(ln_f))
    if not (signal > 0).all():
        return None
    return np.asarray((excess(_STEP) - excess(-_STEP)) / (2 * _STEP) / signal, dtype=np.float64)


def _few(pairs: Pairs) -> Pairs:
    """Average neighbouring pairs where there are more than ``MOST_PAIRS``."""
    n = pairs.change.size
    if n <= MOST_PAIRS:
        return pairs
    parts = np.array_split(np.arange(n), MOST_PAIRS)

    def mean(values: FloatArray) -> FloatArray:
        return np.array([values[part].mean() for part in parts])

    sigma = np.array([math.sqrt(float((pairs.sigma[part] ** 2).sum())) / part.size for part in parts])
    return Pairs(
        change=mean(pairs.change),
        sigma=sigma,
        signal=mean(pairs.signal),
        slope=mean(pairs.slope),
        shift=None if pairs.shift is None else mean(pairs.shift),
        apart=mean(pairs.apart),
        given=mean(pairs.given),
    )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Down against up.

    :param signal: common factor of the pairs.
    :param onset: change of the onset, beside a signal that faded with the dose; None without an onset.
    :param p_value: chance that one of three is as far from no change by luck: a common factor, a loss that
        grows with the dose, a shift of the onset.
    """

    signal: Change
    onset: Change | None
    p_value: float


def compare(pairs: Pairs) -> Comparison:
    """Compare the ways by generalised least squares.

    Averaged over how large added counts and further scatter may be, each as likely as the pairs make it.
    """
    n = pairs.change.size
    shared = np.exp(-np.abs(np.subtract.outer(pairs.apart, pairs.apart)) / _SHARED_POINTS)
    per_signal = float(pairs.signal.min()) / pairs.signal
    counts = shared * np.outer(per_signal, per_signal)
    wandered = np.minimum.outer(pairs.apart, pairs.apart) / pairs.apart.max()
    fixed = np.diag(pairs.sigma**2) + UNSEEN_DRIFT**2 * wandered * np.outer(pairs.slope, pairs.slope)
    roots = [
        np.linalg.cholesky(fixed + a**2 * counts + b**2 * np.eye(n))
        for a in _SIZES
        for b in _SIZES[_SIZES < _MOST_SCATTER]
    ]
    signal, faded = (_fitted(pairs.change, roots, [c])[0] for c in (np.ones(n), pairs.given))
    chances = [signal.p_value, faded.p_value]
    if pairs.shift is None or n <= LEAST_PAIRS or not np.ptp(pairs.shift) > 0:
        return Comparison(signal, None, min(1.0, 2 * min(chances)))
    chances.append(_fitted(pairs.change, roots, [pairs.shift])[0].p_value)
    onset = _fitted(pairs.change, roots, [pairs.given, pairs.shift])[1]
    return Comparison(signal, onset, min(1.0, 3 * min(chances)))


def _fitted(r: FloatArray, roots: list[FloatArray], columns: list[FloatArray]) -> list[Change]:
    """Fit the columns of a design together under every covariance, given by its root, and average."""
    design = np.column_stack(columns)
    solved = [_solve(r, root, design) for root in roots]
    likelihood = np.array([s.likelihood for s in solved])
    weight = np.exp(likelihood - likelihood.max())
    freedom = r.size - len(columns) + _FREEDOM
    return [_averaged(weight / weight.sum(), solved, i, freedom) for i in range(len(columns))]


@dataclass(frozen=True, slots=True)
class _Solved:
    """Values and variances, shape ``(column,)``, and the restricted log-likelihood."""

    value: FloatArray
    variance: FloatArray
    likelihood: float


def _solve(r: FloatArray, root: FloatArray, design: FloatArray) -> _Solved:
    whitened = np.linalg.solve(root, np.column_stack([design, r]))
    x, y = whitened[:, :-1], whitened[:, -1]
    normal = x.T @ x
    value = np.linalg.solve(normal, x.T @ y)
    left = float(((y - x @ value) ** 2).sum())
    size = float(np.log(np.diag(root)).sum()) + 0.5 * float(np.linalg.slogdet(normal)[1])
    return _Solved(value, np.diag(np.linalg.inv(normal)), -size - 0.5 * left)


def _averaged(weight: FloatArray, solved: list[_Solved], k: int, freedom: float) -> Change:
    value, variance = np.array([(s.value[k], s.variance[k]) for s in solved]).T
    mean = float(weight @ value)
    sigma = math.sqrt(float(weight @ (variance + (value - mean) ** 2)))
    chance = 2 * scipy.special.stdtr(freedom, -np.abs(value) / np.sqrt(variance))
    return Change(mean, sigma, float(weight @ chance))


def measure_hysteresis(curve: LightLight, fit: Callable[[LightLight], ThresholdResult]) -> Hysteresis | None:
    """Compare the two ways of an up-and-down sweep, in order of acquisition.

    :param fit: makes a threshold of points: of both ways together, and of each alone.
    :returns: None with fewer than 3 usable pairs.
    """
    grid = curve.grid
    if not grid.signal.size:
        return None
    turn = int(np.argmax(grid.fluence_set_uj_cm2))
    whole = fit(grid)
    pairs = pairs_of(grid, turn, whole.model)
    if pairs is None:
        return None
    place = np.arange(grid.signal.size)
    up, down = fit(grid.only(place <= turn)), fit(grid.only(place > turn))
    found = compare(pairs)
    signal, onset, chance = found.signal, found.onset, found.p_value
    if onset is None and (onset := _apart(up, down)) is not None:
        chance = min(1.0, 2 * min(chance, onset.p_value))
    return Hysteresis(
        pairs=int(pairs.change.size),
        signal_change_rel=math.expm1(signal.value),
        signal_change_sigma_rel=math.exp(signal.value) * signal.sigma,
        signal_p_value=signal.p_value,
        threshold_up_uj_cm2=up.threshold_uj_cm2,
        threshold_down_uj_cm2=down.threshold_uj_cm2,
        threshold_change_rel=None if onset is None else math.expm1(onset.value),
        threshold_change_sigma_rel=None if onset is None else math.exp(onset.value) * onset.sigma,
        threshold_p_value=None if onset is None else onset.p_value,
        p_value=chance,
        flags=("hysteresis",) if chance < SIGNIFICANCE else (),
    )


def _apart(up: ThresholdResult, down: ThresholdResult) -> Change | None:
    """Difference of two thresholds; from their total intervals, as that of one shape alone is too narrow."""
    if up.threshold_uj_cm2 is None or down.threshold_uj_cm2 is None:
        return None
    if up.ci95 is None or down.ci95 is None:
        return None
    arms = [max(math.log(ends[1] / ends[0]) / 3.92, 1e-4) for ends in (up.ci95, down.ci95)]
    value, sigma = math.log(down.threshold_uj_cm2 / up.threshold_uj_cm2), math.hypot(*arms, UNSEEN_DRIFT / 2)
    return Change(value, sigma, float(2 * scipy.special.ndtr(-abs(value) / sigma)))
