"""Is there a threshold at all? And second looks at a fitted sweep: exponent, drift, misfit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from labctl.analysis.threshold.likelihood import PARAMETERS, Profile, closer, evaluate
from labctl.analysis.threshold.result import Estimate, quantiles
from labctl.analysis.threshold.shapes import BETA_LEAST, BETA_MOST, BETAS, TWO, own_spot, s_curves
from labctl.analysis.threshold.sweep_data import SweepData
from labctl.model.results.sweep import Beta

# Number of points of the sweep.
POINTS = (7, 8, 10, 12, 16, 24, 32, 64)
# Simulated for the first four detectors and raised by 5 to 15 %, as 480 kink-free sweeps a size showed.
# Natural logarithm of the chance to exceed each column: 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005.
LOG_P = (-0.6931, -1.6094, -2.3026, -2.9957, -3.9120, -4.6052, -5.2983)
QUANTILES = (
    (0.000, 0.987, 2.286, 4.806, 10.819, 16.982, 35.544),
    (0.000, 1.097, 2.385, 3.684, 6.427, 8.435, 13.320),
    (0.092, 1.218, 2.434, 3.878, 6.101, 7.777, 12.383),
    (0.109, 1.279, 2.416, 3.444, 5.335, 6.801, 9.713),
    (0.162, 1.241, 2.060, 3.091, 4.724, 6.021, 7.788),
    (0.223, 1.147, 1.976, 2.991, 4.524, 5.765, 6.933),
    (0.198, 1.272, 2.203, 3.027, 4.560, 5.810, 6.784),
    (0.002, 1.097, 1.863, 2.904, 4.350, 5.543, 6.228),
)


Array = NDArray[np.float64]

# A few kinks stand for all, besides the whole spot: every further shape would let noise look more like one.
# Without strong roll-over and Lambert W, smooth onsets are found half again as often, false ones no more; the
# spot that is linear in the fluence and amplified light are seen by no other, and raise false ones by 3 %.
DETECTORS = ("hinge", "roll-over-0.2", "superlinear", "spot-one-photon", "ase-growth-5")
# A second kink follows noise more easily, the more so the fewer the points: what it explains counts less.
SECOND_KINK, SECOND_KINK_COST = f"{TWO}-1.5", 8.0
# Luminescence does not rise faster than this; a steeper null would explain away the first points of a laser.
STEEPEST = 5.5
EXPONENTS = np.concatenate([np.linspace(0.1, 4.0, 79), np.linspace(4.1, 10.0, 40)])


@lru_cache(maxsize=1)
def _saturations() -> Array:
    return np.geomspace(0.1, 30.0, 24)


def null_columns(data: SweepData) -> Array:
    """Return curves without a kink: powers of the fluence, then saturating luminescence, shape (curve, n)."""
    powers = np.exp(EXPONENTS[EXPONENTS <= STEEPEST, None] * data.ln_f)
    curves = [powers]
    for order in (1, 2):
        r = np.exp(order * data.ln_f)
        curves.append(r / (1.0 + _saturations()[:, None] * r))
    return np.concatenate(curves)


def fit_null(
    y: Array, weight: Array, columns: Array, white: Array | None = None
) -> tuple[Array, Array, Array]:
    """Fit ``b + a column`` to each curve; returns rss, b and a, each of shape (curve,).

    :param white: see :class:`labctl.analysis.threshold.likelihood.Weighting`.
    """
    if white is not None:
        one = white.sum(axis=1)
        one = one / np.sqrt(one @ one)
        y, columns = white @ y, columns @ white.T
        y0, c0 = y - (y @ one) * one, columns - (columns @ one)[:, None] * one
        a = (c0 @ y0) / np.maximum((c0**2).sum(axis=1), 1e-300)
        rss = float(y0 @ y0) - (c0 @ y0) * a
        return np.maximum(rss, 1e-300), np.zeros_like(a), a
    total = weight.sum()
    y_mean, c_mean = weight @ y / total, columns @ weight / total
    y0 = y - y_mean
    c0 = columns - c_mean[:, None]
    cc = np.maximum((c0**2) @ weight, 1e-300)
    cy = c0 @ (weight * y0)
    a = cy / cc
    yy = float(weight @ y0**2)
    rss = np.maximum(yy - cy * a, 1e-14 * yy + 1e-300)
    return rss, y_mean - a * c_mean, a


def best_kink(profile: Profile) -> tuple[int, int]:
    """Indices (shape, threshold) of the smallest residual over the shapes that stand for a kink."""
    names = (*DETECTORS, own_spot(profile.shapes.photon_order))
    rows = np.flatnonzero(np.isin(profile.shapes.names, names))
    rss = profile.grid.solved.rss[rows]
    k, g = np.unravel_index(int(np.argmin(rss)), rss.shape)
    return int(rows[k]), int(g)


def excess_share(profile: Profile) -> float:
    """Return the largest part of the signal, over the points, that the best kink's excess makes up."""
    k, g = best_kink(profile)
    excess = profile.grid.solved.coefficients[2, k, g] * profile.grid.columns[1, k, g]
    return float((excess / np.maximum(profile.grid.mean(k, g), 1e-300)).max())


