"""Mode by mode: lines followed over fluence, the onset of each, and whether they are a cavity's."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from labctl.analysis.evaluation.evaluate import with_first_mode
from labctl.analysis.spectra.follow import FollowedLines, follow_lines, mode_onsets, randomness
from labctl.analysis.spectra.spacing import power_transform, spacing_of
from labctl.model.mapping import plain, record_of
from labctl.model.results.modes import Modes
from labctl.model.results.sweep import BandThreshold, SweepResult

Floats = NDArray[np.float64]

AXIS_NM: Floats = np.arange(500.0, 565.0, 0.06)
FLUENCE: Floats = 80.0 * np.geomspace(0.5, 2.1, 24)
PLACES_NM = (534.0, 537.1, 538.6, 542.9, 544.3, 549.0)


def sweep(
    places_nm: Floats, onsets: tuple[float, ...], slopes: tuple[float, ...], seed: int = 1
) -> FollowedLines:
    """Follow the lines of a sweep: ``places_nm`` of shape (point, line), onsets in units of 80 uJ/cm2."""
    rng = np.random.default_rng(seed)
    u = FLUENCE / 80.0
    band = np.exp(-(((AXIS_NM - 522) / 15) ** 2))
    spectra = []
    for v, places in zip(u, np.broadcast_to(places_nm, (u.size, len(onsets))), strict=True):
        light = 1000 * v**2 * band
        for at_nm, onset, slope in zip(places, onsets, slopes, strict=True):
            light = light + slope * max(v - onset, 0.0) * np.exp(-0.5 * ((AXIS_NM - at_nm) / 0.19) ** 2)
        spectra.append(rng.normal(light * (1 + 0.01 * rng.standard_normal()), 3.0 + 0.3 * np.sqrt(light)))
    found = follow_lines(
        AXIS_NM, np.array(spectra), FLUENCE, emission_nm=(501.0, 563.0), lasing_nm=(526.0, 560.0)
    )
    assert found is not None
    return found


def still(count: int = 6) -> Floats:
    return np.array(PLACES_NM[:count])


def test_a_weak_first_mode_has_its_own_onset() -> None:
    found = sweep(still(), (1.4, 1.45, 1.0, 1.4, 1.5, 1.42), (3e4, 2e4, 3e3, 3e4, 2e4, 3e4))
    modes = mode_onsets(found)
    first = modes.first
    assert first is not None
    assert first.wavelength_nm == pytest.approx(538.6, abs=0.05)
    assert first.ci95 is not None
    assert first.ci95[0] < 80.0 < first.ci95[1] < 84.0
    assert len(modes.found) == 6
    assert modes.text.startswith("modes, onset of each line in uJ/cm2: 538.60 nm from")


def test_a_mode_below_the_interval_is_named_first_and_flagged() -> None:
    modes = mode_onsets(sweep(still(3), (1.4, 1.45, 1.0), (3e4, 2e4, 3e3)))
    kink = BandThreshold("found", "threshold 112 uJ/cm2", threshold_uj_cm2=112.0, ci95=(110.0, 114.0))
    said = with_first_mode(kink, modes)
    assert said.flags == ("lines_below",)
    assert said.reason.startswith("first mode at 538.60 nm from")
    same = BandThreshold("found", "threshold 80 uJ/cm2", threshold_uj_cm2=80.0, ci95=(79.0, 81.0))
    assert with_first_mode(same, modes) == same
    assert with_first_mode(kink, Modes()) == kink


def test_lines_that_cross_are_not_joined() -> None:
    steps = np.arange(FLUENCE.size) - 18.0
    places = np.stack([540 + 0.15 * steps, 540 - 0.15 * steps, np.full(steps.size, 548.0)], axis=1)
    modes = mode_onsets(sweep(places, (1.0, 1.0, 1.0), (2e4, 2e4, 2e4)))
    assert modes.not_followed >= 2
    assert [round(mode.wavelength_nm) for mode in modes.found] == [548]


def test_lines_that_hop_are_not_followed() -> None:
    places = np.tile(still(), (FLUENCE.size, 1))
    places[18:, 2] += 0.8
    modes = mode_onsets(sweep(places, (1.0,) * 6, (2e4,) * 6))
    assert modes.not_followed == 2
    assert "hop" in modes.text
    assert len(modes.found) == 5


def test_chaotic_lines_are_not_followed() -> None:
    places = np.random.default_rng(2).uniform(528, 558, (FLUENCE.size, 6))
    assert mode_onsets(sweep(places, (1.0,) * 6, (2e4,) * 6)).found == ()


def test_too_little_to_follow_is_said() -> None:
    assert mode_onsets(None).reason == "fewer than 7 usable spectra"
    assert "no line" in mode_onsets(sweep(still(0), (), ())).reason
    assert randomness(sweep(still(0), (), ())) is None


def test_motion_is_that_beside_the_common_shift() -> None:
    rng = np.random.default_rng(4)
    drift = np.linspace(0.0, 0.2, FLUENCE.size)[:, None]
    common = randomness(sweep(still() + drift, (1.0,) * 6, (2e4,) * 6))
    assert common is not None
    assert common.moving is False
    assert common.common_shift_nm == pytest.approx(0.1, abs=0.04)
    places = still() + drift + 0.04 * rng.standard_normal((FLUENCE.size, 6))
    own = randomness(sweep(places, (1.0,) * 6, (2e4,) * 6))
    assert own is not None
    assert own.moving is True
    assert own.motion_nm == pytest.approx(0.04, rel=0.4)
    assert "they move beside the common shift" in own.text


def test_a_comb_gives_the_length_of_its_cavity() -> None:
    comb = np.asarray(1e7 / (18300.0 + 50.0 * np.arange(7)), dtype=np.float64)
    found = randomness(sweep(comb, (1.0,) * 7, (2e4,) * 7))
    assert found is not None
    assert found.verdict == "comb"
    assert found.n_group_length_um == pytest.approx(100.0, rel=0.01)
    strongest = float(found.length_um[np.argmax(found.power)])
    assert strongest == pytest.approx(100.0, rel=0.05)


@pytest.mark.parametrize("lines", [6, 8, 12])
def test_combs_are_not_irregular_and_random_places_are(lines: int) -> None:
    rng = np.random.default_rng(lines)

    def said(places: Floats) -> str:
        return spacing_of((1e7 / (18400.0 + 68.0 * places)).tolist()).verdict

    combs = [
        np.sort(rng.choice(lines + 2, lines, replace=False)) + 0.01 * rng.standard_normal(lines)
        for _ in range(80)
    ]
    assert [said(comb) for comb in combs].count("irregular") <= 2
    loose = [np.cumsum(0.5 + rng.exponential(0.5, lines)) for _ in range(80)]
    assert [said(places) for places in loose].count("irregular") >= 68


def test_two_interleaved_combs_are_a_cavity() -> None:
    k = np.arange(6.0)
    both = np.concatenate([k, k + 0.37])
    found = spacing_of((1e7 / (18400.0 + 60.0 * both)).tolist())
    assert found.verdict == "two combs"
    assert found.n_group_length_um == pytest.approx(1e4 / 120.0, rel=0.02)


def test_few_lines_say_nothing_of_a_comb() -> None:
    assert spacing_of([]).verdict == "too few lines"
    assert spacing_of([540.0]).spacing_nm is None
    assert spacing_of([540.0, 541.0, 543.0, 545.0, 546.0]).verdict == "too few lines"
    assert spacing_of([540.0] * 7).verdict == "too few lines"


def test_the_transform_is_finite_for_a_dark_spectrum() -> None:
    length, power = power_transform(AXIS_NM, np.zeros(AXIS_NM.size))
    assert length.size == power.size
    assert (power == 0).all()


def test_a_result_holds_modes_in_a_file_and_reads_without() -> None:
    modes = mode_onsets(sweep(still(3), (1.4, 1.45, 1.0), (3e4, 2e4, 3e3)))
    stored = plain(SweepResult(modes=modes))
    assert "light" not in stored["modes"]["modes"][0]
    again = record_of(SweepResult, stored)
    assert again.modes == modes
    del stored["modes"]
    assert record_of(SweepResult, stored).modes is None
