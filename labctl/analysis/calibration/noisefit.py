"""Least squares where the noise has to be found from the residuals too, and its uncertainty counted.

The noise is as ``noise`` describes it; its unknown parts are found by restricted maximum likelihood under
broad priors (Patterson and Thompson, Biometrika 58, 545, 1971). The intervals average over what the data
leave open of them, so that few points give wide tails as Student's t does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import scipy
from numpy.typing import ArrayLike

from labctl.model.errors import CalibrationRefused
from labctl.model.records import FloatArray

_LARGEST = 1e100
"""Numbers beyond this are not measurements, and their squares overflow."""


def columns(least: int, *named: tuple[str, ArrayLike | None]) -> list[FloatArray | None]:
    """Turn the columns of one measurement into arrays of shape ``(n,)``; None stays None.

    :raises CalibrationRefused: fewer than ``least`` values, columns of different lengths, values that are
        not numbers or not finite.
    """
    found: list[FloatArray | None] = []
    sizes: dict[str, int] = {}
    for name, values in named:
        if values is None:
            found.append(None)
            continue
        try:
            array = np.array(values, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise CalibrationRefused(f"{name} must be a list of numbers") from None
        array = np.atleast_1d(array)
        if array.ndim != 1 or not (np.abs(array) <= _LARGEST).all():
            raise CalibrationRefused(f"{name} must be a list of finite numbers")
        sizes[name] = array.size
        found.append(array)
    if len(set(sizes.values())) > 1:
        raise CalibrationRefused("columns of different lengths: " + _listed(sizes))
    n = next(iter(sizes.values()))
    if n < least:
        raise CalibrationRefused(f"{n} points are too few: at least {least} are needed")
    return found


def _listed(sizes: dict[str, int]) -> str:
    return ", ".join(f"{name} {size}" for name, size in sizes.items())


def column(array: FloatArray | None) -> FloatArray:
    """Say that a column is there."""
    if array is None:
        raise CalibrationRefused("a column is missing")
    return array


def errors(name: str, sigma: FloatArray | None) -> FloatArray | None:
    """Check standard errors; zeros, as of an ideal meter, are taken as the least of the others.

    :returns: None, for unknown, where all are zero.
    :raises CalibrationRefused: one is negative.
    """
    if sigma is None or not np.any(sigma):
        return None
    if (sigma < 0).any():
        raise CalibrationRefused(f"{name}: a standard error must be positive")
    return np.where(sigma > 0, sigma, np.min(sigma[sigma > 0]))


def spread(values: FloatArray) -> str:
    """Write the ends of a list."""
    return f"{np.min(values):g} to {np.max(values):g}"


@dataclass(frozen=True, slots=True)
class Part:
    """One unknown part of the noise: ``covariance`` (n, n) times exp(theta), theta normal a priori."""

    covariance: FloatArray
    prior_mean: float
    prior_sigma: float


@dataclass(frozen=True, slots=True)
class Noise:
    """What is known of the errors of a scan; numbers with ``guess`` are medians of broad priors.

    :param sigma: known standard errors, shape ``(n,)``, or None: one unknown number for all points.
    :param x_sigma: standard error of the abscissa, one or shape ``(n,)``; None when unknown: ``x_guess`` then
        (0: none).
    :param relative_guess: of the source from reading to reading; 0: none.
    :param wander_guess: rms of its slow wander about its mean in the scan, relative; 0: none.
    :param memory_s: the wander forgets itself in this time; None: it is a random walk.
    """

    sigma: FloatArray | None
    x_sigma: float | FloatArray | None = 0.0
    x_guess: float = 0.0
    relative_guess: float = 0.003
    wander_guess: float = 0.0
    floor_guess: float = 0.002
    time_s: FloatArray | None = None
    memory_s: float | None = None

    def known(self, slope: FloatArray) -> FloatArray:
        """Variance known beforehand, shape ``(n,)``."""
        variance = np.zeros_like(slope) if self.sigma is None else self.sigma**2
        return variance if self.x_sigma is None else variance + (slope * self.x_sigma) ** 2

    def parts(self, mean: FloatArray, slope: FloatArray) -> list[Part]:
        """Return the unknown parts for a curve of this mean and slope."""
        top = max(float(np.max(np.abs(mean))), 1e-300)
        found = []
        if self.sigma is None:
            found.append(_part(np.diag(np.full(mean.size, top**2)), self.floor_guess, 4.0))
        if self.relative_guess:
            found.append(_part(np.diag(mean**2), self.relative_guess, 3.0))
        if self.x_sigma is None and self.x_guess:
            found.append(_part(np.diag(slope**2), self.x_guess, 2.0))
        if self.wander_guess:
            time = np.arange(mean.size, dtype=np.float64) if self.time_s is None else self.time_s
            walk = random_walk(time) if self.memory_s is None else fading(time, self.memory_s)
            found.append(_part(np.outer(mean, mean) * walk, self.wander_guess, 3.0))
        return found


def _part(covariance: FloatArray, guess: float, spread: float) -> Part:
    return Part(covariance, 2 * math.log(guess), spread)


def fading(time_s: FloatArray, memory_s: float) -> FloatArray:
    """Covariance of a wander that forgets itself exponentially, unit variance, shape ``(n, n)``."""
    return np.asarray(np.exp(-np.abs(np.subtract.outer(time_s, time_s)) / memory_s), dtype=np.float64)


def random_walk(time_s: FloatArray) -> FloatArray:
    """Covariance of a random walk about its own mean, unit mean variance, shape ``(n, n)``."""
    t = time_s - float(np.min(time_s))
    walk = np.minimum.outer(t, t)
    walk = walk - walk.mean(axis=0)
    walk = walk - walk.mean(axis=1)[:, None]
    size = float(np.trace(walk)) / t.size
    return np.asarray(walk / size if size > 0 else walk, dtype=np.float64)


NORMAL_95 = 1.959963984540054
"""Half the central 95 % interval of a normal distribution, in standard deviations."""

Model: TypeAlias = Callable[[FloatArray], tuple[FloatArray, FloatArray, FloatArray]]
"""Parameters, shape ``(p,)``, to the mean (n,), its derivatives (n, p), its slope by the abscissa (n,)."""

_MEMBERS = 64
_ROUNDS = 4
_RUNAWAY = 2.0  # residuals over those of plain least squares


@dataclass(frozen=True, slots=True)
class Posterior:
    """Parameters with what is left open of them: a mixture of normal distributions.

    :param params: best values, shape ``(p,)``; ``shifts`` those of each member relative to them, (k, p).
    :param covariances: shape ``(k, p, p)``; ``weights`` (k,), of sum 1.
    :param whitened: residuals over their standard deviations, shape ``(n,)``; ``residuals`` in data units.
    :param chi2: residuals against the KNOWN errors alone; None where there are none.
    :param log_evidence: restricted likelihood of the noise with its prior, at its mode, up to a constant.
    :param data_covariance: of the noise found, shape ``(n, n)``; ``log_noise`` its members, (k, parts).
    """

    params: FloatArray
    shifts: FloatArray
    covariances: FloatArray
    weights: FloatArray
    residuals: FloatArray
    whitened: FloatArray
    freedom: int
    chi2: float | None
    log_evidence: float
    data_covariance: FloatArray
    log_noise: FloatArray

    @property
    def covariance(self) -> FloatArray:
        """Covariance of the parameters, members' spread included, shape ``(p, p)``."""
        off = self.shifts - self.weights @ self.shifts
        inner = np.einsum("k,kij->ij", self.weights, self.covariances)
        return np.asarray(inner + np.einsum("k,ki,kj->ij", self.weights, off, off))

    def interval(self, gradient: ArrayLike, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
        """Return shift and half width of the central interval of linear functions of the parameters.

        :param gradient: shape ``(m, p)`` or ``(p,)``.
        :returns: two arrays of shape ``(m,)``; the shift is from the function's value at ``params``.
        """
        rows = np.atleast_2d(np.asarray(gradient, dtype=np.float64))
        centre = rows @ self.shifts.T
        spread = np.sqrt(np.maximum(np.einsum("mi,kij,mj->mk", rows, self.covariances, rows), 1e-300))
        ends = [_quantile(centre, spread, self.weights, q) for q in ((1 - level) / 2, (1 + level) / 2)]
        return (ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / 2

    def sigma(self, gradient: ArrayLike) -> FloatArray:
        """Standard errors so that 1.96 of them make the 95 % interval, shape ``(m,)``."""
        return np.asarray(self.interval(gradient)[1] / NORMAL_95, dtype=np.float64)


def mixed_sigma(sigmas: FloatArray, weights: FloatArray) -> float:
    """Half the 95 % interval of a mixture of normal distributions about 0, over 1.96."""
    ends = _quantile(np.zeros((1, sigmas.size)), np.maximum(sigmas[None, :], 1e-300), weights, 0.975)
    return float(ends[0]) / NORMAL_95


def _quantile(centre: FloatArray, spread: FloatArray, weights: FloatArray, q: float) -> FloatArray:
    """Quantile of mixtures of normal distributions, by bisection; one for each row."""
    low = np.min(centre - 9 * spread, axis=1)
    high = np.max(centre + 9 * spread, axis=1)
    for _ in range(48):
        middle = (low + high) / 2
        below = scipy.special.ndtr((middle[:, None] - centre) / spread) @ weights < q
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.asarray((low + high) / 2, dtype=np.float64)


def fit(
    model: Model,
    start: FloatArray,
    y: FloatArray,
    noise: Noise,
    *,
    what: str,
    members: int = _MEMBERS,
    wary: bool = False,
) -> Posterior:
    """Fit a model and its noise.

    :param start: parameters to begin with, near the truth, shape ``(p,)``.
    :param wary: where a curve does not fit, do not excuse it by an absurd laser and put another one beside
        it, but take all errors as equal; for powers of one size.
    :param members: half the number of the mixture's; 0 for the mode of the noise alone, which is quick.
    :raises CalibrationRefused: there are no more points than parameters, or the fit does not settle.
    """
    freedom = y.size - start.size
    if freedom < 1:
        raise CalibrationRefused(f"{y.size} points cannot determine the {start.size} parameters of {what}")
    try:
        with np.errstate(all="ignore"):
            first = np.asarray(start, dtype=np.float64)
            found = _fit(model, first, y, noise, freedom, members)
            if not wary:
                return found
            plain = least_squares(model, first, y, np.eye(y.size))
            usual = max(float(np.std(y - model(plain)[0])), 1e-12)
            if np.std(found.residuals) <= _RUNAWAY * usual:
                return found
            even = replace(noise, sigma=None, floor_guess=usual, relative_guess=0.0, wander_guess=0.0)
            return _fit(model, plain, y, even, freedom, members)
    except (np.linalg.LinAlgError, FloatingPointError, OverflowError) as error:
        raise CalibrationRefused(
            f"the fit of {what} does not converge: the points do not determine it"
        ) from error


def _fit(
    model: Model, params: FloatArray, y: FloatArray, noise: Noise, freedom: int, count: int
) -> Posterior:
    mean, jacobian, slope = model(params)
    known, parts = noise.known(slope), noise.parts(mean, slope)
    theta = np.array([part.prior_mean for part in parts])
    info, evidence = np.empty((0, 0)), 0.0
    for _ in range(_ROUNDS):
        params = least_squares(model, params, y, _total(known, parts, theta, mean))
        mean, jacobian, slope = model(params)
        known, parts = noise.known(slope), noise.parts(mean, slope)
        theta, info, evidence = _restricted_likelihood(y - mean, jacobian, known, parts, theta, mean)
    _must_be_finite(params, theta)
    draws, log_proposal = _draws(theta, info, count)
    stack = _stack(known, parts, draws, mean)
    shifts, covariances, log_likelihood = _members(y - mean, jacobian, stack)
    log_prior = sum(-0.5 * ((draws[:, j] - p.prior_mean) / p.prior_sigma) ** 2 for j, p in enumerate(parts))
    weights = _normalised(log_likelihood + log_prior - log_proposal)
    residuals = y - mean
    best = _total(known, parts, theta, mean)
    given = noise.sigma is not None
    return Posterior(
        params, shifts, covariances, weights, residuals, residuals / np.sqrt(np.diag(best)), freedom,
        float(np.sum(residuals**2 / np.maximum(known, 1e-300))) if given else None,
        evidence, best, draws,
    )  # fmt: skip


def _must_be_finite(params: FloatArray, theta: FloatArray) -> None:
    if not (np.isfinite(params).all() and np.isfinite(theta).all()):
        raise FloatingPointError


def _total(known: FloatArray, parts: list[Part], theta: FloatArray, mean: FloatArray) -> FloatArray:
    return np.asarray(_stack(known, parts, theta[None, :], mean)[0])


def _stack(known: FloatArray, parts: list[Part], theta: FloatArray, mean: FloatArray) -> FloatArray:
    """Covariances of the data for several sets of noise, shape ``(k, n, n)``."""
    least = (1e-7 * float(np.max(np.abs(mean)))) ** 2
    total = np.broadcast_to(np.diag(known + max(least, 1e-300)), (theta.shape[0], known.size, known.size))
    for j, part in enumerate(parts):
        total = total + np.exp(np.clip(theta[:, j], -80, 80))[:, None, None] * part.covariance
    return np.asarray(total)


def least_squares(model: Model, params: FloatArray, y: FloatArray, covariance: FloatArray) -> FloatArray:
    """Levenberg's and Marquardt's steps at fixed noise."""
    white = np.linalg.inv(np.linalg.cholesky(covariance))
    mean, jacobian, _ = model(params)
    rest = white @ (y - mean)
    cost, damping = float(rest @ rest), 1e-3
    for _ in range(60):
        a = white @ jacobian
        normal, right = a.T @ a, a.T @ rest
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), right)
        new = model(params + step)
        new_rest = white @ (y - new[0])
        new_cost = float(new_rest @ new_rest)
        if not new_cost <= cost:
            damping *= 8
            if damping > 1e10:
                break
            continue
        small = cost - new_cost < 1e-9 * max(cost, 1e-12)
        params, jacobian, rest, cost = params + step, new[1], new_rest, new_cost
        damping = max(damping / 8, 1e-12)
        if small:
            break
    return params


