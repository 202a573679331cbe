"""What a threshold fit says: a number with its interval, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labctl.analysis.threshold.likelihood import Profile
from labctl.analysis.threshold.shapes import UNKNOWN_SMEAR, Library, Smear, library
from labctl.model.mapping import NOT_STORED, plain
from labctl.model.results.sweep import Curve, Interval, Threshold, ThresholdStatus

__all__ = ["Curve", "CurveModel", "Interval", "Status", "ThresholdResult"]

Array = NDArray[np.float64]
Status = ThresholdStatus


@dataclass(frozen=True, slots=True)
class CurveModel:
    """Draws from the fit, enough to plot it: row 0 is the best fit.

    :ivar shape: row of the library, shape (draw,); ``ln_threshold`` in ln(uJ/cm2), likewise.
    :ivar coefficients: of a constant, luminescence, excess and second excess, shape (draw, 4), in signal
        units.
    :ivar smear: over what the curves are averaged.
    """

    photon_order: int
    shape: NDArray[np.intp]
    ln_threshold: Array
    coefficients: Array
    smear: Smear = UNKNOWN_SMEAR

    @property
    def shapes(self) -> Library:
        """The library its shapes are rows of."""
        return library(self.photon_order, self.smear)

    def best(self, fluence_uj_cm2: Array) -> Array:
        """Evaluate the best fit alone at fluences > 0, uJ/cm2, any shape."""
        k = int(self.shape[0])
        columns = self.shapes.columns(np.log(fluence_uj_cm2) - self.ln_threshold[0], slice(k, k + 1))
        b, *rest = self.coefficients[0]
        return np.asarray(b + np.tensordot(np.asarray(rest), columns[:, 0], axes=1))

    def draws_at(self, fluence_uj_cm2: Array) -> Array:
        """Evaluate every draw at fluences >= 0, uJ/cm2, shape (n,); comes back as (draw, n)."""
        with np.errstate(divide="ignore"):
            ln_f = np.log(fluence_uj_cm2)
        shapes = self.shapes
        curves = np.empty((self.shape.size, ln_f.size))
        for i, k in enumerate(self.shape):
            columns = shapes.columns(ln_f - self.ln_threshold[i], slice(k, k + 1))
            curves[i] = self.coefficients[i, 0] + self.coefficients[i, 1:] @ columns[:, 0]
        return curves

    def at(self, fluence_uj_cm2: ArrayLike) -> Curve:
        """Evaluate at fluences >= 0, uJ/cm2, any shape; negative and non-finite ones give nan."""
        fluence = np.asarray(fluence_uj_cm2, dtype=float)
        good = np.isfinite(fluence) & (fluence >= 0)
        curves = self.draws_at(np.where(good, fluence, 1.0).reshape(-1))
        low, high = np.quantile(curves, [0.025, 0.975], axis=0)
        parts = (curves[0], np.minimum(low, curves[0]), np.maximum(high, curves[0]))
        best, low, high = (np.where(good, p.reshape(fluence.shape), np.nan) for p in parts)
        return Curve(fluence, best, low, high)


@dataclass(frozen=True, slots=True)
class ThresholdResult(Threshold):
    """The answer of a threshold fit, with draws of what was fitted.

    :ivar model: enough to draw the curve with its band; None where nothing was fitted.
    """

    model: CurveModel | None = field(default=None, repr=False, compare=False, metadata=NOT_STORED)

    def curve(self, fluence_uj_cm2: ArrayLike) -> Curve | None:
        """Return the fitted curve and its 95 % band; None if nothing was fitted.

        :param fluence_uj_cm2: where to draw it, uJ/cm2, 0 or more, any shape.
        """
        return None if self.model is None else self.model.at(fluence_uj_cm2)

    def to_mapping(self) -> dict[str, object]:
        """Return a plain mapping of strings, numbers, lists and None, ready for JSON."""
        return dict(plain(self))


# No sweep knows its threshold better than this: shapes outside the library, calibration of the point spacing.
SYSTEMATIC_FLOOR = 0.005
# Between two fluences nobody sees how the kink is rounded: quiet but sparse sweeps err by some hundredths of
# the gap (in ln fluence) that the threshold lies in.
GAP_SHARE = 0.06
# How probable a whole spot is before the data, nobody knows to better than this factor exp(w) either way; the
# interval holds for all of that range, the number for its middle.
SPOT_DOUBT = 0.7
# A spot is found in one small sweep of five where a sharp kink is found in all: among kinks that only just
# show, spots are that much more frequent than before the test. The factor fades over MARGIN in the p-value.
SELECTION, MARGIN = float(np.log(5.0)), float(np.log(30.0))


@dataclass(frozen=True, slots=True)
class Estimate:
    """Logarithms of threshold and interval ends over the fluence scale, and if they leave the scan."""

    ln_t: float
    total: tuple[float, float]
    statistical: tuple[float, float]
    systematic_rel: float
    shape: int
    touches_low: bool
    touches_high: bool

    def widened(self, shift: float, span: tuple[float, float]) -> Estimate:
        """Add a shift of ln threshold to the total interval, in quadrature."""
        down = float(np.hypot(self.ln_t - self.total[0], shift))
        up = float(np.hypot(self.total[1] - self.ln_t, shift))
        total = (self.ln_t - down, self.ln_t + up)
        low, high = _touches(total, span)
        return replace(self, total=total, systematic_rel=float(np.hypot(self.systematic_rel, shift)),
                       touches_low=low, touches_high=high)  # fmt: skip


def _touches(total: tuple[float, float], span: tuple[float, float]) -> tuple[bool, bool]:
    margin = 0.005 * (span[1] - span[0])
    return bool(total[0] <= span[0] + margin), bool(total[1] >= span[1] - margin)


def quantiles(ln_t: Array, chance: Array, levels: list[float]) -> Array:
    """Return quantiles of a density given by its mass at the nodes ``ln_t``, shape (G,)."""
    cumulative = np.cumsum(chance) - 0.5 * chance
    return np.asarray(np.interp(levels, cumulative / chance.sum(), ln_t))


def _gap(profile: Profile, ln_t: float) -> float:
    """Distance in ln fluence of the two distinct fluences around a threshold."""
    levels = profile.data.levels()
    upper = int(np.clip(np.searchsorted(levels, ln_t), 1, levels.size - 1))
    return float(min(levels[upper] - levels[upper - 1], 1.0))


def selection_of(chance: float, significance: float) -> float:
    """Return by how much, in log weight, the test favoured sharp kinks: most where it only just passed."""
    ratio = np.log(significance / max(chance, 1e-300)) / MARGIN
    return float(SELECTION * np.clip(1.0 - ratio, 0.0, 1.0))


def summarise(profile: Profile, selection: float = 0.0) -> Estimate:
    """Turn the posterior into an estimate.

    The number is the median over all shapes. The statistical interval is that of the likeliest class (sharp
    kink, rate equation, whole spot), the total one is over all classes, and the systematic part is what it
    adds in quadrature.

    :param selection: added to the log weight of spots that the interval must hold for, see
        :func:`selection_of`.
    """
    chance, ln_t = profile.chance(), profile.grid.ln_t
    by_class = np.stack([chance[profile.shapes.classes == c].sum(axis=0) for c in range(3)])
    weight = by_class.sum(axis=1)
    shape_class = int(np.argmax(weight))
    low, high = quantiles(ln_t, by_class[shape_class], [0.025, 0.975])
    middle = quantiles(ln_t, by_class.sum(axis=0), [0.5])[0]
    low, high = min(low, middle), max(high, middle)
    doubts = [profile.chance(w).sum(axis=0) for w in (SPOT_DOUBT + selection, -SPOT_DOUBT)]
    ends = np.array([quantiles(ln_t, p, [0.025, 0.975]) for p in doubts])
    wide_low, wide_high = ends[:, 0].min(), ends[:, 1].max()
    floor = float(np.hypot(SYSTEMATIC_FLOOR, GAP_SHARE * _gap(profile, float(middle))))
    down = np.hypot(max(middle - low, middle - wide_low), floor)
    up = np.hypot(max(high - middle, wide_high - middle), floor)
    added = max(down**2 - (middle - low) ** 2, up**2 - (high - middle) ** 2, floor**2)
    members = np.where(profile.shapes.classes == shape_class, chance.sum(axis=1), -1.0)
    total = (float(middle - down), float(middle + up))
    return Estimate(
        float(middle), total, (float(low), float(high)), float(np.sqrt(added)), int(np.argmax(members)),
        *_touches(total, profile.span),
    )  # fmt: skip


def curve_model(profile: Profile, estimate: Estimate, draws: int = 120) -> CurveModel:
    """Draw curves from the posterior; row 0 is the reported shape at the reported threshold."""
    data, grid = profile.data, profile.grid
    chance = profile.chance().reshape(-1)
    # Systematic resampling: the same draws for the same data, without a random generator.
    picks = np.searchsorted(np.cumsum(chance), (np.arange(draws) + 0.5) / draws)
    k, g = np.unravel_index(np.minimum(picks, chance.size - 1), grid.solved.rss.shape)
    own = int(np.argmin(np.abs(grid.ln_t - estimate.ln_t)))
    k, g = np.concatenate([[estimate.shape], k]), np.concatenate([[own], g])
    best = grid.solved.coefficients[:, k, g].T
    columns = np.concatenate([np.ones((k.size, 1, data.n)), grid.columns[:, k, g].transpose(1, 0, 2)], axis=1)
    weighted = profile.by.root(columns)
    normal = np.einsum("dpn,dqn->dpq", weighted, weighted)
    spread = np.linalg.pinv(normal, hermitian=True) * profile.scale2
    values, vectors = np.linalg.eigh(spread)
    z = np.random.default_rng(20220401).standard_normal((k.size, 4))
    z[0] = 0.0
    shift = np.einsum("dpq,dq->dp", vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :], z)
    ln_threshold = grid.ln_t[g] + np.log(data.fluence_scale)
    coefficients = (best + shift) * data.signal_scale
    shapes = profile.shapes
    return CurveModel(shapes.photon_order, k, ln_threshold, coefficients, shapes.smear)
