"""How a fading light is described: lifetimes by name, what is left, and what cannot be told."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from labctl.analysis.fading import DecayFit, fit_decay
from labctl.model.errors import CalibrationRefused
from labctl.model.records import FloatArray
from labctl.model.results.sweep import Estimate

END_S = 36000.0
TIME_S = np.linspace(60.0, END_S, 40)


def noisy(light: FloatArray, seed: int = 1, noise: float = 0.01) -> FloatArray:
    return np.asarray(5e4 * light * (1 + noise * np.random.default_rng(seed).standard_normal(light.size)))


def fitted(light: FloatArray, seed: int = 1, **more: Any) -> DecayFit:
    signal = noisy(light, seed)
    return fit_decay(TIME_S, signal, 0.01 * np.abs(signal), **more)


def holds(found: Estimate | None, truth: float) -> bool:
    """Within twice the interval's arms: one seed in ten thousand is not."""
    assert found is not None
    return abs(found.value - truth) < 2 * max(found.high - found.value, found.value - found.low)


U = TIME_S / END_S
SINGLE = np.exp(-1.1 * U)
DOUBLE = 0.45 * np.exp(-8 * U) + 0.55 * np.exp(-0.5 * U)
STRETCHED = np.exp(-((1.5 * U) ** 0.6))


def test_a_single_exponential_comes_back_with_one_lifetime_under_both_names() -> None:
    found = fitted(SINGLE)
    assert found.model == "single"
    assert holds(found.amplitude_lifetime_s, END_S / 1.1)
    assert holds(found.intensity_lifetime_s, END_S / 1.1)
    assert holds(found.numbers["lifetime_s"], END_S / 1.1)
    assert found.retained.value == pytest.approx(math.exp(-1.1 * (1 - U[0])), rel=0.02)
    assert holds(found.retained_free, math.exp(-1.1 * (1 - U[0])))
    assert found.flags == ()
    assert found.delta_aicc["single"] == 0.0
    assert "by AICc" in found.statement
    assert np.abs(found.signal_at(TIME_S) / (5e4 * SINGLE) - 1).max() < 0.02


def test_two_lifetimes_are_told_apart_and_their_means_named() -> None:
    found = fitted(DOUBLE)
    assert found.model == "double"
    assert holds(found.amplitude_lifetime_s, END_S * (0.45 / 8 + 1.1))
    assert holds(found.intensity_lifetime_s, END_S * (0.45 / 64 + 2.2) / (0.45 / 8 + 1.1))
    assert holds(found.numbers["fast_share"], 0.45)
    assert holds(found.numbers["fast_lifetime_s"], END_S / 8)
    assert holds(found.numbers["slow_lifetime_s"], END_S / 0.5)
    assert found.retained.value == pytest.approx(DOUBLE[-1] / DOUBLE[0], rel=0.03)


def test_a_stretched_exponential_has_two_different_means() -> None:
    found = fitted(STRETCHED, model="stretched")
    assert holds(found.amplitude_lifetime_s, END_S / 1.5 / 0.6 * math.gamma(1 / 0.6))
    assert holds(found.intensity_lifetime_s, END_S / 1.5 * math.gamma(2 / 0.6) / math.gamma(1 / 0.6))
    assert holds(found.numbers["exponent"], 0.6)
    assert fitted(STRETCHED).model == "stretched"


def test_a_part_that_stays_is_fitted_where_asked_for() -> None:
    found = fitted(0.6 * np.exp(-5 * U) + 0.4, constant=True, model="single")
    assert holds(found.numbers["constant"], 2e4)
    assert holds(found.amplitude_lifetime_s, END_S / 5)
    assert found.retained.value == pytest.approx(0.404 / (0.4 + 0.6 * math.exp(-5 * U[0])), rel=0.03)


def test_two_lifetimes_that_are_one_are_not_separable() -> None:
    assert "not_separable" in fitted(SINGLE, model="double").flags


