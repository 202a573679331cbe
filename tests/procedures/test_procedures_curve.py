"""Attenuator curves: both branches, their reach, their errors, and the way between two angles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.model.errors import ConfigError
from labctl.model.pump import MalusCurve, TableCurve
from procedures.gate.attenuator import Malus, make_curve

FULL = (0.0, 360.0)
angles = st.floats(0.0, 360.0)


@pytest.mark.parametrize("branch", ["+", "-"])
@pytest.mark.parametrize("zero_deg", [0.0, 12.0, 44.0, 359.0, -3.0])
def test_malus_is_inverted_on_its_branch(zero_deg: float, branch: str) -> None:
    curve = make_curve(MalusCurve(zero_deg, 0.002, 0.9, branch), FULL)  # type: ignore[arg-type]
    for wanted in np.geomspace(0.0025, 1.0, 30):
        assert curve.transmission(curve.angle_deg(wanted)) == pytest.approx(wanted, rel=1e-9)
    assert curve.reach == pytest.approx((0.002 / 0.9, 1.0))


def test_malus_is_the_law_of_the_vocabulary() -> None:
    curve = make_curve(MalusCurve(12.0, 0.01, 0.8), FULL)
    expected = 0.01 + (0.8 - 0.01) * math.cos(2 * math.radians(30.0 - 12.0)) ** 2
    assert curve.transmission(30.0) * 0.8 == pytest.approx(expected)


@pytest.mark.parametrize(("branch", "sign"), [("+", -1), ("-", 1)])
def test_the_branch_decides_which_way_transmission_falls(branch: str, sign: int) -> None:
    curve = make_curve(MalusCurve(100.0, 0.0, 1.0, branch), FULL)  # type: ignore[arg-type]
    assert sign * (curve.angle_deg(0.6) - curve.angle_deg(0.4)) > 0


def test_a_branch_outside_the_range_is_replaced_by_its_repetition() -> None:
    curve = make_curve(MalusCurve(340.0, 0.0, 1.0, "+"), FULL)
    assert 0 <= curve.angle_deg(0.01) <= 360
    assert curve.reach == pytest.approx((0.0, 1.0), abs=1e-12)


def test_a_narrow_range_limits_the_reach() -> None:
    curve = make_curve(MalusCurve(12.0, 0.0, 1.0), (20.0, 50.0))
    assert curve.reach == pytest.approx((curve.transmission(50.0), curve.transmission(20.0)))
    assert curve.angle_deg(1.0) == 20.0
    with pytest.raises(ConfigError):
        make_curve(MalusCurve(12.0, 0.0, 1.0), (50.0, 50.0))


def test_the_error_of_the_angle_costs_what_it_should_at_one_per_cent() -> None:
    curve = make_curve(MalusCurve(0.0, 0.0, 1.0), FULL)
    assert curve.sigma_rel(curve.angle_deg(0.01), 0.05) == pytest.approx(0.035, rel=0.02)
    assert 0 < curve.sigma_rel(0.0, 0.05) < 1e-5


@given(angles, angles)
def test_the_highest_on_the_way_is_never_underestimated(a: float, b: float) -> None:
    curve = make_curve(MalusCurve(12.0, 0.002, 1.0), FULL)
    way = max(curve.transmission(float(x)) for x in np.linspace(a, b, 200))
    assert way <= curve.highest_between(a, b) * (1 + 1e-9)
    assert curve.highest_between(a, b) <= way + 0.02


@given(angles)
def test_the_dark_end_is_reached_without_crossing_a_maximum(start: float) -> None:
    curve = make_curve(MalusCurve(12.0, 0.002, 1.0), FULL)
    end = curve.dark_end_deg(start)
    assert 0 <= end <= 360
    assert curve.highest_between(start, end) <= curve.transmission(start) * (1 + 1e-9) + 1e-12


def gradient(*, falling: bool) -> TableCurve:
    angle = np.linspace(0.0, 270.0, 10)
    values = 10 ** (-angle / 90.0)
    return TableCurve(angle, values if falling else values[::-1])


@pytest.mark.parametrize("falling", [True, False])
def test_a_table_is_interpolated_in_the_logarithm_and_inverted(*, falling: bool) -> None:
    curve = make_curve(gradient(falling=falling), FULL)
    for wanted in (0.0015, 0.02, 0.3, 1.0):
        assert curve.transmission(curve.angle_deg(wanted)) == pytest.approx(wanted, rel=1e-9)
    assert curve.transmission(curve.floor_deg) == pytest.approx(1e-3)
    assert curve.dark_end_deg(100.0) == curve.floor_deg
    assert curve.sigma_rel(100.0, 0.1) == pytest.approx(math.log(10) / 90 * 0.1)


def test_outside_its_table_a_curve_expects_the_worst() -> None:
    curve = make_curve(gradient(falling=True), FULL)
    assert curve.transmission(300.0) == 1.0
    assert curve.highest_between(200.0, 280.0) == 1.0
    assert curve.highest_between(200.0, 100.0) == pytest.approx(curve.transmission(100.0))


@pytest.mark.parametrize(
    ("angle", "values"),
    [([0, 10, 20], [1, 0.5, 0.7]), ([0, 10], [1, 0]), ([0], [1]), ([0, 0], [1, 0.5]), ([0, 10], [1, 1])],
)
def test_a_table_that_is_no_curve_is_refused(angle: list[float], values: list[float]) -> None:
    with pytest.raises(ConfigError):
        make_curve(TableCurve(np.array(angle, float), np.array(values, float)), FULL)


@pytest.mark.parametrize(("t_min", "t_max"), [(0.5, 0.5), (-0.1, 1.0), (0.6, 0.4), (math.nan, 1.0)])
def test_a_malus_curve_without_contrast_is_refused(t_min: float, t_max: float) -> None:
    with pytest.raises(ConfigError):
        Malus.inside(MalusCurve(0.0, t_min, t_max), FULL)
