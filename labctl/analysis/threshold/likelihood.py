"""Likelihood over threshold AND shape: a coarse grid finds the weights, finer grids the answer.

For every (shape, threshold) only three numbers are linear, so a whole grid is one batch of closed-form
solutions. The scale of the noise is integrated out, which turns a residual sum of squares into a Student-like
likelihood. The threshold and the shape are then averaged over that likelihood: a kink is not a regular
parameter, and this average covers where a covariance matrix does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.threshold.shapes import IN_PART, Library
from labctl.analysis.threshold.sweep_data import LN_ZERO, SweepData

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


_TINY = 1e-11


@dataclass(frozen=True, slots=True)
class Solved:
    """Least-squares solutions of ``y = b + a lum + s gain + c second`` with ``a >= 0`` and ``s > 0``.

    :ivar rss: weighted residual sum of squares, shape (K, G), infinite where the signs cannot be had.
    :ivar coefficients: b, a, s, c, shape (4, K, G).
    """

    rss: Array
    coefficients: Array


@dataclass(frozen=True, slots=True)
class Weighting:
    """How much each point counts.

    :ivar weight: one over the variance of each point, shape (n,).
    :ivar white: where points err together, the matrix that turns their errors into independent ones of
        variance 1, shape (n, n), else None.
    """

    weight: Array
    white: Array | None = None

    @classmethod
    def of(cls, own: Array, shared: Array) -> Weighting:
        """Make it of independent variances, shape (n,), and a covariance beside them, shape (n, n)."""
        covariance = shared + np.diag(own)
        white = np.linalg.inv(np.linalg.cholesky(covariance))
        return cls(np.asarray(1.0 / np.diagonal(covariance)), np.ascontiguousarray(white))

    def root(self, rows: Array) -> Array:
        """Return rows of numbers at the points, shape (..., n), in units of independent errors."""
        return np.asarray(rows * np.sqrt(self.weight) if self.white is None else rows @ self.white.T)

    def back(self, rows: Array) -> Array:
        """Apply the transposed of :meth:`root`: together they are one over the covariance."""
        return np.asarray(rows * np.sqrt(self.weight) if self.white is None else rows @ self.white)


def solve(
    y: Array, by: Weighting, columns: Array, second_range: tuple[Array, Array], mixed: NDArray[np.intp]
) -> Solved:
    """Solve every problem of the batch.

    :param y: signal, shape (n,); ``by`` says what each of them counts.
    :param columns: luminescence, excess and second excess, shape (3, K, G, n).
    :param second_range: smallest and largest allowed ratio ``c / s``, each of shape (K, G).
    :param mixed: which shapes have a second excess, indices into K; the others' is taken as zero.
    """
    one, root = by.root(np.ones(y.size)), by.root(columns)
    total = float(one @ one)
    y_mean = float(one @ by.root(y) / total)
    centred = by.root(y - y_mean)
    yy = float(centred @ centred)
    mean = root @ one / total
    moment = root @ centred
    pairs = _second_moments(root, total, mean, mixed)
    a, s, c, rss = _by_elimination(yy, moment, pairs)
    low, high = second_range
    allowed = (s > 0) & (c >= low * s) & (c <= high * s) & (pairs[1, 1] > _TINY * pairs[1, 1].max())
    b = y_mean - a * mean[0] - s * mean[1] - c * mean[2]
    rss = np.where(allowed, np.maximum(rss, 1e-14 * yy), np.inf)
    return Solved(rss, np.stack([b, a, s, c]))


def _second_moments(
    root: Array, total: float, mean: Array, mixed: NDArray[np.intp]
) -> dict[tuple[int, int], Array]:
    """Centred second moments of the three weighted columns, each of shape (K, G)."""
    pairs = {key: np.zeros(root.shape[1:3]) for key in ((0, 2), (1, 2), (2, 2))}
    for i, j in ((0, 0), (0, 1), (1, 1)):
        pairs[i, j] = np.einsum("kgn,kgn->kg", root[i], root[j]) - total * mean[i] * mean[j]
    second = root[2, mixed]
    for i in range(3):
        own = np.einsum("kgn,kgn->kg", root[i, mixed], second)
        pairs[i, 2][mixed] = own - total * mean[i, mixed] * mean[2, mixed]
    return pairs


def _by_elimination(
    yy: float, moment: Array, pairs: dict[tuple[int, int], Array]
) -> tuple[Array, Array, Array, Array]:
    """Gram-Schmidt on the moments, in the order excess, second excess, luminescence; returns a, s, c, rss."""
    ly, gy, ey = moment
    ll, lg, le, gg, ge, ee = (pairs[k] for k in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)))
    g1 = _inverse(gg, gg)
    ee1, ey1, le1 = ee - ge**2 * g1, ey - ge * gy * g1, le - lg * ge * g1
    e1 = _inverse(ee1, ee)
    ll1, ly1 = ll - lg**2 * g1 - le1**2 * e1, ly - lg * gy * g1 - le1 * ey1 * e1
    l1 = _inverse(ll1, ll)
    a = np.maximum(ly1 * l1, 0.0)
    c = (ey1 - le1 * a) * e1
    s = (gy - ge * c - lg * a) * g1
    rss = yy - gy**2 * g1 - ey1**2 * e1 - a * (2.0 * ly1 - a * ll1)
    return a, s, c, rss


def _inverse(left: Array, whole: Array) -> Array:
    """One over what is left of a column's square, or 0 where it is a combination of the columns before."""
    usable = left > _TINY * np.maximum(whole, 1e-300)
    return np.where(usable, 1.0 / np.where(usable, left, 1.0), 0.0)


