"""Signals and their errors inside moved bands, from the raw exposures that lie in the run's file.

The stored reduced spectrum stays what it is; the exposures say how the light inside the new bands scattered.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.spectra.bands import Bands, PeakSignal, band_mask, band_slice
from labctl.analysis.spectra.continuum import fit_continuum
from labctl.analysis.spectra.noise import mean_noise
from labctl.analysis.statistics import location
from labctl.data.run import Run
from labctl.model.records import DarkRecord, FloatArray, SweepPoint


@dataclass(frozen=True, slots=True)
class Moved:
    """Counts per pulse inside moved bands, shape ``(n,)``; a sigma is one standard error, nan if unknown."""

    emission: FloatArray
    emission_sigma: FloatArray
    lasing: FloatArray
    lasing_sigma: FloatArray


def moved_signals(run: Run, bands: Bands) -> Moved:
    """Sum every point of a stored run over other bands.

    :raises ValueError: a band holds no pixel.
    """
    darks = {dark.number: dark for dark in run.darks}
    rows = [_of_point(run.point(at), darks, run.wavelength_nm, bands) for at in range(len(run))]
    columns = np.array(rows, dtype=np.float64).reshape(len(rows), 4).T
    return Moved(*columns)


def _of_point(
    point: SweepPoint, darks: Mapping[int, DarkRecord], wavelength_nm: FloatArray, bands: Bands
) -> tuple[float, float, float, float]:
    inside = band_slice(wavelength_nm, bands.whole)
    light = _exposures(point)[:, inside]
    at_nm, noise = wavelength_nm[inside], mean_noise(light)
    mask = band_mask(at_nm, bands.peaks)
    form = PeakSignal(fit_continuum(at_nm, light.mean(axis=0), noise), mask)
    pixel = _common_noise(point, darks)[inside]
    whole, narrow = location(light.sum(axis=1)), location(form(light))
    shares = float(np.sqrt((pixel**2).sum())), form.norm * float(np.sqrt((pixel**2).mean()))
    return (
        whole.value,
        math.hypot(whole.sigma, shares[0]),
        narrow.value,
        math.hypot(narrow.sigma, shares[1]),
    )


def _exposures(point: SweepPoint) -> FloatArray:
    """Return the exposures that were used, counts per pulse, shape ``(exposure, pixel)``.

    Their mean is the stored spectrum: dark, blank and nonlinearity are in it already.
    """
    frames = point.frames.copy()
    for exposure, pixel, _ in point.spikes:
        others = np.delete(point.frames[:, pixel], exposure)
        frames[exposure, pixel] = others.mean() if others.size else frames[exposure, pixel]
    frames = frames[_unsaturated(frames, point.saturated_exposures)]
    light: FloatArray = point.spectrum + (frames - frames.mean(axis=0)) / point.pulses_per_exposure
    return light


def _unsaturated(frames: FloatArray, saturated: int) -> NDArray[np.intp]:
    """Return which exposures the reduction used: the brightest ones are those that were saturated."""
    kept = len(frames) - saturated if saturated < len(frames) else len(frames)
    return np.sort(np.argsort(frames.max(axis=1), kind="stable")[:kept])


def _common_noise(point: SweepPoint, darks: Mapping[int, DarkRecord]) -> FloatArray:
    """Return the error of dark and blank, common to all exposures, counts per pulse and pixel."""
    total = np.zeros_like(point.spectrum)
    for number in (point.dark_number, point.blank_number):
        record = None if number is None else darks.get(number)
        if record is not None:
            total += record.spread**2 / max(record.n, 1)
    noise: FloatArray = np.sqrt(total) / point.pulses_per_exposure
    return noise