def statistic(rss_null: float, rss_kink: float, n: int) -> float:
    """Return the sup-F statistic: what the kink's two extra parameters explain, over the noise left."""
    if not np.isfinite(rss_kink) or n <= PARAMETERS:
        return 0.0
    return max(0.0, (rss_null - rss_kink) / 2.0 / (rss_kink / (n - PARAMETERS)))


def detection(profile: Profile, rss_null: float) -> float:
    """Return the sup-F statistic of a kink, or of two, whichever is larger."""
    n, rss = profile.data.n, profile.grid.solved.rss
    two = statistic(rss_null, float(rss[profile.shapes.index(SECOND_KINK)].min()), n)
    cost = 1.0 + SECOND_KINK_COST / max(n - PARAMETERS, 1)
    return max(statistic(rss_null, float(rss[best_kink(profile)]), n), two / cost)


def p_value(value: float, n: int) -> float:
    """Return the chance of a statistic this large without a kink, from the simulated tables.

    Between tabulated sizes the quantiles are interpolated in 1/(n - 5); beyond the last level the table is
    continued as a power of the statistic, as an F distribution with n - 5 degrees of freedom would fall,
    never below 1e-12.
    """
    at = 1.0 / max(n - PARAMETERS, 1)
    nodes = 1.0 / (np.asarray(POINTS, float) - PARAMETERS)
    log_q = np.array([np.interp(at, nodes[::-1], np.log(column)[::-1]) for column in np.asarray(QUANTILES).T])
    log_p = np.asarray(LOG_P)
    x = np.log(max(value, 1e-12))
    if x <= log_q[0]:
        return float(min(1.0, np.exp(log_p[0] * np.exp(x - log_q[0]))))
    if x >= log_q[-1]:
        freedom = max(n - PARAMETERS, 1)
        tail = 0.5 * freedom * np.log1p(2.0 * np.exp(x) / freedom) - 0.5 * freedom * np.log1p(
            2.0 * np.exp(log_q[-1]) / freedom
        )
        return float(max(np.exp(log_p[-1] - tail), 1e-12))
    return float(np.exp(np.interp(x, log_q, log_p)))


Growth = Literal["order", "other", "none"]
"""As the photon order says, surely otherwise, or not beyond chance."""

_FINE = 41
# An exponent that is said to be off is off by three standard errors.
SURELY = 0.997
FLAGGED_BELOW_POINTS = 12
# Two fluences above a kink fix its slope and bend, and leave nothing to doubt the shape by: on the typical
# simulated bench 21 % of such intervals miss the truth, 0.5 % of those with three or more (docs/accuracy.md).
LEAST_ABOVE = 3


@dataclass(frozen=True, slots=True)
class Exponent:
    """Power of the fluence with its 95 % interval; None where the data do not bound it."""

    value: float | None
    ci95: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Drift:
    """Relative change over the run that fluence does not explain, and the words for it."""

    relative: float | None
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LowEnd:
    """Log-log slope at the low end of a sweep that points below zero there, and what it surely exceeds."""

    slope: float
    slope_at_least: float


