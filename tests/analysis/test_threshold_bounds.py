"""A sweep that shows no kink lies below threshold or above it: the spectra say which, or nobody does."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from labctl.analysis.threshold import START_LOWER, fit_threshold

Array = NDArray[np.float64]
N = 16


@pytest.fixture(scope="module")
def trials() -> Any:
    """The benchmark's module: truths and spectra that share no code with the fit."""
    return importlib.import_module("benchmarks.accuracy.threshold_bounds")


def luminescence(
    low: float = 15.0, high: float = 70.0, seed: int = 1, noise: float = 0.03
) -> tuple[Array, Array]:
    fluence = np.geomspace(low, high, N)
    return fluence, 20.0 + fluence**2 * (1 + noise * np.random.default_rng(seed).standard_normal(N))


def laser(low: float = 2.0, high: float = 8.0, seed: int = 1, noise: float = 0.03) -> tuple[Array, Array]:
    """A hinge whose onset is 1 uJ/cm2."""
    u = np.geomspace(low, high, N)
    mean = 300.0 * u**2 + 6000.0 * (u - 1.0)
    return u, mean * (1 + noise * np.random.default_rng(seed).standard_normal(N))


def ends(low: Any, high: Any) -> Any:
    return (low, high)


WIDE: dict[str, Any] = {"fwhm_nm": np.full(N, 25.0), "peak_count": np.zeros(N)}
NARROW: dict[str, Any] = {"fwhm_nm": np.full(N, 0.44), "peak_count": np.full(N, 8)}


@pytest.mark.parametrize("shape", range(5))
@pytest.mark.parametrize(("low", "high"), [(1.3, 3.0), (1.5, 6.0), (2.0, 8.0), (3.0, 12.0)])
def test_no_scan_above_threshold_is_given_a_lower_bound(
    trials: Any, shape: int, low: float, high: float
) -> None:
    noise = 0.02 if shape % 2 else 0.05
    seen, unseen = trials.run(trials.Cell(trials.SHAPES[shape], low, high, noise), 2, 11)
    assert seen.wrong == seen.bounded == seen.conditional == seen.number_above == 0
    assert seen.start_lower == 2
    assert unseen.bounded == 0


@pytest.mark.parametrize("shape", [0, 4])
@pytest.mark.parametrize(("low", "high"), [(0.1, 0.6), (0.2, 0.9)])
def test_a_scan_below_threshold_keeps_its_bound_and_without_spectra_a_conditional_one(
    trials: Any, shape: int, low: float, high: float
) -> None:
    seen, unseen = trials.run(trials.Cell(trials.SHAPES[shape], low, high, 0.05), 3, 12)
    assert seen.bounded == 3
    assert seen.wrong == seen.start_lower == 0
    assert unseen.bounded == 0
    assert unseen.conditional == 3


def test_the_words_name_lines_and_linewidth() -> None:
    f, y = luminescence()
    below, table = fit_threshold(f, y, **WIDE), fit_threshold(f, y)
    assert (
        below.reason
        == "no threshold below 70 uJ/cm2: no significant threshold, no lasing peaks, full linewidth"
    )
    assert below.bound == ends(pytest.approx(70.0), None)
    assert below.bound_condition is None
    assert "if the lowest points are luminescence, no threshold below 70 uJ/cm2" in table.reason
    assert "if they already lase, start lower" in table.reason
    assert table.bound_condition == "if the lowest points are luminescence"
    above = fit_threshold(*laser(), **NARROW)
    assert above.reason.startswith("every point shows lasing peaks: the scan lies above the threshold")
    assert above.reason.endswith("start lower")
    assert above.status == "below_range"
    assert above.bound == ends(None, pytest.approx(2.0))
    assert START_LOWER in above.flags


@pytest.mark.parametrize("order", ["up", "down", "shuffled", "up-down"])
def test_the_order_of_the_points_does_not_matter(order: str) -> None:
    places = {
        "up": np.arange(N),
        "down": np.arange(N)[::-1],
        "shuffled": np.random.default_rng(3).permutation(N),
        "up-down": np.concatenate([np.arange(0, N, 2), np.arange(1, N, 2)[::-1]]),
    }[order]
    f, y = laser()
    assert fit_threshold(f[places], y[places], **NARROW).bound == ends(None, pytest.approx(2.0))
    f, y = luminescence()
    assert fit_threshold(f[places], y[places], **WIDE).bound_condition is None


def test_points_left_out_witness_nothing() -> None:
    f, y = luminescence()
    y[-4:] = np.nan
    clipped: dict[str, Any] = {
        "fwhm_nm": np.where(np.isnan(y), 0.5, 25.0),
        "peak_count": np.where(np.isnan(y), 8, 0),
    }
    result = fit_threshold(f, y, **clipped)
    assert result.bound == ends(pytest.approx(f[-5]), None)
    assert result.bound_condition is None


