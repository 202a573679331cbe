"""A fixed part of benchmarks/fault_matrix.py: one thing goes wrong in a sweep; the truth judges the end."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")
RECOVERS = {
    "the spectrometer restarts with another exposure time": (
        "restart", "spectrometer", 'match = "00101000"', "nth = 30", "integration_s = 0.35",
    ),
    "an old spectrum comes instead of the next": (
        "stale-answer", "spectrometer", 'match = "00101000"', "nth = 30",
    ),
    "the meter is put to dBm": ("wrong-unit", "power_meter", 'match = "MEAS:POW?"', "nth = 40"),
    "the meter's line is cut": ("disconnect", "power_meter", 'match = "MEAS:POW?"', "nth = 40"),
}  # fmt: skip
ENDS = {
    "the laser dies": ("dead-laser", "spectrometer", 'match = "00101000"', "nth = 30"),
}


@pytest.fixture(scope="module")
def cells() -> Any:
    sys.path.insert(0, BENCHMARKS)
    try:
        return importlib.import_module("fault_cells")
    finally:
        sys.path.remove(BENCHMARKS)


@pytest.fixture(scope="module")
def reference(cells: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return cells.undisturbed(tmp_path_factory.mktemp("undisturbed"), points=8)


def outcome(cells: Any, reference: Any, tmp_path: Path, fault: tuple[str, ...]) -> Any:
    kind, instrument, *lines = fault
    return cells.run(cells.Cell(kind, instrument, "", tuple(lines), "sweep"), reference, tmp_path)


@pytest.mark.parametrize("name", RECOVERS)
def test_a_sweep_goes_on_with_the_right_data(name: str, cells: Any, reference: Any, tmp_path: Path) -> None:
    found = outcome(cells, reference, tmp_path, RECOVERS[name])
    assert found.problems == []
    assert (found.ended, found.points, found.fired) == ("finished", 6, 1)


@pytest.mark.parametrize("name", ENDS)
def test_a_sweep_ends_safe_with_an_error_and_a_file(
    name: str, cells: Any, reference: Any, tmp_path: Path
) -> None:
    found = outcome(cells, reference, tmp_path, ENDS[name])
    assert found.problems == []
    assert found.ended == "error"
    assert found.points >= 1
