"""The threshold fit: known truths, misuse, and the cases in which nothing may be said."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from labctl.analysis.threshold import fit_threshold

Array = NDArray[np.float64]
ONSET_UJ_CM2 = 79.81


def hinge(fluence: Array, contrast: float = 20.0) -> Array:
    u = fluence / ONSET_UJ_CM2
    return np.asarray(100.0 + 300.0 * u**2 + 300.0 * contrast * np.maximum(u - 1.0, 0.0))


def sweep(n: int, seed: int, low: float = 0.3, high: float = 2.4, noise: float = 0.05) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    fluence = ONSET_UJ_CM2 * np.geomspace(low, high, n)
    return fluence, hinge(fluence) * (1.0 + noise * rng.standard_normal(n))


def test_a_clear_kink_is_found_with_an_interval_around_it() -> None:
    fluence, signal = sweep(24, seed=1)
    result = fit_threshold(fluence, signal)
    assert result.status == "found"
    assert result.threshold_uj_cm2 == pytest.approx(ONSET_UJ_CM2, rel=0.03)
    assert result.ci95 is not None
    assert result.statistical_ci95 is not None
    assert result.ci95[0] <= result.statistical_ci95[0] < result.statistical_ci95[1] <= result.ci95[1]
    assert result.ci95[0] < ONSET_UJ_CM2 < result.ci95[1]
    assert result.systematic_rel is not None
    assert result.systematic_rel >= 0.005
    assert result.p_value is not None
    assert result.p_value < 1e-4


@pytest.mark.parametrize(("k", "c"), [(1e-3, 1.0), (7.3, 1e6), (1.0, 3.3e-5), (257.34 / 79.81, 41.0)])
def test_units_of_fluence_and_counts_do_not_matter(k: float, c: float) -> None:
    fluence, signal = sweep(16, seed=2)
    one = fit_threshold(fluence, signal).threshold_uj_cm2
    other = fit_threshold(k * fluence, c * signal).threshold_uj_cm2
    assert one is not None
    assert other is not None
    assert other / k == pytest.approx(one, rel=1e-6)


def test_the_order_of_the_points_does_not_matter_to_the_number() -> None:
    fluence, signal = sweep(20, seed=3)
    shuffled = np.random.default_rng(0).permutation(20)
    one, other = fit_threshold(fluence, signal), fit_threshold(fluence[shuffled], signal[shuffled])
    assert other.threshold_uj_cm2 == pytest.approx(one.threshold_uj_cm2, rel=1e-6)


def test_the_curve_passes_through_the_points_and_has_a_band() -> None:
    fluence, signal = sweep(24, seed=4)
    result = fit_threshold(fluence, signal)
    curve = result.curve(fluence)
    assert curve is not None
    assert np.all((curve.low <= curve.signal) & (curve.signal <= curve.high))
    assert np.median(np.abs(curve.signal / signal - 1.0)) < 0.06
    assert np.isnan(result.curve([-1.0, np.nan]).signal).all()  # type: ignore[union-attr]
    outside = result.curve([0.0, 1e4])
    assert outside is not None
    assert np.isfinite(outside.signal).all()


def test_the_mapping_is_plain_json() -> None:
    fluence, signal = sweep(16, seed=5)
    for data in ((fluence, signal), (fluence[:3], signal[:3]), (fluence, fluence**2)):
        mapping = fit_threshold(*data).to_mapping()
        assert json.loads(json.dumps(mapping, allow_nan=False)) == mapping
        assert mapping["definition"] == "onset"


@pytest.mark.parametrize(
    ("fluence", "signal", "extra"),
    [
        ([1.0, 2.0], [1.0], {}),
        ([[1.0, 2.0]], [[1.0, 2.0]], {}),
        (1.0, 1.0, {}),
        ([1.0, 2.0], [1.0, 2.0], {"signal_sigma": [1.0, 2.0, 3.0]}),
        ([1.0, 2.0], [1.0, 2.0], {"fluence_sigma_rel": -0.1}),
        ([1.0, 2.0], [1.0, 2.0], {"fluence_sigma_rel": float("nan")}),
        ([1.0, 2.0], [1.0, 2.0], {"photon_order": 0}),
        ([1.0, 2.0], [1.0, 2.0], {"definition": "vibes"}),
        ([1.0, 2.0], [1.0, 2.0], {"fwhm_nm": [1.0]}),
    ],
)
def test_misuse_is_an_error(fluence: object, signal: object, extra: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"shape|dimension|must be"):
        fit_threshold(fluence, signal, **extra)  # type: ignore[arg-type]


@pytest.mark.parametrize("n", range(7))
def test_fewer_than_seven_points_are_refused(n: int) -> None:
    fluence, signal = sweep(24, seed=6)
    result = fit_threshold(fluence[:n], signal[:n])
    assert result.status == "refused"
    assert result.threshold_uj_cm2 is None
    assert str(n) in result.reason


def test_repeats_at_few_fluences_are_refused() -> None:
    fluence, signal = sweep(5, seed=7)
    result = fit_threshold(np.tile(fluence, 4), np.tile(signal, 4))
    assert result.status == "refused"
    assert "distinct" in result.reason
    assert result.threshold_uj_cm2 is None


def test_thousands_of_points_are_fitted_too() -> None:
    fluence, signal = sweep(3000, seed=8)
    result = fit_threshold(fluence, signal)
    assert result.threshold_uj_cm2 == pytest.approx(ONSET_UJ_CM2, rel=0.003)
    assert result.ci95 is not None
    assert result.ci95[0] < ONSET_UJ_CM2 < result.ci95[1]
