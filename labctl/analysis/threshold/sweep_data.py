"""Make measured points fit to be fitted: skip what cannot be used and count it, normalise the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from labctl.analysis.fluence import mean_power_factor
from labctl.analysis.threshold.shapes import UNKNOWN_SMEAR, Smear
from labctl.model.pump import PumpSettings

Array = NDArray[np.float64]

# Stands for the logarithm of zero: every shape of the library is at its dark end there.
LN_ZERO = -1e3


@dataclass(frozen=True, slots=True)
class Wander:
    """A slow relative error of the fluence that no reading shows: pick-off ratio, pointing, spot on the film.

    Two points taken ``dt`` apart share ``exp(-dt / time)`` of it.

    :ivar sigma_rel: its standard deviation, 0 to below 1.
    :ivar time: after which 1/e of it is left, > 0, in the unit of ``at``.
    :ivar at: when each point was taken, shape (n,), in any unit of time; None: one unit from point to point.
    """

    sigma_rel: float
    time: float
    at: Array | None = None

    def __post_init__(self) -> None:
        """Refuse misuse."""
        if not (np.isfinite(self.sigma_rel) and 0 <= self.sigma_rel < 1):
            raise ValueError(f"the wander must be from 0 to below 1, not {self.sigma_rel!r}")
        if not self.time > 0:
            raise ValueError(f"the time of the wander must be positive, not {self.time!r}")

    def ages(self, n: int) -> Array:
        """Return when ``n`` points were taken, in units of its time; where nobody knows, one point apart."""
        if self.at is not None and self.at.shape != (n,):
            raise ValueError(f"the times of the wander have shape {self.at.shape}, fluence {(n,)}")
        known = self.at is not None and bool(np.isfinite(self.at).all())
        at = self.at if known and self.at is not None else np.arange(n, dtype=np.float64)
        return np.asarray(at / self.time)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a bench that shapes its curves, or makes their points err together.

    :ivar smear: scatter of the pulses, and collected part of the spot.
    :ivar pulse_cv_sigma: standard error of that scatter.
    :ivar wander_rel: slow error of the fluence that no reading shows, 0 where none is stated;
        ``wander_time_s`` after which 1/e of it is left.
    """

    smear: Smear = UNKNOWN_SMEAR
    pulse_cv_sigma: float = 0.0
    wander_rel: float = 0.0
    wander_time_s: float = np.inf

    @classmethod
    def of(cls, settings: PumpSettings | None) -> Known:
        """Take it from the chain to the sample; nothing is known without one."""
        if settings is None:
            return cls()
        s = settings
        smear = Smear(None if s.pulse_cv is None else min(s.pulse_cv, 0.99), _depth(s))
        return cls(smear, s.pulse_cv_sigma, s.fluence_wander_rel, s.fluence_wander_time_s or np.inf)

    def wander(self, at_s: Array | None) -> Wander | None:
        """Return the wander of points taken at these times, s, shape (n,); None where none is stated."""
        return Wander(self.wander_rel, self.wander_time_s, at_s) if self.wander_rel > 0 else None

    def said(self, photon_order: int) -> tuple[str, ...]:
        """Say what of it a fit takes account of."""
        found = []
        if self.wander_rel > 0:
            found.append(
                f"fluence that wanders by {100 * self.wander_rel:.2g} % over {self.wander_time_s:g} s"
            )
        if (cv := self.smear.pulse_cv) is not None:
            factor = mean_power_factor(cv, photon_order)
            error = f" +- {100 * self.pulse_cv_sigma:.2g}" if self.pulse_cv_sigma else ""
            found.append(
                f"pulses that scatter by {100 * cv:.2g}{error} % (<F^{photon_order}> x {factor:.5g})"
            )
        if (depth := self.smear.depth) is not None:
            found.append(f"spot collected to {np.exp(-max(depth)):.2g} of its peak fluence")
        return tuple(found)


NOTHING_KNOWN = Known()


