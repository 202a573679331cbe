"""One sweep wholly above threshold, one wholly below: every place that speaks of it says the same."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from patience import PATIENCE_S

from labctl.analysis.evaluation import evaluate
from labctl.cli.progress import threshold_text
from labctl.cli.table import print_result
from labctl.config import parse_bench
from labctl.data import read_run
from labctl.gui.plots.light_light import run_question
from labctl.model.clock import SteppedClock
from labctl.model.plan import AdaptivePlan, SweepPlan
from labctl.model.records import SweepPoint
from labctl.model.results.sweep import BandThreshold
from labctl.model.run import RunFacts
from labctl.runner.events import Evaluated
from labctl.runner.figures.sweep import picture_of
from labctl.runner.fit_child import evaluate_file
from labctl.runner.fit_process import FileQuestion, Fits
from labctl.runner.refit import refit
from labctl.runner.report import RunReport, dump_json
from labctl.runner.run import LiveFit, RunRequest, run_sweep
from labctl.runner.rundata import open_file
from procedures.steps import AdaptiveSource
from simulators.bench import SimulatedBench
from simulators.presets import scene

LINES = "every point shows lasing peaks"
ABOVE, BELOW = (
    SweepPlan(start_uj_cm2=165, stop_uj_cm2=255, points=12, average=2, reference_every=0),
    SweepPlan(start_uj_cm2=15, stop_uj_cm2=70, points=12, average=2, reference_every=0),
)


def report_of(plan: SweepPlan, where: Path, seed: int = 1) -> RunReport:
    with SimulatedBench(scene("ola", "typical", seed), SteppedClock()) as simulated:
        config, clock = parse_bench(simulated.bench_toml(1.0)), simulated.scene.clock
        request = RunRequest(where, "OLA")
        return run_sweep(
            config, plan, request, stop=threading.Event(), on_event=lambda _event: None, clock=clock
        )


@pytest.fixture(scope="module", params=["above", "below"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunReport, str]:
    plan, words = {"above": (ABOVE, LINES), "below": (BELOW, "full linewidth")}[request.param]
    return report_of(plan, tmp_path_factory.mktemp(request.param)), words


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_demo_bench_well_above_threshold_says_that_every_point_shows_lines(
    seed: int, tmp_path: Path
) -> None:
    plan = SweepPlan(start_uj_cm2=165, stop_uj_cm2=330, points=16, average=4, reference_every=0)
    report = report_of(plan, tmp_path, seed)
    assert report.h5 is not None
    for key in ("threshold", "threshold_lasing"):
        found = getattr(read_run(report.h5).result, key)
        assert isinstance(found, BandThreshold)
        assert LINES in found.reason
        assert "start lower" in found.reason
        assert (found.bound or (None,))[0] is None


def test_terminal_json_file_figure_and_window_agree(
    case: tuple[RunReport, str], capsys: pytest.CaptureFixture[str]
) -> None:
    report, words = case
    assert report.h5 is not None
    assert report.csv is not None
    reason = report.threshold.reason
    assert words in reason
    stored = read_run(report.h5)
    assert picture_of(stored).verdict.replace("µJ/cm²", "uJ/cm2").endswith(f"; {reason}")
    said = {
        "h5": refit(report.h5).threshold.reason,
        "csv": refit(report.csv).threshold.reason,
        "json": json.loads(dump_json([report]))["runs"][0]["threshold"]["reason"],
        "window": evaluate_file(run_question(open_file(report.h5))).threshold.reason,
    }
    assert set(said.values()) == {reason}, said
    print_result([report], as_json=False)
    shown = " ".join(capsys.readouterr().out.split())
    assert reason in shown
    assert ("start lower -" in " ".join(shown.replace("│", " ").split())) is (words == LINES)


def test_the_running_fit_says_it_too(case: tuple[RunReport, str]) -> None:
    report, words = case
    assert report.h5 is not None
    answers: list[Evaluated] = []
    done = threading.Event()

    def take(live: Evaluated) -> None:
        answers.append(live)
        done.set()

    path = str(report.h5)
    with Fits() as fits, LiveFit(lambda: FileQuestion(path), take, fits) as fit:
        fit.offer()
        assert done.wait(PATIENCE_S)
    assert words in threshold_text(answers[-1])


def test_a_table_knows_less_and_says_so(case: tuple[RunReport, str], tmp_path: Path) -> None:
    report, words = case
    assert report.h5 is not None
    run, path = read_run(report.h5), tmp_path / "table.csv"
    columns = [run.fluence_uj_cm2, run.signal]
    np.savetxt(path, np.column_stack(columns), delimiter=",", header="fluence (uJ/cm2),signal", comments="")
    table = refit(path).threshold
    assert table.bound is None or table.bound_condition == "if the lowest points are luminescence"
    np.savetxt(
        path,
        np.column_stack([*columns, run.fwhm_nm]),
        delimiter=",",
        header="fluence (uJ/cm2),signal,FWHM (nm)",
        comments="",
    )
    told = refit(path)
    assert "from the spectra: FWHM" in told.notes
    if words == LINES:
        assert LINES in told.threshold.reason
    else:
        assert told.threshold.bound_condition == "if the lowest points are luminescence"


def test_an_adaptive_sweep_goes_no_higher(case: tuple[RunReport, str]) -> None:
    report, words = case
    assert report.h5 is not None
    points = list(points_of(report.h5))
    low, high = points[0].fluence_set_uj_cm2, points[-1].fluence_set_uj_cm2
    plan = AdaptivePlan(start_uj_cm2=low, stop_uj_cm2=high, points=10, budget_points=20, target_rel=0.006)
    source = AdaptiveSource(plan, 2, None)
    step = source.next(points)
    if words == LINES:
        assert step is None
        assert source.ending is not None
        assert source.ending.cause == "above"
        unseen = [replace(p, fwhm_nm=None, peak_count=0, signal=p.signal - 8000) for p in points]
        step = source.next(unseen)  # no lines, but a signal that points at zero inside the scan
        assert step is not None
        assert step.fluence_uj_cm2 <= (low * high) ** 0.5
    else:
        assert step is not None


def test_what_is_left_out_by_saturation_or_by_hand_speaks_for_nothing(case: tuple[RunReport, str]) -> None:
    report, words = case
    assert report.h5 is not None
    points = [
        replace(p, saturated_exposures=p.exposures, peak_count=9, fwhm_nm=0.5) if i > 8 else p
        for i, p in enumerate(points_of(report.h5))
    ]
    found = evaluate(points, SweepPlan(), RunFacts()).threshold
    assert (words in found.reason) or ("start lower" in found.reason and words == LINES)


def points_of(path: Path) -> tuple[SweepPoint, ...]:
    run = read_run(path)
    return tuple(run.scalars(i) for i in range(len(run)))
