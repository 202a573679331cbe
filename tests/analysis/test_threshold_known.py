"""What is known of a bench goes into the curve and into the interval: wander, pulses, collected part."""

import numpy as np
import pytest

from labctl.analysis.budget import fluence_budget, scale_rel
from labctl.analysis.light_light import LightLight, unseen_wander_rel
from labctl.analysis.threshold import ThresholdResult, fit_threshold
from labctl.analysis.threshold.likelihood import Weighting, solve
from labctl.analysis.threshold.shapes import Smear, library
from labctl.analysis.threshold.sweep_data import Known, Wander, prepare
from labctl.config.bench import parse_bench
from labctl.config.example import EXAMPLE
from labctl.model.errors import ConfigError
from labctl.model.records import FloatArray

ONSET = 80.0


def curve(u: FloatArray) -> FloatArray:
    return np.asarray(100.0 + 300.0 * u**2 + 6000.0 * np.maximum(u - 1.0, 0.0))


def wandering(rng: np.random.Generator, size: float, shuffled: bool = False) -> tuple[FloatArray, FloatArray]:
    """A sweep of 20 points whose fluence wanders unseen; neighbours share 0.9 of it."""
    u = np.geomspace(rng.uniform(0.25, 0.55), rng.uniform(1.7, 3.0), 20)
    u = rng.permutation(u) if shuffled else u
    wander = rng.standard_normal(u.size)
    for i in range(1, u.size):
        wander[i] = 0.9 * wander[i - 1] + np.sqrt(0.19) * wander[i]
    signal = curve(u * np.exp(size * wander)) * (1 + 0.01 * rng.standard_normal(u.size))
    return ONSET * u, signal + 10.0 * rng.standard_normal(u.size)


def covered(results: list[ThresholdResult]) -> int:
    return sum(r.ci95 is not None and r.ci95[0] <= ONSET <= r.ci95[1] for r in results)


# --- a fluence that wanders unseen ---------------------------------------------------------------------


def test_a_declared_wander_is_in_the_interval() -> None:
    rng = np.random.default_rng(1)
    sweeps = [wandering(rng, 0.02) for _ in range(40)]
    declared = Wander(0.02, -1 / np.log(0.9))
    told = [fit_threshold(f, y, wander=declared) for f, y in sweeps]
    silent = [fit_threshold(f, y) for f, y in sweeps]
    assert covered(told) >= 35 > 30 >= covered(silent)


def test_errors_that_neighbours_share_weigh_as_their_covariance_says() -> None:
    """Against the textbook's generalised least squares."""
    rng = np.random.default_rng(2)
    n, shapes = 12, library(2)
    ln_u = np.linspace(-1.0, 1.0, n)
    shared = 0.3 * np.exp(-np.abs(np.subtract.outer(np.arange(n), np.arange(n))) / 3.0)
    own = np.linspace(0.1, 0.2, n)
    columns = shapes.columns(ln_u[None, :], slice(0, 1))
    y = 1.0 + 2.0 * columns[0, 0, 0] + 5.0 * columns[1, 0, 0] + rng.standard_normal(n)
    none = np.zeros((1, 1))
    found = solve(y, Weighting.of(own, shared), columns, (none, none), np.empty(0, dtype=np.intp))
    inverse = np.linalg.inv(shared + np.diag(own))
    design = np.column_stack([np.ones(n), columns[0, 0, 0], columns[1, 0, 0]])
    best = np.linalg.solve(design.T @ inverse @ design, design.T @ inverse @ y)
    rest = y - design @ best
    assert found.coefficients[:3, 0, 0] == pytest.approx(best, rel=1e-6)
    assert found.rss[0, 0] == pytest.approx(rest @ inverse @ rest, rel=1e-6)


def test_an_up_sweep_whose_interval_is_wander_is_told_to_be_shuffled() -> None:
    rng = np.random.default_rng(3)
    wander = Wander(0.05, -1 / np.log(0.9))
    assert "wander" in fit_threshold(*wandering(rng, 0.05), wander=wander).flags
    assert "wander" not in fit_threshold(*wandering(rng, 0.05, shuffled=True), wander=wander).flags
    assert "wander" not in fit_threshold(*wandering(rng, 0.001), wander=Wander(0.001, 10.0)).flags


def test_the_times_of_points_decide_what_they_share() -> None:
    at = np.array([0.0, 10.0, 1000.0])
    assert Wander(0.02, 10.0, at).ages(3) == pytest.approx([0.0, 1.0, 100.0])
    assert Wander(0.02, 2.0).ages(3) == pytest.approx([0.0, 0.5, 1.0])
    with pytest.raises(ValueError, match="shape"):
        Wander(0.02, 10.0, at).ages(4)


@pytest.mark.parametrize(("size", "time"), [(1.0, 1.0), (-0.1, 1.0), (np.nan, 1.0), (0.1, 0.0)])
def test_a_wander_that_is_none_is_refused(size: float, time: float) -> None:
    with pytest.raises(ValueError, match="wander"):
        Wander(size, time)


