"""Widths of the whole emission."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_spectra_scene import COARSE_NM, FINE_NM, below, luminescence, make

from labctl.analysis.spectra.width import equivalent_width, fwhm, widths

Measure = Callable[[np.ndarray, np.ndarray], float | None]
GAUSS_AREA = 1.0644670194  # area of a Gaussian of unit height and FWHM


@pytest.mark.parametrize("fine", [True, False])
@pytest.mark.parametrize(("height", "error_nm"), [(100.0, 0.8), (1000.0, 0.25), (50000.0, 0.06)])
def test_fwhm_of_luminescence(height: float, error_nm: float, fine: bool) -> None:
    at_nm = FINE_NM if fine else COARSE_NM
    found = [fwhm(at_nm, below(seed, height, fine=fine).mean(axis=0)) for seed in range(20)]
    values = np.array([np.nan if f is None else f for f in found])
    assert abs(values.mean() - 25.0) < (error_nm if fine else 3 * error_nm)
    assert values.std() < 2 * error_nm * (1 if fine else 3)


def test_both_measures_of_a_gaussian() -> None:
    at_nm, light = COARSE_NM, luminescence(COARSE_NM, 1000.0)
    assert equivalent_width(at_nm, light) == pytest.approx(25 * GAUSS_AREA, rel=3e-3)
    assert fwhm(at_nm, light) == pytest.approx(25.0, rel=2e-3)


def test_the_top_is_where_the_emission_is() -> None:
    assert widths(FINE_NM, below(0, 3000.0).mean(axis=0))[2] == pytest.approx(525.0, abs=0.3)


@pytest.mark.parametrize("measure", [fwhm, equivalent_width])
def test_noise_has_no_width(measure: Measure) -> None:
    found = [measure(FINE_NM, below(seed, 0.0).mean(axis=0)) for seed in range(60)]
    assert found == [None] * 60


@pytest.mark.parametrize("measure", [fwhm, equivalent_width])
@settings(max_examples=25, deadline=None)
@given(places=st.sets(st.integers(5, 2130), min_size=1, max_size=4), height=st.floats(100, 30000))
def test_single_hot_pixels_change_no_width(measure: Measure, places: set[int], height: float) -> None:
    light = below(7, 1000.0).mean(axis=0)
    hot = light.copy()
    hot[[p for p in places if p + 1 not in places and p + 2 not in places]] += height
    clean, found = measure(FINE_NM, light), measure(FINE_NM, hot)
    assert clean is not None
    assert found == pytest.approx(clean, rel=0.02)


def test_the_width_collapses_to_one_peak_above_threshold() -> None:
    truth = make(2, background=0.05, n_modes=1)
    assert fwhm(FINE_NM, truth.frames.mean(axis=0)) == pytest.approx(0.47, abs=0.04)


def test_an_emission_cut_off_by_the_detector_has_no_fwhm() -> None:
    inside = FINE_NM > 522
    full, equivalent, _ = widths(FINE_NM[inside], luminescence(FINE_NM, 1000.0)[inside])
    assert full is None
    assert equivalent is not None


@pytest.mark.parametrize("counts", [np.full(2136, np.nan), np.zeros(2136)])
def test_no_light_has_no_width(counts: np.ndarray) -> None:
    assert widths(FINE_NM, counts) == (None, None, None)
