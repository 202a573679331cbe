"""What errors and chances of a run's evaluation are made of: ways compared, corrections, steps, the scale."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr

from labctl.analysis.budget import fluence_budget
from labctl.analysis.evaluation import evaluate_curve, fit_curve
from labctl.analysis.evaluation.bleaching import chance_of, measure_bleaching, scaled_error
from labctl.analysis.evaluation.energy_step import widened
from labctl.analysis.evaluation.evaluate import Design, band_threshold
from labctl.analysis.evaluation.hysteresis import Pairs, compare, measure_hysteresis, pairs_of
from labctl.analysis.light_light import LightLight
from labctl.analysis.threshold import ThresholdResult
from labctl.model.pump import MalusCurve, PumpSettings, SpotSize
from labctl.model.records import FloatArray
from labctl.model.results.sweep import EnergyStep
from labctl.model.run import RunFacts

# --- the two ways of a sweep --------------------------------------------------------------------------

PAIRS = 10
UNSEEN_DRIFT = 0.007


def pairs(change: FloatArray, *, sigma: float = 0.01, shift: FloatArray | None = None) -> Pairs:
    apart = np.arange(1.0, 2 * PAIRS, 2.0)
    return Pairs(
        change=change,
        sigma=np.full(PAIRS, sigma),
        signal=np.full(PAIRS, 1e4),
        slope=np.full(PAIRS, 2.0),
        shift=shift,
        apart=apart,
        given=apart / apart.max(),
    )


def test_the_chance_is_that_of_any_of_the_questions_that_are_asked() -> None:
    """A common factor, a loss with the dose, and a shift of the onset where there is one."""
    change = 0.03 + 0.002 * np.random.default_rng(1).standard_normal(PAIRS)
    two = compare(pairs(change))
    assert two.onset is None
    assert two.p_value == pytest.approx(2 * two.signal.p_value)
    three = compare(pairs(change, shift=np.linspace(0.0, 3.0, PAIRS) ** 2))
    assert three.onset is not None
    assert three.p_value == pytest.approx(3 * three.signal.p_value)
    assert three.p_value < 0.05


def test_ways_that_are_equal_are_called_different_as_rarely_as_is_said() -> None:
    rng, shift = np.random.default_rng(4), np.linspace(0.0, 3.0, PAIRS) ** 2
    chances = []
    for _ in range(150):
        drift = UNSEEN_DRIFT * 2.0 * np.cumsum(rng.standard_normal(PAIRS)) / math.sqrt(PAIRS)
        change = drift + 0.004 * rng.standard_normal(PAIRS)
        chances.append(compare(pairs(change, sigma=0.004, shift=shift)).p_value)
    assert np.mean(np.array(chances) < 0.02) <= 0.03
    assert np.mean(np.array(chances) < 0.2) <= 0.2


def both_ways() -> LightLight:
    """A signal of exactly F^2, each fluence measured twice, with errors of both ways."""
    up = np.geomspace(30.0, 170.0, 8)
    fluence = np.concatenate([up, up[-2::-1]])
    light = fluence**2
    relative = np.where(np.arange(fluence.size) < 8, 0.003, 0.004)
    of_fluence = np.full(fluence.size, 0.002)
    none = np.zeros(fluence.size)
    return LightLight(fluence, fluence, of_fluence, light, relative * light, none, none.astype(bool))


def test_a_pair_has_the_errors_of_both_its_points_and_of_both_fluences() -> None:
    found = pairs_of(both_ways(), 7, None)
    assert found is not None
    of_fluences = found.slope * 0.002 * math.sqrt(2)
    assert found.slope[2:-2] == pytest.approx(2.0, rel=0.05)
    assert found.sigma == pytest.approx(np.sqrt(0.003**2 + 0.004**2 + of_fluences**2), rel=1e-6)


def test_fluences_that_were_missed_leave_the_error_of_the_way_between_them() -> None:
    missed = both_ways()
    moved = np.where(np.arange(15) > 7, 1.05, 1.0)
    missed = replace(missed, fluence_uj_cm2=missed.fluence_uj_cm2 * moved, signal=missed.signal * moved**2)
    found, exact = pairs_of(missed, 7, None), pairs_of(both_ways(), 7, None)
    assert found is not None
    assert exact is not None
    assert abs(found.change).max() < 0.02
    added = np.sqrt(found.sigma[2:-2] ** 2 - exact.sigma[2:-2] ** 2)
    assert added == pytest.approx(0.1 * found.slope[2:-2] * math.log(1.05), rel=0.1)


def onsets(curve: LightLight) -> ThresholdResult:
    """Return 80 up, 82 down, each with 2 % at 95 % in the total interval, and much less in the other."""
    value = 82.0 if curve.fluence_set_uj_cm2[0] > curve.fluence_set_uj_cm2[-1] else 80.0
    total = (value / 1.02, value * 1.02)
    return ThresholdResult(
        "found", "", 8, threshold_uj_cm2=value, ci95=total, statistical_ci95=(value / 1.001, value * 1.001)
    )


def test_two_thresholds_are_compared_by_their_total_intervals_from_both_sides() -> None:
    found = measure_hysteresis(both_ways(), onsets)
    assert found is not None
    sigma = math.hypot(*[math.log(1.02) / 1.96] * 2, UNSEEN_DRIFT / 2)
    change = math.log(82.0 / 80.0)
    assert found.threshold_change_sigma_rel == pytest.approx(math.exp(change) * sigma, rel=1e-3)
    two_sided = 2 * float(ndtr(-change / sigma))
    assert found.threshold_p_value == pytest.approx(two_sided, rel=1e-3)
    assert found.p_value == pytest.approx(min(1.0, 2 * two_sided), rel=1e-3)


# --- references and their correction ------------------------------------------------------------------


def test_declared_errors_are_enlarged_by_what_the_residuals_say_and_never_shrunk() -> None:
    assert scaled_error(0.01, 20.0, 5)[0] == pytest.approx(0.01 * math.sqrt(24 / 9))
    assert scaled_error(0.01, 20.0, 5)[1] == 9.0
    assert scaled_error(0.01, 0.1, 5) == (0.01, 9.0)
    assert chance_of(2.0, 1.0, 1e6) == chance_of(-2.0, 1.0, 1e6) == pytest.approx(0.0455, abs=1e-4)


def test_the_fluence_of_a_reference_counts_by_the_photon_order() -> None:
    n = 12
    reference = np.arange(n) % 2 == 0
    fluence, dose = np.where(reference, 40.0, np.linspace(30.0, 60.0, n)), np.arange(1.0, n + 1) * 1e5
    for order in (1, 2, 3):
        light = fluence**order * np.exp(-1e-9 * dose)
        lit = LightLight(fluence, fluence, np.full(n, 0.01), light, 0.005 * light, dose, reference)
        found = measure_bleaching(lit, order)
        assert found is not None
        assert found.ln_sigma == pytest.approx(math.hypot(0.005, order * 0.01))


def bleached(seed: int = 3) -> LightLight:
    rng = np.random.default_rng(seed)
    n = 24
    reference = np.arange(n) % 4 == 0
    fluence = np.where(reference, 40.0, np.linspace(35.0, 150.0, n))
    dose = np.cumsum(3000 * fluence)
    left = np.exp(-2e-8 * dose)
    at = fluence * np.sqrt(left)
    light = at**2 + 60.0 * np.maximum(at - 80.0, 0.0) * 8
    light = light * (1 + 0.01 * rng.standard_normal(n))
    return LightLight(fluence, fluence, np.zeros(n), light, 0.01 * light, dose, reference)


def test_a_corrected_threshold_has_the_error_of_its_correction_in_both_intervals() -> None:
    lit = bleached()
    found = measure_bleaching(lit, 2)
    assert found is not None
    known = replace(lit, fluence_uj_cm2=lit.fluence_uj_cm2 * np.exp(-1e-8 * lit.dose_uj_cm2))
    design = Design(2, correction="excitation")
    plain, wide = fit_curve(known, 2), band_threshold(lit, found, design).result
    assert plain.threshold_uj_cm2 is not None
    assert plain.ci95 is not None
    assert wide.ci95 is not None
    assert "bleaching_corrected" in wide.flags
    assert wide.threshold_uj_cm2 is not None
    assert wide.threshold_uj_cm2 == pytest.approx(plain.threshold_uj_cm2, rel=0.01)
    # References that are each wrong by their error spread the thresholds by no more than the interval says.
    rng, moved = np.random.default_rng(9), []
    for _ in range(12):
        off = found.ln_sigma * rng.standard_normal(found.ln_light.size)
        sample = band_threshold(lit, replace(found, ln_light=found.ln_light + off), design).result
        assert sample.threshold_uj_cm2 is not None
        moved.append(math.log(sample.threshold_uj_cm2 / wide.threshold_uj_cm2))
    arms = [math.log(each.ci95[1] / each.ci95[0]) / 2 for each in (plain, wide) if each.ci95 is not None]
    assert arms[1] > arms[0]
    assert 1.96 * math.sqrt(float(np.mean(np.square(moved)))) < 1.2 * arms[1]


# --- a step of the energy -----------------------------------------------------------------------------


@pytest.mark.parametrize("change", [0.15, -0.13])
def test_a_step_widens_both_ends_whichever_side_of_it_is_wrong(change: float) -> None:
    before = ThresholdResult("found", "", 20, threshold_uj_cm2=80.0, ci95=(78.0, 82.0))
    found = widened(before, EnergyStep(7, change))
    least = max(1 + change, 1 / (1 + change))
    assert found.ci95 is not None
    for arm in (78.0 / found.ci95[0], found.ci95[1] / 82.0):
        assert arm == pytest.approx(1.03 * least)
    assert "energy_step" in found.flags


# --- the scale ----------------------------------------------------------------------------------------


def test_the_scale_of_a_threshold_is_that_at_the_threshold() -> None:
    """The meter's zero weighs more at a threshold low in the range than in its middle."""
    settings = PumpSettings(
        wavelength_nm=800.0,
        repetition_rate_hz=1000.0,
        spot=SpotSize("gaussian", 100.0, 100.0),
        convention="peak",
        curve=MalusCurve(12.0, 0.002, 1.0),
        pickoff_ratio=24.0,
        max_pulse_energy_j=200e-9,
        meter_sigma_rel=0.03,
        pickoff_sigma_rel=0.01,
        spot_sigma_rel=0.02,
        background_sigma_w=2e-8,
    )
    rng = np.random.default_rng(3)
    fluence = np.geomspace(30.0, 160.0, 20)
    light = 100 + 3e-2 * fluence**2 + 90 * np.maximum(fluence - 80.0, 0.0)
    light = light * (1 + 0.01 * rng.standard_normal(20))
    none = np.zeros(20)
    curve = LightLight(fluence, fluence, none, light, 0.01 * light, none, none.astype(bool))
    found = evaluate_curve(curve, RunFacts(settings=settings))
    threshold = found.threshold.threshold_uj_cm2
    assert threshold is not None
    assert found.budget is not None
    assert found.budget.fluence_uj_cm2 == pytest.approx(threshold)
    here, middle = fluence_budget(settings, threshold).combined_rel, fluence_budget(settings).combined_rel
    assert here is not None
    assert middle is not None
    assert found.threshold.scale_rel == here > 1.02 * middle
    assert found.budget.expanded_rel == 2 * here