def exponent_of(data: SweepData, weight: Array, chosen: NDArray[np.bool_]) -> Exponent:
    """Fit ``b + a F^m`` to the chosen points; needs 5 distinct fluences, and data that bound it.

    The exponent is continuous: the grid only says where to look.
    """
    rss = _by_exponent(data, weight, chosen)
    if rss is None:
        return Exponent(None, None)
    i, n = int(np.argmin(rss)), int(chosen.sum())
    fine = np.linspace(EXPONENTS[max(i - 1, 0)], EXPONENTS[min(i + 1, EXPONENTS.size - 1)], _FINE)
    near = _rss_at(data, weight, chosen, fine)
    best = int(np.argmin(near))
    cut = _cut(near, n, 0.95)
    inside = np.flatnonzero(rss <= cut)
    first, last = (int(inside[0]), int(inside[-1])) if inside.size else (i, i)
    if first == 0 or last == EXPONENTS.size - 1:
        return Exponent(None, None)
    low = np.linspace(EXPONENTS[first - 1], min(EXPONENTS[first], fine[best]), _FINE)
    high = np.linspace(EXPONENTS[last + 1], max(EXPONENTS[last], fine[best]), _FINE)
    ends = (float(x[np.argmax(_rss_at(data, weight, chosen, x) <= cut)]) for x in (low, high))
    return Exponent(float(fine[best]), (next(ends), next(ends)))


def _by_exponent(data: SweepData, weight: Array, chosen: NDArray[np.bool_]) -> Array | None:
    """Residual of each exponent, infinite where the signal would fall; None where there is no exponent."""
    if np.unique(np.round(data.ln_f[chosen], 3)).size < 5:
        return None
    rss = _rss_at(data, weight, chosen, EXPONENTS)
    return rss if np.isfinite(rss).any() else None


def _rss_at(data: SweepData, weight: Array, chosen: NDArray[np.bool_], exponents: Array) -> Array:
    """Residual of each of these exponents, infinite where the signal would fall."""
    columns = np.exp(exponents[:, None] * (data.ln_f[chosen] - data.ln_f[chosen].max()))
    rss, _, a = fit_null(data.y[chosen], weight[chosen], columns)
    return np.where(a > 0, rss, np.inf)


def _cut(rss: Array, n: int, confidence: float) -> float:
    """Residual up to which an exponent belongs to the interval of this confidence."""
    return float(rss.min() * (1.0 + float(scipy.special.fdtri(1, n - 3, confidence)) / (n - 3)))


def growth_of(
    data: SweepData, weight: Array, order: int, within: float, chosen: NDArray[np.bool_] | None = None
) -> Growth:
    """Tell whether the low end grows with the photon order, its statistical error considered.

    :param within: how far the exponent may be off.
    :param chosen: the points to look at, all of them by default; only if these say "other", the lower half
        of them, because luminescence may saturate.
    """
    chosen = np.ones(data.n, bool) if chosen is None else chosen
    whole = _growth(data, weight, order, within, chosen)
    if whole != "other":
        return whole
    lower = chosen & (data.ln_f <= np.median(data.ln_f[chosen]))
    known = exponent_of(data, weight, lower).ci95
    sure = known is not None and known[1] - known[0] < 1.0
    return "order" if sure and _growth(data, weight, order, within, lower) == "order" else whole


def _growth(data: SweepData, weight: Array, order: int, within: float, chosen: NDArray[np.bool_]) -> Growth:
    rss, n = _by_exponent(data, weight, chosen), int(chosen.sum())
    if rss is None:
        return "none"
    y, w = data.y[chosen], weight[chosen]
    constant = float(w @ (y - w @ y / w.sum()) ** 2)
    if constant < rss.min() * (1.0 + 2.0 * float(scipy.special.fdtri(2, n - 3, 0.95)) / (n - 3)):
        return "none"
    near = np.abs(EXPONENTS - order) <= within + 1e-9
    return "order" if rss[near].min() <= _cut(rss, n, SURELY) else "other"


def exponent_flags(exponent: Exponent, profile: Profile) -> tuple[str, ...]:
    """Flag an exponent that is surely not the photon order: saturation, background or bleaching."""
    order = profile.shapes.photon_order
    if exponent.ci95 is None:
        return ()
    off = exponent.ci95[1] < order - 0.3 or exponent.ci95[0] > order + 0.3
    return ("exponent",) if off else ()