# Grid size of a full fit, and grid size times points that memory bears for thousands of points.
_FULL, _MOST = 48, 40_000
CURVED, TWO_KINKS, SPOT = 2, 3, 2
# Change of slope at a second kink over the first slope: a mode that takes most of the light away, and one
# that is twenty times as strong as the first.
STEEPEST_FALL, WEAKEST_FIRST = -0.9, 20.0
# A spot seen through a pinhole is a rounded kink 5 to 15 % higher. Few points cannot tell it from a sharp
# one, and its weight there only widens the interval of every sharp kink; where roundness shows it must
# compete. So its weight grows as this power of the points beyond 16.
IN_PART_GROWTH, IN_PART_FROM = 0.7, 16
PARAMETERS = 5  # b, a, s, threshold, and shape counted as one


@dataclass(frozen=True, slots=True)
class Grid:
    """Solutions on a grid of thresholds; ``ln_t`` has shape (G,), everything in ``solved`` (K, G)."""

    ln_t: Array
    solved: Solved
    columns: Array

    @property
    def best(self) -> tuple[int, int]:
        """Indices (shape, threshold) of the smallest residual."""
        k, g = np.unravel_index(int(np.argmin(self.solved.rss)), self.solved.rss.shape)
        return int(k), int(g)

    def mean(self, k: int, g: int) -> Array:
        """Fitted signal of one solution at the points, shape (n,)."""
        b, *rest = self.solved.coefficients[:, k, g]
        return np.asarray(b + np.asarray(rest) @ self.columns[:, k, g])

    def design(self, k: int, g: int) -> Array:
        """Columns of one solution, a constant first, shape (n, 4); the last is zero for an unmixed shape."""
        columns = self.columns[:, k, g]
        return np.stack([np.ones(columns.shape[1]), *columns], axis=1)


@dataclass(frozen=True, slots=True)
class Profile:
    """A fitted sweep: the final grid, the weights (one over variance), and what the grid may span."""

    data: SweepData
    shapes: Library
    grid: Grid
    weight: Array
    span: tuple[float, float]
    white: Array | None = None

    @property
    def by(self) -> Weighting:
        """How much each point counts."""
        return Weighting(self.weight, self.white)

    @property
    def rss(self) -> float:
        """Smallest weighted residual sum of squares."""
        return float(self.grid.solved.rss[self.grid.best])

    @property
    def scale2(self) -> float:
        """Residual variance relative to the one the weights stand for."""
        return self.rss / max(self.data.n - PARAMETERS, 1)

    @property
    def independent_share(self) -> float:
        """Share of the points that count as independent: less than 1 where neighbours err together.

        Residuals of a shape outside the library are no noise; taken for noise they would narrow the interval
        as if every point were a new witness. One standard error of the correlation is forgiven.
        """
        k, g = self.grid.best
        r = self.by.root(self.data.y - self.grid.mean(k, g))[self.data.order]
        shared = float((r[1:] * r[:-1]).sum() / max(float((r**2).sum()), 1e-300))
        shared = min(max(shared - 1.0 / np.sqrt(self.data.n), 0.0), 0.9)
        return float((1.0 - shared) / (1.0 + shared))

    def log_prior(self, spot_weight: float = 0.0) -> Array:
        """Log weight of every shape before the data, shape (K,).

        :param spot_weight: added for the spots.
        """
        n, shapes = self.data.n, self.shapes
        growth = IN_PART_GROWTH * np.log(max(n, IN_PART_FROM) / IN_PART_FROM)
        prior = shapes.log_prior - np.where(shapes.mixing > 0, 0.5 * np.log(n), 0.0)
        prior = prior + np.where(np.asarray(shapes.families) == IN_PART, growth, 0.0)
        return np.asarray(prior + np.where(shapes.classes == SPOT, spot_weight, 0.0))

    def chance(self, spot_weight: float = 0.0) -> Array:
        """Posterior weight of every (shape, threshold) cell, shape (K, G), summing to one.

        :param spot_weight: added to the log prior of the spots.
        """
        rss = self.grid.solved.rss
        freedom = (self.data.n - PARAMETERS) * self.independent_share + 1.0
        log_like = -0.5 * freedom * np.log(rss / self.rss) + self.log_prior(spot_weight)[:, None]
        p = np.exp(log_like - log_like.max())
        return np.asarray(p / p.sum())


