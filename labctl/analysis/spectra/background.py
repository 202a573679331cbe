"""What lies under narrow peaks: the noise of the pixels, and the smooth luminescence."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_DIFFERENCE_GAIN = 70.0  # variance of (1, -4, 6, -4, 1) applied to unit white noise
_MAD_TO_SIGMA = 1.482602218505602
_BLOCK_PIXELS = 64


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """Variance of one exposure's pixel: read_counts^2 + gain * counts (gain in counts per electron)."""

    read_counts: float
    gain: float

    def sigma(self, counts: Floats) -> Floats:
        """Noise of pixels that hold ``counts`` (any shape); negative counts have the read noise only."""
        variance: Floats = self.read_counts**2 + self.gain * np.maximum(counts, 0.0)
        return np.sqrt(variance)


def spectrum_noise(counts: Floats) -> Floats:
    """White noise of each pixel of one spectrum, counts, shape ``(pixel,)``; local over about 64 pixels."""
    if counts.size < 8:
        return np.full(counts.shape, float(np.std(counts)))
    return _spread(np.abs(_fourth_difference(counts)) / np.sqrt(_DIFFERENCE_GAIN), counts.size)


def mean_noise(frames: Floats) -> Floats:
    """White noise of the MEAN of exposures, counts, shape ``(pixel,)``, from ``frames`` of ``(exposure,
    pixel)``.

    With fewer than three exposures the noise is taken from the mean spectrum alone.
    """
    n_exposures, n_pixels = frames.shape
    if n_exposures < 3 or n_pixels < 8:
        return spectrum_noise(frames.mean(axis=0))
    scatter = np.sqrt(_detail_variance(frames) / n_exposures)
    # The median of a standard deviation from several exposures lies near sigma, unlike that of one value.
    return _spread(scatter, n_pixels, 1.0 + 1.0 / (3.0 * (n_exposures - 1)))


