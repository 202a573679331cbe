"""The documented examples run as they stand."""

from __future__ import annotations

import importlib.util
import shutil
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import labctl
from labctl.config import EXAMPLE, parse_bench
from labctl.model.clock import ScaledClock, SteppedClock
from labctl.model.plan import SweepPlan
from labctl.runner.refit import refit
from labctl.runner.run import RunRequest, run_sweep
from simulators.bench import SimulatedBench
from simulators.presets import scene

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_script", EXAMPLES / "script.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_finds_the_threshold(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with SimulatedBench(scene("ola"), ScaledClock(100.0)) as bench:
        file = tmp_path / "sim.toml"
        file.write_text(bench.bench_toml(100.0), encoding="utf-8")
        found = script.measure(str(file)).threshold.threshold_uj_cm2
        assert found == pytest.approx(bench.scene.truth.threshold_uj_cm2, rel=0.05)
        assert bench.scene.shutter.closed_switch()
    # 12 fluences, five references and one bright point that is repeated.
    assert capsys.readouterr().out.count("counts per pulse") == 18


def test_the_script_describes_a_run(script: ModuleType, tmp_path: Path) -> None:
    with SimulatedBench(scene("ola"), SteppedClock()) as bench:
        report = run_sweep(
            parse_bench(bench.bench_toml(1.0)),
            SweepPlan(start_uj_cm2=60.0, stop_uj_cm2=120.0, points=2, average=1),
            RunRequest(tmp_path, "film"),
            stop=threading.Event(),
            on_event=lambda event: None,
            clock=bench.scene.clock,
        )
    assert script.describe(str(report.h5)).startswith("film: finished, 2 points up to 1")
    assert report.threshold.status == "refused"


def test_the_bench_file_of_the_examples_is_the_one_that_init_prints() -> None:
    assert (EXAMPLES / "bench.toml").read_text(encoding="utf-8") == EXAMPLE


def test_the_reading_without_labctl_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (EXAMPLES.parent / "run-file.md").read_text(encoding="utf-8")
    code = next(block for block in page.split("```python\n")[1:] if "import h5py" in block).split("```")[0]
    for suffix in (".h5", ".csv"):
        shutil.copy(EXAMPLES / "run" / f"OLA-spot-1{suffix}", tmp_path / f"run{suffix}")
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(code, found)  # a page of this project
    assert list(found["table"]["Fluence (uJ/cm^2)"]) == pytest.approx(list(found["fluence"]))
    assert found["spectra"].shape == (len(found["signal"]), len(found["wavelength"]))
    assert found["threshold"]["threshold_uj_cm2"] == pytest.approx(79.8, rel=0.05)


def test_the_package_offers_its_small_interface() -> None:
    for name in labctl.__all__:
        assert getattr(labctl, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'sweeps'"):
        _ = labctl.sweeps


def test_the_stored_run_is_readable_and_fits() -> None:
    report = refit(EXAMPLES / "run" / "OLA-spot-1.h5")
    assert (report.status, report.points, report.spot) == ("finished", 14, "1")
    assert report.threshold.threshold_uj_cm2 == pytest.approx(79.81, rel=0.02)
    assert report.result.q is not None
    assert report.result.q.value == pytest.approx(1312, rel=0.05)
    assert refit(EXAMPLES / "run" / "OLA-spot-1.csv").threshold.status == "found"
