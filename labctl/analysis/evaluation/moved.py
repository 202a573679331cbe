"""Points summed over other bands than they were measured with, from their raw exposures.

The very exposures are used that the run used: a file says which it left out. One of an older labctl does
not; of its points that were saturated in part, the brightest exposures are taken for those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from labctl.analysis.spectra.bands import band_mask, bands_of
from labctl.analysis.spectra.reduce import ReducedPoint, reduce_exposures
from labctl.model.plan import SweepPlan
from labctl.model.pump import Bands
from labctl.model.records import DarkRecord, FloatArray, SweepPoint
from labctl.model.run import Points, RunFacts, without_arrays

GUESSED = "exposures_guessed"
"""Flag of a result for which a file did not say which exposures its points had left out."""


def moved_points(
    points: Points, plan: SweepPlan, facts: RunFacts, bands: Bands
) -> tuple[list[SweepPoint], bool]:
    """Reduce every point of a run again, over other bands; arrays are dropped.

    :returns: the points, and whether exposures had to be guessed.
    :raises ValueError: a band holds no pixel.
    """
    darks = {dark.number: dark for dark in points.darks}
    found, guessed = [], False
    for index in range(len(points)):
        point = points.point(index)
        guessed = guessed or (point.left_out is None and 0 < point.saturated_exposures < point.exposures)
        if point.frames.size and facts.spectrometer is not None:
            point = _reduced(point, darks, plan, facts, bands)
        found.append(without_arrays(point))
    return found, guessed


def used_exposures(point: SweepPoint) -> Sequence[int]:
    """Return which exposures a point was reduced from, counted from 0; all of them where none was sound."""
    count = len(point.frames)
    if point.saturated_exposures >= count:
        return range(count)
    if point.left_out is not None:
        out = {exposure for exposure, _ in point.left_out}
        return [exposure for exposure in range(count) if exposure not in out]
    brightest = np.argsort(point.frames.max(axis=1), kind="stable")[: count - point.saturated_exposures]
    return sorted(int(exposure) for exposure in brightest)


def _reduced(
    point: SweepPoint, darks: dict[int, DarkRecord], plan: SweepPlan, facts: RunFacts, bands: Bands
) -> SweepPoint:
    info = facts.spectrometer
    assert info is not None
    frames = point.frames[used_exposures(point)]
    dark = darks.get(point.dark_number)
    pulses = point.pulses_per_exposure

    def reduce(blank: FloatArray | None) -> ReducedPoint:
        return reduce_exposures(
            info.wavelength_nm,
            frames,
            np.zeros_like(info.wavelength_nm) if dark is None else dark.counts,
            bands=bands_of(bands),
            pulses_per_exposure=pulses,
            nonlinearity=info.nonlinearity,
            remove_spikes=plan.remove_spikes,
            blank=blank,
            dark_exposures=None if dark is None else dark.n,
            resolution_nm=info.resolution_nm,
        )

    found = reduce(None)
    # What the stored spectrum lacks beside this one is the blank's, or a correction that nobody knows now.
    missing = found.spectrum - point.spectrum
    if np.abs(missing).max() > 1e-9 * max(float(np.abs(found.spectrum).max()), 1e-30):
        found = reduce(missing)
    inside = band_mask(info.wavelength_nm, bands_of(bands).whole)
    blank = None if point.blank_number is None else darks.get(point.blank_number)
    common = 0.0 if blank is None else float(np.sqrt(np.sum(blank.spread[inside] ** 2) / max(blank.n, 1)))
    clipped = point.saturated_exposures >= point.exposures
    return replace(
        point,
        signal=found.signal_whole,
        signal_sigma=float(np.hypot(found.signal_whole_sigma, common / pulses)),
        peaks_signal=found.signal_peaks,
        peaks_signal_sigma=found.signal_peaks_sigma,
        fwhm_nm=None if clipped else found.fwhm_nm,
        equivalent_width_nm=None if clipped else found.equivalent_width_nm,
        peak_count=found.peak_count,
        peak_wavelength_nm=found.peak_wavelength_nm,
    )
