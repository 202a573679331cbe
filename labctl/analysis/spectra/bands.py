"""Bands of wavelength, and the signal and the saturation inside them.

A band's signal is the SUM OF COUNTS over its pixels, not counts times nanometres: its noise is that of the
pixels, no interpolation enters, and for one spectrometer the two differ by the pitch only. Signals of
different spectrometers are not comparable in either unit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.spectra.background import Continuum
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
            f"band {band.name!r} ({band.low_nm:g}-{band.high_nm:g} nm) contains no pixel of the "
            f"spectrometer, which covers {wavelength_nm[0]:g}-{wavelength_nm[-1]:g} nm"
        )
    return slice(int(first), int(last))


class PeakSignal:
    """Light in narrow peaks above the smooth luminescence, summed over a band: zero on average without peaks.

    A linear form, the same for all exposures, so that their scatter is its error. Wings that neighbouring
    peaks share count as smooth.

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
