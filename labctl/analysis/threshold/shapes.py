"""The library of excess curves: what a laser adds to its luminescence, as functions of ``u = F/Fth``.

Every entry is a pair of curves, the luminescence ``lum(u)`` and the excess ``gain(u)``, so that a signal
reads ``b + a lum(u) + s gain(u)`` and only ``b``, ``a``, ``s`` are linear. They are tabulated once against
``ln u`` with a node exactly on the kink, because a fit evaluates them some hundred thousand times.

Sources: the steady-state rate equations of a laser with spontaneous-emission factor beta (S-curve), the
extracted energy of an impulsively pumped gain (Lambert W), and the integral of a local excess over a Gaussian
spot.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import scipy
from numpy.typing import NDArray

Array = NDArray[np.float64]

LN_U_MAX = 7.0
STEP = 1.0 / 256
HINGE, IN_PART, TWO = "hinge", "spot-in-part", "two-kinks"
PHOTONS = ("one", "two", "three", "four")


@dataclass(frozen=True, slots=True)
class Smear:
    """What is known to average a curve over fluences; None where it is not known.

    :ivar pulse_cv: standard deviation of the pulses' energies over their mean, 0 to below 1.
    :ivar depth: logarithm of the fluence at the spot's peak over that at the edge of its collected part,
        along both axes of a Gaussian spot; 0 for its centre alone, infinite for all of it.
    """

    pulse_cv: float | None = None
    depth: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Refuse misuse."""
        if self.pulse_cv is not None and not 0 <= self.pulse_cv < 1:
            raise ValueError(f"pulse_cv must be from 0 to below 1, not {self.pulse_cv!r}")
        if self.depth is not None and not all(d >= 0 for d in self.depth):
            raise ValueError(f"the depth of a spot must be 0 or more, not {self.depth!r}")


UNKNOWN_SMEAR = Smear()


@dataclass(frozen=True, slots=True)
class Library:
    """Tabulated shapes for one photon order.

    :ivar names: shape names, length K; the name ends in its parameter where it has one.
    :ivar families: the family of each shape, length K.
    :ivar tables: luminescence, excess and second excess of each shape, (3, K, node), dimensionless; the
        second is zero but for the mixed shapes, whose two excesses have a free ratio.
    :ivar log_prior: natural log of the prior weight, shape (K,): over families by what benches show, then
        shared within each.
    :ivar classes: 0 for a sharp kink, 1 for a rate-equation curve, 2 for a Gaussian spot, shape (K,).
    :ivar mixing: 0 for one excess, 1 for a non-negative second one, 2 for a curvature of either sign, 3 for
        a second kink, shape (K,).
    """

    names: tuple[str, ...]
    families: tuple[str, ...]
    photon_order: int
    tables: Array
    log_prior: Array
    classes: NDArray[np.intp]
    mixing: NDArray[np.intp]
    smear: Smear = UNKNOWN_SMEAR

    def index(self, name: str) -> int:
        """Return the row of the shape called ``name``; ValueError if the library has none."""
        return self.names.index(name)

    def columns(self, ln_u: Array, which: slice = slice(None)) -> Array:
        """Evaluate luminescence and both excesses at ``ln u`` of any shape S; comes back as (3, K, *S)."""
        at = (np.clip(ln_u, -LN_U_MAX, LN_U_MAX) + LN_U_MAX) / STEP
        node = np.minimum(at.astype(np.intp), self.tables.shape[-1] - 2)
        share = at - node
        tables = self.tables[:, which]
        mixed = np.flatnonzero(self.mixing[which])
        out = np.zeros((*tables.shape[:2], *ln_u.shape))
        # Most shapes have no second excess; looking up their zeros would take a third of the time.
        for part, rows in ((0, slice(None)), (1, slice(None)), (2, mixed)):
            table = tables[part, rows]
            low = table[:, node]
            out[part, rows] = low + share * (table[:, node + 1] - low)
        return out


def rounded_kink(u: Array, cv: float) -> Array:
    """Mean of ``max(u (1 + cv z) - 1, 0)`` over a normal z: a hinge seen through pulse noise."""
    width = np.maximum(u * cv, 1e-300)
    z = (u - 1.0) / width
    return np.asarray((u - 1.0) * scipy.special.ndtr(z) + width * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi))


def rounded_square(u: Array, cv: float) -> Array:
    """Mean of ``max(u (1 + cv z) - 1, 0)^2`` over a normal z."""
    width = np.maximum(u * cv, 1e-300)
    z = (u - 1.0) / width
    density = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    return np.asarray(((u - 1.0) ** 2 + width**2) * scipy.special.ndtr(z) + (u - 1.0) * width * density)


