"""Interrupted sweeps on simulated benches, continued: nothing is lost, nothing is measured twice."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from resume_bench import only_addresses, plan_of, resume_once, sweep_once

from drivers import registry
from labctl.config import BenchConfig, parse_bench
from labctl.data import read_run
from labctl.data.files.lock import lock_path
from labctl.data.run import Run
from labctl.data.verify import findings
from labctl.model.clock import SteppedClock
from labctl.model.errors import ConfigError, DataError
from labctl.model.plan import SweepPlan
from labctl.runner.events import Event, Measured
from labctl.runner.report import RunReport
from labctl.runner.resume import dose_before, resume_run, stored_plan
from labctl.runner.run import RunRequest, run_sweep
from procedures.fluence_sweep import Pause
from simulators.bench import SimulatedBench
from simulators.presets import scene

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
SEED, POINTS = 3, 12


@pytest.fixture
def bench() -> Iterator[SimulatedBench]:
    with SimulatedBench(scene("ola", "typical", SEED), SteppedClock()) as simulated:
        yield simulated


@pytest.fixture
def config(bench: SimulatedBench) -> BenchConfig:
    return parse_bench(bench.bench_toml(1.0))


def nothing_differs(differences: tuple[str, ...]) -> None:
    pytest.fail(f"differences: {differences}")


class At:
    """A listener that acts once a number of points is there."""

    def __init__(self, number: int, act: Callable[[], object]) -> None:
        self._number, self._act = number, act

    def __call__(self, event: Event) -> None:
        if isinstance(event, Measured) and event.number == self._number:
            self._act()


def aborted(bench: SimulatedBench, config: BenchConfig, out: Path, plan: SweepPlan, after: int) -> Path:
    stop = threading.Event()
    report = run_sweep(
        config,
        plan,
        RunRequest(out, "OLA", "me", "2", "a note"),
        stop=stop,
        on_event=At(after, stop.set),
        clock=bench.scene.clock,
    )
    assert report.status == "aborted"
    assert report.h5 is not None
    return report.h5


def resumed(
    bench: SimulatedBench, config: BenchConfig | None, h5: Path, stop: threading.Event | None = None
) -> RunReport:
    return resume_run(
        h5,
        config,
        stop=stop or threading.Event(),
        on_event=lambda event: None,
        confirm=nothing_differs,
        trust=lambda lines: None,
        clock=bench.scene.clock,
    )


def assert_whole(h5: Path, before: Run, points: int) -> Run:
    """Check that the kept points are the same bytes, that all steps are there and both files agree."""
    run = read_run(h5)
    assert (run.status, len(run)) == ("finished", points)
    assert run.points[: len(before)].tobytes() == before.points.tobytes()
    assert run.points["index"].tolist() == list(range(points))
    assert np.all(np.diff(run.column("dose_uj_cm2")) > 0)
    assert np.all(np.diff(run.column("elapsed_s")) > 0)
    numbers = [dark.number for dark in run.darks]
    assert numbers == sorted(set(numbers))
    found = findings(h5)
    assert (found.problems, found.notes) == ((), ())
    assert not lock_path(h5).exists()
    return run


@pytest.mark.parametrize("direction", ["up-down", "shuffled"])
def test_an_aborted_sweep_is_completed(
    direction: str, bench: SimulatedBench, config: BenchConfig, tmp_path: Path
) -> None:
    plan = SweepPlan(start_uj_cm2=30.0, stop_uj_cm2=90.0, points=4, average=2, direction=direction, seed=5)  # type: ignore[arg-type]
    h5 = aborted(bench, config, tmp_path, plan, 2)
    before = read_run(h5)
    frames = [before.frames(n) for n in range(len(before))]
    assert bench.scene.shutter.closed_switch()
    report = resumed(bench, None, h5)
    assert bench.scene.shutter.closed_switch()
    total = 7 if direction == "up-down" else 4
    run = assert_whole(h5, before, total)
    assert all(np.array_equal(run.frames(n), kept) for n, kept in enumerate(frames))
    assert (report.status, report.points, report.spot) == ("finished", total, "2")
    assert [s.first_point for s in run.sessions] == [0, len(before)]
    assert (run.sessions[0].ended, run.sessions[0].reason) == ("aborted", "stopped by the user")
    assert any(f"resumed after {len(before)} points" in event.text for event in run.events)
    stored = before.result.dose_uj_cm2
    assert run.sessions[1].dose_uj_cm2 == stored
    assert isinstance(stored, float)
    assert run.column("dose_uj_cm2")[len(before)] > stored >= before.column("dose_uj_cm2")[-1]


def test_the_reference_comes_when_it_is_due_again(
    bench: SimulatedBench, config: BenchConfig, tmp_path: Path
) -> None:
    plan = SweepPlan(
        start_uj_cm2=30.0, stop_uj_cm2=90.0, points=4, average=2, reference_every=2, correct_bleaching="off"
    )
    h5 = aborted(bench, config, tmp_path, plan, 2)
    before = read_run(h5)
    resumed(bench, None, h5)
    run = assert_whole(h5, before, 7)
    assert ["reference" in flags for flags in run.flags] == [True, False, False, True, False, False, True]


def test_a_run_aborted_twice_ends_with_one_result(
    bench: SimulatedBench, config: BenchConfig, tmp_path: Path
) -> None:
    h5 = aborted(bench, config, tmp_path, plan_of(POINTS), 3)
    stop = threading.Event()
    again = resume_run(
        h5.with_suffix(".csv"),
        config,
        stop=stop,
        on_event=At(7, stop.set),
        confirm=nothing_differs,
        clock=bench.scene.clock,
    )
    assert again.status == "aborted"
    assert 7 <= again.points < POINTS
    before = read_run(h5)
    report = resumed(bench, config, h5)
    run = assert_whole(h5, before, POINTS)
    assert [s.ended for s in run.sessions] == ["aborted", "aborted", ""]
    threshold = report.threshold
    assert threshold.status == "found"
    assert threshold.threshold_uj_cm2 == pytest.approx(bench.scene.truth.threshold_uj_cm2, rel=0.03)
    assert report.result.q is not None
    assert report.result.q.value == pytest.approx(bench.scene.truth.q, rel=0.1)
    assert run.result.threshold == threshold


def threshold_of(report: RunReport) -> tuple[float, tuple[float, float]]:
    value, interval = report.threshold.threshold_uj_cm2, report.threshold.ci95
    assert value is not None
    assert interval is not None
    return value, interval


def killed_after(directory: Path, points: int) -> tuple[Path, list[str]]:
    """Start a sweep in a process of its own and kill it -9 once it has shown some points."""
    command = [sys.executable, str(HERE.parent / "resume_bench.py"), str(directory), str(SEED), str(POINTS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_environment()) as child:
        assert child.stdout is not None
        shown = [child.stdout.readline() for _ in range(points + 2)]
        child.kill()
        shown += child.stdout.readlines()
    whole = [line.strip() for line in shown if line.endswith("\n")]
    return Path(whole[1].removeprefix("started ")), [line for line in whole if line.startswith("point")]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_kill_9_then_resume_gives_the_threshold_of_an_undisturbed_run(tmp_path: Path) -> None:
    h5, shown = killed_after(tmp_path / "killed", 5)
    before = read_run(h5)
    assert before.status == "killed"
    assert len(before) >= len(shown) >= 5
    assert lock_path(h5).exists()
    for number, line in enumerate(shown):
        assert line == f"point {number} {before.signal[number].item()!r}"
    report = resume_once(h5, SEED)
    run = assert_whole(h5, before, POINTS)
    assert (run.sessions[0].ended, run.sessions[1].first_point) == ("killed", len(before))
    assert any("assumed for the point that was interrupted" in event.text for event in run.events)
    undisturbed = sweep_once(tmp_path / "whole", SEED, POINTS)
    value, (low, high) = threshold_of(report)
    whole, (lowest, highest) = threshold_of(undisturbed)
    assert lowest <= value <= highest
    assert low <= whole <= high
    with pytest.raises(DataError, match="has finished"):
        resume_once(h5, SEED)


def test_a_csv_that_is_gone_is_written_again(
    bench: SimulatedBench, config: BenchConfig, tmp_path: Path
) -> None:
    h5 = aborted(bench, config, tmp_path, plan_of(POINTS), 3)
    before, csv = read_run(h5), h5.with_suffix(".csv")
    lines = csv.read_text(encoding="utf-8").splitlines()
    csv.unlink()
    resumed(bench, config, h5)
    assert_whole(h5, before, POINTS)
    again = csv.read_text(encoding="utf-8").splitlines()
    assert again[-POINTS:][: len(before)] == lines[-len(before) :]
    assert "#\tSpot: 2" in again


def test_another_bench_is_asked_about_and_left_alone(
    bench: SimulatedBench, config: BenchConfig, tmp_path: Path
) -> None:
    h5 = aborted(bench, config, tmp_path, plan_of(POINTS), 3)
    before, csv = h5.read_bytes(), h5.with_suffix(".csv").read_bytes()
    changed = config.model_copy(update={"pump": config.pump.model_copy(update={"pickoff_ratio": 23.5})})
    shutter = registry.find("shutter", "thorlabs-sc10").open(config.shutter, bench.scene.clock)
    shutter.open()
    shutter.close()
    assert not bench.scene.shutter.closed_switch()
    asked: list[str] = []
    opened: list[bool] = []

    def refuse(differences: tuple[str, ...]) -> None:
        asked.extend(differences)
        opened.append(not bench.scene.shutter.closed_switch())
        raise ConfigError("no")

    with SimulatedBench(scene("ola", "typical", SEED + 1), SteppedClock()) as other:
        elsewhere = parse_bench(other.bench_toml(1.0))
        update = {"attenuator": elsewhere.attenuator}
        with pytest.raises(ConfigError, match="no"):
            resume_run(
                h5,
                changed.model_copy(update=update),
                stop=threading.Event(),
                on_event=lambda event: None,
                confirm=refuse,
                clock=bench.scene.clock,
            )
    assert opened == [False]
    assert any(line.startswith("pump.pickoff_ratio: was ") and line.endswith("is 23.5") for line in asked)
    assert any(line.startswith("attenuator.resource: was") for line in asked)
    assert (h5.read_bytes(), h5.with_suffix(".csv").read_bytes()) == (before, csv)
    assert read_run(h5).status == "aborted"


def test_what_the_sample_may_still_get_is_what_the_sessions_left(
    bench: SimulatedBench, config: BenchConfig, tmp_path: Path
) -> None:
    h5 = aborted(bench, config, tmp_path, plan_of(POINTS), 8)
    run = read_run(h5)
    dose, assumed = dose_before(run, stored_plan(run), 1000.0)
    assert (dose, assumed) == (run.result.dose_uj_cm2, 0.0)
    limits = config.limits.model_copy(update={"max_dose_uj_cm2": 1.05 * dose})
    tight = config.model_copy(update={"limits": limits})
    with pytest.raises(Exception, match="the dose would exceed its limit"):
        resume_run(
            h5,
            tight,
            stop=threading.Event(),
            on_event=lambda event: None,
            confirm=lambda differences: None,
            clock=bench.scene.clock,
        )
    after = read_run(h5)
    assert after.status == "failed"
    (difference,) = after.sessions[-1].differences
    assert difference == f"limits.max_dose_uj_cm2: was 10000000000.0, is {1.05 * dose!r}"
    assert after.points[: len(run)].tobytes() == run.points.tobytes()


def test_a_run_killed_after_its_last_point_only_needs_its_result(
    bench: SimulatedBench, config: BenchConfig, tmp_path: Path
) -> None:
    plan = SweepPlan(start_uj_cm2=30.0, stop_uj_cm2=90.0, points=3, average=2)
    report = run_sweep(
        config,
        plan,
        RunRequest(tmp_path, "OLA"),
        stop=threading.Event(),
        on_event=lambda event: None,
        clock=bench.scene.clock,
    )
    assert report.h5 is not None
    with h5py.File(report.h5, "r+") as file:
        file["entry/status"][()] = b"aborted"
    before, dose = read_run(report.h5), bench.scene.clock.now_s()
    moved = bench.scene.mount.encoder_deg()
    resumed(bench, config, report.h5)
    run = assert_whole(report.h5, before, 3)
    assert len(run.darks) == len(before.darks)
    assert bench.scene.mount.encoder_deg() == pytest.approx(moved, abs=0.2)
    assert bench.scene.clock.now_s() - dose < 20.0


def test_a_pause_stands_in_the_dark_between_points(
    bench: SimulatedBench, config: BenchConfig, tmp_path: Path
) -> None:
    pause, seen = Pause(), []
    plan = SweepPlan(start_uj_cm2=30.0, stop_uj_cm2=90.0, points=4, average=2, keep_open=True)

    def watch() -> None:
        pause.hold()
        threading.Thread(target=look, daemon=True).start()

    def look() -> None:
        while not pause.standing:
            threading.Event().wait(0.01)
        seen.append((bench.scene.shutter.closed_switch(), pause.is_set()))
        pause.go_on()

    report = run_sweep(
        config,
        plan,
        RunRequest(tmp_path, "OLA"),
        stop=threading.Event(),
        on_event=At(2, watch),
        clock=bench.scene.clock,
        pause=pause,
    )
    assert (report.status, report.points, seen, pause.standing) == ("finished", 4, [(True, True)], False)
    assert report.h5 is not None
    texts = [event.text for event in read_run(report.h5).events]
    assert texts.index("paused: the shutter is closed") < texts.index("the pause has ended")


def test_a_stop_ends_a_pause(bench: SimulatedBench, config: BenchConfig, tmp_path: Path) -> None:
    pause, stop = Pause(), threading.Event()
    pause.hold()

    def end() -> None:
        while not pause.standing:
            threading.Event().wait(0.01)
        stop.set()

    threading.Thread(target=end, daemon=True).start()
    report = run_sweep(
        config,
        plan_of(3),
        RunRequest(tmp_path, "OLA"),
        stop=stop,
        on_event=lambda event: None,
        clock=bench.scene.clock,
        pause=pause,
    )
    assert (report.status, report.points, pause.standing) == ("aborted", 0, False)
    assert bench.scene.shutter.closed_switch()


def test_a_stop_before_the_first_step_is_no_finished_run(
    bench: SimulatedBench, config: BenchConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    monkeypatch.setattr("labctl.runner.run.weak_light", lambda *_: stop.set())
    report = run_sweep(
        config,
        plan_of(3),
        RunRequest(tmp_path, "OLA"),
        stop=stop,
        on_event=lambda event: None,
        clock=bench.scene.clock,
    )
    assert (report.status, report.points) == ("aborted", 0)
    assert report.h5 is not None
    before = read_run(report.h5)
    resumed(bench, config, report.h5)
    assert_whole(report.h5, before, 3)


def test_only_addresses_may_differ_between_equal_benches() -> None:
    only_addresses(("shutter.resource: was a, is b",))
    with pytest.raises(AssertionError):
        only_addresses(("shutter: was a, is b",))
