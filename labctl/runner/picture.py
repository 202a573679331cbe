"""From a stored run to what its figures show. Everything comes from the file, so that old runs draw alike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from labctl.analysis.budget import scale_rel
from labctl.analysis.threshold import ThresholdResult
from labctl.data import read_run
from labctl.data.run import Run
from labctl.model.records import FloatArray
from labctl.runner.figures import PeakFit, RunPicture, draw_all, in_figure
from labctl.runner.refit import judge_run

_CURVE_POINTS = 400


def draw_run(path: Path) -> list[Path]:
    """Draw the figures of a run file beside it and return their paths.

    :raises DataError: the file cannot be read.
    :raises OSError: a figure cannot be written.
    """
    return draw_all(picture_of(read_run(path)), path.with_suffix(""))


def picture_of(run: Run) -> RunPicture:
    """Collect what the figures of a run show."""
    verdict = judge_run(run)
    threshold, fluence = verdict.emission, verdict.shown.fluence_uj_cm2
    result, budget = run.result.get("q"), run.result.get("budget")
    return RunPicture(
        sample=in_figure(run.start.sample),
        convention=run.start.convention,
        band_nm=_emission_band(run),
        wavelength_nm=run.wavelength_nm,
        spectra=run.spectra,
        fluence_uj_cm2=fluence,
        signal=verdict.shown.signal,
        signal_sigma=run.signal_sigma,
        fwhm_nm=run.fwhm_nm,
        threshold_uj_cm2=threshold.threshold_uj_cm2,
        ci95=threshold.ci95,
        scaled=isinstance(budget, Mapping) and scale_rel(budget) is not None,
        verdict=threshold.reason.replace("uJ/cm2", "µJ/cm²"),
        curve=_curve(threshold, fluence),
        peak=_peak(result) if isinstance(result, Mapping) else None,
    )


def _curve(
    threshold: ThresholdResult, fluence: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray] | None:
    good = fluence[np.isfinite(fluence) & (fluence > 0)]
    if good.size < 2:
        return None
    curve = threshold.curve(np.geomspace(good.min(), good.max(), _CURVE_POINTS))
    return None if curve is None else (curve.fluence_uj_cm2, curve.signal, curve.low, curve.high)


def _emission_band(run: Run) -> tuple[float, float]:
    stored = run.start.plan.get("emission_nm")
    if isinstance(stored, (list, tuple)) and len(stored) == 2:
        return float(stored[0]), float(stored[1])
    return float(run.wavelength_nm[0]), float(run.wavelength_nm[-1])


def _peak(q: Mapping[str, object]) -> PeakFit | None:
    figure = q.get("figure")
    if not isinstance(figure, Mapping):
        return None
    axis, counts, fitted = (
        np.array(figure[key], dtype=float) for key in ("wavelength_nm", "counts", "fitted")
    )
    centre, seen = _number(q, "wavelength_nm"), _number(q, "measured_fwhm_nm")
    if not (math.isfinite(centre) and math.isfinite(seen)):
        return None
    sigma, resolution = _number(q, "sigma"), _number(q, "resolution_nm")
    near = np.abs(axis - centre) <= 3 * seen
    return PeakFit(
        wavelength_nm=axis[near],
        counts=counts[near],
        fit_wavelength_nm=axis[near],
        fit_counts=fitted[near],
        centre_nm=centre,
        fwhm_nm=_number(q, "fwhm_nm"),
        seen_fwhm_nm=seen,
        resolution_nm=resolution if math.isfinite(resolution) else None,
        q=_number(q, "value"),
        q_sigma=sigma if math.isfinite(sigma) else None,
        lower_bound=bool(q.get("lower_bound")),
        line_shape=str(q.get("shape", "")),
    )


def _number(values: Mapping[str, object], key: str) -> float:
    value = values.get(key)
    return float(value) if isinstance(value, (int, float)) else math.nan
