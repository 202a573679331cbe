"""The spectrometer, and the scene as a whole: determinism, presets, memory, speed."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scene_bench import Bench, changed, noiseless

from labctl.model.clock import SteppedClock
from simulators import presets
from simulators.scene import Scene
from simulators.scene.camera import Profile
from simulators.scene.chance import Chance, Steps, Stream, generator
from simulators.scene.settings import Level


def test_an_exposure_is_not_locked_to_the_laser() -> None:
    bench = Bench(noiseless(law="none"))
    bench.set_u(2.0)
    bench.shutter(True)
    whole = bench.exposures(50, 0.1).sum(axis=1)
    assert np.ptp(whole) / (whole.mean() - 1500 * 2136) < 5e-3  # rounding to counts alone
    per_pulse = (whole.mean() - bench.scene.camera._offset.sum()) / 100
    broken = (bench.exposures(200, 0.0065).sum(axis=1) - bench.scene.camera._offset.sum()) / per_pulse
    assert set(np.rint(broken).astype(int).tolist()) == {6, 7}
    assert np.mean(np.rint(broken) == 7) == pytest.approx(0.5, abs=0.15)


def test_a_frame_that_straddles_a_shutter_edge_belongs_to_neither_side() -> None:
    bench = Bench(noiseless())
    bench.set_u(1.5)
    full = bench.light(2)
    bench.shutter(True)
    start = bench.clock.now_s()
    bench.clock.sleep(0.03)
    bench.scene.shutter.command(False)
    bench.clock.sleep(0.08)
    light = bench.scene.camera.expose(start, 0.1).astype(float).sum() - bench.expose().sum()
    assert light / full == pytest.approx(0.43, abs=0.03)  # 30 ms, 12 ms of delay, then the edge


def test_a_frame_during_a_move_mixes_fluences() -> None:
    bench = Bench(noiseless(law="none"))
    bench.set_u(1.0)
    low = bench.light(2)
    bench.set_u(2.0)
    high = bench.light(2)
    bench.shutter(True)
    start = bench.clock.now_s()
    bench.clock.sleep(0.02)
    bench.until(bench.scene.mount.move_to(bench.angle_for(bench.truth.threshold_uj_cm2)))
    bench.clock.sleep(0.1)
    mixed = bench.scene.camera.expose(start, 0.1).astype(float).sum()
    bench.shutter(False)
    mixed -= bench.expose().sum()
    assert 1.05 * low < mixed < 0.95 * high


def test_the_answers_do_not_depend_on_the_order_of_the_questions() -> None:
    def ask(order: str) -> dict[str, object]:
        bench = Bench(presets.scene("ola", "nasty", seed=11))
        bench.set_u(1.4)
        bench.shutter(True)
        bench.clock.sleep(20.0)
        scene = bench.scene
        answers: dict[str, object] = {}
        questions: dict[str, Callable[[], object]] = {
            "a": lambda: scene.camera.expose(10.0, 0.5).tolist(),
            "b": lambda: scene.camera.expose(12.0, 0.1).tolist(),
            "c": lambda: scene.meter.power_w(11.5, 100, 1e-3, 800.0, 0.0, 1e-5),
            "d": lambda: scene.camera.temperature_c(15.0),
            "e": lambda: scene.meter.power_w(9.0, 100, 1e-3, 800.0, 0.0, 1e-5),
        }
        for name in order:
            answers[name] = questions[name]()
        return answers

    assert ask("abcde") == ask("edcba") == ask("cabeabd")


def test_another_seed_is_another_bench() -> None:
    one, two = (Bench(presets.scene("ola", seed=seed)) for seed in (1, 2))
    assert one.truth.mode_wavelengths_nm != two.truth.mode_wavelengths_nm
    assert one.truth.threshold_uj_cm2 == two.truth.threshold_uj_cm2
    assert not np.array_equal(one.expose(), two.expose())


def test_counts_are_16_bits_and_clip() -> None:
    bench = Bench(presets.scene("ola"))
    bench.set_u(2.5)
    bench.shutter(True)
    start = bench.clock.now_s()
    bench.clock.sleep(1.0)
    counts = bench.scene.camera.expose(start, 1.0)
    assert counts.dtype == np.uint16
    assert counts.shape == (2136,)
    assert counts.max() == 65535


@pytest.mark.parametrize("sample", ["oam", "ola"])
@pytest.mark.parametrize("spectrometer", ["fine", "coarse"])
def test_the_shortest_exposure_fits_16_bits_at_three_thresholds(sample: str, spectrometer: str) -> None:
    bench = Bench(presets.scene(sample, spectrometer=spectrometer))  # type: ignore[arg-type]
    wavelength = bench.scene.camera.wavelength_nm
    band = (wavelength > 505) & (wavelength < 560)
    bench.set_u(2.5)
    bench.shutter(True)
    assert 28_000 < np.median(bench.exposures(9)[:, band].max(axis=1)) < 48_000
    bench.set_u(3.0)
    assert bench.exposures(20)[:, band].max() < 65_535


def test_the_luminescence_at_a_quarter_threshold_is_known_to_a_per_cent_in_seconds() -> None:
    bench = Bench(presets.scene("ola"))
    bench.set_u(0.25)
    bench.shutter(True)
    wavelength = bench.scene.camera.wavelength_nm
    band = (wavelength > 505) & (wavelength < 560)
    ready = bench.exposures(30, 2.0)
    ready[:, bench.scene.camera._hot > 0] = 0
    sums = np.median(ready[:, band], axis=0).sum()
    bench.shutter(False)
    dark = np.median(bench.exposures(10, 2.0)[:, band], axis=0).sum()
    spread = 1.4826 * np.median(np.abs(ready[:, band].sum(axis=1) - np.median(ready[:, band].sum(axis=1))))
    assert spread / (sums - dark) < 0.015


def test_dark_first_then_the_polynomial_undoes_the_nonlinearity() -> None:
    settings = changed(noiseless(law="none"), camera={"nonlinearity": 0.08, "throughput": 120.0})
    bench = Bench(settings)
    c = np.array(bench.scene.camera.nonlinearity)
    light = {}
    for u in (0.5, 2.0):
        bench.set_u(u)
        bench.shutter(False)
        dark = bench.expose()
        bench.shutter(True)
        above = bench.expose() - dark
        light[u] = (above, above / np.polynomial.polynomial.polyval(above, c))
    top = int(np.argmax(light[2.0][0]))
    assert light[2.0][0][top] > 20_000
    raw, linear = (light[2.0][k][top] / light[0.5][k][top] for k in (0, 1))
    assert raw < 15.9
    assert linear == pytest.approx(16.0, rel=1e-3)


def test_noise_is_read_noise_and_shot_noise() -> None:
    bench = Bench(changed(noiseless(), camera={"read_counts": 10.0, "electrons_per_count": 1.3}))
    bench.shutter(False)
    assert bench.exposures(60).std(axis=0).mean() == pytest.approx(10.0, rel=0.03)
    bench = Bench(changed(noiseless(law="none"), camera={"electrons_per_count": 1.3, "throughput": 20.0}))
    bench.set_u(2.0)
    bench.shutter(True)
    frames = bench.exposures(60)
    mean = frames.mean(axis=0) - bench.scene.camera._offset
    bright = mean > 5000
    assert np.mean(frames.var(axis=0, ddof=1)[bright] / mean[bright]) == pytest.approx(1 / 1.3, rel=0.03)


def test_the_dark_grows_with_time_and_temperature_and_hot_pixels_stand_out() -> None:
    camera = {"dark_counts_s": 50.0, "offset_counts_per_c": 2.0, "hot_pixels": 5, "read_counts": 0.0}
    cold = Bench(changed(noiseless(), camera=camera))
    warm = Bench(changed(noiseless(), camera={**camera, "temperature_c": 32.0}))
    short, long, hotter = cold.expose(1.0), cold.expose(5.0), warm.expose(5.0)
    assert np.median(long - short) == pytest.approx(200.0, rel=0.03)
    assert np.median(hotter - long) == pytest.approx(250.0 + 14.0, rel=0.03)
    assert np.count_nonzero(long - np.median(long) > 300) == 5


def test_pump_and_harmonic_enter_the_coarse_range_linearly_and_squared() -> None:
    camera = {"pump_counts": 700.0, "harmonic_counts": 40.0, "throughput": 1.0}
    bench = Bench(changed(noiseless(spectrometer="coarse"), camera=camera))
    wavelength = bench.scene.camera.wavelength_nm
    areas = []
    for u in (0.4, 0.8):
        bench.set_u(u)
        bench.shutter(False)
        dark = bench.exposures(4).mean(axis=0)
        bench.shutter(True)
        light = bench.exposures(4).mean(axis=0) - dark
        areas.append([light[np.abs(wavelength - place) < 45].sum() for place in (800, 400)])
    pump, harmonic = np.array(areas[1]) / areas[0]
    assert pump == pytest.approx(2.0, rel=0.01)
    assert harmonic == pytest.approx(4.0, rel=0.05)
    assert areas[1][0] == pytest.approx(700.0 * 100 * 0.8 * 0.7981, rel=0.02)


def test_room_light_steps_and_spikes_come() -> None:
    steps = Steps(0.3, 90.0, seed=1)
    levels = np.array([steps.mean(t, t + 0.1) for t in np.arange(0, 90 * 400, 30.0)])
    assert levels.mean() == pytest.approx(1.0, abs=0.06)
    assert levels.std() == pytest.approx(0.3, rel=0.15)
    assert 0.25 < np.mean(np.diff(levels) != 0) < 0.42
    assert steps.mean(0.0, 9000.0) == pytest.approx(
        np.mean([steps.mean(t, t + 1) for t in range(9000)]), abs=1e-6
    )
    bench = Bench(changed(noiseless(), camera={"spikes_per_s": 0.5}))
    struck = bench.exposures(200, 1.0) > 1500.0 + 200.0
    assert struck.any(axis=1).sum() == pytest.approx(200 * (1 - math.exp(-0.5)), abs=4 * 7)


@pytest.mark.parametrize("slit", ["gaussian", "skewed"])
def test_a_line_keeps_its_area_and_a_narrow_one_shows_the_slit(slit: str) -> None:
    profile = Profile(0.001, "gaussian", 0.15, slit, 0.001)  # type: ignore[arg-type]
    x = np.linspace(-2, 2, 40_001)
    y = profile.at(x)
    assert y.sum() * 1e-4 == pytest.approx(1.0, abs=0.02)
    above = x[y >= 0.5 * y.max()]
    assert above[-1] - above[0] == pytest.approx(0.15, rel=0.04)
    skew = float((x**3 * y).sum() * 1e-4) / float((x**2 * y).sum() * 1e-4) ** 1.5
    assert abs(skew) < 1e-3 if slit == "gaussian" else skew > 0.3


def test_wavelength_axes_are_those_of_the_presets() -> None:
    fine = Scene(presets.scene("ola"), SteppedClock()).camera
    coarse = Scene(presets.scene("ola", spectrometer="coarse"), SteppedClock()).camera
    assert np.diff(fine.wavelength_nm).mean() == pytest.approx(0.03, rel=0.01)
    assert np.diff(coarse.wavelength_nm).mean() == pytest.approx(0.4, rel=0.01)
    assert fine.wavelength_nm[[0, -1]] == pytest.approx([500, 564], abs=1)
    assert coarse.wavelength_nm[[0, -1]] == pytest.approx([200, 1054], abs=1)
    c0, c1, c2, c3 = fine.wavelength_coefficients
    assert fine.wavelength_nm[1000] == pytest.approx(c0 + c1 * 1e3 + c2 * 1e6 + c3 * 1e9)


def test_typical_calibration_constants_are_the_truth_on_average() -> None:
    ratios = []
    for seed in range(12):
        bench = Bench(changed(presets.scene("oam", seed=seed), mount={"repeatability_deg": 0.0}))
        bench.set_u(1.0)
        start = bench.clock.now_s()
        bench.shutter(True)
        bench.clock.sleep(1.0)
        meter = bench.scene.meter.power_w(start + 1.0, 900, 1e-3, 800.0, 0.0, 1e-5)
        pulses = bench.scene.laser.between(start + 0.1, 900)
        ratios.append(bench.scene.beam.at_sample(pulses).mean() * 1000 / meter)
    assert np.mean(ratios) == pytest.approx(24.0, rel=1e-3)
    assert np.std(ratios) / 24 < 2e-3


def test_memory_stays_flat_over_hours() -> None:
    bench = Bench(presets.scene("ola", "nasty", bleaching="mild"))
    scene = bench.scene
    for k in range(600):
        bench.until(scene.mount.move_to(45.0 + k % 7))
        scene.shutter.command(k % 2 == 0)
        bench.clock.sleep(8.0)
        if k % 5 == 0:
            bench.expose()
    assert bench.clock.now_s() > 4800
    assert len(scene.mount.track) < 80
    assert len(scene.shutter.track) < 80
    assert len(scene.laser._blocks) <= 48
    assert len(scene.sample.modes._blocks) <= 24


def test_forgetting_does_not_spare_the_film(monkeypatch: pytest.MonkeyPatch) -> None:
    def alive(memory_s: float) -> float:
        monkeypatch.setattr("simulators.scene.MEMORY_S", memory_s)
        bench = Bench(noiseless(bleaching="strong"))
        bench.shutter(True)
        for k in range(60):
            bench.until(bench.scene.mount.move_to(bench.angle_for(60.0 + k % 5 * 10.0)))
            bench.clock.sleep(10.0)
        bench.scene.sample.age(bench.clock.now_s())
        return bench.scene.sample.alive

    assert alive(20.0) == pytest.approx(alive(1e6), rel=1e-6)
    assert alive(20.0) < 0.5


def test_the_scene_imports_nothing_heavy() -> None:
    heavy = {"scipy", "h5py", "pydantic", "pymeasure", "drivers", "procedures", "labctl.analysis"}
    code = "import sys, simulators.presets, simulators.scene; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "simulators.scene" in loaded
    assert not heavy & loaded


def test_exposures_that_follow_each_other_share_out_the_pulses() -> None:
    laser = Scene(noiseless(), SteppedClock()).laser
    counts = [laser.between(5.0 + k * 0.0065, 6.5).times_s.size for k in range(40)]
    assert sum(counts) == 260
    assert set(counts) == {6, 7}


def test_stray_light_is_a_pedestal_of_pump_and_emission() -> None:
    bench = Bench(changed(noiseless(law="none"), camera={"pedestal_counts": 500.0, "stray_rel": 0.0}))
    bench.set_u(1.0)
    clean = Bench(noiseless(law="none"))
    clean.set_u(1.0)
    assert bench.light(4) - clean.light(4) == pytest.approx(500.0 * 0.7981 * 100, rel=0.02)
    stray = Bench(changed(noiseless(law="none"), camera={"stray_rel": 0.2}))
    stray.set_u(1.0)
    # The detector catches all of the stray light, and of the band only what lies in its range.
    assert stray.light(4) - clean.light(4) == pytest.approx(0.2 * 580.0 * 100, rel=0.02)


def test_room_light_fills_every_exposure_open_or_closed() -> None:
    bench = Bench(changed(noiseless(), camera={"room_counts_s": 20.0}))
    clean = Bench(noiseless())
    extra = bench.expose(5.0) - clean.expose(5.0)
    assert 60.0 < np.median(extra) < 200.0
    lamp = np.abs(bench.scene.camera.wavelength_nm - 546.1) < 0.2
    assert extra[lamp].max() > 2 * np.median(extra)


def test_shielded_pixels_see_neither_the_film_nor_the_room() -> None:
    bench = Bench(presets.scene("ola", "nasty", seed=2))
    bench.set_u(2.0)
    bench.shutter(True)
    bright = bench.exposures(10, 0.1).mean(axis=0)
    camera = bench.scene.camera
    ((first, last),) = camera.dark_pixels
    shielded = bright[first : last + 1] - camera._offset[first : last + 1]
    beside = bright[last + 1 : 2 * last] - camera._offset[last + 1 : 2 * last]
    assert np.median(shielded) < 0.5 * np.median(beside)


@pytest.mark.parametrize("level", ["ideal", "typical", "nasty"])
@pytest.mark.parametrize("chaotic", [False, True])
def test_exposures_of_one_pulse_are_the_same_one_by_one_and_together(level: Level, chaotic: bool) -> None:
    settings = presets.scene("ola", level, 5)
    settings = replace(settings, sample=replace(settings.sample, chaotic=chaotic))
    clock = SteppedClock()
    one, together = Scene(settings, clock), Scene(settings, clock)
    for scene in (one, together):
        scene.shutter.command(True)
        scene.mount.track.go(0.0, 0.0, settings.optics.zero_deg)
    clock.sleep(20.0)
    pulses = np.array([3000, 3001, 3002, 3004, 3005])  # one trigger was ignored
    starts_s = np.floor((pulses + one.laser.phase) * 1e3 - 1) * 1e-6
    frames = together.camera.expose_each(starts_s, 0.9e-3)
    dark = one.camera.expose(1.0, 0.9e-3)
    assert frames.shape == (5, one.camera.pixels)
    assert frames.max() > 2 * np.median(dark)
    for frame, start in zip(frames, starts_s.tolist(), strict=True):
        np.testing.assert_array_equal(frame, one.camera.expose(start, 0.9e-3))


def test_the_generators_of_a_stream_are_the_same_made_one_by_one_and_in_turn() -> None:
    chance = Chance(7, Stream.CAMERA)
    for index in (5, 6, 5, 2**40):
        rng = chance.at(index)
        drawn = [rng.integers(1000), rng.standard_normal(), rng.poisson(3.0), rng.integers(9)]
        again = generator(7, Stream.CAMERA, index)
        assert drawn == [
            again.integers(1000),
            again.standard_normal(),
            again.poisson(3.0),
            again.integers(9),
        ]
