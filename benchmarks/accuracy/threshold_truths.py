"""Known light-light curves and their noise, written apart from labctl's own shapes: no shared error.

Signals are counts against ``u = fluence / onset``; defaults give 100 counts of baseline, 300 of luminescence
at the onset, and a lasing slope of 20 times that luminescence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from scipy.special import lambertw

from benchmarks.tables import Array

Curve = Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class Truth:
    """Excess over baseline and luminescence given the lasing slope; luminescence; photon order to declare."""

    name: str
    excess: Callable[[Array, float], Array]
    lum: Curve = np.square
    photon_order: int = 2

    def signal(
        self, u: Array, contrast: float = 20.0, baseline: float = 100.0, lum_counts: float = 300.0
    ) -> Array:
        """Mean counts at ``u``."""
        return np.asarray(baseline + lum_counts * self.lum(u) + self.excess(u, contrast * lum_counts))


def _above(u: Array) -> Array:
    return np.maximum(u - 1.0, 0.0)


def _roll_over(u: Array, slope: float) -> Array:
    e = slope * _above(u)
    return np.asarray(e / (1.0 + e / 6000.0))


def _extracted(r: Array) -> Array:
    top = np.maximum(r, 1.0)
    w = np.array([complex(lambertw(x)).real for x in -top * np.exp(-top)])
    return np.where(r > 1.0, top + w, 0.0)


def _photons(u: Array, beta: float) -> Array:
    r = u**2
    return np.asarray(((r - 1) + np.sqrt((r - 1) ** 2 + 4 * beta * r)) / 2)


def s_curve(beta: float) -> Truth:
    """Steady-state S-curve of this beta."""
    return Truth(
        f"S-curve {beta:g}",
        excess=lambda u, s: s / 2 * _photons(u, beta),
        lum=lambda u: _photons(u, beta) / (beta + _photons(u, beta)),
    )


def _collected(u: Array, slope: float, reach: float) -> Array:
    """A local hinge over a Gaussian spot, collected to where the fluence is ``reach`` of its peak."""
    low = np.maximum(u * reach, 1.0)
    return np.where(u > 1.0, slope * ((u - low) - np.log(np.maximum(u, 1.0) / low)) / -np.log(reach), 0.0)


def _spot_one(u: Array, s: float) -> Array:
    v = np.maximum(u, 1.0)
    return np.asarray(s * (v - 1 - np.log(v)))


def _spot_two(u: Array, s: float) -> Array:
    v = np.maximum(u, 1.0)
    return np.asarray(s * (v**2 - 1 - 2 * np.log(v)) / 2)


@cache
def _stripe_table(gain_length: float) -> tuple[Array, Array]:
    r, seed, steps = np.linspace(0.0, 12.0, 1200), np.exp(-gain_length), 3000
    light = np.zeros(r.shape)
    for _ in range(steps):
        middle = light + 0.5 * r * gain_length / steps * (light + seed) / (1 + light)
        light = light + r * gain_length / steps * (middle + seed) / (1 + middle)
    return r, light


def _stripe(r: Array, gain_length: float) -> Array:
    """Single pass along a stripe, ``dI/dz = g (I + seed)/(1 + I)``; its amplified seed reaches 1 at r = 1."""
    return np.asarray(np.interp(r, *_stripe_table(gain_length)))


def _pulse_noise(cv: float) -> Callable[[Array, float], Array]:
    z = (np.arange(201) + 0.5) / 201
    spread = np.array([NormalDist().inv_cdf(float(x)) for x in z])

    def excess(u: Array, s: float) -> Array:
        return np.asarray(s * _above(u[:, None] * (1 + cv * spread)).mean(axis=1))

    return excess


INSIDE: tuple[Truth, ...] = (
    Truth("hinge", excess=lambda u, s: s * _above(u)),
    Truth("roll-over", excess=_roll_over),
    Truth("impulsive", excess=lambda u, s: s / 4 * _extracted(u**2)),
    s_curve(1e-3),
    s_curve(1e-2),
    Truth("two-photon spot", excess=_spot_two),
    Truth("one-photon spot", excess=_spot_one),
    Truth("one-photon spot, N = 1", excess=_spot_one, lum=lambda u: u, photon_order=1),
    s_curve(0.1),
    s_curve(0.3),
    Truth("amplified stripe, e^5 at the onset", excess=lambda u, s: s / 10 * _stripe(u**2, 5.0)),
    Truth(
        "second kink at 1.5, three times as steep",
        excess=lambda u, s: s * (_above(u) + 2 * _above(u / 1.5) * 1.5),
    ),
)


def _bench_centre(u: Array, s: float) -> Array:
    """35 fs pumping seen at the spot's centre: impulsive, mildly saturating, pulses of 1.5 %."""
    local = np.mean([_extracted((u * (1 + 0.015 * z)) ** 2) / 4 for z in np.linspace(-2.2, 2.2, 23)], axis=0)
    return np.asarray(s * local / (1.0 + local / 25.0))


