"""Narrow peaks: finding them above the noise."""

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from labctl.analysis.spectra.background import fit_continuum, spectrum_noise

Floats = NDArray[np.float64]


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
    above = scipy.ndimage.median_filter(counts, 3, mode="nearest") - continuum
    left_over = 0.75  # of white noise, after a running median of three
    if kernel_sigma:
        above = scipy.ndimage.gaussian_filter1d(above, kernel_sigma, mode="nearest")
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
    places, found = scipy.signal.find_peaks(
        above, height=lowest, prominence=lowest, distance=max(slit_pixels / 2, 1.0)
    )
    real = (found["prominences"] >= least[places]) & (found["peak_heights"] >= least[places])
    places = places[real]
    if not places.size:
        return ()
    prominence = found["prominences"][real]
    bases = (prominence, found["left_bases"][real], found["right_bases"][real])
    pixels = scipy.signal.peak_widths(above, places, rel_height=0.5, prominence_data=bases)[0]
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
