"""One cell of the fault matrix: a procedure on a simulated bench where one thing goes wrong, and its judge.

The whole way is gone: simulated instruments on TCP, drivers, gate, procedure, writer. What the light really
was is read from the scene, never from labctl. Scene and client share one stepped clock; time-outs are wall
time.
"""

from __future__ import annotations

import dataclasses
import logging
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import fault_calibrations
import fault_loose
import fault_runs
import lies_wire
from fault_judge import Cell, Outcome, ProcedureName, Reference, dated_errors, judge_end

from benchmarks.benches import behind as pickoff_behind
from benchmarks.benches import scene
from benchmarks.scene_truth import SceneTruth
from labctl.model.clock import ScaledClock, SteppedClock
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.faults import FaultPlan
from simulators.scene.settings import StageSettings, ThermometerSettings

__all__ = ["Cell", "FaultPlan", "Outcome", "Reference", "run", "undisturbed"]

SEED, CALIBRATED_SEED = 5, 3
SAMPLE = "ola"
BEGIN_S = 10.0
"""Scene time at which a cell begins: faults from the start are older than any exposure or reading."""
Procedure = Callable[[SimulatedBench, Outcome, SceneTruth, Reference, Path], BaseException | None]
PROCEDURES: dict[ProcedureName, Procedure] = {
    "sweep": fault_runs.run,
    "adaptive": fault_runs.run,
    "check": fault_loose.check,
    "stability": fault_runs.run,
    "resume": fault_runs.run,
    "align": fault_loose.alignment,
    "set fluence": fault_loose.manual,
    "set angle": fault_loose.manual,
    "cal attenuator": fault_calibrations.run,
    "cal pickoff": fault_calibrations.run,
    "cal energy": fault_calibrations.run,
    "cal spot": fault_calibrations.run,
    "cal spectrometer": fault_calibrations.run,
    "cal check": fault_calibrations.recheck,
}
"""Every procedure but those that are processes of their own."""
LEAST, DARKEST_KNOWN = 1.5, 3.0
"""Transmission, over the least one, that counts as dark; a calibration goes to the darkest it has seen."""
KEYS = {
    "attenuator": "thorlabs-ell14", "power_meter": "thorlabs-pm100", "shutter": "thorlabs-sc10",
    "spectrometer": "ocean",
}  # fmt: skip
FULL = ("check", "stability")
"""Procedures whose bench has a stage and a thermometer as well; benches to be calibrated have them anyway."""


def run(cell: Cell, reference: Reference, folder: Path, speed: float | None = None) -> Outcome:
    """Let a fault befall a procedure and judge what became of it.

    :param speed: bench seconds a wall second; None: a stepped clock.
    """
    clock = SteppedClock(BEGIN_S) if speed is None else ScaledClock(speed)
    outcome, heard = Outcome(cell), _Heard()
    faults = FaultPlan.parse(cell.toml()) if cell.kind != "none" and not cell.lies_from else None
    with dated_errors() as made, heard, _bench(cell.procedure, clock, faults, behind=cell.behind) as bench:
        truth = SceneTruth(bench.scene, DARKEST_KNOWN if cell.procedure.startswith("cal ") else LEAST)
        liar = _liar(bench, cell) if cell.lies_from else None
        began = time.monotonic()
        error = PROCEDURES[cell.procedure](bench, outcome, truth, reference, folder)
        outcome.wall_s = time.monotonic() - began
        outcome.told += heard.text()
        outcome.fired = len(list(bench.fault_log)) if liar is None else liar.lies
        if liar is not None and liar.began_s is not None:
            outcome.lit_s = truth.lit_s(liar.began_s)
        judge_end(outcome, truth, error, made, 0.0 if speed is None else 60.0 / speed)
    return outcome


def undisturbed(folder: Path, points: int = 40, procedures: Iterable[ProcedureName] = ()) -> Reference:
    """Measure the light-light curve finely with the truth of its fluence, and what other procedures need."""
    plan = dataclasses.replace(
        fault_runs.PLANS["sweep"], start_uj_cm2=30.0, stop_uj_cm2=200.0, points=points, reference_every=0
    )
    found: list[tuple[float, float]] = []
    with _bench("sweep", SteppedClock()) as bench:
        truth = SceneTruth(bench.scene)
        fault_runs.measure(
            bench, plan, folder, lambda point: found.append((truth.fluence_of(point), point.signal))
        )
    files: dict[str, bytes] = {}
    wanted = set(procedures)
    if "resume" in wanted:
        with _bench("resume", SteppedClock()) as bench:
            files |= fault_runs.interrupted(bench, folder)
    for kind in fault_calibrations.needed_by(wanted):
        with tempfile.TemporaryDirectory(dir=folder) as own, _bench("cal spot", SteppedClock()) as bench:
            fault_calibrations.measured(bench, Path(own), files, kind)
    return Reference(found, files)


def _liar(bench: SimulatedBench, cell: Cell) -> lies_wire.Liar:
    """Put a liar between the cable and an instrument, which keeps what it is."""
    link = bench.server(cell.instrument).link
    liar = lies_wire.LIES[cell.instrument][cell.kind](link.wire, KEYS[cell.instrument], cell.lies_from)
    link.plug(liar)
    return liar


def _bench(
    name: ProcedureName, clock: Any, faults: FaultPlan | None = None, *, behind: bool = False
) -> SimulatedBench:
    if name.startswith("cal "):
        made = scene(SAMPLE, "typical", CALIBRATED_SEED)
        return SimulatedBench(presets.uncalibrated(made, CALIBRATED_SEED), clock, faults=faults)
    settings = scene(SAMPLE, "typical", SEED)
    settings = pickoff_behind(settings) if behind else settings
    if name in FULL:
        settings = dataclasses.replace(settings, stage=StageSettings(), thermometer=ThermometerSettings())
    return SimulatedBench(settings, clock, faults=faults)


class _Heard(logging.Handler):
    """What a program prints that shows its critical records, and nothing else of them."""

    def __init__(self) -> None:
        super().__init__(logging.CRITICAL)
        self._lines: list[str] = []

    def __enter__(self) -> None:
        logging.getLogger().addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())

    def text(self) -> str:
        return "; ".join(["", *self._lines])