def _restricted_likelihood(
    rest: FloatArray,
    jacobian: FloatArray,
    known: FloatArray,
    parts: list[Part],
    theta: FloatArray,
    mean: FloatArray,
) -> tuple[FloatArray, FloatArray, float]:
    """Mode of the noise under its prior by Fisher's scoring, the information and the likelihood there."""
    if not parts:
        return theta, np.empty((0, 0)), 0.0
    prior_mean = np.array([p.prior_mean for p in parts])
    precision = np.array([p.prior_sigma for p in parts]) ** -2.0
    basis = np.stack([p.covariance for p in parts])

    def value(at: FloatArray) -> float:
        likelihood = _members(rest, jacobian, _stack(known, parts, at[None, :], mean))[2][0]
        return float(likelihood) - 0.5 * float(precision @ (at - prior_mean) ** 2)

    now, info = value(theta), np.diag(precision)
    for _ in range(40):
        projector = _projector(_total(known, parts, theta, mean), jacobian)
        scaled = np.exp(theta)[:, None, None] * basis
        moved = projector @ scaled
        vector = projector @ rest
        gradient = 0.5 * (np.einsum("i,jik,k->j", vector, scaled, vector) - np.einsum("jii->j", moved))
        gradient -= precision * (theta - prior_mean)
        info = 0.5 * np.einsum("jab,kba->jk", moved, moved) + np.diag(precision)
        step = np.clip(np.linalg.solve(info, gradient), -2.0, 2.0)
        size = 1.0
        while size > 1e-3 and not (new := value(theta + size * step)) > now:
            size /= 3
        if size <= 1e-3 or new - now < 1e-4:
            break
        theta, now = theta + size * step, new
    return theta, info, now


