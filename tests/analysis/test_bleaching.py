"""What a reference says of a sample: slope, chance, interpolation, and the error that the correction adds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from labctl.analysis.evaluation import fit_curve
from labctl.analysis.evaluation.bleaching import (
    STABLE,
    Model,
    Weighed,
    dose_of_order,
    measure_bleaching,
    weighed,
)
from labctl.analysis.evaluation.hysteresis import (
    MOST_PAIRS,
    UNSEEN_DRIFT,
    compare,
    measure_hysteresis,
    pairs_of,
)
from labctl.analysis.light_light import LightLight, middle_dose
from labctl.analysis.threshold import ThresholdResult, fit_threshold
from labctl.analysis.threshold.sweep_data import Known
from labctl.model.plan import Correction

K = 2e-8
SIGMA = 0.004


def curve(n: int = 25, every: int = 5, rate: float = K, seed: int = 1, sigma: float = SIGMA) -> LightLight:
    """A quadratic sample that fades with ``exp(-rate dose)``; every ``every``-th point is at 40 uJ/cm2."""
    rng = np.random.default_rng(seed)
    reference = np.arange(n) % every == 0
    fluence_set = np.where(reference, 40.0, np.linspace(30.0, 150.0, n))
    fluence = fluence_set * (1 + 0.02 * rng.standard_normal(n))
    dose = middle_dose(np.cumsum(3000 * fluence))
    light = fluence**2 * np.exp(-rate * dose) * (1 + sigma * rng.standard_normal(n))
    none = np.zeros(n)
    return LightLight(fluence, fluence_set, none, light, sigma * light, dose, reference)


def test_the_rate_comes_back_with_its_error_whatever_the_fluences_were() -> None:
    pulls = []
    for seed in range(200):
        found = measure_bleaching(curve(seed=seed), 2)
        assert found is not None
        pulls.append((found.change_per_j_cm2 / 1e6 + K) / (found.change_per_j_cm2_sigma / 1e6))
    assert abs(np.mean(pulls)) < 0.2
    assert 0.8 < np.std(pulls) < 1.15
    assert found is not None
    assert found.fluence_uj_cm2 == pytest.approx(40.0, rel=0.03)


def test_a_stable_sample_is_flagged_once_in_a_hundred_and_a_fading_one_always() -> None:
    def flagged(rate: float, trials: int) -> int:
        found = [measure_bleaching(curve(rate=rate, seed=seed), 2) for seed in range(trials)]
        return sum(bool(f and f.flags) for f in found)

    assert flagged(0.0, 300) <= 8
    fading = [measure_bleaching(curve(rate=sign * 8e-8), 2) for sign in (1, -1)]
    assert [f.flags for f in fading if f is not None] == [("bleaching",), ("brightening",)]


def test_errors_that_were_declared_too_small_are_enlarged() -> None:
    honest = curve(rate=0.0, sigma=0.02, seed=3)
    proud = replace(honest, signal_sigma=honest.signal_sigma / 10)
    found = [measure_bleaching(c, 2) for c in (honest, proud)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[1].change_sigma_rel > 0.3 * found[0].change_sigma_rel


def fading(kind: Model, exponent: float, lost: float, seed: int = 1, noise: float = 0.01) -> LightLight:
    """A sweep as the default plan has it over a kink at 80 uJ/cm2, of a sample that fades by a law."""
    rng = np.random.default_rng(seed)
    grid = np.geomspace(20.0, 200.0, 24)
    kink = int(np.searchsorted(grid, 80.0)) + 1
    fluence = np.concatenate([[35.0], grid[:kink], [35.0, 35.0], grid[kink:], [grid[kink]], [35.0, 35.0]])
    reference = np.isin(fluence, [35.0])
    reference[-3] = True
    own = 3000.0 * (fluence / 80.0) ** exponent
    ln_left = np.log(1 - lost) * (np.cumsum(own) - own / 2) / own.sum()
    at = fluence * np.exp(ln_left / 2) if kind == "excitation" else fluence
    light = 600 * (at / 80) ** 2 + 7000 * np.maximum(at / 80 - 1, 0)
    light = light * (np.exp(ln_left) if kind == "signal" else 1.0)
    light = light * (1 + noise * rng.standard_normal(fluence.size))
    dose = middle_dose(np.cumsum(3000.0 * fluence))
    return LightLight(fluence, fluence, np.zeros(fluence.size), light, noise * light, dose, reference)


def taken(curve: LightLight, correction: Correction = "auto") -> Weighed:
    found = measure_bleaching(curve, 2)
    assert found is not None
    return weighed(curve, found, correction, 2, lambda fresh: fit_curve(fresh, 2))


def test_the_dose_of_an_order_is_the_sum_of_pulses_times_a_power_of_their_fluence() -> None:
    curve = fading("excitation", 4.0, 0.1)
    own = curve.fluence_uj_cm2**4
    assert dose_of_order(curve, 4.0) == pytest.approx((np.cumsum(own) - own / 2) / own.sum(), rel=1e-6)


@pytest.mark.parametrize(("exponent", "lost"), [(1.0, 0.3), (2.0, 0.3), (4.0, 0.3), (2.0, 0.1)])
def test_the_fresh_samples_threshold_is_found_whatever_the_loss_grows_with(
    exponent: float, lost: float
) -> None:
    for seed in range(3):
        told = taken(fading("excitation", exponent, lost, seed))
        assert told.result.ci95 is not None
        assert told.result.ci95[0] < 80.0 < told.result.ci95[1]
        assert told.result.threshold_uj_cm2 == pytest.approx(80.0, rel=0.02)
        assert "bleaching_corrected" in told.result.flags
        assert told.chances.get(STABLE, 0.0) < 0.01


@pytest.mark.parametrize("kind", ["excitation", "signal"])
def test_a_point_repeated_above_the_kink_tells_lost_emitters_from_lost_signal(kind: Model) -> None:
    told = taken(fading(kind, 2.0, 0.2))
    words = {"excitation": "emitters", "signal": "signal"}
    assert sum(p for name, p in told.chances.items() if name.startswith(words[kind])) > 0.95
    blind = fading(kind, 2.0, 0.2)
    blind = blind.only(np.arange(blind.signal.size) != blind.signal.size - 3)
    unsure = taken(blind)
    assert max(told.chances.values()) > max(unsure.chances.values()) or kind == "signal"


def test_a_wrong_law_that_is_asked_for_costs_what_the_mixture_avoids() -> None:
    curve = fading("signal", 2.0, 0.3, noise=0.003)
    right, wrong = taken(curve), taken(curve, "excitation")
    assert right.result.threshold_uj_cm2 == pytest.approx(80.0, rel=0.01)
    assert wrong.result.threshold_uj_cm2 is not None
    assert wrong.result.threshold_uj_cm2 < 79.0


def test_a_stable_sample_keeps_its_threshold_and_nearly_its_interval() -> None:
    arms = []
    for seed in range(5):
        curve = fading("excitation", 2.0, 0.0, seed)
        told, plain = taken(curve).result, fit_curve(curve, 2)
        assert "bleaching_corrected" not in told.flags
        assert told.ci95 is not None
        assert plain.ci95 is not None
        assert told.threshold_uj_cm2 == pytest.approx(plain.threshold_uj_cm2, rel=0.003)
        arms.append(np.log(told.ci95[1] / told.ci95[0]) / np.log(plain.ci95[1] / plain.ci95[0]))
    assert np.median(arms) < 1.1


def test_a_reference_that_is_no_luminescence_measures_nothing() -> None:
    curve = fading("excitation", 2.0, 0.3)
    assert measure_bleaching(curve, 1) is None
    lines = replace(curve, peak_count=np.full(curve.signal.size, 4.0))
    assert measure_bleaching(lines, 2) is None
    assert measure_bleaching(replace(curve, peak_count=np.zeros(curve.signal.size)), 2) is not None


def test_an_unseen_wander_of_the_fluence_counts_by_the_photon_order_in_every_reference() -> None:
    curve = fading("excitation", 2.0, 0.0)
    stated = replace(curve, known=Known(wander_rel=0.02))
    still, wandering = (measure_bleaching(c, 2) for c in (curve, stated))
    assert still is not None
    assert wandering is not None
    # Two that follow one another wander alike.
    alike = 0.04 * np.sqrt([1, 2, 2, 2, 2])
    assert wandering.ln_sigma == pytest.approx(np.hypot(still.ln_sigma, alike))


def test_no_reference_or_one_that_cannot_be_used_says_nothing() -> None:
    sweep = curve()
    assert measure_bleaching(sweep.grid, 2) is None
    assert measure_bleaching(replace(sweep, signal=np.where(sweep.reference, -1.0, sweep.signal)), 2) is None
    assert measure_bleaching(replace(sweep, signal=np.full(25, np.nan)), 2) is None


# --- both ways -------------------------------------------------------------------------------------------


def both_ways(change: float, seed: int, kink_down: float = 80.0) -> LightLight:
    rng = np.random.default_rng(seed)
    up = np.geomspace(30, 170, 12)
    fluence_set = np.concatenate([up, up[-2::-1]])
    fluence = fluence_set * (1 + 0.01 * rng.standard_normal(23))
    place = np.arange(23)
    kink = np.where(place < 12, 80.0, kink_down)
    light = fluence**2 + 900 * np.maximum(fluence - kink, 0) * 2
    light = light * np.where(place < 12, 1.0, 1 + change) * (1 + SIGMA * rng.standard_normal(23))
    none = np.zeros(23)
    return LightLight(fluence, fluence_set, none, light, SIGMA * light, none, none.astype(bool))


def told(curve: LightLight) -> ThresholdResult:
    down = curve.fluence_set_uj_cm2[0] > curve.fluence_set_uj_cm2[-1]
    value = 82.0 if down else 80.0
    ends = (value - 1.0, value + 1.0)
    return ThresholdResult("found", "", 12, threshold_uj_cm2=value, ci95=ends, statistical_ci95=ends)


def test_a_fainter_way_down_is_measured_and_an_equal_one_is_not_flagged() -> None:
    refuse = ThresholdResult("refused", "", 0)
    fainter = measure_hysteresis(both_ways(-0.05, 1), lambda _c: refuse)
    assert fainter is not None
    assert fainter.flags == ("hysteresis",)
    assert fainter.signal_change_rel == pytest.approx(-0.05, abs=0.012)
    assert (fainter.pairs, fainter.threshold_change_rel) == (11, None)
    equal = [measure_hysteresis(both_ways(0.0, seed), lambda _c: refuse) for seed in range(100)]
    assert sum(bool(e and e.flags) for e in equal) <= 3


def test_thresholds_of_both_ways_are_compared_with_their_errors() -> None:
    found = measure_hysteresis(both_ways(0.0, 1), told)
    assert found is not None
    assert (found.threshold_up_uj_cm2, found.threshold_down_uj_cm2) == (80.0, 82.0)
    assert found.threshold_change_rel == pytest.approx(0.025)
    of_fits = 2 / 3.92 * np.sqrt(2) / 81
    assert found.threshold_change_sigma_rel == pytest.approx(np.hypot(of_fits, UNSEEN_DRIFT / 2), rel=0.05)
    assert found.threshold_p_value is not None
    assert found.threshold_p_value < 0.015


def kinked(seed: int, *, onset_down: float = 80.0, added: float = 0.0, faded: float = 0.0) -> LightLight:
    """Both ways with a lasing kink; ``added`` counts jump in blocks of six points, as a room light does."""
    rng = np.random.default_rng(seed)
    up = np.geomspace(25, 170, 14)
    fluence_set = np.concatenate([up, up[-2::-1]])
    n, place = fluence_set.size, np.arange(fluence_set.size)
    fluence = fluence_set * (1 + 0.02 * rng.standard_normal(n))
    dose = middle_dose(np.cumsum(2000 * fluence))
    over = np.maximum(fluence / np.where(place < up.size, 80.0, onset_down) - 1, 0.0)
    light = 580 * (fluence / 80) ** 2 + 7000 * over
    light = light * (1 - faded) ** (dose / dose[-1]) * (1 + SIGMA * rng.standard_normal(n))
    light += added * rng.standard_normal(n)[place // 6]
    none = np.zeros(n)
    return LightLight(fluence, fluence_set, none, light, SIGMA * light, dose, none.astype(bool))


def fitted(curve: LightLight) -> ThresholdResult:
    return fit_threshold(curve.fluence_uj_cm2, curve.signal, fluence_sigma_rel=0.002)


def test_counts_that_a_room_adds_are_no_hysteresis() -> None:
    found = [measure_hysteresis(kinked(seed, added=20.0), fitted) for seed in range(30)]
    assert sum(bool(f and f.flags) for f in found) <= 2
    changes = [f.signal_change_rel / f.signal_change_sigma_rel for f in found if f is not None]
    assert len(changes) == 30
    assert 0.4 < np.std(changes) < 1.3


def test_a_risen_onset_and_a_fading_sample_are_found_and_told_apart() -> None:
    for seed in range(6):
        risen = measure_hysteresis(kinked(seed, onset_down=84.0), fitted)
        fading = measure_hysteresis(kinked(seed, faded=0.1), fitted)
        assert risen is not None
        assert fading is not None
        assert risen.flags == fading.flags == ("hysteresis",)
        assert risen.threshold_change_rel is not None
        assert fading.threshold_change_rel is not None
        assert 0.02 < risen.threshold_change_rel < 0.06
        assert abs(fading.threshold_change_rel) < 0.01
        assert -0.09 < fading.signal_change_rel < -0.02


def test_thousands_of_pairs_are_averaged_and_say_the_same() -> None:
    rng = np.random.default_rng(5)
    up = np.geomspace(30, 170, 700)
    fluence = np.concatenate([up, up[-2::-1]])
    light = fluence**2 * np.where(np.arange(fluence.size) < 700, 1.0, 0.9)
    light = light * (1 + 0.03 * rng.standard_normal(fluence.size))
    none = np.zeros(fluence.size)
    curve = LightLight(fluence, fluence, none, light, 0.03 * light, none, none.astype(bool))
    pairs = pairs_of(curve, 699, None)
    assert pairs is not None
    assert pairs.change.size == MOST_PAIRS
    found = compare(pairs)
    assert found.onset is None
    assert np.expm1(found.signal.value) == pytest.approx(-0.1, abs=0.01)
    assert found.p_value < 1e-4


def test_too_little_to_compare_says_nothing() -> None:
    sweep = both_ways(0.0, 1)
    few = sweep.only(np.arange(23) < 14)
    assert measure_hysteresis(few, told) is None
    assert measure_hysteresis(sweep.only(np.zeros(23, bool)), told) is None
    dark = replace(sweep, signal=np.full(23, np.nan))
    assert measure_hysteresis(dark, told) is None


def test_a_points_dose_is_that_in_the_middle_of_its_light() -> None:
    assert middle_dose(np.array([2.0, 6.0, 7.0])).tolist() == [1.0, 4.0, 6.5]
    assert middle_dose(np.empty(0)).shape == (0,)
