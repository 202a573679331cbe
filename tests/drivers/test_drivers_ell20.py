"""ELL20: transcripts on the bus in micrometres, and who may answer at its address."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from drivers_stub import NoSleep
from pydantic import ValidationError
from pymeasure.test import expected_protocol

from drivers import registry
from drivers.attenuators.thorlabs_ell14 import ThorlabsELL14
from drivers.others.thorlabs_ell20 import ThorlabsELL20
from labctl.model.clock import SteppedClock
from labctl.model.errors import Aborted, InstrumentFault, NotConnected
from labctl.model.roles import Stage
from simulators import presets
from simulators.bench import SimulatedBench

PULSES_PER_MM = 1024
INFO = "141200006020231701003C00000400"
HELLO = ("0in", f"0IN{INFO}\r\n")


@pytest.fixture
def bench() -> Iterator[SimulatedBench]:
    settings = presets.uncalibrated(presets.scene("ola", "ideal", seed=3), 3)
    with SimulatedBench(settings, SteppedClock()) as running:
        yield running


def hex_of(um: float) -> str:
    return f"{round(um * 1e-3 * PULSES_PER_MM) & 0xFFFFFFFF:08X}"


def test_a_move_is_in_micrometres_rounded_and_read_back() -> None:
    talk = [HELLO, (f"0ma{hex_of(5000.4)}", f"0PO{hex_of(5000.4)}\r\n"), ("0gp", f"0PO{hex_of(5000.4)}\r\n")]
    with expected_protocol(ThorlabsELL20, talk, clock=NoSleep()) as stage:
        assert stage.move_to(5000.4) == pytest.approx(5000.4, abs=0.5e3 / PULSES_PER_MM)


def test_travel_and_scale_are_taken_from_the_module() -> None:
    info = INFO[:18] + f"{28:04X}" + f"{2048:08X}"
    with expected_protocol(ThorlabsELL20, [("0in", f"0IN{info}\r\n"), ("0gp", "0PO00000800\r\n")]) as stage:
        assert stage.range_um == (0.0, 28_000.0)
        assert stage.position_um() == pytest.approx(1000.0)


@pytest.mark.parametrize("position_um", [-1.0, 60_001.0, float("nan")])
def test_a_position_off_the_rail_moves_nothing(position_um: float) -> None:
    with (
        expected_protocol(ThorlabsELL20, [HELLO], clock=NoSleep()) as stage,
        pytest.raises(InstrumentFault, match="um is outside 0 to 60000"),
    ):
        stage.move_to(position_um)


def test_a_blocked_stage_is_a_fault() -> None:
    talk = [HELLO, (f"0ma{hex_of(9000)}", f"0PO{hex_of(4000)}\r\n"), ("0gp", f"0PO{hex_of(4000)}\r\n")]
    with (
        expected_protocol(ThorlabsELL20, talk, clock=NoSleep()) as stage,
        pytest.raises(InstrumentFault, match=r"sent to 9000\.000 um, reached 4000"),
    ):
        stage.move_to(9000.0)


def test_a_rotation_mount_is_no_stage_and_a_stage_no_mount(bench: SimulatedBench) -> None:
    with pytest.raises(NotConnected, match=r"type 0E answered, not an ELL20 \(14\)"):
        ThorlabsELL20(bench.resources["attenuator"])
    with pytest.raises(NotConnected, match=r"type 14 answered, not an ELL14 \(0E\)"):
        ThorlabsELL14(bench.resources["stage"])


def test_a_stage_on_the_simulated_bench(bench: SimulatedBench) -> None:
    stage = ThorlabsELL20(bench.resources["stage"], clock=bench.scene.clock)
    truth = bench.scene.stage
    assert truth is not None
    assert isinstance(stage, Stage)
    assert stage.identity().model == "ELL20"
    assert not stage.is_referenced()
    stage.home()
    assert stage.is_referenced()
    for wanted in (5000.0, 4200.0, 60_000.0):
        assert stage.move_to(wanted) == pytest.approx(wanted, abs=0.5)
        assert truth.position_um() == pytest.approx(wanted, abs=0.5)
        assert not truth.moving()
    stop = threading.Event()
    stop.set()
    with pytest.raises(Aborted):
        stage.move_to(1000.0, stop)
    assert stage.position_um() == pytest.approx(60_000.0, abs=0.5)
    stage.close()
    stage.close()


def test_position_limits_must_be_in_order_and_narrow_the_range(bench: SimulatedBench) -> None:
    spec = registry.find("stage", "thorlabs-ell20")
    table = {"driver": "thorlabs-ell20", "resource": bench.resources["stage"]}
    with pytest.raises(ValidationError, match="min_position_um must be below"):
        spec.config.model_validate({**table, "min_position_um": 9.0, "max_position_um": 3.0})
    config = spec.config.model_validate({**table, "min_position_um": 2000.0, "max_position_um": 8000.0})
    stage = spec.open(config, bench.scene.clock)
    assert stage.range_um == (2000.0, 8000.0)
    with pytest.raises(InstrumentFault):
        stage.move_to(1999.0)
    stage.close()
