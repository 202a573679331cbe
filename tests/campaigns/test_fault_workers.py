"""The fault matrix itself: a worker that dies is a cell that fails, and the others go on."""

from __future__ import annotations

from typing import Any

import fault_matrix
import pytest
from fault_judge import Outcome

from benchmarks.trials import Worker


@pytest.fixture(scope="module")
def matrix() -> Any:
    return fault_matrix


def test_a_dead_worker_is_told_and_the_next_cell_is_run(matrix: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = matrix.fault_cells
    give, given = Worker.give, list[Any]()

    def kill_the_first(self: Any, cell: Any) -> None:
        give(self, cell)
        given.append(cell)
        if len(given) == 1:
            self._process.kill()

    monkeypatch.setattr(Worker, "give", kill_the_first)
    asked = [
        cells.Cell("drop", "shutter", "dies", ("nth = 1",), "check"),
        cells.Cell("no-such-kind", "shutter", "is wrong", ("nth = 1",), "check"),
    ]
    reference = cells.Reference([(10.0, 1.0), (20.0, 4.0)])
    found = {o.cell.where: o for o in matrix.outcomes(asked, 1, reference, None)}
    assert found["dies"].ended == "lost"
    assert found["dies"].problems == ["its process ended with -9"]
    assert found["is wrong"].ended == "broken"
    assert "the cell itself failed: ConfigError" in found["is wrong"].problems[0]


def test_every_kind_befalls_every_instrument_of_every_procedure(matrix: Any) -> None:
    kinds = matrix.fault_messages.KINDS
    for procedure in matrix.PROCEDURES:
        every = list(matrix.cells_of(procedure))
        assert len({(c.kind, c.instrument, c.where) for c in every}) == len(every)
        assert any("at random" in c.where for c in every) == (procedure in matrix.fault_messages.BY_CHANCE)
        if procedure == "process":
            continue
        used = {c.instrument for c in every if c.kind == "drop"}
        assert len(used) >= 2
        for kind, rule in kinds.items():
            mine = {c.instrument for c in every if c.kind == kind}
            if rule.layer == "bytes" or kind == "restart":
                assert mine == used & set(rule.roles), (procedure, kind)


def test_every_cell_has_a_plan_that_can_be_read(matrix: Any) -> None:
    for procedure in matrix.PROCEDURES:
        for cell in matrix.cells_of(procedure):
            assert cell.kind == "none" or matrix.fault_cells.FaultPlan.parse(cell.toml()).faults


def test_several_faults_at_once_befall_all_four_lines(matrix: Any) -> None:
    together = [c for c in matrix.cells_of("sweep") if c.kind == "several"]
    assert len(together) == 12
    for cell in together:
        plan = matrix.fault_cells.FaultPlan.parse(cell.toml())
        assert {fault.instrument for fault in plan.faults} == {
            "attenuator", "power_meter", "shutter", "spectrometer",
        }  # fmt: skip


def test_the_tables_count_what_held_and_what_failed(matrix: Any) -> None:
    records = matrix.fault_cells

    def outcome(kind: str, procedure: str, ended: str, *problems: str) -> Any:
        cell = records.Cell(kind, "power_meter", "", (), procedure)
        return Outcome(cell, ended, wall_s=3.0, safe_s=0.25, problems=list(problems))

    text = matrix.summary(
        [
            outcome("drop", "sweep", "finished"),
            outcome("drop", "sweep", "error"),
            outcome("dead-laser", "align", "error", "the shutter is open"),
            outcome("drop", "cal spot", "finished"),
        ]
    )
    runs, calibrations, sums = text.split("\n\n")
    assert "| drop | power_meter | 1 + 1 |  |" in runs
    assert runs.splitlines()[3].startswith("| dead-laser | laser |")
    assert runs.splitlines()[3].endswith("| 0.25 | 3 | 1 |")
    assert calibrations.splitlines()[2] == "| drop | power_meter |  |  |  | 1 + 0 |  |  | 0.25 | 3 |  |"
    assert sums.startswith("3 of 4 cells hold: 2 went to their end, 1 ended safe")
