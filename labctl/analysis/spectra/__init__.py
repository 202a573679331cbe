"""Spectra: from raw counts to signals, widths, peaks, line shapes and Q. Pure functions over arrays.

Everything public can be imported from here; each name is loaded when it is first asked for, so that importing
the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labctl.analysis.spectra.bands import (
        Band,
        Bands,
        band_mask,
        integrate_band,
        lasing_band_signal,
        saturated_in,
        saturated_pixels,
    )
    from labctl.analysis.spectra.correct import (
        SpikeRecord,
        correct_nonlinearity,
        estimate_baseline,
        hot_pixels,
        mend_pixels,
        remove_spikes,
        subtract_dark,
    )
    from labctl.analysis.spectra.lines import LineFit, fit_line
    from labctl.analysis.spectra.lineshape import QResult, deconvolve_width, q_factor
    from labctl.analysis.spectra.peaks import (
        Peak,
        PeakTrack,
        find_peaks,
        random_laser_evidence,
        spacing_statistics,
        track_peaks,
    )
    from labctl.analysis.spectra.reduce import ReducedPoint, reduce_exposures
    from labctl.analysis.spectra.shots import cv_curve, pooled_sigma, shot_statistics, two_photon_exponent
    from labctl.analysis.spectra.width import emission_width, equivalent_width, fwhm, share_width

_HOMES = {
    "bands": "Band Bands band_mask integrate_band lasing_band_signal saturated_in saturated_pixels",
    "correct": "SpikeRecord correct_nonlinearity estimate_baseline hot_pixels mend_pixels remove_spikes "
    "subtract_dark",
    "lineshape": "QResult deconvolve_width q_factor",
    "lines": "LineFit fit_line",
    "peaks": "Peak PeakTrack find_peaks random_laser_evidence spacing_statistics track_peaks",
    "reduce": "ReducedPoint reduce_exposures",
    "shots": "cv_curve pooled_sigma shot_statistics two_photon_exponent",
    "width": "emission_width equivalent_width fwhm share_width",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "Band",
    "Bands",
    "LineFit",
    "Peak",
    "PeakTrack",
    "QResult",
    "ReducedPoint",
    "SpikeRecord",
    "band_mask",
    "correct_nonlinearity",
    "cv_curve",
    "deconvolve_width",
    "emission_width",
    "equivalent_width",
    "estimate_baseline",
    "find_peaks",
    "fit_line",
    "fwhm",
    "hot_pixels",
    "integrate_band",
    "lasing_band_signal",
    "mend_pixels",
    "pooled_sigma",
    "q_factor",
    "random_laser_evidence",
    "reduce_exposures",
    "remove_spikes",
    "saturated_in",
    "saturated_pixels",
    "share_width",
    "shot_statistics",
    "spacing_statistics",
    "subtract_dark",
    "track_peaks",
    "two_photon_exponent",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