def test_every_point_has_its_own_error_of_the_fluence() -> None:
    sigma = np.array([0.01, 0.03, np.nan, 0.02, 0.001, 0.02, 0.02])
    data = prepare(np.arange(1.0, 8.0), np.arange(1.0, 8.0), None, sigma)
    assert data.fluence_sigma == pytest.approx([0.01, 0.03, 0.02, 0.02, 0.01, 0.02, 0.02])
    with pytest.raises(ValueError, match="shape"):
        prepare(np.arange(1.0, 8.0), np.arange(1.0, 8.0), None, sigma[:3])


# --- pulses that scatter, and the collected part of a spot ---------------------------------------------


def scattered(u: FloatArray, cv: float) -> FloatArray:
    z = np.random.default_rng(4).standard_normal(20_000)
    return np.asarray(curve(u[:, None] * np.maximum(1.0 + cv * z, 0.0)).mean(axis=1))


def test_a_known_scatter_of_the_pulses_takes_their_bias_away() -> None:
    rng = np.random.default_rng(5)
    f = ONSET * np.geomspace(0.35, 2.4, 24)
    y = scattered(f / ONSET, 0.1) * (1 + 0.005 * rng.standard_normal(f.size))
    told = fit_threshold(f, y, smear=Smear(0.1), pulse_cv_sigma=0.005)
    assert told.threshold_uj_cm2 == pytest.approx(ONSET, rel=0.01)
    assert told.ci95 is not None
    exact = fit_threshold(f, y, smear=Smear(0.1))
    assert exact.ci95 is not None
    assert np.ptp(told.ci95) > np.ptp(exact.ci95)
    drawn = told.curve(f)
    assert drawn is not None
    assert drawn.signal == pytest.approx(y, rel=0.03)


def test_luminescence_sees_the_mean_power_of_the_pulses() -> None:
    for order, factor in ((1, 1.0), (2, 1.01), (3, 1.03), (4, 1.0603)):
        smeared = library(order, Smear(0.1)).columns(np.array([-0.5]), slice(0, 1))[0, 0, 0]
        assert smeared == pytest.approx(factor * np.exp(-0.5 * order), rel=2e-4)


def test_a_part_of_the_spot_that_is_known_takes_its_bias_away() -> None:
    rng = np.random.default_rng(6)
    f = ONSET * np.geomspace(0.35, 2.4, 24)
    v = np.exp(np.linspace(0.0, np.log(0.9), 400))
    y = curve(f[:, None] / ONSET * v).mean(axis=1) * (1 + 0.005 * rng.standard_normal(f.size))
    depth = -float(np.log(0.9))
    silent, told = fit_threshold(f, y), fit_threshold(f, y, smear=Smear(None, (depth, depth)))
    assert silent.threshold_uj_cm2 is not None
    assert silent.threshold_uj_cm2 > 1.03 * ONSET
    assert told.threshold_uj_cm2 == pytest.approx(ONSET, rel=0.01)


def test_a_whole_spot_is_one_of_infinite_depth() -> None:
    u = np.linspace(0.3, 4.0, 50)
    shapes = library(2, Smear(None, (np.inf, np.inf)))
    above = np.maximum(u, 1.0)
    gain = shapes.columns(np.log(u))[1, shapes.index("hinge")]
    assert 7.0 * gain == pytest.approx(above - 1 - np.log(above), abs=1e-4)


def test_an_elliptic_spot_is_integrated_over_a_round_disc() -> None:
    """Against a sum over points of the disc."""
    side = np.linspace(-1.0, 1.0, 601)
    points = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    points = points[(points**2).sum(axis=1) < 1]
    local = np.exp(-(points**2) @ np.array([0.5, 2.0]))
    shapes = library(2, Smear(None, (0.5, 2.0)))
    for u in (1.3, 2.5):
        gain = shapes.columns(np.array([np.log(u)]))[1, shapes.index("hinge"), 0]
        assert gain == pytest.approx(np.maximum(u * local - 1, 0).mean(), rel=0.02)


# --- the scatter of a point's own exposures ---------------------------------------------------------------


