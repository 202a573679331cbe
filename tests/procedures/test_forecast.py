"""What a plan will ask of time and light, and which unit was meant where it cannot be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from procedures_fakes import limits, pump_settings

from labctl.model.errors import ConfigError
from labctl.model.plan import AdaptivePlan, SweepPlan
from procedures.forecast import POINT_S, forecast
from procedures.plan import fluences, stability_plan, validate

PLAN = SweepPlan(start_uj_cm2=20.0, stop_uj_cm2=200.0, points=7, average=10, reference_every=0)


def test_light_of_one_exposure_time_is_counted_exactly() -> None:
    found = forecast(replace(PLAN, integration_s=(0.2,)), pump_settings(), limits())
    assert found.points == (7, 7)
    assert found.references == 0
    pulses = 200  # of 0.2 s at 1 kHz
    assert found.dose_uj_cm2[0] == pytest.approx(sum(fluences(PLAN)) * 10 * pulses)
    assert found.dose_uj_cm2[1] == pytest.approx(sum(fluences(PLAN)) * 11 * pulses)
    assert found.time_s[0] == found.time_s[1] == pytest.approx(7 * (POINT_S + 11 * 0.2) + 40 * 0.2)
    assert found.highest_fluence_uj_cm2 == 200.0
    assert found.highest_energy_j == pytest.approx(31.42e-9, rel=1e-3)
    assert found.warnings == ()
    assert "7 points, about 34 s; dose" in found.text


def test_longest_exposures_stay_within_the_light_of_a_point() -> None:
    found = forecast(replace(PLAN, max_integration_s=5.0, max_light_s=11.0), pump_settings(), limits())
    assert found.time_s[1] == pytest.approx(7 * (POINT_S + 11.0) + 40 * 1.0)


def test_a_precision_takes_eleven_of_the_longest_exposures_a_point_at_most() -> None:
    found = forecast(SweepPlan(reference_every=0), pump_settings(), limits())
    assert found.time_s[1] < 24 * (POINT_S + 11 * 0.5) + 4 * 11 * 0.5
    assert found.dose_uj_cm2[1] == pytest.approx(sum(fluences(SweepPlan())) * 11 * 500)
    assert found.warnings == ()


def test_references_are_time_and_light() -> None:
    bare = forecast(PLAN, pump_settings(), limits())
    found = forecast(replace(PLAN, reference_every=1, reference_uj_cm2=50.0), pump_settings(), limits())
    assert found.references == 8
    assert found.time_s[1] > bare.time_s[1] + 8 * POINT_S
    assert found.dose_uj_cm2[1] - bare.dose_uj_cm2[1] == pytest.approx(8 * 50.0 * 11 * 500)


def test_an_adaptive_plan_runs_from_its_start_points_to_its_budget() -> None:
    plan = AdaptivePlan(points=10, budget_points=40, budget_time_s=300.0, budget_dose_uj_cm2=3e6)
    found = forecast(plan, pump_settings(), limits())
    assert found.points == (10, 40)
    assert found.time_s[1] == 300.0
    assert found.dose_uj_cm2[1] == 3e6


def test_a_stability_run_lasts_as_long_as_its_waits() -> None:
    found = forecast(stability_plan(60.0, 7200.0, 60.0), pump_settings(), limits())
    assert found.time_s == (7200.0, 7200.0)
    assert found.warnings == ("the run is long: about 2.0 h",)


def test_strong_light_and_much_dose_are_told() -> None:
    found = forecast(replace(PLAN, stop_uj_cm2=650.0), pump_settings(), limits(max_dose_uj_cm2=4e6))
    strong, much = found.warnings
    assert strong == "the light is strong: 650 uJ/cm2 is 93% of what the limits allow"
    assert much == "the dose may reach 1.45 J/cm2 to 4 J/cm2; its limit is 4 J/cm2"


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((0.02, 0.2), "0.02 to 0.2 mJ/cm2 would fit: did you mean mJ/cm2?"),
        ((0.2, 2.0), "0.2 to 2 J/m2 would fit: did you mean J/m2?"),
        ((200.0, 2000.0), "200 to 2000 mJ/m2 would fit: did you mean mJ/m2?"),
        ((2e4, 2e5), "2e+04 to 2e+05 nJ/cm2 would fit: did you mean nJ/cm2?"),
        ((2e3, 6e4), "20 to 600 uJ/cm2 would fit: check the unit"),
    ],
)
def test_a_plan_that_fits_in_another_unit_is_refused_with_it(ends: tuple[float, float], said: str) -> None:
    plan = replace(PLAN, start_uj_cm2=ends[0], stop_uj_cm2=ends[1])
    with pytest.raises(ConfigError) as caught:
        validate(plan, pump_settings(), limits())
    assert caught.value.reason.endswith(f"; {said}")


@pytest.mark.parametrize("ends", [(20.0, 2000.0), (2.0, 20.0)])
def test_no_unit_is_guessed_where_the_plan_only_goes_too_far(ends: tuple[float, float]) -> None:
    plan = replace(PLAN, start_uj_cm2=ends[0], stop_uj_cm2=ends[1])
    with pytest.raises(ConfigError) as caught:
        validate(plan, pump_settings(), limits())
    assert "would fit" not in caught.value.reason


def test_too_few_points_are_told() -> None:
    (few,) = forecast(replace(PLAN, points=3), pump_settings(), limits()).warnings
    assert few == "3 points: too few for a threshold, which needs 7; measured anyway"
