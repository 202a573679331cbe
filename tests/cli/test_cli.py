"""The command line as a user meets it: exit codes, one clear line on stderr, nothing but JSON on stdout."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from patience import PATIENCE_S

from labctl import __version__
from labctl.cli import main
from labctl.cli.app import COMMANDS
from labctl.config import EXAMPLE
from labctl.data import read_run
from labctl.model.errors import InstrumentError
from labctl.runner.fit_process import child_environment
from labctl.runner.report import Q_KEYS, THRESHOLD_KEYS

SWEEP = [
    "--start",
    "30",
    "--stop",
    "160",
    "--points",
    "10",
    "--average",
    "2",
    "--sample",
    "OLA",
    "--reference-every",
    "0",
]


def labctl(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "labctl", *arguments]


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen(
        labctl(*arguments), stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=child_environment()
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def until(process: subprocess.Popen[str], word: str) -> list[str]:
    """Read stderr up to the line that holds ``word``."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if word in line:
            return seen
    raise AssertionError(f"{word!r} was never said, only {seen}")


@contextmanager
def simulated(path: Path, *more: str) -> Iterator[Path]:
    """Serve a bench in a process of its own until the block ends; it must end well."""
    command = [
        "simulate",
        "--sample",
        "ola",
        "--seed",
        "2",
        "--speed",
        "60",
        "--bench-file",
        str(path),
        *more,
    ]
    with started(*command, "--until-eof") as process:
        until(process, "serving")
        assert path.exists()
        yield path
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=PATIENCE_S) == 0
        assert path.exists()


