"""What darks, lamps and a ramp of exposures say of a spectrometer: axis, resolution, linearity."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.calibration.darks import DarkModel, fit_darks
from labctl.analysis.calibration.lamps import lamp_lines
from labctl.analysis.calibration.linearity import LinearityFit, fit_linearity
from labctl.analysis.calibration.lines import FoundLine, find_lines, lamp_noise
from labctl.analysis.calibration.resolution import ResolutionFit, fit_resolution
from labctl.analysis.calibration.wavelength import (
    LampSpectrum,
    WavelengthFit,
    fit_wavelength,
    measured_resolution_nm,
)
from labctl.analysis.spectra.correct import correct_nonlinearity, remove_spikes
from labctl.model.records import FloatArray, SpectrometerInfo
from procedures.calibration.context import CalContext, CalStep, Steps
from procedures.calibration.lampwork import Series
from procedures.calibration.record import Findings
from procedures.point.exposure import SATURATED

DISAGREE_REL, DISAGREE_SIGMAS = 0.005, 4.0
"""A device's own nonlinearity is not believed beyond both of these."""
LINE_SHAPE_REL = 0.02
"""Of a width, where few lines stand alone: faint neighbours, and a slit whose image is no Gaussian. What 52
simulated benches with one strong mercury line in range were off by (rms 1.9 %)."""
GRID = 16
_SPIKE_FWHM_PIXELS = 1.5


@dataclass(frozen=True, slots=True)
class Taken:
    """The exposures of the lamps, and those for the linearity, if it has to be measured."""

    lamps: list[Series]
    ramp: list[Series]


@dataclass(frozen=True, slots=True)
class Raw:
    """All that was exposed; ``darks`` by exposure time, s."""

    info: SpectrometerInfo
    taken: Taken
    darks: dict[float, Series]

    def light(self, series: Series) -> FloatArray:
        """Mean counts above the dark of the same time, without spikes."""
        above = series.frames - self.darks[series.integration_s].frames.mean(axis=0)
        clean = remove_spikes(above, line_fwhm_pixels=_SPIKE_FWHM_PIXELS)[0]
        return np.asarray(clean.mean(axis=0), dtype=np.float64)

    def saturated(self, series: Series) -> NDArray[np.bool_]:
        """Where any raw exposure was clipped, shape ``(pixel,)``."""
        return np.asarray((series.frames >= SATURATED * self.info.max_counts).any(axis=0), dtype=np.bool_)


def evaluated(context: CalContext, raw: Raw) -> Steps:
    """Find axis, resolution and linearity, showing each on the way, and return the calibration.

    :raises CalibrationRefused: the lines do not fit the lamps, or are too few.
    """
    found = Findings()
    dark = fit_darks(list(raw.darks), [series.frames for series in raw.darks.values()])
    for seconds, counts in zip(dark.at_s, dark.mean_counts, strict=True):
        text = f"dark: {counts:.1f} counts in {seconds:.4g} s"
        yield CalStep("dark", text, seconds, counts, "counts", "s", progress=0.85)
    linearity = _linearity(raw, dark)
    coefficients = _chosen_nonlinearity(found, raw.info, linearity)
    spectra = _lines(raw, dark, coefficients)
    longest = max(series.integration_s for series in raw.taken.lamps)
    guess = raw.info.resolution_nm or _guess_nm(spectra, raw.info)
    axis = fit_wavelength(spectra, raw.info.wavelength_nm, guess, exposure_s=longest)
    seen = measured_resolution_nm([x for s in spectra for x in s.found], raw.info.wavelength_nm)
    resolution = fit_resolution(spectra, axis, seen or guess)
    for nm, residual, sigma in zip(axis.line_nm, axis.line_residual_nm, axis.line_sigma_nm, strict=True):
        text = f"{nm:.3f} nm: {residual:+.4f} nm off the axis"
        yield CalStep("line", text, nm, residual, "nm", "nm", sigma, progress=0.95)
    yield _resolution_step(resolution)
    _note_dark(found, dark)
    _note_axis(found, axis, resolution, _middle_nm(context, axis))
    yield CalStep("note", _axis_text(found), progress=0.99)
    found.facts["lamp"] = ", ".join(dict.fromkeys(series.lamp for series in raw.taken.lamps))
    return found.calibration("spectrometer", context)


def _linearity(raw: Raw, dark: DarkModel) -> LinearityFit | None:
    ramp = raw.taken.ramp
    if not ramp:
        return None
    bad = np.zeros(raw.info.wavelength_nm.size, np.bool_)
    bad[list(dark.hot)] = True
    return fit_linearity(
        [series.integration_s for series in ramp],
        [raw.light(series) for series in ramp],
        [lamp_noise(series.frames, raw.darks[series.integration_s].frames) for series in ramp],
        raw.info.max_counts - dark.offset_counts,
        at_s=[series.at_s for series in ramp],
        bad=bad,
    )


def _chosen_nonlinearity(
    found: Findings, info: SpectrometerInfo, measured: LinearityFit | None
) -> tuple[float, ...]:
    """Return the response polynomial to use, and note whose it is."""
    ours = measured is not None
    if measured is not None:
        found.table("raw_linearity_integration_s", measured.integration_s)
        found.table("raw_linearity_response", measured.response)
    if measured is not None and info.nonlinearity is not None:
        off, sigmas = measured.disagreement(info.nonlinearity)
        found.facts["nonlinearity_disagreement_rel"] = off
        found.facts["nonlinearity_disagreement_sigmas"] = sigmas
        ours = abs(off) > DISAGREE_REL and sigmas > DISAGREE_SIGMAS
        if ours:
            found.flags.append(f"the device's nonlinearity is off by {off:+.1%} ({sigmas:.0f} sigma)")
    found.facts["nonlinearity_source"] = "measured" if ours else "device"
    if ours and measured is not None:
        found.table("nonlinearity", measured.coefficients)
        return measured.coefficients
    return info.nonlinearity or ()


