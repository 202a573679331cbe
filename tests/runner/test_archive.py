"""Many runs: listed, exported for others, fitted again as a whole and on from where that was broken off."""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rocrate.rocrate import ROCrate

from labctl.cli import main
from labctl.data import RunWriter, read_run
from labctl.model.errors import DataError
from labctl.model.results.sweep import BandThreshold, SweepResult
from labctl.model.run import RunStart, RunStop
from labctl.runner.archive import export as exporting
from labctl.runner.archive import summary
from labctl.runner.archive.summary import COLUMNS, Progress, Row, sample_lines, summarise
from labctl.runner.documents.sections import sha256

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "run" / "OLA-spot-1.h5"
NOW = datetime(2026, 12, 1, tzinfo=UTC)
THRESHOLD = BandThreshold("found", threshold_uj_cm2=80.0, ci95=(79.0, 81.0), convention="peak")


def run_of(directory: Path, stem: str, sample: str, *, failed: bool = False) -> Path:
    """Write a run without points."""
    directory.mkdir(parents=True, exist_ok=True)
    start = RunStart(
        run_id=stem, procedure="fluence-sweep/1", sample=sample, operator="N. N.", spot="2", note="",
        started_utc="2026-12-01T10:00:00Z", config={}, plan={}, identities={}, versions={},
        wavelength_nm=np.linspace(500.0, 560.0, 16), convention="peak",
    )  # fmt: skip
    with RunWriter(directory, stem) as writer:
        writer.begin(start)
        status = "failed" if failed else "finished"
        result = SweepResult() if failed else SweepResult(THRESHOLD)
        writer.end(RunStop(status, "the laser was off" if failed else "", "2026-12-01T10:10:00Z", result))  # type: ignore[arg-type]
    return writer.paths.h5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tree = tmp_path / "runs"
    run_of(tree / "day 1", "a", "OLA")
    run_of(tree / "day 2", "b", "OAm", failed=True)
    (tree / "junk.h5").write_text("no run")
    (tree / "notes.txt").write_text("not looked at")
    return tree


# --- labctl runs ----------------------------------------------------------------------------------------


def test_a_folder_is_listed_with_what_each_file_holds(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", str(folder), "--json"]) == 0
    first, second, junk = json.loads(capsys.readouterr().out)["runs"]
    assert (first["sample"], first["spot"], first["status"]) == ("OLA", "2", "finished")
    assert first["threshold"] == "80.00 (79.00 to 81.00)"
    assert (second["status"], second["threshold"]) == ("failed", "")
    assert (junk["status"], junk["result"]) == ("unreadable", "is not an HDF5 file")
    assert main(["runs", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "OLA, spot 2" in shown
    assert "2026-12-01 10:00" in shown


def test_no_folder_and_an_empty_one_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(tmp_path)]) == 0
    assert "no run files" in capsys.readouterr().out
    assert main(["runs", str(tmp_path / "nowhere")]) == 5
    assert "is not a folder" in capsys.readouterr().err


# --- labctl fit of many ---------------------------------------------------------------------------------


def test_failed_and_empty_runs_do_not_disturb_a_fit_of_many(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(EXAMPLE), *map(str, sorted(folder.rglob("*.h5")))]
    empty = files[2]
    assert main(["fit", files[0], empty, "--json"]) == 0
    said = capsys.readouterr()
    assert [run["sample"] for run in json.loads(said.out)["runs"]] == ["OLA"]
    assert f"{empty}: skipped, failed before the first point" in said.err
    assert main(["fit", *files, "--json"]) == 5
    said = capsys.readouterr()
    assert len(json.loads(said.out)["runs"]) == 1
    assert "junk.h5" in said.err
    assert main(["fit", str(folder / "junk.h5"), str(folder / "none.h5")]) == 5
    both = capsys.readouterr().err
    assert "junk.h5" in both
    assert "none.h5" in both


# --- labctl export --------------------------------------------------------------------------------------


def test_csv_holds_the_numbers_of_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(EXAMPLE), "--output", str(tmp_path)]) == 0
    curve, spectra = map(Path, capsys.readouterr().out.splitlines())
    run = read_run(EXAMPLE)
    rows = list(csv.reader(curve.read_text(encoding="utf-8").splitlines()[2:]))
    assert np.array([row[0] for row in rows], dtype=float) == pytest.approx(run.fluence_uj_cm2)
    table = np.loadtxt(spectra, delimiter=",", skiprows=2)
    assert table[:, 1:] == pytest.approx(run.spectra.T)
    assert main(["export", str(EXAMPLE), "--output", str(tmp_path)]) == 5
    assert "cannot write" in capsys.readouterr().err


