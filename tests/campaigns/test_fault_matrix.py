"""A fixed part of fault_matrix.py: one thing goes wrong; the truth judges the end."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import fault_cells
import pytest

Fault = tuple[str, ...]
SPECTRUM, READING, MOVE = 'match = "00101000"', 'match = "MEAS:POW?"', 'match = "0ma"'
RECOVERS: dict[str, tuple[str, Fault, int]] = {
    "the spectrometer restarts with another exposure time": (
        "sweep", ("restart", "spectrometer", SPECTRUM, "nth = 30", "integration_s = 0.35"), 6,
    ),
    "an old spectrum comes instead of the next": (
        "sweep", ("stale-answer", "spectrometer", SPECTRUM, "nth = 30"), 6,
    ),
    "the meter is put to dBm": ("sweep", ("wrong-unit", "power_meter", READING, "nth = 40"), 6),
    "the meter's line is cut": ("sweep", ("disconnect", "power_meter", READING, "nth = 40"), 6),
    "the thermometer talks nonsense": (
        "stability", ("garble", "thermometer", 'match = "MEAS:TEMP?"', "nth = 4"), 8,
    ),
    "the meter restarts while a sweep is resumed": (
        "resume", ("restart", "power_meter", READING, "nth = 20"), 3,
    ),
    "an old spectrum in an alignment": ("align", ("stale-answer", "spectrometer", SPECTRUM, "nth = 64"), 13),
    "an attenuator is calibrated with a meter put to dBm": (
        "cal attenuator", ("wrong-unit", "power_meter", READING, "nth = 100"), 1,
    ),
}  # fmt: skip
ENDS: dict[str, tuple[str, Fault, str]] = {
    "the laser dies": ("sweep", ("dead-laser", "spectrometer", SPECTRUM, "nth = 30"), "EnergyLost"),
    "the blade stays open": (
        "sweep", ("failed-shutter", "shutter", 'match = "^ens$"', "nth = 6"), "the blade does not close",
    ),
    "the laser jumps in an alignment": (
        "align", ("jumping-laser", "power_meter", READING, "nth = 14"), "SafetyStop",
    ),
    "the meter is blocked while a hand holds the light": (
        "set fluence", ("blocked-meter", "power_meter", READING, "nth = 8"), "EnergyLost",
    ),
    "the blade stays open when a hand is done": (
        "set angle", ("failed-shutter", "shutter", 'match = "^ens$"', "nth = 2"), "NOT MADE SAFE",
    ),
    "the plate slips while it is calibrated": (
        "cal attenuator", ("slipped-plate", "attenuator", MOVE, "nth = 40"), "CalibrationRefused",
    ),
    "the mount restarts while a sweep is resumed": (
        "resume", ("restart", "attenuator", MOVE, "nth = 3"), "SafetyStop",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def cells() -> Any:
    """The module that runs and judges one cell of the campaigns."""
    return fault_cells


@pytest.fixture(scope="module")
def reference(cells: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("undisturbed")
    return cells.undisturbed(folder, points=8, procedures=("resume", "cal attenuator", "cal check"))


def outcome(cells: Any, reference: Any, tmp_path: Path, procedure: str, fault: Fault) -> Any:
    kind, instrument, *lines = fault
    return cells.run(cells.Cell(kind, instrument, "", tuple(lines), procedure), reference, tmp_path)


@pytest.mark.parametrize("name", RECOVERS)
def test_it_goes_on_with_the_right_data(name: str, cells: Any, reference: Any, tmp_path: Path) -> None:
    procedure, fault, points = RECOVERS[name]
    found = outcome(cells, reference, tmp_path, procedure, fault)
    assert found.problems == []
    assert (found.ended, found.points, found.flagged, found.fired) == ("finished", points, 0, 1)


@pytest.mark.parametrize("name", ENDS)
def test_it_ends_safe_with_an_error(name: str, cells: Any, reference: Any, tmp_path: Path) -> None:
    procedure, fault, said = ENDS[name]
    found = outcome(cells, reference, tmp_path, procedure, fault)
    assert found.problems == []
    assert found.ended == "error"
    assert said in found.error


def test_a_plate_that_slipped_is_told_by_a_look_at_its_calibration(
    cells: Any, reference: Any, tmp_path: Path
) -> None:
    slips = ("slipped-plate", "attenuator", MOVE, "nth = 4")
    found = outcome(cells, reference, tmp_path, "cal check", slips)
    assert found.problems == []
    assert (found.ended, found.fired) == ("told", 1)
    assert "zero has moved" in found.told


def test_a_number_that_is_wrong_is_found(cells: Any, reference: Any, tmp_path: Path) -> None:
    """The judge itself: with a fault and a truth that nobody told labctl of, the cell fails."""
    slips = ("slipped-plate", "attenuator", MOVE, "nth = 1", "angle_deg = 0.0")
    wrong = cells.Cell(slips[0], slips[1], "", slips[2:], "sweep")
    reference = copy.copy(reference)
    reference._y = reference._y + 0.5
    found = cells.run(wrong, reference, tmp_path)
    assert any("signal off by" in problem for problem in found.problems)
