"""Plans: which fluences in which order, and what is refused before anything moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from procedures_fakes import FakeBench, limits, pump_settings

from labctl.model.errors import ConfigError
from labctl.model.plan import SweepPlan
from labctl.model.pump import SpotSize
from procedures.plan import fluences, steps, validate

PLAN = SweepPlan(start_uj_cm2=20.0, stop_uj_cm2=200.0, points=5)


def test_spacings() -> None:
    assert fluences(replace(PLAN, spacing="linear")) == pytest.approx((20, 65, 110, 155, 200))
    assert np.diff(np.log(fluences(PLAN))) == pytest.approx(np.full(4, np.log(10) / 4))
    listed = replace(PLAN, spacing="list", fluences_uj_cm2=(30.0, 10.0))
    assert fluences(listed) == (30.0, 10.0)


def test_directions() -> None:
    linear = replace(PLAN, spacing="linear")
    down = steps(replace(linear, direction="down"))
    assert [s.fluence_uj_cm2 for s in down] == pytest.approx([200, 155, 110, 65, 20])
    assert {s.direction for s in down} == {"down"}
    both = steps(replace(linear, direction="up-down"))
    assert [s.fluence_uj_cm2 for s in both] == pytest.approx([20, 65, 110, 155, 200, 155, 110, 65, 20])
    assert [s.direction for s in both] == ["up"] * 5 + ["down"] * 4
    assert [s.index for s in both] == list(range(9))


def test_a_shuffled_sweep_is_the_same_for_the_same_seed_only() -> None:
    plan = replace(PLAN, points=12, direction="shuffled", seed=3)
    order = [s.fluence_uj_cm2 for s in steps(plan)]
    assert order == [s.fluence_uj_cm2 for s in steps(plan)]
    assert order != [s.fluence_uj_cm2 for s in steps(replace(plan, seed=4))]
    assert sorted(order) == pytest.approx(fluences(plan))
    for before, step in zip(order, steps(plan)[1:], strict=False):
        assert step.direction == ("up" if step.fluence_uj_cm2 >= before else "down")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"start_uj_cm2": 300.0}, "start"),
        ({"start_uj_cm2": 200.0}, "start"),
        ({"start_uj_cm2": 0.0}, "start"),
        ({"start_uj_cm2": -5.0}, "start"),
        ({"start_uj_cm2": float("nan")}, "start"),
        ({"points": 1}, "points"),
        ({"points": 100_000_000}, "points"),
        ({"stop_uj_cm2": 701.0}, "stop"),
        ({"start_uj_cm2": 1.0}, "start"),
        ({"spacing": "list"}, "fluences"),
        ({"spacing": "list", "fluences_uj_cm2": (20.0, -1.0)}, "fluences"),
        ({"spacing": "list", "fluences_uj_cm2": (20.0, 701.0)}, "fluences"),
        ({"average": 0}, "average"),
        ({"dark_factor": 3}, "dark_factor"),
        ({"aim": 0.99}, "aim"),
        ({"max_light_s": 0.0}, "max_light"),
        ({"integration_s": (0.05,)}, "integration"),
        ({"integration_s": (50.0,)}, "integration"),
        ({"min_pulses": 1000}, "max_integration"),
        ({"spacing": "cubic"}, "spacing"),
        ({"direction": "left"}, "direction"),
        ({"background": "none"}, "background"),
    ],
)
def test_an_impossible_plan_names_its_key(changes: dict[str, object], key: str) -> None:
    plan = replace(PLAN, **changes)  # type: ignore[arg-type]
    bench = FakeBench()
    with pytest.raises(ConfigError) as caught:
        validate(plan, pump_settings(), limits(), spectrometer=bench.spectrometer.info)
    assert caught.value.key == key
    assert bench.table.events == []


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"max_pulse_energy_j": 20e-9}, "pulse energy"),
        ({"max_average_power_w": 20e-6}, "average power"),
        ({"angle_range_deg": (50.0, 60.0)}, "out of reach"),
    ],
)
def test_every_kind_of_limit_is_looked_at(more: dict[str, Any], word: str) -> None:
    validate(PLAN, pump_settings(), limits())
    with pytest.raises(ConfigError, match=word):
        validate(PLAN, pump_settings(), limits(**more))


def test_more_than_the_laser_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="out of reach"):
        validate(replace(PLAN, stop_uj_cm2=1500.0), pump_settings(), limits(2000.0))


@pytest.mark.parametrize(
    "broken",
    [
        {"incidence_deg": 90.0},
        {"spot": SpotSize("gaussian", 0.0, 1.0)},
        {"repetition_rate_hz": 0.0},
        {"pickoff_ratio": -1.0},
        {"order": ("sample",) * 4},
    ],
)
def test_a_bench_that_makes_no_sense_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        validate(PLAN, pump_settings(**broken), limits())


def test_the_fluence_that_was_typed_is_the_one_refused() -> None:
    with pytest.raises(ConfigError, match="fluence 900 uJ/cm2 is above the limit"):
        validate(replace(PLAN, stop_uj_cm2=900.0), pump_settings(), limits())