@pytest.fixture(scope="module")
def bench_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with simulated(tmp_path_factory.mktemp("simulated") / "sim.toml") as path:
        yield path


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("labctl: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sweep", "--bench", "no.toml", *SWEEP], "no.toml: cannot be read"),
        (["sweep", "--start", "ten"], "Try: labctl sweep --help"),
        (["sweep", "--bench", "no.toml"], "--sample"),
        (["sweep", "--bench", "no.toml", "--sample", " "], "'--sample': the name must not be empty"),
        (["swep"], "No such command 'swep'. Did you mean 'sweep'? Try: labctl --help"),
        (["check"], "--bench"),
        (["fit"], "Try: labctl fit --help"),
        (["simulate", "--sample", "xyz"], "xyz"),
        (["simulate", "--bench-file", "."], "is a directory"),
    ],
)
def test_wrong_usage_is_one_line_and_2(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert said in one_line(capsys)


@pytest.mark.parametrize("option", ["--sample", "--scene", "--spectrometer", "--meter"])
def test_the_names_of_simulated_things_may_be_written_in_capitals(
    option: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {"--sample": "OLA", "--scene": "Ideal", "--spectrometer": "COARSE", "--meter": "Thermal"}
    monkeypatch.chdir(tmp_path)
    assert main(["simulate", option, words[option], "--bench-file", "."]) == 2
    assert "is a directory" in one_line(capsys)  # the name is understood, the file is refused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--start", "200", "--stop", "20"], "start"),
        (["--start", "0.2 mJ/cm2", "--stop", "20 uJ/cm2"], "start"),
        (["--start", "0.02 mJ/cm2", "--stop", "0.0008 J/cm2"], "limit"),
        (["--start", "0.02", "--stop", "0.2"], "did you mean mJ/cm2?"),
        (["--start", "20 mW"], "'20 mW' is not a fluence"),
        (["--start", "0", "--stop", "20"], "above zero"),
        (["--start", "20", "--stop", "800"], "limit"),
        (["--start", "20", "--stop", "200", "--points", "1"], "points"),
        (["--start", "20"], "--stop: missing"),
        (["--fluences", "20,x"], "not a list of numbers"),
        (["--fluences", "20"], "2 or more"),
        (["--fluences", "20,30", "--start", "5"], "--start: cannot be combined with --fluences"),
        (["--fluences", "20,30", "--points", "5"], "--points: cannot be combined with --fluences"),
    ],
)
def test_an_impossible_sweep_is_2_and_leaves_no_file(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bench, output = tmp_path / "bench.toml", tmp_path / "out"
    bench.write_text(EXAMPLE, encoding="utf-8")
    command = ["sweep", "--bench", str(bench), "--sample", "x", "--output", str(output), *options]
    assert main(command) == 2
    assert said in one_line(capsys)
    assert not output.exists()


def test_a_dry_run_says_what_the_plan_needs_and_opens_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bench, output = tmp_path / "bench.toml", tmp_path / "out"
    bench.write_text(EXAMPLE, encoding="utf-8")
    command = ["sweep", "--bench", str(bench), "--sample", "x", "--output", str(output), "--dry-run"]
    command += ["--start", "20", "--stop", "200", "--points", "12"]
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("12 points and up to 6 references, about ")
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["points"] == [12, 12]
    assert found["highest_fluence_uj_cm2"] == pytest.approx(200.0)
    assert not output.exists()


@pytest.mark.parametrize("angle", ["999", "nan", "-1"])
def test_an_angle_that_the_bench_file_refuses_is_2_before_anything_is_connected(
    angle: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bench = tmp_path / "bench.toml"
    bench.write_text(EXAMPLE, encoding="utf-8")
    assert main(["set", "--bench", str(bench), "--angle", angle]) == 2
    assert "is outside the part of the curve in use, 12 to 57 deg" in one_line(capsys)


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02\xff", b"a,b\nx,y\n", b"fluence\n1\n2\n", None])
def test_a_file_that_cannot_be_fitted_is_5(
    content: bytes | None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "curve.csv"
    if content is not None:
        path.write_bytes(content)
    assert main(["fit", str(path)]) == 5
    assert str(path) in one_line(capsys)


def test_a_foreign_table_is_fitted_and_its_columns_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lines = ["index;Pump fluence (uJ/cm2);PL intensity"]
    for i in range(24):
        fluence = 20 + 7.5 * i
        signal = 0.05 * fluence**2 + max(fluence - 80.0, 0) * 40 + (i % 3)
        lines.append(f"{i};{fluence:.2f};{signal:.3f}".replace(".", ","))
    spots = []
    for name in ("one.csv", "two.csv"):
        spots.append(tmp_path / name)
        spots[-1].write_text("\n".join(lines), encoding="utf-8")
    assert main(["fit", *map(str, spots), "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [run["threshold"]["value"] for run in runs] == pytest.approx([80.0, 80.0], rel=0.03)
    assert runs[0]["threshold"]["convention"] == "not stated"
    assert runs[0]["q"] == dict.fromkeys(Q_KEYS)
    assert main(["fit", str(spots[0])]) == 0
    assert "PL intensity" in capsys.readouterr().out


def test_version_init_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"labctl {__version__}\n"
    assert main(["init"]) == 0
    assert capsys.readouterr().out == EXAMPLE
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {word}  " in shown for word in COMMANDS)
    assert "..." not in shown.partition("Commands:")[2]  # no line is cut at 80 columns


def test_init_writes_a_file_once_and_as_utf_8(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bench = tmp_path / "bench.toml"
    assert main(["init", str(bench)]) == 0
    assert bench.read_bytes() == EXAMPLE.encode()
    bench.write_text("mine", encoding="utf-8")
    assert main(["init", str(bench)]) == 2
    assert "exists already" in one_line(capsys)
    assert bench.read_text(encoding="utf-8") == "mine"


def test_a_bench_file_that_powershell_wrote_is_told_from_a_broken_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bench = tmp_path / "bench.toml"
    bench.write_text(EXAMPLE, encoding="utf-16")
    assert main(["check", "--bench", str(bench)]) == 2
    assert "PowerShell writes UTF-16" in one_line(capsys)


def test_simulate_writes_over_no_bench_file_of_somebodys_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    own = tmp_path / "bench.toml"
    own.write_text(EXAMPLE, encoding="utf-8")
    assert main(["simulate", "--bench-file", str(own)]) == 2
    assert "was not written by labctl simulate" in one_line(capsys)
    assert own.read_text(encoding="utf-8") == EXAMPLE


def test_the_figure_of_a_table_is_drawn(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    table = tmp_path / "own.csv"
    table.write_text("fluence,signal\n" + "".join(f"{f},{f * f}\n" for f in range(20, 30)), encoding="utf-8")
    assert main(["fit", "--figures", str(table)]) == 0
    assert "own_threshold.png" in capsys.readouterr().out
    assert (tmp_path / "own_threshold.png").stat().st_size > 10_000


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_heavy(command: str) -> None:
    code = (
        f"import sys; from labctl.cli import main; main(['{command}', '--help']);"
        "print(sorted({'numpy', 'h5py', 'pymeasure', 'matplotlib', 'scipy', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=child_environment()
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_output_that_cannot_be_written_is_5(
    bench_file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    output = str(tmp_path / "file" / "out")
    assert main(["sweep", "--bench", str(bench_file), "--output", output, *SWEEP]) == 5
    assert "file" in one_line(capsys)


def test_check_names_everybody(bench_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--bench", str(bench_file), "--start", "2.6", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [i["role"] for i in document["instruments"]] == [
        "attenuator",
        "power_meter",
        "spectrometer",
        "shutter",
    ]
    assert all(i["identity"] and i["reading"] and i["error"] is None for i in document["instruments"])
    assert any("20 times its noise" in warning for warning in document["warnings"])


def test_check_tells_every_failure_and_what_to_try(bench_file: Path, tmp_path: Path) -> None:
    lines = bench_file.read_text(encoding="utf-8").splitlines()
    ports = [i for i, line in enumerate(lines) if line.startswith("resource") and "TCPIP" in line]
    for i in ports[:2]:
        lines[i] = 'resource = "TCPIP::127.0.0.1::9::SOCKET"'
    lines[ports[2]] = lines[ports[2]].replace("SOCKET", "SOKET")
    broken = tmp_path / "broken.toml"
    broken.write_text("\n".join(lines), encoding="utf-8")
    done = subprocess.run(
        labctl("check", "--bench", str(broken)),
        capture_output=True,
        text=True,
        check=False,
        env=child_environment(),
    )
    assert done.returncode == 3
    assert done.stdout.count("FAILED") == 3
    assert done.stdout.count("try: ") == 3
    assert done.stdout.count("ok ") == 1
    assert done.stderr.count("\n") == 1
    assert "not connected" in done.stderr
    assert "SOKET" not in done.stderr  # told above, beside its instrument


def test_a_sweep_prints_json_and_nothing_else(
    bench_file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["sweep", "--bench", str(bench_file), *SWEEP, "--output", str(tmp_path / "new"), "--json"]
    assert main(command) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out, parse_constant=lambda word: pytest.fail(f"{word} in JSON"))
    (run,) = document["runs"]
    assert list(document) == ["runs"]
    keys = ["sample", "status", "files", "points", "saturated_points", "result", "threshold"]
    keys += ["meaning", "q", "verdict", "definitions", "modes", "randomness"]
    assert list(run) == keys
    assert list(run["threshold"]) == list(THRESHOLD_KEYS)
    assert list(run["q"]) == list(Q_KEYS)
    assert (run["sample"], run["status"], run["points"]) == ("OLA", "finished", 10)
    assert run["threshold"]["status"] == "found"
    assert run["threshold"]["ci95"][0] < run["threshold"]["value"] < run["threshold"]["ci95"][1]
    assert Path(run["files"]["csv"]).is_absolute()
    assert len(read_run(run["files"]["h5"])) == 10
    assert sum(line.split("/")[0].isdigit() for line in captured.err.splitlines()) == 10


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals; Windows sends Ctrl-C to a console")
@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 3), (signal.SIGTERM, 1)])
def test_signals_end_a_sweep_safely_with_130(
    number: signal.Signals, times: int, bench_file: Path, tmp_path: Path
) -> None:
    with started("sweep", "--bench", str(bench_file), *SWEEP, "--output", str(tmp_path), "--json") as process:
        until(process, "2/10")
        for _ in range(times):
            process.send_signal(number)
            time.sleep(0.02)  # noqa: TID251  a hand on the keyboard
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 130, err
    assert "Traceback" not in err
    (run,) = json.loads(out)["runs"]
    resume = f'labctl resume "{run["files"]["h5"]}" --bench "{bench_file}" measures the rest'
    assert err.splitlines()[-1] == f"labctl: aborted; {resume}"
    assert run["status"] == "aborted"
    assert read_run(run["files"]["h5"]).status == "aborted"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_signal_while_connecting_is_130(bench_file: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE_S)
        address = f"TCPIP::127.0.0.1::{silent.getsockname()[1]}::SOCKET"
        bench = tmp_path / "silent.toml"
        resource = tomllib.loads(bench_file.read_text(encoding="utf-8"))["shutter"]["resource"]
        bench.write_text(bench_file.read_text(encoding="utf-8").replace(resource, address), encoding="utf-8")
        with (
            started("sweep", "--bench", str(bench), *SWEEP, "--output", str(tmp_path)) as process,
            silent.accept()[0],  # now it is connecting, and nobody answers
        ):
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    assert "Traceback" not in err


def test_a_safety_stop_is_4_and_keeps_its_points(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plan = tmp_path / "faults.toml"
    # By the number of the message, not by time: how many points there are must not depend on the computer.
    plan.write_text(
        '[[fault]]\nkind = "stuck-plate"\nmatch = "0ma"\nnth = 9\nreadback = "commanded"\n', encoding="utf-8"
    )
    with simulated(tmp_path / "stuck.toml", "--faults", str(plan)) as path:
        command = ["sweep", "--bench", str(path), *SWEEP, "--output", str(tmp_path), "--json"]
        assert main(command) == 4
    captured = capsys.readouterr()
    (run,) = json.loads(captured.out)["runs"]
    assert run["status"] == "failed"
    assert len(read_run(run["files"]["h5"])) == run["points"] > 0
    last = captured.err.splitlines()[-1]
    assert "the meter says" in last
    assert ".log" in last


def test_the_demo_sweeps_and_draws(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = [
        "demo",
        "--sample",
        "ola",
        "--seed",
        "4",
        "--speed",
        "200",
        "--output",
        str(tmp_path),
        "--json",
    ]
    assert main(command) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["threshold"]["value"] == pytest.approx(79.81, rel=0.03)
    assert run["q"]["value"] == pytest.approx(1312, rel=0.1)
    assert run["q"]["resolution_nm"] == 0.15
    assert [Path(path).name.rsplit("_", 1)[1] for path in run["files"]["figures"]] == [
        "spectra.png",
        "threshold.png",
        "peak.png",
        "lines.png",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_a_reader_that_had_enough_is_no_error() -> None:
    with started("init") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(timeout=PATIENCE_S) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_broken_line_to_an_instrument_is_no_reader_that_had_enough(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lost(_arguments: list[str]) -> int:
        try:
            raise BrokenPipeError(32, "Broken pipe")
        except OSError:
            raise InstrumentError("shutter", "the connection is lost")  # noqa: B904  as some code may

    monkeypatch.setattr("labctl.cli._run", lost)
    assert main(["set"]) == 3
    assert "the connection is lost" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_process_without_a_stream_says_nothing_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, name, None)
    assert main(["init"]) == 0
    assert main(["check", "--bench", "nowhere.toml"]) == 2
    getattr(sys, name).close()
