"""Single shots: moments, tail exponent, overlap against its floor, lines that go together; a scene."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from benchmarks.accuracy.shots import spectra, stable
from benchmarks.benches import scene
from benchmarks.shots import ShotScene, steady
from labctl.analysis.shots.heavy_tail import heavy_tail
from labctl.analysis.shots.moments import line_correlation, moments
from labctl.analysis.shots.overlap import overlap
from labctl.analysis.shots.stable_law import StableLaw
from labctl.analysis.shots.statistics import shot_statistics
from labctl.analysis.spectra.bands import Bands

Array = NDArray[np.float64]


def test_standard_errors_of_moments_are_those_of_repeats() -> None:
    rng = np.random.default_rng(1)
    found = [moments(rng.gamma(8.0, 100.0, 500) + rng.normal(0, 150.0, 500), 150.0) for _ in range(400)]
    truths = {"mean": 800.0, "own_cv": 1 / np.sqrt(8.0)}
    for name in ("mean", "cv", "own_cv", "skewness"):
        values = np.array([getattr(m, name).value for m in found])
        sigmas = np.array([getattr(m, name).sigma for m in found])
        assert np.median(sigmas) == pytest.approx(np.std(values), rel=0.15)
        if name in truths:
            assert np.mean(values) == pytest.approx(truths[name], rel=0.02)


def test_moments_that_shots_do_not_give_are_absent() -> None:
    rng = np.random.default_rng(2)
    dark = moments(rng.normal(0.0, 50.0, 300), 50.0)
    assert (dark.cv.value, dark.own_cv.value) == (None, None)
    quiet = moments(rng.normal(1000.0, 45.0, 300), 50.0)
    assert quiet.cv.value is not None
    assert quiet.own_cv.value is None
    with pytest.raises(ValueError, match="at least 3"):
        moments([1.0, np.nan, 2.0])


def test_the_law_is_the_normal_one_at_its_end_and_adds_up() -> None:
    x = np.linspace(-6.0, 6.0, 41)
    normal = StableLaw(2.0, 0.0, 1.0, 0.5, 0.7)
    expected = norm.logpdf(x, 0.5, np.sqrt(2.0 + 0.7**2))
    assert [normal.log_likelihood(x[[i]], x[:0]) for i in range(41)] == pytest.approx(expected, abs=0.02)
    law = StableLaw(1.3, 1.0, 2.0, 10.0, 0.4)
    rng = np.random.default_rng(3)
    shots = 10.0 + 2.0 * stable(rng, 1.3, 1.0, 200_000) + rng.normal(0.0, 0.4, 200_000)
    for level in (5.0, 12.0, 40.0, 150.0):
        chance = np.exp(law.log_likelihood(x[:0], np.array([level])))
        assert chance == pytest.approx(np.mean(shots > level), abs=4 * np.sqrt(chance / shots.size))


@pytest.mark.parametrize("alpha", [1.3, 1.7])
def test_a_heavy_tail_is_found_through_noise_and_clipping(alpha: float) -> None:
    rng = np.random.default_rng(int(10 * alpha))
    shots = 3000.0 + 400.0 * stable(rng, alpha, 1.0, 2000) + rng.normal(0.0, 200.0, 2000)
    level = float(np.quantile(shots, 0.97))
    found = heavy_tail(np.minimum(shots, level), noise=200.0, clipped=shots >= level)
    assert found.status == "heavy"
    assert found.ci95 is not None
    assert found.alpha == pytest.approx(alpha, abs=0.12)
    assert 0.5 * (found.ci95[1] - found.ci95[0]) < 0.2
    assert found.clipped == 60
    # Who forgets to say which shots were clipped is told the same.
    assert heavy_tail(np.minimum(shots, level), noise=200.0).alpha == pytest.approx(found.alpha)


def test_light_tails_are_not_called_heavy() -> None:
    rng = np.random.default_rng(5)
    for shots in (rng.normal(1000.0, 100.0, 2000), 1000.0 * np.exp(rng.normal(0.0, 0.5, 2000))):
        assert heavy_tail(shots, noise=20.0).status == "not_heavy"


def test_no_exponent_where_there_is_nothing_to_say() -> None:
    rng = np.random.default_rng(6)
    noise = rng.normal(100.0, 50.0, 500)
    for found, why in (
        (heavy_tail(noise, noise=50.0), "noise explains"),
        (heavy_tail(noise, noise=5.0, below_threshold=True), "below threshold"),
        (heavy_tail(noise[:50], noise=5.0), "50 shots"),
        (heavy_tail(np.minimum(noise, 100.0), noise=5.0), "saturated"),
        (heavy_tail([], noise=5.0), "0 shots"),
    ):
        assert found.status == "not_stated"
        assert found.alpha is None
        assert why in found.reason
    with pytest.raises(ValueError, match="noise"):
        heavy_tail(noise, noise=-1.0)
    with pytest.raises(ValueError, match="shape"):
        heavy_tail(noise, noise=1.0, clipped=[True])


@pytest.mark.parametrize("counts", [10.0, 200.0, 5000.0])
def test_luminescence_overlaps_as_its_surrogates_do(counts: float) -> None:
    found = overlap(
        spectra(np.random.default_rng(7), 300, counts, 0.1), read_noise=10.0, counts_per_electron=0.8
    )
    assert found is not None
    assert not found.above_floor
    assert found.rms == pytest.approx(found.floor_rms, rel=0.02)
    assert np.sum(found.density * np.diff(found.edges)) == pytest.approx(1.0)
    if counts >= 200:
        assert found.raw_rms > 5 * found.floor_rms  # what brightness alone makes of it


def test_lines_that_compete_rise_above_the_floor() -> None:
    rng = np.random.default_rng(8)
    found = overlap(spectra(rng, 300, 200.0, 0.1, lines=60.0), read_noise=10.0, counts_per_electron=0.8)
    assert found is not None
    assert found.above_floor
    assert "structure beyond noise" in found.reason
    assert overlap(np.ones((5, 40))) is None
    with pytest.raises(ValueError, match="shape"):
        overlap(np.ones(40))


def test_lines_that_go_together() -> None:
    rng = np.random.default_rng(9)
    common, own = rng.normal(1.0, 0.2, (1000, 1)), rng.normal(0.0, 0.1, (1000, 3))
    light = 100.0 * np.maximum(common * (1.0 + own), 0.01)
    light[:, 1] = light[:, 0] * rng.normal(1.0, 0.01, 1000)
    found = line_correlation([530.0, 535.0, 540.0], light)
    assert found is not None
    assert found.together[0, 2] > 0.5  # brightness
    assert found.share[0, 1] > 0.8
    assert found.share[0, 2] < 0
    assert found.chance == pytest.approx(0.062, abs=0.001)
    assert line_correlation([530.0], light[:, :1]) is None
    with pytest.raises(ValueError, match="do not fit"):
        line_correlation([1.0], light)


def test_the_shots_of_a_scene() -> None:
    bench = ShotScene(steady(scene("ola", "typical", 4)))
    dark = bench.dark(100).mean(axis=0)
    said = {}
    for fluence in (40.0, 200.0):
        bench.lay(fluence)
        light = bench.linear(bench.take(250).raw, dark)
        said[fluence] = shot_statistics(
            bench.scene.camera.wavelength_nm,
            light,
            fluence,
            bands=Bands(),
            below_threshold=fluence < 79.81,
            resolution_nm=0.15,
        )
    low, high = said[40.0], said[200.0]
    assert low.overlap is not None
    assert high.overlap is not None
    assert (low.tail.status, low.overlap.above_floor, low.q) == ("not_stated", False, None)
    assert high.overlap.above_floor
    assert high.moments.own_cv.value == pytest.approx(0.1, rel=0.2)
    assert high.tail.status == "not_heavy"
    assert high.lines is not None
    assert high.lines.wavelength_nm.size >= 5
    assert high.q is not None
    assert high.q.median.value == pytest.approx(bench.scene.truth.q, rel=0.06)


def test_shots_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        shot_statistics(np.arange(5.0), np.ones((4, 6)), 1.0, bands=Bands())