def low_end(data: SweepData, weight: Array) -> LowEnd:
    """Look at the low end of a kink-free sweep: is it luminescence, or a laser already above threshold?

    Above threshold the output is a line that cuts the axis at a positive fluence, so at the low end it rises
    faster than any luminescence (log-log slope above the photon order) and slows down after it. A power law
    keeps its slope and saturating luminescence starts below the photon order: neither is taken for a laser.
    """
    exponents = np.linspace(0.2, 2.2, 21)
    columns = np.exp(exponents[:, None] * data.ln_f)
    rss, b, a = fit_null(data.y, weight, columns)
    i, n = int(np.argmin(rss)), data.n
    design = np.stack([np.ones(n), columns[i]], axis=1)
    spread = np.linalg.pinv((design * weight[:, None]).T @ design) * rss[i] / max(n - 3, 1)
    first = float(columns[i].min())
    at = np.array([1.0, first])
    level, level_sigma = float(b[i] + a[i] * first), float(np.sqrt(max(at @ spread @ at, 0.0)))
    cut = float(scipy.special.stdtrit(max(n - 3, 1), 0.9995))
    rise = float(exponents[i] * a[i] * first)
    if level <= 0 or b[i] >= 0:
        return LowEnd(0.0, 0.0)
    sure = b[i] < -cut * float(np.sqrt(max(spread[0, 0], 0.0)))
    return LowEnd(rise / level, rise / (level + cut * level_sigma) if sure else 0.0)


def few_flag(data: SweepData) -> tuple[str, ...]:
    """Flag a sweep of fewer than 12 points, and one whose brightest points stand on one clipped value."""
    flags = ("few_points",) if data.n < FLAGGED_BELOW_POINTS else ()
    top = np.sort(data.y)[-3:]
    return (*flags, "plateau") if top.size == 3 and np.ptp(top) <= 1e-9 * abs(top[-1]) else flags


def above_flag(data: SweepData, estimate: Estimate) -> tuple[str, ...]:
    """Flag a kink with fewer than three distinct fluences above its interval: the next points may move it."""
    above = int((data.levels() > estimate.total[1]).sum())
    return ("few_above",) if above < LEAST_ABOVE else ()


def wander_flags(profile: Profile, estimate: Estimate) -> tuple[str, ...]:
    """Flag a sweep of one direction whose interval is mostly a declared wander of the fluence."""
    data, step = profile.data, np.diff(profile.data.ln_f)
    one_way = bool((step >= 0).all() or (step <= 0).all())
    half = (estimate.total[1] - estimate.total[0]) / 2
    return ("wander",) if one_way and 1.96 * data.wander_rel > 0.7 * half else ()


def noise_rel(profile: Profile) -> float:
    """Median over points of the residual standard deviation over the fitted mean."""
    mean = np.abs(profile.grid.mean(*profile.grid.best))
    sigma = np.sqrt(profile.scale2 / profile.weight)
    return float(np.median(sigma / np.maximum(mean, 1e-12)))


def misfit_flags(profile: Profile) -> tuple[str, ...]:
    """Flag residuals that neighbours share, or that replicates or declared errors say are too large."""
    data = profile.data
    r = profile.by.root(data.y - profile.grid.mean(*profile.grid.best))[data.order]
    shared = float((r[1:] * r[:-1]).sum() / max((r**2).sum(), 1e-300)) * np.sqrt(data.n)
    pure, freedom = _pure_error(data, profile.weight)
    left = data.n - PARAMETERS - freedom
    lack = False
    if freedom >= 3 and left >= 1 and pure > 0:
        ratio = max(profile.rss - pure, 0.0) / left / (pure / freedom)
        lack = bool(ratio > scipy.special.fdtri(left, freedom, 0.999))
    if data.sigma is not None and data.n > PARAMETERS:
        lack = lack or profile.scale2 > 9.0
    return ("misfit",) if lack or shared > 3.0 else ()


def _pure_error(data: SweepData, weight: Array) -> tuple[float, int]:
    """Weighted sum of squares within replicates (fluences within 0.1 %), and its degrees of freedom."""
    ln_f, y, w = data.ln_f[data.order], data.y[data.order], weight[data.order]
    group = np.searchsorted(data.levels(), ln_f, side="right") - 1
    total = np.bincount(group, w)
    mean = np.bincount(group, w * y) / total
    return float((w * (y - mean[group]) ** 2).sum()), int(data.n - total.size)


_LEAST_AGAINST = 2
"""One point that is repeated after a sweep is no way back: what it shows is judged with the references."""


