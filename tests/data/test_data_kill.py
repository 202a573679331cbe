"""Whatever moment a writer dies at, the file opens and every returned point is in it."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from data_runs import DARK, START, finished_run, make_point
from patience import PATIENCE_S

from labctl.data import writer
from labctl.data.files import hdf5, lock
from labctl.data.files.hdf5 import HeldFile
from labctl.data.nexus import try_room
from labctl.data.reader import read_run
from labctl.data.writer import RunWriter
from labctl.model.errors import DataError
from labctl.model.results.sweep import BandThreshold, SweepResult
from labctl.model.run import RunStop


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return finished_run(tmp_path)


Operation = tuple[int, bytes | None]
"""Bytes written at an offset, or (size, None) for a change of the file's length."""
PAGE = 4096


class Recorder(io.FileIO):
    """A file that notes every change made to it, cut at pages: a kill can stop a write between two."""

    def __init__(self, path: Path, log: list[Operation]) -> None:
        super().__init__(path, "r+b")
        self._log = log

    def write(self, data: bytes) -> int:  # type: ignore[override]
        whole, at = bytes(data), self.tell()
        for cut in range(-(at % PAGE), len(whole), PAGE):
            begin = max(cut, 0)
            self._log.append((at + begin, whole[begin : cut + PAGE]))
        return super().write(whole)

    def truncate(self, size: int | None = None) -> int:
        assert size is not None
        self._log.append((size, None))
        return super().truncate(size)


class Tape:
    """Records a writer's changes of its file, and plays them back one by one into another."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[Operation] = []
        self.before = b""
        monkeypatch.setattr(writer, "open_h5", self._open)
        monkeypatch.setattr(HeldFile, "set_size", lambda held, size: self._truncate(held, size))

    def _open(self, path: Path, mode: str) -> h5py.File:
        if mode == "w":
            return hdf5.open_h5(path, mode)
        self.before = path.read_bytes()
        self.recorder = Recorder(path, self.log)
        return h5py.File(self.recorder, "r+", libver=("earliest", "v108"), rdcc_nbytes=0)

    def _truncate(self, file: HeldFile, size: int, real: Callable[..., None] = HeldFile.set_size) -> None:
        self.log.append((size, None))
        real(file, size)

    def play(self, path: Path, look: Callable[[int], None]) -> None:
        self.recorder.close()
        path.write_bytes(self.before)
        look(0)
        with path.open("r+b", buffering=0) as file:
            for number, (at, data) in enumerate(self.log, 1):
                if data is None:
                    file.truncate(at)
                else:
                    file.seek(at)
                    file.write(data)
                look(number)


def test_every_prefix_of_the_writes_is_a_sound_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tape = Tape(monkeypatch)
    returned = [(0, 0)]
    run = RunWriter(tmp_path, "run")
    run.begin(START)
    run.dark(DARK)
    for index in range(7):
        halves = 0.5 if index == 3 else 0.0
        frames = make_point(index).frames + halves
        run.append(make_point(index, frames=frames, spikes=((0, 1, 9.0),) if index % 5 == 2 else ()))
        returned.append((len(tape.log), index + 1))
        if index == 4:
            run.event(float(index), "x" * 300)
    run.end(RunStop("finished", "", "", SweepResult(BandThreshold("found", threshold_uj_cm2=3.0))))
    copy = tmp_path / "copy.h5"

    def look(number: int) -> None:
        must = max(count for at, count in returned if at <= number)
        with h5py.File(copy, "r", locking=False) as stranger:
            stranger["entry/curve/signal"][()]
            if number > returned[-1][0]:  # only the end adds names
                stranger["entry/analysis"].visit(str)
        found = read_run(copy)
        assert len(found) >= must
        assert found.points["index"].tolist() == list(range(len(found)))

    tape.play(copy, look)
    assert len(tape.log) > 150
    assert read_run(copy).status == "finished"


CHILD = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
import numpy as np
from data_runs import PIXELS, POINT
from dataclasses import replace
from labctl.data.writer import RunWriter
from labctl.model.run import RunStart
writer = RunWriter(Path(sys.argv[3]), "run")
writer.begin(RunStart("r", "fluence-sweep/1", "s", "", "", "", "", {}, {"points": 50, "average": 2}, {}, {},
    np.arange(float(PIXELS)), "peak"))
frames = np.ones((2, PIXELS))
for index in range(1_000_000):
    writer.append(replace(POINT, index=index, frames=frames))
    sys.stdout.write(f"{index}\\n")
    sys.stdout.flush()
"""