def heavy_tailed(rng: np.random.Generator) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Shots above the onset with a Pareto tail of 1.5, ten exposures of ten shots each."""
    u = np.geomspace(0.4, 2.4, 20)
    tail = (1.0 + rng.pareto(1.5, (u.size, 10, 10))) / 3.0
    shots = np.where((u > 0.9)[:, None, None], tail, 1.0).mean(axis=2)
    exposures = curve(u)[:, None] * shots * (1 + 0.03 * rng.standard_normal((u.size, 10)))
    return ONSET * u, exposures.mean(axis=1), exposures.std(axis=1, ddof=1) / np.sqrt(10)


def test_heavy_tailed_shots_are_no_outliers_where_the_exposures_show_their_scatter() -> None:
    rng = np.random.default_rng(8)
    sweeps = [heavy_tailed(rng) for _ in range(20)]
    alone = [fit_threshold(f, y) for f, y, _ in sweeps]
    told = [fit_threshold(f, y, signal_sigma=sigma, exposures=10) for f, y, sigma in sweeps]
    assert sum("outlier" in r.flags for r in told) <= 2 < 5 <= sum("outlier" in r.flags for r in alone)


def test_what_a_few_exposures_say_of_a_quiet_point_changes_nothing() -> None:
    """An error estimated from two exposures may be large by chance alone: it takes 13 times the truth."""
    rng = np.random.default_rng(9)
    f = ONSET * np.geomspace(0.35, 2.4, 20)
    y = curve(f / ONSET) * (1 + 0.02 * rng.standard_normal(f.size))
    alone = fit_threshold(f, y)
    assert fit_threshold(f, y, signal_sigma=0.02 * y, exposures=2).ci95 == alone.ci95
    assert fit_threshold(f, y, signal_sigma=0.02 * y, exposures=1).ci95 == alone.ci95


# --- references that show a wander ---------------------------------------------------------------------


def with_references(rng: np.random.Generator, wander: float, fade: float = 0.0) -> LightLight:
    """Eight references of 0.5 % each, whose fluence wanders from one to the next."""
    n = 8
    dose = np.linspace(0.0, 1e6, n)
    fluence = np.full(n, 40.0)
    light = np.exp(2 * wander * rng.standard_normal(n) - fade * (1 - np.exp(-3 * dose / 1e6)))
    signal = 1000.0 * light * (1 + 0.005 * rng.standard_normal(n))
    error = np.full(n, 5.0)
    return LightLight(fluence, fluence, np.zeros(n), signal, error, dose, np.ones(n, dtype=np.bool_))


def test_references_show_a_wander_that_nobody_declared() -> None:
    rng = np.random.default_rng(10)
    seen = [unseen_wander_rel(with_references(rng, 0.02), 2) for _ in range(40)]
    known = [size for size in seen if size is not None]
    assert len(known) >= 36
    assert np.median(known) == pytest.approx(0.02, rel=0.3)
    still = [unseen_wander_rel(with_references(rng, 0.0, fade=0.2), 2) for _ in range(100)]
    assert sum(size is not None for size in still) <= 2
    assert unseen_wander_rel(with_references(rng, 0.05).only(np.arange(8) < 4), 2) is None


# --- the bench file ------------------------------------------------------------------------------------

PUMP = "incidence_deg = 0.0"
WANDER = "fluence_wander_rel = 0.02\nfluence_wander_time_s = 600.0\npulse_cv = 0.1\npulse_cv_sigma = 0.01"


def test_the_bench_file_declares_what_is_known() -> None:
    text = EXAMPLE.replace(PUMP, WANDER).replace("[limits]", "[collection]\nradius_um = 50.0\n[limits]")
    known = Known.of(parse_bench(text).pump_settings())
    assert known == Known(Smear(0.1, (0.5, 0.5)), 0.01, 0.02, 600.0)
    assert [words.split(" ")[0] for words in known.said(2)] == ["fluence", "pulses", "spot"]
    assert Known.of(None) == Known.of(parse_bench(EXAMPLE).pump_settings()) == Known()


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (PUMP, "fluence_wander_rel = 0.02", "belong together"),
        (PUMP, "fluence_wander_time_s = 60.0", "belong together"),
        (PUMP, "fluence_wander_rel = 0.5\nfluence_wander_time_s = 60.0", "fluence_wander_rel"),
        ("[limits]", "[collection]\n[limits]", "either"),
        ("[limits]", "[collection]\nradius_um = 5.0\nedge_fluence_rel = 0.9\n[limits]", "either"),
        ("[limits]", "[collection]\nedge_fluence_rel = 1.5\n[limits]", "edge_fluence_rel"),
    ],
)
def test_what_cannot_be_is_refused(old: str, new: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        parse_bench(EXAMPLE.replace(old, new))


def test_a_part_of_a_flat_top_is_refused() -> None:
    text = EXAMPLE.replace("[limits]", "[collection]\nradius_um = 5.0\n[limits]")
    with pytest.raises(ConfigError, match="Gaussian spot"):
        parse_bench(text.replace('shape = "gaussian"', 'shape = "stripe"'))


def test_no_drift_counts_twice() -> None:
    """What wanders within a run is in the interval of its threshold: the scale has the rest of the drift."""
    drift = EXAMPLE.replace(PUMP, "drift_sigma_rel = 0.02")
    both = EXAMPLE.replace(PUMP, f"drift_sigma_rel = 0.02\n{WANDER}")
    still, drifting, wandering_too = (
        scale_rel(fluence_budget(parse_bench(text).pump_settings()).record())
        for text in (EXAMPLE, drift, both)
    )
    assert still is not None
    assert drifting == pytest.approx(np.hypot(still, 0.02))
    assert wandering_too == pytest.approx(still)
    rows = [term.name for term in fluence_budget(parse_bench(both).pump_settings()).terms]
    assert "wander of the fluence" in rows
