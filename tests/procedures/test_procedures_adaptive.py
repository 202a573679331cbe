"""Sweeps that choose for themselves, and references between points, over a simulated table without wires."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from procedures_fakes import BANDS as FAKE_BANDS
from procedures_fakes import FakeBench, FakeSink, limits, pump_settings

import procedures.steps
from benchmarks.scene_roles import BANDS, LIMITS, scene_pump, scene_roles
from labctl.analysis.evaluation import emission_threshold, evaluate
from labctl.analysis.evaluation.bleaching import measure_bleaching
from labctl.analysis.evaluation.hysteresis import measure_hysteresis
from labctl.analysis.light_light import LightLight, is_reference, light_light
from labctl.analysis.next_fluence import Proposal, half_width_rel, stop_corrected
from labctl.analysis.threshold import ThresholdResult, fit_threshold
from labctl.model.clock import SteppedClock
from labctl.model.errors import ConfigError
from labctl.model.plan import AdaptivePlan, SweepPlan
from labctl.model.pump import Limits
from labctl.model.records import FloatArray, SweepPoint
from labctl.model.run import RunFacts
from procedures.fluence_sweep import Sweep, sweep
from procedures.gate.pump import Pump
from procedures.plan import reference_fluence, stability_plan, validate
from procedures.steps import AdaptiveSource, PlannedSource, ReferencedSource, make_source
from simulators import presets
from simulators.scene import Scene

_POUND: dict[str, Any] = {"per": "pound"}
PLAN = AdaptivePlan(start_uj_cm2=30.0, stop_uj_cm2=170.0, average=2, max_integration_s=0.2, reference_every=0)


def begun(plan: SweepPlan, limit: Limits = LIMITS, **scene: Any) -> tuple[Scene, Sweep]:
    options: dict[str, Any] = {"level": "typical", "seed": 4} | scene
    settings = presets.scene("ola", **options)
    clock = SteppedClock()
    table = Scene(settings, clock)
    roles = scene_roles(table, clock)
    return table, sweep(plan, roles, Pump(roles, scene_pump(settings), limit), BANDS)


def fit(curve: LightLight) -> ThresholdResult:
    return fit_threshold(
        curve.fluence_uj_cm2, curve.signal, fluence_sigma_rel=curve.typical_fluence_sigma_rel
    )


def noisy_points(fluences: Sequence[float], seed: int = 1, noise: float = 0.05) -> list[SweepPoint]:
    """Points of a hinge at 80 uJ/cm2, 1 s and 1000 pulses each."""
    bench, rng = FakeBench(), np.random.default_rng(seed)
    plan = SweepPlan(start_uj_cm2=40.0, stop_uj_cm2=50.0, points=2, average=1)
    pump = Pump(bench.roles, pump_settings(), limits())
    one = next(iter(sweep(plan, bench.roles, pump, FAKE_BANDS)))
    dose, points = 0.0, []
    for i, fluence in enumerate(fluences):
        dose += 1000 * fluence
        u = fluence / 80.0
        signal = 100 * (u**2 + 20 * max(u - 1, 0.0)) * (1 + noise * rng.standard_normal())
        changes: dict[str, Any] = {"signal": float(signal), "dose_uj_cm2": dose, "elapsed_s": float(i + 1)}
        points.append(
            replace(one, index=i, fluence_uj_cm2=fluence, fluence_set_uj_cm2=fluence, flags=(), **changes)
        )
    return points


def driven(plan: AdaptivePlan, seed: int = 1, noise: float = 0.05, dose: float | None = None) -> Any:
    """Let a source ask and answer it; return what was measured, and the source."""
    source = AdaptiveSource(plan, 2, dose)
    asked: list[float] = []
    while (step := source.next(noisy_points(asked, seed, noise))) is not None:
        assert step.index == len(asked)
        asked.append(step.fluence_uj_cm2)
    return asked, source


# --- the choice ------------------------------------------------------------------------------------------


def test_it_begins_with_the_plans_own_points_and_ends_when_the_target_is_met() -> None:
    _table, run = begun(PLAN)
    points = list(run)
    assert run.ending is not None
    assert run.ending.cause == "target"
    assert [p.fluence_set_uj_cm2 for p in points[:10]] == pytest.approx(np.geomspace(30, 170, 10))
    result = stop_corrected(fit(light_light(points)))
    width = half_width_rel(result)
    assert width is not None
    assert width < 0.033
    assert len(points) == 12
    assert run.ending.half_width_rel is not None
    assert run.ending.half_width_rel <= 0.03
    assert result.threshold_uj_cm2 == pytest.approx(79.81, rel=0.04)


def test_the_target_is_held_against_the_interval_that_will_be_stated() -> None:
    asked, source = driven(PLAN, seed=3, noise=0.08)
    result = fit(light_light(noisy_points(asked, 3, 0.08)))
    stated, plain = half_width_rel(stop_corrected(result)), half_width_rel(result)
    assert source.ending.half_width_rel == pytest.approx(stated, rel=0.1)
    assert source.ending.half_width_rel > 1.15 * (plain or 1.0)


def test_no_interval_is_believed_before_chosen_points_confirm_it() -> None:
    counts = [len(driven(replace(PLAN, target_rel=0.2, confirm_points=n), noise=0.02)[0]) for n in (0, 3)]
    assert counts == [10, 13]


def test_the_points_it_chooses_lie_inside_the_range_and_near_the_kink() -> None:
    asked, source = driven(PLAN, seed=3, noise=0.08)
    assert source.ending.cause == "target"
    chosen = np.array(asked[10:])
    assert chosen.size >= 4
    assert chosen.min() >= 30.0
    assert chosen.max() <= 170.0
    assert np.median(np.abs(np.log(chosen / 80.0))) < 0.35


@pytest.mark.parametrize("per", ["point", "dose"])
def test_the_choice_is_told_what_counts_and_what_the_range_is(
    per: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []

    def spy(result: ThresholdResult, measured: Sequence[float], **how: Any) -> Proposal:
        told.append(how)
        return Proposal(1000.0, "interval")

    monkeypatch.setattr(procedures.steps, "next_fluence", spy)
    changes: dict[str, Any] = {"per": per}
    plan = replace(PLAN, target_rel=0.0051, **changes)
    step = AdaptiveSource(plan, 2, None).next(noisy_points(list(np.geomspace(30, 170, 10)), noise=0.1))
    assert step is not None
    assert step.fluence_uj_cm2 == pytest.approx(170.0)  # whatever is proposed, the range is kept
    assert told[0]["per"] == per
    assert (told[0]["low_uj_cm2"], told[0]["high_uj_cm2"]) == pytest.approx((30.0, 170.0))


@pytest.mark.parametrize("correction", ["off", "excitation"])
def test_the_fit_sees_the_grid_only_and_corrected_if_wanted(
    correction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []

    def spy(fluence_uj_cm2: FloatArray, signal: FloatArray, **options: Any) -> ThresholdResult:
        seen.extend(fluence_uj_cm2)
        return fit_threshold(fluence_uj_cm2, signal, **options)

    evaluation = import_module("labctl.analysis.evaluation.evaluate")
    monkeypatch.setattr(evaluation, "fit_threshold", spy)
    grid = list(np.geomspace(30, 170, 10))
    points = noisy_points([40.0, *grid[:5], 40.0, *grid[5:], 40.0], noise=0.0)
    for at, left in ((0, 1.0), (6, 0.81), (12, 0.64)):
        points[at] = replace(points[at], flags=("reference",), signal=left * points[0].signal)
    changes: dict[str, Any] = {"correct_bleaching": correction}
    plan = replace(PLAN, reference_every=5, target_rel=0.0051, **changes)
    AdaptiveSource(plan, 2, None).next(points)
    if correction == "off":
        assert seen == pytest.approx(grid)
    else:
        assert len(seen) % 10 == 0  # under several laws
        assert 1.0 > seen[0] / grid[0] > seen[4] / grid[4] > 0.9 > seen[9] / grid[9] > 0.8


def test_asked_twice_it_answers_the_same() -> None:
    points = noisy_points(list(np.geomspace(30, 170, 10)), noise=0.1)
    source = AdaptiveSource(PLAN, 2, None)
    assert source.next(points) == source.next(points)
    assert source.ending is None


def test_without_a_kink_it_fills_gaps_until_the_points_are_spent() -> None:
    plan = replace(PLAN, start_uj_cm2=10.0, stop_uj_cm2=60.0, budget_points=14)
    asked, source = driven(plan, noise=0.02)
    assert source.ending.cause == "points"
    assert "14 points" in source.ending.reason
    assert len(asked) == 14
    assert np.diff(np.log(sorted(asked))).min() > 0.05


# --- budgets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"budget_points": 12}, "points"),
        ({"budget_dose_uj_cm2": 1.0e6}, "dose"),
        ({"budget_time_s": 13.5}, "time"),
    ],
)
def test_a_budget_ends_it_before_it_is_passed(changes: dict[str, Any], cause: str) -> None:
    plan = replace(PLAN, target_rel=0.0051, **changes)
    asked, source = driven(plan)
    assert source.ending.cause == cause
    spent = {"points": len(asked), "dose": 1000 * sum(asked), "time": float(len(asked))}
    budget = next(iter(changes.values()))
    assert 0.75 * budget < spent[cause] <= budget


def test_budgets_hold_among_the_first_points_too() -> None:
    asked, source = driven(replace(PLAN, budget_time_s=4.5))
    assert (len(asked), source.ending.cause) == (4, "time")
    assert "no interval" in source.ending.reason


def test_it_ends_before_it_runs_into_the_benchs_own_dose_limit() -> None:
    limit = replace(LIMITS, max_dose_uj_cm2=3.0e5)
    _table, run = begun(replace(PLAN, target_rel=0.006), limit)
    points = list(run)
    assert run.ending is not None
    assert run.ending.cause == "dose"
    assert 1.5e5 < points[-1].dose_uj_cm2 <= 3.0e5


# --- references ------------------------------------------------------------------------------------------


def test_references_stand_first_every_k_points_and_last() -> None:
    bench, sink = FakeBench(), FakeSink()
    plan = SweepPlan(start_uj_cm2=40.0, stop_uj_cm2=120.0, points=7, average=2, reference_every=3)
    run = sweep(plan, bench.roles, Pump(bench.roles, pump_settings(), limits()), FAKE_BANDS, sink=sink)
    marks = "".join("r" if is_reference(p) else "." for p in run)
    assert marks == "r...r...r.r"
    assert len(marks) <= run.most
    assert [p.index for p in sink.points] == list(range(11))
    at = {p.fluence_set_uj_cm2 for p in sink.points if is_reference(p)}
    assert at == {reference_fluence(plan)}
    assert 40.0 < at.pop() < 60.0
    own = [p.fluence_set_uj_cm2 for p in sink.points if not is_reference(p)]
    assert own == pytest.approx(np.geomspace(40, 120, 7))
    bench.assert_safe()


def marked(points: Sequence[SweepPoint], plan: SweepPlan) -> str:
    """A point of the sweep is ".", a reference "r", one repeated above the kink "R"."""
    own = reference_fluence(plan)
    return "".join(
        "." if not is_reference(p) else "r" if p.fluence_set_uj_cm2 == own else "R" for p in points
    )


def test_by_default_references_stand_first_above_the_kink_and_last() -> None:
    plan = SweepPlan(start_uj_cm2=30.0, stop_uj_cm2=170.0, points=14, average=4)
    _table, run = begun(plan)
    points = list(run)
    marks = marked(points, plan)
    assert re.fullmatch(r"r\.+rr\.+Rrr", marks)
    assert marks.count(".") == 14
    assert len(points) <= run.most
    kink = points[marks.index("rr") - 1]
    assert 79.81 < kink.fluence_set_uj_cm2 < 1.4 * 79.81
    again = points[marks.index("R")]
    assert again.fluence_set_uj_cm2 == kink.fluence_set_uj_cm2
    found = evaluate(points, plan, RunFacts(2))
    assert found.bleaching is not None
    assert found.bleaching.references == 5
    assert found.bleaching.laws["no loss"] > 0.5
    # What comes next follows from the points alone, so that a run that was cut off goes on as it was.
    source = make_source(plan, pump_settings(), limits())
    for done in range(len(points)):
        step = source.next(points[:done])
        assert step is not None
        assert (step.index, step.fluence_uj_cm2) == (done, points[done].fluence_set_uj_cm2)
        assert step.reference == is_reference(points[done])
    assert source.next(points) is None


def test_without_a_kink_the_middle_reference_stands_at_the_middle_of_the_light() -> None:
    plan = SweepPlan(start_uj_cm2=20.0, stop_uj_cm2=60.0, points=9, average=4)
    _table, run = begun(plan)
    points = list(run)
    assert re.fullmatch(r"r\.+r\.+rr", marked(points, plan))
    light = np.cumsum([0.0 if is_reference(p) else p.fluence_set_uj_cm2 for p in points])
    place = marked(points, plan).index(".r") + 1
    assert light[place - 2] < 0.5 * light[-1] <= light[place - 1]


def test_few_points_and_a_zero_take_no_reference() -> None:
    assert reference_fluence(SweepPlan(points=6)) is None
    assert reference_fluence(SweepPlan(points=6, reference_uj_cm2=30.0)) == 30.0
    assert reference_fluence(SweepPlan(reference_every=0)) is None
    assert reference_fluence(stability_plan(60.0, 600.0, 30.0)) is None


def test_no_reference_is_repeated_where_one_stands_already() -> None:
    plan = SweepPlan(points=6, reference_every=3)
    source = ReferencedSource(PlannedSource(plan), plan, 50.0, 2)
    points: list[SweepPoint] = []
    pattern = noisy_points([50.0] * 12)
    marks = ""
    while (step := source.next(points)) is not None:
        marks += "r" if step.reference else "."
        points.append(replace(pattern[len(points)], flags=("reference",) if step.reference else ()))
    assert marks == "r...r...r"
    assert source.ending is not None
    assert source.ending.cause == "plan"


def test_a_blank_is_measured_at_the_reference_too() -> None:
    bench = FakeBench()
    plan = SweepPlan(
        start_uj_cm2=40.0, stop_uj_cm2=120.0, points=2, average=2, reference_every=2, background="blank"
    )
    pump = Pump(bench.roles, pump_settings(), limits())
    points = list(sweep(plan, bench.roles, pump, FAKE_BANDS, insert=lambda _what: None))
    assert [is_reference(p) for p in points] == [True, False, False, True]
    numbers = [p.blank_number for p in points]
    assert numbers[0] == numbers[3]
    assert len({*numbers, None}) == 4


@pytest.mark.parametrize(("bleaching", "low", "high"), [("mild", -0.05, -0.01), ("strong", -0.45, -0.15)])
def test_bleaching_is_measured_flagged_and_taken_out(bleaching: str, low: float, high: float) -> None:
    plan = SweepPlan(start_uj_cm2=30.0, stop_uj_cm2=170.0, points=18, average=10, reference_every=4)
    table, run = begun(plan, bleaching=bleaching)
    points = list(run)
    curve = light_light(points)
    found = measure_bleaching(curve, 2)
    assert found is not None
    assert found.flags == ("bleaching",)
    assert low < found.change_rel < high
    left = np.exp(found.ln_light[-1])
    assert left == pytest.approx(table.sample.alive, abs=0.015 + 0.1 * (1 - left))
    plain, fresh = fit(curve.grid), emission_threshold(list(points), plan, 2)
    assert fresh.threshold_uj_cm2 == pytest.approx(79.81, rel=0.015)
    assert plain.threshold_uj_cm2 is not None
    assert fresh.threshold_uj_cm2 is not None
    if bleaching == "strong":
        assert plain.threshold_uj_cm2 > 1.03 * fresh.threshold_uj_cm2


def test_a_stable_sample_is_not_called_bleached_nor_different_on_the_way_down() -> None:
    plan = SweepPlan(
        start_uj_cm2=30.0, stop_uj_cm2=170.0, points=10, average=4, reference_every=5, direction="up-down"
    )
    _table, run = begun(plan)
    curve = light_light(list(run))
    bleaching, hysteresis = measure_bleaching(curve, 2), measure_hysteresis(curve, fit)
    assert bleaching is not None
    assert hysteresis is not None
    assert bleaching.flags == hysteresis.flags == ()
    assert hysteresis.pairs == 9
    assert abs(hysteresis.signal_change_rel) < 0.01


def test_a_sample_that_fades_answers_less_on_the_way_down() -> None:
    plan = SweepPlan(
        start_uj_cm2=30.0, stop_uj_cm2=170.0, points=14, average=6, direction="up-down", reference_every=0
    )
    _table, run = begun(plan, bleaching="strong")
    found = measure_hysteresis(light_light(list(run)), fit)
    assert found is not None
    assert found.flags == ("hysteresis",)
    assert found.signal_change_rel < -0.03
    assert found.threshold_change_rel is not None
    assert found.threshold_change_rel > 0.01


def test_an_adaptive_sweep_of_a_fading_sample_finds_the_fresh_ones_threshold() -> None:
    plan = replace(
        PLAN,
        average=10,
        target_rel=0.015,
        reference_every=3,
        correct_bleaching="excitation",
        budget_points=20,
    )
    _table, run = begun(plan, bleaching="strong")
    points = list(run)
    assert run.ending is not None
    assert is_reference(points[0])
    assert is_reference(points[-1])
    own = [p.fluence_set_uj_cm2 for p in points if not is_reference(p)]
    assert own[:10] == pytest.approx(np.geomspace(30, 170, 10))
    assert 12 <= len(own) <= 20
    fresh = emission_threshold(points, plan, 2)
    assert fresh.threshold_uj_cm2 == pytest.approx(79.81, rel=0.02)


# --- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (replace(PLAN, target_rel=0.001), "target"),
        (replace(PLAN, target_rel=float("nan")), "target"),
        (replace(PLAN, budget_points=9), "budget_points"),
        (replace(PLAN, confirm_points=-1), "confirm_points"),
        (replace(PLAN, budget_dose_uj_cm2=0.0), "budget_dose"),
        (replace(PLAN, budget_time_s=-1.0), "budget_time"),
        (replace(PLAN, **_POUND), "per"),
        (replace(PLAN, background="blank"), "background"),
        (SweepPlan(reference_every=-1), "reference_every"),
        (SweepPlan(reference_every=0, reference_uj_cm2=40.0), "reference_every"),
        (SweepPlan(reference_every=0, correct_bleaching="excitation"), "correct_bleaching"),
        (SweepPlan(reference_every=4, reference_uj_cm2=-40.0), "reference"),
        (SweepPlan(reference_every=4, reference_uj_cm2=4000.0), "reference"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_by_name(plan: SweepPlan, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(plan, pump_settings(), limits())
    assert caught.value.key == said
