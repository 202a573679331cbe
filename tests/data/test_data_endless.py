"""Pipes, devices, endless files and numbers without end are refused at once, wherever a file is named."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from data_runs import finished_run

from labctl.cli import main
from labctl.config import EXAMPLE, parse_bench
from labctl.config.benchfile import use_calibration
from labctl.data.edits import edits_path, record_edit
from labctl.data.files.guard import read_json
from labctl.data.reader import read_run
from labctl.data.tables.table import read_table
from labctl.model.errors import ConfigError, DataError
from labctl.model.untrusted import open_regular, read_regular

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX has such files, Windows has not")

Make = Callable[[Path], None]


def fifo(path: Path) -> None:
    if sys.platform != "win32":
        os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def directory(path: Path) -> None:
    path.mkdir()


def bench(tmp_path: Path, more: str = "") -> str:
    file = tmp_path / "bench.toml"
    assert "\n[calibrations]\n" in EXAMPLE
    file.write_text(EXAMPLE.replace("[calibrations]\n", f"[calibrations]\n{more}\n"), encoding="utf-8")
    return str(file)


def edited(tmp_path: Path, make: Make) -> str:
    run = finished_run(tmp_path)
    make(edits_path(run))
    return str(run)


def made(path: Path, make: Make) -> str:
    make(path)
    return str(path)


USES: dict[str, Callable[[Path, Make], list[str]]] = {
    "fit h5": lambda d, make: ["fit", made(d / "a.h5", make)],
    "fit csv": lambda d, make: ["fit", made(d / "a.csv", make)],
    "fit edits": lambda d, make: ["fit", edited(d, make)],
    "verify": lambda d, make: ["verify", made(d / "a.h5", make)],
    "verify csv": lambda d, make: ["verify", csv_beside(d, make)],
    "budget": lambda d, make: ["budget", made(d / "a.h5", make)],
    "resume": lambda d, make: ["resume", made(d / "a.h5", make)],
    "bench": lambda d, make: ["check", "--bench", made(d / "b.toml", make)],
    "calibration": lambda d, make: [
        *(
            "budget",
            "--bench",
            bench(d, f'spot = "{Path(made(d / "c.json", make)).name}"'),
        ),
    ],
    "calibrations": lambda d, make: ["calibrations", str(Path(made(d / "spot-1.json", make)).parent)],
    "calibrations of a bench": lambda d, make: ["calibrations", "--bench", made(d / "b.toml", make)],
    "answers": lambda d, make: [
        *("calibrate", "spot", "--bench", bench(d), "--answers", made(d / "answers", make)),
    ],
    "absorption": lambda d, make: [
        *("calibrate", "spot", "--bench", bench(d), "--absorption", made(d / "a.csv", make)),
    ],
    "faults": lambda d, make: [
        *("simulate", "--bench-file", str(d / "sim.toml"), "--faults", made(d / "f.toml", make)),
    ],
    "simulate over it": lambda d, make: ["simulate", "--bench-file", made(d / "sim.toml", make)],
}


def csv_beside(tmp_path: Path, make: Make) -> str:
    run = finished_run(tmp_path)
    make(run.with_suffix(".csv"))
    return str(run)


@posix
@pytest.mark.parametrize("make", [fifo, device, directory])
@pytest.mark.parametrize("use", USES.values(), ids=list(USES))
def test_what_is_no_regular_file_is_refused(
    use: Callable[[Path, Make], list[str]],
    make: Make,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(use(tmp_path, make)) in (2, 5)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert "unexpected" not in captured.err
    assert re.search(
        r"not a (regular )?file|is a directory|is not a file|no such file", captured.out + captured.err
    )


@posix
@pytest.mark.parametrize("make", [fifo, device])
def test_an_edit_goes_into_a_regular_file_only(tmp_path: Path, make: Make) -> None:
    run = edited(tmp_path, make)
    with pytest.raises(DataError, match="is not a regular file"):
        record_edit(Path(run), 1, out=True)


@posix
def test_no_calibration_is_named_in_a_pipe(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a regular file"):
        use_calibration(Path(made(tmp_path / "b.toml", fifo)), "spot", tmp_path / "spot.json")


@posix
def test_what_a_file_is_is_asked_after_it_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between asking and opening it could become a pipe."""
    monkeypatch.setattr(Path, "is_file", lambda _self: True)
    with pytest.raises(DataError, match="regular file"):
        read_run(Path(made(tmp_path / "a.h5", fifo)))
    with open_regular(finished_run(tmp_path)) as stream:
        assert stream.read(4) == b"\x89HDF"


