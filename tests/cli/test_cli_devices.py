"""``labctl devices`` and ``labctl init --found``: from what is plugged in to a bench file."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from drivers import found as devices
from labctl.cli import main
from labctl.config import load_bench
from labctl.model.clock import ScaledClock
from simulators import presets
from simulators.bench import SimulatedBench


@pytest.fixture(autouse=True)
def no_usb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_usb_devices", list)
    monkeypatch.setattr("serial.tools.list_ports.comports", list)


def test_devices_and_init_found_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bench.toml"
    with SimulatedBench(presets.scene("ola", "ideal", seed=3), ScaledClock(20.0)) as bench:
        named = [part for role in ("power_meter", "shutter") for part in ("--probe", bench.resources[role])]
        assert main(["devices", *named]) == 0
        shown = capsys.readouterr().out
        assert main(["devices", "--json", *named]) == 0
        listed = json.loads(capsys.readouterr().out)["devices"]
        assert main(["init", str(file), "--found", *named]) == 0
        said = capsys.readouterr().err
        config = load_bench(file)
    assert f'[shutter]\n    driver = "thorlabs-sc10"\n    resource = "{bench.resources["shutter"]}"' in shown
    assert [each["role"] for each in listed] == ["power_meter", "shutter"]
    assert tomllib.loads(listed[0]["bench"])["power_meter"]["driver"] == "thorlabs-pm100"
    assert config.driver("shutter").resource == bench.resources["shutter"]
    assert config.driver("power_meter").resource == bench.resources["power_meter"]
    assert "no attenuator was found: [attenuator] is still that of the example" in said
    assert "# COM3 on Windows" in file.read_text(encoding="utf-8")  # its explanations stay


def test_nothing_plugged_in_says_what_to_look_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices"]) == 0
    assert "udev rules" in capsys.readouterr().out


def test_a_probe_without_found_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--probe", "COM3"]) == 2
    assert "--found" in capsys.readouterr().err
