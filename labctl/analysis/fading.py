"""Ways for a light to fade: single, double and stretched exponential, each with or without a part that stays.

Parameters are chosen so that any real number makes sense, and time runs in units of the whole measurement:
``ln A`` first, then the shape's own, then the part that stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np
import scipy
from numpy.typing import ArrayLike

from labctl.analysis.calibration import noisefit
from labctl.analysis.calibration.noisefit import NORMAL_95, Model, Noise, Posterior, fit, least_squares
from labctl.model.errors import CalibrationRefused
from labctl.model.records import FloatArray
from labctl.model.results.sweep import Estimate

Shape = Literal["single", "double", "stretched"]
SHAPES: tuple[Shape, ...] = ("single", "double", "stretched")
BETA = (0.15, 1.5)
"""Exponents of a stretched exponential that are looked for."""

Law: TypeAlias = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray, FloatArray]]


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Logarithms of mean lifetimes, in units of the time's, and the numbers of the shape by name."""

    ln_amplitude_weighted: float
    ln_intensity_weighted: float
    numbers: dict[str, float]


def single(params: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """exp(-k t) with parameter k, which may be negative: value, derivatives (n, 1), slope by time."""
    value = np.exp(np.clip(-params[0] * t, -60, 60))
    return value, (-t * value)[:, None], -params[0] * value


def double(params: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """f exp(-k1 t) + (1 - f) exp(-k2 t) with parameters (logit f, ln k1, ln k2)."""
    share = float(scipy.special.expit(params[0]))
    k = np.exp(np.clip(params[1:3], -30, 30))
    fast, slow = np.exp(-np.minimum(k[0] * t, 700)), np.exp(-np.minimum(k[1] * t, 700))
    columns = [
        share * (1 - share) * (fast - slow),
        -share * k[0] * t * fast,
        -(1 - share) * k[1] * t * slow,
    ]
    slope = -share * k[0] * fast - (1 - share) * k[1] * slow
    return share * fast + (1 - share) * slow, np.column_stack(columns), slope


def stretched(params: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """exp(-(k t)^beta) with parameters (ln k, logit of beta between its bounds)."""
    beta, by_beta = exponent(params[1])
    log_u = math.log(math.exp(float(np.clip(params[0], -30, 30)))) + np.log(np.maximum(t, 1e-12))
    power = np.exp(np.clip(beta * log_u, -60, 6))
    value = np.exp(-power)
    columns = [-beta * power * value, -log_u * power * value * by_beta]
    return value, np.column_stack(columns), -beta * power / np.maximum(t, 1e-12) * value


def exponent(logit: float) -> tuple[float, float]:
    """Return beta and its derivative by the parameter."""
    share = float(scipy.special.expit(logit))
    return BETA[0] + (BETA[1] - BETA[0]) * share, (BETA[1] - BETA[0]) * share * (1 - share)


LAWS: dict[Shape, Law] = {"single": single, "double": double, "stretched": stretched}
SIZES: dict[Shape, int] = {"single": 1, "double": 3, "stretched": 2}


def starts(shape: Shape, rate: float) -> list[FloatArray]:
    """Where to begin, for a light whose overall rate is about ``rate``."""
    k = max(abs(rate), 0.05)
    if shape == "single":
        return [np.array([rate])]
    if shape == "double":
        return [
            np.array([logit, math.log(k * fast), math.log(k * slow)])
            for logit, fast, slow in ((0.0, 6.0, 0.5), (-1.0, 20.0, 0.7), (1.0, 2.5, 0.15))
        ]
    return [np.array([math.log(k), _logit(beta)]) for beta in (0.95, 0.5)]


def _logit(beta: float) -> float:
    share = (beta - BETA[0]) / (BETA[1] - BETA[0])
    return math.log(share / (1 - share))


def model_of(shape: Shape, t: FloatArray, *, constant: bool) -> Model:
    """Return A x law (+ constant) over the times, for ``noisefit``; the constant is in units of the data."""
    law = LAWS[shape]

    def model(params: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        size = math.exp(float(np.clip(params[0], -50, 50)))
        value, columns, slope = law(params[1:], t)
        mean, rows = size * value, [size * value, *(size * columns).T]
        if constant:
            mean = mean + params[-1]
            rows.append(np.ones_like(t))
        return mean, np.column_stack(rows), size * slope

    return model


def lifetimes(shape: Shape, params: FloatArray) -> Lifetimes:
    """Mean lifetimes and numbers of a shape's own parameters.

    Amplitude-weighted: area over height, sum A tau / sum A. Intensity-weighted: mean time of the emission,
    sum A tau^2 / sum A tau. Of a stretched exponential tau/beta G(1/beta) and tau G(2/beta)/G(1/beta).
    """
    if shape == "single":
        ln_tau = -math.log(max(float(params[0]), 1e-300))
        return Lifetimes(ln_tau, ln_tau, {"lifetime_s": math.exp(min(ln_tau, 600.0))})
    if shape == "double":
        share = float(scipy.special.expit(params[0]))
        tau = np.exp(-np.clip(params[1:3], -30, 30))
        if tau[0] > tau[1]:
            share, tau = 1 - share, tau[::-1]
        moments = [share * tau[0] ** n + (1 - share) * tau[1] ** n for n in (1, 2)]
        numbers = {"fast_share": share, "fast_lifetime_s": float(tau[0]), "slow_lifetime_s": float(tau[1])}
        return Lifetimes(math.log(moments[0]), math.log(moments[1] / moments[0]), numbers)
    beta, ln_tau = exponent(params[1])[0], -float(np.clip(params[0], -30, 30))
    first, second = float(scipy.special.gammaln(1 / beta)), float(scipy.special.gammaln(2 / beta))
    numbers = {"lifetime_s": math.exp(ln_tau), "exponent": beta}
    return Lifetimes(ln_tau - math.log(beta) + first, ln_tau + second - first, numbers)


MOST_POINTS = 72
"""More are averaged in groups that grow with time, so that fits stay quick."""
_SINGLE = 8  # of the first points stay alone
MOST_SCATTER = 0.25
WANDER_REL = 0.01
"""Slow wander of the light about its decay that a metered laser may cause: within it nothing is a misfit."""
_ALIKE = 0.3  # correlation of neighbouring residuals from which on they are more than scatter
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
    miss: Miss | None


@dataclass(frozen=True, slots=True)
class Miss:
    """How a fitted curve misses the points, neighbours alike, by more than their errors and a laser's wander.

    :param typical_rel: root mean square of what neighbouring residuals share, over the light at the start.
    :param most_sigma: largest residual in standard errors of its point.
    """

    typical_rel: float
    most_sigma: float


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
        raise CalibrationRefused(
            f"times of {noisefit.spread(t)} s: they must start at 0 or later, and increase"
        )
    found = _scatter(y) if sigma is None else sigma[order]
    first = max(3, y.size // 10)
    unit = float(np.mean(y[:first]))
    if not unit > 3 * float(np.sqrt(np.sum(found[:first] ** 2))) / first:
        raise CalibrationRefused("no light above the noise at the start: no decay can be measured")
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
        raise CalibrationRefused("the emission does not follow any decay: the fit does not converge")
    shapes = SHAPES if only is None else (only,)
    fitted = {shape: _fit(series, shape, noise, constant=constant) for shape in shapes}
    posteriors = {shape: found for shape, found in fitted.items() if found is not None}
    if not posteriors:
        raise CalibrationRefused(f"{series.t.size} points cannot determine a {only or 'single'} exponential")
    reference = min(posteriors.values(), key=lambda p: float(np.linalg.slogdet(p.data_covariance)[1]))
    inverse = np.asarray(np.linalg.inv(reference.data_covariance), dtype=np.float64)
    tried = [_candidate(series, shape, found, inverse) for shape, found in posteriors.items()]
    tried.sort(key=lambda c: (not c.separable, c.aicc))
    if tried[0].scatter_rel > MOST_SCATTER and tried[0].miss is None:
        raise CalibrationRefused(
            f"the emission scatters by {tried[0].scatter_rel:.0%} of its start about the decay: too unstable"
        )
    if tried[0].miss is not None:
        missed = [_as_missed(series, candidate, constant) for candidate in tried]
        tried = sorted(missed, key=lambda c: float(np.sum((c.posterior.residuals / series.sigma) ** 2)))
    return Candidates(tuple(tried), plain)


def _as_missed(series: Series, candidate: Candidate, constant: bool) -> Candidate:
    """Return a shape that misses the points as near to them as it comes, not excused by an absurd laser."""
    params = _start(series, candidate.shape, constant=constant)
    assert params is not None
    residuals = series.y - model_of(candidate.shape, series.t, constant=constant)(params)[0]
    posterior = replace(candidate.posterior, params=params, residuals=residuals)
    return replace(candidate, posterior=posterior, miss=_miss(series, residuals) or candidate.miss)


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
    start = _start(series, shape, constant=constant)
    if start is None:
        return None
    model = model_of(shape, series.t, constant=constant)
    try:
        return fit(model, start, series.y, noise, what=f"a {shape} exponential", members=members)
    except CalibrationRefused:
        return None


def _start(series: Series, shape: Shape, *, constant: bool) -> FloatArray | None:
    """Return the parameters of least squares with independent errors, from the best of several starts."""
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
    return None if best is None else best[1]


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


def _candidate(series: Series, shape: Shape, found: Posterior, inverse: FloatArray) -> Candidate:
    n, k = found.residuals.size, found.params.size
    chi2 = float(found.residuals @ inverse @ found.residuals)
    penalty = 2 * k + 2 * k * (k + 1) / max(n - k - 1, 0.5)
    scatter = float(np.sqrt(np.mean(found.residuals**2)))
    miss = _miss(series, found.residuals)
    return Candidate(shape, found, chi2 + penalty, _separable(shape, found), scatter, miss)


def _miss(series: Series, residuals: FloatArray) -> Miss | None:
    """Hold what neighbouring residuals share against the points' errors and a wander of ``WANDER_REL``.

    The mean product of neighbours, in units of both, is about 0 for independent errors and below 1 for a
    wander of that size, which the curve follows in part; a curve of another shape than the decay's makes it
    larger.
    """
    unit = np.hypot(series.sigma, WANDER_REL * np.abs(series.y - residuals))
    z = residuals / unit
    shared = float(np.mean(z[1:] * z[:-1]))
    if shared <= 1.0 or shared < _ALIKE * float(np.mean(z**2)):
        return None
    typical = math.sqrt(max(float(np.mean(residuals[1:] * residuals[:-1])), 0.0))
    return Miss(typical, float(np.max(np.abs(residuals) / series.sigma)))


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


Choice = Literal["single", "double", "stretched", "best"]
LEAST_POINTS = 8
_KNOWN_RETAINED = math.exp(-1)
"""With more than this left, mean lifetimes rest on the shape beyond the measurement."""
_ONE_SIDED, _SURE = 1.6448536 / NORMAL_95, 2.5758 / NORMAL_95  # of the 95 % arm: 95 % one-sided, 99 %
_MEDIAN = 0.6745  # of the size of normal numbers of unit standard deviation
_FIRST, _LAST = 5, 6  # points (or groups) at each end for the retained fraction without a model


@dataclass(frozen=True, slots=True)
class DecayFit:
    """A fading light.

    :param model: shape that was fitted, or chosen; ``constant`` whether a part that stays was fitted too.
    :param retained: light at the last time over that at the first, from the fit; where the model was chosen,
        the other possible shapes are weighed in. ``retained_free`` the same without a model, from the
        first five and the last six points (or groups of points): a witness, blind to what happens between
        the first points.
    :param amplitude_lifetime_s: amplitude-weighted mean lifetime, ``intensity_lifetime_s`` the
        intensity-weighted one; of what fades, without the constant, the other shapes weighed in likewise.
        None where no decay is seen.
    :param lower_bound_s: 95 % lower bound of the lifetime where no decay is seen; None otherwise.
    :param numbers: the shape's own: ``lifetime_s``, ``exponent``, ``fast_share``, ``fast_lifetime_s``,
        ``slow_lifetime_s``, ``constant`` (in units of the signal).
    :param delta_aicc: AICc of each shape tried, above the lowest.
    :param statement: why this shape, in words.
    :param miss: how the curve misses the points; None where it does not.
    :param flags: "no_decay", "brightening", "extrapolated" (mean lifetimes beyond the measurement),
        "not_separable" (two lifetimes that the data do not tell apart), "decay_misfit" (the curve misses the
        points: no lifetimes, and ``retained`` is that without a model), "no_mixture" (the amplitude-weighted
        mean lifetime would be above the intensity-weighted one, as in no mixture of decays: no lifetimes).
    """

    model: Shape
    constant: bool
    retained: Estimate
    retained_free: Estimate
    amplitude_lifetime_s: Estimate | None
    intensity_lifetime_s: Estimate | None
    lower_bound_s: float | None
    numbers: dict[str, Estimate]
    delta_aicc: dict[str, float]
    statement: str
    scatter_rel: float
    start_s: float
    end_s: float
    params: tuple[float, ...]
    unit: float
    flags: tuple[str, ...]
    miss: Miss | None = None

    def signal_at(self, time_s: ArrayLike) -> FloatArray:
        """Return the fitted curve, in units of the signal, shape of ``time_s``."""
        t = np.atleast_1d(np.asarray(time_s, dtype=np.float64)) / self.end_s
        return self.unit * model_of(self.model, t, constant=self.constant)(np.array(self.params))[0]


def fit_decay(
    time_s: ArrayLike,
    signal: ArrayLike,
    signal_sigma: ArrayLike | None = None,
    *,
    model: Choice = "best",
    constant: bool = False,
) -> DecayFit:
    """Fit the emission against time.

    :param time_s: since the light was switched on, >= 0, shape ``(n,)``, n >= 8, in any order.
    :param signal: emission, any unit; divide it by the square (or power) of the measured fluence first where
        the laser drifts: a fit cannot tell a fading sample from a fading laser.
    :param signal_sigma: standard errors; None: found from the differences of neighbours.
    :param model: a shape, or "best": the one with the lowest AICc that the data can fix.
    :param constant: fit a part that stays, too.
    :raises CalibrationRefused: too few points, no light, or a light too unsteady for any shape.
    """
    if model not in get_args(Choice):
        raise CalibrationRefused(f"unknown model {model!r:.40}; single, double, stretched or best")
    found = noisefit.columns(
        LEAST_POINTS, ("time_s", time_s), ("signal", signal), ("signal_sigma", signal_sigma)
    )
    sigma = noisefit.errors("signal_sigma", found[2])
    series = prepare(noisefit.column(found[0]), noisefit.column(found[1]), sigma)
    tried = fit_candidates(series, None if model == "best" else model, constant=constant)
    return _result(series, tried, constant)


def _result(series: Series, found: Candidates, constant: bool) -> DecayFit:
    chosen, span = found.tried[0], series.end_s
    miss = chosen.miss
    free = _free(
        series, _around_a_miss(series) if miss else chosen.posterior.data_covariance, bent=bool(miss)
    )
    retained = free if miss else _averaged(found.tried, lambda c: _ln_retained(series, c, constant))
    shift, arm = (float(x[0]) for x in found.plain.interval([0.0, 1.0]))
    rate = float(found.plain.params[1]) + shift
    fades = rate - arm * _SURE > 0
    mixed = not _no_mixture(chosen, constant)
    named = fades and miss is None and mixed
    flags = ["decay_misfit"] if miss else [] if chosen.separable else ["not_separable"]
    if not fades:
        flags.append("brightening" if rate + arm * _SURE < 0 else "no_decay")
    elif not (miss or mixed):
        flags.append("no_mixture")
    elif named and retained.value > _KNOWN_RETAINED:
        flags.append("extrapolated")
    fastest = rate + arm * _ONE_SIDED
    return DecayFit(
        model=chosen.shape,
        constant=constant,
        retained=retained,
        retained_free=free,
        amplitude_lifetime_s=_lifetime(found.tried, span, 0, constant) if named else None,
        intensity_lifetime_s=_lifetime(found.tried, span, 1, constant) if named else None,
        lower_bound_s=None if fades or miss or fastest <= 0 else span / fastest,
        numbers=_numbers(chosen, series, constant) if named else {},
        delta_aicc={c.shape: c.aicc - min(d.aicc for d in found.tried) for c in found.tried},
        statement=_statement(found.tried),
        scatter_rel=chosen.scatter_rel,
        start_s=float(series.full_t[0]) * span,
        end_s=span,
        params=tuple(float(x) for x in chosen.posterior.params),
        unit=series.unit,
        flags=tuple(flags),
        miss=miss,
    )


def _no_mixture(chosen: Candidate, constant: bool) -> bool:
    """Whether the amplitude-weighted mean lifetime is above the intensity-weighted one, at 99 %."""

    def excess(params: FloatArray) -> float:
        found = lifetimes(chosen.shape, _shape_of(params, constant))
        return found.ln_amplitude_weighted - found.ln_intensity_weighted

    value, sigma = _with_error(chosen, excess)
    return value > _SURE * NORMAL_95 * sigma and value > 1e-6


def _around_a_miss(series: Series) -> FloatArray:
    """Covariance of points about an unknown curve: errors, local scatter, and a laser's wander."""
    second = np.diff(series.y, 2) / (math.sqrt(6) * series.sigma[1:-1])
    white = series.sigma * max(float(np.median(np.abs(second))) / _MEDIAN, 1.0)
    wander = WANDER_REL**2 * np.outer(series.y, series.y) * noisefit.fading(series.t, _MEMORIES[-1])
    return np.asarray(np.diag(white**2) + wander)


def _averaged(tried: tuple[Candidate, ...], ln_value: Callable[[Candidate], tuple[float, float]]) -> Estimate:
    """A number whose logarithm each shape gives with its error, the shapes weighed by exp(-AICc/2)."""
    usable = [c for c in tried if c.separable] or [tried[0]]
    weight = np.exp(-0.5 * np.array([min(c.aicc - usable[0].aicc, 700.0) for c in usable]))
    values, sigmas = np.array([ln_value(c) for c in usable]).T
    weight /= weight.sum()
    value = float(weight @ values)
    sigma = math.sqrt(float(weight @ (sigmas**2 + (values - value) ** 2)))
    return _of_log(value, sigma)


def _ln_retained(series: Series, candidate: Candidate, constant: bool) -> tuple[float, float]:
    ends = np.array([series.full_t[0], 1.0])
    mean, rows, _ = model_of(candidate.shape, ends, constant=constant)(candidate.posterior.params)
    mean = np.maximum(mean, 1e-6)
    gradient = rows[1] / mean[1] - rows[0] / mean[0]
    shift, arm = candidate.posterior.interval(gradient)
    return math.log(mean[1] / mean[0]) + float(shift[0]), float(arm[0]) / NORMAL_95


def _of_log(value: float, sigma: float) -> Estimate:
    """Turn a logarithm with its standard error into a number with its interval."""
    sigma = min(sigma, 50.0)
    value = min(max(value, -300.0), 300.0)
    low, high = (math.exp(value + sign * NORMAL_95 * sigma) for sign in (-1, 1))
    return Estimate(math.exp(value), math.exp(value) * min(sigma, 1e6), low, high)


def _free(series: Series, covariance: FloatArray, *, bent: bool) -> Estimate:
    """Ratio of a line through the last few points and a parabola through the first, at the ends of the time.

    :param covariance: of the points' noise as the fit found it: a laser's wander moves neighbours together.
    :param bent: add to its error what a parabola through the last points would say instead of the line.
    """
    n = series.t.size
    first, last = np.zeros(n), np.zeros(n)
    first[:_FIRST] = _value_at(series.t[:_FIRST], float(series.full_t[0]), 2)
    last[-_LAST:] = _value_at(series.t[-_LAST:], 1.0, 1)
    start, end = float(first @ series.y), float(last @ series.y)
    if not start > 0:
        return Estimate(math.nan, math.inf, -math.inf, math.inf)
    value = end / start
    gradient = (last - value * first) / start
    sigma = math.sqrt(float(gradient @ covariance @ gradient))
    if bent:
        parabola = float(_value_at(series.t[-_LAST:], 1.0, 2) @ series.y[-_LAST:])
        sigma = math.hypot(sigma, (parabola - end) / start)
    return Estimate(value, sigma, value - NORMAL_95 * sigma, value + NORMAL_95 * sigma)


def _value_at(t: FloatArray, at: float, order: int) -> FloatArray:
    """Weights of points in the value of their polynomial at one time, shape of ``t``."""
    order = min(order, np.unique(t).size - 1)
    design = np.vander((t - at) / max(float(np.ptp(t)), 1e-300), order + 1, increasing=True)
    return np.asarray(np.linalg.pinv(design)[0], dtype=np.float64)


def _lifetime(tried: tuple[Candidate, ...], span: float, which: int, constant: bool) -> Estimate:
    """Mean lifetime, s: amplitude-weighted (``which`` 0) or intensity-weighted (1)."""

    def of_candidate(candidate: Candidate) -> tuple[float, float]:
        def ln_lifetime(params: FloatArray) -> float:
            found = lifetimes(candidate.shape, _shape_of(params, constant))
            return (found.ln_amplitude_weighted, found.ln_intensity_weighted)[which]

        value, sigma = _with_error(candidate, ln_lifetime)
        return value + math.log(span), sigma

    return _averaged(tried, of_candidate)


def _shape_of(params: FloatArray, constant: bool) -> FloatArray:
    return params[1:-1] if constant else params[1:]


def _with_error(candidate: Candidate, function: Callable[[FloatArray], float]) -> tuple[float, float]:
    """Value of a function of the parameters and its standard error, by central differences."""
    params = candidate.posterior.params
    steps = 1e-4 * np.eye(params.size)
    gradient = [(function(params + step) - function(params - step)) / 2e-4 for step in steps]
    shift, arm = candidate.posterior.interval(gradient)
    return function(params) + float(shift[0]), float(arm[0]) / NORMAL_95


def _numbers(candidate: Candidate, series: Series, constant: bool) -> dict[str, Estimate]:
    """The shape's own numbers by name."""
    shape, params = candidate.shape, candidate.posterior.params
    names = lifetimes(shape, _shape_of(params, constant)).numbers
    out = {}
    for name in names:

        def ln_number(p: FloatArray, name: str = name) -> float:
            return math.log(max(lifetimes(shape, _shape_of(p, constant)).numbers[name], 1e-300))

        value, sigma = _with_error(candidate, ln_number)
        out[name] = _of_log(value + (math.log(series.end_s) if name.endswith("_s") else 0.0), sigma)
    if constant:
        gradient = np.eye(params.size)[-1]
        shift, arm = candidate.posterior.interval(gradient)
        middle, half = series.unit * float(params[-1] + shift[0]), series.unit * float(arm[0])
        out["constant"] = Estimate(middle, half / NORMAL_95, middle - half, middle + half)
    return out


def _statement(tried: tuple[Candidate, ...]) -> str:
    """Say why this shape was taken."""
    chosen = tried[0]
    if chosen.miss is not None:
        return f"{chosen.shape} exponential by least squares; it misses the points"
    if len(tried) == 1:
        return f"{chosen.shape} exponential, as requested"
    others = [f"{c.shape} {c.aicc - chosen.aicc:+.1f}" for c in tried[1:] if c.separable]
    others += [f"{c.shape} not separable" for c in tried[1:] if not c.separable]
    return f"{chosen.shape} exponential by AICc; the others: {', '.join(others)}"
