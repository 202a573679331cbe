"""What hands move on the table, and what the instruments then see. The formulas are written here anew."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scene_bench import Bench, changed, noiseless

from simulators import presets
from simulators.scene import SceneSettings
from simulators.scene.hand import LAMPS, HandError
from simulators.scene.settings import StageSettings


def oval(**parts: dict[str, object]) -> SceneSettings:
    return changed(noiseless(), optics={"w_um": 80.0, "w_y_um": 120.0}, **parts)


def settled_w(bench: Bench) -> float:
    bench.clock.sleep(0.3)
    return bench.power(samples=200)


def test_a_head_at_the_sample_sees_what_passes_shutter_and_attenuator_and_no_pickoff() -> None:
    bench = Bench(oval())
    t = bench.truth
    at_pickoff_w = settled_w(bench)
    bench.scene.hand.do("meter", {"place": "sample"})
    bench.scene.hand.do("sample", {"in": False})
    assert settled_w(bench) == pytest.approx(0.0, abs=1e-12)
    bench.shutter(True)
    at_sample_w = settled_w(bench)
    assert at_sample_w / at_pickoff_w == pytest.approx(t.pickoff_ratio, rel=1e-6)
    bench.scene.hand.do("sample", {"in": True})
    assert settled_w(bench) / at_sample_w == pytest.approx(0.86, rel=1e-6)
    bench.scene.hand.do("meter", {"place": ""})
    assert settled_w(bench) == pytest.approx(0.0, abs=1e-12)


def test_the_past_stays_as_it_was_when_the_sensor_moves() -> None:
    bench = Bench(oval())
    before_w = settled_w(bench)
    then_s = bench.clock.now_s()
    bench.clock.sleep(1.0)
    bench.scene.hand.do("beam", {"blocked": True})
    bench.clock.sleep(1.0)
    assert bench.power() == pytest.approx(0.0, abs=1e-12)
    again_w = bench.scene.meter.power_w(then_s, 200, 1e-3, 800.0, 0.0, 1e-5)
    assert again_w == pytest.approx(before_w, rel=1e-9)
    bench.scene.hand.do("beam", {"blocked": False})
    assert settled_w(bench) == pytest.approx(before_w, rel=1e-6)


@pytest.mark.parametrize(("axis", "w_um"), [("x", 80.0), ("y", 120.0)])
def test_a_knife_edge_cuts_an_error_function_of_its_axis(axis: str, w_um: float) -> None:
    bench = Bench(oval(hand={"knife_x_um": 4321.0, "knife_y_um": 4321.0}))
    hand = bench.scene.hand
    hand.do("meter", {"place": "sample"})
    hand.do("sample", {"in": False})
    bench.shutter(True)
    whole_w = settled_w(bench)
    for position in (4221.0, 4281.0, 4321.0, 4401.0, 4521.0):
        assert hand.do("knife", {"axis": axis, "position_um": position}) == position
        part = 0.5 * (1.0 + math.erf(math.sqrt(2.0) * (position - 4321.0) / w_um))
        assert settled_w(bench) / whole_w == pytest.approx(part, abs=1e-9)
    hand.do("knife", {"axis": axis, "position_um": None})
    assert settled_w(bench) == pytest.approx(whole_w, rel=1e-9)


def test_the_pointing_of_the_laser_is_noise_at_the_edge_alone() -> None:
    bench = Bench(changed(noiseless(), laser={"pointing_um": 4.0}))
    hand = bench.scene.hand
    hand.do("meter", {"place": "sample"})
    hand.do("sample", {"in": False})
    bench.shutter(True)
    readings = {}
    for position in (5000.0, 5400.0):
        hand.do("knife", {"axis": "x", "position_um": position})
        bench.clock.sleep(0.5)
        readings[position] = [bench.power(samples=20) for _ in range(60)]
    slope = math.sqrt(2.0 / math.pi) / bench.truth.w_um  # of P/P0 at the centre, per um
    expected = slope * 4.0 / math.sqrt(20)
    edge, open_ = np.array(readings[5000.0]), np.array(readings[5400.0])
    # The head's time constant of 15 ms averages over more than the 20 pulses of a reading.
    assert 0.4 * expected < edge.std() / open_.mean() < expected
    assert open_.std() / open_.mean() < 1e-6


def test_a_stage_carries_the_blade_where_it_goes() -> None:
    bench = Bench(dataclasses.replace(oval(), stage=StageSettings()))
    hand, stage = bench.scene.hand, bench.scene.stage
    assert stage is not None
    hand.do("meter", {"place": "sample"})
    hand.do("sample", {"in": False})
    bench.shutter(True)
    whole_w = settled_w(bench)
    hand.do("knife", {"axis": "y"})
    bench.until(stage.home())
    assert settled_w(bench) == pytest.approx(0.0, abs=1e-12)
    bench.until(stage.move_to(5.06))
    part = 0.5 * (1.0 + math.erf(math.sqrt(2.0) * 60.0 / 120.0))
    assert settled_w(bench) / whole_w == pytest.approx(part, rel=1e-6)


def test_an_oval_spot_spreads_its_energy_over_both_radii() -> None:
    fluence = {}
    for settings in (oval(), changed(noiseless(), optics={"w_um": 100.0})):
        bench = Bench(settings)
        bench.shutter(True)
        start = bench.clock.now_s()
        bench.clock.sleep(0.1)
        pulses = bench.scene.laser.between(start, 100)
        energy = bench.scene.beam.at_sample(pulses).mean()
        radii = bench.truth.w_x_um, bench.truth.w_y_um
        emitted = bench.scene.sample.emit(pulses).pump_uj_cm2 / 100
        assert emitted == pytest.approx(2e6 * energy / (math.pi * radii[0] * radii[1] * 1e-8), rel=1e-9)
        fluence[radii] = emitted / energy
    assert fluence[80.0, 120.0] / fluence[100.0, 100.0] == pytest.approx(100.0**2 / (80.0 * 120.0))


def test_a_pulse_off_the_axis_excites_less_along_the_narrow_one() -> None:
    bench = Bench(oval())
    bench.shutter(True)
    bench.clock.sleep(0.1)
    pulses = bench.scene.laser.between(bench.clock.now_s() - 0.1, 100)
    light = {}
    for x, y in ((0.0, 0.0), (40.0, 0.0), (0.0, 40.0)):
        moved = dataclasses.replace(pulses, x_um=np.full(100, x), y_um=np.full(100, y))
        light[x, y] = bench.scene.sample.emit(moved).luminescence
    # Far below threshold the luminescence goes as the square of the local fluence.
    assert light[40.0, 0.0] / light[0.0, 0.0] == pytest.approx(math.exp(-4 * 40**2 / 80**2), rel=1e-3)
    assert light[0.0, 40.0] / light[0.0, 0.0] == pytest.approx(math.exp(-4 * 40**2 / 120**2), rel=1e-3)


def test_a_filter_is_not_quite_what_is_written_on_it_and_always_the_same() -> None:
    bench = Bench(changed(noiseless(), hand={"filter_rel": 0.02}))
    hand, whole_w = bench.scene.hand, settled_w(bench)
    found: dict[str, float] = {}
    for name in ("ND 1.0", "ND 2.0", "ND 1.0"):
        nominal = 0.1 if name == "ND 1.0" else 0.01
        hand.do("filter", {"name": name, "transmission": nominal})
        part = settled_w(bench) / whole_w
        assert part == pytest.approx(nominal, rel=0.06)
        assert part != pytest.approx(nominal, rel=1e-4)
        assert found.setdefault(name, part) == pytest.approx(part, rel=1e-9)
        assert hand.transmission(name, nominal) == pytest.approx(part, rel=1e-6)
    hand.do("filter", {"name": ""})
    assert settled_w(bench) == pytest.approx(whole_w, rel=1e-9)


def test_without_a_sample_there_is_no_emission_and_no_dose() -> None:
    bench = Bench(changed(noiseless(), sample={"bleach_pulses": 2000.0}))
    bench.scene.hand.do("sample", {"in": False})
    bench.set_u(1.5)
    assert bench.light() == pytest.approx(0.0, abs=20.0)
    bench.shutter(True)
    bench.clock.sleep(2.0)
    bench.shutter(False)
    bench.scene.hand.do("sample", {"in": True})
    assert bench.light(integration_s=0.01) > 1000.0
    assert bench.scene.sample.alive > 0.98
    bench.shutter(True)
    bench.clock.sleep(2.0)
    bench.scene.sample.age(bench.clock.now_s())
    assert bench.scene.sample.alive < 0.5


@pytest.mark.parametrize("spectrometer", ["fine", "coarse"])
@pytest.mark.parametrize("lamp", sorted(LAMPS))
def test_a_lamp_shows_its_lines_whatever_laser_and_shutter_do(lamp: str, spectrometer: str) -> None:
    bench = Bench(noiseless(spectrometer=spectrometer))
    camera = bench.scene.camera
    dark = bench.expose(0.1)
    bench.scene.hand.do("lamp", {"name": lamp})
    lit = bench.expose(0.1) - dark
    top = int(np.argmax(lit))
    assert 25_000 < lit[top] < 45_000
    near = min(LAMPS[lamp], key=lambda line: abs(line[0] - camera.wavelength_nm[top]))
    assert abs(near[0] - camera.wavelength_nm[top]) < bench.truth.resolution_nm
    assert bench.expose(1.0).max() == camera.max_counts
    bench.scene.hand.do("lamp", {"name": ""})
    np.testing.assert_allclose(bench.expose(0.1), dark, atol=1.0)


def test_a_lone_line_is_as_wide_as_slit_and_pixel_and_where_its_wavelength_is() -> None:
    bench = Bench(changed(noiseless(), camera={"resolution_tilt": 0.2}))
    dark = bench.expose(0.1)
    bench.scene.hand.do("lamp", {"name": "hg-ar"})
    counts, axis = bench.expose(0.1) - dark, bench.scene.camera.wavelength_nm
    line = np.abs(axis - 546.075) < 0.6
    centre = float(np.average(axis[line], weights=counts[line]))
    sigma = math.sqrt(float(np.average((axis[line] - centre) ** 2, weights=counts[line])))
    pixel_nm = float(np.diff(axis[line]).mean())
    wanted = bench.scene.camera.resolution_nm(546.075)
    assert wanted == pytest.approx(0.15 * (1 + 0.2 * (2 * (546.075 - axis[0]) / np.ptp(axis) - 1)))
    assert centre == pytest.approx(546.075, abs=0.002)
    assert math.sqrt(sigma**2 - pixel_nm**2 / 12) * 2.3548 == pytest.approx(wanted, rel=0.02)


def test_the_device_may_believe_another_axis_and_have_no_linearity() -> None:
    settings = changed(
        presets.scene("ola", "typical"),
        camera={"stored": (500.05, 0.0304, -1.9e-7, 0.0), "nonlinearity_stored": False},
    )
    bench = Bench(settings)
    assert bench.scene.camera.wavelength_coefficients[0] == 500.05
    assert bench.truth.wavelength_coefficients[0] == 500.0
    assert bench.scene.camera.nonlinearity == ()
    assert bench.truth.nonlinearity[0] == 1.0


@pytest.mark.parametrize(
    ("action", "values"),
    [
        ("dance", {}),
        ("meter", {}),
        ("meter", {"place": "moon"}),
        ("knife", {"axis": "z", "position_um": 1.0}),
        ("knife", {"axis": "x"}),
        ("knife", {"axis": "x", "position_um": float("nan")}),
        ("knife", {"axis": "x", "position_um": True}),
        ("filter", {"name": "x" * 100}),
        ("filter", {"name": "ND", "transmission": 2.0}),
        ("lamp", {"name": "candle"}),
        ("sample", {"in": "yes"}),
        ("beam", {}),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(action: str, values: dict[str, object]) -> None:
    hand = Bench(noiseless()).scene.hand
    before = hand.now
    with pytest.raises(HandError):
        hand.do(action, values)  # type: ignore[arg-type]
    assert hand.now == before