def _lines(raw: Raw, dark: DarkModel, coefficients: Sequence[float]) -> list[LampSpectrum]:
    """Lines of every lamp out of all its exposures, areas per second so that they can be compared."""
    bad = np.zeros(raw.info.wavelength_nm.size, np.bool_)
    bad[list(dark.hot)] = True
    spectra = []
    for lamp, group in itertools.groupby(raw.taken.lamps, key=lambda series: series.lamp):
        lines: list[FoundLine] = []
        for series in group:
            noise = lamp_noise(series.frames, raw.darks[series.integration_s].frames)
            light = np.nan_to_num(correct_nonlinearity(raw.light(series), coefficients))
            seen = find_lines(light, noise, saturated=raw.saturated(series), bad=bad)
            lines += [replace(x, area_counts=x.area_counts / series.integration_s) for x in seen]
        spectra.append(LampSpectrum(tuple(lines), lamp_lines(lamp)))
    return spectra


def _guess_nm(spectra: Sequence[LampSpectrum], info: SpectrometerInfo) -> float:
    every = [line for spectrum in spectra for line in spectrum.found]
    pitch = float(np.median(np.diff(info.wavelength_nm)))
    return measured_resolution_nm(every, info.wavelength_nm) or 4.0 * pitch


def _resolution_step(fit: ResolutionFit) -> CalStep:
    x = np.linspace(fit.line_nm[0], fit.line_nm[-1], 41)
    curve = (tuple(x.tolist()), tuple(fit.at(float(nm))[0] for nm in x))
    text = f"resolution from {len(fit.line_nm)} lines that stand alone"
    return CalStep("fit", text, unit="nm", x_unit="nm", progress=0.98, series="resolution", curve=curve)


def _axis_text(found: Findings) -> str:
    keys = ("shift_nm", "axis_at_nm", "axis_sigma_nm", "axis_scale_nm")
    shift, at, sigma, scale = (float(found.facts[key]) for key in keys)
    known = f"{at:.1f} nm is now known to {sigma:.2g} nm (lamp's table: {scale:.2g} nm)"
    return f"the device's own axis is off by {-shift:+.4f} nm at the lines; {known}"


def _middle_nm(context: CalContext, axis: WavelengthFit) -> float:
    if context.bands is not None:
        return 0.5 * sum(context.bands.lasing_nm)
    return axis.at_nm(0.5 * axis.pixels)


def _note_dark(found: Findings, dark: DarkModel) -> None:
    found.quantity("offset_counts", dark.offset_counts, "counts", dark.offset_sigma)
    found.quantity("dark_counts_s", dark.current_counts_s, "counts/s", dark.current_sigma)
    found.table("hot_pixels", dark.hot)
    found.table("dark_integration_s", dark.at_s)
    found.table("dark_mean_counts", dark.mean_counts)
    found.facts["read_counts"] = dark.read_counts
    if dark.unstable:
        found.flags.append(f"{len(dark.unstable)} hot pixels come and go")
        found.table("raw_unstable_pixels", dark.unstable)


def _note_axis(found: Findings, axis: WavelengthFit, resolution: ResolutionFit, middle_nm: float) -> None:
    """Results for the lasing band's middle, tables for the whole range."""
    value, sigma = resolution.at(middle_nm)
    found.quantity("resolution", value, "nm", sigma, LINE_SHAPE_REL * value)
    found.quantity("wavelength_rms", axis.rms_nm, "nm", axis.rms_nm / math.sqrt(2.0 * max(axis.freedom, 1)))
    found.table("wavelength_coefficients", axis.coefficients)
    grid = np.linspace(resolution.line_nm[0], resolution.line_nm[-1], GRID)
    at_nm = [float(nm) for nm in grid] if len(resolution.line_nm) > 1 else [resolution.line_nm[0]]
    found.table("resolution_at_nm", at_nm)
    found.table("resolution_nm", [resolution.at(nm)[0] for nm in at_nm])
    found.table("line_nm", axis.line_nm)
    found.table("line_pixel", axis.line_pixel)
    found.table("line_residual_nm", axis.line_residual_nm)
    found.table("raw_line_sigma_nm", axis.line_sigma_nm)
    found.table("raw_resolution_line_nm", resolution.line_nm)
    found.table("raw_resolution_line_fwhm_nm", resolution.line_fwhm_nm)
    pixel = float(np.interp(middle_nm, axis.axis_nm(), np.arange(axis.pixels)))
    statistical, scale = axis.sigma_nm(pixel)
    found.facts |= {
        "order": float(axis.order),
        "shift_nm": axis.shift_nm,
        "axis_at_nm": middle_nm,
        "axis_sigma_nm": statistical,
        "axis_scale_nm": scale,
    }
    if axis.order == 0:
        found.flags.append(f"{len(axis.line_nm)} lamp lines: the device's axis was shifted, nothing more")
    if not axis.line_nm[0] <= middle_nm <= axis.line_nm[-1]:
        found.flags.append(f"{middle_nm:.0f} nm lies outside of the lamp's lines: add another lamp, ne best")
