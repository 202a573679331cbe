"""All that the single shots of one fluence say, from their spectra."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.shots.heavy_tail import heavy_tail
from labctl.analysis.shots.moments import line_correlation, moments
from labctl.analysis.shots.overlap import overlap
from labctl.analysis.spectra.background import NoiseModel, fit_continuum, mean_noise, noise_model
from labctl.analysis.spectra.bands import Bands, PeakSignal, band_mask, band_slice
from labctl.analysis.spectra.lines import gaussian
from labctl.analysis.spectra.lineshape import q_factor
from labctl.analysis.spectra.peaks import Peak, find_peaks
from labctl.analysis.spectra.reduce import clip_level, correct_nonlinearity
from labctl.analysis.statistics import location
from labctl.model.records import SpectrometerInfo
from labctl.model.results.shot_statistics import Estimate, LineCorrelation, ShotQ, ShotStatistics

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

Q_SHOTS = 200
"""Shots of which the line is fitted, evenly chosen: a fit takes some 10 ms."""
Q_KNOWN = 0.1
"""Relative error above which the Q of a shot is noise."""


def shot_statistics(
    wavelength_nm: Floats,
    light: Floats,
    fluence_uj_cm2: float,
    *,
    bands: Bands,
    clipped: Bools | None = None,
    below_threshold: bool | None = False,
    resolution_nm: float | None = None,
    q_shots: int = Q_SHOTS,
    seed: int = 0,
) -> ShotStatistics:
    """Say what single shots of one fluence show.

    :param wavelength_nm: rising, nm, shape ``(pixel,)``.
    :param light: of each shot, dark subtracted and linear, counts, shape ``(shot, pixel)``.
    :param fluence_uj_cm2: mean of the shots, uJ/cm2.
    :param bands: whole emission (moments, overlap) and lasing peaks (tail, lines, Q).
    :param clipped: True where a RAW count of a pixel was saturated, shape of ``light``.
    :param below_threshold: the whole interval of the threshold lies above this fluence: no tail is stated;
        None where no threshold is known: then a mean spectrum without a narrow line counts as below.
    :param resolution_nm: FWHM of the slit; None when unknown: no Q then.
    :param q_shots: shots whose Q is fitted, at most.
    :param seed: of the surrogates of the overlap.
    :raises ValueError: shapes that do not fit, a band without a pixel, or fewer than three shots.
    """
    full = np.zeros(light.shape, dtype=np.bool_) if clipped is None else clipped
    if light.ndim != 2 or light.shape[1] != wavelength_nm.size or full.shape != light.shape:
        raise ValueError(
            f"shots of shape {light.shape}, clipped {full.shape} and {wavelength_nm.size} pixels do not fit"
        )
    whole, peaks_band = band_slice(wavelength_nm, bands.whole), band_slice(wavelength_nm, bands.peaks)
    noise = noise_model(light[:, whole])
    signal, peaks_noise = peak_signal(wavelength_nm, light, bands, noise)
    sound = ~full[:, whole].any(axis=1)
    lines = find_peaks(
        wavelength_nm[peaks_band], light[:, peaks_band].mean(axis=0), resolution_nm=resolution_nm
    )
    return ShotStatistics(
        fluence_uj_cm2,
        moments(light[:, whole].sum(axis=1), noise.read_counts * float(np.sqrt(whole.stop - whole.start))),
        heavy_tail(
            signal,
            noise=peaks_noise,
            clipped=full[:, peaks_band].any(axis=1),
            below_threshold=not lines if below_threshold is None else below_threshold,
        ),
        overlap(light[sound, whole], read_noise=noise.read_counts, counts_per_electron=noise.gain, seed=seed),
        _lines(wavelength_nm[peaks_band], light[sound, peaks_band], lines),
        None if resolution_nm is None else _q(wavelength_nm, light, full, bands, resolution_nm, q_shots),
    )


def statistics_of_raw(
    raw: Floats,
    dark: Floats,
    info: SpectrometerInfo,
    fluence_uj_cm2: float,
    *,
    bands: Bands,
    below_threshold: bool | None,
    q_shots: int = Q_SHOTS,
) -> ShotStatistics:
    """Say what single shots show, from their raw counts: :func:`shot_statistics`.

    :param raw: counts of each shot, shape ``(shot, pixel)``.
    :param dark: mean counts of shots in the dark, shape ``(pixel,)``.
    :param info: of the spectrometer: its pixels, full scale, nonlinearity and resolution.
    """
    light = raw - dark
    if info.nonlinearity is not None:
        light = correct_nonlinearity(light, info.nonlinearity)
    inside = band_slice(info.wavelength_nm, bands.whole)
    return shot_statistics(
        info.wavelength_nm,
        light,
        fluence_uj_cm2,
        bands=bands,
        clipped=raw >= min(info.max_counts, clip_level(raw[:, inside])),
        below_threshold=below_threshold,
        resolution_nm=info.resolution_nm,
        q_shots=q_shots,
    )


def peak_signal(
    wavelength_nm: Floats, light: Floats, bands: Bands, noise: NoiseModel
) -> tuple[Floats, float]:
    """Return the light in narrow peaks of each shot, shape ``(shot,)``, and its noise in the dark, counts."""
    whole = band_slice(wavelength_nm, bands.whole)
    axis, frames = wavelength_nm[whole], light[:, whole]
    continuum = fit_continuum(axis, frames.mean(axis=0), mean_noise(frames))
    form = PeakSignal(continuum, band_mask(axis, bands.peaks))
    return form(frames), form.norm * noise.read_counts


def _lines(axis: Floats, light: Floats, peaks: tuple[Peak, ...]) -> LineCorrelation | None:
    """Fit every line, and the luminescence under them, with one amplitude each to every shot."""
    if len(peaks) < 2 or len(light) < 10:
        return None
    mean = light.mean(axis=0)
    smooth = fit_continuum(axis, mean, mean_noise(light)).counts
    columns = [gaussian(axis - p.wavelength_nm, p.fwhm_nm)[0] for p in peaks]
    design = np.stack([*columns, smooth], axis=1)
    design /= np.maximum(np.linalg.norm(design, axis=0), 1e-300)
    found = np.linalg.lstsq(design, light.T, rcond=None)[0][:-1]
    return line_correlation([p.wavelength_nm for p in peaks], found.T)


def _q(
    axis: Floats, light: Floats, clipped: Bools, bands: Bands, resolution_nm: float, most: int
) -> ShotQ | None:
    chosen = np.unique(np.linspace(0, len(light) - 1, min(len(light), most)).astype(np.intp))
    found = [
        q_factor(axis, light[i], resolution_nm, band=bands.peaks, saturated=clipped[i], pulses_per_exposure=1)
        for i in chosen
    ]
    sure = [q for q in found if q is not None and not q.lower_bound and q.sigma < Q_KNOWN * q.value]
    if not sure:
        return None
    middle = location([q.value for q in sure], "median")
    return ShotQ(
        np.array([q.value for q in sure]),
        np.array([q.wavelength_nm for q in sure]),
        Estimate(middle.value, middle.sigma),
        shots=chosen.size,
    )
