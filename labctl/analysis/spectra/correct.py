"""From raw counts to counts that mean light: dark, nonlinearity, cosmic spikes, hot pixels, baseline.

The order is fixed: the dark first, then the nonlinearity, because the detector's polynomial is a function of
the counts above the dark.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from labctl.analysis.spectra.noise import spectrum_noise

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_MAD_TO_SIGMA = 1.482602218505602


class SpikeRecord(NamedTuple):
    """One pixel of one exposure from which a spike was taken: indices, and the counts that were removed."""

    frame: int
    pixel: int
    removed_counts: float


def subtract_dark(counts: Floats, dark: Floats) -> Floats:
    """Subtract a dark spectrum taken with the same integration time.

    :param counts: raw counts, shape ``(..., pixel)``.
    :param dark: raw counts of the dark, shape ``(pixel,)``.
    :raises ValueError: the numbers of pixels differ.

    >>> subtract_dark(np.array([5.0, 7.0]), np.array([1.0, 1.0]))
    array([4., 6.])
    """
    if dark.ndim != 1 or counts.shape[-1:] != dark.shape:
        raise ValueError(f"counts of shape {counts.shape} do not fit a dark of shape {dark.shape}")
    return np.asarray(counts - dark, dtype=np.float64)


def correct_nonlinearity(dark_subtracted: Floats, coefficients: Sequence[float]) -> Floats:
    """Divide by the detector's response polynomial, as Ocean Optics stores it.

    corrected = counts / (c0 + c1 counts + c2 counts^2 + ...), counts above the dark; where the polynomial is
    not positive (far outside its range) the value is nan rather than nonsense.

    :param dark_subtracted: counts above the dark, any shape.
    :param coefficients: c0, c1, ...; an empty sequence means a linear detector.

    >>> correct_nonlinearity(np.array([100.0, 200.0]), (1.0, -0.001)).round(2).tolist()
    [111.11, 250.0]
    """
    if not len(coefficients):
        return np.array(dark_subtracted, dtype=np.float64)
    response = np.full(np.shape(dark_subtracted), float(coefficients[-1]))
    for coefficient in reversed(coefficients[:-1]):
        response *= dark_subtracted
        response += coefficient
    response[response <= 0] = np.nan
    return np.asarray(dark_subtracted / response, dtype=np.float64)


def remove_spikes(
    frames: Floats, threshold_sigma: float = 7.0, *, line_fwhm_pixels: float = 3.0
) -> tuple[Floats, tuple[SpikeRecord, ...]]:
    """Take cosmic spikes out of repeated exposures, and say what was taken.

    A pixel is a spike when, against the median of the exposures, it stands out by ``threshold_sigma`` of its
    own scatter over exposures AND is sharper than the instrument can draw a line: for light through a slit of
    FWHM f pixels the mean of the neighbours at +-2 pixels is at least 2^-(4/f)^2 of the pixel between them
    (exactly so for a Gaussian slit, wherever the line is centred). A lasing mode that fluctuates from
    exposure to exposure fails both tests; a hot pixel, the same in all exposures, fails the first. With one
    or two exposures the neighbours alone decide.

    :param frames: dark-subtracted counts, shape ``(exposure, pixel)``; not written to.
    :param threshold_sigma: how far a spike stands out of a pixel's own scatter.
    :param line_fwhm_pixels: the instrument's resolution in pixels, or less.
    :returns: cleaned frames (the input itself when nothing was found) and one record for each pixel replaced.
    :raises ValueError: frames are not two-dimensional.
    """
    if frames.ndim != 2:
        raise ValueError(f"frames must have shape (exposure, pixel), not {frames.shape}")
    if frames.shape[1] < 8 or not frames.shape[0]:
        return frames, ()
    excess, sigma = _excess_over_exposures(frames) if len(frames) > 2 else _excess_over_neighbours(frames)
    high = excess > threshold_sigma * sigma
    if not high.any():
        return frames, ()
    spikes = high & _sharper_than_a_line(excess, sigma, threshold_sigma, line_fwhm_pixels)
    if not spikes.any():
        return frames, ()
    grown = (spikes | (_beside(spikes) & high)) if len(frames) > 2 else spikes
    return _replace(frames, excess, grown)


def _excess_over_exposures(frames: Floats) -> tuple[Floats, Floats]:
    """Excess over the median exposure, and each pixel's scatter over exposures, never below its
    surroundings'."""
    ordered = np.sort(np.ascontiguousarray(frames.T), axis=1)
    n = frames.shape[0]
    median = 0.5 * (ordered[:, (n - 1) // 2] + ordered[:, n // 2])
    # The lower half alone measures the scatter: spikes only ever raise a value.
    low = (n - 1) // 4
    share = 2.0 * (low + 0.625) / (n + 0.25)  # Blom's plotting position of that order statistic, over 1/2
    scatter = (median - ordered[:, low]) / max(_normal_quantile_distance(share / 2.0), 0.2)
    smooth = ndimage.median_filter(scatter, 31, mode="nearest")
    own = ndimage.maximum_filter1d(scatter, 5, mode="nearest")
    return frames - median, np.maximum(np.maximum(smooth, own), 1e-9)


def _normal_quantile_distance(share: float) -> float:
    """How many sigma below its centre a normal distribution holds ``share`` of itself."""
    from scipy.special import ndtri

    return float(-ndtri(share))


def _excess_over_neighbours(frames: Floats) -> tuple[Floats, Floats]:
    surroundings = ndimage.median_filter(frames, (1, 7), mode="nearest")
    sigma = np.stack([spectrum_noise(frame) for frame in frames])
    # A line's top has more shot noise than its surroundings tell; with nothing to compare, be slow to cut.
    return frames - surroundings, np.maximum(sigma + 0.01 * np.abs(surroundings), 1e-9)


def _sharper_than_a_line(excess: Floats, sigma: Floats, threshold: float, fwhm_pixels: float) -> Bools:
    least = 2.0 ** -((4.0 / fwhm_pixels) ** 2)
    padded = np.pad(excess, ((0, 0), (2, 2)), mode="edge")
    beside = 0.5 * (padded[:, :-4] + padded[:, 4:])
    return np.asarray(least * excess > beside + least * 0.5 * threshold * sigma, dtype=np.bool_)


def _beside(mask: Bools) -> Bools:
    wide = np.zeros_like(mask)
    wide[:, 1:] |= mask[:, :-1]
    wide[:, :-1] |= mask[:, 1:]
    return wide


def _replace(frames: Floats, excess: Floats, spikes: Bools) -> tuple[Floats, tuple[SpikeRecord, ...]]:
    """Interpolate each exposure's EXCESS across its spikes, so that a mode's fluctuation stays."""
    cleaned = frames.copy()
    records = []
    for frame in np.flatnonzero(spikes.any(axis=1)):
        bad = np.flatnonzero(spikes[frame])
        good = np.flatnonzero(~spikes[frame])
        removed = excess[frame, bad] - np.interp(bad, good, excess[frame, good])
        cleaned[frame, bad] -= removed
        records += [SpikeRecord(int(frame), int(p), float(c)) for p, c in zip(bad, removed, strict=True)]
    return cleaned, tuple(records)


def hot_pixels(dark_frames: Floats, threshold_sigma: float = 8.0) -> Bools:
    """Find pixels whose dark level or dark noise stands out from their neighbourhood.

    :param dark_frames: raw dark counts, shape ``(exposure, pixel)`` or ``(pixel,)``.
    :returns: True where hot, shape ``(pixel,)``.
    """
    frames = np.atleast_2d(dark_frames)
    hot = _stands_out(np.median(frames, axis=0), threshold_sigma)
    if len(frames) >= 5:
        spread = frames.std(axis=0, ddof=1)
        hot |= _stands_out(spread, threshold_sigma)
    return hot


def _stands_out(values: Floats, threshold_sigma: float) -> Bools:
    rest = values - ndimage.median_filter(values, 15, mode="nearest")
    sigma = _MAD_TO_SIGMA * float(np.median(np.abs(rest)))
    return np.asarray(rest > max(threshold_sigma * sigma, 1e-9), dtype=np.bool_)


def mend_pixels(frames: Floats, bad: Bools) -> Floats:
    """Return ``frames``, ``(..., pixel)``, interpolated over the pixels marked in ``bad``, ``(pixel,)``."""
    if bad.all():
        raise ValueError("every pixel is bad")
    mended = np.array(frames, dtype=np.float64)
    good_at, bad_at = np.flatnonzero(~bad), np.flatnonzero(bad)
    for row in np.atleast_2d(mended):
        row[bad_at] = np.interp(bad_at, good_at, row[good_at])
    return mended


def estimate_baseline(wavelength_nm: Floats, counts: Floats, outside: Bools, *, order: int = 0) -> Floats:
    """Fit what is under the emission (stray light, drift of the dark) where there is no emission.

    A polynomial through the pixels marked ``outside``, outliers beyond 4 sigma left out in two rounds.

    :param outside: True where no emission falls, shape ``(pixel,)``; see ``bands.band_mask``.
    :param order: 0 (a constant, safe to extrapolate) or 1.
    :returns: the baseline at every pixel, counts, shape ``(pixel,)``.
    :raises ValueError: fewer than 8 pixels outside, or another order.
    """
    if order not in (0, 1):
        raise ValueError(f"order must be 0 or 1, not {order}")
    use = np.asarray(outside, dtype=np.bool_) & np.isfinite(counts)
    if int(use.sum()) < 8:
        raise ValueError("fewer than 8 pixels outside the emission")
    x = (wavelength_nm - wavelength_nm[0]) / (wavelength_nm[-1] - wavelength_nm[0])
    fitted = np.full(counts.shape, float(np.median(counts[use])))
    for _ in range(3):
        rest = np.abs(counts - fitted)
        sigma = _MAD_TO_SIGMA * float(np.median(rest[use]))
        keep = use & (rest <= max(4.0 * sigma, 1e-9))
        fitted = np.polynomial.Polynomial.fit(x[keep], counts[keep], order)(x)
    return np.asarray(fitted, dtype=np.float64)
