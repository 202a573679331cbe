"""Scatter of exposures, estimators of location, the exponent below threshold."""

import math

import numpy as np
import pytest

from labctl.analysis.statistics import (
    Estimator,
    coefficient_of_variation,
    location,
    pooled_sigma,
    power_law,
    two_photon_exponent,
)


@pytest.mark.parametrize("estimator", ["mean", "median", "trimmed"])
@pytest.mark.parametrize("n", [8, 10, 25])
def test_standard_errors_are_honest(estimator: Estimator, n: int) -> None:
    rng = np.random.default_rng(n)
    found = [location(rng.normal(5, 2, n), estimator) for _ in range(1500)]
    actual = np.std([f.value for f in found])
    claimed = np.sqrt(np.mean([f.sigma**2 for f in found]))
    if estimator == "median":  # known to be cautious in small samples
        assert 0.95 * actual < claimed < 1.3 * actual
    else:
        assert claimed == pytest.approx(actual, rel=0.12)
    assert abs(np.mean([f.value for f in found]) - 5) < 0.1


@pytest.mark.parametrize("estimator", ["median", "trimmed"])
def test_one_wild_value_hardly_matters(estimator: Estimator) -> None:
    assert location([1.0, 1.1, 0.9, 1.05, 0.95, 500.0], estimator).value < 1.1


def test_few_values_are_not_an_exception() -> None:
    only = location([3.0, math.nan])
    assert (only.value, only.n) == (3.0, 1)
    assert math.isnan(only.sigma)
    assert location([1.0, 2.0, 3.0], "median").value == 2.0
    with pytest.raises(ValueError, match="no finite"):
        location([math.nan])
    with pytest.raises(ValueError, match="trim"):
        location([1.0], "trimmed", trim=0.5)
    with pytest.raises(ValueError, match="unknown estimator"):
        location([1.0], "mode")  # type: ignore[arg-type]


def test_scatter_of_little() -> None:
    assert coefficient_of_variation([1.0]) is None
    assert coefficient_of_variation([-1.0, -2.0]) is None


def test_the_exponent_and_its_interval() -> None:
    rng, inside = np.random.default_rng(2), 0
    fluence = np.geomspace(20, 150, 16)
    for _ in range(300):
        signal = 3 * fluence**2 * np.exp(rng.normal(0, 0.05, 16)) * np.where(fluence > 80, 9.0, 1.0)
        found = two_photon_exponent(fluence, signal, 80.0, signal_sigma=0.05 * signal)
        assert found is not None
        low, high = found.exponent_ci95
        inside += low < 2 < high
        assert found.n == int(np.sum(fluence < 68))
    assert 0.91 < inside / 300 < 0.985


@pytest.mark.parametrize("baseline", [-20.0, 0.0, 100.0])
def test_the_exponent_beside_a_baseline(baseline: float) -> None:
    rng = np.random.default_rng(4)
    fluence = np.geomspace(20, 75, 10)
    inside = 0
    for _ in range(100):
        signal = (baseline + 300 * (fluence / 80) ** 2) * (1 + 0.03 * rng.standard_normal(10))
        found = two_photon_exponent(fluence, signal, 90.0, baseline=True)
        assert found is not None
        inside += found.exponent_ci95[0] <= 2 <= found.exponent_ci95[1]
        again = two_photon_exponent(1e3 * fluence, 7 * signal, 9e4, signal_sigma=0.03 * signal, baseline=True)
        assert again is not None
        assert again.exponent == pytest.approx(found.exponent, abs=0.2)
    assert inside >= 90
    assert two_photon_exponent(fluence[:4], signal[:4], 90.0, baseline=True) is None


def test_a_power_law_needs_three_usable_points() -> None:
    assert power_law([1, 2, 3, -4], [1, math.nan, 9, 16]) is None
    assert power_law([2, 2, 2], [1, 2, 3]) is None
    exact = power_law([1, 2, 4], [5, 20, 80])
    assert exact is not None
    assert exact.exponent == pytest.approx(2.0)
    assert exact.amplitude == pytest.approx(5.0)


def test_pooled_errors_are_steadier_and_keep_real_excess() -> None:
    rng = np.random.default_rng(3)
    signal = np.geomspace(10, 1e4, 20)
    true = np.sqrt(2.0**2 + 0.05 * signal + (0.02 * signal) ** 2)
    raw = true * np.sqrt(rng.chisquare(9, (200, 20)) / 9)
    pooled = np.array([pooled_sigma(signal, r, 10) for r in raw])
    assert np.std(np.log(pooled / true)) < 0.7 * np.std(np.log(raw / true))
    assert abs(np.mean(np.log(pooled / true))) < 0.05
    raw[0, 9] *= 5
    assert pooled_sigma(signal, raw[0], 10)[9] > 2 * true[9]
    few = np.array([1.0, math.nan, 2.0])
    np.testing.assert_array_equal(pooled_sigma([1, 2, 3], few, 10), few)
