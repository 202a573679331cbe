"""A run goes on in its own file: nothing that was there changes, and nobody else writes meanwhile."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
from data_runs import DARK, PIXELS, START, finished_run, make_point

from labctl.data.files import lock
from labctl.data.files.lock import RunLock, lock_path, this_process
from labctl.data.reader import read_run
from labctl.data.resume import ResumedWriter, continuable, differences
from labctl.data.verify import verify
from labctl.data.writer import RunWriter
from labctl.model.errors import ConfigError, DataError
from labctl.model.records import Identity
from labctl.model.results.sweep import BandThreshold, SweepResult
from labctl.model.run import RunStop

TORN = (
    "entry/spectra/spectrum",
    "entry/instrument/detector/raw",
    "entry/curve/fluence",
    "entry/curve/signal",
)


def interrupted(directory: Path, points: int = 5, status: str = "aborted") -> Path:
    """Write a run that was cancelled after some points."""
    with RunWriter(directory, "run") as writer:
        writer.begin(START)
        writer.dark(DARK)
        for index in range(points):
            writer.append(make_point(index, spikes=((0, 1, 9.0),) if index == 2 else ()))
        writer.event(1.0, "something")
        writer.end(RunStop("aborted", "stopped by the user", ""))
    if status == "killed":
        make_killed(writer.paths.h5)
    return writer.paths.h5


def make_killed(path: Path) -> None:
    """Leave the file as a process that is gone would: running, with half a point at the end."""
    with h5py.File(path, "r+") as file:
        file["entry/status"][()] = b"running"
        file["entry/status_reason"][()] = b""
        file["entry/record/result"].resize(0, axis=0)
        for name in TORN:
            file[name].resize(file[name].shape[0] + 1, axis=0)
        stored = '{"pid": 1, "host": "%s", "boot": "another", "started": "1", "since": "then"}'
        del file["entry/record/writer"]
        file["entry/record/writer"] = stored % this_process().host


@pytest.mark.parametrize("status", ["aborted", "killed"])
def test_points_stay_bit_by_bit_and_the_rest_follows(tmp_path: Path, status: str) -> None:
    path = interrupted(tmp_path, status=status)
    before = read_run(path)
    assert before.status == status
    kept = [before.point(n) for n in range(5)]
    with ResumedWriter(path) as writer:
        assert path.read_bytes() == before.path.read_bytes()
        writer.dose_uj_cm2 = 12.5
        writer.begin(dataclasses.replace(START, started_utc="2025-05-02T10:00:00Z"))
        assert read_run(path).status == "running"
        with h5py.File(path, "r", locking=False) as file:
            assert {file[name].shape[0] for name in TORN if "raw" not in name} == {5}
            assert file["entry/instrument/detector/raw"].shape[0] == 15
            assert "result" not in file["entry/analysis"]
        writer.dark(dataclasses.replace(DARK, number=1))
        for index in range(5, 8):
            writer.append(make_point(index))
        found = SweepResult(BandThreshold("found", threshold_uj_cm2=4.0))
        writer.end(RunStop("finished", "", "2025-05-02T10:10:00Z", found))
    after = read_run(path)
    assert (after.status, len(after), after.result) == ("finished", 8, found)
    assert after.points[:5].tobytes() == before.points.tobytes()
    for number, point in enumerate(kept):
        again = after.point(number)
        assert np.array_equal(again.frames, point.frames)
        assert np.array_equal(again.spectrum, point.spectrum)
        assert again.spikes == point.spikes
    assert after.points["index"].tolist() == list(range(8))
    assert [event.text for event in after.events] == ["something"]
    assert verify(path) == ()
    first, second = after.sessions
    assert (first.ended, first.first_point, second.first_point, second.first_event) == (status, 0, 5, 1)
    assert (second.started_utc, second.dose_uj_cm2, second.differences) == ("2025-05-02T10:00:00Z", 12.5, ())
    assert second.writer["pid"] == this_process().pid
    with h5py.File(path, "r") as file:
        assert file["entry/analysis/columns/signal"].shape == (8,)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.h5"]


def test_it_can_be_resumed_again_and_again(tmp_path: Path) -> None:
    path = interrupted(tmp_path, points=1)
    for session in range(1, 5):
        with ResumedWriter(path) as writer:
            other = {"attenuator": Identity("Thorlabs", "ELL14", f"number {session}")}
            writer.begin(dataclasses.replace(START, identities=other))
            writer.append(make_point(session))
            writer.end(RunStop("failed", f"for the {session}. time", ""))
    run = read_run(path)
    assert (len(run), run.status, verify(path)) == (5, "failed", ())
    assert [s.first_point for s in run.sessions] == [0, 1, 2, 3, 4]
    assert run.sessions[3].reason == "for the 3. time"
    assert run.sessions[4].differences == (
        "attenuator: was Thorlabs ELL14 number 3, is Thorlabs ELL14 number 4",
    )


def test_nothing_changes_before_it_begins(tmp_path: Path) -> None:
    path = interrupted(tmp_path)
    before = path.read_bytes()
    with ResumedWriter(path):
        pass
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.h5"]


def test_a_finished_run_is_refused(tmp_path: Path) -> None:
    path = finished_run(tmp_path)
    with pytest.raises(DataError, match="has finished: all of its 8 points"):
        ResumedWriter(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.h5"]


@pytest.mark.parametrize("name", ["entry/record/points", "entry/instrument/detector/raw"])
def test_a_damaged_point_is_not_continued_from(tmp_path: Path, name: str) -> None:
    path = interrupted(tmp_path, status="killed")
    with h5py.File(path, "r+") as file:
        row = file[name][1]
        if name.endswith("points"):
            row["signal"] *= 3
        else:
            row[:3] += 1
        file[name][1] = row
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"1 of its 5 points do not match .* labctl verify"):
        ResumedWriter(path)
    assert path.read_bytes() == before


def test_what_is_no_run_gets_no_lock_beside_it(tmp_path: Path) -> None:
    strange = tmp_path / "strange.h5"
    strange.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="not an HDF5 file"):
        ResumedWriter(strange)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["strange.h5"]


def test_differences_are_told_leaf_by_leaf(tmp_path: Path) -> None:
    run = read_run(interrupted(tmp_path))
    assert differences(run, START) == ()
    pump = {"wavelength_nm": 810.0, "repetition_rate_hz": 1000.0, "pulse_width_fs": None}
    other = dataclasses.replace(START, config={"pump": pump, "limits": {"set_ratio": 0.1}}, identities={})
    assert differences(run, other) == (
        "attenuator: was Thorlabs ELL14 11400001 1.0, is nothing",
        "limits.set_ratio: was nothing, is 0.1",
        "pump.wavelength_nm: was 800.0, is 810.0",
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"wavelength_nm": np.linspace(510.0, 560.0, PIXELS + 1)}, "33 pixels, the run 32"),
        ({"wavelength_nm": np.linspace(510.0, 560.5, PIXELS)}, "differ by up to 0.5 nm"),
        ({"convention": "average"}, "average values on the bench, peak in the run"),
        ({"plan": {"emission_nm": [500.0, 560.0]}}, "emission_nm"),
    ],
)
def test_axes_that_one_file_cannot_hold_are_refused(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    path = interrupted(tmp_path)
    before = path.read_bytes()
    with ResumedWriter(path) as writer, pytest.raises(ConfigError, match=said):
        writer.begin(dataclasses.replace(START, **changes))  # type: ignore[arg-type]
    assert path.read_bytes() == before


def test_a_copy_that_cannot_be_mended_leaves_the_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = interrupted(tmp_path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("labctl.data.resume.mend", fail)
    with ResumedWriter(path) as writer, pytest.raises(DataError, match="the disk is full"):
        writer.begin(START)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.h5"]


def test_a_link_out_of_the_file_is_not_written_through(tmp_path: Path) -> None:
    victim, path = interrupted(tmp_path / "victim"), interrupted(tmp_path)
    with h5py.File(path, "r+") as file:
        del file["entry/curve/signal"]
        file["entry/curve/signal"] = h5py.ExternalLink(str(victim), "/entry/curve/signal")
    before = victim.read_bytes()
    with ResumedWriter(path) as writer, pytest.raises(DataError, match="links to another file"):
        writer.begin(START)
    assert victim.read_bytes() == before


HOLD = """
import sys
from pathlib import Path
from labctl.data.resume import ResumedWriter
writer = ResumedWriter(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_told_who_holds_the_run(tmp_path: Path) -> None:
    path = interrupted(tmp_path)
    command = [sys.executable, "-c", HOLD, str(path)]
    pipe = subprocess.PIPE
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=root) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        host = this_process().host
        with pytest.raises(DataError, match=f"is being written by process {other.pid} on {host} since 20"):
            ResumedWriter(path)
        other.kill()
        other.wait()
    assert lock_path(path).exists()
    with ResumedWriter(path) as writer:
        assert len(writer.run) == 5
    assert not lock_path(path).exists()


