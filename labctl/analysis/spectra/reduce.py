"""One point of a sweep: repeated raw exposures in, signals with their errors and widths out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from labctl.analysis.spectra.background import fit_continuum, mean_noise, spectrum_noise
from labctl.analysis.spectra.bands import Bands, PeakSignal, band_mask, band_slice
from labctl.analysis.spectra.peaks import Peak, find_peaks
from labctl.analysis.spectra.width import widths
from labctl.analysis.statistics import Estimator, Location, coefficient_of_variation, location

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_MAD_TO_SIGMA = 1.482602218505602


class SpikeRecord(NamedTuple):
    """One pixel of one exposure from which a spike was taken: indices, and the counts that were removed."""

    frame: int
    pixel: int
    removed_counts: float


def subtract_dark(counts: Floats, dark: Floats) -> Floats:
    """Subtract a dark spectrum taken with the same integration time.

    :param counts: raw counts, shape ``(..., pixel)``.
    :param dark: raw counts of the dark, shape ``(pixel,)``.
    :raises ValueError: the numbers of pixels differ.

    >>> subtract_dark(np.array([5.0, 7.0]), np.array([1.0, 1.0]))
    array([4., 6.])
    """
    if dark.ndim != 1 or counts.shape[-1:] != dark.shape:
        raise ValueError(f"counts of shape {counts.shape} do not fit a dark of shape {dark.shape}")
    return np.asarray(counts - dark, dtype=np.float64)


def correct_nonlinearity(dark_subtracted: Floats, coefficients: Sequence[float]) -> Floats:
    """Divide by the detector's response polynomial, as Ocean Optics stores it.

    corrected = counts / (c0 + c1 counts + c2 counts^2 + ...), counts above the dark; where the polynomial is
    not positive (far outside its range) the value is nan rather than nonsense.

    :param dark_subtracted: counts above the dark, any shape.
    :param coefficients: c0, c1, ...; an empty sequence means a linear detector.

    >>> correct_nonlinearity(np.array([100.0, 200.0]), (1.0, -0.001)).round(2).tolist()
    [111.11, 250.0]
    """
    if not len(coefficients):
        return np.array(dark_subtracted, dtype=np.float64)
    response = np.full(np.shape(dark_subtracted), float(coefficients[-1]))
    for coefficient in reversed(coefficients[:-1]):
        response *= dark_subtracted
        response += coefficient
    response[response <= 0] = np.nan
    return np.asarray(dark_subtracted / response, dtype=np.float64)


# A detector's response stays near 1; what is farther off comes from a memory that nobody programmed.
_LEAST_RESPONSE, _MOST_RESPONSE = 0.5, 1.5


def polynomial_problem(coefficients: Sequence[float], max_counts: float) -> str:
    """Return why a response polynomial is none of a detector; empty for a sound one, and for none at all.

    :param max_counts: up to which it must hold, > 0.

    >>> polynomial_problem((1.0, -1e-6), 65535.0)
    ''
    """
    if not len(coefficients):
        return ""
    top = max_counts if math.isfinite(max_counts) and max_counts > 0 else 65535.0
    counts = np.linspace(0.0, top, 257)
    with np.errstate(all="ignore"):
        response = np.polynomial.polynomial.polyval(counts, np.asarray(coefficients, dtype=np.float64))
        seen = counts / response
    why = ""
    if not np.isfinite(response).all():
        why = "is not a number"
    elif response.min() < _LEAST_RESPONSE or response.max() > _MOST_RESPONSE:
        why = f"reaches from {response.min():.3g} to {response.max():.3g} instead of staying near 1"
    elif not (np.diff(seen) > 0).all():
        why = "makes more light look like less"
    if not why:
        return ""
    return (
        f"the spectrometer's nonlinearity {why} between 0 and {top:.0f} counts and is left off: measure "
        f"it with labctl calibrate spectrometer"
    )


# So many readings on exactly the highest value of a point are no accident where noise is several counts.
_LEAST_EQUAL, _LEAST_ABOVE_COUNTS = 3, 500.0


def clip_level(frames: Floats) -> float:
    """Return the raw counts at which exposures are clipped below any maximum; inf if none are.

    A clipped top stands on one value, in neighbouring pixels and from exposure to exposure; noise never does.

    :param frames: raw counts, shape ``(exposure, pixel)`` or ``(pixel,)``.

    >>> clip_level(np.array([10.0, 900.0, 3000.0, 3000.0, 3000.0, 800.0, 10.0, 11.0, 9.0, 10.0]))
    3000.0
    """
    top = float(np.max(frames))
    if not (math.isfinite(top) and top - float(np.median(frames)) > _LEAST_ABOVE_COUNTS):
        return math.inf
    at = frames == top
    beside = bool((at[..., 1:] & at[..., :-1]).any())
    return top if beside and int(at.sum()) >= _LEAST_EQUAL else math.inf


def remove_spikes(
    frames: Floats, threshold_sigma: float = 7.0, *, line_fwhm_pixels: float = 3.0
) -> tuple[Floats, tuple[SpikeRecord, ...]]:
    """Take cosmic spikes out of repeated exposures, and say what was taken.

    A pixel is a spike when, against the median of the exposures, it stands out by ``threshold_sigma`` of its
    own scatter over exposures AND is sharper than the instrument can draw a line: for light through a slit of
    FWHM f pixels the mean of the neighbours at +-2 pixels is at least 2^-(4/f)^2 of the pixel between them
    (exactly so for a Gaussian slit, wherever the line is centred). A lasing mode that fluctuates from
    exposure to exposure fails both tests; a hot pixel, the same in all exposures, fails the first. With one
    or two exposures the neighbours alone decide.

    :param frames: dark-subtracted counts, shape ``(exposure, pixel)``; not written to.
    :param threshold_sigma: how far a spike stands out of a pixel's own scatter.
    :param line_fwhm_pixels: the instrument's resolution in pixels, or less.
    :returns: cleaned frames (the input itself when nothing was found) and one record for each pixel replaced.
    :raises ValueError: frames are not two-dimensional.
    """
    if frames.ndim != 2:
        raise ValueError(f"frames must have shape (exposure, pixel), not {frames.shape}")
    if frames.shape[1] < 8 or not frames.shape[0]:
        return frames, ()
    excess, sigma = _excess_over_exposures(frames) if len(frames) > 2 else _excess_over_neighbours(frames)
    high = excess > threshold_sigma * sigma
    if not high.any():
        return frames, ()
    spikes = high & _sharper_than_a_line(excess, sigma, threshold_sigma, line_fwhm_pixels)
    if not spikes.any():
        return frames, ()
    grown = (spikes | (_beside(spikes) & high)) if len(frames) > 2 else spikes
    return _replace(frames, excess, grown)


def _excess_over_exposures(frames: Floats) -> tuple[Floats, Floats]:
    """Excess over the median exposure, and each pixel's scatter over exposures, never below its
    surroundings'."""
    ordered = np.sort(np.ascontiguousarray(frames.T), axis=1)
    n = frames.shape[0]
    median = 0.5 * (ordered[:, (n - 1) // 2] + ordered[:, n // 2])
    # The lower half alone measures the scatter: spikes only ever raise a value.
    low = (n - 1) // 4
    share = 2.0 * (low + 0.625) / (n + 0.25)  # Blom's plotting position of that order statistic, over 1/2
    scatter = (median - ordered[:, low]) / max(_normal_quantile_distance(share / 2.0), 0.2)
    smooth = scipy.ndimage.median_filter(scatter, 31, mode="nearest")
    own = scipy.ndimage.maximum_filter1d(scatter, 5, mode="nearest")
    return frames - median, np.maximum(np.maximum(smooth, own), 1e-9)


def _normal_quantile_distance(share: float) -> float:
    """How many sigma below its centre a normal distribution holds ``share`` of itself."""
    return float(-scipy.special.ndtri(share))


def _excess_over_neighbours(frames: Floats) -> tuple[Floats, Floats]:
    surroundings = scipy.ndimage.median_filter(frames, (1, 7), mode="nearest")
    sigma = np.stack([spectrum_noise(frame) for frame in frames])
    # A line's top has more shot noise than its surroundings tell; with nothing to compare, be slow to cut.
    return frames - surroundings, np.maximum(sigma + 0.01 * np.abs(surroundings), 1e-9)


def _sharper_than_a_line(excess: Floats, sigma: Floats, threshold: float, fwhm_pixels: float) -> Bools:
    least = 2.0 ** -((4.0 / fwhm_pixels) ** 2)
    padded = np.pad(excess, ((0, 0), (2, 2)), mode="edge")
    beside = 0.5 * (padded[:, :-4] + padded[:, 4:])
    return np.asarray(least * excess > beside + least * 0.5 * threshold * sigma, dtype=np.bool_)


def _beside(mask: Bools) -> Bools:
    wide = np.zeros_like(mask)
    wide[:, 1:] |= mask[:, :-1]
    wide[:, :-1] |= mask[:, 1:]
    return wide


def _replace(frames: Floats, excess: Floats, spikes: Bools) -> tuple[Floats, tuple[SpikeRecord, ...]]:
    """Interpolate each exposure's EXCESS across its spikes, so that a mode's fluctuation stays."""
    cleaned = frames.copy()
    records = []
    for frame in np.flatnonzero(spikes.any(axis=1)):
        bad = np.flatnonzero(spikes[frame])
        good = np.flatnonzero(~spikes[frame])
        removed = excess[frame, bad] - np.interp(bad, good, excess[frame, good])
        cleaned[frame, bad] -= removed
        records += [SpikeRecord(int(frame), int(p), float(c)) for p, c in zip(bad, removed, strict=True)]
    return cleaned, tuple(records)


def hot_pixels(dark_frames: Floats, threshold_sigma: float = 8.0) -> Bools:
    """Find pixels whose dark level or dark noise stands out from their neighbourhood.

    :param dark_frames: raw dark counts, shape ``(exposure, pixel)`` or ``(pixel,)``.
    :returns: True where hot, shape ``(pixel,)``.
    """
    frames = np.atleast_2d(dark_frames)
    hot = _stands_out(np.median(frames, axis=0), threshold_sigma)
    if len(frames) >= 5:
        spread = frames.std(axis=0, ddof=1)
        hot |= _stands_out(spread, threshold_sigma)
    return hot


def _stands_out(values: Floats, threshold_sigma: float) -> Bools:
    rest = values - scipy.ndimage.median_filter(values, 15, mode="nearest")
    sigma = _MAD_TO_SIGMA * float(np.median(np.abs(rest)))
    return np.asarray(rest > max(threshold_sigma * sigma, 1e-9), dtype=np.bool_)


def mend_pixels(frames: Floats, bad: Bools) -> Floats:
    """Return ``frames``, ``(..., pixel)``, interpolated over the pixels marked in ``bad``, ``(pixel,)``."""
    if bad.all():
        raise ValueError("every pixel is bad")
    mended = np.array(frames, dtype=np.float64)
    good_at, bad_at = np.flatnonzero(~bad), np.flatnonzero(bad)
    for row in np.atleast_2d(mended):
        row[bad_at] = np.interp(bad_at, good_at, row[good_at])
    return mended


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
    :param raw_frames: raw counts, shape ``(exposure, pixel)``, at least one; saturated ones excluded by the
        caller.
    :param dark: raw dark counts of the same integration time: the mean, ``(pixel,)``, or all frames,
        ``(dark exposure, pixel)``, whose scatter then gives the dark's share of the error.
    :param bands: where signals are integrated and peaks are looked for.
    :param remove_spikes: whether cosmic spikes are taken out.
    :param pulses_per_exposure: laser pulses in an exposure (> 0), one number or one for each exposure.
    :param nonlinearity: the detector's polynomial, see ``correct_nonlinearity``; none by default.
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
    light = subtract_dark(frames, dark_mean)
    if bad_pixels is not None and bad_pixels.any():
        light = mend_pixels(light, bad_pixels)
    spikes: tuple[SpikeRecord, ...] = ()
    if remove_spikes:
        light, spikes = _without_spikes(wavelength_nm, light, resolution_nm)
    if nonlinearity is not None:
        light = correct_nonlinearity(light, nonlinearity)
    pulses = _pulses(pulses_per_exposure, len(frames))
    light = light / pulses[:, None]
    blank_spectrum = blank.spectrum if isinstance(blank, ReducedPoint) else blank
    if blank_spectrum is not None:
        light = subtract_dark(light, blank_spectrum)
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
        raise ValueError(f"dark of shape {dark.shape}; must be (pixel,) or (exposure, pixel)")
    return frames, dark.mean(axis=0), dark if len(dark) > 1 else None


def _pulses(pulses_per_exposure: float | Sequence[float] | Floats, n_exposures: int) -> Floats:
    pulses = np.asarray(pulses_per_exposure, dtype=np.float64)
    if pulses.ndim and pulses.shape != (n_exposures,):
        raise ValueError(f"{pulses.size} pulse numbers do not fit {n_exposures} exposures")
    if not np.all(pulses > 0):
        raise ValueError("pulses per exposure must be positive")
    return np.asarray(np.broadcast_to(pulses, (n_exposures,)), dtype=np.float64)


def _without_spikes(
    wavelength_nm: Floats, light: Floats, resolution_nm: float | None
) -> tuple[Floats, tuple[SpikeRecord, ...]]:
    if resolution_nm is None:
        return remove_spikes(light)
    pitch_nm = float(wavelength_nm[-1] - wavelength_nm[0]) / (wavelength_nm.size - 1)
    return remove_spikes(light, line_fwhm_pixels=float(np.clip(resolution_nm / pitch_nm, 2.5, 5.0)))


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
