"""Two samples compared: what cancels in a ratio of thresholds, what is added, and what nobody knows."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from labctl.analysis.budget import fluence_budget
from labctl.analysis.evaluation.comparison import compared
from labctl.model.pump import MalusCurve, PumpSettings, SpotSize
from labctl.model.results.comparison import SampleRun, ThresholdRatio
from labctl.model.results.sweep import BandThreshold, Estimate, StabilityResult

SETTINGS = PumpSettings(
    wavelength_nm=800.0,
    repetition_rate_hz=1000.0,
    spot=SpotSize("gaussian", 100.0, 100.0),
    convention="peak",
    curve=MalusCurve(12.0, 0.002, 1.0),
    pickoff_ratio=24.0,
    max_pulse_energy_j=200e-9,
    meter_sigma_rel=0.03,
    pickoff_sigma_rel=0.01,
    spot_sigma_rel=0.02,
    repetition_sigma_rel=1e-4,
    drift_sigma_rel=0.004,
    background_sigma_w=1e-12,
    sources={"spot_sigma_rel": "spot.json, 2026-11-02", "pickoff_sigma_rel": "pickoff.json, 2026-11-02"},
)


def run(
    sample: str,
    value: float | None,
    half_rel: float = 0.01,
    spot: str = "",
    settings: PumpSettings | None = SETTINGS,
    meter: str = "P1",
    definition: str = "onset",
) -> SampleRun:
    ends = None if value is None else (value * (1 - half_rel), value * (1 + half_rel))
    threshold = BandThreshold(
        "refused" if value is None else "found",
        definition=definition,
        threshold_uj_cm2=value,
        ci95=ends,
        convention=None if settings is None else settings.convention,
    )
    budget = None if settings is None else fluence_budget(settings, value).record()
    return SampleRun(sample, spot, meter, threshold, budget)


def ratio(*runs: SampleRun) -> ThresholdRatio:
    (found,) = compared(runs).ratios
    return found


OLA, OAM = run("OLA", 79.81), run("OAm", 257.34)


def half_width(found: ThresholdRatio) -> float:
    assert found.ci95 is not None
    return math.log(found.ci95[1] / found.ci95[0]) / 2


def test_the_lower_threshold_stands_above_the_line_whatever_comes_first() -> None:
    assert ratio(OAM, OLA) == ratio(OLA, OAM)
    found = ratio(OAM, OLA)
    assert (found.sample, found.over) == ("OLA", "OAm")
    assert found.ratio == pytest.approx(79.81 / 257.34)
    assert found.status == "compared"


def test_what_both_runs_share_cancels_and_the_rest_is_added() -> None:
    found = ratio(OLA, OAM)
    assert {"meter calibration", "pick-off ratio", "spot (common to x and y)"} <= set(found.cancelled)
    assert found.added == ("drift of the chain (moves between the runs)",)
    assert found.scale_rel == pytest.approx(0.004 * math.sqrt(2), rel=0.05)
    assert half_width(found) == pytest.approx(math.hypot(0.01 * math.sqrt(2), 1.96 * 0.00566), rel=0.03)


@pytest.mark.parametrize(
    ("changes", "meter", "link", "why"),
    [
        (
            {"sources": {**SETTINGS.sources, "spot_sigma_rel": "spot.json, 2026-11-20"}},
            "P1",
            "spot",
            "2026-11-20",
        ),
        ({"spot": SpotSize("gaussian", 80.0, 100.0)}, "P1", "spot", "another spot"),
        ({"pickoff_ratio": 25.0}, "P1", "pick-off ratio", "24 and 25"),
        ({}, "P2", "meter calibration", "another power meter"),
        ({}, "", "meter calibration", "the power meter is not known"),
    ],
)
def test_a_link_of_another_calibration_does_not_cancel(
    changes: dict[str, object], meter: str, link: str, why: str
) -> None:
    other = run("OAm", 257.34, settings=replace(SETTINGS, **changes), meter=meter)  # type: ignore[arg-type]
    found = ratio(OLA, other)
    (said,) = [text for text in found.added if text.startswith(link)]
    assert why in said
    assert half_width(found) > 1.2 * half_width(ratio(OLA, OAM))


def test_a_link_that_nobody_stated_cancels_where_it_is_the_same_and_is_named_where_not() -> None:
    bare = replace(SETTINGS, meter_sigma_rel=0.0, drift_sigma_rel=0.0)
    found = ratio(run("OLA", 80.0, settings=bare), run("OAm", 257.0, settings=bare))
    assert "meter calibration" in found.cancelled
    assert found.unstated == ("drift of the chain (moves between the runs)",)
    assert found.scale_rel is None


def test_a_meters_zero_that_both_share_leaves_what_it_weighs_more_in_weak_light() -> None:
    offset = replace(SETTINGS, background_sigma_w=2e-9, drift_sigma_rel=1e-6)
    a, b = run("OLA", 79.81, settings=offset), run("OAm", 257.34, settings=offset)
    found = ratio(a, b)
    assert "meter zero" in found.cancelled
    assert a.budget is not None
    assert b.budget is not None
    zeros = [next(t for t in r.budget.terms if t.name == "meter zero") for r in (a, b) if r.budget]
    left = abs((zeros[0].contribution_rel or 0) - (zeros[1].contribution_rel or 0))
    assert found.scale_rel == pytest.approx(left, rel=0.01)


@pytest.mark.parametrize(
    ("other", "word"),
    [
        (run("OAm", 257.0, settings=replace(SETTINGS, convention="average")), "convention"),
        (run("OAm", 257.0, settings=replace(SETTINGS, photon_order=1)), "photon order"),
        (run("OAm", 257.0, definition="x-intercept"), "definition of threshold"),
        (run("OAm", None), "OAm has no threshold"),
    ],
)
def test_numbers_of_two_kinds_have_no_ratio(other: SampleRun, word: str) -> None:
    found = ratio(OLA, other)
    assert found.status == "refused"
    assert found.ratio is None
    assert word in found.reason


def test_a_table_that_does_not_say_its_convention_is_marked() -> None:
    found = ratio(OLA, run("table", 250.0, settings=None, meter=""))
    assert found.status == "marked"
    assert found.conditions[0] == "if their convention is the same"
    assert found.scale_rel is None
    assert found.ci95 == found.statistical_ci95


def test_one_spot_of_each_says_nothing_of_the_materials_and_several_do() -> None:
    assert ratio(OLA, OAM).between_spots_rel == (None, None)
    spots = [run("OLA", value, spot=str(n)) for n, value in enumerate((72.0, 80.0, 89.0))]
    found = ratio(*spots, OAM)
    assert found.spots == (3, 1)
    assert found.between_spots_rel[0] == pytest.approx(0.106, abs=0.002)
    assert found.between_spots_rel[1] is None
    # Student's t of two degrees of freedom: three places scatter more than each one's own interval says.
    assert half_width(found) == pytest.approx(4.30 * 0.106 / math.sqrt(3), rel=0.05)


def test_runs_of_one_spot_count_as_one_place() -> None:
    again = [run("OLA", value, spot="1") for value in (79.0, 80.6)]
    assert ratio(*again, OAM).spots == (1, 1)


def kept(sample: str, value: float, sigma: float, **more: object) -> SampleRun:
    share = Estimate(value, sigma, value - 1.96 * sigma, value + 1.96 * sigma)
    facts: dict[str, object] = {"fluence_uj_cm2": 60.0, "duration_s": 36000.0, "dose_uj_cm2": 1e8} | more
    return replace(run(sample, None), stability=StabilityResult("decay", retained=share, **facts))  # type: ignore[arg-type]


def test_what_two_samples_kept_is_compared_with_its_interval() -> None:
    (found,) = compared([kept("OAm", 0.17, 0.006), kept("OLA", 0.33, 0.008)]).retained
    assert (found.sample, found.over) == ("OLA", "OAm")
    assert found.difference.value == pytest.approx(0.16)
    assert found.difference.high - found.difference.low == pytest.approx(2 * 1.96 * 0.01)
    assert found.conditions == ()
    assert compared([kept("OAm", 0.17, 0.006), kept("OLA", 0.33, 0.008)]).ratios == ()


def test_runs_at_another_fluence_or_temperature_are_compared_with_a_word_on_it() -> None:
    warm = kept("OAm", 0.17, 0.006, sample_temperature_c=(60.0, 60.2))
    cold = kept("OLA", 0.33, 0.008, sample_temperature_c=(22.0, None), fluence_uj_cm2=90.0)
    (found,) = compared([warm, cold]).retained
    assert found.conditions == (
        "their fluence differs: 90 and 60 uJ/cm2",
        "their temperature differs: 22.0 and 60.1 C",
    )
