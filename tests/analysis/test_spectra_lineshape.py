"""Line shapes, deconvolution and Q."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_spectra_scene import COARSE_NM, FINE_NM, below, line, make

from labctl.analysis.spectra.bands import Band
from labctl.analysis.spectra.lines import (
    LineModel,
    Lines,
    LineShape,
    Window,
    deconvolve_width,
    fit_line,
    fit_lines,
    gaussian,
    voigt,
    voigt_fwhm,
)
from labctl.analysis.spectra.lineshape import q_factor
from labctl.model.results.sweep import QResult

BAND = Band(525.0, 560.0, "lasing peaks")
WEAK = {"peak_counts": 5000.0, "read_counts": 30.0}


@pytest.mark.parametrize("width_nm", [0.05, 0.4, 2.0])
def test_derivatives_of_the_profiles(width_nm: float) -> None:
    x, h = np.linspace(-3, 3, 201), 1e-6
    for profile in (gaussian, lambda o, w: voigt(o, w, 0.15)):
        _, by_centre, by_width = profile(x, width_nm)
        centre = (profile(x - h, width_nm)[0] - profile(x + h, width_nm)[0]) / (2 * h)
        width = (profile(x, width_nm + h)[0] - profile(x, width_nm - h)[0]) / (2 * h)
        assert by_centre == pytest.approx(centre, rel=1e-4, abs=1e-5 * np.abs(centre).max())
        assert by_width == pytest.approx(width, rel=1e-4, abs=1e-5 * np.abs(width).max())


@given(st.floats(0.05, 3.0), st.floats(0.01, 2.0), st.sampled_from(["gaussian", "lorentzian", "voigt"]))
def test_a_slit_that_was_put_on_is_taken_off(true_nm: float, slit_nm: float, shape: LineShape) -> None:
    measured = math.hypot(true_nm, slit_nm) if shape == "gaussian" else voigt_fwhm(true_nm, slit_nm)
    assert deconvolve_width(measured, 0.0, slit_nm, shape)[0] == pytest.approx(true_nm, rel=1e-6)


@pytest.mark.parametrize("shape", ["gaussian", "lorentzian"])
def test_the_error_of_a_width_grows_as_the_formula_says(shape: LineShape) -> None:
    up, down = (deconvolve_width(0.5 + d, 0.0, 0.3, shape)[0] for d in (1e-6, -1e-6))
    assert deconvolve_width(0.5, 0.01, 0.3, shape)[1] == pytest.approx(0.01 * (up - down) / 2e-6, rel=1e-4)


def test_a_width_that_is_all_slit_or_impossible() -> None:
    assert deconvolve_width(0.3, 0.01, 0.3, "gaussian") == (0.0, 0.01)
    for measured, slit in ((0.0, 0.1), (-1.0, 0.1), (0.3, -0.1), (math.nan, 0.1)):
        with pytest.raises(ValueError, match="must be positive"):
            deconvolve_width(measured, 0.0, slit, "gaussian")
    with pytest.raises(ValueError, match="unknown line shape"):
        deconvolve_width(0.3, 0.0, 0.1, "triangle")  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", ["gaussian", "lorentzian", "voigt"])
def test_pulls_of_a_single_line(shape: LineShape) -> None:
    rng, x = np.random.default_rng(1), 538.0 + 0.03 * np.arange(140, dtype=np.float64)
    slit = 0.3 if shape == "voigt" else 1e-9
    true = voigt_fwhm(0.4, slit) if shape == "voigt" else 0.4
    clean = (
        500
        + 20 * (x - 540)
        + 4000 * line(x - 540.0, 0.4, slit, "lorentzian" if shape != "gaussian" else shape)
    )
    pulls = []
    for _ in range(30):
        fit = fit_line(x, clean + rng.normal(0, 60, x.size), shape)
        assert fit is not None
        assert abs(fit.centre_nm - 540) < 6 * fit.centre_sigma_nm
        pulls.append((fit.fwhm_nm - true) / fit.fwhm_sigma_nm)
    assert abs(np.mean(pulls)) < 0.65
    assert 0.7 < np.std(pulls) < 1.35


def test_a_line_fit_says_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="too few"):
        fit_line(np.arange(5.0), np.ones(5))
    with pytest.raises(ValueError, match="unknown line shape"):
        fit_line(np.arange(20.0), np.ones(20), "triangle")  # type: ignore[arg-type]


def test_overlapping_lines_are_told_apart_with_honest_errors() -> None:
    rng, x = np.random.default_rng(2), 538.0 + 0.03 * np.arange(160, dtype=np.float64)
    model = LineModel(0.15, 1.0, eta_is_free=False)
    true = Lines(
        np.array([5e3, 8e3]), np.array([540.0, 540.6]), np.array([0.41, 0.41]), np.array([900.0, 50, 0])
    )
    clean = true.curve(model, Window(x, x, x))
    start = Lines(
        np.array([6e3, 6e3]), np.array([539.9, 540.65]), np.array([0.5, 0.5]), np.array([800.0, 0, 0])
    )
    pulls = []
    for _ in range(100):
        window = Window(x, clean + rng.normal(0, 80, x.size), np.full(x.size, 80.0))
        fit = fit_lines(window, model, start)
        assert fit is not None
        pulls.append((fit.lines.width_nm - 0.41) / fit.width_sigma_nm)
    assert np.abs(np.mean(pulls, axis=0)).max() < 0.4
    assert 0.75 < np.std(pulls) < 1.25


@pytest.mark.parametrize("light", [{}, WEAK], ids=["bright", "weak"])
@pytest.mark.parametrize("shape", ["gaussian", "lorentzian", "mixed"])
@pytest.mark.parametrize("fwhm_nm", [0.41, 0.54])
def test_q_of_crowded_lines(fwhm_nm: float, shape: str, light: dict[str, float]) -> None:
    errors, pulls = [], []
    for seed in range(100, 105):
        truth = make(seed, fwhm_nm=fwhm_nm, shape=shape, **light)  # type: ignore[arg-type]
        found = _q(truth.wavelength_nm, truth.frames, truth.resolution_nm)
        assert not found.lower_bound
        assert np.min(np.abs(truth.centres_nm - found.wavelength_nm)) < 0.1
        errors.append(found.value * fwhm_nm / found.wavelength_nm - 1)
        pulls.append((found.value - found.wavelength_nm / fwhm_nm) / found.sigma)
    assert np.max(np.abs(errors)) < 0.1
    assert abs(np.median(errors)) < 0.02
    assert np.median(np.abs(pulls)) < 1.5


def _q(at_nm: np.ndarray, frames: np.ndarray, resolution_nm: float, **more: object) -> QResult:
    found = q_factor(at_nm, frames, resolution_nm, band=BAND, **more)  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize("apart_nm", [1.6, 7.0])
def test_the_largest_area_is_chosen_not_the_narrowest_nor_the_highest(apart_nm: float) -> None:
    rng = np.random.default_rng(0)
    narrow = 5000 * line(FINE_NM - 538.0, 0.25, 0.15, "lorentzian")
    broad = 8000 * line(FINE_NM - 538.0 - apart_nm, 0.6, 0.15, "lorentzian")
    assert narrow.max() > broad.max()
    frames = narrow + broad + rng.normal(0, 40, (10, FINE_NM.size))
    found = _q(FINE_NM, frames, 0.15)
    assert found.wavelength_nm == pytest.approx(538.0 + apart_nm, abs=0.02)
    assert found.fwhm_nm == pytest.approx(0.6, rel=0.04)


def test_the_shape_is_named() -> None:
    names = [_q(FINE_NM, make(1, shape=s).frames, 0.15).shape for s in ("gaussian", "mixed", "lorentzian")]
    assert names == ["gaussian", "voigt", "lorentzian"]
    told = _q(FINE_NM, make(1, shape="gaussian").frames, 0.15, shape="gaussian")
    assert told.lorentzian_share == 0.0
    assert told.value == pytest.approx(told.wavelength_nm / 0.41, rel=0.02)


@pytest.mark.parametrize("n_modes", [1, 3, 12])
def test_the_coarse_instrument_gives_a_lower_bound(n_modes: int) -> None:
    for seed in range(8):
        truth = make(seed, fine=False, n_modes=n_modes)
        found = _q(COARSE_NM, truth.frames, truth.resolution_nm)
        assert found.lower_bound
        assert found.reason
        assert found.fwhm_nm == found.measured_fwhm_nm
        assert 20 < found.value < found.wavelength_nm / truth.fwhm_nm


def test_modes_redrawn_at_every_exposure_have_a_q_still() -> None:
    truth = make(3, chaotic=True, n_exposures=6)
    found = _q(FINE_NM, truth.frames, 0.15, pulses_per_exposure=1)
    assert not found.lower_bound
    assert found.value == pytest.approx(found.wavelength_nm / 0.41, rel=0.05)


def test_modes_that_move_within_an_exposure_have_a_lower_bound_only() -> None:
    """Each exposure is the sum of thirty shots, every one with modes elsewhere."""
    shots = make(4, chaotic=True, n_exposures=90).frames
    found = _q(FINE_NM, shots.reshape(3, 30, -1).mean(axis=1), 0.15)
    assert found.lower_bound
    assert found.value < found.wavelength_nm / 0.41


def test_a_single_exposure_is_enough() -> None:
    found = _q(FINE_NM, make(5).frames[0], 0.15)
    assert found.n_exposures == 1
    assert found.value == pytest.approx(found.wavelength_nm / 0.41, rel=0.1)


def test_a_saturated_peak_is_passed_over() -> None:
    truth = make(6)
    strongest = _q(FINE_NM, truth.frames, 0.15)
    level = 0.9 * truth.frames.mean(axis=0).max()
    clipped = np.minimum(truth.frames, level)
    near = np.abs(FINE_NM - FINE_NM[int(np.argmax(truth.frames.mean(axis=0)))]) < 0.3
    other = _q(FINE_NM, clipped, 0.15, saturated=clipped >= level)
    at_nm = FINE_NM[near]
    assert not at_nm[0] <= other.wavelength_nm <= at_nm[-1]
    assert other.value == pytest.approx(other.wavelength_nm / 0.41, rel=0.1)
    assert strongest.value == pytest.approx(strongest.wavelength_nm / 0.41, rel=0.1)


def test_an_exposure_saturated_alone_is_left_out() -> None:
    truth = make(7)
    saturated = np.zeros(truth.frames.shape, dtype=np.bool_)
    saturated[2] = True
    assert _q(FINE_NM, truth.frames, 0.15, saturated=saturated).n_exposures == 9


def test_luminescence_has_no_q() -> None:
    for seed in range(5):
        assert q_factor(FINE_NM, below(seed, 5000.0), 0.15, band=BAND) is None
        assert q_factor(COARSE_NM, below(seed, 5000.0, fine=False), 1.3, band=BAND) is None
    assert q_factor(FINE_NM, np.full((3, FINE_NM.size), np.nan), 0.15) is None


def test_an_uncertain_resolution_widens_the_error() -> None:
    frames = make(8, shape="gaussian").frames
    sure, unsure = (_q(FINE_NM, frames, 0.15, resolution_sigma_nm=s) for s in (0.0, 0.05))
    assert unsure.value == sure.value
    assert unsure.sigma > 2 * sure.sigma


def test_the_figure_shows_the_fit() -> None:
    found = _q(FINE_NM, make(9).frames, 0.15)
    assert found.figure is not None
    light = found.figure
    assert np.abs(light.fitted - light.counts).max() < 0.05 * light.counts.max()
    assert light.wavelength_nm[int(np.argmax(light.line))] == pytest.approx(found.wavelength_nm, abs=0.03)


@pytest.mark.parametrize("resolution_nm", [0.0, -1.0, math.nan])
def test_misuse_of_q_is_refused(resolution_nm: float) -> None:
    with pytest.raises(ValueError, match="resolution"):
        q_factor(FINE_NM, np.zeros((2, FINE_NM.size)), resolution_nm)
    with pytest.raises(ValueError, match="do not fit"):
        q_factor(FINE_NM, np.zeros((2, 5)), 0.15)


def test_a_hump_of_lines_that_are_elsewhere_at_every_shot_gives_a_bound_only() -> None:
    rng = np.random.default_rng(0)
    kernel = line(np.linspace(-6.0, 6.0, 401), 0.55, 0.15, "gaussian") * 0.03
    places = 540.0 + 3.5 * rng.standard_normal((10, 200 * 12))
    weights = 20000.0 * rng.lognormal(0.0, 0.5, places.shape)
    edges = np.append(FINE_NM - 0.015, FINE_NM[-1] + 0.015)
    lines = [np.histogram(at, edges, weights=w)[0] for at, w in zip(places, weights, strict=True)]
    light = np.stack([np.convolve(each, kernel, mode="same") for each in lines])
    frames = rng.poisson(light / 10.0) * 10.0 + 15.0 * rng.standard_normal(light.shape)
    result = q_factor(FINE_NM, frames, 0.15)
    assert result is None or result.lower_bound
