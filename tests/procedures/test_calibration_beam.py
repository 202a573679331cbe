"""Light while the curve is unknown: every way through and out of a calibration keeps the bench's rules."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from calibration_scene import CalibrationBench
from procedures_fakes import StopAfter

from labctl.model.calibration import CalibrationKind
from labctl.model.clock import Stop
from labctl.model.errors import Aborted, CalibrationRefused, InstrumentFault, SafetyStop
from labctl.model.pump import Element, Limits, MalusCurve
from labctl.model.records import PowerReading
from labctl.model.roles import LIGHT
from procedures.calibration import PROCEDURES
from procedures.calibration.beam import UncalibratedBeam
from procedures.calibration.placing import MeteredBeam
from procedures.calibration.worst import LEAST_AREA, UNKNOWN, Look

FAST: dict[CalibrationKind, dict[str, Any]] = {
    "attenuator": {"points": 10, "pairs": 4, "readings": 2},
    "pickoff": {"points": 5, "readings": 2},
    "energy": {"drift_s": 5.0, "readings": 2},
    "spot": {"method": "hand", "points": 12, "readings": 2},
}
KINDS = tuple(FAST)


def made(kind: CalibrationKind, seed: int = 3) -> CalibrationBench:
    bench = CalibrationBench(seed)
    if kind in ("energy", "spot"):
        bench.know_the_curve()
    return bench


@pytest.mark.parametrize("kind", KINDS)
def test_a_calibration_keeps_the_rules_and_leaves_the_bench_as_it_was(kind: CalibrationKind) -> None:
    bench = made(kind)
    calibration = bench.run(kind, **FAST[kind])
    assert calibration.kind == kind
    bench.assert_safe()
    bench.assert_as_found()
    assert [step.progress for step in bench.steps][-1] > 0.8
    assert bench.shutter.opened == 0 if kind == "attenuator" else bench.shutter.opened > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_refusal_by_hand_ends_it_in_the_dark(kind: CalibrationKind, number: int) -> None:
    bench = made(kind)
    bench.hands.refuse_at = number
    with pytest.raises(CalibrationRefused, match="refused by the operator"):
        bench.run(kind, **FAST[kind])
    assert bench.scene.shutter.closed_switch()
    assert bench.breaches == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("questions", [3, 40, 120])
def test_a_stop_ends_it_in_the_dark(kind: CalibrationKind, questions: int) -> None:
    bench = made(kind)

    with pytest.raises(Aborted):
        bench.run(kind, StopAfter(questions), **FAST[kind])
    assert bench.scene.shutter.closed_switch()
    assert bench.breaches == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_that_closes_it_leaves_it_dark(kind: CalibrationKind) -> None:
    bench = made(kind)
    steps = PROCEDURES[kind](bench.context(kind, None, **FAST[kind]))
    shown = [next(steps) for _ in range(6)]
    steps.close()
    assert bench.scene.shutter.closed_switch()
    assert bench.breaches == []
    darkest = min((s for s in shown if s.y is not None and s.unit == "W"), key=lambda s: s.y or 0.0)
    assert bench.scene.mount.encoder_deg() == pytest.approx(darkest.x, abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_a_meter_that_fails_ends_it_in_the_dark(
    kind: CalibrationKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = made(kind)
    real, reads = bench.roles.power_meter.read, iter(range(100))

    def read(count: int = 1, stop: Stop | None = None) -> PowerReading:
        if next(reads) == 24:
            raise InstrumentFault("power meter", "unplugged")
        return real(count, stop)

    monkeypatch.setattr(bench.roles.power_meter, "read", read)
    with pytest.raises(InstrumentFault, match="unplugged"):
        bench.run(kind, **FAST[kind])
    bench.assert_safe()


@pytest.mark.parametrize(("kind", "lie"), [("energy", 2), ("pickoff", 5), ("spot", 2), ("attenuator", 2)])
def test_a_sensor_or_a_card_that_was_not_moved_is_noticed(kind: CalibrationKind, lie: int) -> None:
    bench = made(kind)
    bench.hands.lie_at = lie
    asked = []
    bench.hands.before = lambda request: asked.append(request.action)
    with pytest.raises(CalibrationRefused, match=r"still at|blocked|not moved"):
        bench.run(kind, **FAST[kind])
    assert asked[lie - 1] == ("beam" if kind == "attenuator" else "meter")
    assert bench.scene.shutter.closed_switch()


def test_a_sensor_at_the_sample_that_should_be_at_the_pickoff_is_noticed() -> None:
    bench = CalibrationBench(3)
    bench.scene.hand.do("meter", {"place": "sample"})
    bench.hands.lie_at = 1
    with pytest.raises(CalibrationRefused, match="not above its noise"):
        bench.run("attenuator", **FAST["attenuator"])
    bench.assert_safe(dark=1.1)


def test_no_angle_is_opened_that_may_pass_a_limit() -> None:
    """Nobody has measured energy or spot: twice the energy and a third of the area are allowed for."""
    bench = made("spot")
    calibration = bench.run("energy", **FAST["energy"])
    seen = [step.y for step in bench.steps if step.what == "drift" and step.y is not None]
    nominal_j, area_cm2 = bench.settings.max_pulse_energy_j, math.pi * 100e-4**2
    most_w = bench.limits.max_fluence_uj_cm2 * 1e-6 * LEAST_AREA * area_cm2 / 2 / UNKNOWN
    most_w *= bench.settings.repetition_rate_hz * bench.truth.max_pulse_energy_j / nominal_j
    assert 0.6 * most_w < max(seen) <= 1.05 * most_w
    full = bench.truth.max_pulse_energy_j * bench.truth.meter_scale
    assert calibration.quantities["pulse_energy"].value == pytest.approx(full, rel=0.015)


@pytest.mark.parametrize("kind", ["energy", "spot"])
def test_a_guess_in_the_bench_file_is_no_curve(kind: CalibrationKind) -> None:
    """The plate is scanned at the pick-off, in the dark; a sensor elsewhere leaves nothing to go by."""
    bench = CalibrationBench(3)
    bench.settings = replace(bench.settings, curve=MalusCurve(bench.truth.zero_deg + 45.0, 0.0, 1.0))
    bench.run(kind, **FAST[kind])
    bench.assert_safe(dark=0.02)
    bench.scene.hand.do("meter", {"place": "sample"})
    opened, asked = bench.shutter.opened, len(bench.hands.asked)
    with pytest.raises(CalibrationRefused, match="the attenuator curve is still unknown") as refused:
        bench.run(kind, **FAST[kind])
    assert "calibrate attenuator" in refused.value.hint
    assert (bench.shutter.opened, len(bench.hands.asked)) == (opened, asked)


def test_hands_are_asked_for_no_more_than_sample_and_sensor() -> None:
    bench = CalibrationBench(3)
    bench.know_the_curve()
    bench.run("energy", **FAST["energy"])
    assert [r.action for r in bench.hands.asked] == ["sample", "meter", "meter", "sample"]
    assert [r.word for r in bench.hands.asked] == [LIGHT, LIGHT, "", ""]
    bench.assert_safe()


def test_a_stated_limit_of_the_sensor_holds() -> None:
    bench = CalibrationBench(3)
    bench.know_the_curve()
    bench.run("energy", sensor_limit_w=2e-6, **FAST["energy"])
    seen = [step.y for step in bench.steps if step.what == "drift" and step.y is not None]
    assert 0.5e-6 < max(seen) <= 2e-6
    bench.assert_safe()


def test_a_dose_that_a_calibration_may_pass_ends_it_before() -> None:
    bench = CalibrationBench(3)
    bench.know_the_curve()
    bench.limits = replace(bench.limits, max_dose_uj_cm2=1e6)
    with pytest.raises(SafetyStop, match="dose"):
        bench.run("energy", **FAST["energy"])
    bench.assert_safe()


def test_the_shutter_stays_closed_until_somebody_has_said_where_the_sensor_stands() -> None:
    bench = CalibrationBench(3)
    with (
        UncalibratedBeam(bench.context("energy"), "sample") as beam,
        pytest.raises(SafetyStop, match="removal of the sample was not confirmed"),
    ):
        beam.look(beam.dark_deg)
    assert bench.shutter.opened == 0


def test_a_shutter_that_does_not_close_is_no_success() -> None:
    bench = CalibrationBench(3)
    beam = MeteredBeam(bench.context("attenuator"), "pick-off")
    with beam:
        beam.place_meter()
    bench.shutter.is_open = lambda: True  # type: ignore[method-assign]
    with pytest.raises(SafetyStop, match="does not confirm"):
        beam.__exit__(None, None, None)


def test_a_shutter_that_somebody_else_opened_ends_it_before_the_plate_turns() -> None:
    bench = CalibrationBench(3)
    real, moves = bench.mount.move_to, []

    def noted(angle_deg: float, stop: Stop | None = None) -> float:
        moves.append(bench.scene.shutter.closed_switch())
        if len(moves) == 9:
            bench.scene.shutter.command(True)
            bench.clock.sleep(0.1)
        return real(angle_deg, stop)

    bench.mount.move_to = noted  # type: ignore[method-assign]
    with pytest.raises(SafetyStop, match="open when it should be closed"):
        bench.run("attenuator", **FAST["attenuator"])
    assert bench.scene.shutter.closed_switch()
    assert all(moves)
    assert len(moves) == 10  # the last one to the darkest angle, behind the closed shutter


def test_a_plate_that_does_not_arrive_ends_it() -> None:
    bench = CalibrationBench(3)
    bench.mount.home()
    real = bench.mount.move_to

    def slip(angle_deg: float, stop: Stop | None = None) -> float:
        return real(angle_deg + 1.0, stop)

    bench.mount.move_to = slip  # type: ignore[method-assign]
    with pytest.raises(SafetyStop, match="instead of"):
        bench.run("attenuator", **FAST["attenuator"])
    assert bench.scene.shutter.closed_switch()


@pytest.mark.parametrize(
    "order",
    [("attenuator", "shutter", "pick-off", "sample"), ("shutter", "attenuator", "pick-off", "sample")],
)
def test_a_pickoff_behind_the_shutter_is_scanned_with_the_sample_out(order: tuple[Element, ...]) -> None:
    bench = CalibrationBench(3, order=order)
    with pytest.raises(CalibrationRefused, match="the attenuator curve is still unknown") as refused:
        bench.run("attenuator", **FAST["attenuator"])
    assert "ND filter in front of the attenuator" in refused.value.hint
    assert (bench.shutter.opened, bench.hands.asked) == (0, [])
    bench.limits = Limits(max_fluence_uj_cm2=1e4)  # with the sample out, by somebody's own decision
    calibration = bench.run("attenuator", **FAST["attenuator"])
    assert calibration.quantities["zero_deg"].value == pytest.approx(bench.truth.zero_deg % 90, abs=0.1)
    assert [r.action for r in bench.hands.asked] == ["sample", "meter", "sample"]
    assert bench.scene.shutter.closed_switch()
    assert not [b for b in bench.breaches if "sensor" not in b]


def test_the_bound_grows_with_the_distance_and_never_beyond_the_full_power() -> None:
    bench = CalibrationBench(3)
    beam = UncalibratedBeam(bench.context("attenuator"), "sample")
    assert beam.bound_w(10.0) == beam.full_w
    reading = PowerReading(1e-6, 1e-9, 4, 0.0, 1.0)
    beam.looks.append(Look(10.0, 1e-6, 1e-9, 0.5, reading))
    bounds = [beam.bound_w(angle) for angle in (10.0, 12.0, 20.0, 60.0)]
    assert bounds == sorted(bounds)
    assert bounds[0] > 1e-6
    assert bounds[-1] == beam.full_w
    assert math.isinf(UncalibratedBeam(bench.context("attenuator"), "pick-off").ceiling_w)
