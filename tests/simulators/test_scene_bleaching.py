"""How the film fades, and that the truth about it is what the camera sees."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scene_bench import Bench, changed, noiseless

from simulators import presets
from simulators.scene.sample import Bleaching
from simulators.scene.settings import BleachLaw, SampleSettings

LAWS: tuple[BleachLaw, ...] = ("single", "double", "stretched")


def expected(law: str, x: float) -> float:
    return {
        "single": math.exp(-x),
        "double": 0.4 * math.exp(-8 * x) + 0.6 * math.exp(-x),
        "stretched": math.exp(-(x**0.6)),
    }[law]


@pytest.mark.parametrize("law", LAWS)
def test_the_laws_are_those_of_the_books_whatever_the_steps(law: BleachLaw) -> None:
    settings = SampleSettings(bleach_law=law)
    for steps in (1, 7):
        film = Bleaching(settings)
        for _ in range(steps):
            film.give(10.0 / steps, 0.05)
            film.give(100.0, 0.0)
        assert film.alive == pytest.approx(expected(law, 0.5), rel=1e-12)


def test_only_the_default_law_recovers() -> None:
    film = Bleaching(SampleSettings())
    film.give(1.0, 1.0)
    low = film.alive
    film.give(1e4, 0.0)
    assert film.alive == pytest.approx(math.exp(-0.6), rel=1e-6)
    assert film.alive > low * 1.3


def fading(law: BleachLaw, u: float) -> Bench:
    """Return a bench at u thresholds, bright enough for the rounding to whole counts not to matter."""
    film = {"bleach_law": law, "bleach_pulses": 20_000.0, "luminescence_counts": 600.0 / min(u, 1.0) ** 4}
    bench = Bench(changed(noiseless(), sample=film))
    bench.set_u(u)
    return bench


@pytest.mark.parametrize("u", [0.5, 1.6])
@pytest.mark.parametrize("law", LAWS)
def test_what_the_camera_sees_follows_the_truth(law: BleachLaw, u: float) -> None:
    bench = fading(law, u)
    fluence = u * bench.truth.threshold_uj_cm2
    dark = bench.expose(0.02).sum()
    bench.shutter(True)
    first_s, light = bench.clock.now_s(), []
    while bench.clock.now_s() < first_s + 20.0:
        start_s = bench.clock.now_s()
        light.append((start_s + 0.01, bench.expose(0.02).sum() - dark))
        bench.clock.sleep(0.7)
    times, seen = np.array(light).T
    retained = np.array([bench.scene.retained_at(at, fluence) for at in times])
    # The film is exposed from the moment the blade crosses: the first frames have lost a little already.
    after = np.array([bench.scene.retained_after(at - first_s + 0.006, fluence) for at in times])
    np.testing.assert_allclose(retained, after, rtol=0.01)
    np.testing.assert_allclose(seen / seen[1], retained / retained[1], rtol=0.01, atol=2e-3)
    assert retained[-1] < 0.8
    if u < 1.0:
        # Far below threshold the light is what is left of the emitters.
        assert retained[-1] == pytest.approx(expected(law, u * u * (times[-1] - first_s) / 20.0), rel=0.01)


def test_the_dark_between_exposures_costs_nothing() -> None:
    bench = fading("single", 0.8)
    fluence = 0.8 * bench.truth.threshold_uj_cm2
    lit_s = 0.0
    for _ in range(5):
        bench.shutter(True)
        bench.clock.sleep(1.0)
        bench.shutter(False)
        bench.clock.sleep(600.0)
        lit_s += 1.02
    now_s = bench.clock.now_s()
    assert bench.scene.retained_at(now_s, fluence) == pytest.approx(
        bench.scene.retained_after(lit_s, fluence), rel=0.005
    )
    assert bench.scene.retained_at(now_s - 5 * 601.1, fluence) == pytest.approx(1.0, abs=0.005)


def test_memory_of_an_hours_fading_stays_small() -> None:
    film = Bleaching(SampleSettings(bleach_law="single"))
    for second in range(50_000):
        film.give(1.0, 1e-5)
        film.note(float(second))
    assert len(film._times) <= 20_001
    assert film.alive_at(25_000.0) == pytest.approx(math.exp(-0.25001), rel=1e-4)


def test_a_preset_fades_by_the_law_it_is_told() -> None:
    assert presets.scene("ola", bleaching="strong", bleach_law="double").sample.bleach_law == "double"
    assert presets.scene("ola").sample.bleach_law == "recovering"
