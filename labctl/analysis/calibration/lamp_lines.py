"""Lines of calibration lamps: wavelengths in standard air, and where they stand in a spectrum, in pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from labctl.analysis.spectra.background import NoiseModel
from labctl.analysis.spectra.lines import FWHM_PER_SIGMA
from labctl.model.errors import CalibrationRefused

TABLE_SIGMA_NM = 0.001
"""Standard error that the tables' own values and a room's air leave in a line."""

BLEND_SHARE = 0.01
"""A neighbour that may pull a line by more than this share of the resolution makes it a blend."""

_APART = 2.0  # resolutions: neighbours further away than this leave a line's width alone
_FITTED_APART = 1.3  # resolutions: neighbours further away than this are fitted beside it,
_FITTED_DECADE = 0.6  # and so much further for each decade by which they are stronger


class LampLine(NamedTuple):
    """A line in air. ``strength`` is a decade: 4 dominates the lamp, 1 needs a long exposure."""

    wavelength_nm: float
    strength: int


_MERCURY = (
    (253.6521, 4), (296.7283, 3), (302.1504, 2), (312.5674, 3), (313.1555, 3), (313.1844, 3), (334.1484, 2),
    (365.0158, 4), (365.4842, 3), (366.2887, 2), (366.3284, 3), (404.6565, 4), (407.7837, 2), (433.9223, 1),
    (434.7506, 1), (435.8335, 4), (491.6068, 1), (546.0750, 4), (576.9610, 3), (579.0670, 3),
)  # fmt: skip
_ARGON = (
    (415.8590, 1), (418.1884, 1), (419.0713, 1), (419.1029, 1), (419.8317, 1), (420.0674, 1), (425.9362, 1),
    (426.6286, 1), (427.2169, 1), (430.0101, 1), (433.3561, 1), (451.0733, 1), (516.2285, 1), (518.7746, 1),
    (542.1352, 1), (545.1652, 1), (549.5874, 1), (550.6113, 1), (555.8702, 1), (557.2541, 1), (560.6733, 1),
    (565.0704, 1), (573.9520, 1), (588.8584, 1), (591.2085, 1), (592.8813, 1), (603.2127, 2), (604.3223, 1),
    (605.9373, 1), (611.4923, 1), (617.2278, 1), (629.6872, 1), (636.9575, 1), (638.4717, 1), (641.6307, 2),
    (667.7282, 2), (675.2834, 2), (687.1289, 2), (693.7664, 2), (696.5431, 4), (703.0251, 2), (706.7218, 3),
    (706.8736, 2), (710.7478, 2), (712.5820, 1), (714.7042, 2), (720.6980, 1), (727.2936, 3), (731.1716, 1),
    (731.6005, 1), (735.3293, 2), (737.2118, 2), (738.3980, 3), (743.5368, 1), (750.3869, 4), (751.4652, 3),
    (763.5106, 4), (772.3761, 3), (772.4207, 3), (789.1075, 1), (794.8176, 3), (800.6157, 3), (801.4786, 3),
    (810.3693, 3), (811.5311, 4), (826.4522, 3), (840.8210, 3), (842.4648, 4), (852.1442, 3), (860.5776, 1),
    (866.7944, 2), (912.2967, 4), (919.4638, 2), (922.4499, 3), (935.4220, 2), (965.7786, 3), (978.4503, 2),
)  # fmt: skip
_NEON = (
    (503.1350, 1), (503.7751, 1), (508.0385, 1), (511.6503, 1), (512.2257, 1), (514.4938, 1), (515.1961, 1),
    (518.8612, 1), (519.3130, 1), (520.3896, 1), (520.8865, 1), (522.2352, 1), (523.4027, 1), (529.8189, 1),
    (530.4758, 1), (532.6397, 1), (533.0778, 3), (534.1094, 3), (534.3283, 2), (534.9204, 1), (536.0012, 1),
    (540.0562, 4), (541.2649, 1), (541.8558, 1), (543.3651, 1), (544.8509, 1), (549.4416, 1), (553.3679, 1),
    (556.2766, 1),
    (565.6659, 2), (571.9225, 2), (574.8299, 2), (576.4419, 3), (580.4450, 2), (582.0156, 2), (585.2488, 4),
    (587.2828, 2), (588.1895, 3), (590.2462, 2), (590.6429, 2), (594.4834, 3), (596.5471, 2), (597.4627, 2),
    (597.5534, 2), (598.7907, 2), (602.9997, 3), (607.4338, 3), (609.6163, 3), (612.8450, 2), (614.3063, 4),
    (616.3594, 3), (618.2146, 2), (621.7281, 3), (626.6495, 3), (630.4789, 3), (633.4428, 4), (638.2992, 4),
    (640.2248, 4), (650.6528, 4), (653.2882, 3), (659.8953, 3), (667.8277, 3), (671.7043, 3), (692.9467, 4),
    (702.4050, 2), (703.2413, 4), (717.3938, 3), (724.5167, 4), (743.8899, 3), (747.2439, 1), (748.8871, 2),
    (753.5774, 2), (754.4044, 2), (794.3181, 2), (808.2458, 2), (813.6406, 2), (830.0326, 3), (837.7608, 4),
    (849.5360, 3), (854.4696, 2), (859.1259, 3), (863.4647, 3), (865.4383, 3), (865.5522, 2), (867.9493, 2),
    (868.1921, 2), (870.4112, 2), (878.0621, 3), (878.3753, 3), (885.3867, 3), (891.9501, 2), (914.8672, 2),
    (920.1759, 2), (930.0853, 2), (932.6507, 2), (942.5379, 2), (948.6682, 2), (953.4163, 2), (966.5424, 2),
)  # fmt: skip
_KRYPTON = (
    (427.3969, 2), (431.9579, 2), (436.2641, 2), (437.6121, 2), (445.3917, 2), (446.3690, 2), (450.2354, 2),
    (556.2225, 2), (557.0289, 3), (587.0916, 3), (599.3850, 1), (605.6126, 1), (642.1027, 1), (645.6289, 2),
    (722.4104, 1), (758.7413, 3), (760.1544, 4), (768.5246, 3), (769.4539, 3), (785.4822, 3), (791.3424, 2),
    (805.9504, 3), (810.4365, 4), (811.2901, 4), (819.0055, 3), (826.3241, 3), (828.1051, 2), (829.8110, 3),
    (850.8871, 3), (877.6750, 3), (892.8692, 3), (975.1759, 3),
)  # fmt: skip

_TABLES: dict[str, tuple[tuple[tuple[float, int], ...], ...]] = {
    "hg-ar": (_MERCURY, _ARGON),
    "ne": (_NEON,),
    "kr": (_KRYPTON,),
}
LAMPS: tuple[str, ...] = tuple(_TABLES)
"""Names of the lamps that are known."""


def lamp_lines(lamp: str) -> tuple[LampLine, ...]:
    """Return a lamp's lines, rising.

    :param lamp: "hg-ar", "ne" or "kr", in any case.
    :raises CalibrationRefused: there is no table for it.
    """
    tables = _TABLES.get(lamp.lower())
    if tables is None:
        raise CalibrationRefused(f"no table of lines for the lamp {lamp!r}", f"one of {', '.join(LAMPS)}")
    return tuple(sorted(LampLine(nm, strength) for table in tables for nm, strength in table))


def pull_nm(line: LampLine, lines: Iterable[LampLine], resolution_nm: float) -> float:
    """Return how far neighbours that cannot be told apart may pull a line's centre, nm.

    A neighbour far enough away to be fitted beside it pulls not at all. Strengths are decades, so each is
    taken to be half a decade stronger than the table says.
    """
    total = 0.0
    for other in lines:
        away = abs(other.wavelength_nm - line.wavelength_nm)
        apart = _FITTED_APART + _FITTED_DECADE * max(other.strength - line.strength, 0)
        if 0 < away < apart * resolution_nm:
            ratio = min(10.0 ** (other.strength - line.strength + 0.5), 1e3)
            total += away * ratio / (1.0 + ratio)
    return total


def resolved_lines(lines: Iterable[LampLine], resolution_nm: float) -> tuple[LampLine, ...]:
    """Return those lines whose centre an instrument of this resolution sees where the table has it.

    :param resolution_nm: FWHM of the slit function, > 0.

    >>> yellow = [LampLine(576.961, 3), LampLine(579.067, 3)]
    >>> len(resolved_lines(yellow, 1.3)), len(resolved_lines(yellow, 5.0))
    (2, 0)
    """
    every = tuple(lines)
    return tuple(x for x in every if pull_nm(x, every, resolution_nm) <= BLEND_SHARE * resolution_nm)


def isolated_lines(lines: Iterable[LampLine], resolution_nm: float) -> tuple[LampLine, ...]:
    """Return those lines that no neighbour broadens: what the resolution may be taken from.

    A line that may be a tenth of this one or more keeps a distance of two resolutions.
    """
    every = tuple(lines)
    return tuple(
        line
        for line in resolved_lines(every, resolution_nm)
        if not any(
            0 < abs(other.wavelength_nm - line.wavelength_nm) < _APART * resolution_nm
            and other.strength >= line.strength - 1
            for other in every
        )
    )


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
    if freedom < 1 or scipy.stats.chi2.sf(chi2, freedom) > chance:
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
    filled = np.where(use | clipped, counts, scipy.ndimage.median_filter(counts, 5, mode="nearest"))
    above = filled - scipy.ndimage.percentile_filter(filled, 30, size=_wide(counts.size), mode="nearest")
    width = fwhm_pixels or typical_fwhm_pixels(np.where(clipped, 0.0, above), noise)
    runs = _saturated_runs(clipped, width)
    places = _places(above, noise, width)
    places = places[[not _near(p, runs, 1.5 * width) for p in places]] if places.size else places
    found = [line for group in _groups(places, width) for line in _fit(counts, noise, use, group, width)]
    found += [_rough(low, high) for low, high in runs]
    return tuple(sorted(found, key=lambda line: line.pixel))


def typical_fwhm_pixels(above: Floats, noise: NoiseModel) -> float:
    """Width of the strongest lines as they stand, pixel included; 3 where there are none."""
    places = scipy.signal.find_peaks(above, height=5.0 * LEAST_SIGMA * float(noise.sigma(np.zeros(1))[0]))[0]
    if not places.size:
        return 3.0
    strongest = places[np.argsort(above[places])[-7:]]
    widths = scipy.signal.peak_widths(above, strongest, rel_height=0.5)[0]
    return float(np.clip(np.median(widths), 1.2, 60.0))


def _wide(pixels: int) -> int:
    return min(max(pixels // 16, 31), 201)


def _places(above: Floats, noise: NoiseModel, width: float) -> Ints:
    sigma = noise.sigma(above)
    smooth = scipy.ndimage.gaussian_filter1d(above, 0.3 * width, mode="nearest") if width > 2.5 else above
    places, facts = scipy.signal.find_peaks(
        smooth, height=0.0, prominence=0.0, distance=max(round(0.6 * width), 1)
    )
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
    share = 0.5 * (scipy.special.erf(right / math.sqrt(2.0)) - scipy.special.erf(left / math.sqrt(2.0)))
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
