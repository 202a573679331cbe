"""Data that mislead a plain fit: each must end in a status, a reason and a count, never in an exception."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from labctl.analysis.threshold import ThresholdResult, fit_threshold, peak_onset, width_collapse

Array = NDArray[np.float64]
ONSET_UJ_CM2 = 257.34


def curve(fluence: Array, contrast: float = 20.0) -> Array:
    u = fluence / ONSET_UJ_CM2
    return np.asarray(100.0 + 300.0 * u**2 + 300.0 * contrast * np.maximum(u - 1.0, 0.0))


def sweep(low: float, high: float, n: int, seed: int, noise: float = 0.04) -> tuple[Array, Array]:
    fluence = ONSET_UJ_CM2 * np.geomspace(low, high, n)
    return fluence, curve(fluence) * (1.0 + noise * np.random.default_rng(seed).standard_normal(n))


def covers(result: ThresholdResult) -> bool:
    return result.ci95 is not None and result.ci95[0] < ONSET_UJ_CM2 < result.ci95[1]


@pytest.mark.parametrize("seed", range(5))
def test_a_scan_that_ends_below_threshold_gives_a_lower_bound_and_no_number(seed: int) -> None:
    fluence, signal = sweep(0.2, 0.9, 20, seed)
    result = fit_threshold(fluence, signal)
    assert result.status == "not_found"
    assert result.threshold_uj_cm2 is None
    assert result.ci95 is None
    assert result.bound is not None
    assert result.bound[1] is None
    assert result.bound[0] == pytest.approx(fluence[-1])
    assert "no threshold below" in result.reason
    assert result.exponent == pytest.approx(2.0, abs=0.4)


def test_a_quiet_bench_that_wanders_a_little_has_no_threshold() -> None:
    """Neighbours err together, by 0.4 %: significant bends, none of which is a laser."""
    statuses = []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        u = np.geomspace(0.3, 0.95, 24)
        drift = rng.standard_normal()
        wander = np.array([drift := 0.7 * drift + 0.714 * rng.standard_normal() for _ in u])
        signal = 580.0 * u**2 * (1 + 0.004 * wander) * (1 + 0.0015 * rng.standard_normal(u.size))
        statuses.append(fit_threshold(80.0 * u, signal, fluence_sigma_rel=0.001).status)
    assert set(statuses) == {"not_found"}


@pytest.mark.parametrize("seed", range(5))
def test_a_scan_wholly_above_threshold_gives_an_upper_bound_only(seed: int) -> None:
    fluence, signal = sweep(1.15, 4.0, 20, seed)
    result = fit_threshold(fluence, signal)
    assert result.status == "below_range"
    assert result.threshold_uj_cm2 is None
    assert result.bound is not None
    assert result.bound[0] is None
    assert result.bound[1] == pytest.approx(fluence[0])


def test_exponent_intervals_below_threshold_hold_the_photon_order() -> None:
    held = 0
    for seed in range(20):
        interval = fit_threshold(*sweep(0.2, 0.9, 20, seed)).exponent_ci95
        held += interval is not None and interval[0] <= 2.0 <= interval[1]
    assert held >= 16


@pytest.mark.parametrize("seed", range(5))
def test_a_kink_at_the_last_points_gives_a_lower_bound(seed: int) -> None:
    fluence, signal = sweep(0.25, 1.06, 20, seed)
    result = fit_threshold(fluence, signal)
    assert result.status in ("above_range", "not_found")
    assert result.threshold_uj_cm2 is None
    assert result.bound is not None
    assert result.bound[0] is not None
    assert result.bound[0] <= ONSET_UJ_CM2 * 1.06001


@pytest.mark.parametrize("factor", [3.0, 0.2, 0.4, 2.5])
def test_a_gross_outlier_is_flagged_named_and_never_silent(factor: float) -> None:
    hits, covered, wider = 0, 0, []
    for seed in range(8):
        fluence, signal = sweep(0.3, 2.4, 24, seed, noise=0.05)
        clean = fit_threshold(fluence, signal)
        where = 5 + 2 * seed
        signal[where] *= factor
        result = fit_threshold(fluence, signal)
        hits += result.outliers == (where,) and "outlier" in result.flags
        covered += covers(result)
        assert result.n_points == 24
        if result.ci95 is not None and clean.ci95 is not None and result.outliers:
            wider.append(np.ptp(result.ci95) / np.ptp(clean.ci95))
    assert hits >= 5
    assert covered >= 7
    assert np.median(wider) > 1.0


def test_clean_data_have_no_outliers() -> None:
    flagged = sum("outlier" in fit_threshold(*sweep(0.3, 2.4, 20, seed)).flags for seed in range(40))
    assert flagged <= 2


def test_unusable_points_are_skipped_and_counted() -> None:
    fluence, signal = sweep(0.3, 2.4, 24, 1)
    bad_f = np.concatenate([fluence, [100.0, np.inf, -5.0, 120.0, np.nan]])
    bad_y = np.concatenate([signal, [np.nan, 1.0, 50.0, -np.inf, 3.0]])
    result = fit_threshold(bad_f, bad_y)
    assert result.skipped == {"not_finite": 4, "negative_fluence": 1}
    assert result.n_points == 24
    assert result.threshold_uj_cm2 == pytest.approx(fit_threshold(fluence, signal).threshold_uj_cm2, rel=1e-9)


def test_negative_counts_after_dark_subtraction_are_kept_and_counted() -> None:
    rng = np.random.default_rng(2)
    fluence = ONSET_UJ_CM2 * np.geomspace(0.1, 2.4, 24)
    signal = curve(fluence) - 100.0 + 8.0 * rng.standard_normal(24)
    signal[:2] = [-4.0, 0.0]
    result = fit_threshold(fluence, signal)
    assert result.kept["nonpositive_signal"] >= 2
    assert result.skipped == {}
    assert result.status == "found"
    assert covers(result)


def test_zero_fluence_duplicates_and_disorder_lose_nothing() -> None:
    fluence, signal = sweep(0.3, 2.4, 18, 3)
    fluence = np.concatenate([fluence, fluence[:6], [0.0, 0.0]])
    signal = np.concatenate([signal, signal[:6], [99.0, 104.0]])
    shuffled = np.random.default_rng(0).permutation(fluence.size)
    result = fit_threshold(fluence[shuffled], signal[shuffled])
    assert result.n_points == 26
    assert result.kept == {"zero_fluence": 2}
    assert result.status == "found"
    assert covers(result)


def test_replicates_that_contradict_the_fit_are_flagged_as_misfit() -> None:
    rng = np.random.default_rng(4)
    fluence = ONSET_UJ_CM2 * np.repeat(np.geomspace(0.3, 2.4, 9), 4)
    wiggle = 1.0 + 0.3 * np.sin(9.0 * np.log(fluence))
    signal = curve(fluence) * wiggle * (1.0 + 0.005 * rng.standard_normal(fluence.size))
    assert "misfit" in fit_threshold(fluence, signal).flags
    honest = curve(fluence) * (1.0 + 0.03 * rng.standard_normal(fluence.size))
    assert "misfit" not in fit_threshold(fluence, honest).flags


def test_an_up_and_down_sweep_that_bleaches_says_so() -> None:
    up, _ = sweep(0.3, 2.4, 16, 0)
    fluence = np.concatenate([up, up[::-1]])
    rng = np.random.default_rng(5)
    signal = curve(fluence) * (1.0 + 0.02 * rng.standard_normal(32))
    steady = fit_threshold(fluence, signal)
    assert "hysteresis" not in steady.flags
    faded = fit_threshold(fluence, signal * np.linspace(1.0, 0.7, 32))
    assert {"hysteresis", "bleaching"} <= set(faded.flags)
    assert faded.drift_rel is not None
    assert faded.drift_rel == pytest.approx(-0.35, abs=0.12)
    assert fit_threshold(*sweep(0.3, 2.4, 24, 6)).drift_rel is None


def test_a_constant_and_a_falling_signal_have_no_threshold() -> None:
    fluence = np.geomspace(10.0, 300.0, 20)
    for signal in (np.full(20, 7.0), np.zeros(20), -fluence, 1000.0 - fluence):
        result = fit_threshold(fluence, signal)
        assert result.status == "not_found"
        assert result.threshold_uj_cm2 is None
        assert result.bound is not None
        assert result.bound[0] == pytest.approx(300.0)


def test_a_declared_error_bar_sets_the_weight() -> None:
    fluence, signal = sweep(0.3, 2.4, 24, 7)
    signal[3:21:6] *= 1.6
    sigma = 0.04 * curve(fluence)
    sigma[3:21:6] *= 30.0
    result = fit_threshold(fluence, signal, signal_sigma=sigma)
    assert covers(result)
    assert result.status == "found"
    sigma[4] = np.nan
    assert fit_threshold(fluence, signal, signal_sigma=sigma).kept["bad_sigma"] == 1


def test_second_witnesses_stand_beside_the_fit() -> None:
    fluence, signal = sweep(0.3, 2.4, 24, 8)
    fwhm = np.where(fluence > ONSET_UJ_CM2, 0.6, 25.0)
    checks = fit_threshold(fluence, signal, fwhm_nm=fwhm).cross_checks
    assert checks["width_collapse"] == pytest.approx(ONSET_UJ_CM2, rel=0.1)
    assert checks["x_intercept"] == pytest.approx(ONSET_UJ_CM2, rel=0.15)
    assert checks["crossing"] == pytest.approx(ONSET_UJ_CM2, rel=0.15)
    assert peak_onset(fluence, (fluence > ONSET_UJ_CM2).astype(float)) == pytest.approx(ONSET_UJ_CM2, rel=0.1)
    assert width_collapse(fluence, np.full(24, 25.0)) is None
    assert peak_onset(fluence, np.zeros(24)) is None


def test_a_clipped_top_is_flagged() -> None:
    fluence, signal = sweep(0.3, 2.4, 24, 9)
    assert "plateau" in fit_threshold(fluence, np.minimum(signal, 3000.0)).flags


numbers = (
    st.floats(allow_nan=True, allow_infinity=True) | st.floats(-1e4, 1e4) | st.sampled_from([0.0, 1.0, 1e300])
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(numbers, numbers), max_size=30), st.sampled_from([0.0, 0.02]))
def test_no_data_raise(points: list[tuple[float, float]], fluence_noise: float) -> None:
    fluence, signal = [p[0] for p in points], [p[1] for p in points]
    result = fit_threshold(fluence, signal, fluence_sigma_rel=fluence_noise)
    assert result.n_points + sum(result.skipped.values()) == len(points)
    assert (result.threshold_uj_cm2 is None) == (result.status != "found")
    assert (result.ci95 is None) == (result.status != "found")
    for value in result.to_mapping().values():
        assert not isinstance(value, float) or np.isfinite(value)


def test_two_kinks_are_both_named() -> None:
    rng = np.random.default_rng(5)
    fluence = np.geomspace(30.0, 320.0, 24)
    kinks = 4 * np.maximum(fluence - 80, 0) + 60 * np.maximum(fluence - 200, 0)
    signal = (120 + 0.02 * fluence**2 + kinks) * (1 + 0.01 * rng.standard_normal(24))
    result = fit_threshold(fluence, signal)
    assert "second_kink" in result.flags
    assert result.reason.startswith("two kinks, at about")
    assert result.cross_checks["first_kink"] == pytest.approx(80.0, rel=0.1)
    assert result.cross_checks["second_kink"] == pytest.approx(200.0, rel=0.05)


def test_one_kink_is_not_taken_for_two() -> None:
    rng = np.random.default_rng(6)
    fluence = np.geomspace(30.0, 200.0, 20)
    clean = 120 + 0.02 * fluence**2 + 60 * np.maximum(fluence - 80, 0)
    curves = [clean * (1 + 0.02 * rng.standard_normal(20)) for _ in range(25)]
    assert sum("second_kink" in fit_threshold(fluence, signal).flags for signal in curves) <= 1
