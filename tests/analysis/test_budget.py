"""The budget of a fluence, held against what moving each number of the chain does to the fluence itself."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from labctl.analysis.budget import (
    UNKNOWN_PULSE_WIDTH,
    UNSTATED,
    Budget,
    fluence_budget,
    scale_rel,
    scale_statement,
)
from labctl.analysis.fluence import effective_area_cm2
from labctl.model.pump import Element, MalusCurve, PumpSettings, SpotSize, TableCurve
from labctl.model.results.sweep import total_interval

BEFORE_ALL: tuple[Element, Element, Element, Element] = ("pick-off", "attenuator", "shutter", "sample")
SETTINGS = PumpSettings(
    wavelength_nm=800.0,
    repetition_rate_hz=1000.0,
    spot=SpotSize("gaussian", 100.0, 80.0),
    convention="peak",
    curve=MalusCurve(12.0, 0.002, 1.0),
    pickoff_ratio=24.0,
    max_pulse_energy_j=200e-9,
    incidence_deg=30.0,
    photon_order=2,
)


def of(budget: Budget, name: str) -> float:
    (term,) = (t for t in budget.terms if t.name == name)
    return term.contribution_rel


def chain(s: PumpSettings, power_w: float = 1e-6, zero_w: float = 0.0, angle_deg: float = 40.0) -> float:
    """The fluence, written down once more and independently."""
    energy = (power_w - zero_w) * s.pickoff_ratio / s.repetition_rate_hz
    assert isinstance(s.curve, MalusCurve)
    if s.order[0] == "pick-off":
        turn = math.radians(2 * (angle_deg - s.curve.zero_deg))
        least = s.curve.t_min / s.curve.t_max
        energy *= least + (1 - least) * math.cos(turn) ** 2
    area = effective_area_cm2(s.spot, s.convention)
    return energy * 1e6 / area * math.cos(math.radians(s.incidence_deg))


@pytest.mark.parametrize(
    ("name", "stated", "moved"),
    [
        ("pick-off ratio", {"pickoff_sigma_rel": 0.01}, {"pickoff_ratio": 24.0 * 1.01}),
        ("repetition rate", {"repetition_sigma_rel": 0.01}, {"repetition_rate_hz": 1010.0}),
        ("spot x", {"spot_x_sigma_rel": 0.01}, {"spot": SpotSize("gaussian", 101.0, 80.0)}),
        ("spot y", {"spot_y_sigma_rel": 0.01}, {"spot": SpotSize("gaussian", 100.0, 80.8)}),
        ("spot (common to x and y)", {"spot_sigma_rel": 0.01}, {"spot": SpotSize("gaussian", 101.0, 80.8)}),
        ("incidence angle", {"incidence_sigma_deg": 0.5}, {"incidence_deg": 30.5}),
    ],
)
def test_a_term_is_what_moving_its_number_does(
    name: str, stated: dict[str, float], moved: dict[str, object]
) -> None:
    budget = fluence_budget(replace(SETTINGS, **stated))  # type: ignore[arg-type]
    change = abs(chain(replace(SETTINGS, **moved)) / chain(SETTINGS) - 1)  # type: ignore[arg-type]
    assert of(budget, name) == pytest.approx(change, rel=0.03)
    assert budget.stated_rel == pytest.approx(of(budget, name))


def test_the_meter_s_zero_weighs_more_in_weak_light() -> None:
    settings = replace(SETTINGS, background_sigma_w=2e-9)
    full = chain(settings, power_w=200e-9 * 1000.0 / 24.0)
    for transmission in (1.0, 0.1):
        power_w = transmission * 200e-9 * 1000.0 / 24.0
        budget = fluence_budget(settings, transmission * full)
        change = abs(chain(settings, power_w, zero_w=2e-9) / chain(settings, power_w) - 1)
        assert of(budget, "meter zero") == pytest.approx(change, rel=1e-9)
        assert budget.fluence_uj_cm2 == pytest.approx(transmission * full)


@pytest.mark.parametrize("angle_deg", [20.0, 40.0, 52.0])
def test_the_curve_counts_only_where_the_meter_does_not_see_it(angle_deg: float) -> None:
    behind = replace(SETTINGS, curve_sigma_deg=0.02, leak_sigma=1e-4)
    assert fluence_budget(behind).stated_rel == 0.0
    before = replace(behind, order=BEFORE_ALL)
    power_w = 200e-9 * 1000.0 / 24.0
    here = chain(before, power_w, angle_deg=angle_deg)
    budget = fluence_budget(before, here)
    turned = abs(chain(before, power_w, angle_deg=angle_deg + 1e-4) / here - 1) * 0.02 / 1e-4
    assert of(budget, "plate angle") == pytest.approx(turned, rel=0.01)
    leaking = replace(before, curve=MalusCurve(12.0, 0.0021, 1.0))
    leaked = abs(chain(leaking, power_w, angle_deg=angle_deg) / here - 1)
    assert of(budget, "leakage") == pytest.approx(leaked, rel=0.01)


def test_the_zero_of_a_meter_behind_the_shutter_is_taken_off() -> None:
    order: tuple[Element, Element, Element, Element] = ("attenuator", "shutter", "pick-off", "sample")
    budget = fluence_budget(replace(SETTINGS, order=order, background_sigma_w=2e-9))
    assert budget.stated_rel == 0.0
    assert "meter zero" not in budget.unstated


def test_a_half_transmission_has_the_slope_of_four_tangents() -> None:
    settings = replace(
        SETTINGS, order=BEFORE_ALL, curve=MalusCurve(0.0, 0.0, 1.0), curve_sigma_deg=0.05, incidence_deg=0.0
    )
    assert of(fluence_budget(settings), "plate angle") == pytest.approx(4 * math.radians(0.05), rel=1e-9)
    full = 2 * fluence_budget(settings).fluence_uj_cm2
    at_one_percent = 4 * math.tan(math.acos(0.1)) * math.radians(0.05)
    assert at_one_percent == pytest.approx(0.035, abs=0.001)
    assert of(fluence_budget(settings, 0.01 * full), "plate angle") == pytest.approx(at_one_percent)


def test_a_table_has_the_slope_of_its_logarithm() -> None:
    angle = np.linspace(0.0, 270.0, 28)
    settings = replace(
        SETTINGS,
        curve=TableCurve(angle, 0.9 * np.exp(-angle / 50.0)),
        order=BEFORE_ALL,
        curve_sigma_deg=0.1,
    )
    assert of(fluence_budget(settings), "plate angle") == pytest.approx(0.1 / 50.0, rel=1e-6)


def test_one_error_in_both_sizes_counts_twice_and_two_errors_in_quadrature() -> None:
    common = fluence_budget(replace(SETTINGS, spot_sigma_rel=0.02)).stated_rel
    own = fluence_budget(replace(SETTINGS, spot_x_sigma_rel=0.02, spot_y_sigma_rel=0.02)).stated_rel
    assert common == pytest.approx(0.04)
    assert own == pytest.approx(0.02 * math.sqrt(2))
    both = replace(SETTINGS, spot_sigma_rel=0.01, spot_x_sigma_rel=0.02, meter_sigma_rel=0.03)
    assert fluence_budget(both).stated_rel == pytest.approx(math.sqrt(0.02**2 + 0.02**2 + 0.03**2))


def test_what_nobody_stated_is_named_and_sources_are_kept() -> None:
    budget = fluence_budget(
        replace(
            SETTINGS,
            meter_sigma_rel=0.03,
            spot_sigma_rel=0.01,
            pickoff_sigma_rel=0.004,
            sources={"pickoff_sigma_rel": "pickoff-1.json"},
        )
    )
    sources = {term.name: term.source for term in budget.terms}
    assert (sources["meter calibration"], sources["pick-off ratio"]) == ("bench file", "pickoff-1.json")
    assert sources["repetition rate"] == UNSTATED
    assert budget.unstated == ("meter zero", "repetition rate", "drift of the chain", "incidence angle")
    nothing = fluence_budget(SETTINGS)
    assert [name for name in nothing.unstated if "spot" in name] == ["spot (common to x and y)"]
    own = fluence_budget(replace(SETTINGS, spot_x_sigma_rel=0.01))
    assert [name for name in own.unstated if "spot" in name] == []
    straight = fluence_budget(replace(SETTINGS, incidence_deg=0.0, spot_sigma_rel=0.01))
    assert "incidence angle" not in straight.unstated


def test_the_pulse_s_width_and_noise_stand_below() -> None:
    assert fluence_budget(SETTINGS).pulse_width_source == UNKNOWN_PULSE_WIDTH
    assert fluence_budget(replace(SETTINGS, photon_order=1)).pulse_width_source == "unknown"
    known = fluence_budget(replace(SETTINGS, pulse_width_fs=59.0, pulse_cv=0.1))
    assert known.pulse_width_source == "bench file"
    assert known.two_photon_factor == pytest.approx(1.01)
    stored = json.loads(json.dumps(known.to_mapping(), allow_nan=False))
    assert stored["combined_rel"] is stored["expanded_rel"] is None
    shown = [t.contribution_rel if t.is_stated else None for t in known.terms]
    assert [t["contribution_rel"] for t in stored["terms"]] == shown


def test_what_nobody_stated_is_never_a_zero() -> None:
    nothing = fluence_budget(SETTINGS)
    assert nothing.combined_rel is None
    assert (
        scale_statement(nothing.record())
        == f"scale uncertainty: not stated ({nothing.links} of {nothing.links} links)"
    )
    assert "0 %" not in scale_statement(nothing.record())
    heavy = replace(SETTINGS, meter_sigma_rel=0.03, pickoff_sigma_rel=0.004)
    assert fluence_budget(heavy).combined_rel is None
    stated = fluence_budget(replace(heavy, spot_sigma_rel=0.01))
    assert stated.combined_rel == stated.stated_rel
    assert scale_statement(stated.record()).startswith(
        "scale uncertainty: +-3.6 % (k = 1), without meter zero"
    )
    old = replace(stated.record(), combined_rel=0.0, unstated=("pick-off ratio",))
    assert scale_rel(old) is None
    assert scale_statement(None) == "scale uncertainty: not stated"


def test_the_total_interval_adds_the_scale_in_quadrature_on_the_logarithm() -> None:
    assert total_interval(80.0, (79.0, 81.5), 0.0) == pytest.approx((79.0, 81.5))
    low, high = total_interval(80.0, (80.0, 80.0), 0.03)
    assert (math.log(80.0 / low), math.log(high / 80.0)) == pytest.approx((0.0588, 0.0588), rel=1e-3)
    low, high = total_interval(80.0, (80.0 * math.exp(-0.03), 80.0 * math.exp(0.04)), 0.05 / 1.959964)
    assert low == pytest.approx(80.0 * math.exp(-math.hypot(0.03, 0.05)))
    assert high == pytest.approx(80.0 * math.exp(math.hypot(0.04, 0.05)))


def test_the_total_interval_covers_a_drawn_scale() -> None:
    rng = np.random.default_rng(5)
    true, scale, own, trials = 80.0, 0.03, 0.015, 4000
    found = true * np.exp(rng.normal(0, own, trials) + rng.normal(0, scale, trials))
    ends = [total_interval(f, (f * math.exp(-1.96 * own), f * math.exp(1.96 * own)), scale) for f in found]
    assert 0.94 < np.mean([low <= true <= high for low, high in ends]) < 0.96


@pytest.mark.parametrize("fluence", [0.0, -1.0, math.nan, math.inf])
def test_a_budget_at_no_fluence_is_refused(fluence: float) -> None:
    with pytest.raises(ValueError, match="budget at"):
        fluence_budget(SETTINGS, fluence)
