"""A point that is repeated is told, in the window as in the terminal, and counted from 1."""

from __future__ import annotations

from pathlib import Path

import pytest
from gui_bench import LONG_MS, bench_window
from pytestqt.qtbot import QtBot
from test_gui_sweep import queue_sweep

from labctl.cli import main
from labctl.data import read_run
from labctl.model.clock import ScaledClock, SteppedClock, Stop
from labctl.model.plan import SweepPlan
from labctl.runner.events import Message
from labctl.service.messages import JobTold, Said
from procedures.alignment import AlignmentPlan
from procedures.gate.power_monitor import EnergyLost
from procedures.plan import Step
from procedures.point.exposure import AutoExposure, ExposureSequence
from procedures.point.quick import QuickPoints
from procedures.point.reduction import Shots
from simulators.bench import SimulatedBench
from simulators.presets import scene

LOST = "the laser was gone"
SECOND = f"point 2 is repeated: {LOST}"


@pytest.fixture
def second_point_fails_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shoot = ExposureSequence.shoot
    failed: list[bool] = []

    def once(shooter: ExposureSequence, step: Step, auto: AutoExposure, stop: Stop | None) -> Shots:
        if step.index == 1 and not failed:
            failed.append(True)
            raise EnergyLost(LOST)
        return shoot(shooter, step, auto, stop)

    monkeypatch.setattr(ExposureSequence, "shoot", once)


@pytest.mark.usefixtures("second_point_fails_once")
def test_the_window_tells_that_a_point_is_repeated(qtbot: QtBot, tmp_path: Path) -> None:
    told: list[str] = []
    with bench_window(qtbot, tmp_path) as (window, _):
        take = window.queue.take

        def noted(told_now: JobTold) -> None:
            if isinstance(told_now.event, Message):
                told.append(told_now.event.text)
            take(told_now)

        window.queue.take = noted  # type: ignore[assignment,method-assign]
        number = queue_sweep(window, 3)
        qtbot.waitUntil(lambda: window.queue.status(number) == "finished", timeout=LONG_MS)
        assert window.live.run is not None
        assert window.live.run.facts.path is not None
        events = [e.text for e in read_run(window.live.run.facts.path).events]
    assert SECOND in told
    assert SECOND in events


@pytest.mark.usefixtures("second_point_fails_once")
def test_the_terminal_tells_the_same(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with SimulatedBench(scene("ola", "typical", 3), ScaledClock(30.0)) as simulated:
        file = tmp_path / "bench.toml"
        file.write_text(simulated.bench_toml(30.0))
        wanted = ["--start", "40", "--stop", "90", "--points", "3", "--average", "2", "--sample", "OLA"]
        assert main(["sweep", "--bench", str(file), "--output", str(tmp_path), *wanted]) == 0
    assert SECOND in capfd.readouterr().err.splitlines()


def test_an_alignment_tells_it_to_whoever_the_bench_tells(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shots = QuickPoints._shots
    failed: list[bool] = []

    def once(quick: QuickPoints, step: Step, stop: Stop | None) -> Shots:
        if not failed:
            failed.append(True)
            raise EnergyLost(LOST)
        return shots(quick, step, stop)

    monkeypatch.setattr(QuickPoints, "_shots", once)
    told: list[str] = []
    with bench_window(qtbot, tmp_path, clock=SteppedClock()) as (window, _):
        handle = window.handle

        def noted(thing: object) -> None:
            if isinstance(thing, Said):
                told.append(thing.text)
            handle(thing)

        window.mailbox._handler = noted
        reference = SweepPlan(start_uj_cm2=30, stop_uj_cm2=170, points=10, average=2)
        window.align.begin(AlignmentPlan(reference=reference, max_readouts=1))
        qtbot.waitUntil(lambda: not window.align.running, timeout=LONG_MS)
    assert f"the point at 30 uJ/cm2 is repeated: {LOST}" in told
