"""The pymeasure Procedure: run by pymeasure's own Worker, with its CSV, to every kind of end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from procedures_fakes import BANDS, FakeBench, FakeSink, limits, pump_settings
from pymeasure.experiment import Results, Worker
from pymeasure.experiment.procedure import Procedure

from labctl.model.errors import ConfigError, InstrumentFault
from labctl.model.plan import SweepPlan
from labctl.model.records import SweepPoint
from procedures.gate.pump import Pump
from procedures.procedure import FluenceSweepProcedure, SweepContext

PLAN = SweepPlan(start_uj_cm2=40.0, stop_uj_cm2=120.0, points=3, average=2, max_integration_s=0.1)


class Columned(FluenceSweepProcedure):
    DATA_COLUMNS: ClassVar[list[str]] = ["Fluence (uJ/cm^2)", "Signal"]


def row(point: SweepPoint) -> Mapping[str, object]:
    return {"Fluence (uJ/cm^2)": point.fluence_uj_cm2, "Signal": point.signal}


class Harness:
    def __init__(self) -> None:
        self.bench, self.sink = FakeBench(), FakeSink()
        self.ends: list[tuple[str, str]] = []
        self.closed = 0
        self.procedure = Columned()
        self.on_exposure: Callable[[], None] = lambda: None

    @contextmanager
    def context(self) -> Iterator[SweepContext]:
        pump = Pump(self.bench.roles, pump_settings(), limits())
        try:
            yield SweepContext(
                self.bench.roles,
                pump,
                BANDS,
                sink=self.sink,
                finish=lambda how, why: self.ends.append((how, why)),
            )
        finally:
            self.closed += 1

    def run(self, folder: Path, plan: SweepPlan | None = PLAN) -> tuple[Worker, Results]:
        self.procedure.attach(self.context, row, plan)
        results = Results(self.procedure, str(folder / "run.csv"))
        worker = Worker(results)
        self.bench.spectrometer.on_exposure = self.on_exposure
        worker.run()  # in this thread
        return worker, results


def test_a_worker_runs_it_and_the_csv_has_its_rows(tmp_path: Path) -> None:
    harness = Harness()
    _worker, results = harness.run(tmp_path)
    assert harness.procedure.status == Procedure.FINISHED
    assert harness.procedure.outcome == "finished"
    assert list(results.data["Fluence (uJ/cm^2)"]) == pytest.approx(
        [p.fluence_uj_cm2 for p in harness.sink.points]
    )
    assert harness.ends == [("finished", "")]
    assert harness.closed == 1
    harness.bench.assert_safe()
    header = (tmp_path / "run.csv").read_text(encoding="utf-8")
    assert "Start fluence: 40 uJ/cm^2" in header


def test_the_parameters_alone_make_the_same_plan() -> None:
    attached = FluenceSweepProcedure()
    plan = SweepPlan(spacing="list", fluences_uj_cm2=(30.0, 60.5), direction="down", seed=7, keep_open=True)
    attached.attach(lambda: pytest.fail("opened"), row, plan)
    typed = FluenceSweepProcedure()
    typed.set_parameters(attached.parameter_values())
    assert typed.plan() == plan
    typed.fluences_uj_cm2 = "30 or so"
    with pytest.raises(ConfigError):
        typed.plan()


def test_a_stop_is_an_abort_and_no_failure(tmp_path: Path) -> None:
    harness = Harness()

    def ask() -> None:
        if len(harness.sink.points) == 1:
            setattr(harness.procedure, "should_stop", lambda: True)  # noqa: B010  pymeasure patches it too

    harness.on_exposure = ask
    worker, _results = harness.run(tmp_path)
    assert harness.procedure.outcome == "aborted"
    assert harness.procedure.status != Procedure.FAILED
    assert harness.ends == [("aborted", "")]
    assert len(harness.sink.points) == 1
    assert worker.should_stop()
    harness.bench.assert_safe()


def test_a_failure_keeps_its_reason_and_the_bench_is_safe(tmp_path: Path) -> None:
    harness = Harness()

    def fail() -> None:
        if len(harness.sink.points) == 1:
            harness.bench.meter.fault = InstrumentFault("power meter", "gone")

    harness.on_exposure = fail
    harness.run(tmp_path)
    assert harness.procedure.status == Procedure.FAILED
    assert isinstance(harness.procedure.failure, InstrumentFault)
    assert harness.ends == [("failed", "power meter: gone")]
    assert harness.closed == 1
    harness.bench.assert_safe()


def test_what_cannot_be_opened_fails_without_hanging(tmp_path: Path) -> None:
    harness = Harness()

    def broken() -> AbstractContextManager[SweepContext]:
        raise InstrumentFault("shutter", "not there")

    harness.procedure.attach(broken, row, PLAN)
    worker = Worker(Results(harness.procedure, str(tmp_path / "run.csv")))
    worker.run()
    assert harness.procedure.status == Procedure.FAILED
    assert str(harness.procedure.failure) == "shutter: not there"


def test_shutdown_never_raises(tmp_path: Path) -> None:
    harness = Harness()

    def everything_breaks() -> None:
        if len(harness.sink.points) == 1:
            for device in (harness.bench.mount, harness.bench.shutter, harness.bench.meter):
                device.fault = InstrumentFault(device.name, "gone")

    harness.on_exposure = everything_breaks
    worker, _results = harness.run(tmp_path)
    assert harness.procedure.status == Procedure.FAILED
    assert harness.closed == 1
    assert worker.monitor_queue.queue[-1] is None  # what pymeasure's own windows wait for


def test_nothing_attached_is_said(tmp_path: Path) -> None:
    procedure = Columned()
    Worker(Results(procedure, str(tmp_path / "run.csv"))).run()
    assert isinstance(procedure.failure, ConfigError)
