"""Adaptive sweeps and references as a run: what file, report, JSON and terminal say of how they ended."""

from __future__ import annotations

import json
import shlex
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from labctl.analysis.evaluation import evaluate, fit_curve
from labctl.analysis.light_light import LightLight
from labctl.analysis.next_fluence import STOP_FACTOR
from labctl.cli import main
from labctl.config import BenchConfig, parse_bench
from labctl.data import read_run
from labctl.model.clock import ScaledClock, SteppedClock
from labctl.model.mapping import plain
from labctl.model.plan import AdaptivePlan, Cause, Ending, SweepPlan
from labctl.runner.events import Event, Started
from labctl.runner.figures.sweep import picture_of
from labctl.runner.refit import refit
from labctl.runner.report import RunReport, dump_json, more_lines
from labctl.runner.run import RunRequest, run_sweep
from labctl.session import open_bench, sweep
from simulators.bench import SimulatedBench
from simulators.presets import scene

PLAN = AdaptivePlan(
    start_uj_cm2=30.0,
    stop_uj_cm2=170.0,
    average=4,
    target_rel=0.02,
    budget_points=16,
    reference_every=4,
    correct_bleaching="excitation",
)


@pytest.fixture(scope="module")
def simulated() -> Iterator[SimulatedBench]:
    with SimulatedBench(scene("ola", "typical", 3, bleaching="strong"), SteppedClock()) as bench:
        yield bench


@pytest.fixture(scope="module")
def config(simulated: SimulatedBench) -> BenchConfig:
    return parse_bench(simulated.bench_toml(1.0))


def run(config: BenchConfig, simulated: SimulatedBench, plan: SweepPlan, where: Path) -> RunReport:
    events: list[Event] = []
    report = run_sweep(
        config,
        plan,
        RunRequest(where, "OLA"),
        stop=threading.Event(),
        on_event=events.append,
        clock=simulated.scene.clock,
    )
    (started,) = (e for e in events if isinstance(e, Started))
    assert report.points <= started.total
    return report


@pytest.fixture(scope="module")
def report(
    config: BenchConfig, simulated: SimulatedBench, tmp_path_factory: pytest.TempPathFactory
) -> RunReport:
    return run(config, simulated, PLAN, tmp_path_factory.mktemp("adaptive"))


def test_the_report_says_why_it_ended_and_what_the_reference_saw(report: RunReport) -> None:
    (document,) = json.loads(dump_json([report]))["runs"]
    assert list(document)[-2:] == ["adaptive", "bleaching"]
    assert document["result"]["adaptive"] == document["adaptive"]
    adaptive, bleaching = document["adaptive"], document["bleaching"]
    assert adaptive["ended"] == "target"
    assert adaptive["half_width_rel"] < 0.025
    repeated = 1  # above the kink, to tell lost emitters from lost signal
    assert adaptive["points"] == report.points - bleaching["references"] - repeated
    assert bleaching["flags"] == ["bleaching"]
    assert bleaching["change_rel"] < -0.01
    assert bleaching["corrected"] == "excitation"
    flags = document["threshold"]["flags"]
    assert {"adaptive", "stopped_early", "bleaching", "bleaching_corrected"} <= set(flags)
    assert document["threshold"]["value"] == pytest.approx(79.81, rel=0.03)
    lines = more_lines(report.result)
    assert any("ended by target" in line for line in lines)
    assert any("in the fit as the data have it" in line for line in lines)


def test_the_file_says_it_too_and_fits_the_same_again(report: RunReport) -> None:
    assert report.h5 is not None
    stored = read_run(report.h5)
    assert stored.result.adaptive == report.result.adaptive
    assert any("the sweep ends: the target" in event.text for event in stored.events)
    assert stored.flags[0] == ("reference",)
    assert stored.start.plan["target_rel"] == 0.02
    again = refit(report.h5)
    assert plain(again.result) == plain(report.result) == plain(stored.result)


def test_its_interval_is_wider_for_the_end_it_chose_and_for_the_correction(report: RunReport) -> None:
    assert report.h5 is not None
    stored = read_run(report.h5)
    facts = stored.facts
    causes: tuple[Cause | None, ...] = ("target", "points", None)
    ends = {
        cause: evaluate(
            stored, stored.plan, replace(facts, ending=None if cause is None else Ending(cause, ""))
        ).threshold.ci95
        for cause in causes
    }
    assert ends["target"] == ends[None]
    wide, narrow = ends["target"], ends["points"]
    assert wide is not None
    assert narrow is not None
    assert np.log(wide[1] / wide[0]) == pytest.approx(STOP_FACTOR * np.log(narrow[1] / narrow[0]))
    ended = replace(facts, ending=Ending("points", ""))
    budget = evaluate(stored, replace(stored.plan, correct_bleaching="off"), ended).threshold
    assert "budget_points" in budget.flags
    assert "stopped_early" not in budget.flags


def test_the_figure_shows_the_corrected_curve_without_its_references(report: RunReport) -> None:
    assert report.h5 is not None
    stored = read_run(report.h5)
    picture = picture_of(stored)
    beside = np.array(["reference" in flags for flags in stored.flags])
    reference = beside & (
        stored.fluence_uj_cm2 < 79.81
    )  # the point repeated above the kink is one of the curve
    assert beside.sum() == reference.sum() + 1
    assert np.isnan(picture.signal[reference]).all()
    assert np.isfinite(picture.signal[~reference]).all()
    assert (picture.fluence_uj_cm2[1:] < stored.fluence_uj_cm2[1:]).all()
    assert evaluate(stored, stored.plan, stored.facts).threshold.n_points == (~reference).sum()


