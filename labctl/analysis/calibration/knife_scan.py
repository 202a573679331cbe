"""A knife-edge scan before it is fitted: is there one edge, where about, and how the curve depends on it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import erf

from labctl.analysis.calibration.noisefit import Model
from labctl.model.errors import CalibrationRefused
from labctl.model.records import FloatArray

LEAST_POINTS = 8
_SQRT2 = math.sqrt(2.0)


@dataclass(frozen=True, slots=True)
class Guess:
    """A first look: what the fit begins with, and the units it is made in."""

    centre: float
    w: float
    offset: float
    power: float
    sign: float


def guess_edge(x: FloatArray, y: FloatArray) -> Guess:
    """Find the edge in a scan sorted by position.

    :raises CalibrationRefused: there is no single edge between two plateaus.
    """
    order = np.argsort(x, kind="stable")
    xs, ys = x[order], y[order]
    if not np.ptp(xs) > 0 or np.unique(xs).size < LEAST_POINTS - 1:
        raise CalibrationRefused(
            f"{np.unique(xs).size} different positions are too few: at least {LEAST_POINTS}"
        )
    low, high = float(np.min(ys)), float(np.max(ys))
    if not high > 0 or not high - low > 0.2 * high:
        raise CalibrationRefused(
            "the power hardly changes along the scan: it lacks the edge, or the blade does not cut the beam"
        )
    sign = 1.0 if np.mean(ys[-2:]) > np.mean(ys[:2]) else -1.0
    part = (ys - low) / (high - low)
    part = part if sign > 0 else 1 - part
    refuse_two_sided(part)
    rising = np.maximum.accumulate((part + np.minimum.accumulate(part[::-1])[::-1]) / 2)
    quarter, half, upper = (float(np.interp(q, rising, xs)) for q in (0.1587, 0.5, 0.8413))
    w = max(upper - quarter, 0.25 * float(np.min(np.diff(np.unique(xs)))))
    return Guess(half, w, low, high - low, sign)


def refuse_two_sided(part: FloatArray) -> None:
    """A blade's two edges, or a slit, go up AND down by much of the power."""
    climbed, fell = np.max(part - np.minimum.accumulate(part)), np.max(np.maximum.accumulate(part) - part)
    if fell > 0.25 and climbed > 0.25:
        raise CalibrationRefused(
            f"the power falls by {fell:.0%} after it has risen: two edges, a slit, or an unsteady laser; "
            "scan one edge in one direction"
        )


def model_of(x: FloatArray, guess: Guess, extra: bool = False) -> Model:
    """Error function with parameters (x0 in w, ln w, offset, power), all relative to the guess.

    With ``extra`` two more: the third and fourth derivative of a Gaussian's edge, as of a skewed or a
    flat-topped profile.
    """

    def model(params: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        w = guess.w * math.exp(float(np.clip(params[1], -6, 6)))
        u = 2 * (x - guess.centre - guess.w * params[0]) / w  # in standard deviations of the intensity
        edge = 0.5 * (1 + guess.sign * erf(u / _SQRT2))
        density = guess.sign * params[3] * np.exp(-0.5 * np.minimum(u * u, 200.0)) / math.sqrt(2 * math.pi)
        slope = density * 2 / w
        columns = [-slope * guess.w, -density * u, np.ones_like(x), edge]
        mean = params[2] + params[3] * edge
        if extra:
            columns += [density * (u**2 - 1), density * (u**3 - 3 * u)]
            mean = mean + columns[4] * params[4] + columns[5] * params[5]
        return mean, np.column_stack(columns), slope

    return model
