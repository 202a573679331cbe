"""Knife edges: the radius with its error, and the scans that cannot give one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.special import erf

from labctl.analysis.calibration.spot import KnifeFit, ellipticity, fit_knife_edge
from labctl.model.errors import CalibrationRefused
from labctl.model.records import FloatArray

W, CENTRE, TOP = 100.0, 5020.0, 5e-6


def edge(x: FloatArray, w: float = W, sign: float = 1.0) -> FloatArray:
    return np.asarray(0.5 * (1 + sign * erf(math.sqrt(2) * (x - CENTRE) / w)))


def scan(
    seed: int = 1, n: int = 31, w: float = W, sign: float = 1.0
) -> tuple[FloatArray, FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    x = np.linspace(CENTRE - 1.8 * w, CENTRE + 1.8 * w, n)
    power = edge(x + 1.0 * rng.standard_normal(n), w, sign) * (1 + 0.002 * rng.standard_normal(n)) + 0.01
    return x, TOP * (power + 3e-4 * rng.standard_normal(n)), np.full(n, TOP * 3e-4)


def fitted(**how: Any) -> KnifeFit:
    return fit_knife_edge(*scan(**how), position_sigma_um=1.0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_radius_comes_back_within_one_per_cent_whatever_the_direction(sign: float) -> None:
    found = [fitted(seed=seed, sign=sign) for seed in range(8)]
    pulls = [(f.w_um - W) / f.w_sigma_um for f in found]
    assert np.std([f.w_um / W for f in found]) < 0.01
    assert abs(np.mean(pulls)) < 0.8
    assert 0.5 < np.std(pulls) < 1.5
    assert found[0].rising is (sign > 0)
    assert found[0].offset_w == pytest.approx(0.01 * TOP, rel=0.2)
    assert found[0].power_w == pytest.approx(TOP, rel=0.01)
    assert not found[0].flags


def test_the_scale_of_the_screw_is_kept_apart() -> None:
    x, power, sigma = scan()
    found = fit_knife_edge(x, power, sigma, position_sigma_um=1.0, position_scale_rel=0.005)
    assert found.w_scale_um == pytest.approx(0.005 * found.w_um)
    assert abs(found.w_um - W) < 1.96 * found.w_sigma_um


def test_errors_that_were_not_given_are_found() -> None:
    x, power, _ = scan()
    found = fit_knife_edge(x, power, position_sigma_um=None)
    assert abs(found.w_um - W) < 3 * found.w_sigma_um < 0.05 * W


def test_the_fitted_curve_passes_through_the_points() -> None:
    x, power, _ = scan()
    assert np.abs(fitted().power_at(x) - power).max() < 0.05 * TOP


def test_position_errors_do_not_widen_the_spot() -> None:
    x = np.linspace(CENTRE - 180, CENTRE + 180, 41)
    blurred = TOP * edge(x, w=math.hypot(W, 2 * 10.0))  # the mean over position errors of 10 um
    assert fit_knife_edge(x, blurred, position_sigma_um=10).w_um == pytest.approx(W, rel=2e-3)
    assert fit_knife_edge(x, blurred).w_um == pytest.approx(math.hypot(W, 20.0), rel=2e-3)


def test_two_axes_make_an_ellipticity() -> None:
    shape = ellipticity(fitted(w=100.0), fitted(w=130.0, seed=2))
    assert shape.value == pytest.approx(100 / 130, abs=3 * shape.sigma)
    assert not shape.round
    assert ellipticity(fitted(), fitted(seed=3)).round


def test_a_flat_top_is_flagged() -> None:
    x = np.linspace(-200, 200, 81)
    power = np.clip(0.5 + x / 200, 0, 1) + 3e-4 * np.random.default_rng(1).standard_normal(81)
    found = fit_knife_edge(x, power, np.full(81, 3e-4))
    assert found.flags == ("not_gaussian",)
    assert found.misfit_rel is not None
    assert found.misfit_rel > 0.01


def refused(match: str, x: Any, power: Any, *rest: Any, **more: Any) -> None:
    with pytest.raises(CalibrationRefused, match=match):
        fit_knife_edge(x, power, *rest, **more)


def test_scans_that_miss_something_say_what() -> None:
    x, power, _ = scan(n=41)
    refused(
        "misses part of the edge: it lacks the free beam above", x[x < CENTRE + 50], power[x < CENTRE + 50]
    )
    refused(
        "misses part of the edge: it lacks the covered beam below", x[x > CENTRE - 50], power[x > CENTRE - 50]
    )
    refused("the edge is outside", x, np.full(41, TOP))
    refused("the edge is outside", x, np.zeros(41))
    refused("at least 8", x[:7], power[:7])
    refused("different positions", np.repeat(x[:4], 5), np.repeat(power[:4], 5))
    refused("on the slope", np.linspace(-900, 900, 19), edge(CENTRE + np.linspace(-900, 900, 19)) * TOP)
    refused("two edges", np.linspace(-300, 300, 61), np.exp(-2 * (np.linspace(-300, 300, 61) / 80) ** 2))
    refused("finite", x, np.where(x > CENTRE, np.inf, power))
    refused("position error", x, power, position_sigma_um=-1.0)
    refused("cannot measure a radius", x, power, position_sigma_um=60.0)
    refused("length scale", x, power, position_scale_rel=0.9)
    rng = np.random.default_rng(1)
    refused("scatter|falls by", x, power * (1 + 0.2 * rng.standard_normal(41)))
