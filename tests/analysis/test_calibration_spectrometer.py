"""The spectrometer's calibration against a synthetic lamp whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.polynomial import polynomial
from scipy import special

from labctl.analysis.calibration.detector import LinearityFit, fit_darks, fit_linearity
from labctl.analysis.calibration.lamp_lines import (
    LAMPS,
    FoundLine,
    LampLine,
    find_lines,
    isolated_lines,
    lamp_lines,
    lamp_noise,
    resolved_lines,
)
from labctl.analysis.calibration.wavelength import (
    LampSpectrum,
    WavelengthFit,
    fit_resolution,
    fit_wavelength,
    match_lines,
)
from labctl.model.errors import CalibrationRefused
from labctl.model.records import FloatArray

PIXELS = 2136
FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
AXES = {"fine": ((500.0, 0.0304, -1.9e-7), 0.15), "coarse": ((200.0, 0.405, -2.3e-6), 1.3)}
OFFSET, READ, GAIN, FULL = 1500.0, 10.0, 1 / 1.3, 65535.0


@dataclass
class Lamp:
    """A lamp before a spectrometer whose own axis is off; ``light`` holds the brightest line at 40000."""

    kind: str
    lamp: str
    seed: int
    strength_decades: float = 0.4

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        coefficients, resolution = AXES[self.kind]
        pixel = np.arange(PIXELS, dtype=float)
        self.device_nm = polynomial.polyval(pixel, coefficients)
        pitch = coefficients[1]
        unit = 2 * pixel / (PIXELS - 1) - 1
        off = self.rng.uniform(-1, 1, 3) * (min(1.0, 6 * pitch), 1.5 * pitch, 0.3 * pitch)
        self.true_nm = self.device_nm + polynomial.polyval(unit, off)
        self.slit_nm = resolution * self.rng.uniform(0.9, 1.15)
        self.resolution_nm = resolution
        self.light = self._light()

    def _light(self) -> FloatArray:
        edges = np.interp(np.arange(PIXELS + 1) - 0.5, np.arange(PIXELS), self.true_nm)
        light = np.zeros(PIXELS)
        for line in lamp_lines(self.lamp):
            if self.true_nm[0] < line.wavelength_nm < self.true_nm[-1]:
                height = 10 ** (line.strength + self.strength_decades * self.rng.standard_normal())
                z = (edges - line.wavelength_nm) / (self.slit_nm / FWHM_PER_SIGMA * math.sqrt(2))
                light += height * np.diff(special.erf(z))
        return np.asarray(light * (40000.0 / light.max()), dtype=np.float64)

    def frames(self, times: float, count: int = 10) -> FloatArray:
        light = times * self.light
        noise = np.sqrt(READ**2 + GAIN * light) * self.rng.standard_normal((count, PIXELS))
        return np.clip(np.rint(light + noise + OFFSET), 0, FULL)

    def found(self, *exposures: float) -> tuple[FoundLine, ...]:
        darks = self.frames(0.0, 40)
        lines: list[FoundLine] = []
        for times in exposures:
            frames = self.frames(times)
            mean = frames.mean(axis=0) - darks.mean(axis=0)
            clipped = np.asarray((frames >= 0.98 * FULL).any(axis=0), dtype=np.bool_)
            lines += find_lines(mean, lamp_noise(frames, darks), saturated=clipped)
        return tuple(lines)

    def fit(self, *exposures: float) -> tuple[WavelengthFit, tuple[FoundLine, ...]]:
        found = self.found(*exposures)
        return fit_wavelength([self.spectrum(found)], self.device_nm, self.resolution_nm), found

    def spectrum(self, found: Sequence[FoundLine]) -> LampSpectrum:
        return LampSpectrum(found, lamp_lines(self.lamp))

    def off_pixels(self, fit: WavelengthFit, pixel: float) -> float:
        places = np.arange(PIXELS)
        pitch = float(np.interp(pixel, places, np.gradient(self.true_nm)))
        return (fit.at_nm(pixel) - float(np.interp(pixel, places, self.true_nm))) / pitch


@pytest.mark.parametrize("lamp", LAMPS)
def test_tables_rise_and_hold_lines_that_everybody_knows(lamp: str) -> None:
    known = {
        "hg-ar": (435.833, 546.075, 763.511),
        "ne": (540.056, 640.225, 703.241),
        "kr": (557.029, 760.154),
    }
    at_nm = np.array([line.wavelength_nm for line in lamp_lines(lamp)])
    assert (np.diff(at_nm) > 0).all()
    for wavelength in known[lamp]:
        assert np.abs(at_nm - wavelength).min() < 0.002


def test_an_unknown_lamp_is_refused() -> None:
    with pytest.raises(CalibrationRefused, match=r"xe.*one of hg-ar, ne, kr"):
        lamp_lines("xe")


def test_blends_follow_from_the_table_and_the_resolution() -> None:
    argon = [line for line in lamp_lines("hg-ar") if 772 < line.wavelength_nm < 773]
    assert len(argon) == 2
    assert len(resolved_lines(argon, 0.02)) == 2
    assert resolved_lines(argon, 0.15) == ()
    beside_a_giant = [LampLine(500.0, 4), LampLine(500.3, 1)]
    assert resolved_lines(beside_a_giant, 0.15) == (beside_a_giant[0],)
    yellow = [LampLine(576.961, 3), LampLine(579.067, 3)]
    assert len(resolved_lines(yellow, 1.3)) == 2
    assert isolated_lines(yellow, 1.3) == ()


@pytest.mark.parametrize("fwhm", [1.3, 2.0, 5.0, 12.0])
def test_a_line_is_placed_within_its_error_however_narrow(fwhm: float) -> None:
    rng = np.random.default_rng(5)
    edges = np.arange(401) - 0.5
    pulls, widths = [], []
    for _ in range(40):
        centre = 200.0 + rng.uniform(-0.5, 0.5)
        z = (edges - centre) / (fwhm / FWHM_PER_SIGMA * math.sqrt(2))
        light = 40000.0 * 0.5 * np.diff(special.erf(z)) * fwhm
        frames, darks = (
            np.rint(x + np.sqrt(READ**2 + GAIN * x) * rng.standard_normal((10, 400)) + OFFSET)
            for x in (light, np.zeros(400))
        )
        noise = lamp_noise(frames, darks)
        (line,) = find_lines(frames.mean(axis=0) - darks.mean(axis=0), noise)
        pulls.append((line.pixel - centre) / line.pixel_sigma)
        widths.append(line.fwhm_pixels)
    assert abs(float(np.mean(pulls))) < 0.4
    assert 0.75 < float(np.std(pulls)) < 1.25
    assert float(np.mean(widths)) == pytest.approx(fwhm, rel=0.01)


@pytest.mark.parametrize(("kind", "lamp"), [("fine", "hg-ar"), ("fine", "ne"), ("coarse", "kr")])
def test_the_axis_is_found_within_a_tenth_of_a_pixel(kind: str, lamp: str) -> None:
    pulls = []
    for seed in range(5):
        bench = Lamp(kind, lamp, seed)
        fit, _ = bench.fit(1.0, 20.0)
        middle = 0.5 * (fit.line_pixel[0] + fit.line_pixel[-1])
        off = bench.off_pixels(fit, middle)
        assert abs(off) < 0.1
        pitch = float(np.interp(middle, np.arange(PIXELS), np.gradient(bench.true_nm)))
        pulls.append(off * pitch / fit.sigma_nm(middle)[0])
        assert fit.axis_nm()[1000] == pytest.approx(fit.at_nm(1000.0), abs=1e-9)
    assert np.abs(pulls).max() < 4.0
    assert float(np.std(pulls)) > 0.3


def test_a_second_lamp_adds_its_lines() -> None:
    neon, krypton = Lamp("fine", "ne", 7), Lamp("fine", "kr", 7)
    assert np.array_equal(neon.true_nm, krypton.true_nm)
    spectra = [lamp.spectrum(lamp.found(1.0, 20.0)) for lamp in (neon, krypton)]
    fit = fit_wavelength(spectra, neon.device_nm, 0.15)
    assert {540.0562, 557.0289} < set(fit.line_nm)
    assert list(fit.line_pixel) == sorted(fit.line_pixel)
    assert abs(neon.off_pixels(fit, 1300.0)) < 0.1
    assert len(fit_resolution(spectra, fit, 0.15).line_nm) > 5


def test_two_lines_give_a_shift_and_say_what_the_stretch_may_do() -> None:
    fit, _ = Lamp("fine", "kr", 3).fit(1.0)
    assert fit.order == 0
    assert len(fit.line_nm) == 2
    near, far = fit.sigma_nm(fit.line_pixel[0]), fit.sigma_nm(0.0)
    assert far[1] > 10 * near[1]


@pytest.mark.parametrize("kind", ["fine", "coarse"])
def test_the_resolution_is_found_within_five_percent(kind: str) -> None:
    for seed in range(2):
        bench = Lamp(kind, "ne", seed)
        fit, found = bench.fit(1.0, 20.0)
        widths = fit_resolution([bench.spectrum(found)], fit, bench.resolution_nm)
        for at_nm in (535.0, 545.0, 556.0):
            pitch = float(np.interp(at_nm, bench.true_nm, np.gradient(bench.true_nm)))
            seen = math.hypot(bench.slit_nm, FWHM_PER_SIGMA * pitch / math.sqrt(12))
            assert widths.at(at_nm)[0] == pytest.approx(seen, rel=0.05)
        assert widths.slit_nm(widths.middle_nm) == pytest.approx(bench.slit_nm, rel=0.05)


def test_nothing_but_saturated_lines_is_refused_with_an_exposure_to_try() -> None:
    bench = Lamp("fine", "kr", 1, strength_decades=0.1)
    found = bench.found(200.0)
    assert all(line.saturated for line in found)
    with pytest.raises(CalibrationRefused, match=r"saturated.*exposure of 0.05 s"):
        fit_wavelength([bench.spectrum(found)], bench.device_nm, 0.15, exposure_s=0.5)


def test_a_saturated_line_is_not_fitted_where_others_are_left() -> None:
    bench = Lamp("fine", "hg-ar", 2)
    fit, found = bench.fit(20.0)
    assert any(line.saturated for line in found)
    assert 546.075 not in fit.line_nm
    assert len(fit.line_nm) >= 3


def test_no_line_at_all_is_refused() -> None:
    bench = Lamp("fine", "ne", 1)
    with pytest.raises(CalibrationRefused, match="no lamp line is detected"):
        fit_wavelength([bench.spectrum(bench.found(0.0))], bench.device_nm, 0.15)


def test_lines_that_fit_in_two_ways_are_refused() -> None:
    device = np.linspace(500.0, 564.0, PIXELS)
    comb = [LampLine(522.0 + 0.6 * k, 3) for k in range(8)]
    found = [FoundLine(767.0 + 20.0 * k, 0.01, 5.0, 0.01, 1e5, 1.0) for k in range(5)]
    with pytest.raises(CalibrationRefused, match="more than one way"):
        match_lines(found, device, comb, 0.15)


@pytest.mark.parametrize(
    ("kind", "lamp", "asked"),
    [("coarse", "ne", "hg-ar"), ("coarse", "kr", "hg-ar"), ("fine", "ne", "kr"), ("fine", "hg-ar", "ne")],
)
def test_another_lamp_than_was_asked_for_is_refused(kind: str, lamp: str, asked: str) -> None:
    for seed in range(2):
        bench = Lamp(kind, lamp, seed)
        with pytest.raises(CalibrationRefused, match=r"not those of the lamp|more than one way"):
            match_lines(bench.found(1.0), bench.device_nm, lamp_lines(asked), bench.resolution_nm)


def test_a_wrong_line_among_many_is_left_out() -> None:
    bench = Lamp("coarse", "ne", 4)
    found = list(bench.found(1.0, 20.0))
    clean = fit_wavelength([bench.spectrum(found)], bench.device_nm, 1.3)
    place = found.index(next(f for f in found if f.pixel == clean.line_pixel[7]))
    found[place] = FoundLine(found[place].pixel + 1.0, 1e-3, 3.2, 0.01, found[place].area_counts, 1.0)
    spoilt = fit_wavelength([bench.spectrum(found)], bench.device_nm, 1.3)
    middle = clean.line_pixel[8]
    assert spoilt.at_nm(middle) == pytest.approx(clean.at_nm(middle), abs=0.01)


def droop_table(depth: float) -> tuple[FloatArray, FloatArray]:
    measured = np.linspace(-1000.0, 90000.0, 2001)
    return measured, measured / (1 - depth * (measured / FULL) ** 2)


def measured_response(bench: Lamp, depth: float, longest: float = 1.0, drift: float = 0.0) -> LinearityFit:
    measured, linear = droop_table(depth)
    darks = bench.frames(0.0, 20)
    times = [*np.geomspace(0.05, longest, 8), *np.geomspace(longest, 0.05, 8)]
    counts, noise, at_s = [], [], []
    for k, seconds in enumerate(times):
        light = 1.5 * bench.light * seconds * (1 + drift * k)
        frames = light + np.sqrt(READ**2 + GAIN * light) * bench.rng.standard_normal((10, PIXELS))
        frames = np.clip(np.rint(np.interp(frames, linear, measured) + OFFSET), 0, FULL)
        counts.append(frames.mean(axis=0) - darks.mean(axis=0))
        noise.append(lamp_noise(frames, darks))
        at_s.append(float(k))
    return fit_linearity(times, counts, noise, FULL - OFFSET, at_s=at_s)


def test_the_response_polynomial_is_found_and_held_against_the_devices() -> None:
    depth, errors = 0.05, []
    for seed in range(4):
        fit = measured_response(Lamp("coarse", "ne", seed), depth, drift=1e-4)
        assert fit.coefficients[0] == 1.0
        value, sigma = fit.relative(55000.0)
        errors.append((value - (1 - depth * (55000.0 / FULL) ** 2), sigma))
        off, sigmas = fit.disagreement((1.0, 0.0, -depth / FULL**2))
        assert abs(off) < 0.005
        assert sigmas < 5
        assert fit.disagreement((1.0,))[1] > 10  # a device that thinks itself linear
    assert max(abs(e) for e, _ in errors) < 0.003
    assert max(abs(e / s) for e, s in errors) < 4


def test_a_ramp_that_stays_low_is_refused() -> None:
    with pytest.raises(CalibrationRefused, match="of the full scale, the nonlinearity needs 70%"):
        measured_response(Lamp("coarse", "ne", 1), 0.03, longest=0.4)


def dark_stack(
    seconds: float, rng: np.random.Generator, current: FloatArray, offset: FloatArray
) -> FloatArray:
    counts = offset + current * seconds
    noise = np.sqrt(READ**2 + GAIN * current * seconds) * rng.standard_normal((20, PIXELS))
    return np.rint(counts + noise)


def test_darks_tell_offset_current_read_noise_and_hot_pixels() -> None:
    rng = np.random.default_rng(3)
    current = 3.0 * (1 + 0.2 * rng.standard_normal(PIXELS))
    offset = OFFSET + 4.0 * rng.standard_normal(PIXELS)
    current[[100, 700, 1500]] += (200.0, 500.0, 3000.0)
    times = (0.5, 0.01, 2.0, 0.1)
    stacks = [dark_stack(t, rng, current, offset) for t in times]
    stacks[2][3, 900] += 5000.0  # a cosmic spike
    stacks[2][:8, 1200] += 400.0  # a pixel that is hot at times
    model = fit_darks(times, stacks)
    assert model.hot == (100, 700, 1200, 1500)
    assert model.unstable == (1200,)
    assert model.at_s == (0.01, 0.1, 0.5, 2.0)
    assert abs(model.offset_counts - OFFSET) < 5 * model.offset_sigma + 0.2
    assert model.current_counts_s == pytest.approx(3.0, abs=0.2)
    assert model.read_counts == pytest.approx(READ, rel=0.03)
    good = np.setdiff1d(np.arange(PIXELS), [1200])
    pulls = (model.pixel_current - current)[good] / model.pixel_current_sigma[good]
    assert 0.9 < float(np.std(pulls)) < 1.1
    assert 0.8 < model.misfit < 1.2


def test_darks_of_one_length_are_refused() -> None:
    rng = np.random.default_rng(3)
    flat = np.ones(PIXELS)
    with pytest.raises(CalibrationRefused, match="cannot separate offset"):
        fit_darks((0.1, 0.2), [dark_stack(t, rng, flat, OFFSET * flat) for t in (0.1, 0.2)])
