"""A shutter that closes itself: told for how long, told anew where that is too short, dark without us."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from procedures_fakes import BEHIND, FRONT, FakeBench, FakeShutter, limits, pump_settings

from labctl.config import parse_bench
from labctl.model.clock import ScaledClock
from labctl.model.errors import SafetyStop
from labctl.model.plan import SweepPlan
from labctl.model.pump import Element
from labctl.session import open_bench, sweep
from procedures.gate.hooks import HookedShutter, Hooks
from procedures.gate.pump import VERIFYING_S, Pump
from procedures.gate.shutter import SELF_CLOSING_MARGIN_S
from procedures.manual import ManualBench
from simulators.bench import SimulatedBench
from simulators.presets import scene

Order = tuple[Element, Element, Element, Element]


@dataclass
class TimedShutter(FakeShutter):
    """A fake that remembers for how long it was opened, and closes then."""

    self_closing: bool = True
    opened_for: list[float | None] = field(default_factory=list)
    _until_s: float | None = None

    def open(self, within_s: float | None = None) -> None:
        self.opened_for.append(within_s)
        self._until_s = None if within_s is None else self.table.clock.now_s() + within_s
        super().open()

    def is_open(self) -> bool:
        if self._until_s is not None and self.table.clock.now_s() >= self._until_s and self.table.is_open:
            self.table.set_shutter(open_=False)
        return super().is_open()


def made(order: Order = FRONT, *, wrapped: bool = False) -> tuple[FakeBench, Pump, TimedShutter]:
    bench = FakeBench(order)
    shutter = TimedShutter(bench.table)
    roles = bench.roles.__class__(
        bench.mount, bench.meter, bench.spectrometer, HookedShutter(shutter, Hooks()) if wrapped else shutter,
        bench.clock,
    )  # fmt: skip
    pump = Pump(roles, pump_settings(order=order), limits())
    pump.prepare()
    return bench, pump, shutter


@pytest.mark.parametrize("wrapped", [False, True])
def test_it_is_told_twice_the_light_and_a_margin(wrapped: bool) -> None:
    _, pump, shutter = made(wrapped=wrapped)
    pump.set_fluence(100.0)
    pump.open(3.0)
    assert shutter.opened_for == [6.0 + SELF_CLOSING_MARGIN_S]


def test_light_of_unknown_length_is_not_cut() -> None:
    _, pump, shutter = made()
    pump.set_fluence(100.0)
    pump.open()
    assert shutter.opened_for == [None]


@pytest.mark.parametrize("order", [FRONT, BEHIND])
def test_light_by_hand_is_not_cut_either(order: Order) -> None:
    bench, _, shutter = made(order)
    roles = dataclasses.replace(bench.roles, shutter=shutter)
    manual = ManualBench(roles, Pump(roles, pump_settings(order=order), limits()))
    manual.home()
    manual.set_fluence(100.0)
    manual.open()
    bench.clock.sleep(600.0)
    assert shutter.opened_for[-1] is None
    assert manual.reading().shutter_open
    manual.close()
    assert not bench.table.is_open


def test_more_light_than_it_was_told_opens_it_anew_before_it_closes() -> None:
    bench, pump, shutter = made()
    pump.set_fluence(100.0)
    pump.open(1.0)
    bench.clock.sleep(1.0)
    pump.open(2.0)  # 11 s are left: no need
    assert shutter.opened_for == [12.0]
    bench.table.events.clear()
    pump.open(30.0)
    assert bench.table.events == ["close", "open"]
    assert shutter.opened_for == [12.0, 70.0]
    bench.clock.sleep(30.0)
    pump.require_open()


def test_a_light_that_was_cut_is_noticed() -> None:
    bench, pump, _ = made()
    pump.set_fluence(100.0)
    pump.open(1.0)
    bench.clock.sleep(13.0)
    with pytest.raises(SafetyStop, match="closed when it should be open"):
        pump.require_open()


def test_behind_the_shutter_verifying_is_timed_too() -> None:
    _, pump, shutter = made(BEHIND)
    pump.set_fluence(100.0)
    assert shutter.opened_for == [2 * VERIFYING_S + SELF_CLOSING_MARGIN_S]


@pytest.fixture
def simulated() -> Iterator[SimulatedBench]:
    # Not a stepped clock: there a timer that runs in the controller lets time leap.
    with SimulatedBench(scene("ola", "ideal", 2), ScaledClock(30.0)) as bench:
        yield bench


def own_clock(simulated: SimulatedBench) -> str:
    text = simulated.bench_toml(1.0)
    assert 'driver = "thorlabs-sc10"' in text
    return text.replace('driver = "thorlabs-sc10"', 'driver = "thorlabs-sc10"\nself_closing = true')


def test_the_sc10_closes_when_the_program_does_nothing_more(simulated: SimulatedBench) -> None:
    clock = simulated.scene.clock
    with open_bench(parse_bench(own_clock(simulated)), clock, watchdog=False) as bench:
        bench.pump.prepare()
        bench.pump.set_fluence(50.0)
        opened_s = clock.now_s()
        bench.pump.open(5.0)
        assert not simulated.scene.shutter.closed_switch()
        while not simulated.scene.shutter.closed_switch():  # nobody commands anything
            clock.sleep(0.1)
            assert clock.now_s() < opened_s + 60.0
        assert clock.now_s() > opened_s + 2 * 5.0 + SELF_CLOSING_MARGIN_S - 0.5
        # The closing that follows finds it closed, and does not toggle it open again.
        bench.pump.close()
        assert simulated.scene.shutter.closed_switch()


def test_a_sweep_with_it_measures_the_same(simulated: SimulatedBench) -> None:
    plan = SweepPlan(start_uj_cm2=20.0, stop_uj_cm2=180.0, points=4, average=3)

    def measured(text: str) -> list[tuple[float, bool]]:
        with open_bench(parse_bench(text), simulated.scene.clock, watchdog=False) as bench:
            return [(point.signal, "no_signal" in point.flags) for point in sweep(bench, plan)]

    plain, timed = measured(simulated.bench_toml(1.0)), measured(own_clock(simulated))
    assert [signal for signal, _ in timed] == pytest.approx([signal for signal, _ in plain], rel=0.05)
    assert not any(dark for _, dark in timed)