def impulsive(r: Array) -> Array:
    """Extracted energy ``r + W0(-r exp(-r))`` of a gain pumped at once to ``r`` > 1; 0 below."""
    above = np.maximum(r, 1.0)
    # The stubs of scipy want the branch spelled out for arrays: 0 is the principal one.
    branch = np.zeros(above.shape, dtype=np.intp)
    return np.where(r > 1.0, above + np.real(scipy.special.lambertw(-above * np.exp(-above), branch)), 0.0)


def s_curve(r: Array, beta: float) -> tuple[Array, Array]:
    """Clamped luminescence ``p/(1+p)`` and laser output ``beta p`` in the steady state at ``r``."""
    root = np.sqrt((r - 1.0) ** 2 + 4.0 * beta * r)
    # Below threshold the difference of two near-equal numbers is rewritten as a quotient.
    out = np.where(r > 1.0, (r - 1.0 + root) / 2.0, 2.0 * beta * r / (root + 1.0 - r + 1e-300))
    return out / (beta + out), out


def ase_growth(r: Array, gain_length: float) -> Array:
    """Light of a single pass that grows exponentially, then saturates: ``W(exp(G (r - 1)))``, 0 when dark.

    At the onset the seed, amplified by ``exp(G)``, would just reach the saturation intensity.
    """
    dark = float(scipy.special.wrightomega(-gain_length))
    return np.asarray(np.real(scipy.special.wrightomega(gain_length * (r - 1.0))) - dark)


def own_spot(order: int) -> str:
    """Name of the whole-spot shape that belongs to ``order`` photons."""
    return f"spot-{PHOTONS[order - 1]}-photon"


def rounded(curve: Array, u: Array, cv: float) -> Array:
    """Mean of a curve tabulated at ``u`` over 64 equally likely pulses of relative spread ``cv``."""
    z = scipy.special.ndtri((np.arange(64) + 0.5) / 64)
    return np.asarray(np.mean([np.interp(u * max(1.0 + cv * x, 0.0), u, curve) for x in z], axis=0))


def spot(local: Array, u: Array) -> Array:
    """Integral of a local excess over a Gaussian spot of peak ``u``: ``local(v) dv / v``, by trapezia."""
    ln_u = np.log(u)
    steps = 0.5 * (local[1:] + local[:-1]) * np.diff(ln_u)
    return np.concatenate([[0.0], np.cumsum(steps)])


def spot_of_order(u: Array, order: int) -> Array:
    """Excess of a local ``u^N - 1`` over a Gaussian spot: ``(u^N - 1 - N ln u)/N``, 0 below 1."""
    above = np.maximum(u, 1.0)
    return np.asarray((above**order - 1.0 - order * np.log(above)) / order)


def spot_in_part(u: Array, reach: float) -> Array:
    """Mean of a local hinge over that part of a Gaussian spot where the fluence exceeds ``reach`` x peak."""
    above = np.maximum(u, 1.0)
    low = np.maximum(u * reach, 1.0)
    return np.where(u > 1.0, (above - low - np.log(above / low)) / -np.log(reach), 0.0)


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    family: str
    lum: Array
    gain: Array
    second: Array | None = None
    kind: int = 0
    mixing: int = 0
    log_prior: float = 0.0


