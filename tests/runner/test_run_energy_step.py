"""A pulse energy, or a meter, that steps in mid-run: flagged, widened, and no decay."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labctl.analysis.evaluation.energy_step import find_step, widened
from labctl.analysis.threshold import ThresholdResult
from labctl.config import parse_bench
from labctl.model.clock import SteppedClock
from labctl.model.plan import StabilityPlan, SweepPlan
from labctl.model.results.sweep import EnergyStep
from labctl.runner.events import Event, Message
from labctl.runner.refit import refit
from labctl.runner.report import RunReport
from labctl.runner.run import RunRequest, run_sweep
from labctl.runner.stability import run_stability
from labctl.session import open_bench
from procedures.manual import ManualBench
from procedures.plan import stability_plan
from simulators import presets
from simulators.bench import SimulatedBench

PLAN = SweepPlan(start_uj_cm2=30.0, stop_uj_cm2=190.0, points=14, average=3, reference_every=0)


def run(folder: Path, factor: float, from_s: float, plan: SweepPlan = PLAN) -> tuple[RunReport, list[Event]]:
    """Run with a meter that reads ``factor`` times the power from a time on."""
    clock, shown = SteppedClock(), list[Event]()
    with SimulatedBench(presets.scene("ola", "typical", 5), clock) as bench:
        meter = bench.scene.meter
        honest = meter.power_w

        def power_w(*args: Any) -> float:
            return honest(*args) * (factor if clock.now_s() >= from_s else 1.0)

        meter.power_w = power_w  # type: ignore[method-assign, assignment]
        made: Any = run_stability if isinstance(plan, StabilityPlan) else run_sweep
        report = made(
            parse_bench(bench.bench_toml(1.0)),
            plan,
            RunRequest(folder, "OLA"),
            stop=threading.Event(),
            on_event=shown.append,
            clock=clock,
        )
    return report, shown


@pytest.mark.parametrize("factor", [1.15, 1 / 1.15])
def test_a_step_in_mid_run_widens_the_threshold_to_hold_the_truth(tmp_path: Path, factor: float) -> None:
    report, _ = run(tmp_path, factor, 45.0)
    assert "energy_step" in report.threshold.flags
    assert "stepped by" in report.threshold.reason
    interval = report.threshold.ci95
    assert interval is not None
    low, high = interval
    assert low < 79.81 < high
    assert f"95 % interval {low:.4g} to {high:.4g}; " in report.threshold.reason
    assert report.to_json()["energy_step"]["change_rel"] == pytest.approx(factor - 1, abs=0.04)  # type: ignore[index]
    assert report.h5 is not None
    again = refit(report.h5)
    assert again.threshold.ci95 == (low, high)
    assert "energy_step" in again.threshold.flags


def test_the_words_of_a_bound_are_widened_with_it() -> None:
    said = "no threshold below 90 uJ/cm2: the low end is luminescence"
    found = ThresholdResult("not_found", said, 12, bound=(90.0, None))
    wider = widened(found, EnergyStep(7, 0.15))
    assert wider.bound == pytest.approx((90.0 / 1.15 / 1.03, None))
    assert wider.reason.startswith("no threshold below 75.98 uJ/cm2: ")


def test_an_honest_run_has_neither_flag_nor_remark(tmp_path: Path) -> None:
    report, shown = run(tmp_path, 1.0, 0.0)
    assert "energy_step" not in report.to_json()
    assert not any("max_pulse_energy" in e.text for e in shown if isinstance(e, Message))


def test_energies_far_from_the_stated_one_are_remarked_on(tmp_path: Path) -> None:
    report, shown = run(tmp_path, 1 / 1.15, 0.0)
    told = [e.text for e in shown if isinstance(e, Message) and "max_pulse_energy" in e.text]
    assert len(told) == 1
    assert re.search(r"energies are 1[34]% below the stated max_pulse_energy", told[0])
    assert told[0].removeprefix("warning: ") in report.notes
    assert "energy_step" not in report.to_json()


def test_a_step_is_no_decay(tmp_path: Path) -> None:
    report, _ = run(tmp_path, 1.15, 70.0, stability_plan(60.0, 140.0, 10.0))
    said = report.result.stability
    assert said is not None
    assert "energy_step" in said.flags
    assert said.status != "decay"


@pytest.mark.parametrize("seed", range(20))
def test_drift_and_scatter_are_no_step(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for n in (5, 12, 24, 100):
        drift = 1 + 0.05 * np.linspace(0, 1, n)
        assert find_step(drift * (1 + 0.015 * rng.standard_normal(n))) is None
    outlier = 1 + 0.005 * rng.standard_normal(20)
    outlier[9] = 1.2
    assert find_step(outlier) is None


@pytest.mark.parametrize("from_s", [0.0, 40.0])
def test_by_hand_energies_far_from_the_stated_one_are_told_once(from_s: float) -> None:
    clock, told = SteppedClock(), list[str]()
    with SimulatedBench(presets.scene("ola", "typical", 5), clock) as simulated:
        honest, meter = simulated.scene.meter.power_w, simulated.scene.meter
        meter.power_w = lambda *a: honest(*a) * (1.15 if clock.now_s() >= from_s else 1.0)  # type: ignore[method-assign]
        with open_bench(parse_bench(simulated.bench_toml(1.0)), clock, tell=told.append) as bench:
            manual = ManualBench(bench.roles, bench.pump)
            manual.set_fluence(60.0)
            manual.open()
            for _ in range(6):
                clock.sleep(10.0)
                manual.reading()
            manual.close()
    (said,) = (line for line in told if "max_pulse_energy" in line)
    assert said.startswith("warning: energies are 1")
    assert "% above the stated max_pulse_energy: check meter" in said