def drift_of(profile: Profile, estimate: Estimate) -> Drift:
    """Look for a change in time beside the fit: a term ``mean x position in the run``.

    Only an order that visits fluences more than once, or not monotonically, can tell time from fluence.
    """
    data = profile.data
    step = np.diff(data.ln_f)
    against = min((step > 0).sum(), (step < 0).sum())
    if data.n < PARAMETERS + 3 or against < _LEAST_AGAINST:
        return Drift(None, ())
    k, g = profile.grid.best
    mean = profile.grid.mean(k, g)
    root = profile.by.root
    above = (data.ln_f > estimate.ln_t).astype(float)
    columns = np.column_stack([profile.grid.design(k, g)[:, :3], above])
    q, _ = np.linalg.qr(root(columns.T).T)
    time = root(np.linspace(-0.5, 0.5, data.n) * mean)
    time -= q @ (q.T @ time)
    rest = root(data.y)
    rest = rest - q @ (q.T @ rest)
    size = float(time @ time)
    if size <= 1e-9 * float((root(mean) ** 2).sum()):
        return Drift(None, ())
    slope = float(time @ rest) / size
    left = max(float(rest @ rest) - slope**2 * size, 1e-300) / (data.n - PARAMETERS - 1)
    if slope**2 * size / left < scipy.special.fdtri(1, data.n - PARAMETERS - 1, 0.999):
        return Drift(slope, ())
    turns = int((np.diff(np.sign(step[step != 0])) != 0).sum())
    return Drift(
        slope, (("hysteresis",) if turns == 1 else ("drift",)) + (("bleaching",) if slope < 0 else ())
    )


SECOND_APART = 0.1
"""Least distance of two kinks, in ln fluence: closer ones are one rounded kink."""
SECOND_NODES = 36
SECOND_CHANCE = 0.007
"""Chance of the F test below which a second kink is told; benchmarks.accuracy.modes has its false alarms."""


def two_kinks(profile: Profile) -> tuple[float, float] | None:
    """Return the places of two kinks, as ln fluence over the scale, if two fit far better than any one shape.

    Two hinges, each of which adds slope, over the luminescence. Three fluences or more lie between them.
    """
    data, weight = profile.data, profile.weight
    levels = data.levels()
    if data.n < PARAMETERS + 5 or levels.size < 9:
        return None
    nodes = np.linspace(levels[2], levels[-3], SECOND_NODES)
    first, second = np.triu_indices(SECOND_NODES, 1)
    between = np.searchsorted(levels, nodes[second]) - np.searchsorted(levels, nodes[first])
    apart = (nodes[second] - nodes[first] >= SECOND_APART) & (between >= 3)
    first, second = first[apart], second[apart]
    if not first.size:
        return None
    hinges = np.maximum(data.f - np.exp(nodes)[:, None], 0.0)
    light = data.f**profile.shapes.photon_order
    columns = np.stack([np.broadcast_to(light, (first.size, data.n)), hinges[first], hinges[second]], axis=1)
    columns = columns - (columns @ weight / weight.sum())[..., None]
    rest = data.y - float(weight @ data.y / weight.sum())
    normal = np.einsum("pin,n,pjn->pij", columns, weight, columns)
    scale = np.sqrt(np.maximum(np.einsum("pii->pi", normal), 1e-300))
    normal = normal / scale[:, :, None] / scale[:, None, :] + 1e-10 * np.eye(3)
    moment = (columns @ (weight * rest)) / scale
    solved = np.linalg.solve(normal, moment[..., None])[..., 0]
    rss = float(weight @ rest**2) - np.sum(solved * moment, axis=1)
    rss = np.where((solved[:, 1:] > 0).all(axis=1) & (solved[:, 0] > -1e-3), rss, np.inf)
    best = int(np.argmin(rss))
    freedom = data.n - PARAMETERS - 1
    one = float(profile.grid.solved.rss[[family != TWO for family in profile.shapes.families]].min())
    if not np.isfinite(rss[best]) or rss[best] >= one:
        return None
    value = (one - rss[best]) / max(rss[best], 1e-300) * freedom
    if value < scipy.special.fdtri(1, freedom, 1.0 - SECOND_CHANCE):
        return None
    return float(nodes[first[best]]), float(nodes[second[best]])


