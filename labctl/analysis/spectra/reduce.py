"""One point of a sweep: repeated raw exposures in, signals with their errors and widths out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.spectra import correct
from labctl.analysis.spectra.bands import Bands, PeakSignal, band_mask, band_slice
from labctl.analysis.spectra.continuum import fit_continuum
from labctl.analysis.spectra.correct import SpikeRecord
from labctl.analysis.spectra.noise import mean_noise
from labctl.analysis.spectra.peaks import Peak, find_peaks
from labctl.analysis.spectra.width import widths
from labctl.analysis.statistics import Estimator, Location, coefficient_of_variation, location

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ReducedPoint:
    """What the exposures of one fluence say, in dark-subtracted COUNTS PER PULSE.

    A sigma is one standard error: the scatter of the exposures over sqrt(n) (n - 1 degrees of freedom), and
    the share of the dark, and of the blank, which is common to all exposures, in quadrature; nan with a
    single exposure. Widths and the wavelength of the highest point are None without emission above the noise.

    :param spectrum: mean over exposures, counts per pulse, shape ``(pixel,)``.
    :param signal_whole: counts per pulse summed over the whole emission.
    :param signal_whole_sigma: its standard error.
    :param signal_peaks: counts per pulse summed over the lasing peaks.
    :param signal_peaks_sigma: its standard error.
    :param fwhm_nm: full width of the emission at half maximum, nm.
    :param equivalent_width_nm: integral over maximum, nm.
    :param peak_count: number of narrow peaks.
    :param peak_wavelength_nm: wavelength of the highest point, nm.
    :param exposure_cv: scatter of one exposure's whole signal over its mean.
    :param spikes: cosmic spikes that were taken out.
    :param peaks: the narrow peaks.
    :param n_exposures: exposures that were reduced.
    :param exposure_signals: whole signal of each exposure, counts per pulse.
    """

    spectrum: Floats = field(compare=False, repr=False)
    signal_whole: float
    signal_whole_sigma: float
    signal_peaks: float
    signal_peaks_sigma: float
    fwhm_nm: float | None
    equivalent_width_nm: float | None
    peak_count: int
    peak_wavelength_nm: float | None
    exposure_cv: float | None
    spikes: tuple[SpikeRecord, ...]
    peaks: tuple[Peak, ...] = ()
    n_exposures: int = 0
    exposure_signals: tuple[float, ...] = ()


def reduce_exposures(
    wavelength_nm: Floats,
    raw_frames: Floats,
    dark: Floats,
    *,
    bands: Bands,
    pulses_per_exposure: float | Sequence[float] | Floats,
    nonlinearity: Sequence[float] | None = None,
    remove_spikes: bool = True,
    blank: "ReducedPoint | Floats | None" = None,
    dark_exposures: int | None = None,
    bad_pixels: Bools | None = None,
    estimator: Estimator = "mean",
    resolution_nm: float | None = None,
) -> ReducedPoint:
    """Reduce the exposures of one fluence to signals, widths and peaks.

    In this order: dark, spikes, nonlinearity, per pulse, blank, bands, widths, peaks.

    :param wavelength_nm: rising, nm, shape ``(pixel,)``.
    :param raw_frames: raw counts, shape ``(exposure, pixel)``, at least one; saturated ones left out by the
        caller.
    :param dark: raw dark counts of the same integration time: the mean, ``(pixel,)``, or all frames,
        ``(dark exposure, pixel)``, whose scatter then gives the dark's share of the error.
    :param bands: where signals are integrated and peaks are looked for.
    :param remove_spikes: whether cosmic spikes are taken out.
    :param pulses_per_exposure: laser pulses in an exposure (> 0), one number or one for each exposure.
    :param nonlinearity: the detector's polynomial, see ``correct.correct_nonlinearity``; none by default.
    :param blank: spectrum without sample at the same fluence, counts per pulse: an earlier result, or its
        spectrum.
    :param dark_exposures: exposures behind a mean dark; four times the signal's by default.
    :param bad_pixels: hot or dead pixels to interpolate over, shape ``(pixel,)``.
    :param estimator: how signals of exposures are combined: the mean, or "median" or "trimmed" against heavy
        tails (both lie below the mean where the distribution is skewed, so use one of them for all points or
        for none).
    :param resolution_nm: FWHM of the slit; makes spike and peak finding a little sharper.
    :raises ValueError: shapes that do not fit, a pulse number that is not positive, a band without pixels.
    """
    frames, dark_mean, dark_frames = _checked(wavelength_nm, raw_frames, dark)
    light = correct.subtract_dark(frames, dark_mean)
    if bad_pixels is not None and bad_pixels.any():
        light = correct.mend_pixels(light, bad_pixels)
    spikes: tuple[SpikeRecord, ...] = ()
    if remove_spikes:
        light, spikes = correct.remove_spikes(
            light, line_fwhm_pixels=_line_pixels(wavelength_nm, resolution_nm)
        )
    if nonlinearity is not None:
        light = correct.correct_nonlinearity(light, nonlinearity)
    pulses = _pulses(pulses_per_exposure, len(frames))
    light = light / pulses[:, None]
    blank_spectrum = blank.spectrum if isinstance(blank, ReducedPoint) else blank
    if blank_spectrum is not None:
        light = correct.subtract_dark(light, blank_spectrum)
    inside = band_slice(wavelength_nm, bands.whole)
    n_darks = dark_exposures or 4 * len(frames)
    dark_share = _DarkShare(dark_frames, frames, n_darks, float(pulses.mean()), inside)
    return _measure(wavelength_nm, light, bands, spikes, dark_share, blank, estimator, resolution_nm)


def _checked(wavelength_nm: Floats, raw_frames: Floats, dark: Floats) -> tuple[Floats, Floats, Floats | None]:
    frames = np.asarray(raw_frames, dtype=np.float64)
    dark = np.asarray(dark, dtype=np.float64)
    if frames.ndim != 2 or not len(frames) or frames.shape[1] != wavelength_nm.size:
        raise ValueError(f"raw frames of shape {frames.shape} do not fit {wavelength_nm.size} wavelengths")
    if dark.ndim == 1:
        return frames, dark, None
    if dark.ndim != 2 or not len(dark):
        raise ValueError(f"dark of shape {dark.shape}; (pixel,) or (exposure, pixel) is needed")
    return frames, dark.mean(axis=0), dark if len(dark) > 1 else None


def _pulses(pulses_per_exposure: float | Sequence[float] | Floats, n_exposures: int) -> Floats:
    pulses = np.asarray(pulses_per_exposure, dtype=np.float64)
    if pulses.ndim and pulses.shape != (n_exposures,):
        raise ValueError(f"{pulses.size} pulse numbers do not fit {n_exposures} exposures")
    if not np.all(pulses > 0):
        raise ValueError("pulses per exposure must be positive")
    return np.asarray(np.broadcast_to(pulses, (n_exposures,)), dtype=np.float64)


def _line_pixels(wavelength_nm: Floats, resolution_nm: float | None) -> float:
    if resolution_nm is None:
        return 3.0
    pitch_nm = float(wavelength_nm[-1] - wavelength_nm[0]) / (wavelength_nm.size - 1)
    return float(np.clip(resolution_nm / pitch_nm, 2.5, 5.0))


class _DarkShare:
    """The error that the mean dark puts on a signal, the same for all exposures; counts per pulse."""

    def __init__(
        self, dark_frames: Floats | None, frames: Floats, dark_exposures: int, pulses: float, inside: slice
    ) -> None:
        self._pulses, self._n_pixels = pulses, inside.stop - inside.start
        self._dark = None if dark_frames is None else dark_frames[:, inside]
        self._read = 0.0
        if dark_frames is None and len(frames) > 1:
            # The quietest tenth of the pixels sees the read noise and little light.
            quiet = max(frames.shape[1] // 10, 1)
            darkest = frames[:, np.argpartition(frames[0], quiet)[:quiet]]
            self._read = math.sqrt(float(darkest.var(axis=0, ddof=1).mean()) / dark_exposures)

    def of_sum(self) -> float:
        """Standard error that the dark puts on the sum over the emission's band."""
        if self._dark is None:
            return self._read * math.sqrt(self._n_pixels) / self._pulses
        return _standard_error(self._dark.sum(axis=1)) / self._pulses

    def of_peaks(self, form: PeakSignal) -> float:
        """Standard error that the dark puts on the light in peaks; what is smooth in it cancels."""
        if self._dark is None:
            return self._read * form.norm / self._pulses
        return _standard_error(form(self._dark)) / self._pulses