def test_nexus_is_the_file_as_it_is(tmp_path: Path) -> None:
    (copy,) = exporting.export([EXAMPLE], "nexus", tmp_path / "new", NOW)
    assert copy.name == "OLA-spot-1.nxs"
    assert copy.read_bytes() == EXAMPLE.read_bytes()
    with pytest.raises(DataError, match="exists"):
        exporting.export([EXAMPLE], "nexus", tmp_path / "new", NOW)


def test_two_runs_of_one_name_are_refused(tmp_path: Path) -> None:
    twin = tmp_path / EXAMPLE.name
    shutil.copy(EXAMPLE, twin)
    with pytest.raises(DataError, match="two runs are called OLA-spot-1"):
        exporting.export([EXAMPLE, twin], "nexus", tmp_path, NOW)


def test_a_crate_describes_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from labctl.runner.documents import run_report

    monkeypatch.setattr(run_report, "run_sections", lambda *_: "")
    (crate_file,) = exporting.export([EXAMPLE], "ro-crate", tmp_path, NOW, "https://example.org/by")
    with zipfile.ZipFile(crate_file) as archive:
        archive.extractall(tmp_path / "crate")
    crate: Any = ROCrate(str(tmp_path / "crate"))
    held = {entity.id: entity for entity in crate.data_entities if entity.id != "./"}
    assert set(held) == {
        "OLA-spot-1.h5", "OLA-spot-1.csv", "OLA-spot-1_curve.csv", "OLA-spot-1_spectra.csv", "report.html",
    }  # fmt: skip
    run = held["OLA-spot-1.h5"]
    assert run["sha256"] == sha256(EXAMPLE) == sha256(tmp_path / "crate" / "OLA-spot-1.h5")
    assert run["variableMeasured"].startswith("threshold 79.4")
    assert {one["name"] for one in run["instrument"]} >= {"Ocean Insight FX", "Thorlabs SC10"}
    assert held["OLA-spot-1_curve.csv"]["isBasedOn"] == run
    assert crate.root_dataset["license"] == "https://example.org/by"
    assert crate.mainEntity == held["report.html"]


# --- labctl summarise -----------------------------------------------------------------------------------


