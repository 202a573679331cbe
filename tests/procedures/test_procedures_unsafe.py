"""What could not be made safe cannot be overlooked, however a block ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from calibration_scene import CalibrationBench
from procedures_fakes import BANDS, FRONT, FakeBench, limits, pump_settings

from labctl.model.errors import Aborted, InstrumentFault, NotMadeSafe, SafetyStop, is_noticed_stop
from labctl.model.plan import SweepPlan
from procedures.alignment import AlignmentPlan, align
from procedures.calibration.beam import UncalibratedBeam
from procedures.gate.pump import Pump
from procedures.gate.safe_state import cause_said, held_back, made_safe

STUCK = InstrumentFault("shutter", "the blade does not close")


def stuck() -> list[Exception]:
    return [STUCK]


def test_a_stop_excuses_a_safety_stop_but_never_an_unsafe_end() -> None:
    """A shutter that SAFE closes may be noticed before the stop is; one that stays open is not that."""
    noted = SafetyStop("closed when it should be open")
    assert is_noticed_stop(noted, stopped=True)
    assert not is_noticed_stop(noted, stopped=False)
    assert not is_noticed_stop(NotMadeSafe([STUCK]), stopped=True)
    noted.add_note("NOT MADE SAFE: the blade does not close")
    assert not is_noticed_stop(noted, stopped=True)
    assert not is_noticed_stop(STUCK, stopped=True)


def ended_by(end: BaseException | None, said: list[str]) -> None:
    with made_safe(stuck, said.append):
        if end is not None:
            raise end


@pytest.mark.parametrize("end", [None, Aborted(), GeneratorExit()])
def test_an_end_that_nobody_looks_at_becomes_an_error(end: BaseException | None) -> None:
    said: list[str] = []
    with pytest.raises(NotMadeSafe, match="NOT MADE SAFE: shutter: the blade does not close") as told:
        ended_by(end, said)
    assert said == ["NOT MADE SAFE: shutter: the blade does not close"]
    assert "block the beam manually" in told.value.hint
    assert told.value.exit_code == 4


def test_another_error_goes_on_and_says_it_once() -> None:
    with pytest.raises(ValueError, match="mine") as told, made_safe(stuck), made_safe(stuck):
        raise ValueError("mine")
    assert told.value.__notes__ == ["NOT MADE SAFE: shutter: the blade does not close"]


def test_the_cause_is_said_before_making_safe_and_once() -> None:
    order: list[str] = []

    def make() -> list[Exception]:
        order.append("made safe")
        return []

    def ended() -> None:
        with made_safe(make), cause_said(order.append), made_safe(make), cause_said(order.append):
            raise InstrumentFault("shutter", "gone")

    with pytest.raises(InstrumentFault, match="gone"):
        ended()
    assert order[0].startswith("shutter: gone: closing the shutter")
    assert order[1:] == ["made safe", "made safe"]


def test_what_could_not_be_made_safe_does_not_repeat_the_cause() -> None:
    gone = InstrumentFault("shutter", "the line is cut", "check the cable")
    other = InstrumentFault("attenuator", "the line is cut", "check the cable")
    with pytest.raises(InstrumentFault) as told, made_safe(lambda: [gone, other]):
        raise InstrumentFault("shutter", "the line is cut", "check the cable")
    assert told.value.__notes__ == [
        "NOT MADE SAFE: shutter, for this reason",
        "NOT MADE SAFE: attenuator: the line is cut",
    ]


def test_a_safe_end_is_quiet() -> None:
    with made_safe(list):
        pass
    with pytest.raises(Aborted), made_safe(list):
        raise Aborted


@pytest.fixture
def raising() -> Iterator[None]:
    """Ctrl-C raises, as in a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("raising")
def test_ctrl_c_does_not_interrupt_making_safe_and_is_not_lost() -> None:
    done: list[str] = []

    def make() -> list[Exception]:
        signal.raise_signal(signal.SIGINT)
        done.append("closed")
        return []

    with pytest.raises(KeyboardInterrupt), made_safe(make):
        pass
    assert done == ["closed"]
    with pytest.raises(ValueError, match="first"), made_safe(make):
        raise ValueError("first")
    assert done == ["closed", "closed"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("raising")
def test_ctrl_c_raises_again_afterwards() -> None:
    with held_back() as asked, held_back():
        signal.raise_signal(signal.SIGINT)
    assert asked == [signal.SIGINT]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_an_alignment_that_ends_in_the_light_says_so() -> None:
    bench = FakeBench(FRONT)
    pump = Pump(bench.roles, pump_settings(), limits())
    plan = AlignmentPlan(reference=SweepPlan(start_uj_cm2=40, stop_uj_cm2=160, points=4, average=2))
    events = align(plan, bench.roles, pump, BANDS)
    next(events)
    assert bench.table.is_open
    bench.shutter.jammed = True
    with pytest.raises(NotMadeSafe, match="does not confirm that it is closed"):
        events.close()  # type: ignore[attr-defined]  # a generator


def stuck_open(bench: CalibrationBench) -> None:
    """The blade opens by itself and then does not close."""
    bench.clock.sleep(bench.scene.shutter.command(True) - bench.clock.now_s())

    def fail() -> None:
        raise STUCK

    bench.shutter.close_beam = fail  # type: ignore[method-assign]


def stopped_in_the_light(bench: CalibrationBench, dark_deg: float, at_deg: float) -> None:
    context = bench.context("attenuator", None)
    context.course.dark_deg = dark_deg
    with UncalibratedBeam(context, "pick-off") as beam:
        assert beam.dark_deg == pytest.approx(dark_deg)
        beam.turn(at_deg)
        stuck_open(bench)
        raise Aborted


def test_a_calibration_stopped_in_the_light_says_so_and_drops_the_plate_over_no_maximum() -> None:
    bench = CalibrationBench(3)
    peak = bench.truth.zero_deg
    with pytest.raises(NotMadeSafe):
        stopped_in_the_light(bench, peak + 45.0, peak + 120.0)
    assert bench.scene.mount.encoder_deg() == pytest.approx(peak + 135.0, abs=0.3)
