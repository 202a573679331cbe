"""How an emission fades under constant light: lifetimes by name, and what is left at the end.

Amplitude-weighted mean lifetime: area over height, sum A tau / sum A. Intensity-weighted: the mean time at
which light is emitted, sum A tau^2 / sum A tau. They differ by factors where a decay is not a single
exponential, so neither is ever just "the lifetime".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from labctl.analysis.calibration import checks
from labctl.analysis.calibration.decay_fit import Candidate, Candidates, Series, fit_candidates, prepare
from labctl.analysis.calibration.decay_models import Shape, lifetimes, model_of
from labctl.analysis.calibration.noisefit import NORMAL_95
from labctl.model.errors import CalibrationRefused
from labctl.model.records import FloatArray
from labctl.model.results import Estimate

Choice = Literal["single", "double", "stretched", "best"]
LEAST_POINTS = 8
_KNOWN_RETAINED = math.exp(-1)
"""With more than this left, mean lifetimes rest on the shape beyond the measurement."""
_ONE_SIDED, _SURE = 1.6448536 / NORMAL_95, 2.5758 / NORMAL_95  # of the 95 % arm: 95 % one-sided, 99 %
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
    :param flags: "no_decay", "brightening", "extrapolated" (mean lifetimes beyond the measurement),
        "not_separable" (two lifetimes that the data do not tell apart).
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
    found = checks.columns(
        LEAST_POINTS, ("time_s", time_s), ("signal", signal), ("signal_sigma", signal_sigma)
    )
    sigma = checks.errors("signal_sigma", found[2])
    series = prepare(checks.column(found[0]), checks.column(found[1]), sigma)
    tried = fit_candidates(series, None if model == "best" else model, constant=constant)
    return _result(series, tried, constant)


def _result(series: Series, found: Candidates, constant: bool) -> DecayFit:
    chosen, span = found.tried[0], series.end_s
    retained = _averaged(found.tried, lambda c: _ln_retained(series, c, constant))
    shift, arm = (float(x[0]) for x in found.plain.interval([0.0, 1.0]))
    rate = float(found.plain.params[1]) + shift
    fades = rate - arm * _SURE > 0
    flags = [] if chosen.separable else ["not_separable"]
    if not fades:
        flags.append("brightening" if rate + arm * _SURE < 0 else "no_decay")
    elif retained.value > _KNOWN_RETAINED:
        flags.append("extrapolated")
    fastest = rate + arm * _ONE_SIDED
    return DecayFit(
        model=chosen.shape,
        constant=constant,
        retained=retained,
        retained_free=_free(series, chosen.posterior.data_covariance),
        amplitude_lifetime_s=_lifetime(found.tried, span, 0, constant) if fades else None,
        intensity_lifetime_s=_lifetime(found.tried, span, 1, constant) if fades else None,
        lower_bound_s=None if fades or fastest <= 0 else span / fastest,
        numbers=_numbers(chosen, series, constant) if fades else {},
        delta_aicc={c.shape: c.aicc - min(d.aicc for d in found.tried) for c in found.tried},
        statement=_statement(found.tried),
        scatter_rel=chosen.scatter_rel,
        start_s=float(series.full_t[0]) * span,
        end_s=span,
        params=tuple(float(x) for x in chosen.posterior.params),
        unit=series.unit,
        flags=tuple(flags),
    )


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


def _free(series: Series, covariance: FloatArray) -> Estimate:
    """Ratio of a line through the last few points and a parabola through the first, at the ends of the time.

    :param covariance: of the points' noise as the fit found it: a laser's wander moves neighbours together.
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
    if len(tried) == 1:
        return f"{chosen.shape} exponential, as asked"
    others = [f"{c.shape} {c.aicc - chosen.aicc:+.1f}" for c in tried[1:] if c.separable]
    others += [f"{c.shape} not separable" for c in tried[1:] if not c.separable]
    return f"{chosen.shape} exponential by AICc; the others: {', '.join(others)}"
