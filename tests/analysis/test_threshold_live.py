"""Live, tracking and adaptive use: the same answer sooner, from fewer points, or from better ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from labctl.analysis.next_fluence import (
    STOP_FACTOR,
    half_width_rel,
    next_fluence,
    stop_corrected,
    widest_gap,
)
from labctl.analysis.threshold import ThresholdResult, ThresholdTracker, fit_threshold

Array = NDArray[np.float64]
ONSET_UJ_CM2 = 79.81


def curve(fluence: Array, onset: float = ONSET_UJ_CM2, brightness: float = 1.0) -> Array:
    u = fluence / onset
    return np.asarray(brightness * (100.0 + 300.0 * u**2 + 6000.0 * np.maximum(u - 1.0, 0.0)))


def sweep(n: int, seed: int, noise: float = 0.05) -> tuple[Array, Array]:
    fluence = ONSET_UJ_CM2 * np.geomspace(0.3, 2.4, n)
    return fluence, curve(fluence) * (1.0 + noise * np.random.default_rng(seed).standard_normal(n))


@pytest.fixture(scope="module")
def reference() -> ThresholdResult:
    return fit_threshold(*sweep(32, seed=1, noise=0.02))


def test_the_quick_form_agrees_with_the_full_fit() -> None:
    for n in (16, 40, 64):
        fluence, signal = sweep(n, seed=n)
        quick, full = fit_threshold(fluence, signal, quick=True), fit_threshold(fluence, signal)
        assert quick.status == full.status == "found"
        assert quick.ci95 is not None
        assert full.ci95 is not None
        assert quick.threshold_uj_cm2 == pytest.approx(full.threshold_uj_cm2, rel=0.002)
        assert np.ptp(quick.ci95) == pytest.approx(np.ptp(full.ci95), rel=0.2)


def test_a_number_with_two_fluences_above_it_is_provisional() -> None:
    seen: dict[int, bool] = {}
    fluence, signal = sweep(24, seed=11, noise=0.01)
    for n in range(1, 25):
        found = fit_threshold(fluence[:n], signal[:n], quick=True)
        if found.ci95 is not None:
            above = int(np.sum(fluence[:n] > found.ci95[1]))
            assert ("few_above" in found.flags) is (above < 3)
            seen[above] = found.provisional
            assert ("provisional" in found.reason) is (above < 3)
    assert seen[2]
    assert not any(provisional for above, provisional in seen.items() if above > 2)
    assert fit_threshold(fluence, signal).to_mapping()["provisional"] is False


def test_a_kink_that_chance_makes_now_and_then_is_provisional_while_the_sweep_runs() -> None:
    found = fit_threshold(*sweep(16, seed=3), quick=True)
    assert not found.provisional
    assert replace(found, p_value=1e-3).provisional
    assert not replace(found, status="not_found", p_value=1e-3).provisional


def test_tracking_follows_a_step_and_says_that_it_tracks(reference: ThresholdResult) -> None:
    rng = np.random.default_rng(5)
    tracker = ThresholdTracker(reference, noise_rel=0.05)
    for readout in range(10):
        onset = ONSET_UJ_CM2 * (1.0 if readout < 5 else 1.3)
        fluence = ONSET_UJ_CM2 * np.array([0.6, 1.2, 1.6, 2.2])
        signal = curve(fluence, onset, brightness=0.6) * (1.0 + 0.05 * rng.standard_normal(4))
        result = tracker.add(fluence, signal)
        assert result.status == "found"
        assert "tracking" in result.flags
        assert ("step" in result.flags) == (readout == 5)
        assert result.n_points == 4 * (readout % 5 + 1)
        assert result.threshold_uj_cm2 == pytest.approx(onset, rel=0.05)
    assert tracker.steps == 1
    assert result.ci95 is not None
    assert result.ci95[0] < ONSET_UJ_CM2 * 1.3 < result.ci95[1]


def test_tracking_refuses_what_it_cannot_do(reference: ThresholdResult) -> None:
    with pytest.raises(ValueError, match="status found"):
        ThresholdTracker(fit_threshold([], []))
    with pytest.raises(ValueError, match="shape"):
        ThresholdTracker(reference).add([1.0, 2.0], [1.0])
    result = ThresholdTracker(reference).add([50.0, np.nan, -3.0, 100.0], [1.0, 2.0, 3.0, np.inf])
    assert result.status == "refused"
    assert result.skipped == {"unusable": 3}
    flat = ThresholdTracker(reference).add([5.0, 6.0, 7.0], [100.0, 101.0, 102.0])
    assert flat.status == "not_found"
    assert flat.threshold_uj_cm2 is None


def test_the_next_fluence_fills_space_first_and_then_goes_to_the_kink() -> None:
    nothing = fit_threshold([], [])
    first = next_fluence(nothing, [], low_uj_cm2=20.0, high_uj_cm2=200.0)
    assert first.fluence_uj_cm2 == 20.0
    assert first.why == "space_filling"
    measured: list[float] = []
    for _ in range(10):
        measured.append(next_fluence(nothing, measured, low_uj_cm2=20.0, high_uj_cm2=200.0).fluence_uj_cm2)
    assert np.diff(np.log(np.sort(measured))).max() < 0.33
    result = fit_threshold(*sweep(16, seed=6))
    step = next_fluence(result, list(sweep(16, seed=6)[0]), low_uj_cm2=20.0, high_uj_cm2=200.0)
    assert step.why == "interval"
    assert 0.8 * ONSET_UJ_CM2 < step.fluence_uj_cm2 < 1.5 * ONSET_UJ_CM2
    now = half_width_rel(result)
    assert now is not None
    assert step.expected_half_width_rel is not None
    assert step.expected_half_width_rel < 1.1 * now


def test_the_next_fluence_never_passes_the_limit_and_spares_dose() -> None:
    result = fit_threshold(*sweep(16, seed=7))
    measured = list(sweep(16, seed=7)[0])
    capped = next_fluence(result, measured, low_uj_cm2=20.0, high_uj_cm2=70.0)
    assert 20.0 <= capped.fluence_uj_cm2 <= 70.0
    per_point = next_fluence(result, measured, low_uj_cm2=20.0, high_uj_cm2=200.0)
    per_dose = next_fluence(result, measured, low_uj_cm2=20.0, high_uj_cm2=200.0, per="dose")
    assert per_dose.fluence_uj_cm2 <= per_point.fluence_uj_cm2
    with pytest.raises(ValueError, match="limits"):
        next_fluence(result, measured, low_uj_cm2=0.0, high_uj_cm2=70.0)
    with pytest.raises(ValueError, match="per"):
        next_fluence(result, measured, low_uj_cm2=1.0, high_uj_cm2=70.0, per="luck")  # type: ignore[arg-type]
    assert widest_gap([20.0, 200.0], 20.0, 200.0) == pytest.approx(np.sqrt(20.0 * 200.0))


def test_an_adaptive_sweep_beats_a_uniform_one_of_the_same_length() -> None:
    widths: dict[str, list[float]] = {"adaptive": [], "uniform": []}
    for seed in range(6):
        rng = np.random.default_rng([8, seed])
        fluence: list[float] = []
        signal: list[float] = []
        result = fit_threshold([], [])
        while len(fluence) < 16:
            step = next_fluence(result, fluence, low_uj_cm2=24.0, high_uj_cm2=190.0)
            fluence.append(step.fluence_uj_cm2)
            mean = float(curve(np.array([step.fluence_uj_cm2]))[0])
            signal.append(mean * (1.0 + 0.05 * rng.standard_normal()))
            result = fit_threshold(fluence, signal)
        widths["adaptive"].append(half_width_rel(result) or 1.0)
        widths["uniform"].append(half_width_rel(fit_threshold(*sweep(16, seed=100 + seed))) or 1.0)
    assert np.median(widths["adaptive"]) < 0.8 * np.median(widths["uniform"])


def test_stopping_early_widens_the_interval_once() -> None:
    result = fit_threshold(*sweep(16, seed=9))
    wider = stop_corrected(result)
    assert result.ci95 is not None
    assert wider.ci95 is not None
    assert "stopped_early" in wider.flags
    assert np.log(wider.ci95[1] / wider.ci95[0]) == pytest.approx(
        STOP_FACTOR * np.log(result.ci95[1] / result.ci95[0])
    )
    assert stop_corrected(wider) == wider
    assert stop_corrected(fit_threshold([], [])).ci95 is None