def test_more_than_is_wanted_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)
    assert len(read_regular(tmp_path / "a", 100)) == 100
    with pytest.raises(OSError, match="larger than 99 bytes"):
        read_regular(tmp_path / "a", 99)
    with (tmp_path / "big.csv").open("wb") as big:
        big.truncate(300 << 20)
    with pytest.raises(DataError, match="larger than 256 MB"):
        read_table(tmp_path / "big.csv")


@pytest.mark.parametrize(
    "text",
    [
        "1.5," * 1_000_000 + "\n",
        "1.5;" * 3_000_000 + "\n",
        "fluence,signal\n" + ("1.5 " * 60_000 + "\n") * 2,
        ("1\t" * 4_000 + "\n") * 400,
    ],
)
def test_a_table_of_a_million_cells_is_refused_before_it_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    started = time.process_time()
    with pytest.raises(DataError, match=r"characters, more than|cells, more than"):
        read_table(tmp_path / "a.csv")
    assert time.process_time() - started < 30.0  # of the processor; it took a minute


@pytest.mark.parametrize(
    "text", ["9" * 5000, "9" * 4000, "1e999", "NaN", "-Infinity", "[" * 100_000, '{"a": ' * 2000]
)
def test_json_without_measure_is_refused(text: str) -> None:
    with pytest.raises((ValueError, RecursionError)):
        read_json(text)
    assert read_json('{"a": [1, -2.5e-3, null, true]}') == {"a": [1, -2.5e-3, None, True]}


def test_an_edit_with_a_number_without_end_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished_run(tmp_path)
    for number in ("9" * 5000, "9" * 4000):
        line = json.dumps({"run": "r-1", "point": 0, "left_out": True}).replace(": 0", f": {number}")
        edits_path(run).write_text(f"{line}\n{line}\n")
        assert main(["fit", str(run)]) == 5
        assert "digits" in capsys.readouterr().err


KEYS = (
    *("wavelength_nm", "repetition_rate_hz", "pickoff_ratio", "incidence_deg", "photon_order", "x_um"),
    *("max_fluence_uj_cm2", "t_min", "zero_deg", "averages", "travel_s", "resolution_nm"),
)
NUMBERS = ["1e308", "1e300", "1e-320", "inf", "nan", "9" * 4000, "9" * 5000, "0x" + "f" * 5000]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: n[:6] + str(len(n)))
@pytest.mark.parametrize("key", KEYS)
def test_no_number_beyond_any_bench_passes(key: str, number: str) -> None:
    text, count = re.subn(rf"(?m)^{key} = [^#\n]*", f"{key} = {number} ", EXAMPLE, count=1)
    assert count == 1
    with pytest.raises(ConfigError) as refused:
        parse_bench(text)
    assert len(str(refused.value)) < 300
    assert "sys." not in str(refused.value)


def test_a_number_of_5000_digits_is_a_mistake_in_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = bench(tmp_path, f"spot = {'9' * 5000}")
    for arguments in (
        ["check", "--bench", file],
        ["calibrations", "--bench", file],
        ["sweep", "--bench", file, "--sample", "a", "--start", "20", "--stop", "90"],
    ):
        assert main(arguments) == 2
        assert "a number has too many digits" in capsys.readouterr().err


OPTIONS = (
    *("--start", "--stop", "--points", "--average", "--seed", "--budget-points", "--start-points"),
    *("--reference-every", "--fluences", "--target", "--budget-dose", "--budget-time", "--reference"),
)


@pytest.mark.parametrize("number", ["9" * 5000, "9" * 4000, "1e308", "1e-320", "inf", "nan", "-1e308"])
@pytest.mark.parametrize("option", OPTIONS)
def test_no_number_of_the_command_line_is_beyond_measure(
    option: str,
    number: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    usual = {"--start": "20", "--stop": "90", "--points": "10"}
    arguments = [word for item in (usual | {option: number}).items() for word in item]
    assert main(["sweep", "--bench", bench(tmp_path), "--sample", "a", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "unexpected" not in said
    assert len(said) < 5400
