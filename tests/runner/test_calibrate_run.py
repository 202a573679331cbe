"""Calibrations run on a simulated bench: what is stored, and that nothing is stored of what was refused."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from calibration_files import calibration, stored

from labctl.config import BenchConfig, load_bench
from labctl.data.calibrations import read_calibration
from labctl.model.clock import SteppedClock, Stop
from labctl.model.errors import Aborted, CalibrationRefused, ConfigError, DataError, NotMadeSafe, SafetyStop
from labctl.model.roles import Request
from labctl.runner.calibrate import CalEvent, run_calibration
from labctl.runner.events import Connected, Message
from labctl.session import open_bench
from procedures.calibration import CalContext, CalStep, Steps
from procedures.calibration.context import PickoffOptions
from simulators.bench import SimulatedBench
from simulators.presets import scene


class Idle:
    """Operator that are never needed."""

    def do(self, request: Request, stop: Stop | None = None) -> float | None:
        raise AssertionError(request.text)


class Procedure:
    """Shows two steps, then returns a calibration, or ends as it is told."""

    def __init__(self, ends: BaseException | None = None) -> None:
        self.ends, self.closed = ends, False
        self.context: CalContext | None = None

    def __call__(self, context: CalContext) -> Steps:
        self.context = context
        try:
            yield CalStep("note", "first")
            yield CalStep("note", "second", progress=0.5)
            if self.ends is not None:
                raise self.ends
            return calibration("pickoff", instruments={"power_meter": context.identities["power_meter"]})
        finally:
            self.closed = True


@pytest.fixture
def simulated() -> Iterator[SimulatedBench]:
    with SimulatedBench(scene("ola", "ideal", 3), SteppedClock()) as bench:
        yield bench


@pytest.fixture
def config(simulated: SimulatedBench, tmp_path: Path) -> BenchConfig:
    """A bench whose calibrations are all for other instruments."""
    file = tmp_path / "bench.toml"
    made = (calibration("pickoff"), calibration("attenuator"), calibration("spectrometer"))
    file.write_text(simulated.bench_toml(1.0) + stored(tmp_path, *made), encoding="utf-8")
    return load_bench(file)


def calibrated(
    simulated: SimulatedBench, config: BenchConfig, procedure: Procedure, output: Path, **more: Any
) -> Any:
    arguments: dict[str, Any] = {
        "operator": Idle(),
        "stop": None,
        "on_event": lambda event: None,
        "clock": simulated.scene.clock,
        "output": output,
        "procedures": {"pickoff": procedure},
    }
    return run_calibration(config, "pickoff", **(arguments | more))


def test_a_calibration_is_measured_shown_and_stored(
    simulated: SimulatedBench, config: BenchConfig, tmp_path: Path
) -> None:
    events: list[CalEvent] = []
    procedure = Procedure()
    made, path = calibrated(simulated, config, procedure, tmp_path / "out", on_event=events.append)
    assert path == tmp_path / "out" / "pickoff-20261123-101500.json"
    assert read_calibration(path) == made
    assert isinstance(events[0], Connected)
    remarks = [e.text for e in events if isinstance(e, Message)]
    assert remarks.pop().startswith("finished: the shutter is closed (its sensor")
    assert len(remarks) == 2  # not on the kind that is being measured
    assert all("but this bench has" in text for text in remarks)
    assert [e.text for e in events if isinstance(e, CalStep)] == ["first", "second"]
    assert procedure.context is not None
    assert procedure.context.options == PickoffOptions()
    assert procedure.context.roles.spectrometer.info.wavelength_nm[0] != 500.2
    assert simulated.scene.shutter.closed_switch()


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        (CalibrationRefused("the scan misses part of the edge"), "misses part of the edge"),
        (RuntimeError("a defect"), "defect"),
    ],
)
def test_nothing_is_stored_of_a_measurement_that_is_refused(
    simulated: SimulatedBench, config: BenchConfig, tmp_path: Path, ends: Exception, said: str
) -> None:
    procedure, events = Procedure(ends), list[CalEvent]()
    with pytest.raises(type(ends), match=said):
        calibrated(simulated, config, procedure, tmp_path / "out", on_event=events.append)
    assert procedure.closed
    assert isinstance(events[-1], Message)
    assert events[-1].text.startswith("finished: the shutter is closed (its sensor")
    assert list((tmp_path / "out").iterdir()) == []
    assert simulated.scene.shutter.closed_switch()


@pytest.mark.parametrize("lent", [False, True])
def test_after_a_lie_nobody_says_that_the_shutter_is_closed(
    simulated: SimulatedBench, config: BenchConfig, tmp_path: Path, lent: bool
) -> None:
    lie, events = "the shutter reports closed, but the meter sees light", list[CalEvent]()

    class Lied(Procedure):
        def __call__(self, context: CalContext) -> Steps:
            context.course.lie = lie
            return super().__call__(context)

    procedure, more = Lied(SafetyStop("the blade")), dict[str, Any]()
    with contextlib.ExitStack() as stack:
        if lent:
            stack.enter_context(pytest.raises(NotMadeSafe))
            more["bench"] = stack.enter_context(
                open_bench(config, simulated.scene.clock, calibrations="ignore")
            )
        with pytest.raises(SafetyStop, match="the blade") as stop:
            calibrated(simulated, config, procedure, tmp_path, on_event=events.append, **more)
    assert any("NOT MADE SAFE" in note and lie in note for note in stop.value.__notes__)
    assert not any("finished:" in event.text for event in events if isinstance(event, Message))


def test_a_stop_between_two_readings_aborts_and_stores_nothing(
    simulated: SimulatedBench, config: BenchConfig, tmp_path: Path
) -> None:
    stop, procedure = threading.Event(), Procedure()
    with pytest.raises(Aborted):
        calibrated(
            simulated,
            config,
            procedure,
            tmp_path / "out",
            stop=stop,
            on_event=lambda event: stop.set() if isinstance(event, CalStep) else None,
        )
    assert procedure.closed
    assert list((tmp_path / "out").iterdir()) == []


def test_what_cannot_be_stored_is_told_before_anybody_measures(
    simulated: SimulatedBench, config: BenchConfig, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    procedure = Procedure()
    with pytest.raises(DataError, match="cannot be written"):
        calibrated(simulated, config, procedure, tmp_path / "file")
    with pytest.raises(ConfigError, match=r"invalid kind .*; choose .*pickoff"):
        run_calibration(
            config,
            "spot",
            operator=Idle(),
            stop=None,
            on_event=lambda event: None,
            output=tmp_path,
            procedures={"pickoff": procedure},
        )
    assert procedure.context is None


def test_an_open_bench_is_used_and_left_open(simulated: SimulatedBench, tmp_path: Path) -> None:
    file = tmp_path / "bench.toml"
    file.write_text(simulated.bench_toml(1.0), encoding="utf-8")
    config = load_bench(file)
    with open_bench(config, simulated.scene.clock) as bench:
        own = bench.roles.spectrometer.info
        first, procedure = Procedure(), Procedure()
        calibrated(simulated, config, first, tmp_path / "out", bench=bench)
        assert first.context is not None
        # It sees what the spectrometer says of itself, without what the bench file states of it.
        assert replace(first.context.roles, spectrometer=bench.roles.spectrometer) == bench.roles
        made = calibration(
            "spectrometer",
            instruments={
                "power_meter": bench.identities["power_meter"],
                "spectrometer": bench.identities["spectrometer"],
            },
        )
    file.write_text(simulated.bench_toml(1.0) + stored(tmp_path, made), encoding="utf-8")
    config = load_bench(file)
    with open_bench(config, simulated.scene.clock) as bench:
        assert bench.roles.spectrometer.info.wavelength_nm[0] == 500.2
        calibrated(simulated, config, procedure, tmp_path / "out", bench=bench)
        assert bench.roles.shutter.is_open() is False
    assert procedure.context is not None
    assert procedure.context.roles.spectrometer.info.wavelength_nm.tolist() == own.wavelength_nm.tolist()
