"""The CSV of an interrupted run is brought up to its run file, and whole rows stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_runs import finished_run
from pymeasure.experiment import Results

from labctl.data.csvfile import csv_row, examine, mend_csv
from labctl.data.reader import read_run
from labctl.data.run import Run
from labctl.data.schema import row
from labctl.model.errors import DataError
from labctl.runner.csv_worker import StoredSweep

TORN = "an incomplete line was removed"
ORDER = "its rows were sorted in the order of the run file"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return read_run(finished_run(tmp_path))


@pytest.fixture
def written(run: Run) -> str:
    """The CSV just as pymeasure writes it, point by point."""
    results = Results(StoredSweep(), str(run.csv_path))
    with run.csv_path.open("a", encoding="utf-8") as file:
        for number in range(len(run)):
            file.write(results.format(row(run.point(number))) + "\n")
    return run.csv_path.read_text(encoding="utf-8")


def header_of(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line[0].isdigit())


def test_a_stored_point_gives_the_row_that_pymeasure_wrote(run: Run, written: str) -> None:
    assert written.splitlines()[-len(run) :] == [csv_row(point) for point in run.points]
    state = examine(run.csv_path, run.points)
    assert (state.torn, state.strange, state.different, state.in_order) == (False, 0, (), True)
    assert mend_csv(run.csv_path, run.points, "") == ()


@pytest.mark.parametrize("lost", [1, 30, 400])
def test_what_a_kill_cost_is_written_again(run: Run, written: str, lost: int) -> None:
    run.csv_path.write_text(written[:-lost], encoding="utf-8")
    done = mend_csv(run.csv_path, run.points, "")
    assert done[0] == TORN
    assert done[1].endswith("row(s) were restored from the run file")
    assert run.csv_path.read_text(encoding="utf-8") == written


def test_a_row_more_than_the_run_has_goes(run: Run, written: str) -> None:
    assert mend_csv(run.csv_path, run.points[:5], "") == (ORDER,)
    kept = run.csv_path.read_text(encoding="utf-8")
    assert kept == "".join(written.splitlines(keepends=True)[:-3])


@pytest.mark.parametrize("left", [0, 5, 60])
def test_a_header_that_is_not_whole_is_written_anew(run: Run, written: str, left: int) -> None:
    run.csv_path.write_text(written[:left], encoding="utf-8")
    done = mend_csv(run.csv_path, run.points, header_of(written))
    assert done[0] == "its header was rewritten"
    assert run.csv_path.read_text(encoding="utf-8") == written


def test_rows_of_an_older_rounding_stay_as_they_are(run: Run, written: str) -> None:
    other = written.replace(",3.2e-09,", ",3.20e-09,")
    assert other != written
    lines = other.splitlines(keepends=True)
    run.csv_path.write_text("".join(lines[:-1]), encoding="utf-8")
    mend_csv(run.csv_path, run.points, "")
    assert run.csv_path.read_text(encoding="utf-8").startswith("".join(lines[:-1]))


def test_what_cannot_be_written_is_a_data_error(
    run: Run, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    run.csv_path.write_text(written[:-1], encoding="utf-8")
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(DataError, match="cannot be written"):
        mend_csv(run.csv_path, run.points, "")
    assert [p.name for p in run.path.parent.iterdir() if p.suffix == ".part"] == []