def _depth(s: PumpSettings) -> tuple[float, float] | None:
    if s.spot.shape != "gaussian":
        return None
    if s.collection_edge_rel is not None:
        depth = -float(np.log(s.collection_edge_rel))
        return depth, depth
    if s.collection_radius_um is None:
        return None
    x, y = (2.0 * (s.collection_radius_um / size) ** 2 for size in (s.spot.x_um, s.spot.y_um))
    return x, y


@dataclass(frozen=True, slots=True)
class SweepData:
    """Usable points in order of acquisition, fluence and signal divided by their scales; arrays of shape
    (n,).

    :ivar index: position of each point in the input.
    :ivar sigma: declared standard error of the signal, normalised, or None.
    :ivar order: sorts the points by fluence.
    :ivar least_variance: that the scatter of each point's own exposures leaves no doubt of, normalised.
    :ivar fluence_sigma: relative error of each fluence that is redrawn from point to point.
    :ivar wander_rel: that which neighbours in time share; ``ages`` when the points were taken, in units of
        the time over which they do.
    """

    ln_f: Array
    y: Array
    sigma: Array | None
    index: NDArray[np.intp]
    order: NDArray[np.intp]
    fluence_scale: float
    signal_scale: float
    skipped: dict[str, int]
    kept: dict[str, int]
    fluence_sigma: Array
    wander_rel: float
    ages: Array
    least_variance: Array

    @property
    def n(self) -> int:
        """Number of usable points."""
        return int(self.y.size)

    @property
    def f(self) -> Array:
        """Fluence over the largest fluence, shape (n,)."""
        return np.asarray(np.exp(self.ln_f))

    def levels(self, apart_rel: float = 1e-3) -> Array:
        """Distinct fluences as ln over the largest, ascending: what lies within ``apart_rel`` is one."""
        found: list[float] = []
        for x in self.ln_f[self.order]:
            if not found or x > found[-1] + apart_rel:
                found.append(float(x))
        return np.asarray(found)

    def without(self, i: int) -> SweepData:
        """Return the same sweep less its ``i``-th usable point."""
        keep = np.arange(self.n) != i
        sigma = None if self.sigma is None else self.sigma[keep]
        ln_f = self.ln_f[keep]
        return SweepData(
            ln_f, self.y[keep], sigma, self.index[keep], np.argsort(ln_f, kind="stable"),
            self.fluence_scale, self.signal_scale, self.skipped, self.kept,
            self.fluence_sigma[keep], self.wander_rel, self.ages[keep], self.least_variance[keep],
        )  # fmt: skip


def prepare(
    fluence_uj_cm2: ArrayLike,
    signal: ArrayLike,
    signal_sigma: ArrayLike | None,
    fluence_sigma_rel: ArrayLike = 0.0,
    wander: Wander | None = None,
    exposures: ArrayLike | None = None,
) -> SweepData:
    """Check, clean and normalise a sweep.

    :param exposures: from how many of them each standard error of the signal was estimated; then it bounds
        what the residuals say from below, and does not stand in its place.
    :raises ValueError: an array is not one-dimensional, the shapes differ, or an error of the fluence is
        none. Nothing else in the data raises.
    """
    f, y = _vector(fluence_uj_cm2, "fluence_uj_cm2"), _vector(signal, "signal")
    if f.shape != y.shape:
        raise ValueError(f"fluence_uj_cm2 has shape {f.shape}, signal has shape {y.shape}")
    sigma = None if signal_sigma is None else _sigma(signal_sigma, f.size)
    keep, skipped = _usable(f, y)
    index = np.flatnonzero(keep)
    f, y = f[keep], y[keep]
    kept = {
        k: v
        for k, v in {"nonpositive_signal": int((y <= 0).sum()), "zero_fluence": int((f == 0).sum())}.items()
        if v
    }
    if sigma is not None:
        sigma, bad = _usable_sigma(sigma[keep])
        if bad:
            kept["bad_sigma"] = bad
    top_f = float(f.max()) if f.size and f.max() > 0 else 1.0
    top_y = float(np.abs(y).max()) if y.size and np.abs(y).max() > 0 else 1.0
    with np.errstate(divide="ignore"):
        ln_f = np.maximum(np.log(f / top_f), LN_ZERO)
    order = np.argsort(ln_f, kind="stable")
    sigma = None if sigma is None else sigma / top_y
    least = np.zeros(index.size)
    if sigma is not None and exposures is not None:
        least, sigma = (
            _least_variance(sigma, _vector(np.broadcast_to(exposures, keep.shape), "exposures")[keep]),
            None,
        )
    noise = _fluence_sigma(fluence_sigma_rel, keep)
    wander_rel, ages = (
        (0.0, np.zeros(keep.size)) if wander is None else (wander.sigma_rel, wander.ages(keep.size))
    )
    return SweepData(
        ln_f,
        y / top_y,
        sigma,
        index,
        order,
        top_f,
        top_y,
        skipped,
        kept,
        noise,
        wander_rel,
        ages[keep],
        least,
    )


