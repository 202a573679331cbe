"""Bands of wavelength, and the signal and the saturation inside them.

A band's signal is the SUM OF COUNTS over its pixels, not counts times nanometres: its noise is that of the
pixels, no interpolation enters, and for one spectrometer the two differ by the pitch only. Signals of
different spectrometers are not comparable in either unit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.spectra.background import Continuum, fit_continuum, spectrum_noise
from labctl.model import pump

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Band:
    """A named range of wavelength, both ends included.

    :param low_nm: shortest wavelength, nm, below ``high_nm``.
    :param high_nm: longest wavelength, nm.
    :param name: what errors call it.
    :raises ValueError: an end is not finite, or low is not below high.
    """

    low_nm: float
    high_nm: float
    name: str

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low_nm) and np.isfinite(self.high_nm) and self.low_nm < self.high_nm):
            raise ValueError(
                f"band {self.name!r}: low_nm {self.low_nm} must lie below high_nm {self.high_nm}"
            )


@dataclass(frozen=True, slots=True)
class Bands:
    """The two bands of a sweep: the whole emission, and the shoulder where lasing peaks appear.

    :param whole: what the signal is integrated over.
    :param peaks: where lasing peaks are looked for.
    """

    whole: Band = Band(495.0, 565.0, "whole emission")
    peaks: Band = Band(525.0, 560.0, "lasing peaks")


def bands_of(bands: pump.Bands) -> Bands:
    """Return the bands of a run as the reduction takes them.

    :raises ValueError: an end is not finite, or low is not below high.
    """
    return Bands(Band(*bands.emission_nm, "whole emission"), Band(*bands.lasing_nm, "lasing peaks"))


def band_mask(wavelength_nm: Floats, band: Band) -> Bools:
    """True for the pixels whose centre lies in the band, shape ``(pixel,)``."""
    return np.asarray((wavelength_nm >= band.low_nm) & (wavelength_nm <= band.high_nm), dtype=np.bool_)


def band_slice(wavelength_nm: Floats, band: Band) -> slice:
    """Return the pixels of the band as a slice; ``wavelength_nm`` must rise.

    :raises ValueError: no pixel lies in the band.
    """
    first, last = np.searchsorted(wavelength_nm, (band.low_nm, band.high_nm), side="left")
    last += int(last < wavelength_nm.size and wavelength_nm[last] == band.high_nm)
    if last <= first:
        raise ValueError(
            f"band {band.name!r} ({band.low_nm:g}-{band.high_nm:g} nm) holds no pixel of a spectrometer "
            f"that sees {wavelength_nm[0]:g}-{wavelength_nm[-1]:g} nm"
        )
    return slice(int(first), int(last))


def integrate_band(wavelength_nm: Floats, counts: Floats, band: Band) -> float:
    """Sum of counts over the pixels of the band (see the module: counts, not counts times nm).

    :param counts: dark-subtracted counts, shape ``(pixel,)``; pixels that are not finite make the sum nan.
    """
    return float(np.sum(counts[band_mask(wavelength_nm, band)]))


def lasing_band_signal(
    wavelength_nm: Floats,
    counts: Floats,
    band: Band,
    *,
    whole: Band | None = None,
    noise: Floats | None = None,
) -> float:
    """Light in narrow peaks above the smooth luminescence, counts summed over the pixels of ``band``.

    Zero on average where there is no peak, and of either sign. Wings that neighbouring peaks share count as
    smooth.

    :param counts: dark-subtracted spectrum, shape ``(pixel,)``.
    :param whole: the emission in which the smooth luminescence is fitted; the whole spectrum by default.
    :param noise: white noise of each pixel, counts, shape ``(pixel,)``; estimated from the spectrum by
        default.
    """
    inside = slice(None) if whole is None else band_slice(wavelength_nm, whole)
    noise = spectrum_noise(counts) if noise is None else noise
    fitted = fit_continuum(wavelength_nm[inside], counts[inside], noise[inside])
    return float(PeakSignal(fitted, band_mask(wavelength_nm[inside], band))(counts[None, inside])[0])


class PeakSignal:
    """The linear form behind ``lasing_band_signal``: the same for all exposures, so that their scatter is its
    error.

    :param continuum: fitted on the mean spectrum, which decides what counts as smooth.
    :param inside: pixels of the band, shape ``(pixel,)`` of the continuum.
    """

    def __init__(self, continuum: Continuum, inside: Bools) -> None:
        self._continuum, self._inside = continuum, inside
        self._bin_weights = continuum.sum_over(inside)

    @property
    def norm(self) -> float:
        """Root of the sum of the squared pixel weights: what white noise of one pixel is multiplied by."""
        weights = self._inside.astype(np.float64)
        binned = np.repeat(self._bin_weights / self._continuum.bin_pixels, self._continuum.bin_pixels)
        weights[: binned.size] -= binned
        return float(np.sqrt(np.sum(weights**2)))

    def __call__(self, frames: Floats) -> Floats:
        """Return the signal of each of ``frames`` ``(exposure, pixel)``, counts, shape ``(exposure,)``."""
        total = frames[:, self._inside].sum(axis=1)
        return np.asarray(total - self._continuum.bin_means(frames) @ self._bin_weights, dtype=np.float64)


def saturated_pixels(raw_counts: Floats, level: float) -> Bools:
    """True where RAW counts (any shape) reach ``level``, the count at which the detector or its converter
    clips."""
    return np.asarray(raw_counts >= level, dtype=np.bool_)


def saturated_in(raw_counts: Floats, level: float, mask: Bools, margin_pixels: int = 0) -> Bools:
    """Tell whether RAW counts reach ``level`` inside a band or within ``margin_pixels`` of it.

    Judged before averaging and before the dark is subtracted: an average of clipped frames looks sound. Light
    elsewhere, such as the pump's, does not count.

    :param raw_counts: shape ``(pixel,)`` or ``(exposure, pixel)``.
    :param mask: True inside the bands, shape ``(pixel,)``.
    :returns: one verdict for each exposure: shape ``()`` (usable as a bool) or ``(exposure,)``.
    """
    watched = np.asarray(mask, dtype=np.bool_)
    if margin_pixels > 0 and watched.any():
        kernel = np.ones(2 * margin_pixels + 1)
        middle = slice(margin_pixels, margin_pixels + watched.size)
        watched = np.convolve(watched.astype(np.float64), kernel)[middle] > 0.5
    return np.asarray((raw_counts[..., watched] >= level).any(axis=-1), dtype=np.bool_)
