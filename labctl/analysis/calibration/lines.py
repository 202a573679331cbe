"""Lines of a lamp in a spectrum: where they are, in pixels, how wide, and how surely.

A line is fitted as a Gaussian integrated over each pixel, so that a line of two pixels' width is placed as
well as a broad one. Neighbours within three widths are fitted together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal, special, stats

from labctl.analysis.spectra.noise import NoiseModel
from labctl.analysis.spectra.profiles import FWHM_PER_SIGMA

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]

LEAST_SIGMA = 8.0
"""A line stands out by so many standard errors of its highest pixel, or it is none."""

_TOGETHER = 3.0  # widths: lines nearer than this are fitted together
_REACH = 2.5  # widths fitted beyond the outermost line of a group
_MOST_TOGETHER = 6
_MOST_STEPS = 40
_BRIGHT = 20.0  # read noises: from here on a pixel tells the gain


@dataclass(frozen=True, slots=True)
class FoundLine:
    """One line, in pixels; errors are 1 sigma from counts and read noise.

    :param fwhm_pixels: of the slit's image alone, the pixel taken out; shared by lines that were fitted
        together.
    :param saturated: some pixel of it was clipped: ``pixel`` is a rough place, the rest means nothing.
    """

    pixel: float
    pixel_sigma: float
    fwhm_pixels: float
    fwhm_sigma_pixels: float
    area_counts: float
    reduced_chi2: float
    saturated: bool = False


def lamp_noise(frames: Floats, darks: Floats) -> NoiseModel:
    """Return the noise of the mean of ``frames`` less the mean of ``darks``.

    Read noise comes from the darks, the gain from the scatter of bright pixels about the frames' common
    brightness: a lamp that flickers moves no line.

    :param frames: raw counts with the lamp, shape ``(exposure, pixel)``, 3 or more; ``darks`` likewise.
    :raises ValueError: fewer than 3 exposures of a kind.
    """
    n, m = len(frames), len(darks)
    if min(n, m) < 3:
        raise ValueError(f"{n} exposures and {m} darks, need 3 or more of each")
    read2 = max(float(np.median(darks.var(axis=0, ddof=1))) / _median_chi2(m - 1), 1.0 / 12.0)
    light = frames - darks.mean(axis=0)
    bright = light.mean(axis=0) > _BRIGHT * math.sqrt(read2)
    gain = _gain(light[:, bright], read2) if bright.sum() >= 3 else 0.0
    return NoiseModel(math.sqrt(read2 * (1.0 / n + 1.0 / m)), gain / n)


def _gain(light: Floats, read2: float) -> float:
    """Counts per electron from the scatter of bright pixels, shape ``(exposure, pixel)``."""
    mean = light.mean(axis=0)
    brightness = light.sum(axis=1, keepdims=True) / mean.sum()
    freedom = (len(light) - 1) * (1.0 - 1.0 / mean.size)
    variance = ((light - brightness * mean) ** 2).sum(axis=0) / freedom
    return max(float(np.median((variance - read2) / mean)) / _median_chi2(len(light) - 1), 0.0)


def _median_chi2(freedom: int) -> float:
    """Median over mean of a variance from so many degrees of freedom (Wilson and Hilferty)."""
    return float((1.0 - 2.0 / (9.0 * freedom)) ** 3)


def enlargement(chi2: float, freedom: int, chance: float = 1e-3) -> float:
    """Factor on standard errors where residuals exceed them beyond chance; 1 where they do not."""
    if freedom < 1 or stats.chi2.sf(chi2, freedom) > chance:
        return 1.0
    return math.sqrt(chi2 / freedom)


def find_lines(
    counts: Floats,
    noise: NoiseModel,
    *,
    saturated: Bools | None = None,
    bad: Bools | None = None,
    fwhm_pixels: float | None = None,
) -> tuple[FoundLine, ...]:
    """Find and fit the lines of a lamp, in order of pixels.

    :param counts: mean of the exposures, dark subtracted, linear; shape ``(pixel,)``.
    :param noise: of that mean, see :func:`lamp_noise`.
    :param saturated: True where any raw exposure was clipped; ``bad`` where a pixel is not to be used.
    :param fwhm_pixels: about how wide a line is; from the spectrum itself by default.
    """
    clipped = np.zeros(counts.size, np.bool_) if saturated is None else saturated
    use = ~clipped if bad is None else ~(clipped | bad)
    if counts.size < 16:
        return ()
    filled = np.where(use | clipped, counts, ndimage.median_filter(counts, 5, mode="nearest"))
    above = filled - ndimage.percentile_filter(filled, 30, size=_wide(counts.size), mode="nearest")
    width = fwhm_pixels or typical_fwhm_pixels(np.where(clipped, 0.0, above), noise)
    runs = _saturated_runs(clipped, width)
    places = _places(above, noise, width)
    places = places[[not _near(p, runs, 1.5 * width) for p in places]] if places.size else places
    found = [line for group in _groups(places, width) for line in _fit(counts, noise, use, group, width)]
    found += [_rough(low, high) for low, high in runs]
    return tuple(sorted(found, key=lambda line: line.pixel))


def typical_fwhm_pixels(above: Floats, noise: NoiseModel) -> float:
    """Width of the strongest lines as they stand, pixel included; 3 where there are none."""
    places = signal.find_peaks(above, height=5.0 * LEAST_SIGMA * float(noise.sigma(np.zeros(1))[0]))[0]
    if not places.size:
        return 3.0
    strongest = places[np.argsort(above[places])[-7:]]
    widths = signal.peak_widths(above, strongest, rel_height=0.5)[0]
    return float(np.clip(np.median(widths), 1.2, 60.0))


def _wide(pixels: int) -> int:
    return min(max(pixels // 16, 31), 201)


def _places(above: Floats, noise: NoiseModel, width: float) -> Ints:
    sigma = noise.sigma(above)
    smooth = ndimage.gaussian_filter1d(above, 0.3 * width, mode="nearest") if width > 2.5 else above
    places, facts = signal.find_peaks(smooth, height=0.0, prominence=0.0, distance=max(round(0.6 * width), 1))
    least = LEAST_SIGMA * sigma[places]
    return np.asarray(places[(above[places] >= least) & (facts["prominences"] >= least)], dtype=np.intp)


def _saturated_runs(clipped: Bools, width: float) -> list[tuple[int, int]]:
    """First and last pixel of what was clipped; runs closer than a width are one line."""
    runs: list[tuple[int, int]] = []
    for pixel in map(int, np.flatnonzero(clipped)):
        if runs and pixel - runs[-1][1] <= max(width, 2.0):
            runs[-1] = (runs[-1][0], pixel)
        else:
            runs.append((pixel, pixel))
    return runs


def _near(pixel: int, runs: Sequence[tuple[int, int]], reach: float) -> bool:
    return any(low - reach <= pixel <= high + reach for low, high in runs)


def _rough(low: int, high: int) -> FoundLine:
    sigma = max(0.25 * (high - low + 1), 0.5)
    return FoundLine(0.5 * (low + high), sigma, math.nan, math.nan, math.inf, math.nan, saturated=True)


def _groups(places: Ints, width: float) -> list[Ints]:
    if not places.size:
        return []
    cuts = np.flatnonzero(np.diff(places) > _TOGETHER * width) + 1
    groups = []
    for group in np.split(places, cuts):
        while group.size > _MOST_TOGETHER:  # split a crowd where it is thinnest
            cut = 1 + int(np.argmax(np.diff(group)[:_MOST_TOGETHER]))
            groups.append(group[:cut])
            group = group[cut:]
        groups.append(group)
    return groups


def _fit(counts: Floats, noise: NoiseModel, use: Bools, group: Ints, width: float) -> list[FoundLine]:
    """Fit a group: places, areas, one width, a straight background; nothing where that fails."""
    reach = max(_REACH * width, 4.0)
    low, high = max(int(group[0] - reach), 0), min(math.ceil(group[-1] + reach) + 1, counts.size)
    at = np.arange(low, high)[use[low:high]].astype(np.float64)
    if at.size < 2 * group.size + 5 or not _covered(at, group, width):
        return []
    seen = counts[at.astype(np.intp)]
    sigma = noise.sigma(seen)
    start = _start(at, seen, group, width)
    found: Floats | None = None
    for _ in range(2):  # the second time with the noise of the fitted curve: that of the data pulls areas
        found = _solve(at, seen, sigma, start if found is None else found)
        if found is None:
            return []
        sigma = noise.sigma(_curve(found, at)[0])
    assert found is not None
    return _described(found, at, seen, sigma, group, width)


def _covered(at: Floats, group: Ints, width: float) -> bool:
    """Whether enough of every line is left, on both of its sides."""
    half = max(width, 2.0)
    return all(
        (at[(at >= p - half) & (at <= p)].size >= 2) and (at[(at >= p) & (at <= p + half)].size >= 2)
        for p in group
    )


def _start(at: Floats, seen: Floats, group: Ints, width: float) -> Floats:
    base = float(np.percentile(seen, 15))
    peak = np.interp(group, at, seen) - base
    slit = math.sqrt(max((width / FWHM_PER_SIGMA) ** 2 - 1.0 / 12.0, 0.04))
    return np.array([slit, base, 0.0, *group.astype(float), *(peak * slit * math.sqrt(2.0 * math.pi))])


def _curve(p: Floats, at: Floats) -> tuple[Floats, Floats]:
    """Curve and its derivatives, shapes ``(k,)`` and ``(k, parameters)``.

    Parameters: sigma of the slit, background and its slope, then the centres, then the areas.
    """
    n = (p.size - 3) // 2
    s, centre, area = abs(p[0]) + 1e-9, p[3 : 3 + n], p[3 + n :]
    right = (at[:, None] + 0.5 - centre) / s
    left = right - 1.0 / s
    share = 0.5 * (special.erf(right / math.sqrt(2.0)) - special.erf(left / math.sqrt(2.0)))
    density_r, density_l = (np.exp(-0.5 * z * z) / (s * math.sqrt(2.0 * math.pi)) for z in (right, left))
    middle = float(at.mean())
    jacobian = np.empty((at.size, p.size))
    jacobian[:, 0] = -(area * (right * density_r - left * density_l)).sum(axis=1)
    jacobian[:, 1], jacobian[:, 2] = 1.0, at - middle
    jacobian[:, 3 : 3 + n] = -area * (density_r - density_l)
    jacobian[:, 3 + n :] = share
    curve: Floats = share @ area + p[1] + p[2] * (at - middle)
    return curve, jacobian


def _solve(at: Floats, seen: Floats, sigma: Floats, start: Floats) -> Floats | None:
    """Least squares by damped Gauss-Newton steps (Levenberg, Marquardt); None where it does not settle."""
    here, damping = start, 1e-3
    curve, slopes = _curve(here, at)
    cost = float((((seen - curve) / sigma) ** 2).sum())
    for _ in range(_MOST_STEPS):
        jacobian = slopes / sigma[:, None]
        normal = jacobian.T @ jacobian
        wanted = jacobian.T @ ((seen - curve) / sigma)
        step = np.linalg.lstsq(normal + damping * np.diag(np.diag(normal)), wanted, rcond=None)[0]
        ahead = here + step
        next_curve, next_slopes = _curve(ahead, at)
        next_cost = float((((seen - next_curve) / sigma) ** 2).sum())
        if not next_cost <= cost:
            damping *= 10.0
            if damping > 1e8:
                return here
            continue
        settled = cost - next_cost < 1e-6 * max(cost, 1.0)
        here, curve, slopes, cost, damping = ahead, next_curve, next_slopes, next_cost, 0.1 * damping
        if settled:
            return here
    return None


def _described(
    p: Floats, at: Floats, seen: Floats, sigma: Floats, group: Ints, width: float
) -> list[FoundLine]:
    curve, jacobian = _curve(p, at)
    weighted = jacobian / sigma[:, None]
    variance = np.diag(np.linalg.pinv(weighted.T @ weighted))
    if not (np.isfinite(variance).all() and variance.min() > 0):
        return []
    error = np.sqrt(variance)
    chi2, freedom = float((((seen - curve) / sigma) ** 2).sum()), at.size - p.size
    n, slit, worse = group.size, abs(float(p[0])), enlargement(chi2, freedom)
    lines = []
    for k in range(n):
        centre, area = float(p[3 + k]), float(p[3 + n + k])
        real = abs(centre - group[k]) < max(width, 2.0) and area > 5.0 * error[3 + n + k]
        if real and 0.1 < slit < 3.0 * width:
            lines.append(
                FoundLine(
                    centre,
                    float(error[3 + k]) * worse,
                    slit * FWHM_PER_SIGMA,
                    float(error[0]) * FWHM_PER_SIGMA * worse,
                    area,
                    chi2 / freedom,
                )
            )
    return lines
