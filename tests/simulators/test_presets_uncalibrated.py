"""A bench nobody has measured: what is drawn, and that its bench file keeps the truth back."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest

from labctl.model.clock import SteppedClock
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.scene import Scene, SceneSettings, Truth

SEEDS = range(300)


def drawn(seed: int, **choice: object) -> SceneSettings:
    return presets.uncalibrated(presets.scene("ola", **choice), seed)  # type: ignore[arg-type]


def truth(settings: SceneSettings) -> Truth:
    return Scene(settings, SteppedClock()).truth


def test_a_seed_draws_the_same_bench_again_and_another_one_another() -> None:
    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
    assert drawn(7).nominal == presets.scene("ola")


def test_what_is_drawn_lies_in_its_range_and_fills_it() -> None:
    all_of = [drawn(seed) for seed in SEEDS]
    ranges = {
        "zero": ([s.optics.zero_deg for s in all_of], 0.0, 90.0),
        "leak": ([s.optics.t_min for s in all_of], 0.0005, 0.01),
        "x": ([s.optics.radii_um[0] for s in all_of], 60.0, 140.0),
        "y": ([s.optics.radii_um[1] for s in all_of], 60.0, 140.0),
        "rate": ([s.laser.repetition_rate_hz for s in all_of], 999.0, 1001.0),
        "ratio": ([s.optics.pickoff_ratio for s in all_of], 19.2, 30.0),
        "blade": ([s.hand.knife_x_um for s in all_of], 4600.0, 5400.0),
    }
    for values, low, high in ranges.values():
        assert low <= min(values) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(values) <= high
    scale = np.array([s.meter.scale_error for s in all_of])
    assert abs(scale.mean()) < 3 * 0.03 / np.sqrt(len(SEEDS))
    assert scale.std() == pytest.approx(0.03, rel=0.15)


def test_the_device_is_off_by_pixels_at_most_two_and_its_slope_little() -> None:
    pixel = np.arange(2136.0)
    off = []
    for seed in range(60):
        camera = Scene(drawn(seed), SteppedClock()).camera
        stored = np.polynomial.polynomial.polyval(pixel, camera.wavelength_coefficients)
        off.append((camera.wavelength_nm - stored) / np.gradient(stored))
        assert camera.nonlinearity == ()
    table = np.array(off)
    assert 1.5 < np.abs(table).max() < 2.2
    assert 0.5 < np.abs(table[:, -1] - table[:, 0]).max() < 1.2


def test_the_truth_tells_what_was_drawn() -> None:
    settings = drawn(3)
    found = truth(settings)
    assert (found.w_x_um, found.w_y_um) == settings.optics.radii_um
    assert found.w_x_um != found.w_y_um
    assert found.meter_scale == 1.0 + settings.meter.scale_error
    assert found.wavelength_coefficients == settings.camera.coefficients != settings.camera.stored
    assert found.resolutions_nm[4] == pytest.approx(found.resolution_nm, rel=0.02)
    assert len(found.resolutions_nm) == len(found.resolution_at_nm)
    assert found.knife_x_um == settings.hand.knife_x_um


def test_a_nominal_bench_file_holds_no_truth() -> None:
    with SimulatedBench(drawn(5), SteppedClock()) as bench:
        said = tomllib.loads(bench.bench_toml(20.0, nominal=True))
        true = tomllib.loads(bench.bench_toml(20.0))
        assert {role: said[role]["resource"] for role in bench.resources} == dict(bench.resources)
    assert set(bench.resources) >= {"stage", "thermometer"}
    assert said["pump"]["meter_sigma_rel"] == 0.03
    assert said["pump"]["pickoff_ratio"] == 24.0
    assert said["pump"]["spot"] == {"shape": "gaussian", "x_um": 100.0, "y_um": 100.0}
    assert said["pump"]["repetition_rate_hz"] == 1000.0
    assert said["pump"]["attenuator_curve"]["zero_deg"] == 0.0
    assert said["spectrometer"]["resolution_nm"] == 0.15
    assert said["limits"]["max_fluence_uj_cm2"] <= 300.0
    assert true["pump"]["spot"]["shape"] == "ellipse"
    for key in ("pickoff_ratio", "repetition_rate_hz", "max_pulse_energy"):
        assert said["pump"][key] != true["pump"][key]


@pytest.mark.parametrize("kind", ["thermal", "pyro"])
def test_other_heads_keep_their_place_before_the_attenuator(kind: str) -> None:
    settings = drawn(2, meter=kind)
    assert settings.optics.order[0] == "pick-off"
    assert 3.2 <= settings.optics.pickoff_ratio <= 5.0