def _single(u: Array, order: int) -> list[_Entry]:
    r = u**order
    hinge, square = np.maximum(u - 1.0, 0.0), np.maximum(r - 1.0, 0.0)
    extracted = impulsive(r)
    found = [_Entry(HINGE, HINGE, r, hinge, log_prior=0.9)]
    name = "hinge-rounded"
    # Pulses that scatter by more than 5 % are rarer than a pinhole, which rounds a kink as much (see _spots).
    found += [
        _Entry(f"{name}-{cv:g}", name, r, rounded_kink(u, cv), log_prior=w)
        for cv, w in ((0.02, 0.0), (0.04, 0.0), (0.07, -0.7), (0.1, -0.7))
    ]
    found += [
        _Entry(f"roll-over-{c:g}", "roll-over", r, hinge / (1.0 + c * hinge), log_prior=0.8)
        for c in (0.2, 0.45, 1.0)
    ]
    found += [
        _Entry(f"power-{q:g}", "power", r, hinge**q, log_prior=w)
        for q, w in ((0.85, -0.5), (1.15, -0.5), (1.3, 0.2), (1.45, 0.2))
    ]
    name = "impulsive"
    found.append(_Entry(name, name, r, extracted, log_prior=0.7))
    found += [
        _Entry(f"{name}-rounded-{cv:g}", name, r, rounded(extracted, u, cv), log_prior=w)
        for cv, w in ((0.02, 0.7), (0.05, 0.0))
    ]
    if order > 1:
        found.append(_Entry("superlinear", "superlinear", r, square, kind=1, log_prior=-0.7))
    # Beta is a number anywhere between these: each node counts about as much as a shape of its own.
    found += [
        _Entry(f"s-curve-{b:g}", "s-curve", *s_curve(r, b), kind=1, log_prior=w)
        for b, w in ((1e-3, 1.9), (3e-3, 1.9), (1e-2, 1.9), (3e-2, 1.1), (0.1, 2.4), (0.3, 2.6))
    ]
    name = "ase-growth"
    found += [_Entry(f"{name}-{g:g}", name, r, ase_growth(r, g), kind=1, log_prior=1.5) for g in (5.0, 9.0)]
    return found + _spots(u, order, extracted)


def _spots(u: Array, order: int, extracted: Array) -> list[_Entry]:
    """Spots collected whole, with a local excess linear in the rate ``u^N`` or in the fluence, and in part.

    At 5 % noise and 16 points an S-curve looks like a whole spot whose local excess is linear in the fluence,
    with a threshold 17 % lower. Their weights are such that neither is far worse off than by an equal choice.
    """
    r = u**order
    own, linear = spot_of_order(u, order), spot_of_order(u, 1)
    found = [_Entry(own_spot(order), "spot", r, own, kind=2, log_prior=2.1)]
    found.append(_Entry("spot-impulsive", "spot-impulsive", r, spot(extracted, u), kind=2, log_prior=-2.3))
    if order > 1:
        found.append(_Entry(own_spot(1), "spot-linear", r, linear, kind=2, log_prior=1.0))
    found += [
        _Entry(f"{IN_PART}-{c:g}", IN_PART, r, spot_in_part(u, c), kind=2, log_prior=-0.6)
        for c in (0.6, 0.7, 0.8)
    ]
    return found


def _mixed(u: Array, order: int) -> list[_Entry]:
    r, hinge = u**order, np.maximum(u - 1.0, 0.0)
    round_kink, square = rounded_kink(u, 0.05), rounded_square(u, 0.05)
    extracted = impulsive(r)
    return [
        _Entry("kink-curved", "kink-curved", r, hinge, hinge**2, mixing=2, log_prior=-0.7),
        _Entry("kink-rounded-curved", "kink-curved", r, round_kink, square, mixing=2, log_prior=-0.7),
        _Entry("impulsive-curved", "impulsive-curved", r, extracted, extracted**2, mixing=2, log_prior=-0.7),
        _Entry("kink-and-spot", "kink-and-spot", r, hinge, spot_of_order(u, order), mixing=1, log_prior=-0.7),
    ] + [
        _Entry(f"{TWO}-{v:g}", TWO, r, hinge, np.maximum(u - v, 0.0), mixing=3, log_prior=-2.0)
        for v in (1.25, 1.5, 2.0)
    ]