def test_kill_9_at_random_moments_loses_no_returned_point(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    here, root = Path(__file__).parent, Path(__file__).parents[2]
    for trial in range(3):
        directory = tmp_path / str(trial)
        command = [sys.executable, "-c", CHILD, str(here), str(root), str(directory)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            shown = [child.stdout.readline() for _ in range(int(rng.integers(1, 400)))]
            child.kill()
            shown += child.stdout.readlines()
        whole = [int(line) for line in shown if line.endswith("\n")]
        run = read_run(directory / "run.h5")
        assert run.status == "killed"
        assert "left unfinished by process" in run.reason
        assert run.points["index"].tolist() == list(range(len(run)))
        assert len(run) >= len(whole) > 0


def test_a_row_without_its_spectrum_does_not_exist(finished: Path) -> None:
    with h5py.File(finished, "r+") as file:
        file["entry/spectra/spectrum"].resize(7, axis=0)
    assert len(read_run(finished)) == 7
    with h5py.File(finished, "r+") as file:
        file["entry/record/points"].resize(6, axis=0)
    assert len(read_run(finished)) == 6


def test_running_is_told_from_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunWriter(tmp_path, "run")
    run.begin(START)
    assert read_run(run.paths.h5).status == "running"
    me = lock.this_process()
    assert not lock.is_alive(lock.Holder(me.pid, me.host, "another boot", me.started), run.paths.h5)
    assert not lock.is_alive(lock.Holder(me.pid, me.host, me.boot, "1"), run.paths.h5)
    elsewhere = lock.Holder(me.pid, "elsewhere", "", "")
    assert lock.is_alive(elsewhere, run.paths.h5)
    os.utime(run.paths.h5, (1.0, 1.0))
    assert not lock.is_alive(elsewhere, run.paths.h5)
    monkeypatch.setattr(lock, "_started", lambda pid: None)
    assert read_run(run.paths.h5).status == "killed"
    run.close()


FULL = """
import resource, sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
import numpy as np
from data_runs import PIXELS, POINT
from dataclasses import replace
from labctl.data.writer import RunWriter
from labctl.model.errors import DataError
from labctl.model.run import RunStart, RunStop
writer = RunWriter(Path(sys.argv[3]), "run")
writer.begin(RunStart("r", "fluence-sweep/1", "s", "", "", "", "", {}, {"points": 5, "average": 2}, {}, {},
    np.arange(float(PIXELS)), "peak"))
size = writer.paths.h5.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
frames = np.ones((64, PIXELS))
stored = 0
try:
    for index in range(100_000):
        writer.append(replace(POINT, index=index, frames=frames))
        stored += 1
except DataError as exc:
    print(stored, exc.exit_code, exc)
try:
    writer.end(RunStop("failed", "the disk is full", ""))
except DataError as exc:
    print(exc)
writer.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files exists on POSIX only")
def test_a_full_disk_is_a_data_error_and_keeps_what_was_shown(tmp_path: Path) -> None:
    here, root = Path(__file__).parent, Path(__file__).parents[2]
    command = [sys.executable, "-c", FULL, str(here), str(root), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
    stored, code, message = done.stdout.splitlines()[0].split(" ", 2)
    assert int(code) == 5
    assert "the disk is full" in message
    run = read_run(tmp_path / "run.h5")
    assert (run.status, run.reason) == ("failed", "the disk is full")
    assert len(run) == int(stored) > 5


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files exists on POSIX only")
@pytest.mark.parametrize("limit", [0, 1 << 10, 20 << 10, 200 << 10])
def test_files_that_may_not_grow_refuse_a_run_at_its_beginning(tmp_path: Path, limit: int) -> None:
    here, root = Path(__file__).parent, Path(__file__).parents[2]
    script = FULL.replace(
        "writer.begin(", f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\nwriter.begin("
    )
    command = [sys.executable, "-c", script, str(here), str(root), str(tmp_path)]
    # Coverage, where it is measured, keeps a file of its own, which may not grow either.
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        command, env=unmeasured, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 1, done.stderr  # the library itself would take the process with it
    assert "DataError" in done.stderr.splitlines()[-1]
    assert "the disk is full" in done.stderr.splitlines()[-1]


def test_where_nothing_can_be_allocated_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr("labctl.data.nexus.os.posix_fallocate", unknown, raising=False)
    try_room(tmp_path / "probe", 3 << 20)
    assert (tmp_path / "probe").stat().st_size == 3 << 20


def test_too_small_a_disk_is_refused_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr("labctl.data.nexus.shutil.disk_usage", lambda path: usage)
    with RunWriter(tmp_path, "run") as run, pytest.raises(DataError, match="1 MB free"):
        run.begin(START)
    assert list(tmp_path.iterdir()) == []
