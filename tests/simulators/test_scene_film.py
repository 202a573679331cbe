"""The film: its laws, its modes, and what the pump does to it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scene_bench import Bench, changed, noiseless

from labctl.model.clock import SteppedClock
from labctl.model.records import FloatArray
from simulators import presets
from simulators.scene import Scene
from simulators.scene.sample import LAWS, Sample, left_over, response
from simulators.scene.settings import SampleSettings


def total(sample: SampleSettings, u: FloatArray) -> FloatArray:
    luminescence, lasing = response(sample).at(u)
    return luminescence + lasing


def test_the_impulsive_law_obeys_its_equation_and_its_limits() -> None:
    r = np.array([1.0 + 1e-6, 1.01, 1.5, 4.0, 30.0])
    x = left_over(r)
    np.testing.assert_allclose(np.log(x) - x, np.log(r) - r, atol=1e-9)
    assert r[1] - x[1] == pytest.approx(2 * 0.01, rel=0.01)  # initial slope 2 in r
    assert x[-1] < 1e-10  # everything is extracted far above


def test_photons_and_inversion_integrated_in_time_extract_what_the_law_says() -> None:
    # dq/dt = (n - 1) q, dn/dt = -n q from a tiny seed: the inversion left over depends on the start alone.
    for r in (1.3, 2.5):
        n, q, dt = r, 1e-9, 1e-3
        for _ in range(200_000):
            gain = n * q * dt
            n, q = n - gain, q + gain - q * dt
        assert n == pytest.approx(float(left_over(np.array([r]))[0]), rel=0.01)


@pytest.mark.parametrize("law", ["impulsive", "hinge", "rollover", "quadratic"])
def test_the_excess_begins_at_the_threshold_with_the_contrast_asked_for(law: str) -> None:
    sample = SampleSettings(law=law, contrast=12.0)  # type: ignore[arg-type]
    below = np.linspace(0.01, 1.0, 50)
    np.testing.assert_allclose(total(sample, below), below**2, rtol=1e-5)
    step = 1e-3
    excess = float(total(sample, np.array([1 + step]))[0]) - (1 + step) ** 2
    assert excess / step == pytest.approx(2 * 12.0, rel=5e-3)


def test_no_law_gives_less_light_for_more_pump_and_none_never_lases() -> None:
    u = np.linspace(0.0, 6.0, 3000)
    for law in LAWS:
        light = total(SampleSettings(law=law, saturation=25.0), u)  # type: ignore[arg-type]
        assert np.all(np.diff(light) >= 0), law
    np.testing.assert_allclose(total(SampleSettings(law="none"), u), u * u, rtol=1e-9)


def test_the_s_curve_solves_its_rate_equations() -> None:
    sample = SampleSettings(law="s-curve", beta=1e-2, contrast=12.0)
    for u in (0.5, 1.0, 1.7):
        luminescence, lasing = (float(y[0]) for y in response(sample).at(np.array([u])))
        light = lasing / 13.0
        photons = light / 1e-2
        assert luminescence == pytest.approx(photons / (1 + photons), rel=1e-3)
        # What is pumped leaves spontaneously, N, or by stimulated emission, N x.
        assert u * u == pytest.approx(luminescence * (1 + light), rel=1e-3)


def test_the_whole_spot_rounds_the_kink_as_the_integral_says() -> None:
    sample = SampleSettings(law="quadratic", contrast=12.0, collection="whole")
    u = np.array([0.7, 1.2, 2.0, 3.0])
    excess = np.where(u > 1, 12.0 * (u * u - 1 - 2 * np.log(u)), 0.0)
    np.testing.assert_allclose(total(sample, u), u * u + excess, rtol=2e-3)


def test_saturation_halves_the_excess_where_it_says() -> None:
    plain, bent = SampleSettings(law="hinge"), SampleSettings(law="hinge", saturation=1.0)
    u = np.array([2.0])
    assert (total(bent, u) - 4.0) / (total(plain, u) - 4.0) == pytest.approx(0.5, rel=1e-4)


def test_signals_are_sums_of_the_law_over_pulses() -> None:
    still = Bench(changed(noiseless(law="none"), laser={"missing": 0.0}))
    noisy = Bench(changed(noiseless(law="none"), laser={"pulse_cv": 0.2}))
    for bench in (still, noisy):
        bench.set_u(1.0)
    ratio = noisy.light(60, 0.5) / still.light(2, 0.5)
    # Relative spread of F^2 at 20 % noise is 0.42; 30000 pulses leave 0.24 %.
    assert ratio == pytest.approx(1.04, abs=4 * 0.42 / math.sqrt(30_000))


def test_pulse_noise_rounds_the_kink() -> None:
    bench = Bench(changed(noiseless(law="hinge"), laser={"pulse_cv": 0.1}))
    still = Bench(noiseless(law="hinge"))
    for b in (bench, still):
        b.set_u(1.0)
    per_pulse = still.light(2) / 100  # a F^2 exactly, at the onset
    excess = bench.light(100) / 100 / per_pulse - 1.01
    # The mean of the positive half of a normal distribution: sigma / sqrt(2 pi), times the slope.
    assert excess == pytest.approx(24 * 0.1 / math.sqrt(2 * math.pi), rel=0.05)


def spectrum(bench: Bench, number: int = 10, integration_s: float = 0.1) -> FloatArray:
    bench.shutter(False)
    dark = bench.exposures(4, integration_s).mean(axis=0)
    bench.shutter(True)
    light: FloatArray = bench.exposures(number, integration_s).mean(axis=0) - dark
    return light


def width_nm(wavelength_nm: FloatArray, counts: FloatArray, around_nm: float, reach_nm: float) -> float:
    """Full width at half maximum by interpolation between pixels."""
    near = np.abs(wavelength_nm - around_nm) < reach_nm
    x, y = wavelength_nm[near], counts[near] / counts[near].max()
    top = int(np.argmax(y))
    left = np.interp(0.5, y[: top + 1], x[: top + 1])
    right = -np.interp(0.5, y[top:][::-1], -x[top:][::-1])
    return float(right - left)


@pytest.mark.parametrize(("sample", "q"), [("oam", 990.0), ("ola", 1312.0)])
def test_the_brightest_line_has_the_papers_q(sample: str, q: float) -> None:
    bench = Bench(presets.scene(sample, "typical", seed=4))
    bench.set_u(2.0)
    t = bench.truth
    assert t.mode_wavelengths_nm[0] / t.linewidth_nm == pytest.approx(q)
    counts = spectrum(bench)
    peak = bench.scene.camera.wavelength_nm[int(np.argmax(counts))]
    assert peak == pytest.approx(t.mode_wavelengths_nm[0], abs=0.2)
    seen = width_nm(bench.scene.camera.wavelength_nm, counts, peak, 0.55)
    assert seen == pytest.approx(math.hypot(t.linewidth_nm, 0.15), rel=0.04)


def test_the_spectrum_collapses_from_25_nm_to_a_line() -> None:
    bench = Bench(noiseless("oam"))
    bench.set_u(0.9)
    wavelength = bench.scene.camera.wavelength_nm
    assert width_nm(wavelength, spectrum(bench), 524.0, 40.0) == pytest.approx(25.0, rel=0.02)
    bench.set_u(1.05)
    assert width_nm(wavelength, spectrum(bench), bench.truth.mode_wavelengths_nm[0], 0.9) < 0.7


def test_modes_are_irregular_on_the_long_side_and_belong_to_the_spot() -> None:
    films = [Scene(presets.scene("ola", spot=k), SteppedClock()).truth for k in range(8)]
    for truth in films:
        places = np.sort(truth.mode_wavelengths_nm)
        gaps = np.diff(places)
        assert places[0] > 522
        assert places[-1] < 562
        assert gaps.min() > 1.1
        assert gaps.std() > 0.1
    assert len({truth.mode_wavelengths_nm for truth in films}) == 8
    again = Scene(presets.scene("ola", spot=3), SteppedClock()).truth
    assert again == films[3]


def test_spots_scatter_in_threshold_and_spot_0_is_the_paper() -> None:
    scene = Scene(presets.scene("oam"), SteppedClock())
    spots = [dataclasses.replace(scene.settings.sample, spot=k) for k in range(120)]
    values = [Sample(spot, 1, scene.beam).threshold_uj_cm2 for spot in spots]
    assert Scene(presets.scene("oam", spot=7), SteppedClock()).truth.threshold_uj_cm2 == values[7]
    assert values[0] == 257.34
    assert np.std(np.log(values[1:])) == pytest.approx(0.08, rel=0.25)
    assert np.mean(np.log(values[1:])) == pytest.approx(math.log(257.34), abs=0.03)


def test_weights_change_from_shot_to_shot_and_places_do_not() -> None:
    bench = Bench(noiseless())
    bench.set_u(1.6)
    bench.shutter(True)
    shots = bench.exposures(60, 0.001) - 1500.0
    wavelength = bench.scene.camera.wavelength_nm
    areas = np.array(
        [shots[:, np.abs(wavelength - place) < 0.5].sum(axis=1) for place in bench.truth.mode_wavelengths_nm]
    )
    assert np.all(areas.std(axis=1) / areas.mean(axis=1) > 0.2)
    assert shots.sum(axis=1).std() / shots.sum() * 60 < 0.02  # they compete for the same light
    near = np.abs(wavelength - bench.truth.mode_wavelengths_nm[0]) < 0.5
    centroids = shots[:, near] @ wavelength[near] / shots[:, near].sum(axis=1)
    assert centroids.std() < 0.02


def test_chaotic_modes_are_sharp_in_one_shot_and_smeared_in_many() -> None:
    bench = Bench(noiseless(chaotic=True))
    bench.set_u(2.0)
    bench.shutter(True)
    wavelength = bench.scene.camera.wavelength_nm
    shots = bench.exposures(100, 0.001) - 1500.0
    tops = wavelength[shots.argmax(axis=1)]
    assert tops.std() > 2.0
    single = np.median([width_nm(wavelength, s, t, 0.6) for s, t in zip(shots[:40], tops[:40], strict=True)])
    assert single == pytest.approx(math.hypot(bench.truth.linewidth_nm, 0.15), rel=0.15)
    many = bench.expose(5.0) - 1500.0
    smooth = np.convolve(many, np.full(9, 1 / 9), "same")
    assert width_nm(wavelength, smooth, 540.0, 20.0) > 4.0
    # Nothing is lost on the way: the same light as with modes that stay.
    fixed = Bench(noiseless())
    fixed.set_u(2.0)
    assert bench.light(3) == pytest.approx(fixed.light(3), rel=0.01)


def test_modes_shift_with_the_fluence() -> None:
    bench = Bench(changed(noiseless(), sample={"shift_nm": 0.2}))
    wavelength, peaks = bench.scene.camera.wavelength_nm, []
    for u in (1.2, 2.2):
        bench.set_u(u)
        counts = spectrum(bench)
        near = np.abs(wavelength - bench.truth.mode_wavelengths_nm[0]) < 0.6
        peaks.append(counts[near] @ wavelength[near] / counts[near].sum())
    assert peaks[1] - peaks[0] == pytest.approx(float(bench.scene.sample.modes.set.slope_nm[0]), rel=0.15)


def bleached(bleaching: str, dose_pulses: float) -> tuple[float, Bench]:
    bench = Bench(noiseless(law="none", bleaching=bleaching))
    bench.set_u(1.0)
    before = bench.light()
    bench.shutter(True)
    bench.clock.sleep(dose_pulses / 1000)
    bench.shutter(False)
    return bench.light() / before, bench


def test_bleaching_goes_with_the_square_of_the_fluence_and_partly_comes_back() -> None:
    assert bleached("off", 1e5)[0] == pytest.approx(1.0, abs=1e-3)
    assert bleached("mild", 1e5)[0] == pytest.approx(math.exp(-1e5 / 3e6), abs=5e-3)
    left, bench = bleached("strong", 1e5)
    # While bleaching for 100 s, some of the part with a memory of 300 s has already come back.
    back = 0.4 * (1 - 3.0 * (1 - math.exp(-1 / 3)))
    assert left == pytest.approx(math.exp(-(1 - back) / 3), abs=0.01)
    bench.clock.sleep(5000.0)
    rested = bench.light()
    fresh = Bench(noiseless(law="none"))
    fresh.set_u(1.0)
    assert rested / fresh.light() == pytest.approx(math.exp(-0.6 / 3), abs=0.01)


def test_bleaching_scales_with_u_squared() -> None:
    alive = []
    for u in (0.5, 1.0):
        bench = Bench(noiseless(bleaching="strong"))
        bench.set_u(u)
        bench.shutter(True)
        bench.clock.sleep(20.0)
        bench.scene.sample.age(bench.clock.now_s())
        alive.append(bench.scene.sample.alive)
    assert math.log(alive[1]) / math.log(alive[0]) == pytest.approx(4.0, rel=0.01)


def test_a_flash_above_the_damage_fluence_leaves_a_mark() -> None:
    film = changed(noiseless(law="none"), sample={"damage_uj_cm2": 600.0}, camera={"throughput": 100.0})
    bench = Bench(film)
    before = bench.light()
    home = bench.scene.mount.encoder_deg()
    for target in (home - 70.0, home):  # across the maximum at 12 degrees, shutter closed: harmless
        bench.until(bench.scene.mount.move_to(target))
    assert bench.light() == pytest.approx(before, rel=1e-3)
    bench.shutter(True)
    for target in (home - 70.0, home):
        bench.until(bench.scene.mount.move_to(target))
    assert bench.light() == pytest.approx(0.6 * before, rel=1e-3)


def light_left(flaw: dict[str, dict[str, float]], collection: str) -> float:
    light = []
    for settings in (
        noiseless(law="none", collection=collection),
        changed(noiseless(law="none", collection=collection), **flaw),
    ):
        bench = Bench(settings)
        bench.set_u(1.0)
        light.append(bench.light(10, 0.5))
    return light[1] / light[0]


def test_a_spot_that_walks_takes_light_from_the_centre_alone() -> None:
    flaw = {"optics": {"wedge_um": 20.0}}
    bench = Bench(noiseless())
    turned = math.radians(bench.angle_for(bench.truth.threshold_uj_cm2) - 12.0)
    chord = 2 * 20.0 * math.sin(turned / 2)
    # Fluence falls as exp(-2 d^2/w^2), the luminescence as its square.
    assert light_left(flaw, "centre") == pytest.approx(math.exp(-4 * chord**2 / 1e4), rel=1e-3)
    assert light_left(flaw, "whole") == pytest.approx(1.0, rel=1e-3)


def test_a_spot_that_shakes_takes_light_from_the_centre_alone() -> None:
    flaw = {"laser": {"pointing_um": 10.0}}
    # The mean of exp(-4 d^2/w^2) over two axes of 10 um rms.
    assert light_left(flaw, "centre") == pytest.approx(1 / (1 + 8 * 100 / 1e4), rel=5e-3)
    assert light_left(flaw, "whole") == pytest.approx(1.0, rel=1e-3)
