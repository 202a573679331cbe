"""The fault matrix itself: a worker that dies is a cell that fails, and the others go on."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")


@pytest.fixture(scope="module")
def matrix() -> Any:
    sys.path.insert(0, BENCHMARKS)
    try:
        return importlib.import_module("fault_matrix")
    finally:
        sys.path.remove(BENCHMARKS)


def test_a_dead_worker_is_told_and_the_next_cell_is_run(matrix: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    workers, cells = matrix.fault_workers, matrix.fault_cells
    monkeypatch.syspath_prepend(BENCHMARKS)  # the processes look where this one does
    give, given = workers.Worker.give, []

    def kill_the_first(self: Any, cell: Any) -> None:
        give(self, cell)
        given.append(cell)
        if len(given) == 1:
            self._process.kill()

    monkeypatch.setattr(workers.Worker, "give", kill_the_first)
    asked = [
        cells.Cell("drop", "shutter", "dies", ("nth = 1",), "check"),
        cells.Cell("no-such-kind", "shutter", "is wrong", ("nth = 1",), "check"),
    ]
    reference = cells.Reference([(10.0, 1.0), (20.0, 4.0)])
    found = {o.cell.where: o for o in workers.outcomes(asked, 1, reference, None)}
    assert found["dies"].ended == "lost"
    assert found["dies"].problems == ["its process ended with -9"]
    assert found["is wrong"].ended == "broken"
    assert "the cell itself failed: ConfigError" in found["is wrong"].problems[0]


def test_every_procedure_has_cells_of_chance_or_of_processes(matrix: Any) -> None:
    for procedure in matrix.PROCEDURES:
        every = list(matrix._all(procedure))
        assert len({(c.kind, c.instrument, c.where) for c in every}) == len(every)
        assert any("at random" in c.where for c in every) or procedure == "process"
    together = [c for c in matrix._all("sweep") if c.kind == "several"]
    assert len(together) == 12
    for cell in together:
        plan = matrix.fault_cells.FaultPlan.parse(cell.toml())
        assert {fault.instrument for fault in plan.faults} == {
            "attenuator", "power_meter", "shutter", "spectrometer",
        }  # fmt: skip
