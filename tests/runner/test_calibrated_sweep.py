"""A bench nobody has measured: everything calibrated over the wires, answers scripted, then a sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from labctl.analysis.budget import fluence_budget
from labctl.analysis.evaluation import fit_curve
from labctl.analysis.light_light import light_light
from labctl.config import load_bench
from labctl.config.benchfile import use_calibration
from labctl.model.calibration import CalibrationKind
from labctl.model.clock import SteppedClock
from labctl.model.plan import SweepPlan
from labctl.model.results.sweep import total_interval
from labctl.runner.calibrate import run_calibration
from labctl.runner.csv_worker import PointBuffer
from labctl.session import open_bench
from labctl.session.operator import ScriptedOperator, SimulatedOperator
from procedures import fluence_sweep
from procedures.calibration import OPTIONS
from procedures.point.exposure import NoSink
from simulators import presets
from simulators.bench import SimulatedBench

SEED = 3
QUICK: dict[CalibrationKind, dict[str, object]] = {
    "attenuator": {"points": 16, "pairs": 4, "readings": 2},
    "pickoff": {"points": 6, "readings": 2},
    "energy": {"drift_s": 5.0, "readings": 2},
    "spot": {"points": 16, "readings": 2},
    "spectrometer": {"frames": 6},
}


def test_from_unknown_to_threshold(tmp_path: Path) -> None:
    clock = SteppedClock()
    settings = presets.uncalibrated(presets.scene("ola", "typical", SEED), SEED)
    with SimulatedBench(settings, clock) as simulated:
        file = tmp_path / "bench.toml"
        file.write_text(simulated.bench_toml(1.0, nominal=True), encoding="utf-8")
        for kind, options in QUICK.items():
            calibration, path = run_calibration(
                load_bench(file),
                kind,
                OPTIONS[kind](**options),  # type: ignore[arg-type]
                operator=ScriptedOperator(["..."], then=SimulatedOperator(simulated.hand)),
                stop=None,
                on_event=lambda _: None,
                clock=clock,
                output=tmp_path / "calibrations",
            )
            assert calibration.kind == kind
            use_calibration(file, kind, path)
        buffer = PointBuffer(NoSink())
        plan = SweepPlan(start_uj_cm2=20, stop_uj_cm2=200, points=16, average=5, reference_every=0)
        with open_bench(load_bench(file), clock) as bench:
            assert bench.warnings == ()
            for _ in fluence_sweep.sweep(plan, bench.roles, bench.pump, bench.bands, sink=buffer):
                pass
            scale_rel = fluence_budget(bench.pump.settings).stated_rel
            found = fit_curve(light_light(buffer.points), bench.pump.settings.photon_order)
        truth = simulated.scene.truth
        s = load_bench(file).pump_settings()
    chain = s.pickoff_ratio / s.repetition_rate_hz / (s.spot.x_um * s.spot.y_um)
    true = truth.pickoff_ratio / truth.repetition_rate_hz / (truth.w_x_um * truth.w_y_um)
    assert chain == pytest.approx(true, rel=0.02)
    assert found.threshold_uj_cm2 is not None
    assert found.ci95 is not None
    assert found.threshold_uj_cm2 / truth.meter_scale == pytest.approx(truth.threshold_uj_cm2, rel=0.03)
    low, high = total_interval(found.threshold_uj_cm2, found.ci95, scale_rel)
    assert low <= truth.threshold_uj_cm2 <= high
    assert 0.03 < scale_rel < 0.04  # of which the meter's 3 % are the most