def evaluate(data: SweepData, shapes: Library, ln_t: Array, by: Weighting) -> Grid:
    """Solve for every shape of the library at every threshold of the grid."""
    columns = shapes.columns(data.ln_f[None, :] - ln_t[:, None])
    return again(data, shapes, Grid(ln_t, Solved(np.empty(0), np.empty(0)), columns), by)


def again(data: SweepData, shapes: Library, grid: Grid, by: Weighting) -> Grid:
    """Solve the same grid with other weights."""
    limits = _second_range(shapes, data.ln_f.max() - grid.ln_t)
    mixed = np.flatnonzero(shapes.mixing)
    return Grid(grid.ln_t, solve(data.y, by, grid.columns, limits, mixed), grid.columns)


def _second_range(shapes: Library, ln_u_top: Array) -> tuple[Array, Array]:
    """Allowed ratio of second to first excess, each (K, G): the whole excess may not fall within the scan."""
    reach = np.maximum(shapes.columns(ln_u_top)[1], 1e-6)
    mixing = shapes.mixing[:, None]
    low = np.where(mixing == CURVED, -0.5 / reach, np.where(mixing == TWO_KINKS, STEEPEST_FALL, 0.0))
    high = np.where(mixing == CURVED, 1.0, np.where(mixing == TWO_KINKS, WEAKEST_FIRST, np.inf))
    return low, np.broadcast_to(high, low.shape)


def span_of(data: SweepData) -> tuple[float, float]:
    """Return the thresholds that a scan can show: a distinct fluence or two must lie on either side."""
    levels = data.levels()
    levels = levels[levels > 0.5 * LN_ZERO]
    return float(levels[1]), float(levels[-2])


