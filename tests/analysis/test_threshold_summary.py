"""How a posterior becomes a number and an interval: what detection and the points change in it."""

from __future__ import annotations

import numpy as np
import pytest

from labctl.analysis.threshold.likelihood import SPOT, Profile, fit_profile
from labctl.analysis.threshold.result import SELECTION, selection_of, summarise
from labctl.analysis.threshold.shapes import IN_PART, library
from labctl.analysis.threshold.sweep_data import prepare


def fitted(n: int) -> Profile:
    """A hinge with 5 % noise: at 16 points, spots are not ruled out."""
    rng = np.random.default_rng(31)
    u = np.geomspace(0.35, 2.3, n)
    signal = 100.0 + 300.0 * u**2 + 6000.0 * np.maximum(u - 1.0, 0.0)
    data = prepare(80.0 * u, signal * (1.0 + 0.05 * rng.standard_normal(n)), None)
    with np.errstate(all="ignore"):
        return fit_profile(data, library(2))


def test_selection_is_full_where_a_kink_only_just_shows_and_none_where_it_is_plain() -> None:
    assert selection_of(0.005, 0.005) == pytest.approx(SELECTION)
    assert selection_of(0.005 / 30, 0.005) == pytest.approx(0.0)
    assert 0 < selection_of(0.001, 0.005) < SELECTION
    assert selection_of(0.0, 0.005) == 0.0
    assert selection_of(1.0, 0.005) == pytest.approx(SELECTION)


def test_selection_widens_the_interval_and_leaves_the_number() -> None:
    profile = fitted(12)
    plain, selected = summarise(profile), summarise(profile, SELECTION)
    assert selected.ln_t == plain.ln_t
    assert selected.total[0] < plain.total[0]
    assert selected.total[1] >= plain.total[1]
    assert selected.statistical == plain.statistical


def test_a_heavier_spot_weight_moves_the_posterior_to_spots() -> None:
    profile = fitted(12)
    spots = profile.shapes.classes == SPOT
    light, heavy = profile.chance(), profile.chance(1.0)
    odds = (heavy[spots].sum() / heavy[~spots].sum()) / (light[spots].sum() / light[~spots].sum())
    assert odds == pytest.approx(np.e)


def test_the_weight_of_a_spot_seen_in_part_grows_with_points_beyond_sixteen() -> None:
    ratios = []
    for n in (12, 16, 64):
        profile = fitted(n)
        prior = profile.log_prior()
        part = profile.shapes.families.index(IN_PART)
        ratios.append(float(prior[part] - prior[profile.shapes.index("hinge")]))
    assert ratios[0] == pytest.approx(ratios[1])
    assert ratios[2] == pytest.approx(ratios[1] + 0.7 * np.log(4.0))