def _bench_whole(u: Array, s: float) -> Array:
    """The same collected over the whole spot."""
    v = np.linspace(1.0, max(float(u.max()), 1.01), 4000)
    local = s * _extracted(v**2) / 4
    steps = 0.5 * (local[1:] / v[1:] + local[:-1] / v[:-1]) * np.diff(v)
    return np.asarray(2.0 * np.interp(u, v, np.concatenate([[0.0], np.cumsum(steps)])))


OUTSIDE: tuple[Truth, ...] = (
    Truth("impulsive, pulses 1.5 %, mild roll-over", excess=_bench_centre),
    Truth("impulsive, whole spot", excess=_bench_whole),
    Truth("spot's centre, pulses 3 %", excess=_pulse_noise(0.03)),
    Truth("spot's centre, pulses 7 %", excess=_pulse_noise(0.07)),
    Truth("spot collected to 0.6 of peak", excess=lambda u, s: _collected(u, s, 0.6)),
    Truth("spot collected to 0.8 of peak", excess=lambda u, s: _collected(u, s, 0.8)),
    Truth("half hinge, half spot", excess=lambda u, s: 0.5 * s * _above(u) + 0.5 * _spot_two(u, s)),
    Truth("excess to the power 1.3", excess=lambda u, s: s * _above(u) ** 1.3),
    Truth("excess to the power 0.9", excess=lambda u, s: s * _above(u) ** 0.9),
    Truth("second kink at 1.6", excess=lambda u, s: s * (_above(u) - 0.6 * np.maximum(u - 1.6, 0))),
    Truth(
        "quadratic with roll-over",
        excess=lambda u, s: s / 2 * _above(u**2) / (1 + 0.3 * _above(u**2)),
    ),
    Truth(
        "hinge, clamped luminescence",
        excess=lambda u, s: s * _above(u),
        lum=lambda u: np.minimum(u, 1) ** 2,
    ),
    Truth("hinge over luminescence F^1.8", excess=lambda u, s: s * _above(u), lum=lambda u: u**1.8),
    Truth("roll-over, strength 0.3", excess=lambda u, s: s * _above(u) / (1 + 0.3 * _above(u))),
)


def _power(m: float) -> Curve:
    return lambda u: 100.0 + 300.0 * u**m


# Curves without a kink: u is the fluence over the middle of the scan.
NULLS: dict[str, Curve] = {
    **{f"power {m:g}": _power(m) for m in (0.5, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)},
    "no baseline, power 2": lambda u: 400.0 * u**2,
    "straight": lambda u: 50.0 + 400.0 * u,
    "flat": lambda u: np.full_like(u, 400.0),
    "bends down, F/(1+F)": lambda u: 50.0 + 1500.0 * u / (1.0 + u),
    "bends down, F^2/(1+F^2)": lambda u: 50.0 + 1000.0 * u**2 / (1.0 + u**2),
    "bends down, F^2/(1+F^2/4)": lambda u: 100.0 + 500.0 * u**2 / (1.0 + u**2 / 4.0),
    "bends down, 1-exp(-F)": lambda u: 50.0 + 1500.0 * (1.0 - np.exp(-u)),
}


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise of a point: relative, shot (counts per photoelectron), read (counts), relative of fluence."""

    multiplicative: float = 0.05
    gain: float = 1.0
    read_counts: float = 10.0
    fluence_rel: float = 0.0

    def measure(self, curve: Curve, u: Array, rng: np.random.Generator) -> Array:
        """Draw one signal per ``u``, shape (n,)."""
        mean = curve(u * (1.0 + self.fluence_rel * rng.standard_normal(u.size)))
        mean = np.maximum(mean * (1.0 + self.multiplicative * rng.standard_normal(u.size)), 0.0)
        shot = rng.poisson(mean / self.gain) * self.gain
        return np.asarray(shot + self.read_counts * rng.standard_normal(u.size))


def scan(n: int, rng: np.random.Generator) -> Array:
    """``n`` log-spaced fluences from 0.25-0.55 to 1.7-3.0 times the onset."""
    return np.geomspace(rng.uniform(0.25, 0.55), rng.uniform(1.7, 3.0), n)
