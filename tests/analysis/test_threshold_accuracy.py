"""A short form of benchmarks/accuracy/threshold.py: bars with room for the scatter of few trials."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from labctl.analysis.threshold import fit_threshold
from labctl.analysis.threshold.shapes import library


@pytest.fixture(scope="module")
def accuracy() -> Any:
    """The benchmark's module, whose truths share no code with the library."""
    return importlib.import_module("benchmarks.accuracy.threshold")


@pytest.mark.parametrize(
    ("name", "n", "bias", "rmse"),
    [
        ("hinge", 8, 3.0, 6.0),
        ("hinge", 16, 0.9, 1.9),
        ("roll-over", 16, 1.2, 2.6),
        ("impulsive", 16, 0.9, 1.9),
        ("impulsive", 32, 0.5, 1.1),
        ("S-curve 0.001", 32, 1.0, 3.0),
        ("two-photon spot", 32, 3.0, 9.0),
    ],
)
def test_known_thresholds_come_back_with_intervals_that_cover(
    accuracy: Any, name: str, n: int, bias: float, rmse: float
) -> None:
    truth = next(t for t in accuracy.INSIDE if t.name == name)
    cell = accuracy.run(accuracy.Setting(truth, n), trials=40, seed=1, compare=False)
    assert cell.found >= 85
    assert abs(cell.bias) <= bias
    assert cell.rmse <= rmse
    # 40 trials at 95 %: fewer than 34 covered has a chance of 1 in 500.
    assert cell.coverage >= 85
    # A wide interval covers cheaply; this one must earn it.
    assert cell.half_width <= 6 * rmse


@pytest.mark.parametrize("name", ["impulsive, pulses 1.5 %, mild roll-over", "half hinge, half spot"])
def test_truths_outside_the_library_are_covered_too(accuracy: Any, name: str) -> None:
    truth = next(t for t in accuracy.OUTSIDE if t.name == name)
    cell = accuracy.run(accuracy.Setting(truth, 16), trials=40, seed=2, compare=False)
    assert abs(cell.bias) <= 3.0
    assert cell.coverage >= 82


def test_a_spot_seen_through_a_pinhole_is_covered_where_its_rounding_can_be_seen(accuracy: Any) -> None:
    truth = next(t for t in accuracy.OUTSIDE if t.name == "spot collected to 0.8 of peak")
    cell = accuracy.run(accuracy.Setting(truth, 32), trials=40, seed=12, compare=False)
    assert cell.coverage >= 80
    # The price is paid by the spots, not by every kink.
    hinge = accuracy.run(accuracy.Setting(accuracy.INSIDE[0], 32), trials=20, seed=12, compare=False)
    assert hinge.half_width <= 2.5


def test_a_quiet_bench_is_answered_to_a_per_cent(accuracy: Any) -> None:
    noise = accuracy.Noise(multiplicative=0.01, gain=0.05, read_counts=1.0, fluence_rel=0.01)
    truth = next(t for t in accuracy.OUTSIDE if t.name.startswith("impulsive, pulses"))
    cell = accuracy.run(
        accuracy.Setting(truth, 24, noise, contrast=12.0, declared_fluence=0.01), 40, 3, compare=False
    )
    assert cell.found == 100
    assert cell.rmse <= 2.0
    assert cell.coverage >= 87
    assert cell.half_width <= 4.0


def test_better_than_the_field(accuracy: Any) -> None:
    for name in ("hinge", "roll-over", "impulsive"):
        truth = next(t for t in accuracy.INSIDE if t.name == name)
        cell = accuracy.run(accuracy.Setting(truth, 16), trials=25, seed=4)
        assert cell.rmse < cell.naive_rmse
        assert cell.rmse < cell.trimmed_rmse


def test_data_without_a_kink_are_rarely_called_found(accuracy: Any) -> None:
    found = fits = 0
    for k, curve in enumerate(accuracy.NULLS.values()):
        rng = np.random.default_rng([5, k])
        for _ in range(10):
            u = accuracy.scan(14, rng)
            found += fit_threshold(80.0 * u, accuracy.Noise().measure(curve, u, rng)).status == "found"
            fits += 1
    assert fits == 140
    assert found <= 4


def test_power_where_the_scan_reaches_1_3_thresholds(accuracy: Any) -> None:
    setting = accuracy.Setting(accuracy.INSIDE[0], 12, high=1.3)
    rng = np.random.default_rng(6)
    detected = 0
    for _ in range(40):
        result = fit_threshold(*setting.sweep(rng, 79.81))
        detected += result.status == "found" or "edge" in result.flags
    assert detected >= 34


def test_smooth_onsets_are_found_where_they_can_be(accuracy: Any) -> None:
    spot = next(t for t in accuracy.INSIDE if t.name == "two-photon spot")
    rng = np.random.default_rng(8)
    results = [fit_threshold(*accuracy.Setting(spot, 16).sweep(rng, 79.81)) for _ in range(30)]
    assert sum(r.status == "found" or "edge" in r.flags for r in results) >= 20


def test_sparse_quiet_sweeps_do_not_pretend_to_see_between_their_points(accuracy: Any) -> None:
    noise = accuracy.Noise(multiplicative=0.003, gain=0.02, read_counts=0.5)
    truth = next(t for t in accuracy.OUTSIDE if t.name.startswith("impulsive, pulses"))
    setting = accuracy.Setting(truth, 10, noise, contrast=12.0, declared_fluence=0.003)
    cell = accuracy.run(setting, trials=24, seed=9, compare=False)
    assert cell.found == 100
    assert cell.coverage >= 87
    assert cell.rmse <= 2.0


def test_the_spot_that_belongs_to_the_photon_order_leads() -> None:
    for order, name in ((1, "spot-one-photon"), (2, "spot-two-photon"), (3, "spot-three-photon")):
        shapes = library(order)
        spots = [i for i, n in enumerate(shapes.names) if n.startswith("spot")]
        assert shapes.names[max(spots, key=lambda i: shapes.log_prior[i])] == name
        assert len(set(shapes.names)) == len(shapes.names)
