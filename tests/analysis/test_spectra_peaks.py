"""Finding peaks."""

import numpy as np
import pytest
from test_spectra_scene import COARSE_NM, FINE_NM, below, luminescence, make

from labctl.analysis.spectra.peaks import find_peaks


@pytest.mark.parametrize("height", [0.0, 30.0, 1000.0, 40000.0])
def test_luminescence_has_no_peaks(height: float) -> None:
    found = [find_peaks(FINE_NM, below(seed, height).mean(axis=0)) for seed in range(25)]
    assert found == [()] * 25


def test_peaks_are_where_the_modes_are() -> None:
    for seed in range(10):
        truth = make(seed, n_modes=8)
        found = find_peaks(truth.wavelength_nm, truth.frames.mean(axis=0), resolution_nm=0.15)
        assert len(found) >= 5
        for peak in found:
            assert np.min(np.abs(truth.centres_nm - peak.wavelength_nm)) < 0.12


def test_a_lone_peak_is_measured() -> None:
    truth = make(0, n_modes=1, shape="gaussian", shot_cv=0.01)
    (peak,) = find_peaks(truth.wavelength_nm, truth.frames.mean(axis=0), resolution_nm=0.15)
    assert peak.wavelength_nm == pytest.approx(float(truth.centres_nm[0]), abs=0.01)
    assert peak.fwhm_nm == pytest.approx(np.hypot(0.41, 0.15), rel=0.06)
    assert peak.prominence_sigma > 50


def test_two_peaks_are_seen_by_the_coarse_instrument() -> None:
    rng = np.random.default_rng(0)
    lines = sum(np.exp(-0.5 * ((COARSE_NM - c) / 0.57) ** 2) for c in (535.0, 541.0))
    light = luminescence(COARSE_NM, 2000.0) + 9000 * np.asarray(lines) + rng.normal(0, 30, COARSE_NM.size)
    assert [round(p.wavelength_nm) for p in find_peaks(COARSE_NM, light, resolution_nm=1.3)] == [535, 541]


def test_a_hot_pixel_is_no_peak() -> None:
    light = below(1, 3000.0).mean(axis=0)
    light[900] += 20000.0
    assert find_peaks(FINE_NM, light) == ()


def test_too_few_or_broken_pixels_have_no_peaks() -> None:
    assert find_peaks(FINE_NM[:10], np.ones(10)) == ()
    assert find_peaks(FINE_NM, np.full(FINE_NM.size, np.nan)) == ()
