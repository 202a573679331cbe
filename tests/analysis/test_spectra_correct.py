"""Dark, nonlinearity, spikes, hot pixels, baseline."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_spectra_scene import below, make

from labctl.analysis.spectra.reduce import (
    clip_level,
    correct_nonlinearity,
    hot_pixels,
    mend_pixels,
    remove_spikes,
    subtract_dark,
)


def test_a_dark_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        subtract_dark(np.ones((3, 10)), np.ones(9))


def test_one_dark_is_subtracted_from_every_exposure() -> None:
    assert subtract_dark(np.full((2, 3), 5.0), np.array([1.0, 2.0, 3.0])).tolist() == [[4, 3, 2], [4, 3, 2]]


@given(st.floats(-3e-6, 3e-6), st.floats(-1000, 60000))
def test_the_nonlinearity_of_a_first_order_detector_is_undone(slope: float, true_counts: float) -> None:
    measured = true_counts / (1 - slope * true_counts)  # obeys measured = true * (1 + slope * measured)
    corrected = correct_nonlinearity(np.array([measured]), (1.0, slope))
    assert corrected[0] == pytest.approx(true_counts, rel=1e-9, abs=1e-9)


@given(st.lists(st.floats(-0.02, 0.02), min_size=1, max_size=7), st.floats(0, 1))
def test_all_orders_of_the_polynomial_are_used(orders: list[float], counts: float) -> None:
    coefficients = [1.0, *orders]
    response = sum(c * counts**i for i, c in enumerate(coefficients))
    assert correct_nonlinearity(np.array([counts]), coefficients)[0] == pytest.approx(counts / response)


def test_outside_the_range_of_the_polynomial_there_is_no_number() -> None:
    assert np.isnan(correct_nonlinearity(np.array([2000.0]), (1.0, -1e-3))).all()


def test_no_coefficients_mean_a_linear_detector() -> None:
    assert correct_nonlinearity(np.array([3.0]), ()).tolist() == [3.0]


@pytest.mark.parametrize("fine", [True, False])
@pytest.mark.parametrize("shot_cv", [0.05, 0.4])
def test_modes_that_fluctuate_are_no_spikes(fine: bool, shot_cv: float) -> None:
    for seed in range(8):
        frames = make(seed, fine=fine, shot_cv=shot_cv).frames
        cleaned, records = remove_spikes(frames, line_fwhm_pixels=5.0 if fine else 3.25)
        assert records == ()
        assert cleaned is frames


@pytest.mark.parametrize("n_exposures", [1, 2, 3, 10])
def test_a_spike_is_taken_out_and_recorded(n_exposures: int) -> None:
    frames = make(4, n_exposures=n_exposures).frames
    hit = frames.copy()
    hit[0, 600:602] += (4000.0, 2500.0) if n_exposures > 2 else (4000.0, 0.0)
    cleaned, records = remove_spikes(hit)
    assert {(r.frame, r.pixel) for r in records} == {(0, 600), (0, 601)} if n_exposures > 2 else {(0, 600)}
    assert np.abs(cleaned - frames).max() < 500
    for r in records:
        assert cleaned[r.frame, r.pixel] + r.removed_counts == pytest.approx(hit[r.frame, r.pixel])


def test_a_spike_on_a_bright_mode_leaves_the_mode() -> None:
    frames = make(1).frames
    top = int(np.argmax(frames.mean(axis=0)))
    hit = frames.copy()
    hit[3, top] += 20000.0
    cleaned, records = remove_spikes(hit)
    assert [(r.frame, r.pixel) for r in records] == [(3, top)]
    assert cleaned[3, top] == pytest.approx(frames[3, top], rel=0.03)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_noise_holds_no_spikes(seed: int) -> None:
    assert remove_spikes(below(seed, 300.0))[1] == ()


def test_a_single_spectrum_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        remove_spikes(np.zeros(100))


def test_hot_and_restless_pixels_are_found_and_mended() -> None:
    rng = np.random.default_rng(0)
    darks = 1500 + rng.normal(0, 10, (40, 500)) + np.linspace(0, 50, 500)
    darks[:, 77] += 300
    darks[:, 400] += rng.normal(0, 150, 40)
    assert np.flatnonzero(hot_pixels(darks)).tolist() == [77, 400]
    mended = mend_pixels(darks, hot_pixels(darks))
    assert abs(mended[:, 77].mean() - darks[:, 70:85].mean(axis=1).mean()) < 30
    with pytest.raises(ValueError, match="every pixel"):
        mend_pixels(np.ones(3), np.ones(3, dtype=np.bool_))


def test_a_flat_top_is_found_and_noise_is_none() -> None:
    """Counts are whole numbers, so that neighbours may well be equal; three on the very highest are not."""
    rng = np.random.default_rng(4)
    x = np.arange(2000.0)
    light = 3000.0 * np.exp(-(((x - 700) / 200) ** 2)) + 20_000.0 * np.exp(-(((x - 900) / 3) ** 2))
    for _ in range(200):
        counts = np.round(1000.0 + light + np.sqrt(light / 3 + 100) * rng.standard_normal((5, x.size)))
        assert clip_level(counts) == np.inf
        assert clip_level(np.minimum(counts, 15_000.0)) == 15_000.0
    assert clip_level(np.full((5, 100), 1200.0)) == np.inf