def _projector(covariance: FloatArray, jacobian: FloatArray) -> FloatArray:
    inverse = np.linalg.inv(covariance)
    weighted = inverse @ jacobian
    return np.asarray(inverse - weighted @ np.linalg.solve(jacobian.T @ weighted, weighted.T))


def _members(
    rest: FloatArray, jacobian: FloatArray, stack: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Linear fit for every covariance: shifts (k, p), covariances (k, p, p), restricted log likelihoods."""
    inverse = np.linalg.inv(stack)
    logdet = np.linalg.slogdet(stack)[1]
    weighted = inverse @ jacobian
    size = np.sqrt(np.einsum("ni,kni->ki", jacobian, weighted))
    normal = np.einsum("ni,knj->kij", jacobian, weighted) / (size[:, :, None] * size[:, None, :])
    covariances = np.linalg.inv(normal) / (size[:, :, None] * size[:, None, :])
    right = np.einsum("kni,n->ki", weighted, rest)
    shifts = np.einsum("kij,kj->ki", covariances, right)
    chi2 = np.einsum("n,knm,m->k", rest, inverse, rest) - np.einsum("ki,ki->k", right, shifts)
    free = np.linalg.slogdet(normal)[1] + 2 * np.log(size).sum(axis=1)
    return shifts, covariances, -0.5 * (logdet + free + chi2)


def _draws(theta: FloatArray, info: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
    """Members of the noise around its mode, (k, j), and the logarithm of the density they are drawn from."""
    if not theta.size or not count:
        return theta[None, :], np.zeros(1)
    rng = np.random.default_rng(20160)  # the same members each time: a fit must repeat to the last digit
    freedom = 6.0
    normal = rng.standard_normal((count, theta.size))
    normal = np.concatenate([normal, -normal])
    stretch = np.sqrt(freedom / np.tile(rng.chisquare(freedom, count), 2))
    z = normal * stretch[:, None]
    root = np.linalg.inv(np.linalg.cholesky(info)).T * 1.2
    density = -0.5 * (freedom + theta.size) * np.log1p(np.sum(z**2, axis=1) / freedom)
    return theta + z @ root.T, density


def _normalised(log_weights: FloatArray) -> FloatArray:
    log_weights = np.where(np.isfinite(log_weights), log_weights, -np.inf)
    top = float(np.max(log_weights))
    if not math.isfinite(top):
        raise FloatingPointError
    weights = np.exp(log_weights - top)
    return np.asarray(weights / weights.sum())
