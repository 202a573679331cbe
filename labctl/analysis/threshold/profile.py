"""Likelihood over threshold AND shape: a coarse grid finds the weights, finer grids the answer.

For every (shape, threshold) only three numbers are linear, so a whole grid is one batch of closed-form
solutions. The scale of the noise is integrated out, which turns a residual sum of squares into a Student-like
likelihood. The threshold and the shape are then averaged over that likelihood: a kink is not a regular
parameter, and this average covers where a covariance matrix does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.threshold.noise import estimate_variance, pilot_mean
from labctl.analysis.threshold.shapes import IN_PART, Library
from labctl.analysis.threshold.solve import Solved, solve
from labctl.analysis.threshold.sweep_data import LN_ZERO, SweepData

Array = NDArray[np.float64]

# Grid size of a full fit, and grid size times points that memory bears for thousands of points.
_FULL, _MOST = 48, 40_000
CURVED, SPOT = 2, 2
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
        r = ((self.data.y - self.grid.mean(k, g)) * np.sqrt(self.weight))[self.data.order]
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


def evaluate(data: SweepData, shapes: Library, ln_t: Array, weight: Array) -> Grid:
    """Solve for every shape of the library at every threshold of the grid."""
    columns = shapes.columns(data.ln_f[None, :] - ln_t[:, None])
    return again(data, shapes, Grid(ln_t, Solved(np.empty(0), np.empty(0)), columns), weight)


def again(data: SweepData, shapes: Library, grid: Grid, weight: Array) -> Grid:
    """Solve the same grid with other weights."""
    limits = _second_range(shapes, data.ln_f.max() - grid.ln_t)
    mixed = np.flatnonzero(shapes.mixing)
    return Grid(grid.ln_t, solve(data.y, weight, grid.columns, limits, mixed), grid.columns)


def _second_range(shapes: Library, ln_u_top: Array) -> tuple[Array, Array]:
    """Allowed ratio of second to first excess, each (K, G): the whole excess may not fall within the scan."""
    reach = np.maximum(shapes.columns(ln_u_top)[1], 1e-6)
    mixing = shapes.mixing[:, None]
    low = np.where(mixing == CURVED, -0.5 / reach, 0.0)
    high = np.where(mixing == CURVED, 1.0, np.inf)
    return low, np.broadcast_to(high, low.shape)


def span_of(data: SweepData) -> tuple[float, float]:
    """Return the thresholds that a scan can show: a distinct fluence or two must lie on either side."""
    levels = data.levels()
    levels = levels[levels > 0.5 * LN_ZERO]
    return float(levels[1]), float(levels[-2])


def fit_profile(
    data: SweepData, shapes: Library, fluence_sigma_rel: float, *, size: int = 64, weight: Array | None = None
) -> Profile:
    """Fit one sweep of at least 6 distinct fluences.

    :param size: thresholds per grid; three grids are solved, more where they are coarse.
    :param weight: weights to start from (live use), else estimated from scratch.
    """
    low, high = span_of(data)
    size = min(size, max(_MOST // data.n, 16))
    ln_t = np.linspace(low, high, size)
    grid = evaluate(data, shapes, ln_t, _first_weight(data) if weight is None else weight)
    for _ in range(3 if weight is None else 1):
        weight = reweigh(data, shapes, grid, fluence_sigma_rel)
        grid = again(data, shapes, grid, weight)
    assert weight is not None
    # Coarse grids are refined more often, so that live use ends on the same resolution.
    for _ in range(2 if size >= _FULL else 4):
        finer = _closer(grid, data.n)
        if finer is None:
            break
        grid = evaluate(data, shapes, finer, weight)
    return Profile(data, shapes, grid, weight, (low, high))


def _first_weight(data: SweepData) -> Array:
    if data.sigma is not None:
        return np.asarray(1.0 / data.sigma**2)
    mean = np.maximum(pilot_mean(data.y, data.order), 0.0)
    top = max(float(mean.max()), 1e-6)
    return np.asarray(1.0 / (mean**2 + 0.05 * top * mean + 1e-4 * top**2))


def reweigh(data: SweepData, shapes: Library, grid: Grid, fluence_sigma_rel: float) -> Array:
    """Return one over the variance of each point, about the best solution of the grid, shape (n,)."""
    k, g = grid.best
    mean = grid.mean(k, g)
    fluence_part = _fluence_variance(data, shapes, grid, fluence_sigma_rel)
    if data.sigma is not None:
        return np.asarray(1.0 / (data.sigma**2 + fluence_part))
    weight = 1.0 / (mean**2 + 1e-3)
    leverage = (np.linalg.qr(grid.design(k, g)[:, :3] * np.sqrt(weight)[:, None])[0] ** 2).sum(axis=1)
    # Threshold and shape were fitted too; their leverage is spread evenly.
    left = np.maximum((1.0 - leverage) * (data.n - PARAMETERS) / max(data.n - 3, 1), 0.1)
    variance = estimate_variance(mean, (data.y - mean) / np.sqrt(left), data.n - PARAMETERS, fluence_part)
    return np.asarray(1.0 / variance)


def _fluence_variance(data: SweepData, shapes: Library, grid: Grid, sigma_rel: float) -> Array:
    """Variance of the signal due to fluence noise, by the slope over one sigma to either side."""
    if sigma_rel <= 0:
        return np.zeros(data.n)
    k, g = grid.best
    at, step = data.ln_f - grid.ln_t[g], max(2.0 * sigma_rel, 0.01)
    change = shapes.columns(at + step, slice(k, k + 1)) - shapes.columns(at - step, slice(k, k + 1))
    slope = grid.solved.coefficients[1:, k, g] @ change[:, 0] / (2 * step)
    return np.asarray((sigma_rel * slope) ** 2)


def _closer(grid: Grid, n: int) -> Array | None:
    """Return a finer grid over what the last one left possible, or None if that would not help."""
    rss = grid.solved.rss.min(axis=0)
    inside = np.flatnonzero(rss <= rss.min() * (1.0 + 20.0 / max(n - PARAMETERS, 1)))
    low, high = grid.ln_t[max(inside[0] - 1, 0)], grid.ln_t[min(inside[-1] + 1, rss.size - 1)]
    if high - low > 0.8 * (grid.ln_t[-1] - grid.ln_t[0]):
        return None
    return np.linspace(low, high, rss.size)
