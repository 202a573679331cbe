"""Finding peaks, following them, and what their spacing says."""

import numpy as np
import pytest
from test_spectra_scene import COARSE_NM, FINE_NM, below, luminescence, make

from labctl.analysis.spectra.peaks import (
    Peak,
    find_peaks,
    random_laser_evidence,
    spacing_statistics,
    track_peaks,
)


@pytest.mark.parametrize("height", [0.0, 30.0, 1000.0, 40000.0])
def test_luminescence_has_no_peaks(height: float) -> None:
    found = [find_peaks(FINE_NM, below(seed, height).mean(axis=0)) for seed in range(25)]
    assert found == [()] * 25


def test_peaks_are_where_the_modes_are() -> None:
    for seed in range(10):
        truth = make(seed, n_modes=8)
        found = find_peaks(truth.wavelength_nm, truth.frames.mean(axis=0), resolution_nm=0.15)
        assert len(found) >= 5
        for peak in found:
            assert np.min(np.abs(truth.centres_nm - peak.wavelength_nm)) < 0.12


def test_a_lone_peak_is_measured() -> None:
    truth = make(0, n_modes=1, shape="gaussian", shot_cv=0.01)
    (peak,) = find_peaks(truth.wavelength_nm, truth.frames.mean(axis=0), resolution_nm=0.15)
    assert peak.wavelength_nm == pytest.approx(float(truth.centres_nm[0]), abs=0.01)
    assert peak.fwhm_nm == pytest.approx(np.hypot(0.41, 0.15), rel=0.06)
    assert peak.prominence_sigma > 50


def test_two_peaks_are_seen_by_the_coarse_instrument() -> None:
    rng = np.random.default_rng(0)
    lines = sum(np.exp(-0.5 * ((COARSE_NM - c) / 0.57) ** 2) for c in (535.0, 541.0))
    light = luminescence(COARSE_NM, 2000.0) + 9000 * np.asarray(lines) + rng.normal(0, 30, COARSE_NM.size)
    assert [round(p.wavelength_nm) for p in find_peaks(COARSE_NM, light, resolution_nm=1.3)] == [535, 541]


def test_a_hot_pixel_is_no_peak() -> None:
    light = below(1, 3000.0).mean(axis=0)
    light[900] += 20000.0
    assert find_peaks(FINE_NM, light) == ()


def test_too_few_or_broken_pixels_have_no_peaks() -> None:
    assert find_peaks(FINE_NM[:10], np.ones(10)) == ()
    assert find_peaks(FINE_NM, np.full(FINE_NM.size, np.nan)) == ()


def _peak(at_nm: float) -> Peak:
    return Peak(0, at_nm, 100.0, 20.0, 0.4, 1000.0)


def test_tracks_follow_peaks_that_shift_and_come_and_go() -> None:
    fluences = [10.0, 30.0, 20.0, 40.0, 50.0]
    lists = [[_peak(540.0)], [_peak(540.2), _peak(545.0)], [_peak(540.1)], [_peak(545.1)], [_peak(540.3)]]
    first, second = track_peaks(fluences, lists)
    assert first.fluence_uj_cm2 == (10.0, 20.0, 30.0, 50.0)
    assert first.wavelength_nm == (540.0, 540.1, 540.2, 540.3)
    assert second.fluence_uj_cm2 == (30.0, 40.0)
    assert first.wander_nm == pytest.approx(0.129, abs=0.001)
    with pytest.raises(ValueError, match="do not fit"):
        track_peaks([1.0], [])


def test_modes_that_cross_keep_their_own_track() -> None:
    def peak(nm: float, height: float) -> Peak:
        return Peak(0, nm, height, 50.0, 0.3, height * 10)

    rng = np.random.default_rng(3)
    rising, falling = 531 + 0.08 * np.arange(-10, 11), 531 - 0.06 * np.arange(-10, 11)
    seen = []
    for a, b in zip(rising, falling, strict=True):
        a, b = a + 0.003 * rng.standard_normal(), b + 0.003 * rng.standard_normal()
        # Nearer than the slit can part, the stronger alone is seen.
        seen.append([peak(b, 4000.0)] if abs(a - b) < 0.25 else [peak(a, 2000.0), peak(b, 4000.0)])
    tracks = track_peaks([float(f) for f in range(21)], seen)
    ends = [(round(t.wavelength_nm[0], 1), round(t.wavelength_nm[-1], 1)) for t in tracks]
    assert sorted(ends) == [(530.2, 531.8), (531.6, 530.4)]


def test_one_peak_joins_one_track_only() -> None:
    tracks = track_peaks([1.0, 2.0], [[_peak(540.0), _peak(540.2)], [_peak(540.1)]])
    assert sorted(len(t.wavelength_nm) for t in tracks) == [1, 2]


def test_a_cavity_is_regular_and_a_random_laser_is_not() -> None:
    comb = 1e7 / (18500.0 + 35.0 * np.array([0, 1, 2, 4, 5, 6, 8, 9]))  # some modes missing
    assert spacing_statistics(comb.tolist()).irregular is False
    rng = np.random.default_rng(3)
    verdicts = [spacing_statistics((535 + 20 * rng.random(12)).tolist()).irregular for _ in range(100)]
    assert sum(v is True for v in verdicts) >= 95


def test_few_peaks_say_little() -> None:
    assert spacing_statistics([540.0]).mean_nm is None
    assert spacing_statistics([540.0, 541.0]).cv is None
    assert spacing_statistics([540.0, 541.0, 543.0]).irregular is None


def test_evidence_names_its_verdict() -> None:
    rng = np.random.default_rng(5)
    places = np.sort(535 + 20 * rng.random(10))
    fluences = [10.0, 20.0, 30.0, 40.0]
    moving = track_peaks(fluences, [[_peak(p + 0.1 * rng.normal()) for p in places] for _ in fluences])
    evidence = random_laser_evidence(spacing_statistics(places.tolist()), moving)
    assert (evidence.verdict, evidence.moving) == ("random", True)
    still = track_peaks(fluences, [[_peak(p) for p in places] for _ in fluences])
    assert random_laser_evidence(spacing_statistics(places.tolist()), still).moving is False
    assert random_laser_evidence(spacing_statistics([540.0]), ()).verdict == "undecided"


def test_few_random_positions_are_not_called_a_cavity() -> None:
    rng = np.random.default_rng(11)
    for count in (5, 6, 8, 10):
        said = [spacing_statistics(rng.uniform(525, 545, count).tolist()).irregular for _ in range(100)]
        assert said.count(False) <= 5
        gaps = [np.sort(rng.choice(count + 3, count, replace=False)) for _ in range(50)]
        combs = [1e7 / (18800 + 40 * g + 0.4 * rng.standard_normal(count)) for g in gaps]
        assert [spacing_statistics(c.tolist()).irregular for c in combs].count(True) == 0
        assert sum(spacing_statistics(c.tolist()).irregular is False for c in combs) >= 45
