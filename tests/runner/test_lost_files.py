"""A run whose files lose their names while it is measured: told at the next point, and nothing is lost."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from resume_bench import only_addresses, plan_of

from labctl.cli.commands.runs import judge
from labctl.cli.progress import headline
from labctl.cli.table import print_result
from labctl.config import parse_bench
from labctl.data import read_run
from labctl.data.files.hdf5 import HeldFile
from labctl.model.clock import SteppedClock
from labctl.model.errors import DataError
from labctl.runner.csv_worker import SweepWorker
from labctl.runner.events import Event, Measured, Moved, RunFiles, Started
from labctl.runner.report import RunReport
from labctl.runner.resume import resume_run
from labctl.runner.run import RunFailed, RunRequest, run_sweep
from labctl.runner.stability import run_stability
from procedures.plan import stability_plan
from simulators.bench import SimulatedBench
from simulators.presets import scene

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps the name of an open file")

Loss = Callable[[RunFiles], None]


class Watch:
    """Loses a run's files once so many points are stored, and notes at which point that was told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, loss: Loss, after: int = 3) -> None:
        watch = self

        class Losing(SweepWorker):
            def handle_record(self, record: dict[str, Any]) -> None:
                super().handle_record(record)
                watch.rows += 1
                if watch.rows == after:
                    loss(watch.files)

        monkeypatch.setattr("labctl.runner.csv_worker.SweepWorker", Losing)
        self.rows = 0
        self.files: RunFiles
        self.shown = 0
        self.moves: list[tuple[int, Moved]] = []
        self.stop = threading.Event()
        self.stop_at = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, Started):
            self.files = event.files
        elif isinstance(event, Moved):
            self.moves.append((self.shown, event))
        elif isinstance(event, Measured):
            self.shown = event.number
            if event.number == self.stop_at:
                self.stop.set()


def swept(directory: Path, watch: Watch, points: int = 8) -> RunReport:
    with SimulatedBench(scene("ola", "typical", 3), SteppedClock()) as bench:
        return run_sweep(
            parse_bench(bench.bench_toml(1.0)),
            plan_of(points),
            RunRequest(directory, "OLA"),
            stop=watch.stop,
            on_event=watch,
            clock=bench.scene.clock,
        )


def h5_gone(files: RunFiles) -> None:
    files.h5.unlink()


def h5_replaced(files: RunFiles) -> None:
    put_in_place_of(files.h5)


def csv_gone(files: RunFiles) -> None:
    files.csv.unlink()


def csv_replaced(files: RunFiles) -> None:
    put_in_place_of(files.csv)


def both_gone(files: RunFiles) -> None:
    files.csv.unlink()
    files.h5.unlink()


def directory_gone(files: RunFiles) -> None:
    for path in files.h5.parent.iterdir():
        path.unlink()
    files.h5.parent.rmdir()


def directory_renamed(files: RunFiles) -> None:
    files.h5.parent.rename(files.h5.parent.with_name("runs_old"))


def put_in_place_of(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"somebody's")
    other.replace(path)


LOSSES = [h5_gone, h5_replaced, csv_gone, csv_replaced, both_gone, directory_gone, directory_renamed]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def is_whole(report: RunReport, points: int, status: str = "finished") -> None:
    assert report.h5 is not None
    assert report.csv is not None
    assert report.csv.stem == report.h5.stem
    verdict = judge(report.h5)
    assert verdict.problems == ()
    assert (verdict.status, verdict.points) == (status, points)
    assert not [note for note in verdict.notes if "there is no" in note]


@pytest.mark.parametrize("loss", LOSSES)
def test_it_is_told_at_the_next_point_and_nothing_is_lost(
    loss: Loss, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch, loss)
    report = swept(tmp_path / "runs", watch)
    is_whole(report, 8)
    assert len(watch.moves) == 1
    shown, moved = watch.moves[0]
    assert shown == 3, "before the next point was shown"
    lost = watch.files.csv if "csv" in loss.__name__ else watch.files.h5
    assert str(lost) in moved.text
    assert moved.files.h5 == report.h5
    assert headline(moved) == moved.text
    assert moved.text in report.notes
    print_result([report], as_json=False)
    said = capsys.readouterr().out
    assert moved.text.split(" ")[1] in said
    print_result([report], as_json=True)
    assert str(report.h5) in json.dumps(json.loads(capsys.readouterr().out))
    assert any(moved.text == event.text for event in read_run(report.h5).events)
    log = report.h5.with_suffix(".log").read_text()
    assert moved.text in log
    if "replaced" in loss.__name__:
        assert lost.read_bytes() == b"somebody's"


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_after_the_last_point_is_told_too(
    loss: Loss, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch, loss, after=8)
    report = swept(tmp_path / "runs", watch)
    is_whole(report, 8)
    assert len(watch.moves) == 1


@pytest.mark.parametrize("loss", [h5_gone, csv_gone, directory_gone])
def test_a_run_stopped_after_the_loss_can_be_resumed(
    loss: Loss, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch, loss)
    watch.stop_at = 5
    report = swept(tmp_path / "runs", watch)
    is_whole(report, 5, "aborted")
    assert report.h5 is not None
    again = Watch(monkeypatch, loss, after=2)
    with SimulatedBench(scene("ola", "typical", 3), SteppedClock()) as bench:
        resumed = resume_run(
            report.h5,
            parse_bench(bench.bench_toml(1.0)),
            stop=again.stop,
            on_event=again,
            confirm=only_addresses,
            clock=bench.scene.clock,
        )
    is_whole(resumed, 8)
    assert len(again.moves) == 1


def test_a_night_of_stability_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch, directory_gone)
    with SimulatedBench(scene("ola", "typical", 3), SteppedClock()) as bench:
        report = run_stability(
            parse_bench(bench.bench_toml(1.0)),
            stability_plan(60.0, 100.0, 10.0, average=2),
            RunRequest(tmp_path / "runs", "OLA"),
            stop=watch.stop,
            on_event=watch,
            clock=bench.scene.clock,
        )
    assert len(watch.moves) == 1
    is_whole(report, report.points)


def test_without_any_place_it_stops_at_that_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeldFile, "places", lambda _self: iter(()))
    watch = Watch(monkeypatch, h5_gone)
    with pytest.raises(RunFailed) as failed:
        swept(tmp_path / "runs", watch)
    assert watch.shown == 3
    assert isinstance(failed.value.error, DataError)
    assert "no copy of the run could be written" in str(failed.value.error)
    assert failed.value.report.points == 3


def test_files_that_keep_their_names_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch, lambda files: None)
    report = swept(tmp_path / "runs", watch)
    assert watch.moves == []
    assert report.h5 is not None
    assert report.h5 == watch.files.h5
    assert report.csv == watch.files.csv
    assert report.notes == ()
