"""Bands, their sums, the light in peaks, and saturation."""

import numpy as np
import pytest
from test_spectra_scene import FINE_NM, below, luminescence, make

from labctl.analysis.spectra.bands import (
    Band,
    band_mask,
    band_slice,
    integrate_band,
    lasing_band_signal,
    saturated_in,
    saturated_pixels,
)

PEAKS = Band(525.0, 560.0, "lasing peaks")


@pytest.mark.parametrize(("low", "high"), [(530.0, 520.0), (530.0, 530.0), (float("nan"), 530.0)])
def test_a_band_must_rise(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="must lie below"):
        Band(low, high, "wrong")


def test_both_ends_belong_to_the_band() -> None:
    at_nm = np.array([500.0, 501.0, 502.0, 503.0])
    band = Band(501.0, 502.0, "two")
    assert integrate_band(at_nm, np.array([1.0, 2.0, 4.0, 8.0]), band) == 6.0
    assert np.flatnonzero(band_mask(at_nm, band)).tolist() == [1, 2]
    assert band_slice(at_nm, band) == slice(1, 3)


def test_a_band_the_spectrometer_does_not_see_is_an_error() -> None:
    with pytest.raises(ValueError, match="holds no pixel"):
        band_slice(FINE_NM, Band(700.0, 800.0, "pump"))


def test_luminescence_alone_has_no_light_in_peaks() -> None:
    signals = [lasing_band_signal(FINE_NM, below(seed).mean(axis=0), PEAKS) for seed in range(40)]
    whole = integrate_band(FINE_NM, luminescence(FINE_NM, 500.0), PEAKS)
    assert abs(np.mean(signals)) < 4 * np.std(signals, ddof=1) / np.sqrt(40)
    assert np.std(signals) < 1e-3 * whole


def test_light_in_peaks_is_found_and_grows_with_them() -> None:
    truth = make(3, background=0.2)
    light = truth.frames.mean(axis=0)
    under = luminescence(FINE_NM, 0.2 * 35000)
    true = integrate_band(FINE_NM, light - under, PEAKS)
    found = lasing_band_signal(FINE_NM, light, PEAKS)
    twice = lasing_band_signal(FINE_NM, under + 2 * (light - under), PEAKS)
    assert 0.75 * true < found < 1.02 * true
    assert twice == pytest.approx(2 * found, rel=0.03)


def test_saturation_is_judged_inside_the_band_and_its_margin_only() -> None:
    raw = np.full((3, 100), 2000.0)
    raw[0, 90] = 65535.0  # the pump, far from the band
    raw[1, 57] = 65535.0
    mask = np.zeros(100, dtype=np.bool_)
    mask[40:55] = True
    assert saturated_in(raw, 65535.0, mask, 0).tolist() == [False, False, False]
    assert saturated_in(raw, 65535.0, mask, 3).tolist() == [False, True, False]
    assert not saturated_in(raw[0], 65535.0, mask, 3)
    assert bool(saturated_in(raw[1], 65535.0, mask, 3))
    assert int(saturated_pixels(raw, 65535.0).sum()) == 2
