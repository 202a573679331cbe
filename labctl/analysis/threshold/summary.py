"""From a likelihood over threshold and shape to a number, two intervals and draws for a plot."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from labctl.analysis.threshold.profile import Profile
from labctl.analysis.threshold.result import CurveModel

Array = NDArray[np.float64]

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
# Power of a class's probability in the number: 1 has the least scatter but leans to the middle, much more has
# the least bias but jumps.
CLASS_SHARPNESS = 5.0


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

    The number is the median over the classes of shapes (sharp kink, rate equation, whole spot), the likely
    ones counted more than their due: a plain median between two classes is right for neither, and the median
    of the likeliest jumps. The statistical interval is that of the likeliest class, the total one is over all
    classes, and the systematic part is what it adds in quadrature.

    :param selection: added to the log weight of spots that the interval must hold for, see
        :func:`selection_of`.
    """
    chance, ln_t = profile.chance(), profile.grid.ln_t
    by_class = np.stack([chance[profile.shapes.classes == c].sum(axis=0) for c in range(3)])
    weight = by_class.sum(axis=1)
    shape_class = int(np.argmax(weight))
    low, high = quantiles(ln_t, by_class[shape_class], [0.025, 0.975])
    middle = quantiles(ln_t, weight ** (CLASS_SHARPNESS - 1.0) @ by_class, [0.5])[0]
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
    normal = np.einsum("dpn,n,dqn->dpq", columns, profile.weight, columns)
    spread = np.linalg.pinv(normal, hermitian=True) * profile.scale2
    values, vectors = np.linalg.eigh(spread)
    z = np.random.default_rng(20220401).standard_normal((k.size, 4))
    z[0] = 0.0
    shift = np.einsum("dpq,dq->dp", vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :], z)
    ln_threshold = grid.ln_t[g] + np.log(data.fluence_scale)
    return CurveModel(profile.shapes.photon_order, k, ln_threshold, (best + shift) * data.signal_scale)
