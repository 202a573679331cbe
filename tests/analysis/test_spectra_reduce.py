"""One point of a sweep, from raw exposures to signals with errors."""

from dataclasses import replace

import numpy as np
import pytest
from test_spectra_scene import FINE_NM, below, luminescence, make

from labctl.analysis.spectra.bands import Band, Bands
from labctl.analysis.spectra.reduce import ReducedPoint, reduce_exposures

BANDS = Bands()
DARK = np.full(FINE_NM.size, 1500.0)


def _reduce(frames: np.ndarray, **more: object) -> ReducedPoint:
    settings: dict[str, object] = {"bands": BANDS, "pulses_per_exposure": 100.0} | more
    return reduce_exposures(FINE_NM, frames + DARK, DARK, **settings)  # type: ignore[arg-type]


def test_signals_are_counts_per_pulse_above_the_dark() -> None:
    point = _reduce(np.tile(luminescence(FINE_NM, 500.0), (4, 1)))
    assert point.signal_whole == pytest.approx(luminescence(FINE_NM, 5.0).sum(), rel=1e-9)
    assert abs(point.signal_peaks) < 1e-3 * point.signal_whole
    assert point.spectrum.max() == pytest.approx(5.0, rel=1e-6)
    assert point.exposure_cv == pytest.approx(0.0, abs=1e-9)


def test_each_exposure_may_hold_its_own_number_of_pulses() -> None:
    pulses = np.array([100.0, 101.0, 99.0])
    point = _reduce(luminescence(FINE_NM, 5.0) * pulses[:, None], pulses_per_exposure=pulses)
    assert point.exposure_cv == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("height", [30.0, 1000.0])
def test_pulls_of_both_signals(height: float) -> None:
    """Darks averaged over 40 frames; the pulls follow Student's t with nine degrees of freedom."""
    rng, whole, peaks = np.random.default_rng(8), [], []
    true = luminescence(FINE_NM, height).sum()
    for seed in range(120):
        raw = below(seed, height) + 1500.0
        dark = 1500.0 + rng.normal(0, 15 / np.sqrt(40), FINE_NM.size)
        p = reduce_exposures(FINE_NM, raw, dark, bands=BANDS, pulses_per_exposure=1.0, dark_exposures=40)
        whole.append((p.signal_whole - true) / p.signal_whole_sigma)
        peaks.append(p.signal_peaks / p.signal_peaks_sigma)
    for pulls in (whole, peaks):
        assert abs(np.mean(pulls)) < 0.45
        assert 0.9 < np.std(pulls) < 1.35


def test_frames_of_the_dark_give_its_share_of_the_error() -> None:
    rng = np.random.default_rng(0)
    steady = np.tile(luminescence(FINE_NM, 500.0) + 1500, (10, 1))
    drifting = 1500 + rng.normal(0, 10, (40, 1)) + np.zeros(FINE_NM.size)  # common to all pixels of a frame
    p = reduce_exposures(FINE_NM, steady, drifting, bands=BANDS, pulses_per_exposure=1.0)
    assert p.signal_whole_sigma == pytest.approx(10 * FINE_NM.size / np.sqrt(40), rel=0.4)
    assert p.signal_peaks_sigma < 0.01 * p.signal_whole_sigma


def test_the_dark_and_the_blank_stand_in_the_errors_of_both_signals_in_quadrature() -> None:
    """What is common to all exposures does not show in their scatter."""
    rng = np.random.default_rng(3)
    light = below(5, 500.0)
    alone = _reduce(light, dark_exposures=10**9)
    with_dark = _reduce(light, dark_exposures=40)
    blank = replace(alone, spectrum=np.zeros(FINE_NM.size), signal_whole_sigma=7.0, signal_peaks_sigma=3.0)
    with_blank = _reduce(light, dark_exposures=10**9, blank=blank)
    assert with_blank.signal_whole_sigma == pytest.approx(np.hypot(alone.signal_whole_sigma, 7.0))
    assert with_blank.signal_peaks_sigma == pytest.approx(np.hypot(alone.signal_peaks_sigma, 3.0))
    of_dark = [
        float(np.sqrt(max(b**2 - a**2, 0.0)))
        for a, b in (
            (alone.signal_whole_sigma, with_dark.signal_whole_sigma),
            (alone.signal_peaks_sigma, with_dark.signal_peaks_sigma),
        )
    ]
    darks = rng.normal(0, 15, (40, FINE_NM.size)) / 100.0
    assert of_dark[0] == pytest.approx(darks.sum(axis=1).std(ddof=1) / np.sqrt(40), rel=0.3)
    assert 0 < of_dark[1] < of_dark[0]


