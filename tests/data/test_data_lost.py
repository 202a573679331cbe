"""What is shown is on disk: a file that loses its name while it is written is noticed at the next flush."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from data_runs import DARK, START, finished_run, make_point
from patience import PATIENCE_S

from labctl.data.csvfile import whole_csv
from labctl.data.files.hdf5 import HeldFile, why_lost
from labctl.data.reader import read_run
from labctl.data.resume import ResumedWriter
from labctl.data.verify import findings
from labctl.data.writer import RunWriter
from labctl.model.errors import DataError
from labctl.model.results.sweep import BandThreshold, SweepResult
from labctl.model.run import RunStop

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps the name of an open file")

FINISHED = RunStop(
    "finished", "", "2025-05-01T10:10:00Z", SweepResult(BandThreshold("found", threshold_uj_cm2=25.0))
)


def gone(writer: RunWriter) -> None:
    writer.paths.h5.unlink()


def renamed(writer: RunWriter) -> None:
    writer.paths.h5.rename(writer.paths.h5.with_name("kept.h5"))


def replaced(writer: RunWriter) -> None:
    other = writer.paths.h5.with_name("other")
    other.write_bytes(b"somebody's")
    other.replace(writer.paths.h5)


def directory_gone(writer: RunWriter) -> None:
    for path in writer.paths.h5.parent.iterdir():
        path.unlink()
    writer.paths.h5.parent.rmdir()


def directory_renamed(writer: RunWriter) -> None:
    writer.paths.h5.parent.rename(writer.paths.h5.parent.with_name("runs_old"))


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "runs"


@pytest.mark.parametrize("loss", [gone, renamed, replaced, directory_gone, directory_renamed])
def test_the_run_goes_on_in_a_whole_copy(runs: Path, loss: Callable[[RunWriter], None]) -> None:
    told: list[str] = []
    with RunWriter(runs, "run") as writer:
        writer.on_move = told.append
        old = writer.paths
        writer.begin(START)
        writer.dark(DARK)
        for index in range(3):
            writer.append(make_point(index))
        loss(writer)
        writer.append(make_point(3))
        assert len(told) == 1, "at the next flush"
        for index in range(4, 9):
            writer.append(make_point(index, exposures=40))
        writer.end(FINISHED)
    new = writer.paths
    assert len(told) == 1
    assert str(old.h5) in told[0]
    assert str(new.h5) in told[0]
    assert new.h5 != old.h5
    assert new.h5.parent == (Path.cwd() if "directory" in loss.__name__ else runs)
    found = findings(new.h5)
    assert found.problems == ()
    assert (found.run.status, len(found.run)) == ("finished", 9)
    assert found.run.point(8).frames.shape[0] == 40
    assert not new.h5.with_name(new.h5.name + ".lock").exists()
    if loss is replaced:
        assert old.h5.read_bytes() == b"somebody's"
    if loss is renamed:
        left = read_run(old.h5.with_name("kept.h5"))
        assert (left.status, left.reason) == ("failed", f"the run continues in {new.h5}")


def test_a_file_lost_after_the_last_point_is_found_at_the_end(runs: Path) -> None:
    with RunWriter(runs, "run") as writer:
        writer.begin(START)
        writer.dark(DARK)
        writer.append(make_point(0))
        writer.paths.h5.unlink()
        writer.end(FINISHED)
    assert findings(writer.paths.h5).problems == ()
    assert read_run(writer.paths.h5).status == "finished"


def test_a_copy_takes_no_more_room_than_the_run_needs(runs: Path) -> None:
    sizes = []
    for lose in (False, True):
        with RunWriter(runs, "run") as writer:
            writer.begin(START)
            writer.dark(DARK)
            for index in range(4):
                writer.append(make_point(index))
            if lose:
                writer.paths.h5.unlink()
            writer.event(1.0, "a line")
            writer.end(FINISHED)
        sizes.append(writer.paths.h5.stat().st_size)
    assert sizes[1] < 1.5 * sizes[0] + 65536


def test_where_no_copy_can_be_written_the_run_stops_at_that_point(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HeldFile, "places", lambda _self: iter([Path("/proc/nowhere")]))
    with RunWriter(runs, "run") as writer:
        writer.begin(START)
        writer.dark(DARK)
        writer.append(make_point(0))
        writer.paths.h5.unlink()
        with pytest.raises(DataError, match="no copy of the run could be written") as stopped:
            writer.append(make_point(1))
        assert "has disappeared" in str(stopped.value)
        with pytest.raises(DataError, match="no longer written"):
            writer.append(make_point(2))


def test_a_place_that_fails_is_passed_over(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeldFile, "places", lambda _self: iter([Path("/proc/nowhere"), Path.cwd()]))
    with RunWriter(runs, "run") as writer:
        writer.begin(START)
        writer.paths.h5.unlink()
        writer.dark(DARK)
        assert writer.paths.h5.parent == Path.cwd()
        writer.end(FINISHED)
    assert findings(writer.paths.h5).problems == ()


def test_a_file_that_was_cut_short_ends_the_run_at_once(runs: Path) -> None:
    with RunWriter(runs, "run") as writer:
        writer.begin(START)
        writer.dark(DARK)
        for index in range(6):
            writer.append(make_point(index))
        os.truncate(writer.paths.h5, 5000)
        with pytest.raises(DataError, match="truncated"):
            writer.event(1.0, "a line")


def test_a_strangers_file_in_its_place_is_never_written(runs: Path) -> None:
    """Neither room, nor the status of a failed run, nor the end goes to a path: only to the file itself."""
    with RunWriter(runs, "run") as writer:
        writer.begin(START)
        writer.dark(DARK)
        other = runs / "other"
        other.write_bytes(b"x" * 100_000)
        other.replace(writer.paths.h5)
        mine = runs / "run.h5"
        for index in range(3):
            writer.append(make_point(index, exposures=300))
        writer.close()
    assert mine.read_bytes() == b"x" * 100_000
    assert len(read_run(writer.paths.h5)) == 3


def test_a_resumed_run_is_kept_too(runs: Path) -> None:
    with RunWriter(runs, "run") as first:
        first.begin(START)
        first.dark(DARK)
        first.append(make_point(0))
        first.end(RunStop("aborted", "", ""))
    writer = ResumedWriter(first.paths.h5)
    with writer:
        writer.begin(START)
        writer.paths.h5.unlink()
        writer.append(make_point(1))
        writer.end(FINISHED)
    assert findings(writer.paths.h5).problems == ()
    assert len(read_run(writer.paths.h5)) == 2


def test_the_csv_keeps_its_name_if_it_is_free_and_leaves_it_to_another_file(runs: Path) -> None:
    told: list[str] = []
    with RunWriter(runs, "run") as writer:
        writer.on_move = told.append
        old = writer.paths
        writer.begin(START)
        writer.dark(DARK)
        writer.append(make_point(0))
        writer.csv_lost("has disappeared")
        assert writer.paths == old
        old.csv.write_text("somebody's")
        writer.csv_lost("was replaced")
        assert writer.paths.csv != old.csv
        assert not old.h5.exists(), "one run, one file"
        assert old.csv.read_text() == "somebody's"
        writer.append(make_point(1))
        whole_csv(writer.paths.csv, writer.points(), "#Procedure: <x>\n")
        assert writer.paths.csv.read_text().count("\n") == 3
        writer.end(FINISHED)
    assert len(told) == 2
    assert len(read_run(writer.paths.h5)) == 2
    assert not old.h5.with_name("run.h5.lock").exists()


def test_no_place_below_another_file_system_is_taken(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = finished_run(runs)
    held = HeldFile(path)
    assert next(held.places()) == runs
    held._device += 1  # another file system has been mounted there, or the old one is away
    places = list(held.places())
    held.close()
    assert runs not in places
    assert places[0] == Path.cwd()
    assert Path(tempfile.gettempdir()) in places


def test_a_file_system_that_numbers_files_anew_tells_only_absence(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = finished_run(runs)
    monkeypatch.setattr("labctl.data.files.hdf5.os.path.samestat", lambda *_: False)
    held = HeldFile(path)
    assert held.lost() == ""
    path.unlink()
    assert "has disappeared" in held.lost()
    held.close()
    held.close()


def test_a_name_that_cannot_be_asked_is_lost(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = finished_run(runs)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with path.open("rb") as file:
        assert why_lost(file.fileno(), path) == ""
        monkeypatch.setattr("labctl.data.files.hdf5.os.stat", refuse)
        assert why_lost(file.fileno(), path) == "cannot be accessed any more: Permission denied"


KILLED = """
import json, os, sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from data_runs import DARK, START, make_point
from labctl.data.writer import RunWriter
writer = RunWriter(Path(sys.argv[3]), "run")
writer.begin(START)
writer.dark(DARK)
for index in range(3):
    writer.append(make_point(index))
writer.paths.h5.unlink()
for index in range(3, 7):
    writer.append(make_point(index))
print(json.dumps(str(writer.paths.h5)), flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_kill_after_the_move_leaves_a_readable_copy(tmp_path: Path) -> None:
    here, root = Path(__file__).parent, Path(__file__).parents[2]
    command = [sys.executable, "-c", KILLED, str(here), str(root), str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    found = findings(json.loads(done.stdout))
    assert found.problems == ()
    assert (found.run.status, len(found.run)) == ("killed", 7)
