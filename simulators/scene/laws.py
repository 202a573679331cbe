"""Laws of light out against light in, at one place of the film, for one pulse.

u is the local fluence over the threshold, r = u^2 the two-photon excitation over its threshold; one unit of
light is the luminescence at threshold. Each law returns the luminescence and the lasing light. The excess
of their sum over r begins with slope 2 ``contrast`` in u at u = 1 exactly (the s-curve alone is rounded
there), because the luminescence itself has slope 2.

impulsive
    The default. 35 fs pumping inverts the medium at once; what lies above threshold is then swept out by
    the growing field, faster than it could decay: the photon and inversion equations without pump and decay
    give E = r + W0(-r exp(-r)) extracted of r, and the rest goes on to luminesce. Many modes share E.
hinge, rollover, quadratic
    Luminescence clamped at threshold; excess u - 1, (u - 1)/(1 + (u - 1)/3), (u^2 - 1)/2.
s-curve
    Quasi-steady rate equations with spontaneous emission factor beta: no sharp onset.
none
    Luminescence only: a sample that never lases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from labctl.model.records import FloatArray
from simulators.scene.settings import SampleSettings

U_MAX = 14.0


def left_over(r: FloatArray) -> FloatArray:
    """Return the inversion x < 1 that an impulse leaves of r > 1: x exp(-x) = r exp(-r).

    Newton's method on ln x - x from the left, where it never overshoots; -x is Lambert's W0(-r exp(-r)).
    """
    goal = np.log(r) - r
    x = np.exp(goal)
    for _ in range(64):
        slope = np.maximum(1.0 / np.maximum(x, 1e-300) - 1.0, 1e-9)
        x = np.minimum(x - (np.log(np.maximum(x, 1e-300)) - x - goal) / slope, 1.0)
    return x


def _impulsive(u: FloatArray, _: SampleSettings) -> tuple[FloatArray, FloatArray]:
    r = u * u
    rest = np.where(r > 1.0, left_over(np.maximum(r, 1.0)), r)
    return rest, 0.25 * (r - rest)


def _clamped(shape: Callable[[FloatArray], FloatArray]) -> Callable[..., tuple[FloatArray, FloatArray]]:
    return lambda u, _: (np.minimum(u * u, 1.0), shape(np.maximum(u, 1.0)))


def _s_curve(u: FloatArray, sample: SampleSettings) -> tuple[FloatArray, FloatArray]:
    r = u * u
    root = np.sqrt((r - 1.0) ** 2 + 4.0 * sample.beta * r)
    # Below threshold the difference of two nearly equal numbers is avoided by the other form of the root.
    light = np.where(
        r > 1.0, 0.5 * (r - 1.0 + root), 2.0 * sample.beta * r / np.maximum(1.0 - r + root, 1e-12)
    )
    photons = light / sample.beta
    luminescence = photons / (1.0 + photons)
    return luminescence, ((1.0 + sample.contrast) * light - r + luminescence) / (2.0 * sample.contrast)


LAWS: dict[str, Callable[[FloatArray, SampleSettings], tuple[FloatArray, FloatArray]]] = {
    "impulsive": _impulsive,
    "hinge": _clamped(lambda u: u - 1.0),
    "rollover": _clamped(lambda u: (u - 1.0) / (1.0 + (u - 1.0) / 3.0)),
    "quadratic": _clamped(lambda u: 0.5 * (u * u - 1.0)),
    "s-curve": _s_curve,
    "none": lambda u, _: (u * u, np.zeros_like(u)),
}


@dataclass(frozen=True, slots=True)
class Response:
    """Tables of luminescence and lasing light over u^2 against u, with a node exactly at the onset."""

    u: FloatArray
    luminescence: FloatArray
    lasing: FloatArray

    def at(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return luminescence and lasing light at u, both in units of the luminescence at threshold."""
        r = u * u
        return r * np.interp(u, self.u, self.luminescence), r * np.interp(u, self.u, self.lasing)


def response(sample: SampleSettings) -> Response:
    """Tabulate the sample's law, for the spot's centre or integrated over the whole Gaussian spot.

    Rings of a Gaussian spot of peak u hold 2 y(v)/v dv each (normalised so that the luminescence of both
    ways of collecting is the same): the kink at u = 1 becomes round.
    """
    u = np.concatenate(
        [np.linspace(0.0, 1.0, 501), 1.0 + (U_MAX - 1.0) * np.linspace(0.0, 1.0, 1501)[1:] ** 2]
    )
    luminescence, shape = LAWS[sample.law](u, sample)
    excess = 2.0 * sample.contrast * shape / (1.0 + shape / sample.saturation)
    lasing = excess + u * u - luminescence if sample.law != "none" else excess
    if sample.collection == "whole":
        luminescence, lasing = _over_spot(u, luminescence), _over_spot(u, lasing)
    with np.errstate(invalid="ignore", divide="ignore"):
        tables = [y / (u * u) for y in (luminescence, lasing)]
    for table in tables:
        table[0] = table[1]
    return Response(u, np.maximum(tables[0], 0.0), np.maximum(tables[1], 0.0))


def _over_spot(u: FloatArray, light: FloatArray) -> FloatArray:
    density = np.zeros_like(u)
    density[1:] = 2.0 * light[1:] / u[1:]
    steps = 0.5 * (density[1:] + density[:-1]) * np.diff(u)
    return np.concatenate([[0.0], np.cumsum(steps)])
