"""Bands, and the light in peaks."""

import numpy as np
import pytest
from test_spectra_scene import FINE_NM, below, luminescence, make

from labctl.analysis.spectra.background import fit_continuum, spectrum_noise
from labctl.analysis.spectra.bands import Band, PeakSignal, band_mask, band_slice

PEAKS = Band(525.0, 560.0, "lasing peaks")
IN_PEAKS = band_mask(FINE_NM, PEAKS)


def in_peaks(counts: np.ndarray) -> float:
    continuum = fit_continuum(FINE_NM, counts, spectrum_noise(counts))
    return float(PeakSignal(continuum, IN_PEAKS)(counts[None])[0])


@pytest.mark.parametrize(("low", "high"), [(530.0, 520.0), (530.0, 530.0), (float("nan"), 530.0)])
def test_a_band_must_rise(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="must lie below"):
        Band(low, high, "wrong")


def test_both_ends_belong_to_the_band() -> None:
    at_nm = np.array([500.0, 501.0, 502.0, 503.0])
    band = Band(501.0, 502.0, "two")
    assert np.flatnonzero(band_mask(at_nm, band)).tolist() == [1, 2]
    assert band_slice(at_nm, band) == slice(1, 3)


def test_a_band_the_spectrometer_does_not_see_is_an_error() -> None:
    with pytest.raises(ValueError, match="contains no pixel"):
        band_slice(FINE_NM, Band(700.0, 800.0, "pump"))


def test_luminescence_alone_has_no_light_in_peaks() -> None:
    signals = [in_peaks(below(seed).mean(axis=0)) for seed in range(40)]
    whole = luminescence(FINE_NM, 500.0)[IN_PEAKS].sum()
    assert abs(np.mean(signals)) < 4 * np.std(signals, ddof=1) / np.sqrt(40)
    assert np.std(signals) < 1e-3 * whole


def test_light_in_peaks_is_found_and_grows_with_them() -> None:
    truth = make(3, background=0.2)
    light = truth.frames.mean(axis=0)
    under = luminescence(FINE_NM, 0.2 * 35000)
    true = (light - under)[IN_PEAKS].sum()
    found = in_peaks(light)
    twice = in_peaks(under + 2 * (light - under))
    assert 0.75 * true < found < 1.02 * true
    assert twice == pytest.approx(2 * found, rel=0.03)
