"""The light on its way: laser, attenuator, shutter, meter. The formulas expected are written here anew."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scene_bench import Bench, changed, noiseless

from labctl.model.clock import SteppedClock
from simulators import presets
from simulators.scene import Scene
from simulators.scene.chance import Stream, Wander, generator
from simulators.scene.laser import Laser
from simulators.scene.motor import Track
from simulators.scene.settings import LaserSettings

BEHIND = {"order": ("attenuator", "pick-off", "shutter", "sample"), "pickoff_ratio": 24.0}
"""A pick-off behind the attenuator, whatever the head."""


def test_a_whole_number_of_periods_holds_exactly_that_many_pulses() -> None:
    laser = Laser(LaserSettings(), seed=3)
    starts = np.random.default_rng(1).uniform(0, 1000, 500)
    assert {laser.between(start, 100).times_s.size for start in starts} == {100}
    assert {laser.between(k * 0.1, 0.1 * 1000).times_s.size for k in range(500)} == {100}


@pytest.mark.parametrize(("periods", "upper"), [(6.5, 0.5), (100.25, 0.25), (0.3, 0.3)])
def test_a_broken_number_of_periods_holds_floor_or_ceiling(periods: float, upper: float) -> None:
    laser = Laser(LaserSettings(), seed=3)
    starts = np.random.default_rng(2).uniform(0, 40, 4000)
    counts = np.array([laser.between(start, periods).times_s.size for start in starts])
    assert set(counts.tolist()) == {math.floor(periods), math.ceil(periods)}
    assert np.mean(counts == math.ceil(periods)) == pytest.approx(upper, abs=4 * 0.5 / math.sqrt(4000))


def test_pulses_lie_inside_the_interval_and_do_not_depend_on_how_they_are_asked_for() -> None:
    laser = Laser(presets.scene("ola", "nasty").laser, seed=5)
    late = laser.between(900.0, 2000)
    assert late.times_s[0] >= 900.0
    assert late.times_s[-1] < 902.0
    fresh = Laser(presets.scene("ola", "nasty").laser, seed=5)
    pieces = np.concatenate([fresh.slice(late.first + i, 100).energy for i in range(1900, -1, -100)][::-1])
    np.testing.assert_array_equal(pieces, late.energy)


def test_pulse_noise_missing_pulses_and_pointing_have_the_size_asked_for() -> None:
    laser = Laser(LaserSettings(pulse_cv=0.02, missing=0.01, pointing_um=3.0), seed=1)
    pulses = laser.slice(0, 100_000)
    there = pulses.energy > 0
    assert 1 - there.mean() == pytest.approx(0.01, abs=0.0015)
    assert pulses.energy[there].std() == pytest.approx(0.02, rel=0.02)
    assert pulses.energy[there].mean() == pytest.approx(1.0, abs=4 * 0.02 / math.sqrt(100_000))
    assert pulses.x_um.std() == pytest.approx(3.0, rel=0.02)
    assert abs(np.corrcoef(pulses.x_um, pulses.y_um)[0, 1]) < 0.02


def test_dropouts_come_as_often_as_said_and_take_most_of_the_light() -> None:
    laser = Laser(LaserSettings(dropouts_per_hour=36.0, dropout_s=0.5), seed=2)
    energy = np.concatenate([laser.slice(k * 100_000, 100_000).energy for k in range(10)])
    weak = energy < 0.7
    begins = np.count_nonzero(np.diff(weak.astype(int)) == 1)
    assert 4 <= begins <= 17  # 10 windows, one in each on average
    assert weak.mean() == pytest.approx(0.005, rel=0.8)


def test_the_drift_begins_with_its_slope_and_the_wander_is_correlated() -> None:
    drift = Laser(LaserSettings(drift_per_hour=0.01), seed=1)
    assert abs(drift.level(1800.0) - drift.level(0.0)) == pytest.approx(0.005, rel=0.05)
    values = np.array(
        [
            Wander(0.003, 120.0, generator(seed, Stream.LASER_SLOW)).all_at(at)
            for seed in range(400)
            for at in (500, 520)
        ]
    ).reshape(400, 2)
    assert values.std() == pytest.approx(0.003, rel=0.1)
    assert np.corrcoef(values.T)[0, 1] == pytest.approx(math.exp(-20 / 120), abs=0.08)


def test_the_meter_sees_malus_law_with_zero_and_leakage() -> None:
    bench = Bench(noiseless())
    for angle in (12.0, 20.0, 34.5, 50.0, 57.0, 102.0, -33.0):
        bench.until(bench.scene.mount.move_to(angle))
        bench.clock.sleep(0.3)
        expected = 0.002 + 0.998 * math.cos(math.radians(2 * (angle - 12.0))) ** 2
        assert bench.power() == pytest.approx(expected * 200e-9 * 1000 / 24, rel=2e-3)


def test_where_the_pick_off_sits_decides_what_the_meter_sees() -> None:
    behind_shutter = changed(noiseless(), optics={"order": ("attenuator", "shutter", "pick-off", "sample")})
    before_all = changed(noiseless(), optics={"order": ("pick-off", "attenuator", "shutter", "sample")})
    assert Bench(noiseless()).power() > 1e-8
    assert Bench(behind_shutter).power() == 0.0
    assert Bench(before_all).power() == pytest.approx(200e-6 / 24, rel=2e-3)


@pytest.mark.parametrize("kind", ["photodiode", "thermal"])
def test_the_head_follows_a_step_with_its_time_constant(kind: str) -> None:
    settings = changed(
        noiseless(meter=kind),
        optics={"order": ("attenuator", "shutter", "pick-off", "sample"), "pickoff_ratio": 24.0},
    )
    bench = Bench(settings)
    tau = bench.scene.meter.time_constant_s
    bench.scene.shutter.command(True)
    opened = bench.clock.now_s() + 0.014  # middle of the blade's way across the beam
    energy = 0.2 * bench.truth.threshold_uj_cm2 * 1e-6 * math.pi * 0.01**2 / 2
    for delay in (1.0, 2.0, 5.0):
        bench.until(opened + delay * tau)
        shown = bench.scene.meter.power_w(bench.clock.now_s(), 1, 1e-3, 800.0, 0.0, 1e-5)
        expected = energy * 1000 / 24 * (1 - math.exp(-delay))
        assert shown == pytest.approx(expected, rel=0.1 if kind == "photodiode" else 0.01)


def test_a_settled_thermal_head_is_exact_though_it_remembers_many_seconds() -> None:
    bench = Bench(changed(noiseless(meter="thermal"), optics=BEHIND))
    bench.clock.sleep(30.0)
    energy = 0.2 * bench.truth.threshold_uj_cm2 * 1e-6 * math.pi * 0.01**2 / 2
    assert bench.power() == pytest.approx(energy * 1000 / 24, rel=1e-3)


def test_the_reading_depends_on_the_wavelength_the_head_is_told() -> None:
    bench = Bench(noiseless())
    # A photodiode answers less per watt in the green: told 532 nm, it takes the same current for more power.
    assert bench.power(wavelength_nm=532.0) / bench.power() > 1.5
    thermal = Bench(changed(noiseless(meter="thermal"), optics=BEHIND))
    thermal.clock.sleep(30.0)
    assert thermal.power(wavelength_nm=532.0) / thermal.power() == pytest.approx(1.0, abs=0.01)


def test_a_tenth_of_a_microwatt_reads_within_half_a_per_cent_after_100_samples() -> None:
    scene = presets.scene("ola")
    quiet = changed(
        scene, laser={"max_pulse_energy_j": 1e-30}, meter={"room_light_w": 0.0, "zero_offset_w": 0.0}
    )
    bench = Bench.__new__(Bench)
    bench.clock = SteppedClock(10.0)
    bench.scene = Scene(quiet, bench.clock)
    noise = np.std([bench.power() for _ in range(400)])
    assert noise < 0.5e-2 * 0.1e-6
    assert noise == pytest.approx(math.hypot(2e-9, 2e-5 * 1e-5) / 10, rel=0.15)


def test_meter_offset_room_light_and_scale_error_add_up() -> None:
    settings = changed(noiseless(), meter={"zero_offset_w": 3e-9, "room_light_w": 2e-9, "scale_error": 0.1})
    bench, clean = Bench(settings), Bench(noiseless())
    assert bench.power() == pytest.approx(1.1 * (clean.power() + 2e-9) + 3e-9, rel=1e-9)


def test_a_pyro_head_shows_single_pulses_and_counts_them() -> None:
    bench = Bench(changed(presets.scene("oam", "ideal", meter="pyro"), laser={"missing": 0.2}, optics=BEHIND))
    bench.clock.sleep(1.0)
    now = bench.clock.now_s()
    energy = 0.2 * 257.34e-6 * math.pi * 0.01**2 / 2 / 24
    shown = [bench.scene.meter.pulse_energy_j(now - 0.001 * k, 800.0) for k in range(1000)]
    assert max(shown) == pytest.approx(energy, rel=1e-9)
    there = np.flatnonzero(shown)
    assert bench.scene.meter.repetition_hz(now) == pytest.approx((there.size - 1) / (np.ptp(there) * 1e-3))
    assert 740 <= np.count_nonzero(shown) <= 860


@pytest.mark.parametrize("rate_hz", [1000.0, 999.3, 1000.71])
def test_a_head_times_the_pulses_finer_than_it_counts_them(rate_hz: float) -> None:
    bench = Bench(changed(noiseless(), laser={"repetition_rate_hz": rate_hz}))
    bench.clock.sleep(2.0)
    assert bench.scene.meter.repetition_hz(bench.clock.now_s()) == pytest.approx(rate_hz, rel=1e-9)
    bench.scene.hand.do("beam", {"blocked": True})
    bench.clock.sleep(2.0)
    assert bench.scene.meter.repetition_hz(bench.clock.now_s()) == 0.0


def test_the_mount_misses_by_chance_and_play_and_its_encoder_does_not_notice() -> None:
    bench = Bench(changed(noiseless(), mount={"repeatability_deg": 0.04, "backlash_deg": 0.2}))
    mount, misses = bench.scene.mount, []
    for target in [30.0, 50.0] * 300:
        bench.until(mount.move_to(target))
        assert mount.encoder_deg() == target
        misses.append(mount.angle_deg() - target)
    down, up = np.array(misses[2::2]), np.array(misses[1::2])
    assert down.mean() - up.mean() == pytest.approx(0.2, abs=4 * 0.04 * math.sqrt(2 / 300))
    assert up.std() == pytest.approx(0.04, rel=0.15)


def test_motion_takes_time_can_be_stopped_and_counts_from_nowhere_until_homed() -> None:
    clock = SteppedClock()
    mount = Scene(noiseless(), clock).mount
    before = mount.referenced
    clock.sleep(mount.move_to(10.0))
    assert mount.encoder_deg() == pytest.approx(10.0)
    assert mount.angle_deg() == pytest.approx(51.3)
    clock.sleep(mount.home() - clock.now_s())
    assert (before, mount.referenced) == (False, True)
    assert mount.angle_deg() == pytest.approx(0.0)
    arrival = mount.move_to(40.0)
    assert mount.moving()
    clock.sleep(0.5 * (arrival - clock.now_s()))
    assert mount.encoder_deg() == pytest.approx(20.0)
    mount.stop()
    clock.sleep(10.0)
    assert not mount.moving()
    assert mount.angle_deg() == pytest.approx(20.0)


def test_the_blade_needs_its_time_both_ways() -> None:
    clock = SteppedClock(5.0)
    blade = Scene(noiseless(), clock).shutter
    assert blade.closed_switch()
    arrival = blade.command(True)
    assert arrival == pytest.approx(5.02)
    assert blade.is_open()
    assert not blade.closed_switch()
    assert blade.track.at(5.012) == 0.0
    assert blade.track.at(5.014) == pytest.approx(0.5)
    assert blade.track.at(5.016) == 1.0
    clock.sleep(1.0)
    blade.command(False)
    assert not blade.closed_switch()
    clock.sleep(0.021)
    assert blade.closed_switch()


def test_a_track_remembers_what_was_and_forgets_what_nobody_can_ask() -> None:
    track = Track(1.0)
    for k in range(50):
        track.go(10.0 * k, 10.0 * k + 1.0, float(k))
    assert track.at(245.5) == 24.0
    assert track.at(240.5) == pytest.approx(23.5)
    track.forget(300.0)
    assert len(track) < 45
    assert track.at(305.0) == 30.0
    track.go(490.5, 491.5, 0.0)  # interrupts the last motion half way
    assert track.at(490.5) == pytest.approx(48.5)
    assert track.at(600.0) == 0.0


def test_the_pick_off_drifts_slowly_by_what_was_asked() -> None:
    powers = []
    bench = Bench(changed(noiseless(), optics={"pickoff_rel": 0.006, "pickoff_time_s": 60.0}))
    for _ in range(400):
        bench.clock.sleep(100.0)
        powers.append(bench.power())
    assert np.std(powers) / np.mean(powers) == pytest.approx(0.006, rel=0.15)


def test_a_mount_that_is_there_stays_there() -> None:
    bench = Bench(changed(noiseless(), mount={"repeatability_deg": 0.04}))
    bench.until(bench.scene.mount.move_to(33.0))
    before = bench.scene.mount.angle_deg()
    bench.until(bench.scene.mount.move_to(33.0))
    assert bench.scene.mount.angle_deg() == before
