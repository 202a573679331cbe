"""Pulses counted and weighed, glass that stretches them, and what a sample absorbs of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from labctl.analysis.calibration.pulses import (
    Piece,
    gvd_fs2_mm,
    pulse_at_sample,
    pulse_statistics,
)
from labctl.analysis.calibration.spot import absorptance
from labctl.model.errors import CalibrationRefused


def test_pulse_noise_is_found_without_that_of_the_meter() -> None:
    pulls = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        energy = 1e-8 * (1 + 0.04 * rng.standard_normal(500) + 0.02 * rng.standard_normal(500))
        found = pulse_statistics(energy, noise_j=2e-10, noise_sigma_rel=0.0)
        pulls.append(
            ((found.pulse_cv - 0.04) / found.pulse_cv_sigma, (found.mean_j - 1e-8) / found.mean_sigma_j)
        )
    assert np.abs(np.mean(pulls, axis=0)).max() < 0.45
    assert 0.7 < np.std(pulls, axis=0).min() <= np.std(pulls, axis=0).max() < 1.3
    assert found.two_photon_factor == pytest.approx(1.0016, abs=3 * found.two_photon_factor_sigma)
    assert not found.flags


def test_drift_is_told_from_noise_between_pulses() -> None:
    rng = np.random.default_rng(1)
    energy = 1e-8 * (1 + 0.01 * rng.standard_normal(1000) + np.linspace(-0.05, 0.05, 1000))
    found = pulse_statistics(energy)
    assert found.flags == ("drift",)
    assert found.fast_cv == pytest.approx(0.01, rel=0.1)
    assert found.pulse_cv > 0.025
    assert found.mean_sigma_j > 3 * 1e-10 / np.sqrt(1000)


def test_a_noisy_meter_is_flagged() -> None:
    rng = np.random.default_rng(1)
    assert "noise" in pulse_statistics(1 + 0.05 * rng.standard_normal(100), noise_j=0.05).flags


@pytest.mark.parametrize(
    ("energy", "noise", "match"),
    [
        (np.ones(5), 0.0, "at least 20"),
        (np.zeros(30), 0.0, "no pulse energy"),
        (np.full(30, 1e-3), 1.0, "no pulse energy"),
        (np.tile([0.0, 2.0], 20), 0.0, "trigger"),
        (np.ones(30), -1.0, "noise of"),
        (np.full(30, np.nan), 0.0, "finite"),
    ],
)
def test_energies_that_are_not_those_of_pulses_are_refused(energy: Any, noise: float, match: str) -> None:
    with pytest.raises(CalibrationRefused, match=match):
        pulse_statistics(energy, noise_j=noise)


@pytest.mark.parametrize(
    ("glass", "gvd"),
    [
        ("fused silica", 36.1),
        ("BK7", 44.6),
        ("SF10", 159.0),
        ("SF11", 189.0),
        ("sapphire", 58.0),
        ("CaF2", 27.7),
    ],
)
def test_dispersion_is_that_of_the_catalogues(glass: str, gvd: float) -> None:
    assert gvd_fs2_mm(glass, 800.0) == pytest.approx(gvd, rel=0.007)


def test_600_fs2_stretch_35_fs_to_59() -> None:
    found = pulse_at_sample(35.0, [Piece("fused silica", 16.6, 0.5)], 800.0, source_sigma_fs=1.0)
    assert found.gdd_fs2 == pytest.approx(600.0, rel=0.002)
    assert found.width_fs == pytest.approx(59.0, abs=0.2)
    rng = np.random.default_rng(1)
    tau, gdd = 35 + rng.standard_normal(4000), found.gdd_fs2 + found.gdd_sigma_fs2 * rng.standard_normal(4000)
    assert found.sigma_fs == pytest.approx(np.std(tau * np.hypot(1, 4 * np.log(2) * gdd / tau**2)), rel=0.1)
    assert pulse_at_sample(35.0, [], 800.0).width_fs == 35.0


@pytest.mark.parametrize(
    ("pieces", "nm", "source", "match"),
    [
        ([Piece("amber", 1.0)], 800.0, 35.0, "known: fused silica"),
        ([Piece("BK7", 1.0)], 100.0, 35.0, "from 300 to 2500 nm"),
        ([Piece("BK7", -1.0)], 800.0, 35.0, "negative"),
        ([Piece("BK7", 1.0)], 800.0, 0.0, "positive"),
        ([Piece("BK7", float("nan"))], 800.0, 35.0, "numbers"),
    ],
)
def test_glass_that_makes_no_sense_is_refused(
    pieces: list[Piece], nm: float, source: float, match: str
) -> None:
    with pytest.raises(CalibrationRefused, match=match):
        pulse_at_sample(source, pieces, nm)


WAVES = np.arange(350.0, 451.0)


def absorbed(values: Any, **more: Any) -> Any:
    given: dict[str, Any] = {
        "kind": "optical_density",
        "pump_nm": 400.0,
        "pump_fwhm_nm": 5.0,
        "photon_order": 1,
    }
    return absorptance(WAVES, values, **{**given, **more})


def test_the_absorbed_share_is_averaged_over_the_pump() -> None:
    assert absorbed(np.full(101, 0.3)).value == pytest.approx(1 - 10**-0.3)
    slope = absorbed(0.3 + 0.01 * (WAVES - 400), pump_fwhm_nm=10.0).value
    assert slope == pytest.approx(1 - 10**-0.3 * (1 + 0.5 * (np.log(10) * 0.01 * 10 / 2.3548) ** 2), abs=2e-4)
    passed = absorbed(np.full(101, 0.6), kind="transmittance", reflectance=0.1, reflectance_sigma=0.02)
    assert passed.value == pytest.approx(0.3)
    assert passed.scale == pytest.approx(0.02)
    assert absorbed(np.full(101, 4.0)).flags == ("opaque",)
    assert absorbed(np.full(101, 0.3), baseline_sigma=0.01).scale == pytest.approx(0.0115, abs=1e-4)
    assert 0 < absorbed(np.full(101, 0.3), values_sigma=0.01).sigma < 0.006


def test_absorption_spectra_that_say_nothing_are_refused() -> None:
    flat = np.full(101, 0.3)
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (flat, {"photon_order": 2}, "2-photon pumping"),
        (flat, {"pump_nm": 800.0}, "does not cover"),
        (100 * flat, {"kind": "transmittance"}, "per cent"),
        (-flat, {}, "dark or the reference"),
        (flat, {"kind": "colour"}, "unknown kind"),
        (flat, {"reflectance": 1.5}, "reflectance"),
        (flat + 0.75, {"kind": "transmittance", "reflectance": 0.2}, "is wrong"),
        (flat[:-1], {}, "different lengths"),
    ]
    for values, more, match in cases:
        with pytest.raises(CalibrationRefused, match=match):
            absorbed(values, **more)
    with pytest.raises(CalibrationRefused, match="gap"):
        absorptance(
            [350, 390, 450], [0.3] * 3, kind="optical_density", pump_nm=410, pump_fwhm_nm=5, photon_order=1
        )
