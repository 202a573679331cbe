"""How noisy the pixels are, found from the spectra themselves.

Fourth differences along the pixels remove everything that is as smooth as a slit image and leave white noise;
with repeated exposures what is common to all of them goes as well, so lines sharp on a coarse instrument do
not count.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

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
    (read2, gain), _ = optimize.nnls(np.column_stack([scale, counts * scale]), variance * scale)
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
