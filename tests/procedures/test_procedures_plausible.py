"""A spectrometer that integrates another time than it confirms, or repeats itself but for a few bits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from lying_scene import bench, pump_of

from benchmarks.scene_roles import BANDS, SceneSpectrometer
from labctl.model.clock import ScaledClock, SteppedClock, Stop
from labctl.model.errors import InstrumentError
from labctl.model.plan import SweepPlan
from labctl.model.records import FloatArray, Spectrum
from labctl.model.roles import Roles
from procedures.fluence_sweep import sweep
from procedures.gate.pump import Pump
from procedures.point.stale_frames import Likeness, Pace, Proof, StaleFrameFilter
from simulators.scene import Scene

PLAN = SweepPlan(start_uj_cm2=50.0, stop_uj_cm2=160.0, points=6, average=4, retries=1)


class OtherTime(SceneSpectrometer):
    """From its n-th exposure on it integrates a part of the time it confirms, or a multiple."""

    def __init__(self, scene: Scene, nth: int, part: float) -> None:
        super().__init__("spectrometer", scene)
        self.nth, self.part, self.count = nth, part, 0

    def acquire(self, stop: Stop | None = None) -> Spectrum:
        self.count += 1
        wanted = self.integration_s
        self.integration_s = wanted * (self.part if self.count >= self.nth else 1.0)
        try:
            return replace(super().acquire(stop), integration_s=wanted)
        finally:
            self.integration_s = wanted


class Parrot(SceneSpectrometer):
    """From its n-th exposure on it gives the one before, a few bits changed."""

    def __init__(self, scene: Scene, nth: int, bits: int) -> None:
        super().__init__("spectrometer", scene)
        self.nth, self.bits, self.count = nth, bits, 0
        self.last = np.zeros(0)

    def acquire(self, stop: Stop | None = None) -> Spectrum:
        spectrum = super().acquire(stop)
        self.count += 1
        if self.count >= self.nth:
            counts = self.last.copy()
            counts[(np.arange(self.bits) * 97 + self.count * 7) % counts.size] += 1.0
            spectrum = replace(spectrum, counts=counts)
        self.last = spectrum.counts
        return spectrum


def with_spectrometer(scene: Scene, roles: Roles, device: SceneSpectrometer) -> tuple[Roles, Pump]:
    roles = replace(roles, spectrometer=device)
    return roles, pump_of(scene, roles)


@pytest.mark.parametrize("part", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("nth", [40, 61])
def test_a_device_that_integrates_another_time_makes_no_wrong_point(part: float, nth: int) -> None:
    scene, roles, pump = bench("typical", 2)
    honest = [p.signal for p in sweep(PLAN, roles, pump, BANDS)]
    scene, roles, _ = bench("typical", 2)
    device = OtherTime(scene, nth, part)
    roles, pump = with_spectrometer(scene, roles, device)
    found: list[float] = []
    with pytest.raises(InstrumentError):
        found.extend(p.signal for p in sweep(PLAN, roles, pump, BANDS))
    assert 0 < len(found) < 6
    assert found == pytest.approx(honest[: len(found)], rel=0.15)
    assert scene.shutter.closed_switch()


@pytest.mark.parametrize("bits", [1, 20])
def test_an_exposure_that_repeats_the_one_before_is_an_old_one(bits: int) -> None:
    scene, roles, _ = bench("typical", 2)
    roles, pump = with_spectrometer(scene, roles, Parrot(scene, 45, bits))
    found: list[float] = []
    with pytest.raises(InstrumentError, match="were repeated"):
        found.extend(p.signal for p in sweep(PLAN, roles, pump, BANDS))
    assert len(found) == len(set(found)) < 6


def frames(level: FloatArray, sigma: float, count: int, seed: int = 1) -> list[FloatArray]:
    rng = np.random.default_rng(seed)
    return [np.clip(np.rint(level + sigma * rng.standard_normal(level.size)), 0, 65535) for _ in range(count)]


@pytest.mark.parametrize("sigma", [0.0, 0.05, 0.1, 0.3, 3.0])
@pytest.mark.parametrize("top", [0.0, 20_000.0, 90_000.0])
def test_quiet_and_saturated_exposures_are_no_repetition(sigma: float, top: float) -> None:
    level = 1500.0 + top * np.exp(-(((np.arange(2048) - 1000.0) / 200.0) ** 2))
    likeness = Likeness(65535.0)
    assert not any(likeness.repeats(f, changed=False) for f in frames(level, sigma, 30))
    dark = frames(np.full(2048, 1500.0), sigma, 30, seed=2)
    assert not any(likeness.repeats(f, changed=n == 0) for n, f in enumerate(dark))


def test_late_and_early_need_more_than_a_busy_moment() -> None:
    clock, pace = SteppedClock(), Pace(ScaledClock(1.0))
    rng = np.random.default_rng(3)

    def spectrum(seconds: float, late_s: float) -> Spectrum:
        clock.sleep(seconds)
        now = clock.now_s()
        return Spectrum(np.zeros(1), seconds, now - seconds, now + late_s)

    for _ in range(200):
        pace.interrupted()
        told = [pace.wrong(spectrum(0.1, float(rng.exponential(0.01)))) for _ in range(5)]
        pace.interrupted()
        told += [pace.wrong(spectrum(0.01, float(rng.exponential(0.01)))) for _ in range(2)]
        assert not any(told)


@pytest.mark.parametrize("part", [0.5, 2.0, 3.0])
def test_a_device_that_lies_from_its_first_setting_on_makes_no_point(part: float) -> None:
    scene, roles, _ = bench("typical", 2)
    device = OtherTime(scene, 1, part)
    roles, pump = with_spectrometer(scene, roles, device)
    found: list[float] = []
    with pytest.raises(InstrumentError, match=r"integrates (less|more) time than"):
        found.extend(p.signal for p in sweep(PLAN, roles, pump, BANDS))
    assert not found
    assert pump.dose_uj_cm2 == 0.0, "it was told in the dark"


class Answers:
    """A device on a busy computer: each answer is late by chance, at times by much."""

    def __init__(self, part: float, seed: int) -> None:
        self.part, self.seconds = part, 0.0
        self.rng = np.random.default_rng(seed)

    def set_time(self, seconds: float) -> float:
        self.seconds = seconds
        return seconds

    def arrivals(self, count: int) -> list[float]:
        now_s, at_s, lasts_s = self.rng.random(), [], self.seconds * self.part
        for late_s in self.rng.exponential(0.03, count + 1):
            now_s = (math.floor(now_s / lasts_s) + 1) * lasts_s + late_s
            now_s += 0.4 if self.rng.random() < 0.1 else 0.0
            at_s.append(now_s)
        return [float(each) for each in np.diff(at_s)]


@pytest.mark.parametrize("part", [0.4, 0.5, 1.0, 2.0])
def test_the_proof_is_right_on_a_busy_computer(part: float) -> None:
    told = sum(bool(_proof(part, seed).wrong()) for seed in range(300))
    assert told == 0 if part == 1.0 else told >= 285


def _proof(part: float, seed: int) -> Proof:
    device = Answers(part, seed)
    return Proof(device.set_time, device.arrivals, 1.0, (1e-5, 10.0))


@pytest.mark.parametrize("part", [0.5, 2.0])
@pytest.mark.parametrize("speed", [1.0, 20.0])
def test_what_comes_early_or_late_within_the_slack_leaves_a_doubt(part: float, speed: float) -> None:
    pace, now_s = Pace(ScaledClock(speed)), 0.0
    told = []
    for _ in range(6):
        now_s += 0.4 * part
        told.append(pace.wrong(Spectrum(np.zeros(1), 0.4, now_s - 0.4, now_s)))
    assert any(told) or pace.judge()
    pace = Pace(ScaledClock(speed))
    for n in range(6):
        now_s += 0.4 + (0.01 * speed if n == 3 else 0.0)
        assert not pace.wrong(Spectrum(np.zeros(1), 0.4, now_s - 0.4, now_s))
    assert not pace.judge()


class Hasty(SceneSpectrometer):
    """Its answers come late all at once, and then in quick succession, as on a busy computer."""

    def __init__(self, scene: Scene) -> None:
        super().__init__("spectrometer", scene)
        self.late_s: Iterator[float] = iter(())

    def acquire(self, stop: Stop | None = None) -> Spectrum:
        spectrum = super().acquire(stop)
        return replace(spectrum, stop_s=spectrum.stop_s + next(self.late_s, 0.0))


def five_of(fresh: StaleFrameFilter) -> None:
    for _ in range(5):
        fresh.acquire()


@pytest.mark.parametrize("proved", [False, True])
def test_times_that_a_busy_computer_makes_end_nothing_where_they_can_be_proved(proved: bool) -> None:
    scene, roles, _ = bench()
    device = Hasty(scene)
    fresh = StaleFrameFilter(device, roles.clock, lambda: 0.0)
    if proved:
        fresh.prove()
    fresh.set_integration(0.2)
    fresh.acquire()
    device.late_s = iter([0.7, 0.56, 0.42, 0.28, 0.14])
    if not proved:
        with pytest.raises(InstrumentError, match="less time than it confirms"):
            five_of(fresh)
        return
    five_of(fresh)
    assert fresh.doubtful
    fresh.prove()
    assert not fresh.doubtful
