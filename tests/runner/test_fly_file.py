"""The file of a flight: sound, evaluated again with the error of its motion, and whole up to a fault."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy.fly import PLAN, Case, LooseMount, Table
from benchmarks.scene_roles import BANDS, LIMITS
from labctl.analysis.evaluation import evaluate
from labctl.cli.commands.runs import judge
from labctl.data import RunWriter, read_run
from labctl.data.verify import verify
from labctl.model.clock import Stop
from labctl.model.errors import SafetyStop
from labctl.model.run import PointList, RunStart, RunStop
from labctl.runner.facts import plan_mapping
from labctl.runner.refit import refit
from labctl.runner.single_shots.fly import PROCEDURE_ID
from procedures.fly import fly
from procedures.gate.pump import Pump

UTC = "2026-01-01T10:00:00Z"


def start(table: Table) -> RunStart:
    return RunStart(
        "f-1", PROCEDURE_ID, "OLA", "", "", "", UTC, {}, plan_mapping(PLAN, BANDS), {}, {},
        table.burst.info.wavelength_nm, "peak", facts=table.facts(),
    )  # fmt: skip


def test_a_flight_is_fitted_again_as_it_was(tmp_path: Path) -> None:
    table = Table(Case(seed=3))
    with RunWriter(tmp_path, "flight") as writer:
        writer.begin(start(table))
        flight = fly(PLAN, table.roles, table.pump, BANDS, sink=writer)
        result = evaluate(PointList(flight.points, (flight.dark,)), PLAN, table.facts())
        writer.end(RunStop("finished", "", UTC, result))
    assert verify(writer.paths.h5) == ()
    verdict = judge(writer.paths.h5)
    assert verdict.problems == ()
    run = read_run(writer.paths.h5)
    assert run.plan == PLAN
    assert run.shots is not None
    assert len(run.shots) > 1400
    assert run.shots.where("light").size > flight.solved.good.sum()
    assert run.shots.tally.lost == 0
    again = refit(writer.paths.h5).result
    assert again is not None
    pairs = ((result.threshold, again.threshold), (result.threshold_lasing, again.threshold_lasing))
    for stored, fitted in pairs:
        assert "of the motion in it" in fitted.reason
        assert fitted.ci95 == pytest.approx(stored.ci95)
    assert (run.points["fluence_sigma_rel"] > 0.001).all()


class Sticking(LooseMount):
    """The second of its motions in the light takes longer."""

    lit = 0

    def move_to(self, angle_deg: float, stop: Stop | None = None) -> float:
        reached = super().move_to(angle_deg, stop)
        self.lit += self.scene.shutter.is_open()
        if self.lit == 2:
            self.clock.sleep(0.2, stop)
        return reached


def test_after_a_fault_the_file_is_sound_and_nobody_is_told_to_resume_it(tmp_path: Path) -> None:
    table = Table(Case(seed=3))
    mount = Sticking(table.scene, table.case)
    roles = replace(table.roles, attenuator=mount)
    with RunWriter(tmp_path, "flight") as writer:
        writer.begin(start(table))
        with pytest.raises(SafetyStop, match="does not keep its speed"):
            fly(PLAN, roles, Pump(roles, table.pump.settings, LIMITS), BANDS, sink=writer)
        writer.end(RunStop("failed", "the plate", UTC))
    verdict = judge(writer.paths.h5)
    assert verdict.problems == ()
    assert verdict.notes == ("failed (the plate)",)
    run = read_run(writer.paths.h5)
    assert len(run) == 0
    assert run.shots is not None
    assert run.shots.where("dark").size >= 200
    assert run.shots.where("light").size > 500
    assert (np.diff(run.shots.table["pulse"]) == 1).all()
