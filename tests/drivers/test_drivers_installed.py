"""Driver packages of others: imported when a bench file names them, and as good as ours."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from installed import install, put_on_the_path
from patience import PATIENCE_S

from labctl.model.clock import ScaledClock
from simulators.bench import SimulatedBench
from simulators.presets import scene

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "borrowed-meter"
MARKED = """
from pathlib import Path
Path(__file__).with_suffix(".imported").touch()
from typing import Literal
from drivers.registry import DriverSpec
from drivers.shutters.thorlabs_sc10 import DRIVER as OURS

class Config(OURS.config):
    driver: Literal["KEY"]

DRIVER = DriverSpec("KEY", "shutter", Config, OURS.open, "one of ten")
"""


def labctl(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "labctl", *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": os.pathsep.join((str(folder / "plug"), str(ROOT)))},
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


def test_a_command_imports_the_package_that_the_bench_file_names_and_no_other(tmp_path: Path) -> None:
    for number in range(10):
        key = f"acme-{number}"
        install(tmp_path / "plug", f"acme_{number}", MARKED.replace("KEY", key), {key: "DRIVER"})
    with SimulatedBench(scene("ola", seed=1), ScaledClock(50.0)) as bench:
        text = bench.bench_toml(50.0)
        (tmp_path / "ours.toml").write_text(text, encoding="utf-8")
        (tmp_path / "acme.toml").write_text(text.replace("thorlabs-sc10", "acme-3"), encoding="utf-8")
        checked = labctl(tmp_path, "check", "--bench", "ours.toml")
        assert checked.returncode == 0, checked.stderr
        assert list((tmp_path / "plug").glob("*.imported")) == []
        checked = labctl(tmp_path, "check", "--bench", "acme.toml")
        assert checked.returncode == 0, checked.stderr
        assert "shutter (acme-3" in checked.stdout
    assert [path.name for path in (tmp_path / "plug").glob("*.imported")] == ["acme_3.imported"]


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example of docs/adapter.md, with the entry points that its pyproject.toml declares."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ((key, value),) = project["entry-points"]["labctl.drivers"].items()
    module, item = value.split(":")
    source = (EXAMPLE / f"{module}.py").read_text(encoding="utf-8")
    install(tmp_path / "plug", module, source, {key: item})
    put_on_the_path(tmp_path / "plug", monkeypatch)
    return tmp_path


def test_the_examples_own_tests_pass(example: Path) -> None:
    tests = EXAMPLE / "tests"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(tests),
         "-p", "no:cacheprovider", str(tests)],
        cwd=example, env={**os.environ, "PYTHONPATH": os.pathsep.join((str(example / "plug"), str(ROOT)))},
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 passed" in done.stdout


def test_a_bench_with_the_borrowed_meter_is_checked(example: Path) -> None:
    with SimulatedBench(scene("ola", seed=1), ScaledClock(50.0)) as bench:
        text = bench.bench_toml(50.0).replace("thorlabs-pm100", "pymeasure-pm100usb")
        (example / "b.toml").write_text(text.replace("averages = 100\n", ""), encoding="utf-8")
        checked = labctl(example, "check", "--bench", "b.toml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "power_meter (pymeasure-pm100usb" in checked.stdout
    assert "Traceback" not in checked.stderr
    assert "Warning" not in checked.stderr
