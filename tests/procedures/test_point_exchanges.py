"""How often instruments are asked for a point: each question once, none that another one has answered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from procedures_fakes import BANDS, BEFORE_ALL, FRONT, FakeBench, FakeSink, Order, limits, pump_settings

from labctl.model.clock import ScaledClock
from labctl.model.plan import SweepPlan
from procedures.fluence_sweep import sweep
from procedures.gate.hooks import Call, Hooks, hooked
from procedures.gate.pump import Pump

POINT = 5
"""The point that is looked at: by then the exposure time is known, and its dark is there."""


class Diary:
    """Writes the calls of every instrument down."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    @contextmanager
    def around(self, call: Call) -> Iterator[None]:
        self.calls.append(f"{call.role} {call.name}")
        yield


def calls_of_a_point(exposures: int, *, beside: bool) -> list[str]:
    bench = FakeBench(clock=ScaledClock(50.0) if beside else None)
    bench.meter.settling_s = 0.01
    hooks, diary = Hooks(), Diary()
    hooks.attach(diary)
    roles = hooked(bench.roles, hooks)
    pump = Pump(roles, pump_settings(), limits())
    plan = SweepPlan(
        start_uj_cm2=30.0,
        stop_uj_cm2=100.0,
        points=POINT + 1,
        average=exposures,
        integration_s=(0.2,),
        reference_every=0,
    )
    for _ in sweep(plan, roles, pump, BANDS, sink=FakeSink()):
        found, diary.calls = diary.calls, []
    return found


def test_a_point_between_two_readings_asks_each_question_once() -> None:
    assert calls_of_a_point(1, beside=False) == [
        "attenuator is_referenced",
        "shutter is_open",
        "attenuator move_to",
        "power_meter read",
        "spectrometer acquire",  # one that may be old, and a look at the closed shutter
        "spectrometer acquire",
        "shutter open",
        "spectrometer set_integration",
        "spectrometer acquire",
        "spectrometer acquire",
        "shutter is_open",
        "shutter close_beam",
        "shutter is_open",
        "spectrometer set_integration",
        "power_meter read",
        "shutter is_open",
        "spectrometer acquire",
        "spectrometer acquire",
    ]


@pytest.mark.parametrize("exposures", [1, 10])
def test_a_point_beside_the_meter_asks_no_question_twice(
    exposures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("procedures.gate.pump.JUST_S", 20.0)  # a busy computer takes long from line to line
    calls = calls_of_a_point(exposures, beside=True)
    of = calls.count
    assert len(calls) - of("power_meter read") - of("spectrometer acquire") == 9
    assert of("attenuator angle_deg") == 0  # the reference says that the plate is where it was left
    assert (of("attenuator is_referenced"), of("attenuator move_to")) == (1, 1)
    assert (of("shutter open"), of("shutter close_beam"), of("shutter is_open")) == (1, 1, 3)
    assert of("spectrometer set_integration") == 2
    assert of("spectrometer acquire") >= exposures + 3  # two of a look, and one that may be old
    assert of("power_meter read") >= 3  # one verifies, two hold the light; as many as the time allows


@pytest.mark.parametrize(
    ("order", "wait_s", "asked"), [(FRONT, 0.0, 0), (FRONT, 1.0, 1), (BEFORE_ALL, 0.0, 1)]
)
def test_the_angle_is_asked_for_before_an_opening_unless_the_meter_has_just_seen_the_plate(
    order: Order, wait_s: float, asked: int
) -> None:
    bench = FakeBench(order)
    hooks, diary = Hooks(), Diary()
    hooks.attach(diary)
    pump = Pump(hooked(bench.roles, hooks), pump_settings(order=order), limits())
    pump.prepare()
    pump.set_fluence(60.0)
    bench.clock.sleep(wait_s)
    diary.calls = []
    pump.open(0.1)
    pump.close()
    assert diary.calls.count("attenuator angle_deg") == asked
