"""Beta of an S-curve: a number with an interval, a bound, or the reason why not; the wider shapes."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from labctl.analysis.threshold import fit_threshold
from labctl.analysis.threshold.shapes import TWO, Smear, ase_growth, library
from labctl.model.mapping import record_of
from labctl.model.results.sweep import Beta, Threshold

CENTRE = Smear(depth=(0.0, 0.0))
QUIET = {"multiplicative": 0.01, "gain": 0.05, "read_counts": 1.0}


@pytest.fixture(scope="module")
def truths() -> Any:
    """Curves that share no code with the library."""
    return importlib.import_module("benchmarks.accuracy.threshold_truths")


def fitted(truths: Any, truth: Any, n: int, seed: int, **given: Any) -> Any:
    rng = np.random.default_rng([seed, n])
    u = truths.scan(n, rng)
    return fit_threshold(80.0 * u, truths.Noise(**QUIET).measure(truth.signal, u, rng), **given)


@pytest.mark.parametrize("beta", [0.003, 0.03, 0.3])
def test_a_quiet_sweep_gives_beta_with_an_interval_and_the_threshold_of_its_s_curve(
    truths: Any, beta: float
) -> None:
    curve = truths.s_curve(beta)
    results = [fitted(truths, curve, 24, seed, smear=CENTRE) for seed in range(12)]
    found = [r.beta for r in results if r.beta is not None and r.beta.value is not None]
    assert len(found) >= 10
    assert sum(b.ci95[0] <= beta <= b.ci95[1] for b in found) >= len(found) - 2
    assert all(b.ci95[0] < b.value < b.ci95[1] and b.upper is None for b in found)
    ends = [b.threshold_ci95 for b in found]
    assert sum(low <= 80.0 <= high for low, high in ends) >= len(found) - 2


def test_without_a_declared_collection_or_with_few_points_beta_has_an_upper_bound(truths: Any) -> None:
    curve = truths.s_curve(0.01)
    for n, given in ((24, {}), (16, {"smear": CENTRE})):
        bounds = [fitted(truths, curve, n, seed, **given).beta for seed in range(8)]
        assert all(b.value is None and b.reason for b in bounds)
        assert sum(b.upper >= 0.01 for b in bounds) >= 7


def test_a_curve_that_is_no_s_curve_has_no_beta(truths: Any) -> None:
    beta = fitted(truths, truths.INSIDE[0], 24, 1, smear=CENTRE).beta
    assert beta == Beta(reason="the curve is not a steady-state S-curve")


def test_beta_is_kept_in_a_file(truths: Any) -> None:
    result = fitted(truths, truths.s_curve(0.1), 24, 2, smear=CENTRE)
    stored = result.to_mapping()
    assert record_of(Threshold, stored).beta == result.beta
    assert record_of(Threshold, {**stored, "beta": None}).beta is None


def test_the_light_of_a_single_pass_grows_by_its_gain_and_then_in_proportion_to_the_pump() -> None:
    r = np.array([0.4, 0.41, 9.0, 10.0])
    dim, dim_next, bright, brighter = ase_growth(r, 9.0) + ase_growth(np.array([-40.0]), 9.0) * -1
    assert np.log(dim_next / dim) == pytest.approx(9.0 * 0.01, rel=0.02)
    assert brighter - bright == pytest.approx(9.0, rel=0.02)


def test_a_second_kink_is_followed_and_a_sharp_one_stays_sharp(truths: Any) -> None:
    second = next(t for t in truths.INSIDE if t.name.startswith("second kink"))
    found = fitted(truths, second, 24, 3)
    assert found.shape.startswith(TWO)
    assert found.ci95[0] <= 80.0 <= found.ci95[1]
    sharp = fitted(truths, truths.INSIDE[0], 24, 3)
    assert sharp.ci95[1] / sharp.ci95[0] < 1.03
    assert library(2).names[0] == "hinge"