def test_a_light_that_hardly_fades_gives_a_lower_bound() -> None:
    bounds = 0
    for seed in range(6):
        found = fitted(np.exp(-0.003 * U), seed)
        assert found.flags == ("no_decay",)
        assert found.amplitude_lifetime_s is None
        assert found.numbers == {}
        bounds += found.lower_bound_s is not None and 10 * END_S < found.lower_bound_s < END_S / 0.003
    assert bounds >= 4
    assert fitted(np.exp(0.3 * U)).flags == ("brightening",)
    assert "extrapolated" in fitted(np.exp(-0.2 * U), model="single").flags


def test_a_long_series_is_grouped_and_needs_no_errors() -> None:
    u = np.linspace(0, 1, 1500)
    found = fit_decay(u * 3600, noisy(np.exp(-2 * u)), model="single")
    assert found.retained.value == pytest.approx(math.exp(-2), rel=0.02)
    assert holds(found.amplitude_lifetime_s, 1800.0)
    assert found.retained_free.value == pytest.approx(math.exp(-2), rel=0.05)


def test_what_is_left_counts_from_the_first_point_however_points_are_grouped() -> None:
    t = np.linspace(60.0, END_S, 1500)
    light = np.exp(-((4 * t / END_S) ** 0.5))
    found = fit_decay(t, 5e4 * light, np.full(1500, 50.0), model="stretched")
    assert found.start_s == pytest.approx(60.0)
    assert found.retained.value == pytest.approx(light[-1] / light[0], rel=2e-3)
    assert found.retained_free.value == pytest.approx(light[-1] / light[0], rel=0.02)


@pytest.mark.parametrize(
    ("time", "signal", "more", "match"),
    [
        (TIME_S[:5], SINGLE[:5], {}, "at least 8"),
        (TIME_S, np.zeros(40), {}, "no light"),
        (TIME_S - 100, SINGLE, {}, "start at 0"),
        (np.ones(40), SINGLE, {}, "start at 0"),
        (TIME_S, np.where(U > 0.5, np.nan, SINGLE), {}, "finite"),
        (TIME_S, SINGLE, {"model": "triple"}, "unknown model"),
        (TIME_S, np.random.default_rng(1).uniform(0.1, 2.5, 40), {}, "unstable|no light"),
    ],
)
def test_series_that_are_no_decay_are_refused(
    time: FloatArray, signal: FloatArray, more: dict[str, Any], match: str
) -> None:
    with pytest.raises(CalibrationRefused, match=match):
        fit_decay(time, signal, **more)


LATE = 1 / (1 + np.exp((U - 0.45) / 0.1))
"""Holds for a while, then falls: no mixture of decays."""


def test_a_decay_that_misses_its_points_says_so_and_gives_no_lifetime() -> None:
    found = fitted(LATE)
    assert found.miss is not None
    assert found.miss.typical_rel == pytest.approx(0.1, abs=0.06)
    assert found.miss.most_sigma > 5
    assert found.flags == ("decay_misfit",)
    assert found.amplitude_lifetime_s is None
    assert found.intensity_lifetime_s is None
    assert found.numbers == {}
    assert holds(found.retained, LATE[-1] / LATE[0])


def test_what_is_left_of_a_missed_decay_is_that_without_a_model() -> None:
    found = fitted(LATE)
    assert found.retained == found.retained_free


@pytest.mark.parametrize("light", [SINGLE, DOUBLE, STRETCHED], ids=["single", "double", "stretched"])
def test_a_laser_that_wanders_by_half_a_per_cent_is_no_misfit(light: FloatArray) -> None:
    wander = np.cumsum(np.random.default_rng(5).standard_normal(light.size))
    found = fitted(light * (1 + 0.005 * wander / np.std(wander)))
    assert found.miss is None
    assert found.amplitude_lifetime_s is not None


def test_a_decay_that_begins_late_has_no_mean_lifetimes_even_where_a_curve_follows_it() -> None:
    late = 0.9 * np.exp(-((0.9 * U) ** 1.4))
    found = fitted(late)
    assert found.miss is None
    assert found.flags == ("no_mixture",)
    assert found.amplitude_lifetime_s is None
    assert holds(found.retained, late[-1] / late[0])
