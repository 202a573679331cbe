"""Attenuator curves: what a scan gives back, how sure it is, and which scans are sent away."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from labctl.analysis.calibration.malus import MalusFit, fit_malus
from labctl.model.errors import CalibrationRefused
from labctl.model.pump import MalusCurve
from labctl.model.records import FloatArray
from procedures.gate.attenuator import make_curve

ZERO, LEAK, TOP = 12.0, 0.002, 5e-6
REPEAT_DEG, NOISE_W, LASER = 0.03, 2e-9, 0.002


def transmission(angle: FloatArray, leak: float = LEAK) -> FloatArray:
    return np.asarray(leak + (1 - leak) * np.cos(np.radians(2 * (angle - ZERO))) ** 2)


def scan(
    seed: int = 1, low: float = -5.0, high: float = 95.0, n: int = 31, side: float | FloatArray = 1.0
) -> tuple[FloatArray, FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    angle = np.linspace(low, high, n)
    true = angle - 0.05 * np.asarray(side) + REPEAT_DEG * rng.standard_normal(n)
    power = TOP * transmission(true) * (1 + LASER * rng.standard_normal(n))
    return angle, power + NOISE_W * rng.standard_normal(n), np.full(n, NOISE_W)


def fitted(**more: Any) -> MalusFit:
    angle, power, sigma = scan()
    return fit_malus(angle, power, sigma, angle_sigma_deg=REPEAT_DEG, **more)


def test_zero_leakage_and_power_come_back_within_their_errors() -> None:
    pulls = []
    for seed in range(16):
        angle, power, sigma = scan(seed)
        found = fit_malus(angle, power, sigma, angle_sigma_deg=REPEAT_DEG)
        pulls.append(
            (
                (found.zero_deg - ZERO - 0.05) / found.zero_sigma_deg,
                (found.leakage - LEAK) / found.leakage_sigma,
                (found.max_power_w - TOP) / found.max_power_sigma_w,
            )
        )
    assert np.abs(np.mean(pulls, axis=0)).max() < 0.5
    assert np.std(pulls, axis=0).min() > 0.7
    assert np.std(pulls, axis=0).max() < 1.35
    assert found.zero_sigma_deg < 0.02
    assert found.leakage_sigma < 3e-4


def test_with_no_error_given_the_residuals_tell_them() -> None:
    angle, power, _ = scan(n=25)
    found = fit_malus(angle, power, angle_sigma_deg=None)
    assert found.chi2 is None
    assert abs(found.zero_deg - ZERO - 0.05) < 3 * found.zero_sigma_deg < 0.1


def test_approaches_from_both_sides_give_the_play() -> None:
    side = np.repeat([1.0, -1.0], 25)
    rng = np.random.default_rng(3)
    angle = np.concatenate([np.linspace(0, 90, 25), np.linspace(90, 0, 25)])
    true = angle - 0.5 * 0.2 * side + REPEAT_DEG * rng.standard_normal(50)
    power = TOP * transmission(true) + NOISE_W * rng.standard_normal(50)
    found = fit_malus(angle, power, np.full(50, NOISE_W), angle_sigma_deg=REPEAT_DEG, direction=side)
    assert found.backlash_deg == pytest.approx(0.2, abs=3 * (found.backlash_sigma_deg or 0.0))
    assert found.zero_deg == pytest.approx(ZERO, abs=0.04)
    assert fitted(direction=np.ones(31)).backlash_deg is None


def test_a_leakage_below_the_noise_keeps_an_upper_end_above_zero() -> None:
    rng = np.random.default_rng(2)
    angle = np.linspace(0, 90, 31)
    power = TOP * (transmission(angle, 0.0) + 1e-3 * rng.standard_normal(31) - 1e-3)
    found = fit_malus(angle, power, np.full(31, TOP * 1e-3))
    assert found.leakage == found.leakage_ci95[0] == 0.0
    assert found.leakage_ci95[1] > 1e-4


def test_the_error_of_the_transmission_agrees_with_the_curve_that_procedures_use() -> None:
    found = fitted()
    curve = make_curve(found.settings("+"), (found.zero_deg, found.zero_deg + 45))
    for angle in (found.zero_deg + 0.01, found.zero_deg + 20, found.zero_deg + 44.9):
        assert found.transmission(angle) == pytest.approx(curve.transmission(angle), rel=1e-9)
        assert found.relative_error(angle, 0.05) == pytest.approx(curve.sigma_rel(angle, 0.05), rel=1e-9)
    at_one_per_cent = found.zero_deg + np.degrees(np.arccos(np.sqrt(0.01 - found.leakage))) / 2
    assert found.relative_error(at_one_per_cent, 0.05) == pytest.approx(0.031, abs=0.004)


@pytest.mark.parametrize(
    ("allowed", "sign"), [((12.0, 57.5), "+"), ((-34.0, 13.0), "-"), ((100.0, 150.0), "+"), ((60, 101), "-")]
)
def test_the_branch_lies_inside_the_range_and_reaches_both_ends(
    allowed: tuple[float, float], sign: str
) -> None:
    branch = fitted().choose_branch(allowed)
    assert branch.sign == sign
    assert allowed[0] <= branch.low_deg < branch.high_deg <= allowed[1]
    assert branch.reach[1] - branch.reach[0] > 0.9


def test_among_equal_branches_the_nearest_is_taken_and_a_dark_one_comes_first() -> None:
    found = fitted()
    assert found.choose_branch((0.0, 360.0), prefer_deg=300.0).low_deg == pytest.approx(282, abs=0.2)
    assert found.choose_branch((20.0, 60.0), least_transmission=0.01).reach[0] < 0.01
    with pytest.raises(CalibrationRefused, match="range is missing"):
        found.choose_branch((10.0, 10.0))


def test_settings_are_those_of_a_pump() -> None:
    assert isinstance(fitted().settings("-"), MalusCurve)
    assert fitted().settings("-").branch == "-"


def test_noisy_standard_errors_are_steadied() -> None:
    rng = np.random.default_rng(8)
    angle, power, sigma = scan()
    found = fit_malus(angle, power, sigma * np.sqrt(rng.chisquare(4, 31) / 4), readings=5)
    assert abs(found.zero_deg - ZERO - 0.05) < 4 * found.zero_sigma_deg


def refused(match: str, angle: Any, power: Any, *rest: Any, **more: Any) -> None:
    with pytest.raises(CalibrationRefused, match=match):
        fit_malus(angle, power, *rest, **more)


def test_scans_that_cannot_make_a_curve_say_what_they_lack() -> None:
    angle, power, sigma = scan()
    refused("at least 8", angle[:7], power[:7])
    refused("the minimum near 57", *scan(low=0.0, high=35.0)[:2])
    refused("the maximum near 12", *scan(low=35.0, high=80.0)[:2])
    refused("different angles are too few|too close", np.repeat([12.0, 57.0], 10), np.repeat([1.0, 0.01], 10))
    refused("too close", np.linspace(10, 10.01, 20), np.linspace(1, 1.1, 20))
    refused("hardly changes", angle, np.full(31, 1e-6) * (1 + 0.01 * np.sin(np.arange(31))))
    refused("does not reach", angle, np.zeros(31))
    refused("meter is saturated", angle, np.minimum(power, 3e-6))
    refused("finite", angle, np.where(angle > 50, np.nan, power))
    refused("different lengths", angle, power[:-1])
    refused("positive", angle, power, -sigma)
    refused("repeatability", angle, power, angle_sigma_deg=-1.0)


def test_what_is_not_malus_law_is_refused_for_its_wobble_or_its_scatter() -> None:
    angle, power, sigma = scan(n=61, low=0.0, high=180.0)
    wobble = power + 0.03 * TOP * np.cos(np.radians(2 * angle + 0.4))
    refused("deviate by [23]", angle, wobble, sigma, angle_sigma_deg=REPEAT_DEG)
    rng = np.random.default_rng(5)
    refused("scatter", angle, power * (1 + 0.2 * rng.standard_normal(61)))


def test_a_meter_without_noise_is_no_reason_to_refuse() -> None:
    angle = np.linspace(0, 90, 19)
    power = TOP * transmission(angle)
    for sigma in (np.zeros(19), np.where(angle > 50, 1e-10, 0.0)):
        found = fit_malus(angle, power, sigma)
        assert found.zero_deg == pytest.approx(ZERO, abs=1e-3)
        assert found.leakage == pytest.approx(LEAK, abs=1e-5)