def _standard_error(values: Floats) -> float:
    return float(values.std(ddof=1)) / math.sqrt(values.size)


def _measure(
    wavelength_nm: Floats,
    light: Floats,
    bands: Bands,
    spikes: tuple[SpikeRecord, ...],
    dark_share: _DarkShare,
    blank: ReducedPoint | Floats | None,
    estimator: Estimator,
    resolution_nm: float | None,
) -> ReducedPoint:
    inside = band_slice(wavelength_nm, bands.whole)
    at_nm, band_light = wavelength_nm[inside], np.ascontiguousarray(light[:, inside])
    mean, noise = band_light.mean(axis=0), mean_noise(band_light)
    wholes = band_light.sum(axis=1)
    peak_mask = band_mask(at_nm, bands.peaks)
    continuum = fit_continuum(at_nm, mean, noise)
    form = PeakSignal(continuum, peak_mask)
    in_peaks = form(band_light)
    found = find_peaks(at_nm, mean, noise=noise, continuum=continuum.counts, resolution_nm=resolution_nm)
    peaks = tuple(p for p in found if peak_mask[p.index])
    full, equivalent, top_nm = widths(at_nm, mean, noise=noise)
    blanks = (
        (blank.signal_whole_sigma, blank.signal_peaks_sigma)
        if isinstance(blank, ReducedPoint)
        else (0.0, 0.0)
    )
    whole, narrow = location(wholes, estimator), location(in_peaks, estimator)
    return ReducedPoint(
        spectrum=light.mean(axis=0),
        signal_whole=whole.value,
        signal_whole_sigma=_joint(whole, dark_share.of_sum(), blanks[0]),
        signal_peaks=narrow.value,
        signal_peaks_sigma=_joint(narrow, dark_share.of_peaks(form), blanks[1]),
        fwhm_nm=full,
        equivalent_width_nm=equivalent,
        peak_count=len(peaks),
        peak_wavelength_nm=top_nm,
        exposure_cv=coefficient_of_variation(wholes),
        spikes=spikes,
        peaks=peaks,
        n_exposures=len(light),
        exposure_signals=tuple(float(s) for s in wholes),
    )


def _joint(measured: Location, *common: float) -> float:
    return math.hypot(measured.sigma, *common)
