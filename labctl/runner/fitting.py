"""From the points of a run to what is said of them: thresholds of both bands, and Q.

One place, so that the running fit, the end of a sweep and ``labctl fit`` cannot disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from labctl.analysis.light_light import BandName, light_light
from labctl.analysis.threshold import ThresholdResult, fit_threshold
from labctl.model.records import FloatArray, SweepPoint


@dataclass(frozen=True, slots=True)
class Curve:
    """A light-light curve in order of acquisition; arrays of shape ``(n,)``, fluence in uJ/cm2.

    :param fwhm_nm: of the emission, nan where unknown; ``peak_count`` likewise; None without spectra.
    """

    fluence_uj_cm2: FloatArray
    signal: FloatArray
    peaks_signal: FloatArray
    fluence_sigma_rel: float
    photon_order: int
    fwhm_nm: FloatArray | None = None
    peak_count: FloatArray | None = None


def curve_of(points: Sequence[SweepPoint], photon_order: int) -> Curve:
    """Collect the curve, less what was measured at a reference.

    A point without one unsaturated exposure keeps its place, with nan for a signal.
    """
    whole = light_light(points).grid
    return Curve(
        fluence_uj_cm2=whole.fluence_uj_cm2,
        signal=whole.signal,
        peaks_signal=light_light(points, "lasing").grid.signal,
        fluence_sigma_rel=whole.typical_fluence_sigma_rel,
        photon_order=photon_order,
        fwhm_nm=whole.fwhm_nm,
        peak_count=whole.peak_count,
    )


def typical_sigma(sigma_rel: FloatArray) -> float:
    """Return the median of the finite point-to-point errors, 0 where there is none."""
    finite = sigma_rel[np.isfinite(sigma_rel)]
    return float(np.median(finite)) if finite.size else 0.0


def fit_curve(curve: Curve, band: BandName = "emission") -> ThresholdResult:
    """Fit one band: "emission" (the whole of it) or "lasing" (the peaks alone)."""
    signal = curve.signal if band == "emission" else curve.peaks_signal
    return fit_threshold(
        curve.fluence_uj_cm2,
        signal,
        fluence_sigma_rel=curve.fluence_sigma_rel,
        photon_order=curve.photon_order,
        fwhm_nm=curve.fwhm_nm,
        peak_count=curve.peak_count,
    )


def threshold_mapping(
    result: ThresholdResult, *, convention: str | None, band: str, scale_rel: float | None
) -> dict[str, object]:
    """Return a result as plain values, with convention, band and scale error beside it."""
    return {
        **result.to_mapping(),
        "unit": "uJ/cm2",
        "convention": convention,
        "band": band,
        "scale_rel": scale_rel,
    }
