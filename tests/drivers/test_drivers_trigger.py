"""A spectrometer that the laser triggers: the driver, the scene behind it, and a sweep that counts on it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from patience import PATIENCE_S

from drivers.spectrometers.ocean import IsolatedSpectrometer
from drivers.spectrometers.ocean_child import OceanSpectrometer
from labctl.config import parse_bench
from labctl.model.clock import SteppedClock
from labctl.model.errors import NotConnected
from labctl.model.plan import SweepPlan
from labctl.session import open_bench, sweep
from simulators import presets
from simulators.bench import SimulatedBench


@pytest.fixture
def bench() -> Iterator[SimulatedBench]:
    with SimulatedBench(presets.scene("ola", level="ideal", seed=3), SteppedClock()) as running:
        yield running


def pulses_held(bench: SimulatedBench, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which every exposure adds the number of laser pulses in it."""
    held: list[int] = []
    camera, laser = bench.scene.camera, bench.scene.laser
    expose = camera.expose

    def counted(start_s: float, integration_s: float) -> NDArray[np.uint16]:
        rate_hz = laser.settings.repetition_rate_hz
        held.append(laser.between(start_s, integration_s * rate_hz).times_s.size)
        return expose(start_s, integration_s)

    monkeypatch.setattr(camera, "expose", counted)
    return held


@pytest.mark.parametrize("trigger", ["edge", "level"])
@pytest.mark.parametrize("backend", ["pyseabreeze", "cseabreeze"])
def test_a_triggered_exposure_holds_the_pulses_it_was_made_for(
    bench: SimulatedBench, monkeypatch: pytest.MonkeyPatch, trigger: str, backend: str
) -> None:
    monkeypatch.setattr("drivers.spectrometers.ocean.OPEN_TIMEOUT_S", PATIENCE_S)
    held = pulses_held(bench, monkeypatch)
    spectrometer = IsolatedSpectrometer(
        bench.resources["spectrometer"], clock=bench.scene.clock, trigger=trigger, backend=backend
    )
    try:
        for pulses in (1, 2, 7):
            spectrometer.set_integration((pulses - 0.5) * 1e-3)
            for number in range(6):
                bench.scene.clock.sleep(0.00037 * number)
                spectrometer.acquire()
    finally:
        spectrometer.close()
    assert held == [1] * 6 + [2] * 6 + [7] * 6


def test_without_a_trigger_the_number_of_pulses_varies(
    bench: SimulatedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = pulses_held(bench, monkeypatch)
    spectrometer = OceanSpectrometer(bench.resources["spectrometer"], clock=bench.scene.clock)
    spectrometer.set_integration(2.3e-3)
    for _ in range(20):
        spectrometer.acquire()
    spectrometer.close()
    assert set(held[1:]) == {2, 3}


def test_a_trigger_the_model_does_not_know_is_told_with_those_it_knows(bench: SimulatedBench) -> None:
    with pytest.raises(NotConnected, match="has no trigger 'sync'") as told:
        OceanSpectrometer(bench.resources["spectrometer"], trigger="sync")
    assert "free, edge, level" in told.value.failures[0].hint


PROOF = 14
"""Short and long exposures in the dark that prove, at a sweep's start, how long an exposure lasts."""


def test_a_sweep_takes_the_trigger_from_the_bench_file(
    bench: SimulatedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = bench.bench_toml(1.0).replace("[shutter]", 'trigger = "edge"\n\n[shutter]')
    config = parse_bench(text)
    assert config.triggered
    assert not parse_bench(bench.bench_toml(1.0)).triggered
    held = pulses_held(bench, monkeypatch)
    plan = SweepPlan(start_uj_cm2=60.0, stop_uj_cm2=150.0, points=2, average=3, integration_s=(0.02,))
    with open_bench(config, bench.scene.clock) as opened:
        points = list(sweep(opened, plan))
    assert [point.pulses_per_exposure for point in points] == [20.0, 20.0]
    assert [point.integration_s for point in points] == pytest.approx([0.0195, 0.0195])
    measured = held[PROOF:]
    assert measured.count(20) >= len(measured) - 2  # but for the first ones of the time that was set before
