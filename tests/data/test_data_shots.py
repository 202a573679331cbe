"""Every shot on disk: what was stored is read, a kill loses no batch, and the file is hardly larger."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from data_runs import DARK, PIXELS, START, finished_run
from nexusformat.nexus import nxload
from test_data_kill import Tape

from labctl.data.reader import read_run
from labctl.data.verify import verify
from labctl.data.writer import RunWriter
from labctl.model.errors import DataError
from labctl.model.run import RunStart, RunStop
from labctl.model.shots import Gap, ShotBatch, ShotBlock

SHOTS_START = replace(START, procedure="shots/1", plan={"shots": 400})


def block(
    first: int, count: int, phase: int = 2, gaps: tuple[Gap, ...] = (), pixels: int = PIXELS
) -> ShotBlock:
    """Return shots that can be told from others: pixel 0 holds the pulse."""
    pulse = np.arange(first, first + count)
    rng = np.random.default_rng(first)
    frames = rng.integers(0, 65536, (count, pixels)).astype(np.uint16)
    frames[:, 0] = pulse % 65536
    batch = ShotBatch(frames, 1000 * pulse + 7, pulse + 40, 0.9e-3, 1e-3 * (first + count))
    return ShotBlock(batch, pulse, np.full(count, phase, np.uint8), gaps)


def written(directory: Path, start: RunStart = SHOTS_START) -> Path:
    with RunWriter(directory, "run") as writer:
        writer.begin(start)
        writer.dark(DARK)
        writer.shots(block(0, 30, phase=0))
        writer.shots(block(30, 5, phase=1))
        writer.shots(block(35, 100))
        writer.shots(block(140, 60, gaps=(Gap(135, 3, "buffer"), Gap(138, 2, "trigger"))))
        writer.end(RunStop("finished", "", "2025-05-01T10:10:00Z"))
    return writer.paths.h5


def test_what_was_stored_is_read(tmp_path: Path) -> None:
    path = written(tmp_path)
    run = read_run(path)
    shots = run.shots
    assert shots is not None
    assert len(shots) == 195
    assert shots.table["pulse"].tolist() == [*range(135), *range(140, 200)]
    assert shots.table["device_time_us"].tolist() == [1000 * n + 7 for n in shots.table["pulse"]]
    assert (shots.tally.lost_in_buffer, shots.tally.lost_triggers) == (3, 2)
    assert shots.where("dark").tolist() == list(range(30))
    light = shots.where("light")
    assert light.tolist() == list(range(35, 195))
    np.testing.assert_array_equal(shots.frames(35, 100), block(35, 100).batch.frames)
    assert shots.frames(190, 100).shape == (5, PIXELS)
    seen = np.concatenate(list(shots.pieces(light)))
    assert seen[:, 0].tolist() == [*range(35, 135), *range(140, 200)]
    assert shots.where("light", 1).size == 0
    assert verify(path) == ()


def test_strangers_find_the_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NX_LOCKDIRECTORY", str(tmp_path))
    path = written(tmp_path)
    data = nxload(str(path))["entry/shots"]
    assert data.nxclass == "NXdata"
    assert data.nxsignal.shape == (195, PIXELS)
    assert data.nxaxes[1].attrs["units"] == "nm"
    with h5py.File(path) as file:
        assert file["entry/record/shot_points"].shape == (0,)
        assert file["entry/instrument/detector/shots"].dtype == np.uint16


def test_runs_without_shots_have_none_and_take_none(tmp_path: Path) -> None:
    path = finished_run(tmp_path)
    assert read_run(path).shots is None
    with RunWriter(tmp_path, "other") as writer:
        writer.begin(START)
        with pytest.raises(DataError, match="not begun as a run that keeps every shot"):
            writer.shots(block(0, 3))


@pytest.mark.parametrize("dataset", ["instrument/detector/shots", "record/shots", "record/shot_gaps"])
def test_changed_bytes_are_found(tmp_path: Path, dataset: str) -> None:
    path = written(tmp_path)
    with h5py.File(path, "r+") as file:
        stored = file[f"entry/{dataset}"]
        row = stored[1]
        if stored.dtype.names:
            row["pulse"] += 1
        else:
            row[3] ^= 1
        stored[1] = row
    if dataset == "record/shot_gaps":  # of the last batch, which then counts as never stored
        shots = read_run(path).shots
        assert shots is not None
        assert len(shots) == 135
    else:
        assert verify(path) == ("shots 1 to 30: checksum does not match",)


def test_every_prefix_of_the_writes_is_a_sound_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tape = Tape(monkeypatch)
    returned = [(0, 0)]
    run = RunWriter(tmp_path, "run")
    run.begin(replace(SHOTS_START, plan={"shots": 20}))
    stored = 0
    for number in range(4):
        gaps = (Gap(stored, 1, "trigger"),) if number == 2 else ()
        run.shots(block(stored, 9 + number, gaps=gaps))
        stored += 9 + number
        returned.append((len(tape.log), stored))
    run.end(RunStop("finished", "", ""))
    copy = tmp_path / "copy.h5"

    def look(number: int) -> None:
        shots = read_run(copy).shots
        assert shots is not None
        assert len(shots) >= max(count for at, count in returned if at <= number)
        assert shots.table["pulse"].tolist() == list(range(len(shots)))
        assert shots.frames(0, len(shots))[:, 0].tolist() == list(range(len(shots)))

    tape.play(copy, look)
    assert len(tape.log) > 60
    assert verify(copy) == ()


CHILD = """
import sys
from dataclasses import replace
from pathlib import Path
sys.path[:0] = [*sys.argv[1:3], sys.argv[1] + "/.."]
from test_data_shots import SHOTS_START, block
from labctl.data.writer import RunWriter
writer = RunWriter(Path(sys.argv[3]), "run")
writer.begin(SHOTS_START)
for number in range(1_000_000):
    writer.shots(block(20 * number, 20))
    sys.stdout.write(f"{20 * number + 20}\\n")
    sys.stdout.flush()
