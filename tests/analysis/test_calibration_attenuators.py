"""Tables of graded wheels, and the play and repeatability of mounts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from labctl.analysis.calibration.malus import fit_plate
from labctl.analysis.calibration.table import TableFit, fit_table
from labctl.model.errors import CalibrationRefused
from labctl.model.records import FloatArray
from procedures.gate.attenuator import make_curve

ANGLE = np.linspace(0, 270, 40)


def wheel(seed: int = 1, density: float = 0.01, noise: float = 0.003) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    power = 1e-5 * 10 ** (-density * ANGLE) * (1 + noise * rng.standard_normal(40))
    return ANGLE, power + 2e-10 * rng.standard_normal(40)


def fitted(density: float = 0.01) -> TableFit:
    return fit_table(*wheel(density=density), np.full(40, 2e-10), angle_sigma_deg=0.05)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_table_follows_its_wheel_within_its_errors(sign: float) -> None:
    found = fitted(sign * 0.01)
    true = -sign * math.log(10) * 0.01 * found.angle_deg
    pulls = (np.log(found.transmission) - true + true.max()) / np.maximum(found.sigma_rel, 1e-4)
    assert np.abs(pulls).max() < 4
    assert found.falling is (sign > 0)
    assert found.transmission.max() == 1.0
    assert found.max_power_w == pytest.approx(1e-5 * 10 ** (0 if sign > 0 else 2.7), rel=0.02)


def test_procedures_can_use_the_table() -> None:
    found = fitted()
    curve = make_curve(found.settings(), (0.0, 270.0))
    there = np.exp(np.interp(100.3, found.angle_deg, np.log(found.transmission)))
    assert curve.transmission(100.3) == pytest.approx(float(there), rel=1e-9)
    assert curve.sigma_rel(100.3, 0.1) == pytest.approx(float(found.relative_error(100.3, 0.1)), rel=1e-6)


def test_what_the_meter_cannot_see_is_cut_off() -> None:
    rng = np.random.default_rng(1)
    found = fit_table(ANGLE, 1e-5 * 10 ** (-0.02 * ANGLE) + 2e-9 * rng.standard_normal(40), np.full(40, 2e-9))
    assert "cut" in found.flags
    assert 150 < found.angle_deg.max() < 260


def test_a_table_is_strictly_monotone_even_where_noise_is_not() -> None:
    angle, power = wheel(density=0.0015, noise=0.02)
    found = fit_table(angle, power, np.full(40, 2e-10))
    assert (np.diff(found.transmission) < 0).all()


def refused(match: str, angle: Any, power: Any, *rest: Any, **more: Any) -> None:
    with pytest.raises(CalibrationRefused, match=match):
        fit_table(angle, power, *rest, **more)


def test_wheels_that_cannot_be_a_table_are_refused() -> None:
    angle, power = wheel()
    refused("not monotone", np.concatenate([angle, angle + 280]), np.concatenate([power, power[::-1]]))
    refused("too short", angle, np.full(40, 1e-6) * (1 + 0.001 * np.arange(40)))
    refused("at least 8", angle[:5], power[:5])
    refused("different angles", np.repeat([1.0, 2.0], 10), np.repeat([1.0, 0.1], 10))
    refused("does not reach", angle, -power)
    refused("repeatability", angle, power, angle_sigma_deg=math.nan)


def approaches(seed: int, play: float, repeat: float, each: int = 10) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    side = np.tile([1.0, -1.0], each)
    angle = 22.5 - 0.5 * play * side + repeat * rng.standard_normal(2 * each)
    return 5e-6 * np.cos(np.radians(2 * angle)) ** 2 + 1e-9 * rng.standard_normal(2 * each), side


SLOPE = -5e-6 * math.radians(2)


def test_play_and_repeatability_come_back_with_their_errors() -> None:
    pulls, inside = [], 0
    for seed in range(100):
        found = fit_plate(*approaches(seed, 0.1, 0.03), np.full(20, 1e-9), slope_w_per_deg=SLOPE)
        pulls.append((found.backlash_deg - 0.1) / found.backlash_sigma_deg)
        inside += found.repeatability_ci95_deg[0] <= 0.03 <= found.repeatability_ci95_deg[1]
    assert abs(np.mean(pulls)) < 0.3
    assert 0.75 < np.std(pulls) < 1.25
    assert 90 <= inside <= 99
    assert found.repeatability_sigma_deg < 0.01


def test_what_the_meter_and_the_laser_explain_is_no_error_of_the_mount() -> None:
    rng = np.random.default_rng(1)
    side = np.tile([1.0, -1.0], 10)
    power = 2.5e-6 * (1 + 0.003 * rng.standard_normal(20))
    found = fit_plate(power, side, slope_w_per_deg=SLOPE, laser_rel=0.003)
    assert found.repeatability_ci95_deg[0] == 0.0
    assert found.repeatability_deg < 0.03


@pytest.mark.parametrize(
    ("side", "slope", "laser", "match"),
    [
        ([1.0] * 20, SLOPE, 0.0, "from below and 0 from above"),
        ([1.0] * 10 + [-1.0] * 10, SLOPE, 0.0, "do not alternate"),
        ([1.0, -1.0] * 10, 0.0, 0.0, "hardly changes"),
        ([1.0, -1.0] * 10, SLOPE / 100, 0.0, "hardly changes|not a mount"),
        ([1.0, -1.0] * 10, SLOPE, 2.0, "laser scatter"),
    ],
)
def test_approaches_that_tell_nothing_are_refused(
    side: list[float], slope: float, laser: float, match: str
) -> None:
    with pytest.raises(CalibrationRefused, match=match):
        fit_plate(approaches(1, 0.1, 0.03)[0], side, slope_w_per_deg=slope, laser_rel=laser)


def test_a_mount_that_loses_steps_is_refused() -> None:
    with pytest.raises(CalibrationRefused, match="loses steps"):
        fit_plate(*approaches(1, 2.0, 0.03), slope_w_per_deg=SLOPE)
    with pytest.raises(CalibrationRefused, match="no power"):
        fit_plate(np.zeros(20), np.tile([1, -1], 10), slope_w_per_deg=SLOPE)
