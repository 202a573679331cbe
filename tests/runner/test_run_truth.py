"""Over real wires: what a point says against what the scene knows of the very exposures it used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from labctl.config import parse_bench
from labctl.model.clock import SteppedClock
from labctl.model.plan import SweepPlan
from labctl.model.records import SweepPoint
from labctl.session import open_bench, sweep
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.scene import Scene

Exposure = tuple[float, float, NDArray[Any]]
FLUENCES = (30.0, 120.0, 60.0)


def measured(plan: SweepPlan, convention: str) -> tuple[Scene, list[SweepPoint], list[Exposure]]:
    """Sweep, and keep every exposure the camera made: its beginning, its length, its counts."""
    clock, made = SteppedClock(), list[Exposure]()
    with SimulatedBench(presets.scene("ola", "typical", 4), clock) as simulated:
        scene = simulated.scene
        expose = scene.camera.expose

        def recorded(start_s: float, integration_s: float) -> NDArray[np.uint16]:
            counts = expose(start_s, integration_s)
            made.append((start_s, integration_s, counts))
            return counts

        scene.camera.expose = recorded  # type: ignore[method-assign]
        text = simulated.bench_toml(1.0).replace('convention = "peak"', f'convention = "{convention}"')
        with open_bench(parse_bench(text), clock) as bench:
            return scene, list(sweep(bench, plan)), made


@pytest.mark.parametrize(("convention", "part"), [("peak", 1.0), ("average", 0.5)])
def test_exposures_in_use_saw_steady_light_of_the_fluence_stated(convention: str, part: float) -> None:
    fluences = tuple(part * f for f in FLUENCES)
    plan = SweepPlan(spacing="list", fluences_uj_cm2=fluences, average=3, max_integration_s=0.2)
    scene, points, made = measured(plan, convention)
    assert len(points) == 3
    for point in points:
        used = [e for e in made for frame in point.frames if np.array_equal(frame, e[2])]
        assert len(used) == len(point.frames)
        seen = [_light(scene, start, length) for start, length, _ in used]
        assert {pulses for pulses, *_ in seen} == {round(point.pulses_per_exposure)}
        assert all(is_open == 1.0 and turned == 0.0 for _, is_open, turned, _ in seen)
        true = part * float(np.mean([fluence for *_, fluence in seen]))
        assert point.fluence_uj_cm2 == pytest.approx(true, rel=0.006)
    assert len(made) > sum(len(p.frames) for p in points)


def _light(scene: Scene, start_s: float, length_s: float) -> tuple[int, float, float, float]:
    """Pulses in an exposure, least opening of the shutter, turn of the plate, mean peak fluence."""
    pulses = scene.laser.between(start_s, length_s * scene.laser.settings.repetition_rate_hz)
    opening = np.min(scene.shutter.track.over(pulses.times_s))
    turned = np.ptp(np.atleast_1d(scene.mount.plate_over(pulses.times_s)))
    fluence = scene.beam.at_sample(pulses) * scene.beam.peak_uj_cm2_per_j
    return pulses.times_s.size, float(opening), float(turned), float(fluence.mean())
