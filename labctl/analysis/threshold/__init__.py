"""Lasing threshold of a light-light curve, with an interval, or the reason why there is none."""

from labctl.analysis.threshold.bounds import ALL_LINES, START_LOWER
from labctl.analysis.threshold.fit import fit_threshold, peak_onset, width_collapse
from labctl.analysis.threshold.result import Curve, ThresholdResult
from labctl.analysis.threshold.tracking import ThresholdTracker

__all__ = [
    "ALL_LINES",
    "START_LOWER",
    "Curve",
    "ThresholdResult",
    "ThresholdTracker",
    "fit_threshold",
    "peak_onset",
    "width_collapse",
]
