"""Widths of the whole emission."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_spectra_scene import COARSE_NM, FINE_NM, below, luminescence, make

from labctl.analysis.spectra.width import WidthMeasure, emission_width, fwhm, share_width, widths

GAUSS_AREA = 1.0644670194  # area of a Gaussian of unit height and FWHM


@pytest.mark.parametrize("fine", [True, False])
@pytest.mark.parametrize(("height", "error_nm"), [(100.0, 0.8), (1000.0, 0.25), (50000.0, 0.06)])
def test_fwhm_of_luminescence(height: float, error_nm: float, fine: bool) -> None:
    at_nm = FINE_NM if fine else COARSE_NM
    found = [fwhm(at_nm, below(seed, height, fine=fine).mean(axis=0)) for seed in range(20)]
    values = np.array([np.nan if f is None else f for f in found])
    assert abs(values.mean() - 25.0) < (error_nm if fine else 3 * error_nm)
    assert values.std() < 2 * error_nm * (1 if fine else 3)


def test_the_other_measures_of_a_gaussian() -> None:
    at_nm, light = COARSE_NM, luminescence(COARSE_NM, 1000.0)
    assert emission_width(at_nm, light, "equivalent") == pytest.approx(25 * GAUSS_AREA, rel=3e-3)
    assert emission_width(at_nm, light, "share", share=0.7610) == pytest.approx(25.0, rel=5e-3)
    assert emission_width(at_nm, light, "fwhm") == pytest.approx(25.0, rel=2e-3)


def test_the_top_is_where_the_emission_is() -> None:
    assert widths(FINE_NM, below(0, 3000.0).mean(axis=0))[2] == pytest.approx(525.0, abs=0.3)


@pytest.mark.parametrize("measure", ["fwhm", "equivalent", "share"])
def test_noise_has_no_width(measure: WidthMeasure) -> None:
    found = [emission_width(FINE_NM, below(seed, 0.0).mean(axis=0), measure) for seed in range(60)]
    assert found == [None] * 60


@pytest.mark.parametrize("measure", ["fwhm", "equivalent", "share"])
@settings(max_examples=25, deadline=None)
@given(places=st.sets(st.integers(5, 2130), min_size=1, max_size=4), height=st.floats(100, 30000))
def test_single_hot_pixels_change_no_width(measure: WidthMeasure, places: set[int], height: float) -> None:
    light = below(7, 1000.0).mean(axis=0)
    hot = light.copy()
    hot[[p for p in places if p + 1 not in places and p + 2 not in places]] += height
    clean, found = emission_width(FINE_NM, light, measure), emission_width(FINE_NM, hot, measure)
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
    assert share_width(FINE_NM, counts) is None


def test_unknown_measures_and_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown measure"):
        emission_width(FINE_NM, luminescence(FINE_NM), "half")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="share"):
        share_width(FINE_NM, luminescence(FINE_NM), share=1.0)