def noise_model(frames: Floats) -> NoiseModel:
    """Fit read noise and gain to ``frames`` of shape ``(exposure, pixel)``, dark-subtracted counts."""
    n_exposures, n_pixels = frames.shape
    if n_pixels < 16:
        return NoiseModel(float(np.std(frames)), 0.0)
    level = frames.mean(axis=0)[2:-2]
    if n_exposures < 3:
        detail = _fourth_difference(frames) ** 2 / _DIFFERENCE_GAIN
        typical, factor = detail.mean(axis=0), _MAD_TO_SIGMA**2 if n_exposures == 1 else 1.6
    else:
        typical, factor = _detail_variance(frames), 1.0 + 2.0 / (3.0 * (n_exposures - 1))
    groups = np.array_split(np.argsort(level), min(16, max(level.size // 16, 1)))
    variance = np.array([float(np.median(typical[g])) * factor for g in groups])
    counts = np.array([max(float(np.mean(level[g])), 0.0) for g in groups])
    scale = 1.0 / np.maximum(variance, max(float(variance.max()) * 1e-6, 1e-12))
    (read2, gain), _ = scipy.optimize.nnls(np.column_stack([scale, counts * scale]), variance * scale)
    floor = float(variance.min()) * 1e-3  # an exactly noiseless spectrum must still be fitted
    return NoiseModel(float(np.sqrt(max(read2, floor, 1e-12))), float(gain))


def _fourth_difference(counts: Floats) -> Floats:
    inner: Floats = (
        counts[..., :-4]
        + counts[..., 4:]
        - 4.0 * (counts[..., 1:-3] + counts[..., 3:-1])
        + 6.0 * counts[..., 2:-2]
    )
    return inner


def _detail_variance(frames: Floats) -> Floats:
    """Variance over exposures of the pixel-to-pixel detail, shape ``(pixel - 4,)``."""
    detail = _fourth_difference(frames)
    variance: Floats = detail.var(axis=0, ddof=1) / _DIFFERENCE_GAIN
    return variance


def _spread(detail: Floats, n_pixels: int, factor: float = _MAD_TO_SIGMA) -> Floats:
    """Block medians of ``detail`` times ``factor``, interpolated to all pixels."""
    n_blocks = max(detail.size // _BLOCK_PIXELS, 1)
    width = detail.size // n_blocks
    medians = np.median(detail[: n_blocks * width].reshape(n_blocks, width), axis=1) * factor
    centres = 2.0 + width * (np.arange(n_blocks) + 0.5)
    return np.interp(np.arange(n_pixels), centres, medians)


Bools = NDArray[np.bool_]

_BIN_NM = 0.3
_KNOT_NM = 3.0
_STIFFNESS_NM = 8.0  # narrower structure is not luminescence: the film's band is about 25 nm wide
_OPENING_NM = 5.0
_CUT_SIGMA = 4.0
_MISFIT = 0.01  # a spline is not the luminescence: this share of it is no peak


@dataclass(frozen=True, slots=True)
class Continuum:
    """A fitted smooth luminescence: ``counts`` at the pixels, and the linear form that made it from bin
    means.

    ``basis`` is (bin, spline), ``weight`` (bin,), ``normal`` (spline, spline): the bins' values are
    basis normal^-1 basis^T weight (bin means).
    """

    counts: Floats
    basis: Floats
    weight: Floats
    normal: Floats
    bin_pixels: int

    def bin_means(self, frames: Floats) -> Floats:
        """Bin means of ``frames`` ``(exposure, pixel)``, shape ``(exposure, bin)``."""
        return _bin_means(frames, self.bin_pixels)

    def sum_over(self, inside: Bools) -> Floats:
        """Weights, ``(bin,)``, that turn bin means into the continuum's sum over the pixels ``inside``."""
        n_bins = self.weight.size
        bin_of = np.minimum(np.arange(inside.size) // self.bin_pixels, n_bins - 1)
        pixels = np.bincount(bin_of[inside], minlength=n_bins).astype(np.float64)
        adjoint = self.basis @ np.linalg.solve(self.normal, pixels @ self.basis)
        return np.asarray(adjoint * self.weight, dtype=np.float64)


def _bin_means(frames: Floats, width: int) -> Floats:
    n_bins = frames.shape[-1] // width
    cut = frames[..., : n_bins * width]
    return np.asarray(cut.reshape(*frames.shape[:-1], n_bins, width).mean(axis=-1), dtype=np.float64)


def fit_continuum(wavelength_nm: Floats, counts: Floats, noise: Floats) -> Continuum:
    """Fit the smooth luminescence.

    :param wavelength_nm: rising, shape ``(pixel,)``; ``counts`` and ``noise`` (sigma of a pixel) likewise.
    :raises ValueError: fewer than 16 pixels.
    """
    if counts.size < 16:
        raise ValueError(f"{counts.size} pixels are too few for a continuum, need 16")
    pitch_nm = float(wavelength_nm[-1] - wavelength_nm[0]) / (counts.size - 1)
    width = max(round(_BIN_NM / pitch_nm), 1)
    binned = _bin_means(counts, width)
    sigma = _bin_means(noise, width) / np.sqrt(width)
    sigma = np.maximum(sigma, max(float(np.ptp(binned)) * 1e-6, 1e-12))
    basis, penalty = _basis(binned.size, pitch_nm * width)
    weight, normal = _choose_bins(
        binned, sigma, basis, penalty, max(round(_OPENING_NM / (pitch_nm * width)), 3)
    )
    position = (np.arange(counts.size) - 0.5 * (width - 1)) / width
    at_bins = basis @ np.linalg.solve(normal, (weight * binned) @ basis)
    at_pixels = np.interp(position, np.arange(binned.size), at_bins)
    return Continuum(at_pixels, basis, weight, normal, width)


@lru_cache(maxsize=8)
def _basis(n_bins: int, bin_nm: float) -> tuple[Floats, Floats]:
    """Cubic B-splines at the bin centres, and the penalty on their third differences; read only."""
    centres_nm = np.arange(n_bins, dtype=np.float64) * bin_nm
    span = float(centres_nm[-1])
    n_pieces = max(round(span / _KNOT_NM), 2)
    step = span / n_pieces
    knots = np.arange(-3, n_pieces + 4) * step
    inside = np.clip(centres_nm, 0.0, span * (1 - 1e-12))
    basis = np.asarray(scipy.interpolate.BSpline.design_matrix(inside, knots, 3).toarray(), dtype=np.float64)
    third = np.diff(np.eye(basis.shape[1]), n=3, axis=0)
    bins_per_knot = centres_nm.size / n_pieces
    # A sixth power, because third differences are penalised in square: the cut-off lies at the stiffness.
    return basis, bins_per_knot * (_STIFFNESS_NM / (2 * np.pi * step)) ** 6 * (third.T @ third)


def _choose_bins(
    binned: Floats, sigma: Floats, basis: Floats, penalty: Floats, opening: int
) -> tuple[Floats, Floats]:
    """Weights of the bins (next to nothing where a peak rises) and the normal matrix that goes with them.

    Only products with the narrow ``basis`` are formed: larger ones would wake the BLAS threads, which costs
    more than the whole reduction of a point.
    """
    start = scipy.ndimage.uniform_filter1d(
        scipy.ndimage.grey_opening(binned, (opening,), mode="nearest"), opening, mode="nearest"
    )
    fitted = basis @ np.linalg.solve(basis.T @ basis + penalty, start @ basis)
    full = 1.0 / (sigma**2 + (_MISFIT * np.maximum(fitted, 0.0)) ** 2)
    full /= np.median(full)
    weight, used = full, np.ones(binned.size, dtype=np.bool_)
    normal = (basis.T * weight) @ basis + penalty
    for turn in range(10):
        cut = _CUT_SIGMA * np.sqrt(sigma**2 + (_MISFIT * np.maximum(fitted, 0.0)) ** 2)
        rest = binned - fitted
        keep = (rest < cut) if turn < 3 else (np.abs(rest) < cut)
        if turn > 3 and np.array_equal(keep, used):
            break
        used, weight = keep, np.where(keep, full, 1e-6)
        normal = (basis.T * weight) @ basis + penalty
        fitted = basis @ np.linalg.solve(normal, (weight * binned) @ basis)
    return weight, normal
