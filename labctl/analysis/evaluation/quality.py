"""Q of a run: the largest unsaturated line of the brightest points above threshold, slit taken out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence, Set

import numpy as np

from labctl.analysis.spectra.bands import Band
from labctl.analysis.spectra.correct import correct_nonlinearity
from labctl.analysis.spectra.lineshape import q_factor
from labctl.model.records import FloatArray, SpectrometerInfo, SweepPoint
from labctl.model.results import QResult, Threshold
from labctl.model.run import Points

CANDIDATES = 3
"""Points that are tried, brightest first, until one has a line that can be fitted."""

_UNKNOWN_PITCHES = 2.0
"""Stands in for a resolution nobody knows: no spectrometer resolves less than two pixels."""


def quality(
    points: Points,
    scalars: Sequence[SweepPoint],
    info: SpectrometerInfo,
    band_nm: tuple[float, float],
    threshold: Threshold,
    left_out: Set[int] = frozenset(),
) -> QResult | None:
    """Return Q from the brightest candidate above threshold, None where nothing lases.

    With an unknown resolution the value is a lower bound.

    :param scalars: of all points; only those with a peak, and without a saturated exposure, are candidates.
    :param left_out: points that are none, counted from 0.
    """
    if threshold.status == "not_found":
        return None
    darks = {dark.number: dark for dark in points.darks}
    onset = threshold.threshold_uj_cm2 or 0.0
    sound = [i for i, p in enumerate(scalars) if p.saturated_exposures == 0 and i not in left_out]
    bright = [i for i in sound if scalars[i].peak_count > 0]
    bright.sort(key=lambda i: scalars[i].fluence_uj_cm2, reverse=True)
    for index in bright[:CANDIDATES]:
        point = scalars[index]
        if point.fluence_uj_cm2 <= onset or point.dark_number not in darks:
            continue
        whole = points.point(index)
        found = (
            _of_point(whole, darks[point.dark_number].counts, info, band_nm) if whole.frames.size else None
        )
        if found is not None:
            return found
    return None


def corrected_frames(
    point: SweepPoint, dark: FloatArray, nonlinearity: Sequence[float] | None
) -> tuple[FloatArray, FloatArray]:
    """Return a point's exposures as light, and the raw counts they came from; both ``(exposure, pixel)``."""
    raw = np.asarray(point.frames, dtype=np.float64)
    light = raw - dark
    for exposure, pixel, removed in point.spikes:
        light[exposure, pixel] -= removed
    return (light if nonlinearity is None else correct_nonlinearity(light, nonlinearity)), raw


def _of_point(
    point: SweepPoint, dark: FloatArray, info: SpectrometerInfo, band_nm: tuple[float, float]
) -> QResult | None:
    light, raw = corrected_frames(point, dark, info.nonlinearity)
    axis = info.wavelength_nm
    assumed = _UNKNOWN_PITCHES * float(axis[-1] - axis[0]) / (axis.size - 1)
    result = q_factor(
        axis,
        light,
        info.resolution_nm or assumed,
        band=Band(*band_nm, "lasing"),
        saturated=raw >= info.max_counts,
    )
    if result is None or info.resolution_nm is not None:
        return result
    why = "the spectrometer's resolution is not configured"
    return dataclasses.replace(result, lower_bound=True, resolution_nm=None, reason=why)