def fit_profile(data: SweepData, shapes: Library, *, size: int = 64, weight: Array | None = None) -> Profile:
    """Fit one sweep of at least 6 distinct fluences.

    :param size: thresholds per grid; three grids are solved, more where they are coarse.
    :param weight: weights to start from (live use), else estimated from scratch.
    """
    low, high = span_of(data)
    size = min(size, max(_MOST // data.n, 16))
    ln_t = np.linspace(low, high, size)
    by = Weighting(_first_weight(data) if weight is None else weight)
    grid = evaluate(data, shapes, ln_t, by)
    for _ in range(3 if weight is None else 1):
        by = reweigh(data, shapes, grid)
        grid = again(data, shapes, grid, by)
    # Coarse grids are refined more often, so that live use ends on the same resolution.
    for _ in range(2 if size >= _FULL else 4):
        finer = closer(grid, data.n)
        if finer is None:
            break
        grid = evaluate(data, shapes, finer, by)
    return Profile(data, shapes, grid, by.weight, (low, high), by.white)


def _first_weight(data: SweepData) -> Array:
    if data.sigma is not None:
        return np.asarray(1.0 / data.sigma**2)
    mean = np.maximum(pilot_mean(data.y, data.order), 0.0)
    top = max(float(mean.max()), 1e-6)
    return np.asarray(1.0 / (mean**2 + 0.05 * top * mean + 1e-4 * top**2))


def reweigh(data: SweepData, shapes: Library, grid: Grid) -> Weighting:
    """Return what each point counts, about the best solution of the grid."""
    k, g = grid.best
    mean = grid.mean(k, g)
    slope, bent = _response(data, shapes, grid)
    fluence_part = (data.fluence_sigma * slope) ** 2
    if data.wander_rel > 0:
        fluence_part += bent
        apart = np.abs(data.ages[:, None] - data.ages[None, :])
        covariance = np.outer(slope, slope) * data.wander_rel**2 * np.exp(-apart)
    if data.sigma is not None:
        variance = data.sigma**2 + fluence_part
        if data.wander_rel <= 0:
            return Weighting(np.asarray(1.0 / variance))
        return Weighting.of(variance, covariance)
    weight = 1.0 / (mean**2 + 1e-3)
    leverage = (np.linalg.qr(grid.design(k, g)[:, :3] * np.sqrt(weight)[:, None])[0] ** 2).sum(axis=1)
    # Threshold and shape were fitted too; their leverage is spread evenly.
    left = np.maximum((1.0 - leverage) * (data.n - PARAMETERS) / max(data.n - 3, 1), 0.1)

    def independent(square: Array) -> Array:
        found = estimate_variance(mean, np.sqrt(square / left), data.n - PARAMETERS, fluence_part)
        return np.maximum(found, data.least_variance)

    variance = independent((data.y - mean) ** 2)
    if data.wander_rel <= 0:
        return Weighting(np.asarray(1.0 / variance))
    design = np.column_stack([grid.design(k, g)[:, :3], slope])
    found = _beside(data.y - mean, design, variance, fluence_part, covariance)
    # What the wander explains of the residuals is taken off, and the noise looked for in the rest.
    precision = found.back(found.root(np.eye(data.n)))
    explained = covariance @ precision
    rest = data.y - mean - explained @ (data.y - mean)
    left_open = np.diagonal(covariance) - np.einsum("ij,ij->i", explained, covariance)
    variance = independent(rest**2 + np.maximum(left_open, 0.0))
    return _beside(data.y - mean, design, variance, fluence_part, covariance)


# Gauss-Hermite: the mean over a normal error of polynomials up to the ninth degree.
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(5)


def _response(data: SweepData, shapes: Library, grid: Grid) -> tuple[Array, Array]:
    """How the best solution answers to errors of the fluence.

    :returns: the change of the signal with ln fluence, over as much as the fluence errs, and the variance
        of what is not proportional to the error, as at a kink; both of shape (n,).
    """
    error = np.hypot(data.fluence_sigma, data.wander_rel)
    if not error.any():
        return np.zeros(data.n), np.zeros(data.n)
    k, g = grid.best
    step = np.maximum(error, 0.005)
    ln_u = data.ln_f - grid.ln_t[g] + _NODES[:, None] * step
    signal = grid.solved.coefficients[1:, k, g] @ shapes.columns(ln_u, slice(k, k + 1))[:, 0].reshape(3, -1)
    change = signal.reshape(ln_u.shape) - signal.reshape(ln_u.shape)[_NODES.size // 2]
    weight = _NODE_WEIGHTS / _NODE_WEIGHTS.sum()
    slope = (weight * _NODES) @ change / step
    rest = weight @ (change - _NODES[:, None] * step * slope) ** 2
    return slope, np.where(error > 0, rest, 0.0)


_SIZES = np.geomspace(3e-4, 3.0, 14)


def _beside(residual: Array, design: Array, own: Array, known: Array, shared: Array) -> Weighting:
    """Find the size of the independent variance beside a known covariance, by restricted likelihood.

    :param residual: shape (n,), about a fit with the columns of ``design``, shape (n, p).
    :param own: independent variance of each point up to a factor, ``known`` a part of it that is known, both
        of shape (n,); ``shared`` the known covariance, shape (n, n).
    """
    noise = np.maximum(own - known, 1e-3 * own)
    at = np.arange(residual.size)
    covariance = np.repeat(shared[None], _SIZES.size, axis=0)
    covariance[:, at, at] += known + _SIZES[:, None] * noise + 1e-12
    root = np.linalg.cholesky(covariance)
    rows = np.linalg.solve(
        root, np.broadcast_to(np.column_stack([design, residual]), (*root.shape[:2], design.shape[1] + 1))
    )
    normal = rows.transpose(0, 2, 1) @ rows
    inner = normal[:, :-1, :-1]
    scale = np.sqrt(np.maximum(np.einsum("dii->di", inner), 1e-300))
    inner = inner / scale[:, :, None] / scale[:, None, :] + 1e-9 * np.eye(scale.shape[1])
    cross = normal[:, :-1, -1] / scale
    rest = normal[:, -1, -1] - np.einsum("di,di->d", cross, np.linalg.solve(inner, cross[..., None])[..., 0])
    log_like = -0.5 * rest - np.log(np.einsum("dii->di", root)).sum(axis=1)
    log_like -= 0.5 * (np.linalg.slogdet(inner)[1] + 2 * np.log(scale).sum(axis=1))
    chance = np.exp(log_like - log_like.max()) * np.exp(-0.5 * (np.log(_SIZES) / 3.0) ** 2)
    size = float(np.exp(chance @ np.log(_SIZES) / chance.sum()))
    return Weighting.of(known + size * noise + 1e-12, shared)


def closer(grid: Grid, n: int) -> Array | None:
    """Return a finer grid over what the last one left possible, or None if that would not help."""
    rss = grid.solved.rss.min(axis=0)
    inside = np.flatnonzero(rss <= rss.min() * (1.0 + 20.0 / max(n - PARAMETERS, 1)))
    low, high = grid.ln_t[max(inside[0] - 1, 0)], grid.ln_t[min(inside[-1] + 1, rss.size - 1)]
    if high - low > 0.8 * (grid.ln_t[-1] - grid.ln_t[0]):
        return None
    return np.linspace(low, high, rss.size)
