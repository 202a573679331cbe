"""Pick-off ratios: from two sensors or one that is carried, and sensors in the wrong place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from labctl.analysis.calibration.pickoff import Pairs, fit_pickoff, pair_interleaved
from labctl.model.errors import CalibrationRefused
from labctl.model.records import FloatArray

RATIO, NOISE_W = 24.0, 1e-10
LEVELS = np.geomspace(0.05, 1, 10)


def both(seed: int = 1, ratio: float = RATIO, bend: float = 0.0) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    clean = 5e-7 * LEVELS * (1 + 0.01 * rng.standard_normal(10))
    sample = ratio * clean * (1 + bend * LEVELS)
    return clean + NOISE_W * rng.standard_normal(10), sample * (1 + 0.002 * rng.standard_normal(10))


def carried(seed: int, drift: float = 0.002, visits: int = 1) -> Pairs:
    """Ten levels at each visit of one sensor; the laser drifts in a straight line and walks a little."""
    rng = np.random.default_rng(seed)
    place = np.repeat(np.arange(2 * visits + 1) % 2, 10)
    time = 2.0 * np.arange(place.size) + 40.0 * np.repeat(np.arange(2 * visits + 1), 10)
    laser = 1 + 10 * drift * time / time[-1] + drift * np.cumsum(rng.standard_normal(time.size)) / 6
    power = 5e-7 * np.tile(LEVELS, 2 * visits + 1) * np.where(place == 1, RATIO, 1.0) * laser
    level = np.tile(np.arange(10), 2 * visits + 1)
    noisy = power + NOISE_W * rng.standard_normal(time.size)
    return pair_interleaved(time, place, level, noisy, np.full(time.size, NOISE_W))


def test_the_ratio_comes_back_with_its_error() -> None:
    pulls = []
    for seed in range(16):
        found = fit_pickoff(*both(seed), np.full(10, NOISE_W), stated_ratio=25.0)
        pulls.append((found.ratio - RATIO) / found.ratio_sigma)
    assert abs(np.mean(pulls)) < 0.5
    assert 0.6 < np.std(pulls) < 1.3
    assert found.ratio_sigma / RATIO < 0.01
    assert found.ci95[0] < found.ratio < found.ci95[1]


def test_drift_between_the_places_is_interpolated_and_what_is_left_counted() -> None:
    pulls = []
    for seed in range(8):
        pairs = carried(seed)
        found = fit_pickoff(
            pairs.pickoff_w, pairs.sample_w, pairs.pickoff_sigma_w, pairs.sample_sigma_w,
            drift_sigma_rel=pairs.drift_sigma_rel,
        )  # fmt: skip
        pulls.append((found.ratio - RATIO) / found.ratio_sigma)
        assert 5e-5 < pairs.drift_sigma_rel < 0.02
    assert np.abs(pulls).max() < 3.5
    assert carried(1, visits=2).pickoff_w.shape == (10,)


def test_a_zero_that_is_off_goes_into_the_offset_and_not_into_the_ratio() -> None:
    pickoff, sample = both()
    found = fit_pickoff(pickoff + 2e-8, sample, np.full(10, NOISE_W))
    assert found.ratio == pytest.approx(RATIO, rel=0.015)
    assert found.offset_w == pytest.approx(-2e-8 * RATIO, rel=0.2)
    assert "offset" in found.flags


def test_a_small_nonlinearity_is_flagged_and_a_large_one_refused() -> None:
    assert "nonlinear" in fit_pickoff(*both(bend=0.04)).flags
    refused("the ratio changes by", *both(bend=0.3))


def refused(match: str, *given: Any, **more: Any) -> None:
    with pytest.raises(CalibrationRefused, match=match):
        fit_pickoff(*given, **more)


def test_a_sensor_in_the_wrong_place_is_told_by_what_it_shows() -> None:
    pickoff, sample = both()
    refused("was not moved", *both(ratio=1.0))
    refused("was not moved", *both(ratio=1.0), stated_ratio=24.0)
    refused("exchanged", sample, pickoff, stated_ratio=24.0)
    refused("wrong position", *both(ratio=4.0), stated_ratio=24.0)
    refused("rejected beam", pickoff, sample.max() - sample)
    refused("are not related", pickoff, np.random.default_rng(1).uniform(1e-6, 2e-6, 10))
    refused("are not related", pickoff, np.full(10, 1e-6))
    refused("no power at the sample", pickoff, np.zeros(10))
    assert fit_pickoff(*both(ratio=1.0), stated_ratio=1.0).ratio == pytest.approx(1.0, rel=0.02)


def test_readings_that_say_too_little_are_refused() -> None:
    pickoff, sample = both()
    refused("at least 5", pickoff[:4], sample[:4])
    refused("too alike", pickoff[-3:].repeat(2), sample[-3:].repeat(2))
    refused("not positive", pickoff, sample, stated_ratio=-2.0)
    refused("drifts", pickoff, sample, drift_sigma_rel=0.5)
    rng = np.random.default_rng(2)
    refused("known to", pickoff, sample * (1 + 0.2 * rng.standard_normal(10)))


@pytest.mark.parametrize(
    ("place", "match"),
    [([0, 0, 1], "not read after"), ([1, 0, 0], "not read before"), ([0, 0, 0], "one position")],
)
def test_without_a_return_to_the_pickoff_nothing_is_paired(place: list[int], match: str) -> None:
    with pytest.raises(CalibrationRefused, match=match):
        pair_interleaved([0, 1, 2], place, [1, 1, 1], [1.0, 1.0, 20.0])


def test_both_places_dark_are_refused() -> None:
    with pytest.raises(CalibrationRefused, match="no power"):
        pair_interleaved([0, 1, 2], [0, 1, 0], [1, 1, 1], [0.0, 0.0, 0.0])