def test_a_run_that_is_being_written_is_locked(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "run") as writer:
        writer.begin(START)
        assert lock_path(writer.paths.h5).exists()
        with pytest.raises(DataError, match=f"is being written by process {this_process().pid}"):
            ResumedWriter(writer.paths.h5)
        with pytest.raises(DataError, match="being written by process"):
            continuable(writer.paths.h5)
    assert not lock_path(writer.paths.h5).exists()


def test_without_a_lock_the_record_in_the_file_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(_: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(lock, "_lock_descriptor", nothing)
    with RunWriter(tmp_path, "run") as writer:
        writer.begin(START)
        lock_path(writer.paths.h5).unlink()
        with pytest.raises(DataError, match=f"being written by process {this_process().pid} on"):
            ResumedWriter(writer.paths.h5)
        monkeypatch.setattr(lock, "_started", lambda pid: None)
        assert continuable(writer.paths.h5).status == "killed"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not take away a file that is open")
def test_a_lock_that_was_taken_away_meanwhile_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    h5, real = tmp_path / "run.h5", lock._lock_descriptor

    def lose_first(descriptor: int) -> None:
        monkeypatch.setattr(lock, "_lock_descriptor", real)
        lock_path(h5).unlink()
        real(descriptor)

    monkeypatch.setattr(lock, "_lock_descriptor", lose_first)
    mine = RunLock(h5, this_process())
    with pytest.raises(DataError, match="is being written by process"):
        RunLock(h5, this_process())
    mine.release()


def test_of_many_who_want_a_run_one_gets_it(tmp_path: Path) -> None:
    h5, me = tmp_path / "run.h5", this_process()
    inside, most, gate = 0, [0], threading.Lock()

    def want() -> None:
        nonlocal inside
        for _ in range(200):
            try:
                got = RunLock(h5, me)
            except DataError:
                continue
            with gate:
                inside += 1
                most[0] = max(most[0], inside)
            with gate:
                inside -= 1
            got.release()

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert not lock_path(h5).exists()