def made(asked: Row, path: str) -> Row:
    return Row(asked.file, *asked.made_from, sample="OLA", threshold_uj_cm2="80")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs that are fitted, which nothing is here."""
    names: list[str] = []

    def fit(asked: Row, path: str) -> Row:
        names.append(asked.file)
        return made(asked, path)

    monkeypatch.setattr(summary, "made_row", fit)
    return names


def test_a_tree_becomes_a_table_with_a_row_for_each_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(EXAMPLE, folder / "whole.h5")
    table = tmp_path / "out.csv"
    assert main(["summarise", str(folder), "--output", str(table), "--jobs", "1", "--json"]) == 5
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["runs"] == 4
    assert [one["file"] for one in found["failed"]] == ["junk.h5"]
    rows = {row["file"]: row for row in csv.DictReader(table.read_text(encoding="utf-8").splitlines())}
    assert list(rows) == ["day 1/a.h5", "day 2/b.h5", "junk.h5", "whole.h5"]
    assert rows["junk.h5"]["error"] == "is not an HDF5 file"
    whole = rows["whole.h5"]
    assert float(whole["threshold_uj_cm2"]) == pytest.approx(79.63, rel=1e-3)
    assert (whole["verdict"], whole["convention"], whole["points"]) == (
        "consistent with lasing",
        "peak",
        "14",
    )
    assert rows["day 2/b.h5"]["status"] == "failed"
    assert "4 of 4 runs, 1 not fitted" in said.err


def test_interrupted_it_goes_on_and_fits_again_only_what_changed(
    folder: Path, tmp_path: Path, counted: list[str]
) -> None:
    table = tmp_path / "out.csv"
    summarise(folder, table, 1)
    assert counted == ["day 1/a.h5", "day 2/b.h5", "junk.h5"]
    counted.clear()
    torn = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join([*torn[:3], torn[3][:5]]), encoding="utf-8")  # killed within the last row
    progress: list[Progress] = []
    rows = summarise(folder, table, 1, progress.append)
    assert counted == ["junk.h5"]
    assert progress == [Progress(3, 3, 2, 0)]
    assert [row.file for row in rows] == ["day 1/a.h5", "day 2/b.h5", "junk.h5"]
    counted.clear()
    (folder / "junk.h5").write_text("changed since")
    (folder / "day 2" / "b.h5").unlink()
    assert [row.file for row in summarise(folder, table, 1)] == ["day 1/a.h5", "junk.h5"]
    assert counted == ["junk.h5"]


def test_another_table_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "notes.csv"
    table.write_text("day,fluence\n1,2\n")
    with pytest.raises(DataError, match="not a summary"):
        summarise(folder, table, 1)
    assert table.read_text() == "day,fluence\n1,2\n"


class DyingPool(Executor):
    """Does its work here, but for a run that kills its process."""

    killer = "day 2/b.h5"

    def submit(self, fn: Callable[..., Any], /, *args: Any, **_kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if args[0].file == self.killer:
            future.set_exception(BrokenProcessPool("killed"))
        else:
            future.set_result(fn(*args))
        return future


def test_a_run_that_kills_its_process_costs_no_other(
    folder: Path, tmp_path: Path, counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def dying(_jobs: int) -> Iterator[Executor]:
        yield DyingPool()

    monkeypatch.setattr(summary, "_processes", dying)
    rows = summarise(folder, tmp_path / "out.csv", 2)
    assert [row.error for row in rows] == ["", "the process that fitted it died", ""]
    assert set(counted) == {"day 1/a.h5", "junk.h5"}


def test_processes_side_by_side_give_the_same_rows(folder: Path, tmp_path: Path) -> None:
    (folder / "junk.h5").unlink()
    one, two = (summarise(folder, tmp_path / f"{jobs}.csv", jobs) for jobs in (1, 2))
    assert one == two
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()


def test_progress_says_how_much_is_left() -> None:
    assert Progress(0, 10, 0, 0).text(0.0) == "0 of 10 runs"
    assert (
        Progress(30, 1000, 10, 2).text(10.0) == "30 of 1000 runs, 2 not fitted, 2 a second, about 8 min left"
    )
    assert Progress(10, 10, 0, 0).text(5.0) == "10 of 10 runs"


def test_samples_are_compared_from_the_rows() -> None:
    def row(sample: str, spot: str, value: float) -> Row:
        ends = (f"{0.99 * value}", f"{1.01 * value}")
        return Row(
            f"{sample}{spot}", sample=sample, spot=spot, points="20", status="finished", convention="peak",
            threshold_uj_cm2=str(value), low95_uj_cm2=ends[0], high95_uj_cm2=ends[1], photon_order="2",
        )  # fmt: skip

    rows = [row("OLA", "1", 80.0), row("OLA", "2", 82.0), row("OAm", "1", 256.0), Row("empty.h5")]
    spread, ratio, *_ = sample_lines(rows)
    assert spread.startswith("OLA: 2 spots, mean 81.00 uJ/cm2")
    assert ratio.startswith("ratio of thresholds OLA / OAm: 0.316")
    assert sample_lines([Row("empty.h5")]) == []
    assert COLUMNS[0] == "file"
