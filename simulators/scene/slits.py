"""What a spectrometer makes of a narrow line: its own shape, the slit and the pixel."""

from __future__ import annotations

import math

import numpy as np

from labctl.model.records import FloatArray
from simulators.scene.settings import LineShape, SlitShape

LN2 = math.log(2.0)


def line(offset_nm: FloatArray, fwhm_nm: float, shape: LineShape) -> FloatArray:
    """Return a line of unit area: Gaussian, or half Gaussian and half Lorentzian of the same FWHM."""
    x = 2.0 * offset_nm / fwhm_nm
    gauss = np.exp(-LN2 * x * x) * (2.0 / fwhm_nm * math.sqrt(LN2 / math.pi))
    if shape == "gaussian":
        return gauss
    return 0.5 * gauss + 0.5 * (2.0 / (math.pi * fwhm_nm)) / (1.0 + x * x)


def slit(offset_nm: FloatArray, fwhm_nm: float, shape: SlitShape) -> FloatArray:
    """Return a slit function of the given FWHM, not normalised; "skewed" has a coma tail and a flat head."""
    x = 2.0 * offset_nm / fwhm_nm
    if shape == "gaussian":
        return np.exp(-LN2 * x * x)
    left, right = (
        np.exp(-LN2 * (np.abs(x) / 0.7) ** 3),
        0.85 * np.exp(-LN2 * (np.abs(x) / 1.3)) + 0.15 / (1 + x * x),
    )
    return np.where(x < 0.0, left, right)


class Profile:
    """A line as the detector sees it, tabulated against the distance from its centre.

    :param pixel_nm: width of a pixel; values are per nm, of unit area.
    """

    def __init__(
        self, fwhm_nm: float, shape: LineShape, slit_nm: float, slit_shape: SlitShape, pixel_nm: float
    ) -> None:
        n = 4096
        # Gaussians are over within a few widths; the wings of the other shapes are kept further out.
        widths = 4.0 if (shape, slit_shape) == ("gaussian", "gaussian") else 12.0
        reach = widths * math.hypot(fwhm_nm, slit_nm, pixel_nm)
        self.offset_nm = np.linspace(-reach, reach, n)
        step = self.offset_nm[1] - self.offset_nm[0]
        opening = slit(self.offset_nm, slit_nm, slit_shape)
        box = (np.abs(self.offset_nm) <= 0.5 * pixel_nm).astype(float)
        spectrum = np.fft.rfft(line(self.offset_nm, fwhm_nm, shape), 4 * n)
        for part in (opening / opening.sum(), box / box.sum()):
            spectrum *= np.fft.rfft(part, 4 * n)
        whole = np.fft.irfft(spectrum, 4 * n)
        # Three arrays centred at (n - 1)/2 each: the sum of the offsets is where the centre went.
        start = n - 1
        self.density = np.maximum(whole[start : start + n], 0.0)
        self.density /= self.density.sum() * step

    def at(self, offset_nm: FloatArray) -> FloatArray:
        """Return the density per nm at distances from the line's centre; zero beyond the table."""
        return np.interp(offset_nm, self.offset_nm, self.density, left=0.0, right=0.0)

    @property
    def reach_nm(self) -> float:
        """Distance beyond which the table ends."""
        return float(self.offset_nm[-1])
