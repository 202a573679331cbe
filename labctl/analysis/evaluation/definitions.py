"""The threshold by each definition in use, side by side: they differ for every laser, by how much matters.

The lines of the field are laid through the fitted curve at the measured fluences, not through the points
themselves, and again through each draw of it, which gives the interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from labctl.analysis.threshold import ThresholdResult
from labctl.analysis.threshold.bounds import established
from labctl.model.records import FloatArray
from labctl.model.results.sweep import Beta, Interval
from labctl.model.results.verdict import Definition

IMPULSIVE = (
    "pulses shorter than the gain's lifetime: in a rate-equation model gain equals loss some 5-15 % below "
    "the onset (lifetime ratio 200-250, beta 1e-6 to 1e-2); model-dependent, not a correction"
)
NOTHING = "no kink with a two-sided interval"
_LEAST_DRAWS = 0.9
_LEAST_SIDE = 3
_FINE = 60

Line = Callable[[FloatArray, FloatArray, float], float | None]
"""A definition: fluences, shape (n,), signals, and where the two sides part; None where it does not apply."""


def definitions(
    result: ThresholdResult,
    fluence_uj_cm2: FloatArray,
    signal: FloatArray,
    fwhm_nm: FloatArray | None = None,
    lines: FloatArray | None = None,
    *,
    impulsive: bool = False,
) -> tuple[Definition, ...]:
    """Return a row for each definition; empty without a kink.

    :param result: of the fit, its draws in it.
    :param fluence_uj_cm2: of the fitted points, uJ/cm2, shape ``(n,)``, with ``signal`` (nan: not fitted)
        likewise.
    :param fwhm_nm: width of the emission, nm, nan where unknown, shape ``(n,)``.
    :param lines: narrow lines of each point, nan where unknown, shape ``(n,)``.
    :param impulsive: whether the pulses are shorter than the gain's lifetime.
    """
    if result.model is None:
        return ()
    used = np.isfinite(fluence_uj_cm2) & np.isfinite(signal) & (fluence_uj_cm2 > 0)
    onset = Definition(
        "onset",
        f"onset (labctl, shape {result.shape})",
        result.threshold_uj_cm2,
        result.ci95,
        "" if result.threshold_uj_cm2 is not None else NOTHING,
        IMPULSIVE if impulsive else "",
    )
    return (
        onset,
        *_of_curve(result, np.sort(fluence_uj_cm2[used])),
        _collapse(fluence_uj_cm2, fwhm_nm),
        _first_line(fluence_uj_cm2, lines),
        _s_curve(result),
    )


def _of_curve(result: ThresholdResult, fluence: FloatArray) -> Iterator[Definition]:
    """Lay lines through the fitted curve and through each draw of it."""
    assert result.model is not None
    fine = np.geomspace(fluence[0], fluence[-1], _FINE)
    at = np.exp(result.model.ln_threshold)
    ways: tuple[tuple[str, str, Line, FloatArray], ...] = (
        ("x_intercept", "x-intercept of the line above", x_intercept, fluence),
        ("line_crossing", "crossing of two straight lines", line_crossing, fluence),
        ("log_crossing", "log-log crossing, line below and steepest tangent", log_crossing, fine),
    )
    for name, label, way, places in ways:
        if result.threshold_uj_cm2 is None:
            yield Definition(name, label, reason=NOTHING)
            continue
        curves = result.model.draws_at(places)
        value, *drawn = (way(places, curve, float(t)) for curve, t in zip(curves, at, strict=True))
        known = [x for x in drawn if x is not None and fluence[0] < x < fluence[-1]]
        if value is None or len(known) < _LEAST_DRAWS * len(drawn):
            yield Definition(name, label, reason="too few fluences on a side, or no crossing inside the scan")
            continue
        yield Definition(name, label, value, _interval(known, value))


def _interval(drawn: list[float], value: float) -> Interval:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return min(float(low), value), max(float(high), value)


def _line(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """Return slope and offset of the straight line through points."""
    middle = float(x.mean())
    away = x - middle
    slope = float(away @ y) / max(float(away @ away), 1e-300)
    return slope, float(y.mean()) - slope * middle


def x_intercept(fluence: FloatArray, signal: FloatArray, parts_at: float) -> float | None:
    """Return where the straight line through what lies above meets zero."""
    above = fluence > parts_at
    if above.sum() < _LEAST_SIDE:
        return None
    slope, offset = _line(fluence[above], signal[above])
    return float(-offset / slope) if slope > 0 > offset else None


def line_crossing(fluence: FloatArray, signal: FloatArray, parts_at: float) -> float | None:
    """Return where the straight lines through both sides cross."""
    above = fluence > parts_at
    if min(above.sum(), (~above).sum()) < _LEAST_SIDE:
        return None
    slope, offset = _line(fluence[above], signal[above])
    low_slope, low_offset = _line(fluence[~above], signal[~above])
    at = (low_offset - offset) / (slope - low_slope) if slope > low_slope else 0.0
    return float(at) if at > 0 else None


def log_crossing(fluence: FloatArray, signal: FloatArray, parts_at: float) -> float | None:
    """Return where the straight line below crosses the steepest tangent above, in double logarithm."""
    good = signal > 0
    x, y = np.log(fluence[good]), np.log(signal[good])
    above = x > np.log(parts_at)
    if min(above.sum(), (~above).sum()) < _LEAST_SIDE:
        return None
    low_slope, low_offset = _line(x[~above], y[~above])
    slopes = np.gradient(y, x)
    i = int(np.argmax(np.where(above, slopes, -np.inf)))
    if slopes[i] <= low_slope:
        return None
    at = (low_offset - y[i] + slopes[i] * x[i]) / (slopes[i] - low_slope)
    return float(np.exp(np.clip(at, -50.0, 50.0)))


def _collapse(fluence: FloatArray, fwhm_nm: FloatArray | None) -> Definition:
    """The steepest fall of the linewidth lies between two neighbouring fluences: that is its interval."""
    name, label = "width_collapse", "collapse of the linewidth (FWHM)"
    width = np.full(fluence.size, np.nan) if fwhm_nm is None else fwhm_nm
    known = np.isfinite(width) & (fluence > 0)
    if known.sum() < 4:
        return Definition(name, label, reason="the linewidth is not known at enough fluences")
    order = np.argsort(fluence[known], kind="stable")
    f, w = fluence[known][order], width[known][order]
    fall = np.diff(np.log(np.maximum(w, 1e-9)))
    i = int(np.argmin(fall))
    if w[i + 1] > 0.75 * float(np.median(w[: i + 1])):
        return Definition(name, label, reason="the linewidth does not collapse")
    return Definition(name, label, float(0.5 * (f[i] + f[i + 1])), (float(f[i]), float(f[i + 1])))


def _first_line(fluence: FloatArray, lines: FloatArray | None) -> Definition:
    """The first line appears between the last fluence without one and the next."""
    name, label = "first_line", "first narrow line above the noise"
    if lines is None or not np.isfinite(lines).any():
        return Definition(name, label, reason="no spectra are given")
    known = np.isfinite(lines) & (fluence > 0)
    order = np.argsort(fluence[known], kind="stable")
    f, there = fluence[known][order], lines[known][order] > 0
    if not there.any():
        return Definition(name, label, reason="no narrow lines")
    started = established(there)
    first = int(np.argmax(there)) if started is None else started
    if first == 0:
        return Definition(name, label, reason="the lowest fluence shows lines already")
    return Definition(
        name, label, float(0.5 * (f[first - 1] + f[first])), (float(f[first - 1]), float(f[first]))
    )


def _s_curve(result: ThresholdResult) -> Definition:
    """The threshold of the S-curves that fit, with their beta."""
    name, label = "s_curve", "S-curve of the steady-state rate equations"
    if result.threshold_uj_cm2 is None:
        return Definition(name, label, reason=NOTHING)
    beta = result.beta
    if beta is None or beta.threshold_uj_cm2 is None:
        return Definition(name, label, reason="not fitted" if beta is None else beta.reason)
    return Definition(name, label, beta.threshold_uj_cm2, beta.threshold_ci95, note=_beta_said(beta))


def _beta_said(beta: Beta) -> str:
    """Say what beta is, or that it is bounded, and on what condition."""
    if beta.value is not None and beta.ci95 is not None:
        low, high = beta.ci95
        return f"steady-state beta {beta.value:.2g} ({low:.2g} to {high:.2g}), if: {Beta.CONDITION}"
    return "" if beta.upper is None else f"steady-state beta below {beta.upper:.2g}, if: {Beta.CONDITION}"
