"""From a run to questions for the process of the fits, and from what was found to what is drawn."""

from __future__ import annotations

import math

import numpy as np

from labctl.analysis.light_light import REFERENCE_FLAG
from labctl.gui.plots.lightlight import DOUBTFUL, EXCLUDED, USED, Series
from labctl.model.records import FloatArray
from labctl.model.results import BandThreshold, SweepResult
from labctl.runner.fit_process import FileQuestion, PeaksQuestion
from labctl.runner.rundata import Exposure, RunData, Signal
from procedures.point.exposure import SATURATED

SOME_CLIPPED = 0.8
"""Share of the full scale above which a mean of exposures, some of them saturated, is taken for clipped."""


def run_question(run: RunData) -> FileQuestion:
    """Ask what is said of a run, or of a table, with what the user changed in it."""
    return FileQuestion(str(run.facts.path), run.edits)


def no_answer(problem: str) -> SweepResult:
    """Stand in for what is said of a run where nothing could be computed."""
    refused = BandThreshold("refused", f"the fit {problem}")
    return SweepResult(refused, refused)


def peaks_question(
    exposure: Exposure,
    wavelength_nm: FloatArray,
    band_nm: tuple[float, float],
    *,
    resolution_nm: float | None,
    max_counts: float | None,
) -> PeaksQuestion | None:
    """Ask for the peaks of an exposure; None where it has no dark, or is one.

    Counts above the saturation are marked: such a peak has no width. In a mean some exposures of which were
    saturated, everything near the full scale is.
    """
    if exposure.dark is None or exposure.is_dark or not wavelength_nm.size:
        return None
    share = SOME_CLIPPED if exposure.saturated else SATURATED
    top = math.inf if max_counts is None else share * max_counts
    counts, clipped = exposure.raw - exposure.dark, exposure.raw >= top
    return PeaksQuestion(wavelength_nm, counts, clipped, band_nm, resolution_nm)


def series_of(run: RunData, which: Signal, colour: str) -> Series:
    """Return a run's curve as the plot draws it: points as they were fitted, the others as measured."""
    signal, sigma = (values.copy() for values in run.signal(which))
    fluence = run.column("fluence_uj_cm2").copy()
    state = np.where(run.doubtful(), DOUBTFUL, USED)
    unusable = ~np.isfinite(signal)
    if unusable.any():  # saturated throughout: shown where it was measured, but it takes no part
        stored = run.column("signal" if which == "emission" else "peaks_signal")
        signal = np.where(unusable, stored, signal)
        state[unusable] = EXCLUDED
    state[list(run.excluded)] = EXCLUDED
    state[[at for at in range(len(run)) if REFERENCE_FLAG in run.flags(at)]] = EXCLUDED
    points, result = run.points(which), run.result
    if points is not None:
        used = np.flatnonzero(points.used)
        fluence[used], signal[used] = points.fluence_uj_cm2[used], points.signal[used]
        sigma[used] = points.signal_sigma[used]
    return Series(
        label=run.facts.title,
        colour=colour,
        fluence=fluence,
        fluence_sigma=fluence * run.column("fluence_sigma_rel"),
        signal=signal,
        sigma=sigma,
        fwhm_nm=run.column("fwhm_nm"),
        state=state.astype(np.intp),
        fit=None if result is None or result.of(which).curve is None else result.of(which),
    )