def _grid() -> Array:
    nodes = round(2 * LN_U_MAX / STEP) + 1
    u = np.exp(np.linspace(-LN_U_MAX, LN_U_MAX, nodes))
    u[nodes // 2] = 1.0
    return u


def _library(entries: list[_Entry], photon_order: int) -> Library:
    families = tuple(e.family for e in entries)
    zero = np.zeros(entries[0].lum.size)
    tables = np.stack(
        [np.stack([e.lum, e.gain, zero if e.second is None else e.second]) for e in entries], axis=1
    )
    return Library(
        tuple(e.name for e in entries),
        families,
        photon_order,
        np.ascontiguousarray(tables),
        np.array([e.log_prior - np.log(families.count(e.family)) for e in entries]),
        np.array([e.kind for e in entries], dtype=np.intp),
        np.array([e.mixing for e in entries], dtype=np.intp),
    )


def library(photon_order: int, smear: Smear = UNKNOWN_SMEAR) -> Library:
    """Return the library for pumping by ``photon_order`` photons (1 to 4), built once.

    :param smear: over what every curve is averaged, luminescence too: ``<F^N>`` takes the place of ``F^N``.
    """
    if smear == UNKNOWN_SMEAR:
        return _plain(photon_order)
    cv = None if smear.pulse_cv is None else round(smear.pulse_cv, 4)
    return _smeared(photon_order, Smear(cv, smear.depth))


@lru_cache(maxsize=8)
def _plain(photon_order: int) -> Library:
    u = _grid()
    return _library(_single(u, photon_order) + _mixed(u, photon_order), photon_order)


# A known scatter of the pulses leaves little to the shapes that stand for an unknown one; other causes round
# a kink too.
_KNOWN_PULSES, _ROUNDED_FROM = -2.0, 0.03
_RULED_OUT = -60.0


@lru_cache(maxsize=24)
def _smeared(photon_order: int, smear: Smear) -> Library:
    return _smear(_plain(photon_order), smear)


def _smear(plain: Library, smear: Smear) -> Library:
    tables = plain.tables
    for kernel in (_pulses(smear.pulse_cv), _collected(smear.depth)):
        tables = tables if kernel is None else _averaged(tables, *kernel)
    prior = plain.log_prior.copy()
    if smear.pulse_cv is not None:
        strong = [_rounding(name) > _ROUNDED_FROM for name in plain.names]
        prior = prior + np.where(strong, _KNOWN_PULSES, 0.0)
    if smear.depth is not None:
        spots = (plain.classes == 2) | (np.asarray(plain.families) == "kink-and-spot")
        prior = np.where(spots, _RULED_OUT, prior)
    return replace(plain, tables=tables, log_prior=prior, smear=smear)


def _rounding(name: str) -> float:
    """Scatter of the pulses that a shape of the library stands for by its name, 0 for the others."""
    return float(name.rpartition("-")[2]) if "-rounded-" in name and name[-1].isdigit() else 0.0


def _pulses(cv: float | None) -> tuple[Array, Array] | None:
    """Logarithms of pulse energies over their mean, and their weights."""
    if not cv:
        return None
    z = scipy.special.ndtri((np.arange(801) + 0.5) / 801)
    return np.log(np.maximum(1.0 + cv * z, np.exp(-LN_U_MAX))), np.full(z.size, 1.0 / z.size)


def _collected(depth: tuple[float, float] | None) -> tuple[Array, Array] | None:
    """Logarithms of the fluences in a disc about the middle of a Gaussian spot over its peak, and weights.

    Equal areas of it hold equal steps of the logarithm along every radius.
    """
    if depth is None or not max(depth) > 0:
        return None
    x, y = depth
    if min(depth) >= LN_U_MAX:
        x = y = LN_U_MAX  # all of it: equal areas whatever its two sizes
    # Of a node in the middle of each step, and round a quarter of the disc.
    area = (np.arange(2048) + 0.5) / 2048
    angle = (np.arange(32) + 0.5) / 32 * np.pi / 2
    ln_v = -area[:, None] * (x * np.cos(angle) ** 2 + y * np.sin(angle) ** 2)
    ln_v = np.maximum(ln_v.ravel(), -LN_U_MAX)
    return ln_v, np.full(ln_v.size, 1.0 / ln_v.size)


def _averaged(tables: Array, shift: Array, weight: Array) -> Array:
    """Average tabulated curves over shifts of ``ln u``, each of shape (m,), weights adding to 1."""
    at = shift / STEP
    low = np.floor(at).astype(np.intp)
    first, last = int(low.min()), int(low.max()) + 1
    kernel = np.bincount(low - first, weight * (low + 1 - at), last - first + 1)
    kernel += np.bincount(low + 1 - first, weight * (at - low), last - first + 1)
    before, after = max(-first, 0), max(last, 0)
    out = np.zeros_like(tables)
    for part, row in zip(*np.nonzero(tables.any(axis=2)), strict=True):
        padded = np.pad(tables[part, row], (before, after), mode="edge")
        whole = np.convolve(padded, kernel[::-1], mode="valid")
        start = before + first
        out[part, row] = whole[start : start + tables.shape[2]]
    return out


BETA_LEAST, BETA_MOST, BETAS = 1e-4, 1.0, 25


@lru_cache(maxsize=8)
def s_curves(photon_order: int, smear: Smear, least: float = BETA_LEAST, most: float = BETA_MOST) -> Library:
    """Return 25 S-curves alone, equally likely, of spontaneous-emission factors between these, even in ln."""
    u = _grid()
    betas = np.geomspace(least, most, BETAS)
    entries = [_Entry(f"s-curve-{b:.3g}", "s-curve", *s_curve(u**photon_order, b), kind=1) for b in betas]
    return _smear(_library(entries, photon_order), smear)