def test_an_outlier_is_named_by_its_place_among_all_points() -> None:
    reference = np.arange(20) % 5 == 0
    fluence = np.where(reference, 40.0, np.geomspace(30.0, 170.0, 20))
    light = fluence**2 + 3000 * np.maximum(fluence - 80.0, 0)
    light[13] *= 3.0
    none = np.zeros(20)
    curve = LightLight(fluence, fluence, none, light, none, np.arange(20.0), reference)
    assert fit_curve(curve, 2).outliers == (13,)


def test_an_up_and_down_run_reports_its_hysteresis(
    config: BenchConfig, simulated: SimulatedBench, tmp_path: Path
) -> None:
    plan = SweepPlan(
        start_uj_cm2=40.0, stop_uj_cm2=160.0, points=9, average=6, direction="up-down", reference_every=0
    )
    report = run(config, simulated, plan, tmp_path)
    found = report.result.hysteresis
    assert found is not None
    assert found.pairs == 8
    assert found.signal_change_rel < 0
    assert ("hysteresis" in report.threshold.flags) is (found.flags == ("hysteresis",))


def test_a_script_hears_why_the_sweep_ended(config: BenchConfig, simulated: SimulatedBench) -> None:
    plan = AdaptivePlan(start_uj_cm2=40.0, stop_uj_cm2=160.0, average=1, budget_time_s=9.0, reference_every=0)
    with open_bench(config, simulated.scene.clock) as bench:
        points = sweep(bench, plan)
        before = points.ending
        taken = list(points)
    assert before is None
    assert points.ending is not None
    assert points.ending.cause == "time"
    assert 1 <= len(taken) < 10
    assert taken[-1].elapsed_s <= 9.0


def test_the_command_line_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    speed = 100.0
    with SimulatedBench(scene("ola", "typical", 5), ScaledClock(speed)) as bench:
        file = tmp_path / "bench.toml"
        file.write_text(bench.bench_toml(speed), encoding="utf-8")
        words = "--sample OLA --start 30 --stop 170 --average 1 --adaptive --target 20% --start-points 8"
        assert main(["sweep", "--bench", str(file), "--output", str(tmp_path), *words.split()]) == 0
    shown = capsys.readouterr().out
    assert "adaptive sweep, ended by target: the target of +-20 % is reached" in shown
    assert "after 10 points, target met" in shown


# --- the words of the command line -----------------------------------------------------------------------


ENDS = "--start 20 --stop 200"


def planned(monkeypatch: pytest.MonkeyPatch, words: str) -> SweepPlan | None:
    """Return the plan that a command line asks for, None where it is refused."""
    plans: list[SweepPlan] = []

    def take(bench: Path, plan: SweepPlan, labels: RunRequest, **more: bool) -> int:
        plans.append(plan)
        return 0

    monkeypatch.setattr("labctl.cli.commands.sweep.run_sweep_command", take)
    code = main(["sweep", "--bench", "b.toml", "--sample", "S", *shlex.split(words)])
    assert code == (0 if plans else 2)
    return plans[0] if plans else None


def test_options_become_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    words = (
        f"{ENDS} --adaptive --target '1.5 %' --per dose --start-points 12 --budget-points 30 "
        "--budget-dose '2 J/cm²' --budget-time 10min"
    )
    assert planned(monkeypatch, words) == AdaptivePlan(
        points=12,
        target_rel=0.015,
        per="dose",
        budget_points=30,
        budget_dose_uj_cm2=2e6,
        budget_time_s=600.0,
    )
    assert planned(monkeypatch, f"{ENDS} --adaptive") == AdaptivePlan()
    assert planned(monkeypatch, f"{ENDS} --points 30") == SweepPlan(points=30)
    for share in ("0.03", "3%"):
        plan = planned(monkeypatch, f"{ENDS} --adaptive --target {share}")
        assert isinstance(plan, AdaptivePlan)
        assert plan.target_rel == 0.03


def test_bleaching_is_corrected_as_the_data_have_it_or_by_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    for word in ("auto", "off", "excitation", "signal"):
        plan = planned(monkeypatch, f"{ENDS} --reference-every 5 --correct-bleaching {word}")
        assert plan is not None
        assert plan.correct_bleaching == word
    plan = planned(monkeypatch, ENDS)
    assert plan is not None
    assert (plan.reference_every, plan.correct_bleaching) == (None, "auto")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--target 3%", "--target"),
        ("--budget-time 60", "--budget-time"),
        ("--points 24 --adaptive", "--points"),
        ("--adaptive --target 3", "3%"),
        ("--adaptive --target narrow", "--target"),
        ("--adaptive --budget-time '10 parsecs'", "--budget-time"),
        ("--adaptive --budget-dose -2", "--budget-dose"),
    ],
)
def test_options_that_do_not_fit_are_named(
    words: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert planned(monkeypatch, f"{ENDS} {words}") is None
    assert said in capsys.readouterr().err
