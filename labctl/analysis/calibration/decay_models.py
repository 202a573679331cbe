"""Ways for a light to fade: single, double and stretched exponential, each with or without a part that stays.

Parameters are chosen so that any real number makes sense, and time runs in units of the whole measurement:
``ln A`` first, then the shape's own, then the part that stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy.special import expit, gammaln

from labctl.analysis.calibration.noisefit import Model
from labctl.model.records import FloatArray

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
    share = float(expit(params[0]))
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
    share = float(expit(logit))
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
        share = float(expit(params[0]))
        tau = np.exp(-np.clip(params[1:3], -30, 30))
        if tau[0] > tau[1]:
            share, tau = 1 - share, tau[::-1]
        moments = [share * tau[0] ** n + (1 - share) * tau[1] ** n for n in (1, 2)]
        numbers = {"fast_share": share, "fast_lifetime_s": float(tau[0]), "slow_lifetime_s": float(tau[1])}
        return Lifetimes(math.log(moments[0]), math.log(moments[1] / moments[0]), numbers)
    beta, ln_tau = exponent(params[1])[0], -float(np.clip(params[0], -30, 30))
    first, second = float(gammaln(1 / beta)), float(gammaln(2 / beta))
    numbers = {"lifetime_s": math.exp(ln_tau), "exponent": beta}
    return Lifetimes(ln_tau - math.log(beta) + first, ln_tau + second - first, numbers)
