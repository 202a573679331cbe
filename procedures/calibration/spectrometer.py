"""The spectrometer: darks, wavelengths and resolution from lamps, and linearity where it has to be measured.

The shutter stays closed throughout: the pump has no part in it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.calibration.detector import DarkModel, LinearityFit, fit_darks, fit_linearity
from labctl.analysis.calibration.lamp_lines import FoundLine, find_lines, lamp_lines, lamp_noise
from labctl.analysis.calibration.wavelength import (
    LampSpectrum,
    ResolutionFit,
    WavelengthFit,
    fit_resolution,
    fit_wavelength,
    measured_resolution_nm,
)
from labctl.analysis.spectra.reduce import correct_nonlinearity, remove_spikes
from labctl.model.clock import check_stop
from labctl.model.errors import CalibrationRefused, ConfigError
from labctl.model.records import FloatArray, SpectrometerInfo
from labctl.model.roles import Request
from procedures.calibration.context import CalContext, CalStep, SpectrometerOptions, Steps
from procedures.calibration.record import Findings
from procedures.gate.shutter import Blade, LightAccount
from procedures.point.exposure import SATURATED
from procedures.point.stale_frames import StaleFrameFilter

AIM = 0.6
"""Share of the full scale that the strongest line should reach."""
LONGEST_S = 4.0
_FIRST_S = 0.01
_STEPS = 14
_GROW = 12.0
_SEEN = 0.004
"""Share of the full scale below which a lamp counts as unseen."""
_SETTLED_S = 0.5


@dataclass(frozen=True, slots=True)
class Series:
    """Exposures of one time with one lamp, "" for none; ``frames`` are raw counts ``(exposure, pixel)``."""

    lamp: str
    integration_s: float
    frames: FloatArray
    at_s: float


class LampWork:
    """The spectrometer and a pair of hands; a context manager that leaves the shutter closed.

    :raises SafetyStop: the shutter does not confirm that it is closed.
    """

    def __init__(self, context: CalContext) -> None:
        self._context, self._clock = context, context.roles.clock
        rate = context.settings.repetition_rate_hz
        self._blade = Blade(context.roles.shutter, self._clock, LightAccount(self._clock, rate))
        self._changed_s = self._clock.now_s()
        self._fresh = StaleFrameFilter(context.roles.spectrometer, self._clock, lambda: self._changed_s)
        self.info = context.roles.spectrometer.info

    def __enter__(self) -> LampWork:
        self._blade.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._blade.close()

    def put(self, lamp: str) -> None:
        """Have a lamp put before the spectrometer, or with "" taken away."""
        self._blade.close()
        text = (
            f"Light the {lamp} lamp and fix it in front of the spectrometer input."
            if lamp
            else "Remove every lamp from the spectrometer input; change nothing else."
        )
        self._context.ask(Request("lamp", text, {"name": lamp}))
        self._clock.sleep(_SETTLED_S, self._context.stop)
        self._changed_s = self._clock.now_s()

    def series(self, lamp: str, seconds: float, count: int) -> Series:
        """Take ``count`` exposures of one time."""
        stop = self._context.stop
        check_stop(stop)
        confirmed_s = self._fresh.set_integration(self.possible(seconds))
        start_s = self._clock.now_s()
        frames = np.stack([self._fresh.acquire(stop).counts for _ in range(count)])
        return Series(lamp, confirmed_s, frames, 0.5 * (start_s + self._clock.now_s()))

    def possible(self, seconds: float) -> float:
        """Return the exposure time nearest to ``seconds`` that the device can do, whole microseconds."""
        low, high = self.info.integration_min_s, self.info.integration_max_s
        return min(max(round(seconds, 6), low), high)

    def suitable_s(self, lamp: str) -> tuple[float, float]:
        """Return an exposure time at which the strongest line is bright and not saturated, and its share.

        :raises CalibrationRefused: saturated however short, or not seen however long.
        """
        seconds = self.possible(_FIRST_S)
        longest = min(self.info.integration_max_s, LONGEST_S)
        for _ in range(_STEPS):
            counts = self.series(lamp, seconds, 1).frames[0]
            share, raw = self._shares(counts)
            if raw >= SATURATED:
                if seconds <= self.info.integration_min_s * 1.001:
                    raise CalibrationRefused(
                        f"the lamp saturates the spectrometer in {seconds:g} s, its shortest exposure",
                        "move the lamp away, or put a diffuser or a filter in front of it",
                    )
                seconds = self.possible(seconds / 8.0)
            elif share >= 0.5 * AIM and raw <= 0.85:
                return seconds, share
            elif seconds >= longest * 0.999:
                if self._wide_share(counts) < _SEEN:
                    raise CalibrationRefused(
                        f"no light of the {lamp} lamp is detected in {seconds:g} s",
                        "check that it is on and that its light reaches the input",
                    )
                return seconds, share
            else:
                seconds = self.possible(min(seconds * min(AIM / max(share, 1e-6), _GROW), longest))
        raise CalibrationRefused(
            f"the {lamp} lamp is too unstable to choose an exposure time", "let it warm up for some minutes"
        )

    def _shares(self, counts: FloatArray) -> tuple[float, float]:
        """Light above the typical pixel and raw counts as shares of the full scale, of the third brightest
        pixel: one may be hot, one struck by a cosmic particle."""
        top = float(np.partition(counts, -3)[-3])
        return (top - float(np.median(counts))) / self.info.max_counts, top / self.info.max_counts

    def _wide_share(self, counts: FloatArray) -> float:
        """Light of whatever is wider than one hot pixel."""
        middle = np.median(np.stack([counts[:-2], counts[1:-1], counts[2:]]), axis=0)
        return float(middle.max() - np.median(counts)) / self.info.max_counts

    def darks(self, times_s: Iterable[float], count: int) -> dict[float, Series]:
        """Take darks of every time, the longest with fewer exposures; by the time as confirmed."""
        taken = [self.series("", seconds, dark_count(seconds, count)) for seconds in sorted(set(times_s))]
        return {series.integration_s: series for series in taken}


def dark_count(seconds: float, count: int) -> int:
    """Exposures at a time: fewer of long ones, never fewer than 5."""
    return int(min(max(40.0 / seconds, 5), max(count, 5)))


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
    text = f"resolution from {len(fit.line_nm)} isolated lines"
    return CalStep("fit", text, unit="nm", x_unit="nm", progress=0.98, series="resolution", curve=curve)


def _axis_text(found: Findings) -> str:
    keys = ("shift_nm", "axis_at_nm", "axis_sigma_nm", "axis_scale_nm")
    shift, at, sigma, scale = (float(found.facts[key]) for key in keys)
    known = f"{at:.1f} nm is now known to {sigma:.2g} nm (lamp's table: {scale:.2g} nm)"
    return f"the axis stored in the device is off by {-shift:+.4f} nm at the lines; {known}"


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
        found.flags.append(f"{len(dark.unstable)} hot pixels are intermittent")
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
        found.flags.append(f"{len(axis.line_nm)} lamp lines: the device axis was only shifted")
    if not axis.line_nm[0] <= middle_nm <= axis.line_nm[-1]:
        found.flags.append(
            f"{middle_nm:.0f} nm is outside the range of the lamp lines: add another lamp, preferably ne"
        )


LONGER = 10.0
"""Each further exposure of a lamp, for its weak lines, is so many times longer."""
RAMP = (0.07, 0.93)
"""Shares of the full scale between which the linearity is measured, ``RAMP_TIMES`` times up and down."""
RAMP_TIMES = 8


def calibrate_spectrometer(context: CalContext) -> Steps:
    """Measure darks, wavelengths, resolution and linearity.

    :raises CalibrationRefused: a lamp that saturates, is not seen or is not the one asked for; too few lines.
    """
    options = _options(context)
    with LampWork(context) as work:
        taken = yield from _exposures(work, options)
        yield CalStep("note", "all lamps measured; next: darks", progress=0.7)
        work.put("")
        darks = work.darks(_dark_times(work, [*taken.lamps, *taken.ramp]), options.frames)
    return (yield from evaluated(context, Raw(work.info, taken, darks)))


def _options(context: CalContext) -> SpectrometerOptions:
    options = cast("SpectrometerOptions", context.options)
    if not options.lamps:
        raise ConfigError("a lamp is needed", key="lamps", hint="hg-ar, ne or kr")
    if options.frames < 5:
        raise ConfigError(f"5 exposures or more, not {options.frames}", key="frames")
    for lamp in options.lamps:
        lamp_lines(lamp)
    return options


# --- measuring -----------------------------------------------------------------------------------------


def _exposures(work: LampWork, options: SpectrometerOptions) -> Generator[CalStep, None, Taken]:
    """Each lamp at an exposure for its strongest line and at longer ones; the last lamp's linearity ramp."""
    taken = Taken([], [])
    for number, lamp in enumerate(options.lamps):
        work.put(lamp)
        seconds, share = work.suitable_s(lamp)
        at = number / len(options.lamps)
        yield CalStep("note", f"{lamp}: {seconds:.4g} s for the strongest line", progress=0.5 * at)
        for longer in _longer(work, seconds):
            taken.lamps.append(work.series(lamp, longer, dark_count(longer, options.frames)))
            yield _shown("lamp", taken.lamps[-1], 0.5 * (at + 0.5 / len(options.lamps)))
    if work.info.nonlinearity is None or options.linearity:
        for each in _ramp(work, seconds, share):
            taken.ramp.append(work.series(lamp, each, max(options.frames // 2, 5)))
            yield _shown("linearity", taken.ramp[-1], 0.5 + 0.2 * len(taken.ramp) / (2 * RAMP_TIMES))
    return taken


def _longer(work: LampWork, seconds: float) -> list[float]:
    longest = max(min(LONGEST_S, work.info.integration_max_s), seconds)
    times = [seconds]
    while times[-1] < longest / 2.0:
        times.append(min(times[-1] * LONGER, longest))
    return times


def _ramp(work: LampWork, seconds: float, share: float) -> list[float]:
    """Exposure times up and down again, so that a lamp's even drift cancels."""
    if share < 0.5 * AIM:
        raise CalibrationRefused(
            f"the lamp reaches {share:.0%} of the full scale in {seconds:g} s: too faint for the linearity",
            "move the lamp closer",
        )
    room = share + 1.0 - SATURATED
    ends = (seconds * RAMP[0] / room, seconds * RAMP[1] / room * 0.97)
    up = [work.possible(float(s)) for s in np.geomspace(*ends, RAMP_TIMES)]
    return [*up, *up[::-1]]


def _dark_times(work: LampWork, taken: Sequence[Series]) -> list[float]:
    """The times in use, and enough others to tell offset from dark current."""
    times = {series.integration_s for series in taken}
    return [*times, work.possible(0.02), work.possible(1.0), work.possible(LONGEST_S)]


def _shown(what: str, series: Series, progress: float) -> CalStep:
    top = float(series.frames.mean(axis=0).max())
    text = f"{series.lamp}: {len(series.frames)} exposures of {series.integration_s:.4g} s"
    return CalStep(what, text, series.integration_s, top, "counts", "s", progress=progress)
