"""The process that fits for the window: a question a line in, an answer a line out, both JSON.

A process of its own because a fit in a thread of the window's would hold the interpreter for longer than
a frame. It ends when its input does.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.spectra.bands import Band, Bands, band_slice
from labctl.analysis.spectra.peaks import Peak, find_peaks
from labctl.analysis.spectra.profiles import deconvolve_width
from labctl.analysis.threshold import ThresholdResult, fit_threshold, peak_onset
from labctl.data import read_run
from labctl.gui.moved import moved_signals
from labctl.model.records import FloatArray
from labctl.runner.fitting import typical_sigma
from labctl.runner.report import plain

CURVE_POINTS = 240
MOST_PEAKS = 8

Question = Mapping[str, Any]


def packed(values: FloatArray) -> dict[str, object]:
    """Return an array as JSON can carry it quickly."""
    data = np.ascontiguousarray(values, dtype="<f8")
    return {"shape": list(data.shape), "base64": base64.b64encode(data.tobytes()).decode("ascii")}


def unpacked(stored: Mapping[str, Any]) -> FloatArray:
    """Return an array that :func:`packed` made."""
    return np.frombuffer(base64.b64decode(stored["base64"]), dtype="<f8").reshape(stored["shape"]).copy()


def threshold(question: Question) -> dict[str, object]:
    """Fit a light-light curve, with its band and the cross-checks; or say why it is not fitted."""
    if why := question.get("not_fitted"):
        return {**ThresholdResult("refused", why, 0).to_mapping(), "cross_checks": {}, "curve": None}
    fluence, signal = unpacked(question["fluence"]), unpacked(question["signal"])
    width, count = unpacked(question["fwhm"]), unpacked(question["peak_count"])
    result = fit_threshold(
        fluence,
        signal,
        fluence_sigma_rel=typical_sigma(unpacked(question["sigma_rel"])),
        photon_order=int(question["photon_order"]),
        fwhm_nm=width,
        peak_count=count,
    )
    answer = result.to_mapping()
    checks = dict(result.cross_checks)
    checks["peak_onset"] = peak_onset(fluence, count)
    return {**answer, "cross_checks": checks, "curve": _curve(result, fluence)}


def _curve(result: ThresholdResult, fluence: FloatArray) -> dict[str, object] | None:
    good = fluence[np.isfinite(fluence) & (fluence > 0)]
    if good.size < 2 or result.model is None:
        return None
    low, high = 0.9 * float(good.min()), 1.05 * float(good.max())
    # Half of the places evenly spaced, half evenly in ratio: smooth on both kinds of axis.
    grid = np.union1d(np.linspace(low, high, CURVE_POINTS // 2), np.geomspace(low, high, CURVE_POINTS // 2))
    curve = result.curve(grid)
    if curve is None:
        return None
    parts = {"fluence": curve.fluence_uj_cm2, "signal": curve.signal, "low": curve.low, "high": curve.high}
    return {name: packed(values) for name, values in parts.items()}


def peaks(question: Question) -> dict[str, object]:
    """Find the narrow peaks of one spectrum, each with its width and Q."""
    axis, counts = unpacked(question["wavelength"]), unpacked(question["counts"])
    resolution, clipped = question.get("resolution_nm"), unpacked(question["clipped"]) > 0
    inside = band_slice(axis, _band(question["band"], "lasing"))
    found = find_peaks(axis[inside], counts[inside], resolution_nm=resolution)
    strongest = sorted(found, key=lambda p: p.area_counts, reverse=True)[:MOST_PEAKS]
    return {"peaks": [_peak(p, counts[inside], axis, clipped, resolution) for p in _by_place(strongest)]}


def _by_place(peaks: Sequence[Peak]) -> list[Peak]:
    return sorted(peaks, key=lambda p: p.wavelength_nm)


def _peak(
    peak: Peak,
    counts: FloatArray,
    axis: FloatArray,
    clipped: NDArray[np.bool_],
    resolution_nm: float | None,
) -> dict[str, object]:
    found: dict[str, object] = {
        "wavelength_nm": peak.wavelength_nm,
        "height": float(counts[peak.index]),
        "fwhm_nm": peak.fwhm_nm,
        **_q(peak.wavelength_nm, peak.fwhm_nm, resolution_nm),
    }
    near = np.abs(axis - peak.wavelength_nm) <= peak.fwhm_nm
    return found | ({"fwhm_nm": None, **_NO_Q} if clipped[near].any() else {})


_NO_Q = {"own_fwhm_nm": None, "q": None, "at_least": False}
"""Of a clipped peak: what was cut off nobody knows."""


def _q(wavelength_nm: float, seen_nm: float, resolution_nm: float | None) -> dict[str, object]:
    """Q with the slit taken out where the line is resolved, else what it is at least."""
    if resolution_nm is not None and seen_nm > 1.3 * resolution_nm:
        own = float(deconvolve_width(seen_nm, 0.0, resolution_nm, "lorentzian")[0])
        if own > 0:
            return {"own_fwhm_nm": own, "q": wavelength_nm / own, "at_least": False}
    return {"own_fwhm_nm": None, "q": wavelength_nm / max(seen_nm, 1e-6), "at_least": True}


def moved(question: Question) -> dict[str, object]:
    """Sum the points of a run file over other bands; the errors come from its raw exposures."""
    bands = Bands(_band(question["emission"], "emission"), _band(question["lasing"], "lasing"))
    found = moved_signals(read_run(str(question["path"])), bands)
    return {name: packed(getattr(found, name)) for name in found.__dataclass_fields__}


def _band(ends: Sequence[float], name: str) -> Band:
    return Band(float(ends[0]), float(ends[1]), name)


TASKS: dict[str, Callable[[Question], dict[str, object]]] = {
    "threshold": threshold,
    "peaks": peaks,
    "moved": moved,
}


def answer(line: str) -> str:
    """Answer one question; what fails is an answer too."""
    question = json.loads(line)
    try:
        found = TASKS[question["task"]](question)
    except Exception as exc:  # noqa: BLE001  the window goes on, and says why there is no answer
        found = {"error": f"{type(exc).__name__}: {exc}"}
    return json.dumps(plain(found), allow_nan=False)


def main(lines: Sequence[str] | None = None) -> None:
    """Answer until the input ends."""
    for line in sys.stdin if lines is None else lines:
        sys.stdout.write(answer(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
