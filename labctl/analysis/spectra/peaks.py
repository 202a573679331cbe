"""Narrow peaks: finding them above the noise, following them over fluence, and the statistics of their
spacing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from labctl.analysis.spectra.background import fit_continuum, spectrum_noise

Floats = NDArray[np.float64]

_TREND_POINTS, _TREND_SIGMA = 6, 5.0  # of a track's drift with fluence


@dataclass(frozen=True, slots=True)
class Peak:
    """One narrow peak above the smooth luminescence.

    ``wavelength_nm`` is interpolated between pixels; ``height_counts`` is above the luminescence;
    ``prominence_sigma`` is the rise above the higher of its two valleys over the noise; ``fwhm_nm`` is the
    raw width at half of its prominence (resolution included, neighbours not taken apart); ``area_counts`` is
    height times width in pixels, good for ordering only.
    """

    index: int
    wavelength_nm: float
    height_counts: float
    prominence_sigma: float
    fwhm_nm: float
    area_counts: float


def find_peaks(
    wavelength_nm: Floats,
    counts: Floats,
    *,
    resolution_nm: float | None = None,
    min_prominence_sigma: float = 7.0,
    min_relative: float = 0.02,
    noise: Floats | None = None,
    continuum: Floats | None = None,
) -> tuple[Peak, ...]:
    """Find peaks narrower than the luminescence, in order of wavelength.

    The spectrum is freed of single-pixel outliers and smoothed by about the slit; what is left of the noise
    sets the least prominence. ``min_relative`` of the luminescence is asked for as well, because the pixels'
    unequal response is not noise and does not average out.

    :param wavelength_nm: rising, nm, shape ``(pixel,)``, cut to the band wanted.
    :param counts: dark-subtracted counts, shape ``(pixel,)``.
    :param min_prominence_sigma: least prominence over the noise that is left after smoothing.
    :param min_relative: minimum prominence, relative to the luminescence at that place.
    :param resolution_nm: FWHM of the slit function; by default five pixels, at most 0.3 nm, at least two
        pixels.
    :param noise: white noise of each pixel, counts; from the spectrum by default.
    :param continuum: the smooth luminescence, counts; fitted by default.
    """
    if counts.size < 16 or not np.isfinite(counts).all():
        return ()
    pitch_nm = float(wavelength_nm[-1] - wavelength_nm[0]) / (counts.size - 1)
    slit_pixels = (resolution_nm or min(5 * pitch_nm, 0.3)) / pitch_nm
    noise = spectrum_noise(counts) if noise is None else noise
    if continuum is None:
        continuum = fit_continuum(wavelength_nm, counts, noise).counts
    kernel_sigma = max(0.6 * slit_pixels, 0.0) / 2.3548 if slit_pixels > 2.5 else 0.0
    above = ndimage.median_filter(counts, 3, mode="nearest") - continuum
    left_over = 0.75  # of white noise, after a running median of three
    if kernel_sigma:
        above = ndimage.gaussian_filter1d(above, kernel_sigma, mode="nearest")
        left_over = min(1.0 / np.sqrt(2 * np.sqrt(np.pi) * kernel_sigma), left_over)
    sigma = noise * left_over
    least = np.maximum(min_prominence_sigma * sigma, min_relative * np.abs(continuum))
    return _measure(wavelength_nm, above, sigma, least, slit_pixels, pitch_nm)


def _measure(
    wavelength_nm: Floats, above: Floats, sigma: Floats, least: Floats, slit_pixels: float, pitch_nm: float
) -> tuple[Peak, ...]:
    lowest = float(least.min())
    if not lowest > 0:
        lowest = 1e-9
    places, found = signal.find_peaks(
        above, height=lowest, prominence=lowest, distance=max(slit_pixels / 2, 1.0)
    )
    real = (found["prominences"] >= least[places]) & (found["peak_heights"] >= least[places])
    places = places[real]
    if not places.size:
        return ()
    prominence = found["prominences"][real]
    bases = (prominence, found["left_bases"][real], found["right_bases"][real])
    pixels = signal.peak_widths(above, places, rel_height=0.5, prominence_data=bases)[0]
    centres = places + _vertex(above, places)
    at_nm = np.interp(centres, np.arange(above.size), wavelength_nm)
    return tuple(
        Peak(
            int(i),
            float(nm),
            float(above[i]),
            float(p / max(sigma[i], 1e-12)),
            float(w * pitch_nm),
            float(above[i] * w),
        )
        for i, nm, p, w in zip(places, at_nm, prominence, pixels, strict=True)
    )


def _vertex(values: Floats, places: NDArray[np.intp]) -> Floats:
    """Offset of the parabola's vertex through each maximum and its neighbours, pixels, within +-0.5."""
    left, middle, right = values[places - 1], values[places], values[np.minimum(places + 1, values.size - 1)]
    curvature = left - 2 * middle + right
    safe = np.where(curvature < 0, curvature, -1.0)
    return np.asarray(np.clip(0.5 * (left - right) / safe, -0.5, 0.5), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class PeakTrack:
    """One peak followed over fluence: equal-length tuples, in order of fluence."""

    fluence_uj_cm2: tuple[float, ...]
    wavelength_nm: tuple[float, ...]
    height_counts: tuple[float, ...]

    @property
    def wander_nm(self) -> float:
        """Sample standard deviation of the position, nm; 0 for a peak seen once."""
        return float(np.std(self.wavelength_nm, ddof=1)) if len(self.wavelength_nm) > 1 else 0.0


def track_peaks(
    fluence_uj_cm2: Sequence[float],
    peaks: Sequence[Sequence[Peak]],
    *,
    tolerance_nm: float = 0.25,
    max_gap: int = 4,
) -> tuple[PeakTrack, ...]:
    """Follow peaks from one fluence to the next.

    Points are taken in order of fluence. Pairs of where a track should be and a new peak are joined nearest
    first, within ``tolerance_nm``; a track may miss ``max_gap`` points, such as those at which it runs
    through another. It should be where it was last, or on the line of its last points where that clearly
    rises or falls. Longest track first.

    :param fluence_uj_cm2: in any order, shape (n,).
    :param peaks: what ``find_peaks`` gave at each fluence, same length as ``fluence_uj_cm2``.
    :param tolerance_nm: how far a peak may lie from where the track should be, nm.
    :param max_gap: points that a track may miss.
    :raises ValueError: the lengths differ.
    """
    if len(fluence_uj_cm2) != len(peaks):
        raise ValueError(f"{len(fluence_uj_cm2)} fluences do not fit {len(peaks)} lists of peaks")
    tracks: list[list[tuple[int, Peak]]] = []
    order = sorted(range(len(peaks)), key=lambda i: fluence_uj_cm2[i])
    for step, which in enumerate(order):
        open_tracks = [t for t in tracks if step - t[-1][0] <= max_gap + 1]
        joined = _join([_expected_nm(t, step) for t in open_tracks], peaks[which], tolerance_nm)
        for place, peak in enumerate(peaks[which]):
            if place in joined:
                open_tracks[joined[place]].append((step, peak))
            else:
                tracks.append([(step, peak)])
    tracks.sort(key=len, reverse=True)
    return tuple(
        PeakTrack(
            tuple(float(fluence_uj_cm2[order[step]]) for step, _ in track),
            tuple(peak.wavelength_nm for _, peak in track),
            tuple(peak.height_counts for _, peak in track),
        )
        for track in tracks
    )


def _expected_nm(track: Sequence[tuple[int, Peak]], step: int) -> float:
    """Where a track should be: on the line of its last points if its slope is beyond doubt, else as last."""
    last = track[-_TREND_POINTS:]
    if len(last) < 4:
        return last[-1][1].wavelength_nm
    x, y = np.array([float(at) for at, _ in last]), np.array([peak.wavelength_nm for _, peak in last])
    dx = x - x.mean()
    size = float(dx @ dx)
    slope = float(dx @ y) / size
    left = float(np.sum((y - y.mean() - slope * dx) ** 2)) / (x.size - 2)
    if abs(slope) < _TREND_SIGMA * np.sqrt(left / size):
        return last[-1][1].wavelength_nm
    return float(y.mean() + slope * (step - x.mean()))


def _join(expected_nm: Sequence[float], peaks: Sequence[Peak], tolerance_nm: float) -> dict[int, int]:
    """Peak index to track index, nearest pairs first, each used once."""
    pairs = sorted(
        (abs(nm - peak.wavelength_nm), p, t)
        for t, nm in enumerate(expected_nm)
        for p, peak in enumerate(peaks)
    )
    joined: dict[int, int] = {}
    for distance, p, t in pairs:
        if distance <= tolerance_nm and p not in joined and t not in joined.values():
            joined[p] = t
    return joined


@dataclass(frozen=True, slots=True)
class SpacingStatistics:
    """How the distances between neighbouring peaks scatter.

    ``cv`` is their sample standard deviation over their mean: about 0 for the comb of one cavity, 0.52 for
    levels that repel each other, 1 for independent positions. ``comb_misfit`` is the rms distance of the
    peaks from the best regular comb in units of its period (peaks may be missing): up to 0.29, where nothing
    is regular. ``irregular`` is None where neither can be said: under 5 peaks, or a comb that fits no better
    than it fits one set of random positions in a hundred.
    """

    count: int
    mean_nm: float | None
    cv: float | None
    comb_misfit: float | None
    irregular: bool | None


def spacing_statistics(wavelengths_nm: Sequence[float]) -> SpacingStatistics:
    """Tell a regular comb of peaks from irregular ones, by positions in nm (any order)."""
    at_nm = np.sort(np.asarray(wavelengths_nm, dtype=np.float64))
    if at_nm.size < 2:
        return SpacingStatistics(int(at_nm.size), None, None, None, None)
    wavenumber = np.sort(
        1e7 / at_nm
    )  # the modes of a cavity are equally spaced in frequency, not in wavelength
    gaps = np.diff(wavenumber)
    mean_nm = float(np.mean(np.diff(at_nm)))
    if gaps.size < 2:
        return SpacingStatistics(int(at_nm.size), mean_nm, None, None, None)
    cv = float(np.std(gaps, ddof=1) / np.mean(gaps))
    misfit = _comb_misfit(wavenumber)
    return SpacingStatistics(int(at_nm.size), mean_nm, cv, misfit, _irregular(at_nm.size, cv, misfit))


# Misfit of the best comb that one in a hundred sets of independent random positions stays below, by count.
_CHANCE_COUNT, _CHANCE_MISFIT = (5.0, 6.0, 7.0, 8.0), (0.02, 0.034, 0.048, 0.05)


def _irregular(count: int, cv: float, misfit: float) -> bool | None:
    if count < 5:
        return None
    if cv <= 0.15 or misfit <= float(np.interp(count, _CHANCE_COUNT, _CHANCE_MISFIT)):
        return False
    return True if misfit > 0.1 else None


def _comb_misfit(positions: Floats) -> float:
    gaps = np.diff(positions)
    periods = np.linspace(0.85 * float(np.min(gaps)), 1.2 * float(np.median(gaps)), 400)
    # A period far below the smallest gap fits anything.
    phase = positions[None, :] / periods[:, None]
    mean_phase = np.angle(np.exp(2j * np.pi * phase).mean(axis=1)) / (2 * np.pi)
    off = phase - mean_phase[:, None]
    return float(np.sqrt(np.min(np.mean((off - np.round(off)) ** 2, axis=1))))


@dataclass(frozen=True, slots=True)
class RandomLaserEvidence:
    """What the peaks say: irregular spacing and positions that move are a random laser's signature.

    ``wander_nm`` is the median wander of the tracks seen at least three times; ``moving`` compares it with
    ``position_sigma_nm``. ``verdict`` is one of "random", "regular" and "undecided".
    """

    spacing: SpacingStatistics
    wander_nm: float | None
    moving: bool | None
    verdict: str


def random_laser_evidence(
    spacing: SpacingStatistics, tracks: Sequence[PeakTrack], *, position_sigma_nm: float = 0.01
) -> RandomLaserEvidence:
    """Weigh the spacing of the peaks and the wander of each: random laser or regular cavity.

    :param spacing: what ``spacing_statistics`` gave.
    :param tracks: what ``track_peaks`` gave.
    :param position_sigma_nm: standard error of one position, nm.
    """
    long = [t.wander_nm for t in tracks if len(t.wavelength_nm) >= 3]
    wander = float(np.median(long)) if long else None
    moving = wander > 3 * position_sigma_nm if wander is not None else None
    verdict = "undecided" if spacing.irregular is None else "random" if spacing.irregular else "regular"
    return RandomLaserEvidence(spacing, wander, moving, verdict)
