"""What a detector shows in the dark (offset, dark current, noise, hot pixels) and how its counts grow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.polynomial import polynomial
from numpy.typing import NDArray

from labctl.analysis.spectra.background import NoiseModel
from labctl.analysis.spectra.reduce import hot_pixels
from labctl.model.errors import CalibrationRefused

Floats = NDArray[np.float64]

_LEAST_RATIO = 5.0
"""Longest over shortest exposure below which offset and dark current cannot be told apart."""


@dataclass(frozen=True, slots=True)
class DarkModel:
    """Dark counts = offset + current x exposure time.

    :param offset_counts: median over pixels; ``current_counts_s`` likewise, each with its standard error.
    :param pixel_offset: shape ``(pixel,)``; ``pixel_current`` counts/s, ``pixel_current_sigma`` likewise.
    :param read_counts: noise of one pixel of one exposure at the shortest time.
    :param hot: pixels out of line with their neighbours, rising; ``unstable``: those of them that are not so
        in both halves of the exposures, or noisier than the rest.
    :param misfit: rms of the means about the straight lines, over its standard error: about 1.
    :param at_s: exposure times, rising; ``mean_counts`` median over pixels at each.
    """

    offset_counts: float
    offset_sigma: float
    current_counts_s: float
    current_sigma: float
    pixel_offset: Floats
    pixel_current: Floats
    pixel_current_sigma: Floats
    read_counts: float
    hot: tuple[int, ...]
    unstable: tuple[int, ...]
    misfit: float
    at_s: tuple[float, ...]
    mean_counts: tuple[float, ...]


def fit_darks(integration_s: Sequence[float], frames: Sequence[Floats]) -> DarkModel:
    """Fit dark exposures of several times.

    :param frames: for each time raw counts of shape ``(exposure, pixel)``, 3 exposures or more.
    :raises CalibrationRefused: too few exposures, or times too close together to tell offset from current.
    :raises ValueError: lengths that do not fit.
    """
    if len(integration_s) != len(frames):
        raise ValueError(f"{len(integration_s)} times do not fit {len(frames)} stacks of exposures")
    order = np.argsort(integration_s)
    seconds = np.array([integration_s[i] for i in order], dtype=np.float64)
    stacks = [np.asarray(frames[i], dtype=np.float64) for i in order]
    _refuse_darks(seconds, stacks)
    means = np.stack([_without_spikes(stack).mean(axis=0) for stack in stacks])
    spread = np.array([_noise(stack) for stack in stacks])
    sigma = spread / np.sqrt([len(stack) for stack in stacks])
    offset, current, current_sigma, misfit = _lines(seconds, means, sigma)
    hot, unstable = _hot(stacks[-1])
    at_each = np.median(means, axis=1)
    line = np.polynomial.Polynomial.fit(seconds, at_each, 1, w=1.0 / sigma).convert().coef
    pixels = means.shape[1]
    weight = 1.0 / sigma**2
    centre = float(weight @ seconds / weight.sum())
    size = float(weight @ (seconds - centre) ** 2)
    per_median = 1.2533 / np.sqrt(pixels)  # of a median, over the error of one
    return DarkModel(
        offset_counts=float(line[0]),
        offset_sigma=float(per_median * np.sqrt(1.0 / weight.sum() + centre**2 / size)),
        current_counts_s=float(line[1]),
        current_sigma=float(per_median / np.sqrt(size)),
        pixel_offset=offset,
        pixel_current=current,
        pixel_current_sigma=np.full(pixels, current_sigma),
        read_counts=float(spread[0]),
        hot=hot,
        unstable=unstable,
        misfit=misfit,
        at_s=tuple(seconds.tolist()),
        mean_counts=tuple(at_each.tolist()),
    )


def _refuse_darks(seconds: Floats, stacks: Sequence[Floats]) -> None:
    fewest = min((len(stack) for stack in stacks), default=0)
    if fewest < 3:
        raise CalibrationRefused(f"{fewest} dark exposures at one time, need 3 or more")
    if seconds.size < 2 or seconds[-1] < _LEAST_RATIO * seconds[0]:
        raise CalibrationRefused(
            "dark exposures of one duration cannot separate offset and dark current",
            f"times that differ by a factor of {_LEAST_RATIO:g} or more",
        )


def _without_spikes(stack: Floats) -> Floats:
    """Exposures with cosmic spikes put back to the median; a pixel that jumps again and again keeps its."""
    if len(stack) < 4:
        return stack
    median = np.median(stack, axis=0)
    own = 1.4826 * np.median(np.abs(stack - median), axis=0)
    limit = 8.0 * np.maximum(own, max(float(np.median(own)), 1e-9))
    high = stack - median > limit
    high &= high.sum(axis=0) <= max(1, len(stack) // 10)
    return np.where(high, median, stack)


def _noise(stack: Floats) -> float:
    """Standard deviation of one pixel of one exposure, the typical pixel's."""
    freedom = len(stack) - 1
    median_of_mean = (1.0 - 2.0 / (9.0 * freedom)) ** 3
    return max(float(np.sqrt(np.median(stack.var(axis=0, ddof=1)) / median_of_mean)), 0.3)


