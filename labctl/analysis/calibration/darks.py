"""What a detector shows without light: offset, dark current, read noise, and pixels that are out of line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.spectra.correct import hot_pixels
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
    _refuse(seconds, stacks)
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


def _refuse(seconds: Floats, stacks: Sequence[Floats]) -> None:
    fewest = min((len(stack) for stack in stacks), default=0)
    if fewest < 3:
        raise CalibrationRefused(f"{fewest} dark exposures at one time, need 3 or more")
    if seconds.size < 2 or seconds[-1] < _LEAST_RATIO * seconds[0]:
        raise CalibrationRefused(
            "dark exposures of one length cannot tell the offset from the dark current",
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
