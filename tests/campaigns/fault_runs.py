"""Procedures that write a run file, on a bench where something goes wrong: sweeps, stability, resume."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fault_judge import Outcome, ProcedureName, Reference, judge_error, judge_file, judge_point

from benchmarks.scene_truth import SceneTruth
from labctl.config import BenchConfig, parse_bench
from labctl.model.plan import AdaptivePlan, StabilityPlan, SweepPlan
from labctl.model.records import SweepPoint
from labctl.runner.csv_worker import PointBuffer
from labctl.runner.events import Event, Message, OnEvent
from labctl.runner.report import RunReport
from labctl.runner.resume import resume_run
from labctl.runner.run import RunFailed, RunRequest, run_sweep
from labctl.runner.stability import run_stability
from procedures.plan import stability_plan
from simulators.bench import SimulatedBench

KEPT = 3
"""Points of the interrupted sweep that is resumed."""
PLANS: dict[ProcedureName, SweepPlan] = {
    "sweep": SweepPlan(start_uj_cm2=40.0, stop_uj_cm2=160.0, points=6, average=4),
    "resume": SweepPlan(start_uj_cm2=40.0, stop_uj_cm2=160.0, points=6, average=4),
    "adaptive": AdaptivePlan(
        start_uj_cm2=40.0,
        stop_uj_cm2=160.0,
        points=10,
        average=4,
        budget_points=12,
        target_rel=0.006,
        reference_every=0,
    ),
    "stability": stability_plan(60.0, 56.0, 8.0, average=3),
}
See = Callable[[SweepPoint], None]


def config_of(bench: SimulatedBench) -> BenchConfig:
    """Return the bench, with deadlines of a spectrometer that does not let a cell wait for ever."""
    return parse_bench(
        bench.bench_toml(1.0).replace("[spectrometer]", "[spectrometer]\ntimeout_margin_s = 2.0")
    )


def measure(bench: SimulatedBench, plan: SweepPlan, folder: Path, see: See, **more: Any) -> RunReport:
    """Measure a plan; ``see`` gets every point in the acquisition thread, once it is stored."""
    config, request = config_of(bench), RunRequest(folder, "matrix")
    kept: dict[str, Any] = {
        "stop": threading.Event(),
        "on_event": _nothing,
        "clock": bench.scene.clock,
    } | more
    with _seen(see):
        if isinstance(plan, StabilityPlan):
            return run_stability(config, plan, request, **kept)
        return run_sweep(config, plan, request, **kept)


def run(
    bench: SimulatedBench, outcome: Outcome, truth: SceneTruth, reference: Reference, folder: Path
) -> BaseException | None:
    """Go through the procedure of a cell and judge its points and its file."""

    def see(point: SweepPoint) -> None:
        judge_point(outcome, point, truth.fluence_of(point), reference)

    def heard(event: Event) -> None:
        if isinstance(event, Message):
            outcome.hear(event.text)

    name = outcome.cell.procedure
    before = KEPT if name == "resume" else 0
    try:
        if name == "resume":
            report = _resume(bench, folder, reference, see, heard)
        else:
            report = measure(bench, PLANS[name], folder, see, on_event=heard)
    except RunFailed as exc:
        judge_file(outcome, exc.report.h5, before + outcome.points)
        return judge_error(outcome, exc.error)
    except Exception as exc:  # noqa: BLE001  it is the finding
        if name == "resume":
            judge_file(outcome, folder / "run.h5", KEPT + outcome.points)  # what was measured before is left
        return judge_error(outcome, exc)
    outcome.ended = report.status
    step = report.result.energy_step
    outcome.told += "" if step is None else f"; {step.text}"
    judge_file(outcome, report.h5, before + outcome.points)
    if before + outcome.points != _wanted(name):
        outcome.problems.append(f"{report.points} points")
    if name == "stability":
        _judge_decay(outcome, report)
    return None


def interrupted(bench: SimulatedBench, folder: Path) -> dict[str, bytes]:
    """Return the files of a sweep that was stopped after its first points."""
    stop = threading.Event()

    def see(point: SweepPoint) -> None:
        if point.index + 1 >= KEPT:
            stop.set()

    report = measure(bench, PLANS["sweep"], folder, see, stop=stop)
    assert report.status == "aborted"
    assert report.points == KEPT
    assert report.h5 is not None
    names = {suffix: report.h5.with_suffix(suffix) for suffix in (".h5", ".csv")}
    return {f"run{suffix}": path.read_bytes() for suffix, path in names.items()}


def _resume(bench: SimulatedBench, folder: Path, reference: Reference, see: See, heard: OnEvent) -> RunReport:
    for name in ("run.h5", "run.csv"):
        (folder / name).write_bytes(reference.files[name])
    with _seen(see):
        return resume_run(
            folder / "run.h5",
            config_of(bench),
            stop=threading.Event(),
            on_event=heard,
            confirm=_only_addresses,
            clock=bench.scene.clock,
        )


def _only_addresses(differences: tuple[str, ...]) -> None:
    if other := [line for line in differences if ".resource: " not in line]:
        raise AssertionError(f"the bench is another one: {other}")


def _judge_decay(outcome: Outcome, report: RunReport) -> None:
    """Nothing fades on this bench, and the curve has to say so, unless it says nothing."""
    said = report.result.stability
    if said is None or said.retained is None:
        outcome.flagged += 1
        return
    found = said.retained
    if not abs(found.value - 1.0) <= 5 * max(found.sigma, 0.012):
        outcome.problems.append(f"{found.value:.3f} +- {found.sigma:.3f} left of what does not fade")
    shown = [value for value in said.sample_temperature_c if value is not None]
    if any(not 15.0 < value < 30.0 for value in shown):
        outcome.problems.append(f"the sample's temperature: {shown}")


def _wanted(name: ProcedureName) -> int:
    plan = PLANS[name]
    return plan.budget_points if isinstance(plan, AdaptivePlan) else plan.points


def _nothing(_event: Event) -> None:
    pass


@contextmanager
def _seen(see: See) -> Iterator[None]:
    """Have every point told, once it is stored, in the acquisition thread."""
    append = PointBuffer.append

    def seen(self: PointBuffer, point: SweepPoint) -> None:
        append(self, point)
        see(point)

    PointBuffer.append = seen  # type: ignore[method-assign]
    try:
        yield
    finally:
        PointBuffer.append = append  # type: ignore[method-assign]
