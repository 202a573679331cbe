"""Faults of the stage and of the thermometer: messages, a loss of power, a carriage that sticks or slips."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fault_bench import END, Faulty

from labctl.model.clock import SteppedClock
from labctl.model.errors import ConfigError
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.faults import FaultPlan
from simulators.faults.plan import KINDS
from simulators.scene.motor import LinearStage
from simulators.scene.settings import StageSettings, ThermometerSettings

PER_MM = 1024
BOTH: dict[str, Any] = {"stage": StageSettings(), "thermometer": ThermometerSettings()}
NAME = b"*IDN?\n"
END.update({"stage": b"\r\n", "thermometer": b"\n"})


def planned(kind: str, instrument: str, *lines: str) -> str:
    return "\n".join(("[[fault]]", f'kind = "{kind}"', f'instrument = "{instrument}"', *lines, ""))


def to(position_mm: float) -> bytes:
    return f"0ma{round(position_mm * PER_MM) & 0xFFFFFFFF:08X}".encode()


def shown_mm(answer: bytes) -> float:
    assert answer.startswith(b"0PO"), answer
    return int(answer[3:11], 16) / PER_MM


def stage(bench: Faulty) -> LinearStage:
    assert bench.scene.stage is not None
    return bench.scene.stage


BYTES = [k for k, rule in KINDS.items() if rule.layer == "bytes" and "stage" in rule.roles]


@pytest.mark.parametrize("kind", [k for k in BYTES if k not in ("disconnect", "stall")])
def test_every_fault_of_messages_befalls_the_thermometer(kind: str) -> None:
    with Faulty(planned(kind, "thermometer", "nth = 2"), **BOTH) as bench:
        client = bench.client("thermometer")
        right = client.ask(NAME)
        assert right.startswith(b"LABCTL")
        client.say(NAME)
        if kind in ("drop", "late-answer"):
            assert client.hear(0.1) == b""
        elif kind in ("delay", "stale-answer"):
            assert client.hear() == right
        elif kind == "duplicate":
            assert (client.hear(), client.hear()) == (right, right)
        else:
            assert client.hear(0.5) != right
        assert [f.kind for f in bench.fired()] == [kind]


@pytest.mark.parametrize("role", ["stage", "thermometer"])
def test_a_line_is_cut_and_comes_back(role: str) -> None:
    question = {"stage": b"0in", "thermometer": NAME}[role]
    with Faulty(planned("disconnect", role, "nth = 2"), **BOTH) as bench:
        client = bench.client(role)
        first = client.ask(question)
        with pytest.raises(EOFError):
            client.ask(question)
        assert bench.client(role).ask(question) == first


@pytest.mark.parametrize("role", ["stage", "thermometer"])
def test_an_instrument_stalls_and_goes_on(role: str) -> None:
    question = {"stage": b"0in", "thermometer": NAME}[role]
    with Faulty(planned("stall", role, "nth = 2", "wall_s = 0.2"), **BOTH) as bench:
        client = bench.client(role)
        first = client.ask(question)
        assert client.ask(question, 0.05) == b""
        assert client.hear() == first


def test_a_stage_that_lost_its_power_counts_from_where_it_stands() -> None:
    plan = planned("restart", "stage", 'match = "0gp"', "nth = 1")
    with Faulty(plan, **BOTH) as bench:
        client = bench.client("stage")
        client.ask(b"0ho0")
        assert shown_mm(client.ask(to(10.0))) == pytest.approx(10.0, abs=1e-3)
        before_um = stage(bench).position_um()
        assert shown_mm(client.ask(b"0gp")) == 0.0
        assert not stage(bench).referenced
        assert stage(bench).position_um() == before_um
        assert shown_mm(client.ask(to(5.0))) == pytest.approx(5.0, abs=1e-3)
        assert stage(bench).position_um() == pytest.approx(before_um + 5000.0, abs=1.0)


def test_a_carriage_that_sticks_says_where_it_is_and_goes_on_when_it_is_free() -> None:
    plan = planned("stuck-stage", "stage", 'match = "0ma"', "nth = 2", "duration_s = 5.0")
    with Faulty(plan, **BOTH) as bench:
        client = bench.client("stage")
        client.ask(to(3.0))
        at_um = stage(bench).position_um()
        assert shown_mm(client.ask(to(4.0))) == pytest.approx(3.0, abs=1e-3)
        assert stage(bench).position_um() == at_um
        bench.clock.sleep(6.0)
        client.ask(to(4.0))
        assert stage(bench).position_um() == pytest.approx(at_um + 1000.0, abs=1.0)


def test_an_encoder_that_lies_about_a_carriage_that_sticks() -> None:
    plan = planned("stuck-stage", "stage", 'match = "0ma"', "nth = 2", 'readback = "commanded"')
    with Faulty(plan, **BOTH) as bench:
        client = bench.client("stage")
        client.ask(to(3.0))
        at_um, since_s = stage(bench).position_um(), bench.clock.now_s()
        assert shown_mm(client.ask(to(9.0))) == pytest.approx(9.0, abs=1e-3)
        assert stage(bench).position_um() == pytest.approx(at_um)
        times = np.linspace(since_s, bench.clock.now_s(), 7)
        assert np.asarray(stage(bench).over_um(times)) == pytest.approx(at_um)


def test_a_carriage_that_slips_is_off_from_then_on_and_its_encoder_is_not() -> None:
    plan = planned("slipped-stage", "stage", 'match = "0ma"', "nth = 2", "shift_um = 30.0")
    with Faulty(plan, **BOTH) as bench:
        client = bench.client("stage")
        client.ask(to(3.0))
        off_um = stage(bench).position_um() - 1e3 * stage(bench).encoder_mm()
        assert shown_mm(client.ask(to(4.0))) == pytest.approx(4.0, abs=1e-3)
        assert stage(bench).position_um() - 1e3 * stage(bench).encoder_mm() == pytest.approx(
            off_um + 30.0, abs=1
        )


def test_a_fault_of_an_instrument_that_is_not_there_is_refused() -> None:
    plan = FaultPlan.parse(planned("drop", "stage", "nth = 1"))
    with pytest.raises(ConfigError) as caught:
        SimulatedBench(presets.scene("ola", "ideal"), SteppedClock(), faults=plan)
    assert caught.value.key == "fault[1].instrument"
    assert "has no stage" in str(caught.value)


def test_the_switch_of_a_slow_shutter_tells_closed_until_the_blade_leaves() -> None:
    with Faulty(planned("slow-shutter", "shutter", "nth = 1", 'match = "^ens$"')) as bench:
        client = bench.client("shutter")
        client.ask(b"ens\r")
        assert client.ask(b"closed?\r") == b"closed?\r1\r> "
        bench.clock.sleep(0.9)
        assert client.ask(b"closed?\r") == b"closed?\r1\r> "
        bench.clock.sleep(0.3)
        assert client.ask(b"closed?\r") == b"closed?\r0\r> "
        assert bench.scene.shutter.track.at(bench.clock.now_s()) == 1.0
