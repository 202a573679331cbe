"""The threshold of a sweep: clean, fit, detect, summarise, and say plainly what cannot be said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from labctl.analysis.threshold.bounds import (
    LineEvidence,
    few_points,
    nothing_found,
    one_sided,
    unchanging,
    with_lines_below,
)
from labctl.analysis.threshold.diagnostics import (
    above_flag,
    beta_of,
    detection,
    drift_of,
    excess_share,
    exponent_flags,
    exponent_of,
    few_flag,
    fit_null,
    misfit_flags,
    noise_rel,
    null_columns,
    p_value,
    two_kinks,
    wander_flags,
)
from labctl.analysis.threshold.likelihood import PARAMETERS, Profile, Weighting, evaluate, fit_profile
from labctl.analysis.threshold.result import ThresholdResult, curve_model, selection_of, summarise
from labctl.analysis.threshold.shapes import UNKNOWN_SMEAR, Smear, library
from labctl.analysis.threshold.sweep_data import SweepData, Wander, prepare
from labctl.model.results.sweep import K95

Array = NDArray[np.float64]

# Chance of flagging anything at all in clean data.
# points already.
FALSE_ALARM = 0.02


def left_out_rss(profile: Profile) -> Array:
    """Return the smallest rss over threshold and shape with each point left out, shape (n,)."""
    grid, by = profile.grid, profile.by
    # One excess only: a mixed shape with its extra freedom could bend around the suspect.
    k, g = np.nonzero(np.isfinite(grid.solved.rss) & (profile.shapes.mixing == 0)[:, None])
    if not k.size:
        return np.full(profile.data.n, profile.rss)
    lum, gain = grid.columns[0, k, g], grid.columns[1, k, g]
    b, a, s, _ = grid.solved.coefficients[:, k, g]
    residual = profile.data.y - (b[:, None] + a[:, None] * lum + s[:, None] * gain)
    free = _freedom(by.root(lum), by.root(gain), by, a > 0)
    drop = by.back(by.root(residual)) ** 2 / np.maximum(free, 1e-6 * by.weight)
    left = grid.solved.rss[k, g][:, None] - np.where(free > 1e-6 * by.weight, drop, 0.0)
    return np.asarray(np.maximum(left.min(axis=0), 1e-14 * profile.rss))


def _freedom(lum: Array, gain: Array, by: Weighting, free: NDArray[np.bool_]) -> Array:
    """How freely each point moves the residual of each solution, shape (solution, n).

    One over its variance given the others, less its leverage, in the same unit.

    :param lum: weighted luminescence, shape (solution, n), and ``gain`` the excess.
    :param free: luminescence not clamped, shape (solution,).
    """
    one = by.root(np.ones(lum.shape[1]))
    one = one / np.sqrt(one @ one)
    lum = lum - (lum @ one)[:, None] * one
    gain = gain - (gain @ one)[:, None] * one
    gg = np.maximum((gain**2).sum(axis=1), 1e-300)
    lum = lum - ((lum * gain).sum(axis=1) / gg)[:, None] * gain
    ll = (lum**2).sum(axis=1)
    free = free & (ll > 1e-12 * gg)
    own = np.where(free[:, None], by.back(lum) ** 2 / np.where(free, ll, 1.0)[:, None], 0.0)
    precision = by.weight if by.white is None else (by.white**2).sum(axis=0)
    return np.asarray(precision - by.back(one) ** 2 - by.back(gain) ** 2 / gg[:, None] - own)


def suspect(profile: Profile) -> int | None:
    """Return the usable point whose absence improves the fit beyond chance, or None."""
    n = profile.data.n
    freedom = n - PARAMETERS - 1
    if freedom < 2:
        return None
    left = left_out_rss(profile)
    i = int(np.argmin(left))
    value = (profile.rss - left[i]) / (left[i] / freedom)
    return i if value > scipy.special.fdtri(1, freedom, 1.0 - FALSE_ALARM / n) else None


def naive_lines(fluence: Array, signal: Array, threshold: float) -> tuple[float | None, float | None]:
    """Two straight lines either side of a threshold: (x-intercept of the upper one, crossing of the two).

    :param fluence: shape (n,), with ``signal`` likewise; both results are in the unit of ``fluence``.
    """
    above, below = fluence > threshold, fluence <= threshold
    if above.sum() < 3 or np.ptp(fluence[above]) <= 0:
        return None, None
    slope, offset = np.polyfit(fluence[above], signal[above], 1)
    if slope <= 0:
        return None, None
    intercept = -offset / slope
    crossing = None
    if below.sum() >= 3 and np.ptp(fluence[below]) > 0:
        low_slope, low_offset = np.polyfit(fluence[below], signal[below], 1)
        if slope > low_slope:
            crossing = float((low_offset - offset) / (slope - low_slope))
    return (float(intercept) if intercept > 0 else None), crossing


def width_collapse(fluence_uj_cm2: ArrayLike, fwhm_nm: ArrayLike) -> float | None:
    """Fluence of the steepest fall of the linewidth, uJ/cm2, at the middle of the step.

    None without a clear fall.

    :param fluence_uj_cm2: uJ/cm2, shape (n,), in any order.
    :param fwhm_nm: widths, nm, shape (n,), nan where no width was found.
    """
    f, w = np.asarray(fluence_uj_cm2, float), np.asarray(fwhm_nm, float)
    good = np.isfinite(f) & np.isfinite(w) & (w > 0)
    f, w = f[good], w[good]
    order = np.argsort(f)
    f, w = f[order], w[order]
    if f.size < 4:
        return None
    fall = np.diff(w)
    i = int(np.argmin(fall))
    if -fall[i] < 0.25 * float(np.median(w[: i + 1])):
        return None
    return float(0.5 * (f[i] + f[i + 1]))


def peak_onset(fluence_uj_cm2: ArrayLike, peak_count: ArrayLike) -> float | None:
    """Middle, uJ/cm2, between the last fluence without a peak and the next one; else None.

    :param fluence_uj_cm2: uJ/cm2, shape (n,), in any order.
    :param peak_count: narrow peaks of each spectrum, shape (n,), nan where unknown.
    """
    f, c = np.asarray(fluence_uj_cm2, float), np.asarray(peak_count, float)
    good = np.isfinite(f) & np.isfinite(c)
    order = np.argsort(f[good])
    f, c = f[good][order], c[good][order]
    without = np.flatnonzero(c <= 0)
    if not without.size or without[-1] == f.size - 1:
        return None
    return float(0.5 * (f[without[-1]] + f[without[-1] + 1]))


DEFINITIONS = ("onset",)
MIN_POINTS = 7
MIN_DISTINCT = 6
# Chance of "found" without a kink, below 16 points and from there on. The tables pool several kinds of
# kink-free data; the worst kind exceeds them up to four times, and is to stay below 2 % and 1 %.
SIGNIFICANCE_FEW, SIGNIFICANCE = 0.005, 0.0018
STRICTER_FROM_POINTS = 16
# Neighbouring points of a real sweep err together (drift of laser, pick-off, dark), which the tables' noise
# does not: wander of 1 % bends a straight line by a few per cent. A laser adds far more: with a slope of only
# twice the luminescence's, 14 % at 1.1 onsets.
LEAST_EXCESS = 0.05
# Grid cells times points that a quick fit may cost; the finer grids make up for a coarse first one.
_BUDGET = 1600
_SMALLEST, _LARGEST = 24, 64


@dataclass(frozen=True, slots=True)
class Options:
    """How to fit; ``size`` is the number of thresholds per grid."""

    photon_order: int = 2
    definition: str = "onset"
    size: int = _LARGEST
    smear: Smear = UNKNOWN_SMEAR
    pulse_cv_sigma: float = 0.0
    beta: bool = True

    def __post_init__(self) -> None:
        """Refuse misuse."""
        if self.photon_order not in (1, 2, 3, 4):
            raise ValueError(f"photon_order must be 1, 2, 3 or 4, not {self.photon_order!r}")
        if self.definition not in DEFINITIONS:
            raise ValueError(f"definition must be one of {', '.join(DEFINITIONS)}, not {self.definition!r}")


def fit_threshold(
    fluence_uj_cm2: ArrayLike,
    signal: ArrayLike,
    *,
    signal_sigma: ArrayLike | None = None,
    exposures: ArrayLike | None = None,
    fluence_sigma_rel: ArrayLike = 0.0,
    wander: Wander | None = None,
    smear: Smear = UNKNOWN_SMEAR,
    pulse_cv_sigma: float = 0.0,
    photon_order: int = 2,
    definition: str = "onset",
    fwhm_nm: ArrayLike | None = None,
    peak_count: ArrayLike | None = None,
    quick: bool = False,
) -> ThresholdResult:
    """Find the lasing threshold of a light-light curve, in the order the points were taken.

    :param fluence_uj_cm2: pump fluence, uJ/cm2, shape (n,), n >= 0, in any order, repeats welcome.
    :param signal: emission, any unit, best in dark-subtracted counts per pulse, shape (n,).
    :param signal_sigma: standard error of each signal, same unit, shape (n,) or one number; sets relative
        weights only, the scale comes from the residuals. Estimated from the data if None.
    :param exposures: from how many of them each ``signal_sigma`` was estimated, shape (n,) or one number: the
        errors are then estimated from the data, and are nowhere smaller than the exposures leave possible.
    :param fluence_sigma_rel: relative error of the MEAN fluence, redrawn from point to point, 0 to below 1,
        shape (n,), nan where unknown, or one number; neither pulse-to-pulse variation nor an error of scale.
    :param wander: a slow error of the fluence that the readings do not show, which neighbours in time share.
    :param smear: scatter of the pulses' energies and collected part of the spot, where they are known: every
        curve is averaged over them, and the threshold is that of one pulse at the spot's peak.
    :param pulse_cv_sigma: standard error of the scatter, in the interval.
    :param photon_order: photons absorbed per excitation, 1 to 4.
    :param definition: "onset", the fluence where the lasing excess sets in (operational, not static
        inversion).
    :param fwhm_nm: widths of the emission, nm, shape (n,), nan where unknown: a cross-check, and together
        with ``peak_count`` the evidence that a sweep without a kink lies below threshold. Without both, a
        lower bound is conditional (``bound_condition``).
    :param peak_count: narrow peaks of each spectrum, shape (n,), nan where unknown.
    :param quick: without beta and on coarser grids, in at most some 30 ms for 64 points, to choose what to
        measure next.
    :raises ValueError: shapes differ, an input is not one-dimensional, or an option is out of range. Data
        never raise.
    """
    size = _quick_size(np.size(fluence_uj_cm2)) if quick else _LARGEST
    options = Options(photon_order, definition, size, smear, pulse_cv_sigma, not quick)
    data = prepare(fluence_uj_cm2, signal, signal_sigma, fluence_sigma_rel, wander, exposures)
    lines = LineEvidence.of(np.size(fluence_uj_cm2), fwhm_nm, peak_count)
    checks = {} if fwhm_nm is None else {"width_collapse": width_collapse(fluence_uj_cm2, fwhm_nm)}
    return fit_prepared(data, options, lines, checks)


def _quick_size(points: int) -> int:
    return min(max(_BUDGET // max(points, 1), _SMALLEST), _LARGEST)


def fit_prepared(
    data: SweepData,
    options: Options,
    lines: LineEvidence,
    checks: Mapping[str, float | None] | None = None,
) -> ThresholdResult:
    """Fit a cleaned sweep; see :func:`fit_threshold`."""
    blank = ThresholdResult(
        "refused", "", data.n, options.definition,
        skipped=data.skipped, kept=data.kept, cross_checks=dict(checks or {}),
        photon_order=options.photon_order,
    )  # fmt: skip
    apart = float(np.median(data.fluence_sigma)) if data.n else 0.0
    refusal = _refusal(data, max(apart, 1e-3))
    if refusal is not None:
        return few_points(replace(blank, reason=refusal), data, lines)
    with np.errstate(all="ignore"):
        return _fit(data, options, blank, lines)


def _refusal(data: SweepData, apart_rel: float) -> str | None:
    if data.n < MIN_POINTS:
        points = "1 usable point" if data.n == 1 else f"{data.n} usable points"
        return f"{points}; a threshold needs at least {MIN_POINTS}"
    distinct = data.levels(apart_rel).size
    if distinct < MIN_DISTINCT:
        return f"{distinct} distinct fluences; a threshold needs at least {MIN_DISTINCT}"
    return None


def _fit(data: SweepData, options: Options, blank: ThresholdResult, lines: LineEvidence) -> ThresholdResult:
    if np.ptp(data.y) <= 1e-12:
        return unchanging(replace(blank, p_value=1.0, detection=0.0), data, lines)
    whole, profile, bad = credible(data, options)
    if not np.isfinite(whole.rss):
        return nothing_found(replace(blank, p_value=1.0, detection=0.0), data, whole, lines)
    if bad is not None:
        blank = replace(blank, outliers=(int(data.index[bad]),), flags=("outlier",))
    value, chance = detect(profile)
    if profile is not whole:
        # The point that stood against a kink, or for it, was chosen out of n.
        chance = min(1.0, data.n * chance)
    blank = replace(blank, detection=value, p_value=chance)
    significance = SIGNIFICANCE_FEW if data.n < STRICTER_FROM_POINTS else SIGNIFICANCE
    if chance >= significance:
        return nothing_found(blank, profile.data, profile, lines)
    if (share := excess_share(profile)) < LEAST_EXCESS:
        said = nothing_found(blank, profile.data, profile, lines)
        bend = f"a bend of {100 * share:.1f} % is within drift and nonlinearity"
        return replace(said, reason=f"{said.reason} ({bend})", flags=(*said.flags, "bend"))
    found = _found(blank, profile, whole, selection_of(chance, significance), lines, options)
    if options.beta:
        found = replace(found, beta=beta_of(profile))
    return with_lines_below(with_second_kink(found, profile), blank, profile, lines)


def with_second_kink(result: ThresholdResult, profile: Profile) -> ThresholdResult:
    """Name two kinks, the first one first, where the curve has two."""
    both = two_kinks(profile)
    if both is None:
        return result
    first, second = (float(np.exp(x)) * profile.data.fluence_scale for x in both)
    return replace(
        result,
        flags=(*result.flags, "second_kink"),
        reason=f"two kinks, at about {first:.4g} and {second:.4g} uJ/cm2: modes that set in one after "
        f"the other, or two mechanisms; as one: {result.reason}",
        cross_checks={**result.cross_checks, "first_kink": first, "second_kink": second},
    )


def credible(data: SweepData, options: Options) -> tuple[Profile, Profile, int | None]:
    """Fit all points, and again without the one that the rest disbelieve, if there is one.

    :returns: the fit of all, the fit to report (the same if there is no suspect), and the suspect's place in
        ``data``.
    """
    whole = fit_profile(data, library(options.photon_order, options.smear), size=options.size)
    bad = suspect(whole) if np.isfinite(whole.rss) else None
    profile = whole if bad is None else _less(whole, bad, options)
    return whole, profile, bad


def by_pulses(profile: Profile, options: Options) -> float:
    """Return how far ln threshold moves with one standard error of the pulses' scatter."""
    cv, sigma = options.smear.pulse_cv, options.pulse_cv_sigma
    if cv is None or sigma <= 0:
        return 0.0
    ends = []
    for moved in (max(cv - sigma, 0.0), min(cv + sigma, 0.99)):
        shapes = library(options.photon_order, replace(options.smear, pulse_cv=moved))
        grid = evaluate(profile.data, shapes, profile.grid.ln_t, profile.by)
        ends.append(summarise(replace(profile, shapes=shapes, grid=grid)).ln_t)
    return abs(ends[1] - ends[0]) / 2