def _lines(seconds: Floats, means: Floats, sigma: Floats) -> tuple[Floats, Floats, float, float]:
    """Weighted straight lines through every pixel's means: offset, slope, the slope's error, misfit."""
    weight = 1.0 / sigma**2
    centre = float(weight @ seconds / weight.sum())
    away = seconds - centre
    size = float(weight @ away**2)
    slope = (weight * away) @ means / size
    middle = weight @ means / weight.sum()
    rest = (means - middle - away[:, None] * slope) / sigma[:, None]
    freedom = seconds.size - 2
    misfit = float("nan")
    if freedom > 0:
        median_of_mean = (1.0 - 2.0 / (9.0 * freedom)) ** 3
        misfit = float(np.sqrt(np.median((rest**2).sum(axis=0)) / freedom / median_of_mean))
    return middle - slope * centre, np.asarray(slope), 1.0 / float(np.sqrt(size)), misfit


def _hot(stack: Floats) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Hot pixels of the longest exposures, and those that come and go or flicker."""
    clean = _without_spikes(stack)
    hot = hot_pixels(clean)
    half = len(clean) // 2
    both = hot_pixels(clean[:half]) & hot_pixels(clean[half:]) if half >= 3 else hot
    deviation = clean.std(axis=0, ddof=1)
    excess = clean.mean(axis=0) - np.median(clean)
    # The noise of a steady dark current grows slower than the current itself.
    flickers = deviation > np.maximum(5.0 * np.median(deviation), 0.25 * excess)
    places = np.flatnonzero(hot)
    return tuple(places.tolist()), tuple(np.flatnonzero(hot & (~both | flickers)).tolist())


_LEAST_TIMES = 5
_LEAST_SHARE, _MOST_SHARE = 0.03, 0.97  # of the full scale, between which a pixel tells something
_NEEDED_SHARE = 0.7  # how far up the counts must reach
_LEAST_ORDER, _MOST_ORDER = 2, 4
_WORTH = 0.01  # chance below which one more coefficient is needed


@dataclass(frozen=True, slots=True)
class LinearityFit:
    """Response polynomial with c0 = 1.

    :param coefficients: c0, c1, ... of counts above the dark; ``covariance`` of c1, c2, ...
    :param highest_counts: up to where it was measured.
    :param chi2: of the residuals, with ``freedom``.
    :param drift_per_s: relative change of the lamp, fitted along.
    """

    coefficients: tuple[float, ...]
    covariance: Floats
    highest_counts: float
    chi2: float
    freedom: int
    drift_per_s: float
    integration_s: tuple[float, ...]
    response: tuple[float, ...]

    def relative(self, counts: float) -> tuple[float, float]:
        """Response at some counts over that at none, and its standard error."""
        powers = counts ** np.arange(1, len(self.coefficients))
        value = float(polynomial.polyval(counts, self.coefficients))
        return value, math.sqrt(max(float(powers @ self.covariance @ powers), 0.0))

    def disagreement(self, device: Sequence[float]) -> tuple[float, float]:
        """Largest relative difference to a device's own polynomial, and how many standard errors it is.

        Both are looked at relative to their value at a twentieth of the highest counts: a common factor is no
        nonlinearity.
        """
        low = 0.05 * self.highest_counts
        worst = (0.0, 0.0)
        for counts in np.linspace(0.25, 1.0, 16) * self.highest_counts:
            ours, sigma = self.relative(float(counts))
            ours /= self.relative(low)[0]
            theirs = float(polynomial.polyval(counts, device) / polynomial.polyval(low, device))
            off = theirs / ours - 1.0
            if abs(off) > abs(worst[0]):
                worst = off, abs(off) / max(sigma, 1e-9)
        return worst


def fit_linearity(
    integration_s: Sequence[float],
    counts: Sequence[Floats],
    noise: Sequence[NoiseModel],
    max_counts: float,
    *,
    at_s: Sequence[float] | None = None,
    bad: NDArray[np.bool_] | None = None,
) -> LinearityFit:
    """Fit the response from mean spectra of a steady lamp at several exposure times.

    :param counts: dark-subtracted means, NOT linearised, shape ``(pixel,)`` for each time; a time may come
        several times.
    :param noise: of each mean.
    :param max_counts: full scale above the dark, counts.
    :param at_s: when each was taken; a lamp that drifts evenly is then corrected for.
    :param bad: pixels not to use.
    :raises CalibrationRefused: too few times, or counts that do not reach 70 % of the full scale.
    """
    seconds = np.asarray(integration_s, dtype=np.float64)
    light = np.stack([np.asarray(c, dtype=np.float64) for c in counts])
    sigma = np.stack([model.sigma(c) for model, c in zip(noise, light, strict=True)])
    use = _usable(light, sigma, max_counts)
    if bad is not None:
        use &= ~bad
    use[:, use.sum(axis=0) < 3] = False  # a pixel seen at two times or fewer tells little, and costs a rate
    _refuse_ramp(seconds, light, use, max_counts)
    when = np.zeros(seconds.size) if at_s is None else np.asarray(at_s, dtype=np.float64)
    data = _Data(seconds, when - when.mean(), light / max_counts, sigma / max_counts, use)
    best: tuple[Floats, Floats, float, int] | None = None
    for order in range(_LEAST_ORDER, _MOST_ORDER + 1):
        found = data.fit(order, drifts=at_s is not None)
        if best is not None and not _better(best, found):
            break
        best = found
    assert best is not None
    shape, covariance, chi2, freedom = best
    order = shape.size - 1
    scale = max_counts ** -np.arange(1.0, order + 1)
    reached = float(light[use].max())
    coefficients = (1.0, *(float(c) for c in shape[:order] * scale))
    worse = chi2 / freedom if scipy.stats.chi2.sf(chi2, freedom) < _WORTH else 1.0
    return LinearityFit(
        coefficients=coefficients,
        covariance=worse * covariance[:order, :order] * np.outer(scale, scale),
        highest_counts=reached,
        chi2=chi2,
        freedom=freedom,
        drift_per_s=float(shape[order]),
        integration_s=tuple(seconds.tolist()),
        response=tuple(data.response(shape).tolist()),
    )


def _usable(light: Floats, sigma: Floats, max_counts: float) -> NDArray[np.bool_]:
    inside = (light > _LEAST_SHARE * max_counts) & (light < _MOST_SHARE * max_counts)
    return np.asarray(inside & (light > 20.0 * sigma), dtype=np.bool_)


def _refuse_ramp(seconds: Floats, light: Floats, use: NDArray[np.bool_], max_counts: float) -> None:
    times = np.unique(seconds[use.any(axis=1)])
    if times.size < _LEAST_TIMES:
        raise CalibrationRefused(
            f"{times.size} exposure times have usable counts, the nonlinearity needs {_LEAST_TIMES}",
            "more exposure times between 5 and 95 % of the full scale",
        )
    reached = float(light[use].max()) / max_counts
    if reached < _NEEDED_SHARE:
        raise CalibrationRefused(
            f"the counts reach {reached:.0%} of the full scale, the nonlinearity needs {_NEEDED_SHARE:.0%}",
            f"exposures up to {float(seconds.max()) * 0.9 / reached:.3g} s",
        )


def _better(before: tuple[Floats, Floats, float, int], after: tuple[Floats, Floats, float, int]) -> bool:
    """Whether one more coefficient is worth it: by an F test, so that a lamp's flicker does not count."""
    gain, rest = before[2] - after[2], after[2] / after[3]
    return bool(scipy.stats.f.sf(gain / max(rest, 1.0), 1, after[3]) < _WORTH)


