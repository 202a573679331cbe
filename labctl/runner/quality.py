"""Q of a run: the largest unsaturated line of the brightest points above threshold, slit taken out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from labctl.analysis.spectra.bands import Band
from labctl.analysis.spectra.correct import correct_nonlinearity
from labctl.analysis.spectra.lineshape import QResult, q_factor
from labctl.analysis.threshold import ThresholdResult
from labctl.model.records import DarkRecord, FloatArray, SpectrometerInfo, SweepPoint

CANDIDATES = 3
"""Points that are tried, brightest first, until one has a line that can be fitted."""

_UNKNOWN_PITCHES = 2.0
"""Stands in for a resolution nobody knows: no spectrometer resolves less than two pixels."""


def is_candidate(point: SweepPoint) -> bool:
    """Return whether a point can give a Q: it shows peaks, and no exposure of it was saturated."""
    return point.saturated_exposures == 0 and point.peak_count > 0 and len(point.frames) > 0


def quality(
    candidates: Sequence[SweepPoint],
    darks: Mapping[int, DarkRecord],
    info: SpectrometerInfo,
    band_nm: tuple[float, float],
    threshold: ThresholdResult,
) -> QResult | None:
    """Return Q from the brightest candidate above threshold, None where nothing lases.

    With an unknown resolution the value is a lower bound.
    """
    if threshold.status == "not_found":
        return None
    onset = threshold.threshold_uj_cm2 or 0.0
    above = [p for p in candidates if is_candidate(p) and p.fluence_uj_cm2 > onset and p.dark_number in darks]
    brightest = sorted(above, key=lambda p: p.fluence_uj_cm2, reverse=True)
    for point in brightest[:CANDIDATES]:
        found = _of_point(point, darks[point.dark_number].counts, info, band_nm)
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
    return dataclasses.replace(
        result, lower_bound=True, reason="the spectrometer's resolution is not configured"
    )


def quality_mapping(result: QResult | None, info: SpectrometerInfo) -> dict[str, object]:
    """Return plain values for the run file, the fitted line included; empty when there is no Q."""
    if result is None:
        return {}
    plain: dict[str, object] = {
        field.name: getattr(result, field.name)
        for field in dataclasses.fields(result)
        if field.name != "figure"
    }
    plain["resolution_nm"] = info.resolution_nm
    if result.figure is not None:
        plain["figure"] = {
            "wavelength_nm": result.figure.wavelength_nm.tolist(),
            "counts": result.figure.counts.tolist(),
            "fitted": result.figure.fitted.tolist(),
        }
    return plain
