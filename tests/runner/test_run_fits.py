"""The fits at the end of a run: apart, after the bench was left, and never waited for in vain."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import psutil
import pytest
from patience import PATIENCE_S

from labctl.config import BenchConfig, parse_bench
from labctl.data import read_run
from labctl.model.clock import SteppedClock, Stop
from labctl.model.mapping import plain, record_of
from labctl.model.plan import SweepPlan
from labctl.model.results.sweep import QResult
from labctl.model.run import RunFacts
from labctl.runner import fit_process, run
from labctl.runner.events import Event, Measured, Message
from labctl.runner.facts import RunRequest
from labctl.runner.fit_process import FitFailed, FitProcess
from labctl.runner.refit import refit
from labctl.runner.run import run_sweep
from labctl.runner.stability import run_stability
from labctl.session import open_bench
from procedures.plan import stability_plan
from simulators.bench import SimulatedBench
from simulators.presets import scene

PLAN = SweepPlan(start_uj_cm2=30.0, stop_uj_cm2=180.0, points=8, average=2, reference_every=0)
STABILITY = stability_plan(60.0, 400.0, 20.0, average=3)

QUESTION = {"do": "evaluate", "path": "nowhere"}


@pytest.fixture
def simulated() -> Iterator[SimulatedBench]:
    with SimulatedBench(scene("ola", "typical", 3), SteppedClock()) as bench:
        yield bench


@pytest.fixture
def config(simulated: SimulatedBench) -> BenchConfig:
    return parse_bench(simulated.bench_toml(1.0))


@pytest.fixture
def asked(simulated: SimulatedBench, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Every question to the process of the fits, and whether the shutter was closed, the plate dark, then."""
    found: list[tuple[str, bool]] = []
    ask = FitProcess.ask

    def noted(
        self: FitProcess, question: Mapping[str, object], within_s: float, stop: Stop | None = None
    ) -> dict[str, object]:
        beam = simulated.scene.settings.optics
        away = abs((simulated.scene.mount.angle_deg() - beam.zero_deg) % 90.0 - 45.0)
        found.append((str(question["do"]), simulated.scene.shutter.closed_switch() and away < 0.5))
        return ask(self, question, within_s, stop)

    monkeypatch.setattr(FitProcess, "ask", noted)
    return found


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setattr(fit_process, "MODULE", "stuck_fit")


def test_what_is_carried_comes_back(config: BenchConfig, simulated: SimulatedBench) -> None:
    with open_bench(config, simulated.scene.clock) as bench:
        facts = bench.facts
    back = record_of(RunFacts, json.loads(json.dumps(plain(facts))))
    assert back.settings == facts.settings
    assert back.bands == facts.bands
    assert back.spectrometer is not None
    assert facts.spectrometer is not None
    assert np.array_equal(back.spectrometer.wavelength_nm, facts.spectrometer.wavelength_nm)
    assert record_of(RunFacts, {"photon_order": "rm", "settings": {"curve": 3}, "more": 1}) == RunFacts()
    with pytest.raises(ValueError, match="not a valid QResult"):
        record_of(QResult, {"value": 3.0})


def test_the_last_fit_comes_after_the_bench_was_left(
    simulated: SimulatedBench, config: BenchConfig, tmp_path: Path, asked: list[tuple[str, bool]]
) -> None:
    report = run_sweep(
        config,
        PLAN,
        RunRequest(tmp_path, "OLA"),
        stop=threading.Event(),
        on_event=lambda _event: None,
        clock=simulated.scene.clock,
    )
    assert asked[-1] == ("evaluate", True)
    assert report.threshold.status == "found"
    assert report.result.q is not None
    assert report.h5 is not None
    assert refit(report.h5).threshold.threshold_uj_cm2 == report.threshold.threshold_uj_cm2


def test_a_last_fit_that_hangs_ends_the_run_finished_with_its_points(
    simulated: SimulatedBench,
    config: BenchConfig,
    tmp_path: Path,
    asked: list[tuple[str, bool]],
    stuck: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "LONGEST_FIT_S", 0.5)
    told: list[Event] = []
    report = run_sweep(
        config,
        PLAN,
        RunRequest(tmp_path, "OLA"),
        stop=threading.Event(),
        on_event=told.append,
        clock=simulated.scene.clock,
    )
    text = f"the fit did not end within 0.5 s: labctl fit {report.h5} computes it later"
    assert asked[-1] == ("evaluate", True)
    assert (report.status, report.points) == ("finished", 8)
    assert (report.threshold.status, report.threshold.reason) == ("refused", text)
    assert Message(text) in told
    assert report.h5 is not None
    stored = read_run(report.h5)
    assert (stored.status, len(stored)) == ("finished", 8)
    assert refit(report.h5).threshold.status == "found"


