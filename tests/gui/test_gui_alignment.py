"""The alignment's engine without a window: it follows a step, refuses nonsense, ends dark."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from gui_bench import is_safe

from labctl.config import parse_bench
from labctl.model.clock import SteppedClock
from labctl.model.errors import ConfigError, SafetyStop
from labctl.model.plan import SweepPlan
from labctl.session import Bench, open_bench
from procedures.alignment import AlignmentPlan, Readout, Reference, ReferencePoint, align
from procedures.manual import ManualBench
from simulators.bench import SimulatedBench
from simulators.presets import scene

PLAN = AlignmentPlan(
    reference=SweepPlan(start_uj_cm2=30.0, stop_uj_cm2=170.0, points=12, average=2), max_readouts=5
)


@pytest.fixture
def benches() -> Iterator[tuple[SimulatedBench, Bench]]:
    clock = SteppedClock()
    with (
        SimulatedBench(scene("ola", "typical", 5), clock) as simulated,
        open_bench(parse_bench(simulated.bench_toml(1.0)), clock) as bench,
    ):
        yield simulated, bench


def test_a_step_of_the_truth_is_followed_within_two_readouts(benches: tuple[SimulatedBench, Bench]) -> None:
    simulated, bench = benches
    sample = simulated.scene.sample
    kinds, readouts = [], []
    for event in align(PLAN, bench.roles, bench.pump, bench.bands):
        kinds.append(type(event).__name__)
        if isinstance(event, Readout):
            readouts.append((sample.threshold_uj_cm2, event))
            if event.number == 3:
                sample.threshold_uj_cm2 *= 1.2
    assert kinds == ["ReferencePoint"] * 12 + ["Reference"] + ["Readout"] * 5 + ["Finished"]
    for truth, event in (*readouts[:3], readouts[-1]):
        assert event.result.threshold_uj_cm2 == pytest.approx(truth, rel=0.04)
        assert event.result.ci95 is not None
        assert event.result.ci95[0] < truth < event.result.ci95[1]
    best = readouts[-1][1].best_uj_cm2
    assert best == min(e.result.threshold_uj_cm2 or 1e9 for _, e in readouts)
    doses = [e.dose_uj_cm2 for _, e in readouts]
    assert doses == sorted(doses)
    assert is_safe(simulated)


def test_leaving_early_closes_the_shutter(benches: tuple[SimulatedBench, Bench]) -> None:
    simulated, bench = benches
    events = align(PLAN, bench.roles, bench.pump, bench.bands)
    for event in events:
        if isinstance(event, (Reference, ReferencePoint)) and simulated.scene.shutter.is_open():
            break
    assert not simulated.scene.shutter.closed_switch()
    events.close()  # type: ignore[attr-defined]
    assert is_safe(simulated)


IMPOSSIBLE = (
    ({"ratios": (0.8, 1.2)}, "ratios"),
    ({"ratios": (1.1, 1.2, 1.3)}, "ratios"),
    ({"average": 0}, "average"),
    ({"max_dose_uj_cm2": -1.0}, "max_dose"),
    ({"reference": SweepPlan(stop_uj_cm2=9000.0)}, "stop"),
)


def test_an_impossible_plan_is_refused(benches: tuple[SimulatedBench, Bench]) -> None:
    _, bench = benches
    for change, key in IMPOSSIBLE:
        with pytest.raises(ConfigError) as caught:
            align(replace(PLAN, **change), bench.roles, bench.pump, bench.bands)
        assert caught.value.key == key, change


def test_a_reference_without_a_threshold_is_refused(benches: tuple[SimulatedBench, Bench]) -> None:
    simulated, bench = benches
    below = replace(PLAN, reference=SweepPlan(start_uj_cm2=15.0, stop_uj_cm2=50.0, points=8, average=2))
    with pytest.raises(SafetyStop, match="no threshold to track"):
        list(align(below, bench.roles, bench.pump, bench.bands))
    assert is_safe(simulated)


def test_a_reference_above_threshold_sends_down(benches: tuple[SimulatedBench, Bench]) -> None:
    _, bench = benches
    above = replace(PLAN, reference=SweepPlan(start_uj_cm2=165.0, stop_uj_cm2=250.0, points=8, average=2))
    with pytest.raises(SafetyStop, match="every point shows lasing peaks") as caught:
        list(align(above, bench.roles, bench.pump, bench.bands))
    assert caught.value.hint.startswith("start lower")


def test_a_hand_keeps_the_limits(benches: tuple[SimulatedBench, Bench]) -> None:
    simulated, bench = benches
    hand = ManualBench(bench.roles, bench.pump)
    with pytest.raises(SafetyStop, match="above the limit"):
        hand.set_fluence(5000.0)
    state = hand.set_fluence(60.0)
    hand.open()
    again = hand.set_angle(
        state.angle_deg - 1.0
    )  # lighter: the shutter is closed for the way, then open again
    assert again.fluence_uj_cm2 > state.fluence_uj_cm2
    assert simulated.scene.shutter.is_open()
    assert hand.reading().fluence_uj_cm2 == pytest.approx(again.fluence_uj_cm2, rel=0.05)
    with pytest.raises(SafetyStop, match="is outside"):
        hand.set_angle(state.angle_deg + 60.0)
    assert simulated.scene.shutter.closed_switch()
    hand.home()
    assert is_safe(simulated)
