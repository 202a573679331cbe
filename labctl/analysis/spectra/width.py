"""Width of the whole emission, by named measures.

Each measure first takes out single hot pixels (a median over a few pixels, narrower than the slit) and
smooths no more than the noise asks for, so that a lasing peak keeps its width when there is light enough to
see it. A spectrum without emission above its noise has no width: the answer is None.
"""

import math

import numpy as np
import scipy
from numpy.typing import NDArray

from labctl.analysis.spectra.background import spectrum_noise

Floats = NDArray[np.float64]

_EMISSION_SIGMA = 8.0
_PEAK_SNR = 30.0
_SMOOTHING_NM = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.0)


class _Smoothed:
    """A spectrum smoothed as much as its noise asks for; ``sigma`` is the noise that is left at the peak."""

    def __init__(self, wavelength_nm: Floats, counts: Floats, noise: Floats | None) -> None:
        self.wavelength_nm = wavelength_nm
        self.pitch_nm = float(wavelength_nm[-1] - wavelength_nm[0]) / max(wavelength_nm.size - 1, 1)
        window = 5 if self.pitch_nm < 0.06 else 3
        self.clean = scipy.ndimage.median_filter(counts, window, mode="nearest")
        # A running median of m pixels keeps about sqrt(pi/2/m) of the noise, correlated over m pixels.
        self._noise = spectrum_noise(counts) if noise is None else noise
        self._window = window
        self.counts, self.sigma, self.index, self.peak = self.clean, 0.0, 0, 0.0
        self.emits = self._choose()

    def _choose(self) -> bool:
        """Take the least smoothing that leaves a clear peak; False when even the most leaves none."""
        for smoothing_nm in _SMOOTHING_NM:
            width = max(round(smoothing_nm / self.pitch_nm) | 1, 1)
            if smoothing_nm and width <= 1:
                continue
            # Reflected ends, because repeating the last pixel would let its noise stand for half a window.
            self.counts = (
                scipy.ndimage.uniform_filter1d(self.clean, width, mode="reflect") if width > 1 else self.clean
            )
            self.index = int(np.argmax(self.counts))
            self.peak = float(self.counts[self.index])
            self.sigma = float(self._noise[self.index]) * math.sqrt(math.pi / 2 / max(width, self._window))
            if self.peak > _PEAK_SNR * self.sigma:
                return True
        return self.peak > _EMISSION_SIGMA * self.sigma


def fwhm(wavelength_nm: Floats, counts: Floats, *, noise: Floats | None = None) -> float | None:
    """Full width at half maximum around the highest point, nm.

    The width of the contiguous part above half of the maximum: it collapses to one peak's width once a lasing
    peak stands twice above the luminescence. None without emission, or when a side never falls to half inside
    the range.

    :param wavelength_nm: rising, nm, shape ``(pixel,)``.
    :param counts: dark-subtracted counts, shape ``(pixel,)``.
    :param noise: one sigma of each pixel, counts, shape ``(pixel,)``; from the spectrum by default.
    """
    measured = widths(wavelength_nm, counts, noise=noise)
    return measured[0]


def equivalent_width(wavelength_nm: Floats, counts: Floats, *, noise: Floats | None = None) -> float | None:
    """Integral over maximum, nm: the width of a rectangle as high and as bright as the emission.

    :param wavelength_nm: rising, nm, shape ``(pixel,)``.
    :param counts: dark-subtracted counts, shape ``(pixel,)``.
    :param noise: one sigma of each pixel, counts, shape ``(pixel,)``; from the spectrum by default.
    """
    return widths(wavelength_nm, counts, noise=noise)[1]


def widths(
    wavelength_nm: Floats, counts: Floats, *, noise: Floats | None = None
) -> tuple[float | None, float | None, float | None]:
    """FWHM (nm), equivalent width (nm) and wavelength of the highest point (nm) in one go."""
    if counts.size < 8 or not np.isfinite(counts).all():
        return None, None, None
    smooth = _Smoothed(wavelength_nm, counts, noise)
    if not smooth.emits:
        return None, None, None
    top, at_nm = _top(smooth)
    left = _crossing(smooth, 0.5 * top, -1)
    right = _crossing(smooth, 0.5 * top, +1)
    full = right - left if left is not None and right is not None else None
    area = float(np.sum(smooth.clean)) * smooth.pitch_nm
    return full, (area / top if area > 0 else None), at_nm


def _top(smooth: _Smoothed) -> tuple[float, float]:
    """Height and place of the maximum from a parabola through the points above 85 % of it.

    The highest of many noisy points is too high; a parabola through all points near the top is not.
    """
    low, high = smooth.index, smooth.index
    floor = 0.85 * smooth.peak
    below = np.flatnonzero(smooth.counts < floor)
    place = int(np.searchsorted(below, smooth.index))
    low = int(below[place - 1]) + 1 if place else 0
    high = int(below[place]) if place < below.size else smooth.counts.size
    at_peak = float(smooth.wavelength_nm[smooth.index])
    if high - low < 5:
        return smooth.peak, at_peak
    x = smooth.wavelength_nm[low:high] - at_peak
    c2, c1, c0 = np.polyfit(x, smooth.clean[low:high], 2)
    if not c2 < 0:
        return smooth.peak, at_peak
    vertex = -c1 / (2 * c2)
    if not x[0] <= vertex <= x[-1]:
        return smooth.peak, at_peak
    return float(c0 - c1**2 / (4 * c2)), at_peak + float(vertex)


def _crossing(smooth: _Smoothed, half: float, side: int) -> float | None:
    """Wavelength where the emission falls to ``half``, going out from its peak to one side.

    The crossing is surely behind once the curve lies 2 sigma below half; between that point and the last one
    2 sigma above, a straight line through the points is solved for half. Noise at half height so neither
    starts nor biases it.
    """
    values = smooth.counts[smooth.index :] if side > 0 else smooth.counts[smooth.index :: -1]
    places = smooth.wavelength_nm[smooth.index :] if side > 0 else smooth.wavelength_nm[smooth.index :: -1]
    under = np.flatnonzero(values < half - min(2.0 * smooth.sigma, 0.25 * half))
    if not under.size:
        return None
    last = int(under[0])
    over = np.flatnonzero(values[: last + 1] > half + min(2.0 * smooth.sigma, 0.25 * half))
    first = int(over[-1]) if over.size else 0
    if last - first < 4:
        first = last - 1 - int(np.argmax(values[last - 1 :: -1] >= half))
        a, b = float(values[first]), float(values[first + 1])
        return float(places[first] + (places[first + 1] - places[first]) * (a - half) / (a - b))
    x = places[first : last + 1] - places[first]
    slope, offset = np.polyfit(x, values[first : last + 1], 1)
    solved = (half - offset) / slope if slope * side < 0 else 0.5 * x[-1]
    return float(places[first] + np.clip(solved, min(x[0], x[-1]), max(x[0], x[-1])))
