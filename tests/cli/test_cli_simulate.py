"""``labctl simulate`` keeps what a bench file holds beside the addresses, or refuses it by name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE_S

from labctl.cli import main
from labctl.cli.commands.simulate import _check_bench_file, _write_bench_file
from labctl.config import EXAMPLE, load_bench, parse_bench
from labctl.model.errors import ConfigError
from labctl.runner.fit_process import child_environment
from simulators.bench import bench_file
from simulators.presets import scene, uncalibrated

_ROLES = ("attenuator", "power_meter", "spectrometer", "shutter")


def fresh(seed: int = 1, port: int = 4000, *, nominal: bool = False, speed: float = 1.0) -> str:
    """What a simulation would write, with its own ports."""
    places = {role: f"TCPIP::127.0.0.1::{port + n}::SOCKET" for n, role in enumerate(_ROLES)}
    places["spectrometer"] = f"FX@127.0.0.1:{port + 2}"
    made = scene("ola", "typical", seed)
    if nominal:
        made = uncalibrated(made, seed)
    text = bench_file(made, places, f"127.0.0.1:{port + 9}", speed, nominal=nominal)
    parse_bench(text)
    return text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sim.toml"
    assert _write_bench_file(path, fresh()) == ""
    return path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_calibrations_limits_and_comments_stay(file: Path) -> None:
    edit(file, "max_fluence_uj_cm2 = 700.0", "max_fluence_uj_cm2 = 250.0  # thin film")
    edit(file, "[bands]", "# mine\n[bands]")
    with file.open("a") as end:
        end.write('\n[calibrations]\nspot = "calibrations/spot-1.json"\n')
    before = file.read_text()
    _check_bench_file(file)
    done = _write_bench_file(file, fresh(port=5000, speed=20.0))
    after = file.read_text()
    assert "calibrations" in done
    assert "limits.max_fluence_uj_cm2" in done
    expected = re.sub(r"\b400(\d)\b", r"500\1", before).replace("time_scale = 1.0", "time_scale = 20.0")
    assert after == expected
    assert "5003" in after


def test_a_file_as_it_was_written_is_written_anew(file: Path) -> None:
    assert _write_bench_file(file, fresh(port=5000)) == ""
    assert "rewritten" in _write_bench_file(file, fresh(seed=2))
    assert load_bench(file).bench.name == "simulated OLA, seed 2"
    assert "rewritten" in _write_bench_file(file, fresh(seed=2, nominal=True))


@pytest.mark.parametrize("changed", [fresh(seed=2), fresh(nominal=True)])
def test_edits_of_another_simulated_bench_are_refused(file: Path, changed: str) -> None:
    edit(file, "[bands]", "# mine\n[bands]")
    before = file.read_bytes()
    with pytest.raises(ConfigError, match="holds edits or calibrations of simulated OLA, seed 1") as refused:
        _write_bench_file(file, changed)
    assert str(file) in str(refused.value)
    assert file.read_bytes() == before


def test_a_file_of_an_earlier_release_is_kept_too(file: Path) -> None:
    file.write_text(fresh().replace("max_fluence_uj_cm2 = 700.0", "max_fluence_uj_cm2 = 250.0"))
    assert "limits.max_fluence_uj_cm2" in _write_bench_file(file, fresh(port=5000))
    assert load_bench(file).limits.max_fluence_uj_cm2 == 250.0
    with pytest.raises(ConfigError, match="holds edits"):
        _write_bench_file(file, fresh(seed=2))


@pytest.mark.parametrize(
    "resource",
    [
        "USB0::0x1313::0x8078::P0000001::INSTR",
        "ASRL3::INSTR",
        "ASRL/dev/ttyUSB0::INSTR",
        "TCPIP::10.0.0.3::INSTR",
    ],
)
def test_a_file_that_names_a_real_instrument_is_refused(file: Path, resource: str) -> None:
    edit(file, "TCPIP::127.0.0.1::4001::SOCKET", resource)
    before = file.read_bytes()
    assert main(["simulate", "--bench-file", str(file)]) == 2
    with pytest.raises(ConfigError, match=r"power_meter is at .*, which is not a simulated instrument"):
        _check_bench_file(file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("text", [EXAMPLE, "", "[bench", "x = " + "9" * 5000, "bench = 1\n"])
def test_any_other_file_is_refused(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    assert main(["simulate", "--bench-file", str(path)]) == 2
    assert str(path) in capsys.readouterr().err
    assert path.read_text() == text


def test_as_a_user_does_it(tmp_path: Path) -> None:
    file = tmp_path / "sim.toml"
    command = [sys.executable, "-m", "labctl", "simulate", "--bench-file", str(file), "--until-eof"]

    def serve() -> str:
        done = subprocess.run(
            command,
            input="",
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
            env=child_environment(),
        )
        return done.stderr

    assert "kept" not in serve()
    edit(file, "max_fluence_uj_cm2 = 700.0", "max_fluence_uj_cm2 = 250.0  # thin film")
    before = load_bench(file)
    assert "kept except for the addresses: limits.max_fluence_uj_cm2" in serve()
    after = load_bench(file)
    assert after.limits.max_fluence_uj_cm2 == 250.0
    assert "# thin film" in file.read_text()
    assert after.attenuator.resource != before.attenuator.resource


def test_on_usb_it_says_how_to_attach_and_takes_its_own_file_again(tmp_path: Path) -> None:
    file = tmp_path / "sim.toml"
    command = [sys.executable, "-m", "labctl", "simulate", "--transport", "usb", "--until-eof"]
    for _ in range(2):
        done = subprocess.run(
            [*command, "--bench-file", str(file)],
            input="",
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
            env=child_environment(),
        )
        attach = r"usbip --tcp-port \d+ attach --remote 127\.0\.0\.1 --busid 1-2 .*P0012345"
        assert re.search(attach, done.stderr)
        assert "vhci-hcd" in done.stderr
        assert load_bench(file).power_meter.resource == "USB0::0x1313::0x8078::P0012345::INSTR"
        assert load_bench(file).spectrometer.resource == "SIM00001"