class _Data:
    """Counts of many pixels at many times, in full scales; every pixel has a rate of its own."""

    def __init__(
        self, seconds: Floats, when_s: Floats, light: Floats, sigma: Floats, use: NDArray[np.bool_]
    ) -> None:
        shown = use.any(axis=0)
        self._seconds, self._when = seconds[:, None], when_s[:, None]
        self._light = np.where(use, light, 1.0)[:, shown]
        self._weight = np.where(use, light / sigma, 0.0)[:, shown]
        self._span = max(float(np.ptp(when_s)), 1e-9)
        self._count = int(use.sum())

    def _logs(self, shape: Floats) -> Floats:
        """Logarithm of the light per second that each reading stands for."""
        poly = polynomial.polyval(self._light, np.concatenate([[1.0], shape[:-1]]))
        drift = shape[-1] * self._when / self._span
        return np.asarray(np.log(self._light / np.maximum(poly, 1e-3) / self._seconds) - drift)

    def _rest(self, shape: Floats) -> Floats:
        logs, w2 = self._logs(shape), self._weight**2
        rate = (w2 * logs).sum(axis=0) / w2.sum(axis=0)
        return np.asarray((self._weight * (logs - rate)).ravel())

    def fit(self, order: int, *, drifts: bool) -> tuple[Floats, Floats, float, int]:
        """Coefficients over the full scale with the drift last, their covariance, chi-square, freedom."""
        start = np.zeros(order + 1)
        free = slice(None) if drifts else slice(0, order)

        def whole(p: Floats) -> Floats:
            shape = start.copy()
            shape[free] = p
            return shape

        def rest(p: Floats) -> Floats:
            return self._rest(whole(p))

        found = scipy.optimize.least_squares(rest, start[free])
        shape = whole(found.x)
        covariance = np.zeros((order + 1, order + 1))
        jacobian = np.asarray(found.jac, dtype=np.float64)
        covariance[free, free] = np.linalg.pinv(jacobian.T @ jacobian)
        freedom = self._count - self._light.shape[1] - found.x.size
        shape[-1] /= self._span
        return shape, covariance, 2.0 * float(found.cost), max(freedom, 1)

    def response(self, shape: Floats) -> Floats:
        """Mean response at each exposure over that of the fit, shape ``(exposure,)``."""
        own = shape.copy()
        own[-1] *= self._span
        logs, w2 = self._logs(own), self._weight**2
        rate = (w2 * logs).sum(axis=0) / w2.sum(axis=0)
        return np.asarray(1.0 + (w2 * (logs - rate)).sum(axis=1) / np.maximum(w2.sum(axis=1), 1e-12))