def _less(whole: Profile, bad: int, options: Options) -> Profile:
    """Fit again without the suspect, unless that leaves too little to fit."""
    data = whole.data.without(bad)
    if data.n < MIN_POINTS - 1 or data.levels().size < MIN_DISTINCT - 1:
        return whole
    again = fit_profile(data, whole.shapes, size=options.size)
    return again if np.isfinite(again.rss) else whole


def detect(profile: Profile) -> tuple[float, float]:
    """Return the sup-F statistic of the kink and its p-value."""
    rss, _, _ = fit_null(profile.data.y, profile.weight, null_columns(profile.data), profile.by.white)
    value = detection(profile, float(rss.min()))
    return value, p_value(value, profile.data.n)


def _found(
    blank: ThresholdResult,
    profile: Profile,
    whole: Profile,
    selection: float,
    lines: LineEvidence,
    options: Options,
) -> ThresholdResult:
    """A kink: report it with its interval, or one bound where the interval leaves the scan."""
    estimate = summarise(profile, selection)
    if (moved := by_pulses(profile, options)) > 0:
        estimate = estimate.widened(K95 * moved, profile.span)
    if profile is not whole:
        # What one point can move is not known better than by how far it moved it.
        estimate = estimate.widened(abs(estimate.ln_t - summarise(whole).ln_t), profile.span)
    data, scale = profile.data, profile.data.fluence_scale
    below = data.ln_f < estimate.total[0]
    exponent = exponent_of(data, profile.weight, below)
    threshold = float(np.exp(estimate.ln_t)) * scale
    low, high = (float(np.exp(x)) * scale for x in estimate.total)
    intercept, crossing = naive_lines(data.f * scale, data.y * data.signal_scale, threshold)
    drift = drift_of(profile, estimate)
    result = replace(
        blank,
        shape=profile.shapes.names[estimate.shape],
        exponent=exponent.value,
        exponent_ci95=exponent.ci95,
        flags=blank.flags
        + few_flag(data)
        + drift.flags
        + misfit_flags(profile)
        + wander_flags(profile, estimate)
        + exponent_flags(exponent, profile),
        cross_checks={**blank.cross_checks, "x_intercept": intercept, "crossing": crossing},
        drift_rel=drift.relative,
        noise_rel=noise_rel(profile),
        model=curve_model(profile, estimate),
    )
    if estimate.touches_low or estimate.touches_high:
        return one_sided(result, profile, estimate, lines)
    statistical = (
        float(np.exp(estimate.statistical[0])) * scale,
        float(np.exp(estimate.statistical[1])) * scale,
    )
    few = above_flag(data, estimate)
    reason = f"threshold {threshold:.4g} uJ/cm2 ({result.definition}), 95 % interval {low:.4g} to {high:.4g}"
    if few:
        reason += "; provisional: measure three or more fluences above it"
    return replace(
        result, status="found", reason=reason, threshold_uj_cm2=threshold, ci95=(low, high),
        statistical_ci95=statistical, systematic_rel=estimate.systematic_rel, flags=(*result.flags, *few),
    )  # fmt: skip
