"""From a run to questions for the fitting process, and from its answers to what is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from labctl.gui.analysis_child import packed, unpacked
from labctl.gui.rundata import Exposure, MovedSignals, RunData, Signal
from labctl.gui.series import DOUBTFUL, EXCLUDED, USED, FitShown, Series
from labctl.gui.spectrum import PeakMark
from labctl.gui.wording import verdict
from labctl.model.records import FloatArray
from procedures.exposure import SATURATED

SOME_CLIPPED = 0.8
"""Share of the full scale above which a mean of exposures, some of them saturated, is taken for clipped."""


def threshold_question(run: RunData, which: Signal) -> dict[str, Any]:
    """Return the question for a threshold; points left out are nan, so that every number stays in place.

    Of a run that ``labctl fit`` does not fit it holds why not: that is then the answer.
    """
    signal, _ = run.signal(which)
    return {
        "task": "threshold",
        "fluence": packed(run.column("fluence_uj_cm2")),
        "signal": packed(np.where(run.used(which), signal, np.nan)),
        "sigma_rel": packed(run.column("fluence_sigma_rel")),
        "fwhm": packed(run.column("fwhm_nm")),
        "peak_count": packed(run.column("peak_count")),
        "photon_order": run.facts.photon_order,
        "not_fitted": run.not_fitted,
    }


def peaks_question(
    exposure: Exposure,
    wavelength_nm: FloatArray,
    band_nm: tuple[float, float],
    *,
    resolution_nm: float | None,
    max_counts: float | None,
) -> dict[str, Any] | None:
    """Return the question for the peaks of an exposure; None where it has no dark, or is one.

    Counts above the saturation are marked: such a peak has no width. In a mean some exposures of which were
    saturated, everything near the full scale is.
    """
    if exposure.dark is None or exposure.is_dark or not wavelength_nm.size:
        return None
    share = SOME_CLIPPED if exposure.saturated else SATURATED
    top = math.inf if max_counts is None else share * max_counts
    return {
        "task": "peaks",
        "wavelength": packed(wavelength_nm),
        "counts": packed(exposure.raw - exposure.dark),
        "clipped": packed((exposure.raw >= top).astype(np.float64)),
        "band": list(band_nm),
        "resolution_nm": resolution_nm,
    }


def moved_question(run: RunData) -> dict[str, Any]:
    """Return the question for signals and errors inside moved bands; the answer names the bands."""
    return {
        "task": "moved",
        "path": str(run.facts.path),
        "emission": list(run.bands.emission_nm),
        "lasing": list(run.bands.lasing_nm),
    }


def fit_shown(found: Mapping[str, Any]) -> FitShown | None:
    """Return what to draw of an answer; None where nothing was fitted."""
    curve = found.get("curve")
    if not isinstance(curve, Mapping):
        return None
    parts = {name: unpacked(curve[name]) for name in ("fluence", "signal", "low", "high")}
    checks = found.get("cross_checks")
    return FitShown(
        **parts,
        threshold=_number(found.get("threshold_uj_cm2")),
        ci95=pair(found.get("ci95")),
        bound=_bound(found.get("bound")),
        verdict=verdict(found),
        outliers=tuple(int(i) for i in found.get("outliers") or ()),
        checks={name: _number(value) for name, value in checks.items()}
        if isinstance(checks, Mapping)
        else {},
    )


def peak_marks(found: Mapping[str, Any]) -> tuple[PeakMark, ...]:
    """Return the peaks of an answer."""
    return tuple(
        PeakMark(
            float(p["wavelength_nm"]),
            float(p["height"]),
            _number(p["own_fwhm_nm"] or p["fwhm_nm"]),
            _number(p["q"]),
            bool(p["at_least"]),
        )
        for p in found.get("peaks", ())
    )


def moved_signals(found: Mapping[str, Any]) -> MovedSignals | None:
    """Return signal and error of both bands of an answer."""
    if "emission" not in found:
        return None
    which: tuple[Signal, Signal] = ("emission", "lasing")
    return {name: (unpacked(found[name]), unpacked(found[f"{name}_sigma"])) for name in which}


def series_of(run: RunData, which: Signal, colour: str, fit: FitShown | None) -> Series:
    """Return a run's curve as the plot draws it."""
    signal, sigma = run.signal(which)
    fluence = run.column("fluence_uj_cm2")
    state = np.where(run.doubtful(), DOUBTFUL, USED)
    unusable = ~np.isfinite(signal)
    if unusable.any():  # saturated throughout: shown where it was measured, but it takes no part
        stored = run.column("signal" if which == "emission" else "peaks_signal")
        signal = np.where(unusable, stored, signal)
        state[unusable] = EXCLUDED
    state[list(run.excluded)] = EXCLUDED
    return Series(
        label=run.facts.title,
        colour=colour,
        fluence=fluence,
        fluence_sigma=fluence * run.column("fluence_sigma_rel"),
        signal=signal,
        sigma=sigma,
        fwhm_nm=run.column("fwhm_nm"),
        state=state.astype(np.intp),
        fit=fit,
    )


def pair(value: object) -> tuple[float, float] | None:
    """Return two numbers, or None."""
    if (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(v, (int, float)) for v in value)
    ):
        return float(value[0]), float(value[1])
    return None


def _bound(value: object) -> tuple[float | None, float | None] | None:
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return _number(value[0]), _number(value[1])
    return None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
