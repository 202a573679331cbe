"""A fixed part of lies.py: an instrument answers in form and wrongly; the truth judges the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fault_cells
import pytest

ENDS: dict[str, tuple[str, str, str, int, bool, str]] = {
    "a blade stays open in a sweep, the pick-off before it": (
        "sweep", "shutter", "sticks open", 3, False, "block the beam manually",
    ),
    "a blade stays open in a sweep, the pick-off behind it": (
        "sweep", "shutter", "sticks open", 3, True, "still sees",
    ),
    "a blade misses one closing in a stability run": (
        "stability", "shutter", "misses one", 5, False, "block the beam manually",
    ),
    "a blade stays open when an alignment is over, the pick-off behind it": (
        "align", "shutter", "sticks open", 1, True, "NOT MADE SAFE",
    ),
    "a blade stays open when a hand is done, the pick-off behind it": (
        "set fluence", "shutter", "sticks open", 1, True, "NOT MADE SAFE",
    ),
    "a meter repeats its reading while a hand holds the light": (
        "set fluence", "power_meter", "repeats its reading", 4, False, "power_meter",
    ),
    "a plate goes further than it says": (
        "sweep", "attenuator", "goes 2 deg further", 5, False, "EnergyLost",
    ),
    "a spectrometer exposes half the time it confirms": (
        "sweep", "spectrometer", "exposes half the time", 3, False, "spectrometer",
    ),
    "a spectrometer repeats its spectrum but for 20 bits": (
        "sweep", "spectrometer", "repeats it but for 20 bits", 40, False, "spectrometer",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def cells() -> Any:
    """The module that runs and judges one cell of the campaigns."""
    return fault_cells


@pytest.fixture(scope="module")
def reference(cells: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return cells.undisturbed(tmp_path_factory.mktemp("undisturbed"), points=8)


def outcome(
    cells: Any, reference: Any, tmp_path: Path, procedure: str, lie: tuple[str, str, int, bool]
) -> Any:
    instrument, kind, nth, behind = lie
    cell = cells.Cell(kind, instrument, "", (), procedure, lies_from=nth, behind=behind)
    return cells.run(cell, reference, tmp_path)


@pytest.mark.parametrize("name", ENDS)
def test_it_ends_dark_and_told(name: str, cells: Any, reference: Any, tmp_path: Path) -> None:
    procedure, instrument, kind, nth, behind, said = ENDS[name]
    found = outcome(cells, reference, tmp_path, procedure, (instrument, kind, nth, behind))
    assert found.problems == []
    assert found.ended == "error"
    assert said in found.error + found.told


@pytest.mark.parametrize("kind", ["reads 1.15 times", "reads 1/1.15"])
@pytest.mark.parametrize("nth", [1, 45])
def test_an_energy_that_is_off_is_told(
    kind: str, nth: int, cells: Any, reference: Any, tmp_path: Path
) -> None:
    found = outcome(cells, reference, tmp_path, "sweep", ("power_meter", kind, nth, False))
    assert found.problems == []
    assert found.ended == "told"
    assert "energ" in found.told
