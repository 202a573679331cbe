"""Made-up spectra with a known truth, for the tests of spectral analysis; and a test that they are what they
say."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]

FINE_NM: Floats = 500.0 + 0.03 * np.arange(2136, dtype=np.float64)
COARSE_NM: Floats = 340.0 + 0.4 * np.arange(1044, dtype=np.float64)


@dataclass(frozen=True)
class Truth:
    """A spectrometer looking at luminescence and modes."""

    wavelength_nm: Floats
    resolution_nm: float
    centres_nm: Floats
    fwhm_nm: float
    frames: Floats  # dark-subtracted counts (exposure, pixel)


def line(x: Floats, fwhm_nm: float, slit_nm: float, shape: str) -> Floats:
    """A mode of unit area seen through a Gaussian slit."""
    if shape == "gaussian":
        s = np.hypot(fwhm_nm, slit_nm) / 2.354820045
        return np.asarray(np.exp(-0.5 * (x / s) ** 2) / (s * np.sqrt(2 * np.pi)))
    if shape == "mixed":  # half Gaussian, half Lorentzian of one FWHM
        return 0.5 * (line(x, fwhm_nm, slit_nm, "gaussian") + line(x, fwhm_nm, slit_nm, "lorentzian"))
    return np.asarray(special.voigt_profile(x, slit_nm / 2.354820045, fwhm_nm / 2))


def luminescence(wavelength_nm: Floats, height: float = 1.0) -> Floats:
    return np.asarray(height * np.exp(-4 * np.log(2) * ((wavelength_nm - 525.0) / 25.0) ** 2))


def make(
    seed: int,
    *,
    fwhm_nm: float = 0.41,
    shape: str = "lorentzian",
    fine: bool = True,
    n_exposures: int = 10,
    n_modes: int = 12,
    peak_counts: float = 35000.0,
    background: float = 0.25,
    shot_cv: float = 0.05,
    gain: float = 0.7,
    read_counts: float = 15.0,
    chaotic: bool = False,
) -> Truth:
    """Modes 0.6-1.5 nm apart on a broad background, weights that vary from exposure to exposure."""
    rng = np.random.default_rng(seed)
    wavelength_nm, slit = (FINE_NM, 0.15) if fine else (COARSE_NM, 1.3)

    def positions() -> Floats:
        return np.asarray(533.0 + rng.uniform(0, 2) + np.cumsum(rng.uniform(0.6, 1.5, n_modes)))

    centres, weights = positions(), rng.gamma(1.5, 1.0, n_modes) + 0.05
    frames = np.empty((n_exposures, wavelength_nm.size))
    for i in range(n_exposures):
        if chaotic and i:
            centres, weights = positions(), rng.gamma(1.5, 1.0, n_modes) + 0.05
        now = weights * rng.gamma(1 / shot_cv**2, shot_cv**2, n_modes)
        frames[i] = sum(
            w * line(wavelength_nm - c, fwhm_nm, slit, shape) for w, c in zip(now, centres, strict=True)
        )
    frames *= (1 - background) * peak_counts / frames.max()
    frames += luminescence(wavelength_nm, background * peak_counts) * rng.normal(1, 0.01, (n_exposures, 1))
    frames = gain * rng.poisson(np.maximum(frames, 0) / gain) + rng.normal(0, read_counts, frames.shape)
    return Truth(wavelength_nm, slit, centres, fwhm_nm, frames)


def below(
    seed: int, height: float = 500.0, *, n_exposures: int = 10, fine: bool = True, read: float = 15.0
) -> Floats:
    """Frames of luminescence alone, dark-subtracted counts."""
    rng = np.random.default_rng(seed)
    mean = luminescence(FINE_NM if fine else COARSE_NM, height) * rng.normal(1, 0.02, (n_exposures, 1))
    return np.asarray(rng.poisson(mean) + rng.normal(0, read, mean.shape), dtype=np.float64)


def test_the_lines_of_the_scene_have_unit_area_and_the_width_they_claim() -> None:
    x = np.linspace(-60, 60, 240001)
    for shape in ("gaussian", "lorentzian"):
        y = line(x, 0.41, 0.0 if shape == "gaussian" else 1e-6, shape)
        assert np.sum(y) * (x[1] - x[0]) == pytest.approx(1, abs=0.003)
        assert np.ptp(x[y > y.max() / 2]) == pytest.approx(0.41, abs=0.002)
