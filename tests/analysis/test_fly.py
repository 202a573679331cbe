"""A flight: the motion of the plate from the shots, what is left out, threshold and interval."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.accuracy.fly import Case, Table, flown
from labctl.analysis.fly.flight import Solved, groups, root_mean, solve, with_motion
from labctl.analysis.fly.motion import Curve, travelled
from labctl.analysis.fly.scatter import pump_scatter
from labctl.analysis.spectra.bands import Bands
from labctl.model.errors import DataError
from labctl.model.records import SweepPoint
from labctl.model.results.flight import Anchor, PlateLaw, Shots, Turn
from labctl.model.results.sweep import Threshold

LAW = PlateLaw(0.2, 0.0006, 27.0)
CURVE = Curve(12.0, 0.02, 0.002, 1e-4)
LOW, HIGH = 46.0, 19.0


def malus(angle: np.ndarray | float) -> np.ndarray:
    return np.asarray(220.0 * (0.002 + 0.998 * np.cos(2 * np.radians(np.subtract(angle, 12.0))) ** 2))


def flight(
    seed: int = 1, passes: int = 5, ahead_s: float = 0.0, duration_s: float = 0.2, known: bool = True
) -> tuple[Shots, list[Turn], list[Anchor]]:
    """Make shots of a hinge at 80 uJ/cm2 while a plate turns evenly; 10 % scatter, noise of 100 counts."""
    rng = np.random.default_rng(seed)
    times = np.arange(0.0, 0.02 + passes * (duration_s + 0.01), 0.001)
    angle, turns, here, at = np.full(times.size, LOW), [], [LOW, HIGH], 0.01
    for _ in range(passes):
        start, stop = here
        angle = np.where(times > at, start + (stop - start) * np.clip((times - at) / duration_s, 0, 1), angle)
        turns.append(Turn(at, start, stop, at + duration_s if known else None))
        at, here = at + duration_s + 0.01, here[::-1]
    u = malus(angle) * np.maximum(1 + 0.015 * rng.standard_normal(times.size), 0) / 80.0
    light = 580.0 * np.minimum(u, 1.0) ** 2 + 12_000.0 * np.maximum(u - 1.0, 0.0)
    signal = light * (1 + 0.1 * rng.standard_normal(times.size)) + 100.0 * rng.standard_normal(times.size)
    anchors = [Anchor(a, float(malus(a)), 0.002, 0.001) for a in (LOW, HIGH)]
    return Shots(times + ahead_s, signal, np.zeros(times.size, dtype=np.bool_)), turns, anchors


def lit(shots: Shots) -> tuple[float, float]:
    return float(shots.time_s[0]), float(shots.time_s[-1])


def off_at_80(solved: Solved, ahead_s: float, duration_s: float = 0.2) -> float:
    """Return how far the fluences near 80 uJ/cm2 are off on average, relative."""
    truth, _, _ = flight(ahead_s=ahead_s, duration_s=duration_s)
    angle = np.full(truth.time_s.size, LOW)
    for number in range(5):
        start, stop = (LOW, HIGH) if number % 2 == 0 else (HIGH, LOW)
        after = truth.time_s - ahead_s - 0.01 - number * (duration_s + 0.01)
        angle = np.where(after > 0, start + (stop - start) * np.clip(after / duration_s, 0, 1), angle)
    near = solved.good & (np.abs(np.log(malus(angle) / 80.0)) < 0.2)
    return float(np.mean(solved.fluence_uj_cm2[near] / malus(angle)[near])) - 1.0


@pytest.mark.parametrize("ahead_s", [-0.003, 0.0, 0.003])
def test_a_latency_is_solved_from_up_against_down(ahead_s: float) -> None:
    shots, turns, anchors = flight(ahead_s=ahead_s)
    found = solve(shots, turns, anchors, LAW, CURVE, lit(shots))
    assert found.motion.latency_s.value == pytest.approx(ahead_s, abs=0.001)
    assert found.motion.latency_s.sigma < 0.0006
    assert found.motion.flags == ()
    assert abs(off_at_80(found, ahead_s)) < 0.015
    assert 0.001 < found.error_rel(80.0) < 0.01


def test_a_plate_that_is_faster_than_its_law_is_solved() -> None:
    shots, turns, anchors = flight(seed=2, duration_s=0.196)
    found = solve(shots, turns, anchors, LAW, CURVE, lit(shots))
    assert found.motion.duration_s.value == pytest.approx(0.196, abs=0.0015)
    assert abs(off_at_80(found, 0.0, 0.196)) < 0.015


def test_a_plate_that_contradicts_its_law_is_flagged() -> None:
    shots, turns, anchors = flight(duration_s=0.18)
    assert solve(shots, turns, anchors, LAW, CURVE, lit(shots)).motion.flags == ("law",)


def test_shots_that_are_none_of_the_curve_are_left_out_and_counted() -> None:
    shots, turns, anchors = flight()
    signal, clipped = shots.signal.copy(), shots.clipped.copy()
    top = np.argsort(signal)[-40:]
    signal[top[:10]], clipped[top[30:]] = 0.0, True
    solved = solve(replace(shots, signal=signal, clipped=clipped), turns, anchors, LAW, CURVE, (0.012, 1.06))
    assert set(solved.left_out) == {"dark", "clipped", "turn", "outlier"}
    assert solved.left_out["clipped"] == 10
    assert solved.left_out["outlier"] == pytest.approx(10, abs=4)  # some lie where the plate turns round
    assert solved.left_out["dark"] == int(np.sum((shots.time_s < 0.012) | (shots.time_s > 1.06)))
    assert not solved.good[[*top[:10], *top[30:]]].any()
    # Nothing within 3 ms of a start or an end of a motion makes a point.
    ends = np.array([[t.command_s, t.command_s + 0.2] for t in turns]).ravel()
    near = np.abs(shots.time_s[:, None] - ends).min(axis=1)
    assert near[solved.good].min() > 0.0015
    assert sum(solved.left_out.values()) + solved.good.sum() == shots.time_s.size


def test_a_bin_is_fitted_at_its_mean_power() -> None:
    fluence = np.geomspace(10.0, 100.0, 400)
    places = groups(fluence, np.ones(400, dtype=np.bool_), 20)
    assert sum(p.size for p in places) == 400
    for group in places:
        f = root_mean(fluence[group], 2)
        assert f**2 == pytest.approx(np.mean(fluence[group] ** 2))
        assert f > np.mean(fluence[group])
    assert groups(fluence, np.zeros(400, dtype=np.bool_), 20) == []


def test_a_plate_with_ramps_goes_the_whole_way() -> None:
    t = np.linspace(-0.1, 1.2, 1301)
    for ramp in (0.0, 0.1, 0.5, 0.9):
        part = travelled(t, 1.0, ramp)
        assert (part[t <= 0] == 0).all()
        assert part[t >= 1] == pytest.approx(1.0)
        assert (np.diff(part) >= 0).all()
        assert travelled(np.array([0.5]), 1.0, ramp)[0] == pytest.approx(0.5)


def test_the_error_of_the_motion_widens_the_interval(flown_points: list[SweepPoint]) -> None:
    points = [replace(p, fluence_sigma_rel=0.01) for p in flown_points]
    plain = Threshold("found", "95 % interval 99 to 101", threshold_uj_cm2=100.0, ci95=(99.0, 101.0))
    wider = with_motion(plain, points)
    assert wider.ci95 == pytest.approx((97.82, 102.23), abs=0.02)
    assert "97.82 to 102.2" in wider.reason
    assert wider.flags == ()
    assert with_motion(plain, [replace(points[0], flags=("fly", "law")), *points[1:]]).flags == ("law",)
    nothing = Threshold("not_found", "no threshold")
    assert with_motion(nothing, points) == nothing


def test_pump_scatter_is_measured_beside_the_emission() -> None:
    rng = np.random.default_rng(3)
    axis, fluence = np.linspace(480.0, 620.0, 700), np.linspace(20.0, 200.0, 500)
    light = 0.05 * fluence[:, None] + rng.normal(0.0, 5.0, (500, 700))
    light += np.where(np.abs(axis - 525.0) < 20.0, 1e-3 * fluence[:, None] ** 2, 0.0)
    found = pump_scatter(axis, light, fluence, Bands(), 800.0)
    assert found is not None
    assert found.counts_per_uj_cm2 == pytest.approx(0.05, abs=4 * found.sigma)
    assert found.sigma < 0.01
    assert found.share is not None
    assert 0.1 < found.share < 0.9
    assert pump_scatter(axis[150:400], light[:, 150:400], fluence, Bands(), 800.0) is None


def test_flights_that_cannot_be_read_are_refused() -> None:
    shots, turns, anchors = flight()
    for arguments, why in (
        ((shots, turns[:1], anchors), "both directions"),
        ((shots, turns, []), "anchor"),
        ((replace(shots, clipped=shots.clipped[:5]), turns, anchors), "differ in number"),
        ((replace(shots, clipped=~shots.clipped), turns, anchors), "0 usable shots"),
    ):
        with pytest.raises(DataError, match=why):
            solve(*arguments, LAW, CURVE, lit(shots))


@pytest.fixture(scope="module")
def flown_points() -> list[SweepPoint]:
    return list(Table(Case(seed=3)).fly().points)


@pytest.mark.parametrize(("seed", "early_ms", "speed"), [(3, 3.0, 1.0), (4, -3.0, 1.02)])
def test_flights_over_the_scene_find_their_threshold(seed: int, early_ms: float, speed: float) -> None:
    found = flown(Case(seed, early_ms=early_ms, speed=speed))
    for band in (found.lasing, found.whole):
        assert band.covered
        assert abs(band.error) < 0.025
        assert band.half_width < 0.03
    assert abs(found.latency_error_s) < 0.0015
    assert abs(found.duration_rel) < 0.012
    assert not found.flagged


def test_a_plate_of_a_scene_that_is_slower_in_the_light_is_flagged() -> None:
    assert flown(Case(seed=4, speed=0.9)).flagged


def test_a_pass_that_is_not_like_the_others_is_left_out() -> None:
    shots, turns, anchors = flight(passes=6)
    turns[2] = replace(turns[2], reply_s=turns[2].command_s + 0.3)
    solved = solve(shots, turns, anchors, LAW, CURVE, lit(shots))
    assert solved.left_out["late"] > 150
    inside = (shots.time_s > turns[2].command_s) & (shots.time_s < turns[2].command_s + 0.2)
    assert not solved.good[inside].any()
    assert solved.good.sum() > 700
    for turn in (1, 3, 5):
        turns[turn] = replace(turns[turn], reply_s=turns[turn].command_s + 0.3 + turn)
    with pytest.raises(DataError, match="too irregular"):
        solve(shots, turns, anchors, LAW, CURVE, lit(shots))
