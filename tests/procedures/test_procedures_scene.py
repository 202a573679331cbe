"""Whole sweeps over the simulated optical table, without wires: what is measured against what is true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from procedures_fakes import ORDERS

from benchmarks.scene_roles import BANDS, LIMITS, scene_pump, scene_roles
from labctl.model.clock import SteppedClock
from labctl.model.plan import SweepPlan
from labctl.model.pump import Element
from labctl.model.records import SweepPoint
from procedures.fluence_sweep import sweep
from procedures.gate.pump import Pump
from simulators import presets
from simulators.scene import Scene, SceneSettings
from simulators.scene.settings import MeterKind

Order = tuple[Element, Element, Element, Element]


def run(settings: SceneSettings, plan: SweepPlan) -> tuple[Scene, list[SweepPoint]]:
    clock = SteppedClock()
    scene = Scene(settings, clock)
    pump = Pump(scene_roles(scene, clock), scene_pump(settings), LIMITS)
    points = list(sweep(plan, scene_roles(scene, clock), pump, BANDS))
    assert scene.shutter.closed_switch()
    return scene, points


@pytest.mark.parametrize("order", ORDERS)
def test_on_a_perfect_bench_the_fluence_is_the_true_one_in_every_order(order: Order) -> None:
    ideal = presets.scene("ola", "ideal")
    settings = replace(ideal, optics=replace(ideal.optics, order=order))
    scene, points = run(settings, SweepPlan(points=4, average=2, min_pulses=100, max_integration_s=0.2))
    for point in points:
        transmission = float(scene.beam.malus(point.angle_deg))
        energy = transmission * settings.laser.max_pulse_energy_j
        assert point.pulse_energy_j == pytest.approx(energy, rel=1e-3)
        assert point.fluence_uj_cm2 == pytest.approx(energy * scene.beam.peak_uj_cm2_per_j, rel=1e-3)


@pytest.mark.parametrize(("sample", "start", "stop"), [("ola", 40.0, 140.0), ("oam", 130.0, 450.0)])
def test_on_a_typical_bench_the_kink_is_where_it_should_be(sample: str, start: float, stop: float) -> None:
    settings = presets.scene(sample, "typical", seed=5)
    plan = SweepPlan(start_uj_cm2=start, stop_uj_cm2=stop, points=12, average=5, reference_every=0)
    scene, points = run(settings, plan)
    onset = scene.truth.threshold_uj_cm2
    fluence = np.array([p.fluence_uj_cm2 for p in points])
    signal = np.array([p.signal for p in points])
    below = fluence < 0.98 * onset
    exponent, level = np.polyfit(np.log(fluence[below]), np.log(signal[below]), 1)
    assert exponent == pytest.approx(2.0, abs=0.1)
    excess = signal / np.exp(level + exponent * np.log(fluence))
    assert excess[fluence > 1.1 * onset].min() > 1.5
    assert excess[below].max() < 1.05
    for point in points:
        assert 1e-4 < point.fluence_sigma_rel < 0.01
        assert point.saturation < 0.9
        assert point.fluence_uj_cm2 == pytest.approx(point.fluence_set_uj_cm2, rel=0.06)
    bright = [p for p in points if p.fluence_uj_cm2 > 1.2 * onset]
    assert all(p.fwhm_nm is not None and p.fwhm_nm < 1.0 for p in bright)
    assert all(p.peak_count > 0 for p in bright)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_nasty_bench_is_survived(seed: int) -> None:
    settings = presets.scene("ola", "nasty", seed=seed)
    _scene, points = run(settings, SweepPlan(points=8, average=4, stop_uj_cm2=160.0, reference_every=0))
    assert len(points) == 8
    assert all(np.isfinite(p.signal) for p in points)


def test_a_slow_thermal_head_is_waited_for() -> None:
    optics = presets.scene("ola", "ideal").optics  # behind the attenuator: every move is a step of power
    settings = replace(presets.scene("ola", "ideal", meter="thermal"), optics=optics)
    scene, points = run(settings, SweepPlan(points=3, average=2, max_integration_s=0.1))
    for point in points:
        energy = float(scene.beam.malus(point.angle_deg)) * settings.laser.max_pulse_energy_j
        assert point.pulse_energy_j == pytest.approx(energy, rel=2e-3)
    assert points[-1].elapsed_s > 3 * 7 * 1.1


@pytest.mark.parametrize("kind", ["thermal", "pyro"])
def test_heads_that_need_light_get_it_in_front_of_the_attenuator(kind: MeterKind) -> None:
    settings = presets.scene("ola", "typical", meter=kind)
    scene, points = run(settings, SweepPlan(points=3, average=2, max_integration_s=0.1))
    for point in points:
        energy = float(scene.beam.malus(point.angle_deg)) * settings.laser.max_pulse_energy_j
        assert abs(point.pulse_energy_j / energy - 1) < 4 * max(point.fluence_sigma_rel, 0.01)
        assert "low_power" not in point.flags