"""


def test_kill_9_at_random_moments_loses_no_stored_shot(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    here, root = Path(__file__).parent, Path(__file__).parents[2]
    for trial in range(3):
        directory = tmp_path / str(trial)
        command = [sys.executable, "-c", CHILD, str(here), str(root), str(directory)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            shown = [child.stdout.readline() for _ in range(int(rng.integers(1, 300)))]
            child.kill()
            shown += child.stdout.readlines()
        returned = int([line for line in shown if line.endswith("\n")][-1])
        run = read_run(directory / "run.h5")
        assert run.status == "killed"
        assert run.shots is not None
        assert len(run.shots) >= returned > 0
        assert run.shots.table["pulse"].tolist() == list(range(len(run.shots)))
        assert verify(directory / "run.h5") == ()


def test_a_finished_file_is_hardly_larger_than_its_counts(tmp_path: Path) -> None:
    pixels, shots = 2136, 15_000
    start = replace(SHOTS_START, plan={"shots": shots}, wavelength_nm=np.linspace(500.0, 560.0, pixels))
    with RunWriter(tmp_path, "run") as writer:
        writer.begin(start)
        for first in range(0, shots, 150):
            writer.shots(block(first, 150, pixels=pixels))
        writer.end(RunStop("finished", "", ""))
    raw = 2 * pixels * shots
    assert raw < writer.paths.h5.stat().st_size <= 1.1 * raw


def test_an_hour_that_is_broken_off_early_gives_its_room_back(tmp_path: Path) -> None:
    start = replace(SHOTS_START, plan={"shots": 50_000}, wavelength_nm=np.linspace(500.0, 560.0, 2136))
    with RunWriter(tmp_path, "run") as writer:
        writer.begin(start)
        writer.shots(block(0, 150, pixels=2136))
        writer.end(RunStop("aborted", "stopped by the user", ""))
    assert writer.paths.h5.stat().st_size < 40 * 2**20
    assert verify(writer.paths.h5) == ()
