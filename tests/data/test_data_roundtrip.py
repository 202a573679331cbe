"""What was appended comes back, to the last bit, and the run says how it ended."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import pytest
from data_runs import DARK, PIXELS, START, finished_run, make_point

from labctl.data import schema
from labctl.data.csvfile import export_curve, export_spectra
from labctl.data.reader import read_run
from labctl.data.tables.table import read_table
from labctl.data.verify import verify
from labctl.data.writer import RunWriter, reserve, safe_stem
from labctl.model.errors import DataError
from labctl.model.records import SweepPoint
from labctl.model.results.sweep import BandThreshold, SweepResult
from labctl.model.run import RunStop


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return finished_run(tmp_path)


def same(left: object, right: object) -> bool:
    """Compare two records field by field, arrays included, bit for bit."""
    assert dataclasses.is_dataclass(left)
    for field in dataclasses.fields(left):
        a, b = getattr(left, field.name), getattr(right, field.name)
        if not (np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b):
            return False
    return True


def test_every_point_comes_back_as_it_was(tmp_path: Path) -> None:
    points: list[SweepPoint] = [
        make_point(0),
        make_point(1, exposures=7, blank_number=2, fwhm_nm=None, temperature_c=None, flags=()),
        make_point(2, frames=np.full((2, PIXELS), 70_000.0)),
        make_point(3, frames=np.full((2, PIXELS), 0.5)),
        make_point(4, frames=np.full((2, PIXELS), 0.1)),
        make_point(5, spikes=((0, 3, 5000.0), (2, 31, 65535.0)), direction="down"),
    ]
    writer = RunWriter(tmp_path, "run")
    writer.begin(START)
    for point in points:
        writer.append(point)
    run = read_run(writer.paths.h5)
    writer.close()
    assert all(same(run.point(at), point) for at, point in enumerate(points))
    assert run.status == "running"
    assert same(run.start, START)
    with h5py.File(writer.paths.h5, "r") as file:
        rows = [file[schema.DETECTOR][name].shape[0] for name, _ in schema.FRAME_KINDS]
    assert rows == [13, 2, 2, 2]


@pytest.mark.parametrize("status", ["finished", "aborted", "failed"])
def test_a_run_says_how_it_ended(tmp_path: Path, status: Literal["finished", "aborted", "failed"]) -> None:
    writer = RunWriter(tmp_path, "run")
    writer.begin(START)
    writer.dark(DARK)
    threshold = BandThreshold("found", "words", 9, threshold_uj_cm2=1.5, flags=("a", "b/c"))
    result = SweepResult(threshold, doubt="some", planned=4)
    writer.end(RunStop(status, "because", "2025-05-01T10:10:00Z", result))
    run = read_run(writer.paths.h5)
    assert (run.status, run.reason) == (status, "because")
    assert run.result == result
    assert same(run.darks[0], DARK)


def test_every_point_of_a_long_run_keeps_its_dark(tmp_path: Path) -> None:
    """Q is taken at a bright point, which may be the first one: its dark is renewed many times after it."""
    darks = [dataclasses.replace(DARK, number=n, counts=DARK.counts + n) for n in range(30)]
    with RunWriter(tmp_path, "run") as writer:
        writer.begin(START)
        for dark in darks:
            writer.dark(dark)
            writer.append(make_point(dark.number, dark_number=dark.number))
        during = read_run(writer.paths.h5)
        writer.end(RunStop("finished", "", "2025-05-01T10:10:00Z"))
    for run in (during, read_run(writer.paths.h5)):
        known = {dark.number: dark for dark in run.darks}
        assert all(same(known[run.point(at).dark_number], dark) for at, dark in enumerate(darks))


def test_a_closed_run_without_an_end_has_failed(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "run") as writer:
        writer.begin(START)
    assert read_run(writer.paths.h5).status == "failed"
    with pytest.raises(DataError, match="already ended"):
        writer.end(RunStop("finished", "", ""))


def test_arrays_of_a_run(finished: Path) -> None:
    run = read_run(finished.with_suffix(".csv") if finished.with_suffix(".csv").exists() else finished)
    assert run.fluence_uj_cm2.tolist() == [20.0 + i for i in range(8)]
    assert run.spectra.shape == (8, PIXELS)
    assert np.array_equal(run.spectrum(-1), make_point(7).spectrum)
    assert run.flags[0] == ("drift", "spikes")
    assert run.events[0].text == "a new dark"
    assert verify(finished) == ()
    with pytest.raises(IndexError):
        run.spectrum(8)
    with pytest.raises(KeyError):
        run.column("flags")


def test_the_csv_beside_a_run_opens_the_run(finished: Path) -> None:
    assert len(read_run(finished.with_suffix(".csv"))) == 8
    with pytest.raises(DataError, match="beside it"):
        read_run(finished.with_name("other.csv"))


def test_long_and_strange_texts(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path, "run")
    writer.begin(dataclasses.replace(START, note="nul\0nul", sample="µ\ud800"))
    lines = ["é" * 500, "", "x" * 240, "nul\0"]
    for at, line in enumerate(lines):
        writer.event(float(at), line)
    writer.end(RunStop("failed", "ü" * 2000, ""))
    run = read_run(writer.paths.h5)
    assert [event.text for event in run.events] == ["é" * 500, "", "x" * 240, "nul"]
    assert run.reason == "ü" * 512


def test_a_point_of_the_wrong_size_is_refused_and_the_others_stay(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path, "run")
    writer.begin(START)
    writer.append(make_point(0))
    with pytest.raises(DataError, match="do not fit"):
        writer.append(make_point(1, spectrum=np.zeros(PIXELS + 1)))
    with pytest.raises(DataError, match="no longer written"):
        writer.append(make_point(2))
    writer.close()
    run = read_run(writer.paths.h5)
    assert (run.status, len(run)) == ("failed", 1)


def test_names_are_cleaned_and_runs_never_overwritten(tmp_path: Path) -> None:
    assert safe_stem("../../etc/passwd") == "etc-passwd"
    assert safe_stem("COM1") == "run-COM1"
    assert safe_stem("") == "run"
    assert len(safe_stem("x" * 500)) == 80
    first, second = reserve(tmp_path / "a" / "b", "x"), reserve(tmp_path / "a" / "b", "x")
    assert (first.h5.name, second.h5.name) == ("x.h5", "x-2.h5")
    (tmp_path / "y.csv").write_text("kept")
    assert reserve(tmp_path, "y").csv.name == "y-2.csv"
    with pytest.raises(DataError, match="--output"):
        reserve(tmp_path / "y.csv" / "sub", "x")


def test_a_writer_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    RunWriter(tmp_path, "run").close()
    assert list(tmp_path.iterdir()) == []


def test_exports_can_be_read_back(finished: Path, tmp_path: Path) -> None:
    run = read_run(finished)
    table = read_table(export_curve(run, tmp_path / "curve.csv"))
    assert np.array_equal(table.fluence_uj_cm2, run.fluence_uj_cm2)
    assert np.array_equal(table.signal, run.signal)
    assert table.convention == "peak"
    spectra = np.loadtxt(export_spectra(run, tmp_path / "s.csv"), delimiter=",", skiprows=2)
    assert np.array_equal(spectra[:, 1:].T, run.spectra)
    with pytest.raises(DataError, match="cannot write"):
        export_curve(run, tmp_path / "curve.csv")