# A variance of few exposures is itself uncertain: taken for sure is what it exceeds but once in a hundred.
_SURE = 0.99


def _least_variance(sigma: Array, exposures: Array) -> Array:
    """Return what the variances of points are at least, given their standard errors from few exposures."""
    freedom = np.where(exposures >= 2, exposures - 1.0, np.nan)
    return np.asarray(np.nan_to_num(sigma**2 * freedom / scipy.special.chdtri(freedom, 1.0 - _SURE), nan=0.0))


# What a few readings say of their own scatter is itself a matter of chance: no point counts as known much
# better than the others.
_LEAST_SHARE = 0.5


def _fluence_sigma(values: ArrayLike, keep: NDArray[np.bool_]) -> Array:
    """Return one relative error of the fluence per usable point; one not known is as large as the median."""
    sigma = np.array(values, dtype=float)
    if sigma.ndim == 0:
        sigma = np.full(keep.size, float(sigma))
        if not (np.isfinite(sigma).all() and (sigma >= 0).all() and (sigma < 1).all()):
            raise ValueError(f"fluence_sigma_rel must be from 0 to below 1, not {values!r}")
    if sigma.shape != keep.shape:
        raise ValueError(f"fluence_sigma_rel has shape {sigma.shape}, fluence {keep.shape}")
    sigma = sigma[keep]
    good = np.isfinite(sigma) & (sigma >= 0) & (sigma < 1)
    if not good.any():
        return np.zeros(sigma.size)
    middle = float(np.median(sigma[good]))
    return np.asarray(np.maximum(np.where(good, sigma, middle), _LEAST_SHARE * middle))


def _vector(values: ArrayLike, name: str) -> Array:
    out = np.array(values, dtype=float)
    if out.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, not of shape {out.shape}")
    return out


def _sigma(values: ArrayLike, n: int) -> Array:
    sigma = np.array(values, dtype=float)
    if sigma.ndim == 0:
        return np.full(n, float(sigma))
    if sigma.shape != (n,):
        raise ValueError(f"signal_sigma has shape {sigma.shape}, signal has shape {(n,)}")
    return sigma


def _usable(f: Array, y: Array) -> tuple[NDArray[np.bool_], dict[str, int]]:
    finite = np.isfinite(f) & np.isfinite(y)
    # Numbers whose square overflows are as useless as infinity.
    huge = finite & ((np.abs(y) > 1e150) | (np.abs(f) > 1e150))
    negative = finite & ~huge & (f < 0)
    counts = {"not_finite": int((~finite).sum() + huge.sum()), "negative_fluence": int(negative.sum())}
    return finite & ~huge & ~negative, {k: v for k, v in counts.items() if v}


def _usable_sigma(sigma: Array) -> tuple[Array | None, int]:
    """Replace unusable standard errors by the median of the good ones; None if fewer than half are good."""
    good = np.isfinite(sigma) & (sigma > 0)
    if not sigma.size or good.mean() < 0.5:
        return None, int((~good).sum())
    return np.where(good, sigma, np.median(sigma[good])), int((~good).sum())
