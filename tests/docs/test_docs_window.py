"""The procedures of docs/examples/managed_window.py, in pymeasure's window as it stands."""

from __future__ import annotations

import importlib.util
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import until
from pymeasure.display.Qt import QtWidgets
from pymeasure.experiment.procedure import Procedure
from PySide6.QtWidgets import QApplication

from labctl.data import read_table
from labctl.model.clock import ScaledClock
from simulators.bench import SimulatedBench
from simulators.presets import scene

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "managed_window.py"


@pytest.fixture
def example() -> Any:
    spec = importlib.util.spec_from_file_location("managed_window", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # pymeasure writes the class's module into the CSV
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SimulatedBench]:
    with SimulatedBench(scene("ola"), ScaledClock(100.0)) as running:
        (tmp_path / "sim.toml").write_text(running.bench_toml(100.0), encoding="utf-8")
        yield running


def run(window: Any, folder: Path, **inputs: object) -> Any:
    """Fill in the fields, press Queue, and wait for the end."""
    window.directory, window.filename = str(folder), "run"
    window.inputs.bench.setText(str(folder / "sim.toml"))
    for name, value in inputs.items():
        getattr(window.inputs, name).setValue(value)
    window.queue()
    (experiment,) = window.manager.experiments.queue

    def ended() -> bool:
        QApplication.processEvents()
        return not window.manager.is_running()

    until(ended)
    window.close()
    return experiment


def test_the_sweep_runs_in_a_stock_window(
    qapp: QApplication, example: Any, bench: SimulatedBench, tmp_path: Path
) -> None:
    done = run(example.sweep_window(), tmp_path, start_uj_cm2=60.0, stop_uj_cm2=120.0, points=4, average="1")
    assert done.procedure.status == Procedure.FINISHED
    assert list(read_table(done.results.data_filename).fluence_uj_cm2) == list(
        done.results.data["Fluence (uJ/cm^2)"]
    )
    assert list(done.results.data["Fluence (uJ/cm^2)"]) == pytest.approx([60.0, 75.6, 95.2, 120.0], rel=0.05)
    assert bench.scene.shutter.closed_switch()


def test_a_procedure_of_ones_own_runs_in_a_stock_window(
    qapp: QApplication, example: Any, bench: SimulatedBench, tmp_path: Path
) -> None:
    done = run(example.flicker_window(), tmp_path, fluence=60.0, exposures=5)
    assert done.procedure.status == Procedure.FINISHED
    table = done.results.data
    assert list(table["Exposure"]) == [1, 2, 3, 4, 5]
    assert list(table["Fluence (uJ/cm^2)"]) == pytest.approx([60.0] * 5, rel=0.08)
    assert table["Emission (counts per pulse)"].min() > 0
    assert bench.scene.shutter.closed_switch()


def test_a_procedure_of_ones_own_does_not_pass_a_limit(
    qapp: QApplication, example: Any, bench: SimulatedBench, tmp_path: Path
) -> None:
    done = run(example.flicker_window(), tmp_path, fluence=5000.0, exposures=2)
    assert done.procedure.status == Procedure.FAILED
    assert len(done.results.data) == 0
    assert bench.scene.shutter.closed_switch()


def test_the_example_starts_as_its_first_lines_say(
    qapp: QApplication, monkeypatch: pytest.MonkeyPatch, bench: SimulatedBench, tmp_path: Path
) -> None:
    shown: list[str] = []

    class Application:
        """The one that there is already."""

        def __init__(self, arguments: list[str]) -> None:
            assert arguments == [str(EXAMPLE)]

        def exec(self) -> int:
            windows = [w for w in qapp.topLevelWidgets() if w.isVisible()]
            shown.extend(window.windowTitle() for window in windows)
            for window in windows:
                window.close()
            return 0

    monkeypatch.setattr(QtWidgets, "QApplication", Application)
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(tmp_path / "sim.toml"), "flicker"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert ended.value.code == 0
    assert shown == ["Flicker"]
