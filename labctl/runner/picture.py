"""From a stored run to what its figures show. Everything comes from the file, so that old runs draw alike."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from labctl.analysis.evaluation import evaluate
from labctl.data import read_run
from labctl.data.run import Run
from labctl.model.results import QResult
from labctl.runner.figures import PeakFit, RunPicture, draw_all, in_figure


def draw_run(path: Path) -> list[Path]:
    """Draw the figures of a run file beside it and return their paths.

    :raises DataError: the file cannot be read.
    :raises OSError: a figure cannot be written.
    """
    return draw_all(picture_of(read_run(path)), path.with_suffix(""))


def picture_of(run: Run) -> RunPicture:
    """Collect what the figures of a run show."""
    facts = run.facts
    result = evaluate(run, run.plan, facts)
    threshold, points = result.threshold, result.threshold.points
    bands = facts.edits.bands or run.bands
    assert points is not None
    curve = threshold.curve
    return RunPicture(
        sample=in_figure(run.start.sample),
        convention=run.start.convention,
        band_nm=bands.emission_nm,
        wavelength_nm=run.wavelength_nm,
        spectra=run.spectra,
        fluence_uj_cm2=points.fluence_uj_cm2,
        signal=points.signal,
        signal_sigma=points.signal_sigma,
        fwhm_nm=points.fwhm_nm,
        threshold_uj_cm2=threshold.threshold_uj_cm2,
        ci95=threshold.ci95,
        scaled=threshold.scale_rel is not None,
        verdict=threshold.reason.replace("uJ/cm2", "µJ/cm²"),
        curve=None if curve is None else (curve.fluence_uj_cm2, curve.signal, curve.low, curve.high),
        peak=None if result.q is None else _peak(result.q),
    )


def _peak(q: QResult) -> PeakFit | None:
    figure = q.figure
    if figure is None:
        return None
    near = np.abs(figure.wavelength_nm - q.wavelength_nm) <= 3 * q.measured_fwhm_nm
    return PeakFit(
        wavelength_nm=figure.wavelength_nm[near],
        counts=figure.counts[near],
        fit_wavelength_nm=figure.wavelength_nm[near],
        fit_counts=figure.fitted[near],
        centre_nm=q.wavelength_nm,
        fwhm_nm=q.fwhm_nm,
        seen_fwhm_nm=q.measured_fwhm_nm,
        resolution_nm=q.resolution_nm,
        q=q.value,
        q_sigma=q.sigma if math.isfinite(q.sigma) else None,
        lower_bound=q.lower_bound,
        line_shape=q.shape,
    )