def test_a_stop_breaks_a_hanging_last_fit_off(
    simulated: SimulatedBench,
    config: BenchConfig,
    tmp_path: Path,
    stuck: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only the stop can end it: the deadline lies an hour away."""
    monkeypatch.setattr(run, "LONGEST_FIT_S", 3600.0)
    stop, told = threading.Event(), list[Event]()
    ask = FitProcess.ask

    def stopped(
        self: FitProcess, question: Mapping[str, object], within_s: float, asked_stop: Stop | None = None
    ) -> dict[str, object]:
        if within_s > 1000.0:
            stop.set()
        return ask(self, question, within_s, asked_stop)

    monkeypatch.setattr(FitProcess, "ask", stopped)
    report = run_sweep(
        config,
        PLAN,
        RunRequest(tmp_path, "OLA"),
        stop=stop,
        on_event=told.append,
        clock=simulated.scene.clock,
    )
    assert report.status == "finished"
    assert report.threshold.reason.startswith("the fit was cancelled: labctl fit ")
    stopping = [e.text for e in told if isinstance(e, Message) and e.text.startswith("stopping")]
    assert stopping in ([], [run.BREAKING_OFF])


def test_a_run_that_was_stopped_waits_shortly_for_its_fit(
    simulated: SimulatedBench, config: BenchConfig, tmp_path: Path, stuck: None
) -> None:
    stop = threading.Event()

    def after_four(event: Event) -> None:
        if isinstance(event, Measured) and event.number == 4:
            stop.set()

    report = run_sweep(
        config, PLAN, RunRequest(tmp_path, "OLA"), stop=stop, on_event=after_four, clock=simulated.scene.clock
    )
    assert report.status == "aborted"
    assert "did not end within 2 s" in report.threshold.reason


@pytest.mark.parametrize("hangs", [False, True])
def test_the_decay_of_a_stability_run_is_fitted_apart(
    simulated: SimulatedBench,
    config: BenchConfig,
    tmp_path: Path,
    hangs: bool,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    if hangs:
        request.getfixturevalue("stuck")
        monkeypatch.setattr(run, "LONGEST_FIT_S", 0.5)
    report = run_stability(
        config,
        STABILITY,
        RunRequest(tmp_path, "OLA"),
        stop=threading.Event(),
        on_event=lambda _event: None,
        clock=simulated.scene.clock,
    )
    decay = report.result.stability
    assert decay is not None
    assert decay.points == report.points
    assert (decay.reason == "the fit did not end within 0.5 s") is hangs
    assert (decay.status == "refused") is hangs, decay


def test_a_process_that_was_killed_is_started_anew() -> None:
    with FitProcess() as process:
        assert process._child is not None
        process._child.kill()
        process._child.wait()
        assert "nowhere" in str(process.ask(QUESTION, 100.0)["problem"])
        assert "nonsense" in str(process.ask({"do": "nonsense"}, 100.0)["problem"])
        process._child.kill()
        process._child.wait()
        assert "nowhere" in str(process.ask(QUESTION, 100.0)["problem"])


def test_one_process_serves_run_after_run() -> None:
    with FitProcess() as process:
        first = process._child
        assert "nowhere" in str(process.ask(QUESTION, 100.0)["problem"])
    with FitProcess() as process, FitProcess() as other:
        assert process._child is first
        assert other._child not in (None, first)  # two runs at a time do not wait for each other
        assert "nowhere" in str(process.ask(QUESTION, 100.0)["problem"])


def test_a_process_that_owes_an_answer_serves_no_other_run(stuck: None) -> None:
    with FitProcess() as process:
        child = process._child
        assert child is not None
        failed = threading.Event()

        def ask() -> None:
            with pytest.raises(FitFailed, match=r"has ended"):
                process.ask(QUESTION, 3600.0)
            failed.set()

        thread = threading.Thread(target=ask)
        thread.start()
        while not process._asking.locked():
            thread.join(0.01)
    assert child.wait(PATIENCE_S) != 0
    assert failed.wait(PATIENCE_S)
    thread.join()
    assert fit_process.SPARE.take() is None


def test_the_end_of_the_program_ends_the_process_that_waits() -> None:
    script = """
from labctl.runner.fit_process import SPARE, FitProcess
with FitProcess():
    pass
print(SPARE._kept[1].pid, flush=True)
"""
    found = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True)
    assert not psutil.pid_exists(int(found.stdout))


def test_a_fit_that_hangs_ends_by_itself_where_nobody_is_left_to_end_it() -> None:
    script = """
import re
from labctl.runner import fit_child
with fit_child.ending_after(0.2):
    re.fullmatch("(a|a)+", "a" * 200 + "b")
"""
    held = subprocess.run([sys.executable, "-c", script], timeout=PATIENCE_S, check=False)
    assert held.returncode == 1


@pytest.mark.skipif(sys.platform == "win32", reason="a signal to another process is a POSIX thing")
def test_labctl_fit_ends_at_ctrl_c_although_the_interpreter_is_held(tmp_path: Path) -> None:
    script = """
import re, sys
from labctl.cli import main
from labctl.runner import refit
def stuck(path, *_order):
    print("stuck", flush=True)
    re.fullmatch("(a|a)+", "a" * 200 + "b")
refit.refit = stuck
main(["fit", sys.argv[1]])
"""
    file = tmp_path / "run.h5"
    file.touch()
    with subprocess.Popen(
        [sys.executable, "-c", script, str(file)], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "stuck\n"
            child.send_signal(signal.SIGINT)
            assert child.wait(PATIENCE_S) == -signal.SIGINT
        finally:
            child.kill()
