"""Procedures without a run file, on a bench where something goes wrong: check, align, set by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from fault_judge import PICKOFF_REL, SIGMAS, Outcome, Reference, judge_error, judge_point
from fault_runs import config_of

from benchmarks.scene_truth import SceneTruth
from labctl.model.plan import SweepPlan
from labctl.session import Bench, open_bench
from labctl.session.check import check_bench
from procedures.alignment import AlignmentPlan, Readout, ReferencePoint, align
from procedures.gate.attenuator import make_curve
from procedures.manual import BenchReading, ManualBench
from simulators.bench import SimulatedBench

NUMBERS = ("attenuator", "power_meter", "stage", "thermometer")
"""Instruments whose reading in a check begins with a number."""
ALIGNMENT = AlignmentPlan(
    reference=SweepPlan(start_uj_cm2=30.0, stop_uj_cm2=180.0, points=10, average=2), max_readouts=3
)
FLUENCE_UJ_CM2, ANGLE_FROM_DARK_DEG = 80.0, 20.0
HOLD_S, LOOK_S = 4.0, 1.0
USUAL = frozenset({"tracking"})
"""Flags of every readout."""
RECENT_S = 0.6
METER_REL = 0.02
"""What one reading of the meter may be off beside the pick-off: its noise, and the laser's within it."""


def check(
    bench: SimulatedBench, outcome: Outcome, truth: SceneTruth, _reference: Reference, _folder: Path
) -> BaseException | None:
    """Check the bench; what is shown of an instrument must be what there is."""
    try:
        report = check_bench(config_of(bench), clock=bench.scene.clock)
    except Exception as exc:  # noqa: BLE001  it is the finding
        return judge_error(outcome, exc)
    outcome.ended = "told" if report.failures else "finished"
    outcome.error = "; ".join(f"{f.role}: {f.reason}" for f in report.failures)
    shown = {
        c.role: float(c.reading.split()[0]) for c in report.instruments if c.role in NUMBERS and c.reading
    }
    scene = truth.scene
    now = scene.clock.now_s()
    true_uw = 1e6 * float(np.mean(scene.beam.mean_power(now - 0.3, now, "pick-off").power_w))
    true = {"power_meter": (true_uw, 0.15 * true_uw + 0.05), "attenuator": (scene.mount.encoder_deg(), 0.01)}
    if scene.stage is not None and scene.thermometer is not None:
        true["stage"] = (1e3 * scene.stage.encoder_mm(), 2.0)
        true["thermometer"] = (scene.thermometer.true_c(now), 0.5)
    for role, value in shown.items():
        if not abs(value - true[role][0]) <= true[role][1]:
            outcome.problems.append(f"{role}: {value:.4g} shown, {true[role][0]:.4g} true")
    return None


def alignment(
    bench: SimulatedBench, outcome: Outcome, truth: SceneTruth, reference: Reference, _folder: Path
) -> BaseException | None:
    """Measure a reference and a few readouts; every threshold without a flag must hold the true one."""
    try:
        with open_bench(config_of(bench), bench.scene.clock, tell=outcome.hear) as opened:
            for event in align(ALIGNMENT, opened.roles, opened.pump, opened.bands):
                if isinstance(event, ReferencePoint):
                    judge_point(outcome, event.point, truth.fluence_of(event.point), reference)
                elif isinstance(event, Readout):
                    outcome.points += 1
                    _judge_readout(outcome, event, truth.scene.truth.threshold_uj_cm2)
    except Exception as exc:  # noqa: BLE001  it is the finding
        return judge_error(outcome, exc)
    outcome.ended = "finished"
    return None


def _judge_readout(outcome: Outcome, event: Readout, true: float) -> None:
    result = event.result
    if result.threshold_uj_cm2 is None or result.ci95 is None or set(result.flags) - USUAL:
        outcome.flagged += 1
        return
    sigma = (result.ci95[1] - result.ci95[0]) / 3.92
    off = result.threshold_uj_cm2 / true - 1
    outcome.worst = max(outcome.worst, abs(off))
    if not abs(off) <= SIGMAS * math.hypot(sigma / true, PICKOFF_REL):
        outcome.problems.append(f"readout {event.number}: threshold off by {off:+.1%}, no flag")


def manual(
    bench: SimulatedBench, outcome: Outcome, truth: SceneTruth, _reference: Reference, _folder: Path
) -> BaseException | None:
    """Set a fluence or an angle by hand, open, hold it and look, as ``labctl set`` does."""
    clock = bench.scene.clock
    try:
        with open_bench(config_of(bench), clock, tell=outcome.hear) as opened:
            hand = ManualBench(opened.roles, opened.pump)
            hand.home()
            if outcome.cell.procedure == "set fluence":
                hand.set_fluence(FLUENCE_UJ_CM2)
                _judge_light(outcome, FLUENCE_UJ_CM2, truth, "set")
            else:
                hand.set_angle(_dark_deg(opened) - ANGLE_FROM_DARK_DEG)
            hand.open()
            end_s = clock.now_s() + HOLD_S
            while clock.now_s() < end_s:
                _judge_reading(outcome, hand.reading(), truth)
                clock.sleep(LOOK_S)
    except Exception as exc:  # noqa: BLE001  it is the finding
        return judge_error(outcome, exc)
    outcome.ended = "finished"
    return None


def _dark_deg(opened: Bench) -> float:
    return make_curve(opened.pump.settings.curve, (-180.0, 180.0)).floor_deg


def _judge_reading(outcome: Outcome, reading: BenchReading, truth: SceneTruth) -> None:
    outcome.points += 1
    is_open = truth.blade() > 0
    cell = outcome.cell
    sensor_lies = cell.kind == "failed-shutter" and "readback" in cell.where
    sensor_lies = sensor_lies or (cell.lies_from > 0 and cell.instrument == "shutter")
    if reading.shutter_open != is_open and not sensor_lies:  # nothing before the sample tells a lie
        outcome.problems.append(f"look {outcome.points}: the shutter is said to be {reading.shutter_open}")
    if reading.fluence_uj_cm2 is not None:
        _judge_light(outcome, reading.fluence_uj_cm2, truth, f"look {outcome.points}")


def _judge_light(outcome: Outcome, shown: float, truth: SceneTruth, when: str) -> None:
    """Compare with what the light was in the last moments: a reading is the mean of some of them."""
    true = [truth.sample_uj_cm2(0.1, before_s) for before_s in np.arange(0.0, RECENT_S, 0.05).tolist()]
    allowed = SIGMAS * math.hypot(METER_REL, PICKOFF_REL) * max(true) + 0.5
    if outcome.cell.behind and truth.blade() == 0.0 and abs(shown) < allowed:
        return  # a meter behind a shutter that is closed
    if not min(true) - allowed <= shown <= max(true) + allowed:
        outcome.problems.append(f"{when}: {shown:.4g} uJ/cm2 shown, {true[0]:.4g} true, no flag")
