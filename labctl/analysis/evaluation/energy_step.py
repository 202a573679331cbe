"""A step of the pulse energy in the midst of a run: laser or meter, the points alone do not say which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from labctl.analysis.fluence import malus_error_rel, malus_transmission, table_error_rel
from labctl.analysis.threshold import ThresholdResult
from labctl.model.pump import MalusCurve, PumpSettings
from labctl.model.records import FloatArray, SweepPoint
from labctl.model.results.sweep import EnergyStep, StabilityResult

FLAG = "energy_step"
LEAST_REL = 0.08
"""A step smaller than this is a drift, which the meter follows."""
_KNOWN_REL = 0.03
_WINDOW = 4
_OF_THE_STEP = 1.03
"""How well a step is known: the drift within its windows, and the readings."""


def full_energies_j(points: Sequence[SweepPoint], settings: PumpSettings) -> FloatArray:
    """Return the pulse energy that each point tells of at full transmission, shape ``(n,)``.

    It is nan where the mount's repeatability says little of the transmission.
    """
    angle = np.array([p.angle_deg for p in points], dtype=np.float64)
    energy = np.array([p.pulse_energy_j for p in points], dtype=np.float64)
    curve, sigma_deg = settings.curve, settings.angle_sigma_deg
    if isinstance(curve, MalusCurve):
        leak = curve.t_min / curve.t_max
        transmission = malus_transmission(angle - curve.zero_deg, leak)
        error = malus_error_rel(angle - curve.zero_deg, leak, sigma_deg)
    else:
        order = np.argsort(curve.angle_deg)
        knots, values = np.asarray(curve.angle_deg)[order], np.asarray(curve.transmission)[order]
        log_t = np.log(values / values.max())
        transmission = np.exp(np.interp(angle, knots, log_t, left=0.0, right=0.0))
        error = table_error_rel(angle, knots, log_t, sigma_deg)
    return np.where(error < _KNOWN_REL, energy / transmission, np.nan)


def find_step(full_j: FloatArray) -> EnergyStep | None:
    """Find the largest step in energies at full transmission, shape ``(n,)`` in order of time, nan for none.

    It is one if both sides of it are quiet beside it, and if it happens from one point to the next, or
    between the two readings of the point in between.

    >>> find_step(np.array([1.0, 1.01, 0.99, 1.0, 1.15, 1.16, 1.14])).before_point
    5
    """
    places = np.flatnonzero(np.isfinite(full_j) & (full_j > 0))
    logs = np.log(full_j[places])
    best: tuple[float, int] | None = None
    for k in range(3, places.size - 1):
        before, after = logs[max(k - 1 - _WINDOW, 0) : k - 1], logs[k : k + _WINDOW]
        height = float(np.median(after) - np.median(before))
        scatter = max(float(np.ptp(before)), float(np.ptp(after)))
        at_once = max(abs(float(logs[k] - logs[k - 1])), abs(float(logs[k] - logs[k - 2])))
        sharp = at_once > 0.6 * abs(height) > scatter
        if sharp and (best is None or abs(height) > abs(best[0])):
            best = height, k
    if best is None or abs(np.expm1(best[0])) < LEAST_REL:
        return None
    return EnergyStep(int(places[best[1]]) + 1, float(np.expm1(best[0])))


def with_step(stability: StabilityResult, step: EnergyStep) -> StabilityResult:
    """Flag what a stability run says; a decay that a step of the meter would make is none."""
    flags = (*stability.flags, FLAG)
    if stability.status != "decay":
        return replace(stability, flags=flags)
    reason = f"{step.text}; a change of the emission cannot be separated from it"
    kept = (stability.points, stability.sample_temperature_c)
    return StabilityResult("refused", reason, points=kept[0], flags=flags, sample_temperature_c=kept[1])


def widened(result: ThresholdResult, step: EnergyStep) -> ThresholdResult:
    """Flag a threshold, and widen interval and bounds by the step, both ways: either side may err."""
    factor = max(1 + step.change_rel, 1 / (1 + step.change_rel)) * _OF_THE_STEP
    interval, bound, reason = result.ci95, result.bound, result.reason
    if interval is not None:
        before, interval = interval, (interval[0] / factor, interval[1] * factor)
        was, now = (f"{low:.4g} to {high:.4g}" for low, high in (before, interval))
        reason = reason.replace(was, now)
    if bound is not None:
        low, high = bound
        bound = (None if low is None else low / factor, None if high is None else high * factor)
        for old, new in zip((low, high), bound, strict=True):
            reason = reason.replace(f"below {old or 0:.4g} uJ/cm2", f"below {new or 0:.4g} uJ/cm2")
    flags = (*result.flags, FLAG) if FLAG not in result.flags else result.flags
    return replace(result, ci95=interval, bound=bound, flags=flags, reason=f"{reason}; {step.text}")