# An S-curve that fits worse than the best shape by this much, by chance once in a thousand, is none.
NO_S_CURVE = 0.001
# What a kink's rounding says of beta: a number on a quiet and dense sweep, a bound on others.
BETA_POINTS, BETA_NOISE_REL = 24, 0.025


def beta_of(profile: Profile) -> Beta:
    """Fit S-curves alone and return beta, or its upper bound.

    Where nobody declared which part of the spot is collected, the rounding of the kink may be the spot's, and
    beta has an upper bound only.
    """
    n = profile.data.n
    curves = _fit_s_curves(profile, profile.grid.ln_t, (BETA_LEAST, BETA_MOST))
    left = max(n - PARAMETERS, 1)
    worse = (curves.rss - profile.rss) / 2.0 / (profile.rss / left)
    if not np.isfinite(curves.rss) or worse > scipy.special.fdtri(2, left, 1.0 - NO_S_CURVE):
        return Beta(reason="the curve is not a steady-state S-curve")
    curves = _fit_s_curves(profile, curves.ln_t, curves.closer())
    scale = profile.data.fluence_scale
    ln_t = quantiles(curves.ln_t, curves.chance.sum(axis=0), [0.5, 0.025, 0.975])
    at = [float(np.exp(x)) * scale for x in ln_t]
    shown = Beta(threshold_uj_cm2=at[0], threshold_ci95=(at[1], at[2]))
    ends = curves.end(-1, 0.95), curves.end(1, 0.95)
    if profile.shapes.smear.depth is None:
        why = "it is not declared what part of the spot is collected"
    elif n < BETA_POINTS or noise_rel(profile) > BETA_NOISE_REL:
        why = f"a number takes {BETA_POINTS} points with little noise"
    else:
        why = "the kink is as sharp as the points can tell"
        if ends[0] is not None and ends[1] is not None:
            middle = quantiles(curves.ln_beta, curves.chance.sum(axis=1), [0.5])[0]
            return replace(shown, value=float(np.exp(middle)), ci95=(ends[0], ends[1]))
    upper = curves.end(1, 0.90)
    return replace(shown, upper=upper, reason="any beta fits" if upper is None else why)


@dataclass(frozen=True, slots=True)
class _SCurves:
    """Likelihood of S-curves; ``chance`` has shape (beta, threshold), 1 at its largest."""

    ln_beta: Array
    ln_t: Array
    chance: Array
    rss: float

    @property
    def _log_like(self) -> Array:
        likely = self.chance.sum(axis=1)
        return np.asarray(np.log(np.maximum(likely, 1e-300) / likely.max()))

    def closer(self) -> tuple[float, float]:
        """Betas between which all that is possible lies, a node on either side of it."""
        inside = np.flatnonzero(self._log_like > -8.0)
        first, last = max(int(inside[0]) - 1, 0), min(int(inside[-1]) + 1, self.ln_beta.size - 1)
        return float(np.exp(self.ln_beta[first])), float(np.exp(self.ln_beta[last]))

    def end(self, way: int, confidence: float) -> float | None:
        """Beta where the likelihood has fallen to the end of an interval; None where it does not."""
        log_like, cut = self._log_like, -0.5 * float(scipy.special.chdtri(1, 1.0 - confidence))
        i = int(np.argmax(log_like))
        while 0 <= i + way < log_like.size:
            if log_like[i + way] < cut:
                share = (log_like[i] - cut) / (log_like[i] - log_like[i + way])
                return float(np.exp(self.ln_beta[i] + share * (self.ln_beta[i + way] - self.ln_beta[i])))
            i += way
        return None


def _fit_s_curves(profile: Profile, ln_t: Array, betas: tuple[float, float]) -> _SCurves:
    """Fit S-curves with betas between these, on a grid of thresholds refined once where that helps."""
    shapes, n = s_curves(profile.shapes.photon_order, profile.shapes.smear, *betas), profile.data.n
    grid = evaluate(profile.data, shapes, ln_t, profile.by)
    finer = closer(grid, n)
    if finer is not None:
        grid = evaluate(profile.data, shapes, finer, profile.by)
    rss = grid.solved.rss
    freedom = (n - PARAMETERS) * profile.independent_share + 1.0
    chance = np.exp(-0.5 * freedom * np.log(rss / rss.min()))
    return _SCurves(np.log(np.geomspace(*betas, BETAS)), grid.ln_t, chance, float(rss.min()))
