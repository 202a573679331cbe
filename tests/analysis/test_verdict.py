"""Three witnesses, one verdict: what counts as a line, and what a kink alone is worth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from labctl.analysis.evaluation.verdict import Seen, judge
from labctl.analysis.spectra.bands import Band
from labctl.analysis.spectra.narrow import Floats, NarrowLines, Spectra, narrow_lines
from labctl.model.results.sweep import Threshold

AT_NM = np.arange(500.0, 564.0, 0.03)
FLUENCE = np.geomspace(30.0, 180.0, 14)
ONSET = 80.0
BAND, WHOLE = Band(530.0, 556.0, "peaks"), Band(505.0, 560.0, "whole")
FOUND = Threshold("found", "", 14, threshold_uj_cm2=ONSET, ci95=(79.0, 81.0), exponent=2.0)
NONE = Threshold("not_found", "", 14, bound=(180.0, None))


def gauss(centre_nm: float, fwhm_nm: float) -> Floats:
    return np.asarray(np.exp(-4 * np.log(2) * ((AT_NM - centre_nm) / fwhm_nm) ** 2))


LUMINESCENCE = gauss(525.0, 25.0)


def laser(f: float) -> Floats:
    lines = sum(gauss(nm, 0.45) for nm in (536.6, 539.3, 541.0))
    return np.asarray(0.1 * f**2 * LUMINESCENCE + 300.0 * max(f - ONSET, 0.0) * lines)


def fringed(f: float) -> Floats:
    return np.asarray(0.1 * f**2 * LUMINESCENCE * (1 + 0.3 * np.cos(2 * np.pi * AT_NM / 0.9)))


def stripe(f: float) -> Floats:
    narrow = np.exp(min(f / 25.0, 5.5))
    return np.asarray(0.1 * f**2 * (LUMINESCENCE + 0.2 * narrow * gauss(535.0, 6.0)))


def plain(f: float) -> Floats:
    return np.asarray(0.1 * f**2 * LUMINESCENCE)


def spectra(
    shape: Callable[[float], Floats], fluence: Floats = FLUENCE, extra: Floats | None = None, **more: object
) -> Spectra:
    rng = np.random.default_rng(11)
    counts = []
    for f in fluence:
        mean = shape(float(f)) + (0.0 if extra is None else extra)
        counts.append(
            mean + rng.normal(0.0, 3.0, AT_NM.size) + rng.normal(0.0, 1.0, AT_NM.size) * np.sqrt(mean)
        )
    return Spectra(AT_NM, counts, fluence, BAND, WHOLE, 0.15, **more)  # type: ignore[arg-type]


def lines(seen: Spectra) -> NarrowLines:
    return narrow_lines(seen, np.ones(len(seen.counts), dtype=np.bool_))


def widths(before: float, after: float) -> Floats:
    return np.where(FLUENCE < ONSET, before, after)


def test_lines_of_a_laser_count_from_its_onset_on() -> None:
    found = lines(spectra(laser))
    assert found.count[FLUENCE < 0.98 * ONSET].tolist() == [0.0] * int((FLUENCE < 0.98 * ONSET).sum())
    assert found.count[FLUENCE > 1.1 * ONSET].tolist() == [3.0] * int((FLUENCE > 1.1 * ONSET).sum())


def test_lines_of_a_scan_above_threshold_count_too() -> None:
    found = lines(spectra(laser, np.geomspace(160.0, 600.0, 14)))
    assert (found.count == 3).all()


def test_fringes_do_not_grow_faster_than_what_they_multiply() -> None:
    found = lines(spectra(fringed))
    assert found.count.sum() == 0
    assert found.dropped["fringe"] > 20
    assert "fringes" in found.said


def test_amplified_luminescence_is_no_line() -> None:
    found = lines(spectra(stripe))
    assert found.count.sum() == 0


def test_pump_and_dark_make_no_line() -> None:
    at_pump = spectra(plain, extra=4000.0 * gauss(2 * 800.0 / 3, 0.4), pump_nm=800.0)
    assert set(lines(at_pump).dropped) == {"pump"}
    lamp = 500.0 + 4000.0 * gauss(546.1, 0.4)
    in_dark = spectra(plain, extra=2000.0 * gauss(546.1, 0.4), dark=[lamp] * FLUENCE.size)
    assert set(lines(in_dark).dropped) == {"dark"}


def test_what_one_exposure_alone_shows_is_no_line() -> None:
    flash = 6000.0 * gauss(545.0, 0.5)

    def exposures(index: int) -> Floats:
        frames = np.stack([plain(float(FLUENCE[index]))] * 4)
        frames[2] += 4 * flash
        return frames

    assert lines(spectra(plain, extra=flash, exposures=exposures)).count.sum() == 0
    steady = lines(spectra(laser, exposures=lambda i: np.stack([laser(float(FLUENCE[i]))] * 4)))
    assert steady.count.max() == 3


@pytest.mark.parametrize(
    ("shape", "threshold", "width", "status"),
    [
        (laser, FOUND, widths(25.0, 0.45), "lasing"),
        (stripe, FOUND, widths(25.0, 6.0), "narrowing"),
        (stripe, NONE, widths(25.0, 6.0), "narrowing"),
        (plain, FOUND, widths(25.0, 25.0), "kink"),
        (fringed, FOUND, widths(25.0, 25.0), "kink"),
        (plain, NONE, widths(25.0, 24.0), "no_threshold"),
        (laser, NONE, widths(25.0, 0.45), "undecided"),
        (plain, Threshold("above_range", bound=(150.0, None)), widths(25.0, 25.0), "undecided"),
        (plain, FOUND, widths(25.0, 19.0), "undecided"),
    ],
)
def test_the_verdict_needs_all_witnesses(
    shape: Callable[[float], Floats], threshold: Threshold, width: Floats, status: str
) -> None:
    verdict = judge(threshold, Seen(FLUENCE, width, lines(spectra(shape))))
    assert verdict.status == status
    assert [w.name for w in verdict.witnesses] == ["kink", "linewidth", "lines"]
    assert all(w.reason for w in verdict.witnesses)


def test_fringes_that_cut_the_emission_at_half_its_height_do_not_narrow_it() -> None:
    seen = Seen(FLUENCE, widths(12.0, 1.0), lines(spectra(fringed)), widths(18.0, 18.0))
    assert judge(FOUND, seen).status == "kink"
    laser_seen = Seen(FLUENCE, widths(25.0, 0.45), lines(spectra(laser)), widths(26.0, 20.0))
    assert judge(FOUND, laser_seen).status == "lasing"


def test_deep_fringes_that_the_low_end_hardly_shows_are_no_lines() -> None:
    """In a bright spectrum the smooth part runs at the feet of the fringes, in a faint one in their midst."""

    def deep(fluence: float) -> Floats:
        phase = 2 * np.pi * AT_NM / 1.1 + 0.1 * fluence / FLUENCE.max()
        return np.asarray(plain(fluence) * (1.0 + 0.45 * np.cos(phase)))

    assert lines(spectra(deep)).count.sum() == 0


def test_a_scan_above_threshold_is_named_so() -> None:
    f = np.geomspace(160.0, 600.0, 14)
    above = Threshold("below_range", bound=(None, 160.0), flags=("all_lines", "start_lower"))
    verdict = judge(above, Seen(f, np.full(14, 0.45), lines(spectra(laser, f))))
    assert verdict.status == "above_threshold"


@pytest.mark.parametrize("width", [None, widths(25.0, 25.0), widths(25.0, 0.5)])
def test_a_table_is_never_lasing(width: Floats | None) -> None:
    verdict = judge(FOUND, Seen(FLUENCE, width, None))
    assert verdict.status in ("kink", "narrowing")
    if width is None:
        assert verdict.headline == "kink; linewidth not given"
