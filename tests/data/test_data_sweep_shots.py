"""A sweep whose points are single shots: these are its frames, stored once, in a run that can go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from data_runs import DARK, PIXELS, START, make_point
from test_data_shots import block
from test_resume_file import make_killed

from labctl.data.reader import read_run
from labctl.data.resume import ResumedWriter
from labctl.data.verify import verify
from labctl.data.writer import RunWriter
from labctl.model.errors import DataError
from labctl.model.records import FloatArray, SweepPoint
from labctl.model.run import RunStop
from labctl.model.shots import ShotBlock, ShotsSummary, ShotTally

SWEEP = replace(START, plan={"points": 4, "shots": 40, "fluences": [20.0, 21.0, 22.0, 23.0]})


def shots(point: int, count: int, phase: int = 2, first: int = 0) -> ShotBlock:
    """Return shots of a point; their counts tell points and pulses apart."""
    made = block(1000 * point + first, count, phase)
    return replace(made, pulse=np.arange(first, first + count), point=point)


def summary(point: int) -> ShotsSummary:
    numbers = dict.fromkeys(("fluence_sigma_rel", "pulse_energy_j", "angle_deg", "mean_counts", "cv"), 0.1)
    return ShotsSummary(
        point=point,
        fluence_set_uj_cm2=20.0,
        fluence_uj_cm2=20.0,
        integration_s=9e-4,
        light=40,
        tally=ShotTally(60),
        dark_cv=0.1,
        clipped=0,
        dose_uj_cm2=1.0,
        **numbers,
    )


def burst_point(index: int) -> SweepPoint:
    return replace(make_point(index, frames=np.empty((0, PIXELS))), exposures=40, dark_number=index)


def measure(writer: RunWriter, index: int) -> None:
    """Store a point as a sweep does: shots, dark, what the burst gave, the point."""
    writer.shots(shots(index, 10, phase=0))
    writer.shots(shots(index, 40, first=10))
    writer.dark(replace(DARK, number=index))
    writer.shot_point(summary(index))
    writer.append(burst_point(index))


def light_of(index: int) -> FloatArray:
    return shots(index, 40, first=10).batch.frames.astype(np.float64)


def interrupted(directory: Path) -> Path:
    """Write two points, and a third up to the middle of its light."""
    with RunWriter(directory, "run") as writer:
        writer.begin(SWEEP)
        measure(writer, 0)
        measure(writer, 1)
        writer.shots(shots(2, 10, phase=0))
        writer.shots(shots(2, 15, first=10))
        writer.end(RunStop("aborted", "stopped by the user", ""))
    return writer.paths.h5


def test_the_frames_of_a_point_are_its_shots(tmp_path: Path) -> None:
    path = interrupted(tmp_path)
    assert verify(path) == ()
    run = read_run(path)
    for index in range(2):
        np.testing.assert_array_equal(run.frames(index), light_of(index))
        np.testing.assert_array_equal(run.point(index).frames, light_of(index))
    with h5py.File(path) as file:
        assert file["entry/instrument/detector/raw"].shape == (0, PIXELS)


def test_of_a_point_that_was_begun_again_the_last_burst_counts(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "run") as writer:
        writer.begin(SWEEP)
        writer.shots(shots(0, 10, phase=0))
        writer.shots(shots(0, 25, first=10))
        measure(writer, 0)
        writer.end(RunStop("finished", "", ""))
    run = read_run(writer.paths.h5)
    np.testing.assert_array_equal(run.frames(0), light_of(0))
    assert run.shots is not None
    assert len(run.shots) == 85


def test_shots_that_are_missing_are_told(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "run") as writer:
        writer.begin(SWEEP)
        writer.shots(shots(0, 39))
        writer.append(burst_point(0))
        writer.end(RunStop("finished", "", ""))
    with pytest.raises(DataError, match="point 1 has 39 single shots, not 40"):
        read_run(writer.paths.h5).frames(0)


@pytest.mark.parametrize("killed", [False, True])
def test_a_run_of_single_shots_goes_on_in_its_file(tmp_path: Path, *, killed: bool) -> None:
    path = interrupted(tmp_path)
    if killed:
        make_killed(path)
        with h5py.File(path, "r+") as file:  # the last batch has its frames, and no row yet
            frames = file["entry/instrument/detector/shots"]
            frames.resize(frames.shape[0] + 7, axis=0)
            file["entry/record/shots"].resize(file["entry/record/shots"].shape[0] + 3, axis=0)
            file["entry/record/shot_points"].resize(3, axis=0)
    with ResumedWriter(path) as writer:
        writer.begin(SWEEP)
        measure(writer, 2)
        measure(writer, 3)
        writer.end(RunStop("finished", "", ""))
    assert verify(path) == ()
    run = read_run(path)
    for index in range(4):
        np.testing.assert_array_equal(run.frames(index), light_of(index))
    assert run.shots is not None
    assert run.shots.points["point"].tolist() == [0, 1, 2, 3]
    assert len(run.shots) == 4 * 50 + 25