def test_a_peak_that_higher_fluences_do_not_show_is_noise() -> None:
    f, y = luminescence()
    count = np.zeros(N)
    count[[1, 6]] = 1
    assert fit_threshold(f, y, fwhm_nm=WIDE["fwhm_nm"], peak_count=count).bound_condition is None
    count[-1] = 1
    lone = fit_threshold(f, y, fwhm_nm=WIDE["fwhm_nm"], peak_count=count)
    assert lone.bound == ends(pytest.approx(f[-2]), None)
    assert "the peak at 70 uJ/cm2 may be noise or the first lasing peak" in lone.reason
    count[-3:] = 2
    result = fit_threshold(f, y, fwhm_nm=WIDE["fwhm_nm"], peak_count=count)
    assert result.bound is None
    assert "lasing peaks, from 57" in result.reason


@pytest.mark.parametrize(
    ("width_nm", "peaks"),
    [(np.nan, 0), (np.nan, np.nan), (25.0, np.nan)],
    ids=["faint", "unknown", "no count"],
)
def test_spectra_that_decide_nothing_leave_the_bound_conditional(width_nm: float, peaks: float) -> None:
    f, y = luminescence()
    result = fit_threshold(f, y, fwhm_nm=np.full(N, width_nm), peak_count=np.full(N, peaks))
    assert result.bound_condition is not None
    assert "if the lowest points are luminescence" in result.reason


@pytest.mark.parametrize(("width_nm", "peaks"), [(7.0, 0), (25.0, 3), (0.5, np.nan)])
def test_a_scan_that_is_no_plain_luminescence_may_lie_above(width_nm: float, peaks: float) -> None:
    """Amplified luminescence, weak lines in a broad band, and a table that knows the linewidth alone."""
    f, y = luminescence()
    result = fit_threshold(f, y, fwhm_nm=np.full(N, width_nm), peak_count=np.full(N, peaks))
    assert result.bound is None
    assert "the scan may lie above the threshold: start lower" in result.reason
    assert START_LOWER in result.flags


def test_another_power_than_the_photon_order_is_no_luminescence() -> None:
    f = np.geomspace(15.0, 70.0, N)
    y = f**1.3 * (1 + 0.02 * np.random.default_rng(4).standard_normal(N))
    result = fit_threshold(f, y, **WIDE)
    assert result.bound is None
    assert "not as F^2; the scan may lie above the threshold: start lower" in result.reason
    assert fit_threshold(f, f * (y / f**1.3), photon_order=1, **WIDE).bound_condition is None


def test_luminescence_that_saturates_at_the_high_end_is_luminescence() -> None:
    f = np.geomspace(10.0, 100.0, 24)
    y = f**2 / (1 + (f / 90.0) ** 2) * (1 + 0.01 * np.random.default_rng(5).standard_normal(24))
    result = fit_threshold(f, y, fwhm_nm=np.full(24, 25.0), peak_count=np.zeros(24))
    assert result.bound == ends(pytest.approx(100.0), None)
    assert result.bound_condition is None


def test_a_kink_among_lines_of_one_width_is_no_onset_but_one_at_which_they_narrow_is() -> None:
    """A second mode above threshold, and a cavity that filters its luminescence below."""
    u = np.geomspace(0.4, 2.5, 24)
    y = (300 * u**2 + 6000 * np.maximum(u - 1, 0)) * (1 + 0.02 * np.random.default_rng(6).standard_normal(24))
    lines = np.full(24, 4)
    above = fit_threshold(80 * u, y, fwhm_nm=np.full(24, 0.44), peak_count=lines)
    assert above.threshold_uj_cm2 is None
    assert above.reason.startswith("every point shows lasing peaks")
    cavity = fit_threshold(80 * u, y, fwhm_nm=np.where(u < 1, 1.2, 0.4), peak_count=lines)
    assert cavity.threshold_uj_cm2 == pytest.approx(80.0, rel=0.05)
    assert "lines_below" in cavity.flags


def test_a_lower_bound_from_a_kink_at_the_end_is_as_conditional() -> None:
    results = []
    for seed in range(20):
        u = np.geomspace(0.25, 1.06, 20)
        y = 100 + 300 * u**2 + 6000 * np.maximum(u - 1, 0)
        y *= 1 + 0.04 * np.random.default_rng(seed).standard_normal(20)
        evidence: dict[str, Any] = {"fwhm_nm": np.where(u < 1, 25.0, 0.5), "peak_count": u > 1}
        results.append((fit_threshold(80 * u, y, **evidence), fit_threshold(80 * u, y)))
    edge = [(seen, unseen) for seen, unseen in results if seen.status == "above_range"]
    assert len(edge) >= 3
    for seen, unseen in edge:
        assert seen.bound_condition is None
        assert unseen.bound_condition is not None
        assert unseen.reason.startswith("if the lowest points are luminescence, threshold above")


def test_too_few_points_with_lines_are_sent_down_too() -> None:
    f, y = laser()
    result = fit_threshold(f[:4], y[:4], fwhm_nm=np.full(4, 0.4), peak_count=np.full(4, 5))
    assert result.status == "refused"
    assert "start lower" in result.reason


def test_a_running_sweep_is_judged_alike() -> None:
    quick = fit_threshold(*laser(), quick=True, **NARROW)
    assert quick.reason == fit_threshold(*laser(), **NARROW).reason


def test_evidence_of_another_length_is_misuse() -> None:
    with pytest.raises(ValueError, match="peak_count has shape"):
        fit_threshold([1.0, 2.0], [1.0, 2.0], peak_count=[1])
