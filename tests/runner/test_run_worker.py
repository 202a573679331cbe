"""pymeasure's Worker as it is used here: its known traps are closed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from pymeasure.experiment import Procedure, Results

from labctl.model.errors import Aborted, DataError
from labctl.runner.csv_worker import SweepWorker


class Rows(Procedure):  # type: ignore[misc]  # pymeasure publishes no types
    DATA_COLUMNS: ClassVar[list[str]] = ["n"]
    act: Callable[[], None] | None = None
    at_the_end: Callable[[], None] | None = None

    def execute(self) -> None:
        for n in range(3):
            self.emit("results", {"n": n})
            if n == 1 and self.act is not None:
                self.act()
            if self.should_stop():
                raise Aborted

    def shutdown(self) -> None:
        if self.at_the_end is not None:
            self.at_the_end()


def run(procedure: Rows, csv: Path, stop: threading.Event | None = None) -> tuple[SweepWorker, list[int]]:
    told: list[int] = []
    worker = SweepWorker(
        Results(procedure, str(csv)),
        stop or threading.Event(),
        lambda: told.append(sum(line.strip().isdigit() for line in csv.read_text().splitlines())),
    )
    worker.run()
    return worker, told


def test_a_row_is_on_disk_before_anybody_hears_of_it(tmp_path: Path) -> None:
    procedure = Rows()
    worker, told = run(procedure, tmp_path / "a.csv")
    assert told == [1, 2, 3]
    assert worker.failure is None
    assert procedure.status == Procedure.FINISHED


def test_a_stop_is_an_abort_and_no_failure(tmp_path: Path) -> None:
    procedure, stop = Rows(), threading.Event()
    procedure.act = stop.set
    worker, told = run(procedure, tmp_path / "a.csv", stop)
    assert told == [1, 2]
    assert isinstance(worker.failure, Aborted)
    assert procedure.status == Procedure.ABORTED


def test_a_failure_keeps_its_exception(tmp_path: Path) -> None:
    procedure = Rows()
    procedure.act = lambda: [][0]
    worker, _ = run(procedure, tmp_path / "a.csv")
    assert isinstance(worker.failure, IndexError)
    assert procedure.status == Procedure.FAILED


def test_a_shutdown_that_raises_does_not_leave_it_running(tmp_path: Path) -> None:
    procedure = Rows()
    procedure.at_the_end = lambda: [][0]
    worker, _ = run(procedure, tmp_path / "a.csv")
    assert isinstance(worker.failure, IndexError)
    assert procedure.status == Procedure.FAILED
    assert all(handler.stream is None for handler in worker.recorder.handlers)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_row_that_cannot_be_written_is_a_data_error(tmp_path: Path) -> None:
    procedure = Rows()
    worker = SweepWorker(Results(procedure, str(tmp_path / "a.csv")), threading.Event(), lambda: None)
    worker.results.data_filenames = ["/dev/full"]
    worker.run()
    assert isinstance(worker.failure, DataError)
    assert "space" in str(worker.failure)
    assert procedure.status == Procedure.FAILED
