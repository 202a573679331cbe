"""Do single shots have a tail so heavy that their variance does not exist? Exponent with its interval.

Near threshold the light of a random laser may follow an alpha-stable law with alpha below 2 (S. Lepri et al.,
Phys. Rev. A 75, 063820, 2007). The law is fitted by maximum likelihood through the detector's noise; shots
that were clipped count as "as bright, or brighter". The interval is the profile likelihood's.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from labctl.analysis.shots.stable_law import StableLaw
from labctl.model.results.shot_statistics import HeavyTail, Interval

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEAST_SHOTS = 200
MOST_CLIPPED = 0.3
"""Share of clipped shots above which too little of the law is seen."""
_ALPHA = (0.5, 2.0)
# Half of the 95 % quantile of chi-square with one degree of freedom.
_CUT = 1.92
# A light-tailed law that is less likely than exp(3) = 20 times has not been excluded.
_EXCLUDED = 3.0
_REPEATED = 3
_OWN = 4.0
"""Standard errors by which the scatter must exceed the noise before anything is said of its shape."""


def heavy_tail(
    signal: ArrayLike,
    *,
    noise: float,
    clipped: ArrayLike | None = None,
    below_threshold: bool = False,
) -> HeavyTail:
    """Fit an alpha-stable law to the light of single shots of one fluence.

    :param signal: counts of each shot, shape ``(n,)``; values that are not finite are left out.
    :param noise: standard deviation of the detector's noise in ``signal``, counts, 0 or more: of shots in the
        dark, summed over the same band.
    :param clipped: True for a shot with a saturated pixel, shape ``(n,)``: it was as bright as its value, or
        brighter. Three shots or more that share the highest value are taken for clipped in any case.
    :param below_threshold: nothing is stated then: what scatters there is noise and the pump.
    :raises ValueError: the shapes differ, or the noise is negative.
    """
    values = np.asarray(signal, dtype=np.float64).ravel()
    cut = (
        np.zeros(values.size, dtype=np.bool_)
        if clipped is None
        else np.asarray(clipped, dtype=np.bool_).ravel()
    )
    if cut.shape != values.shape:
        raise ValueError(f"signal has shape {values.shape}, clipped {cut.shape}")
    if not noise >= 0:
        raise ValueError(f"the noise must be 0 or more, not {noise!r}")
    good = np.isfinite(values)
    values, cut = values[good], cut[good]
    if values.size:
        top = values == values.max()
        cut = cut | (top if np.count_nonzero(top) >= _REPEATED else False)
    why = _refusal(values, cut, noise, below_threshold)
    if why:
        return HeavyTail("not_stated", why, n=values.size, clipped=int(cut.sum()))
    return _Fit(values, cut, noise).conclude()


def _refusal(values: Array, cut: Bools, noise: float, below_threshold: bool) -> str:
    if below_threshold:
        return "below threshold: the scatter is that of pump and detector"
    if values.size < LEAST_SHOTS:
        return f"{values.size} shots; an exponent needs at least {LEAST_SHOTS}"
    if cut.mean() > MOST_CLIPPED:
        return f"{100 * cut.mean():.0f} % of the shots are saturated; put a filter before the spectrometer"
    variance = float(np.var(values[~cut], ddof=1))
    if variance <= 0 or variance - noise**2 < _OWN * noise**2 * math.sqrt(2.0 / values.size):
        return "the detector's noise explains the scatter of the shots"
    return ""


class _Fit:
    """Shots in units of their own width, and the likelihood of laws for them."""

    def __init__(self, values: Array, cut: Bools, noise: float) -> None:
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
        self.unit = max(float(high - low) / 2.0, 1e-12 * abs(float(middle)), 1e-300)
        scaled = (values - float(middle)) / self.unit
        self.free, self.bound, self.noise = scaled[~cut], scaled[cut], noise / self.unit

    def law(self, alpha: float, beta: float, ln_scale: float, location: float) -> StableLaw:
        return StableLaw(alpha, beta, math.exp(ln_scale), location, self.noise)

    def worse(self, alpha: float, rest: Array) -> float:
        """Return minus the log likelihood."""
        law = self.law(alpha, float(rest[0]), float(rest[1]), float(rest[2]))
        return -law.log_likelihood(self.free, self.bound)

    def at(self, alpha: float, start: Array) -> tuple[float, Array]:
        """Return the log likelihood at an exponent, the rest fitted, and that rest."""
        return _least(lambda rest: self.worse(alpha, rest), start, _REST, (0.2, 0.1, 0.1))

    def best(self) -> tuple[float, float, Array]:
        """Return the log likelihood, exponent and the rest of the most likely law."""
        own = math.log(0.8)
        value, params = _least(
            lambda p: self.worse(float(p[0]), p[1:]),
            np.array([1.7, 0.3, own, 0.0]),
            (_ALPHA, *_REST),
            (-0.15, 0.3, 0.15, 0.15),
        )
        return value, float(params[0]), params[1:]

    def light_tailed(self) -> float:
        """Return the log likelihood of the best log-normal law with a free zero, the normal one included."""

        # In units of the width: x = (exp(s z) - 1)/s x scale + place, which is normal as s goes to 0.
        def worse(p: Array) -> float:
            return -_log_normal(self.free, self.bound, float(p[0]), math.exp(float(p[1])), float(p[2]))

        spread = math.log(max(float(np.std(self.free)), 1e-3))
        limits = ((-2.0, 2.0), (-5.0, 8.0), (-20.0, 20.0))
        starts = [np.array([s, min(spread, 2.0), 0.0]) for s in (0.01, 0.5)]
        return max(_least(worse, start, limits, (0.2, 0.2, 0.2))[0] for start in starts)

    def end(self, side: float, best: float, alpha: float, rest: Array) -> float:
        """Return the end of the interval on one side: where the likelihood has fallen by the cut."""
        limit = _ALPHA[1] if side > 0 else _ALPHA[0]
        inner, inner_depth, step = alpha, 0.0, 0.04
        while inner != limit:
            outer = min(max(inner + side * step, _ALPHA[0]), _ALPHA[1])
            value, rest = self.at(outer, rest)
            depth = math.sqrt(max(best - value, 0.0))
            if depth**2 >= _CUT:
                # The root of the fall is nearly straight in the exponent.
                return inner + (outer - inner) * (math.sqrt(_CUT) - inner_depth) / (depth - inner_depth)
            inner, inner_depth, step = outer, depth, 1.5 * step
        return limit

    def conclude(self) -> HeavyTail:
        best, alpha, rest = self.best()
        ends = (self.end(-1.0, best, alpha, rest), self.end(1.0, best, alpha, rest))
        over = best - self.light_tailed()
        heavy = ends[1] < _ALPHA[1] and over > _EXCLUDED
        return HeavyTail(
            "heavy" if heavy else "not_heavy", _said(alpha, ends, heavy), alpha, ends,
            beta=float(rest[0]), n=self.free.size + self.bound.size, clipped=self.bound.size,
            over_light_tailed=over,
        )  # fmt: skip


_REST: tuple[Interval, ...] = ((-1.0, 1.0), (-6.0, 6.0), (-30.0, 30.0))


def _said(alpha: float, ends: Interval, heavy: bool) -> str:
    number = f"alpha {alpha:.2f}, 95 % interval {ends[0]:.2f} to {ends[1]:.2f}"
    if heavy:
        return f"heavy tail: {number}"
    if ends[1] < _ALPHA[1]:
        return f"no heavy tail shown: a log-normal law describes the shots as well as {number}"
    return f"no heavy tail shown: {number}, which includes the normal law"


def _least(
    worse: Callable[[Array], float], start: Array, limits: tuple[Interval, ...], step: tuple[float, ...]
) -> tuple[float, Array]:
    """Minimise by the simplex method; return minus the least value, and where."""
    low, high = np.array(limits).T
    simplex = np.vstack([start, start + np.diag(step)])
    found = scipy.optimize.minimize(
        worse, start, method="Nelder-Mead", bounds=limits,
        options={"initial_simplex": np.clip(simplex, low, high), "xatol": 2e-3, "fatol": 5e-3, "maxfev": 500},
    )  # fmt: skip
    return -float(found.fun), np.asarray(found.x, dtype=np.float64)


def _log_normal(free: Array, bound: Array, s: float, scale: float, place: float) -> float:
    if abs(s) < 1e-4:
        s = 1e-4
    inside = 1.0 + s * (free - place) / scale
    if not (inside > 0).all():
        return -1e12 - float(np.maximum(-inside, 0).sum())
    z = np.log(inside) / s
    total = float((-0.5 * z * z - np.log(inside)).sum()) - free.size * (math.log(scale) + 0.9189385332046727)
    if bound.size:
        beyond = 1.0 + s * (bound - place) / scale
        z = np.log(np.maximum(beyond, 1e-300)) / s
        total += float(scipy.special.log_ndtr(-z).sum())
    return total