def test_above_threshold_peaks_and_widths_are_found() -> None:
    truth = make(2)
    point = _reduce(truth.frames, resolution_nm=0.15)
    assert 6 <= point.peak_count <= 14
    assert len(point.peaks) == point.peak_count
    assert point.fwhm_nm is not None
    assert point.fwhm_nm < 3
    assert 0 < point.signal_peaks < point.signal_whole
    assert point.peak_wavelength_nm is not None
    assert np.min(np.abs(truth.centres_nm - point.peak_wavelength_nm)) < 0.2


def test_a_spike_is_removed_with_a_record_only() -> None:
    frames = below(3, 500.0)
    hit = frames.copy()
    hit[4, 1000] += 20000
    clean, kept, removed = _reduce(frames), _reduce(hit, remove_spikes=False), _reduce(hit)
    assert kept.spikes == ()
    assert kept.signal_whole > clean.signal_whole + 15
    ((frame, pixel, counts),) = removed.spikes
    assert (frame, pixel) == (4, 1000)
    assert counts == pytest.approx(20000, rel=0.01)
    assert removed.signal_whole == pytest.approx(clean.signal_whole, abs=1.5)


def test_the_nonlinearity_follows_the_dark() -> None:
    true = np.tile(luminescence(FINE_NM, 40000.0), (3, 1))
    droop = -2e-6
    measured = true / (1 - droop * true)
    point = _reduce(measured, nonlinearity=(1.0, droop))
    assert point.signal_whole == pytest.approx(true[0].sum() / 100, rel=1e-9)


def test_a_blank_is_subtracted_with_its_error() -> None:
    scatter = 30.0 * np.exp(-0.5 * ((FINE_NM - 505) / 20) ** 2)
    blank = _reduce(np.random.default_rng(1).normal(scatter, 15, (10, FINE_NM.size)))
    point = _reduce(below(5, 500.0) + scatter, blank=blank)
    true = luminescence(FINE_NM, 5.0).sum()
    assert abs(point.signal_whole - true) < 4 * point.signal_whole_sigma
    assert point.signal_whole_sigma > blank.signal_whole_sigma
    assert _reduce(below(5, 500.0) + scatter, blank=blank.spectrum).signal_whole == point.signal_whole


def test_the_median_bounds_one_wild_exposure() -> None:
    frames = below(6, 500.0)
    wild = frames.copy()
    wild[0] *= 8
    true = luminescence(FINE_NM, 5.0).sum()
    for estimator in ("median", "trimmed"):
        assert _reduce(wild, estimator=estimator).signal_whole == pytest.approx(true, rel=0.03)
    assert _reduce(wild).signal_whole > 1.5 * true


def test_bad_pixels_are_mended() -> None:
    frames = below(7, 500.0)
    bad = np.zeros(FINE_NM.size, dtype=np.bool_)
    bad[800] = True
    broken = frames.copy()
    broken[:, 800] = 1e6
    assert _reduce(broken, bad_pixels=bad).signal_whole == pytest.approx(
        _reduce(frames).signal_whole, rel=1e-3
    )


def test_one_exposure_has_no_error_of_its_own() -> None:
    point = _reduce(below(8, 500.0)[:1])
    assert np.isnan(point.signal_whole_sigma)
    assert point.exposure_cv is None
    assert point.fwhm_nm == pytest.approx(25.0, abs=1.5)


def test_darkness_has_no_width() -> None:
    point = _reduce(below(9, 0.0))
    assert (point.fwhm_nm, point.equivalent_width_nm, point.peak_wavelength_nm) == (None, None, None)
    assert point.peak_count == 0
    assert abs(point.signal_whole) < 5 * point.signal_whole_sigma


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"pulses_per_exposure": 0.0}, "positive"),
        ({"pulses_per_exposure": [1.0, 2.0]}, "do not fit"),
        ({"bands": Bands(whole=Band(700.0, 800.0, "nowhere"))}, "contains no pixel"),
    ],
)
def test_misuse_is_refused(more: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _reduce(below(0, 10.0), **more)


def test_shapes_that_do_not_fit_are_refused() -> None:
    for frames, dark in (
        (np.zeros((2, 5)), DARK),
        (np.zeros((0, 2136)), DARK),
        (np.zeros((2, 2136)), np.zeros(7)),
    ):
        with pytest.raises(ValueError, match="fit"):
            reduce_exposures(FINE_NM, frames, dark, bands=BANDS, pulses_per_exposure=1.0)
