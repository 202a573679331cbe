"""What a threshold's interval and its p-value are made of: each part, and how often the whole holds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from labctl.analysis.threshold import fit_threshold
from labctl.analysis.threshold.fit import FALSE_ALARM, SIGNIFICANCE_FEW, Options, credible, suspect
from labctl.analysis.threshold.likelihood import PARAMETERS, SPOT, Grid, Profile, Solved, fit_profile, reweigh
from labctl.analysis.threshold.result import selection_of, summarise
from labctl.analysis.threshold.shapes import library
from labctl.analysis.threshold.sweep_data import prepare
from labctl.model.records import FloatArray

POINTS, SIGMA = 12, 0.02
FLUENCES = np.geomspace(40.0, 160.0, POINTS)
GAP = float(np.log(4.0) / (POINTS - 1))
Z95 = float(ndtri(0.975))


def hinge(u: FloatArray) -> FloatArray:
    return np.asarray(100.0 + 300.0 * u**2 + 6000.0 * np.maximum(u - 1.0, 0.0))


def known(masses: dict[str, tuple[float, float]], together: bool = False) -> Profile:
    """Return a fit whose posterior is a sum of normal densities of width SIGMA in ln threshold.

    :param masses: mass and middle, from the middle of the scan, by shape.
    :param together: whether the residuals of neighbours agree.
    """
    data, shapes = prepare(FLUENCES, hinge(FLUENCES / 80.0), None), library(2)
    low, high = float(data.ln_f.min()), float(data.ln_f.max())
    ln_t = np.linspace(low, high, 4001)
    rows, off = len(shapes.names), np.where(np.arange(POINTS) // (6 if together else 1) % 2, 0.01, -0.01)
    columns = np.zeros((3, rows, ln_t.size, POINTS))
    columns[0] = data.y + off
    coefficients = np.zeros((4, rows, ln_t.size))
    coefficients[1] = 1.0
    rss = np.full((rows, ln_t.size), np.inf)
    profile = Profile(
        data, shapes, Grid(ln_t, Solved(rss, coefficients), columns), np.ones(POINTS), (low, high)
    )
    freedom = POINTS - PARAMETERS + 1.0
    prior = profile.log_prior()
    for name, (mass, middle) in masses.items():
        k = shapes.index(name)
        z = (ln_t - 0.5 * (low + high) - middle) / SIGMA
        rss[k] = np.exp((z**2 + 2 * (prior[k] - np.log(mass))) / freedom)
    return profile


def middle_of(profile: Profile) -> float:
    return 0.5 * (profile.span[0] + profile.span[1])


def floor(profile: Profile) -> float:
    """What no sweep sees: 0.5 %, and 6 % of the gap in which the threshold lies."""
    return float(np.hypot(0.005, 0.06 * GAP))


def test_the_statistical_interval_holds_95_in_100_of_the_posterior() -> None:
    profile = known({"hinge": (1.0, 0.0)})
    found = summarise(profile)
    assert found.ln_t == pytest.approx(middle_of(profile), abs=1e-3)
    assert found.statistical[0] == pytest.approx(found.ln_t - Z95 * SIGMA, abs=1e-3)
    assert found.statistical[1] == pytest.approx(found.ln_t + Z95 * SIGMA, abs=1e-3)


def test_the_total_interval_adds_what_lies_between_two_fluences_in_quadrature() -> None:
    profile = known({"hinge": (1.0, 0.0)})
    found = summarise(profile)
    assert floor(profile) > 0.3 * SIGMA
    arm = float(np.hypot(Z95 * SIGMA, floor(profile)))
    assert found.total[1] - found.ln_t == pytest.approx(arm, abs=2e-4)
    assert found.ln_t - found.total[0] == pytest.approx(arm, abs=2e-4)
    assert found.systematic_rel == pytest.approx(floor(profile), abs=1e-4)


def test_the_total_interval_holds_whatever_a_spot_was_worth_before_the_data() -> None:
    """Twice as likely or half: its end is the farther one."""
    profile = known({"hinge": (0.93, 0.0), "spot-two-photon": (0.07, 0.15)})
    assert profile.chance()[profile.shapes.classes == SPOT].sum() == pytest.approx(0.07, abs=0.01)
    found = summarise(profile)
    ends = []
    for odds in (np.exp(0.7), np.exp(-0.7)):
        both = profile.chance(float(np.log(odds))).sum(axis=0)
        ends.append(float(np.interp(0.975, np.cumsum(both), profile.grid.ln_t)))
    assert ends[0] > ends[1] + SIGMA
    arm = float(np.hypot(ends[0] - found.ln_t, floor(profile)))
    assert found.total[1] - found.ln_t == pytest.approx(arm, abs=1e-3)


def test_points_that_err_together_are_fewer_witnesses() -> None:
    alone, together = known({"hinge": (1.0, 0.0)}), known({"hinge": (1.0, 0.0)}, together=True)
    assert alone.independent_share == 1.0
    assert together.independent_share < 0.5
    width = [np.ptp(summarise(p).statistical) for p in (alone, together)]
    freedom = [(POINTS - PARAMETERS) * p.independent_share + 1.0 for p in (alone, together)]
    assert width[1] / width[0] == pytest.approx(np.sqrt(freedom[0] / freedom[1]), rel=0.02)


def test_a_kink_that_only_just_shows_has_the_wider_interval_of_a_chosen_one() -> None:
    """The test favours sharp kinks: what only just passed it may as well be a spot."""
    rng = np.random.default_rng(28)
    u = FLUENCES / 80.0
    signal = (100.0 + 300.0 * u**2 + 2500.0 * np.maximum(u - 1, 0)) * (1 + 0.1 * rng.standard_normal(POINTS))
    found = fit_threshold(FLUENCES, signal)
    assert found.p_value is not None
    assert 0.5 * SIGNIFICANCE_FEW < found.p_value < SIGNIFICANCE_FEW
    data = prepare(FLUENCES, signal, None)
    with np.errstate(all="ignore"):
        profile = fit_profile(data, library(2))
        chosen = summarise(profile, selection_of(found.p_value, SIGNIFICANCE_FEW)).total
        plain = summarise(profile).total
    assert found.ci95 == pytest.approx([np.exp(end) * data.fluence_scale for end in chosen])
    assert np.ptp(chosen) > 1.05 * np.ptp(plain)


# --- a point that the rest disbelieve ----------------------------------------------------------------


def with_outlier(at: int = 3, factor: float = 1.5) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(5)
    signal = hinge(FLUENCES / 80.0) * (1 + 0.02 * rng.standard_normal(POINTS))
    signal[at] *= factor
    return FLUENCES, signal


def test_the_interval_grows_by_how_far_one_point_moves_the_threshold() -> None:
    fluence, signal = with_outlier()
    whole, rest, bad = credible(prepare(fluence, signal, None), Options())
    assert bad == 3
    moved = abs(summarise(rest).ln_t - summarise(whole).ln_t)
    assert moved > 1e-3
    found = fit_threshold(fluence, signal)
    without = fit_threshold(np.delete(fluence, bad), np.delete(signal, bad))
    assert found.outliers == (bad,)
    assert found.threshold_uj_cm2 == pytest.approx(without.threshold_uj_cm2)
    assert found.ci95 is not None
    assert without.ci95 is not None
    assert found.threshold_uj_cm2 is not None
    for end, before in zip(found.ci95, without.ci95, strict=True):
        arm, plain = (np.log(x / found.threshold_uj_cm2) for x in (end, before))
        assert abs(arm) == pytest.approx(np.hypot(plain, moved), rel=0.02)


def test_a_kink_that_shows_only_without_one_point_was_looked_for_as_often_as_there_are_points() -> None:
    """The point that is left out was chosen out of n: so was the p-value of what is left."""
    rng = np.random.default_rng(2)
    u = FLUENCES / 80.0
    signal = (100.0 + 300.0 * u**2) * (1 + 0.03 * rng.standard_normal(POINTS))
    signal[4] *= 1.6
    found = fit_threshold(FLUENCES, signal)
    without = fit_threshold(np.delete(FLUENCES, 4), np.delete(signal, 4))
    assert found.outliers == (4,)
    assert without.p_value is not None
    assert found.p_value == pytest.approx(min(1.0, POINTS * without.p_value), rel=1e-6)

    found, without = (fit_threshold(*data) for data in (with_outlier(), without_the_outlier()))
    assert without.p_value is not None
    assert POINTS * without.p_value < 1
    assert found.p_value == pytest.approx(POINTS * without.p_value, rel=1e-6)


def without_the_outlier() -> tuple[FloatArray, FloatArray]:
    fluence, signal = with_outlier()
    return np.delete(fluence, 3), np.delete(signal, 3)


def test_clean_points_are_rarely_suspected() -> None:
    rng = np.random.default_rng(11)
    u = FLUENCES / 80.0
    shapes, sweeps, suspected = library(2), 120, 0
    with np.errstate(all="ignore"):
        for _ in range(sweeps):
            data = prepare(FLUENCES, hinge(u) * (1 + 0.04 * rng.standard_normal(POINTS)), None)
            suspected += suspect(fit_profile(data, shapes, size=24)) is not None
    assert suspected <= 3 * FALSE_ALARM * sweeps


# --- noise --------------------------------------------------------------------------------------------


def test_noise_of_the_fluence_counts_by_the_slope_of_the_signal() -> None:
    """Of a signal that goes with the square of the fluence, 3 % of the fluence are 6 %."""
    u = FLUENCES / 80.0
    data, shapes = prepare(FLUENCES, u**2, 1e-3 * u**2, 0.03), library(2)
    with np.errstate(all="ignore"):
        grid = fit_profile(data, shapes, size=24).grid
        variance = 1.0 / reweigh(data, shapes, grid).weight
    low = slice(0, 4)
    relative = np.sqrt(variance)[low] / data.y[low]
    assert relative == pytest.approx(np.hypot(1e-3, 0.06), rel=0.05)


def test_the_noise_of_a_fit_is_that_over_the_freedom_that_is_left() -> None:
    """Constant, luminescence, excess, threshold and shape were fitted."""
    profile = known({"hinge": (1.0, 0.0)})
    assert profile.scale2 == pytest.approx(profile.rss / (POINTS - 5))


def test_noise_is_not_underestimated_by_what_the_curve_has_followed() -> None:
    rng = np.random.default_rng(3)
    relative = []
    with np.errstate(all="ignore"):
        for _ in range(50):
            data = prepare(FLUENCES, hinge(FLUENCES / 80.0) * (1 + 0.05 * rng.standard_normal(POINTS)), None)
            profile = fit_profile(data, library(2), size=24)
            mean = profile.grid.mean(*profile.grid.best)[-4:]
            relative.append(np.sqrt(1 / profile.weight[-4:]) / mean)
    assert 0.038 < float(np.sqrt(np.mean(np.square(relative)))) < 0.055


def test_intervals_hold_as_often_as_they_say() -> None:
    """Twelve points, a sharp kink anywhere between two of them: 95 in 100 is what they say."""
    rng = np.random.default_rng(17)
    held = statistical = found = 0
    for _ in range(80):
        onset = 80.0 * np.exp(GAP * rng.uniform(-0.5, 0.5))
        signal = hinge(FLUENCES / onset) * (1 + 0.04 * rng.standard_normal(POINTS))
        result = fit_threshold(FLUENCES, signal)
        if result.ci95 is not None and result.statistical_ci95 is not None:
            found += 1
            held += result.ci95[0] <= onset <= result.ci95[1]
            statistical += result.statistical_ci95[0] <= onset <= result.statistical_ci95[1]
    assert found >= 75
    assert held >= 0.93 * found
    assert statistical >= 0.88 * found
