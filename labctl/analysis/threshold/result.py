"""What a threshold fit says: a number with its interval, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labctl.analysis.threshold.shapes import library

Array = NDArray[np.float64]
Interval = tuple[float, float]
Status = Literal["found", "not_found", "below_range", "above_range", "refused"]


@dataclass(frozen=True, slots=True)
class Curve:
    """A fitted light-light curve with its 95 % band; every array has the shape of ``fluence_uj_cm2``."""

    fluence_uj_cm2: Array
    signal: Array
    low: Array
    high: Array


@dataclass(frozen=True, slots=True)
class CurveModel:
    """Draws from the fit, enough to plot it: row 0 is the best fit.

    :ivar shape: row of the library, shape (draw,); ``ln_threshold`` in ln(uJ/cm2), likewise.
    :ivar coefficients: of a constant, luminescence, excess and second excess, shape (draw, 4), in signal
        units.
    """

    photon_order: int
    shape: NDArray[np.intp]
    ln_threshold: Array
    coefficients: Array

    def best(self, fluence_uj_cm2: Array) -> Array:
        """Evaluate the best fit alone at fluences > 0, uJ/cm2, any shape."""
        k = int(self.shape[0])
        columns = library(self.photon_order).columns(
            np.log(fluence_uj_cm2) - self.ln_threshold[0], slice(k, k + 1)
        )
        b, *rest = self.coefficients[0]
        return np.asarray(b + np.tensordot(np.asarray(rest), columns[:, 0], axes=1))

    def draws_at(self, fluence_uj_cm2: Array) -> Array:
        """Evaluate every draw at fluences >= 0, uJ/cm2, shape (n,); comes back as (draw, n)."""
        with np.errstate(divide="ignore"):
            ln_f = np.log(fluence_uj_cm2)
        shapes = library(self.photon_order)
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


_SURE_WHILE_RUNNING = 5e-4


@dataclass(frozen=True, slots=True)
class ThresholdResult:
    """The answer of a threshold fit. Absent numbers are None; nothing here is nan.

    :ivar status: found, not_found, below_range, above_range or refused; only ``found`` carries a number.
    :ivar reason: one sentence for people.
    :ivar threshold_uj_cm2: operational onset in the fluence convention of the input, uJ/cm2.
    :ivar ci95: total 95 % interval, uJ/cm2: statistical and systematic in quadrature.
    :ivar statistical_ci95: 95 % interval if the class of the shape were known, uJ/cm2.
    :ivar systematic_rel: half-width that the choice of shape adds, relative to the threshold.
    :ivar definition: name of the definition of threshold.
    :ivar shape: best shape of the library.
    :ivar exponent: power of the fluence below threshold (over all points if none was found), with its 95 %
        interval.
    :ivar detection: sup-F statistic of a kink against a pure power law; ``p_value`` from simulated null
        tables.
    :ivar bound: (lower, upper) one-sided bound in uJ/cm2, one of them None; None when two-sided or unknown.
    :ivar bound_condition: what a lower bound hangs on, in words; None where the spectra show it to be so.
    :ivar flags: short words, e.g. outlier, few_points, few_above, misfit, bend, drift, hysteresis, edge,
        plateau, tracking, start_lower (all of it lies, or may lie, above threshold), all_lines,
        lines_below.
    :ivar outliers: indices into the input of points that failed the leave-one-out test: repeat these.
    :ivar skipped: number of input points left out, by reason.
    :ivar kept: number of questionable points kept, by reason.
    :ivar cross_checks: thresholds by the field's usual methods, uJ/cm2, None where they do not apply.
    :ivar drift_rel: relative change of the signal from the first point to the last beside the fit, where the
        order of the points lets it be told from the fluence.
    :ivar noise_rel: residual scatter relative to the fitted mean, median over points.
    """

    status: Status
    reason: str
    n_points: int
    definition: str = "onset"
    threshold_uj_cm2: float | None = None
    ci95: Interval | None = None
    statistical_ci95: Interval | None = None
    systematic_rel: float | None = None
    shape: str | None = None
    exponent: float | None = None
    exponent_ci95: Interval | None = None
    detection: float | None = None
    p_value: float | None = None
    bound: tuple[float | None, float | None] | None = None
    bound_condition: str | None = None
    flags: tuple[str, ...] = ()
    outliers: tuple[int, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, int] = field(default_factory=dict)
    cross_checks: Mapping[str, float | None] = field(default_factory=dict)
    noise_rel: float | None = None
    drift_rel: float | None = None
    model: CurveModel | None = field(default=None, repr=False, compare=False)

    def curve(self, fluence_uj_cm2: ArrayLike) -> Curve | None:
        """Return the fitted curve and its 95 % band at these fluences, uJ/cm2; None if nothing was fitted."""
        return None if self.model is None else self.model.at(fluence_uj_cm2)

    @property
    def provisional(self) -> bool:
        """Whether a number that was found may well be overturned by the next points of a running sweep.

        So it is with fewer than three fluences above it, and with a kink that chance makes in more than one
        fit of 2,000: a running sweep is fitted again at every point, and a true kink is soon far beyond that.
        """
        unsure = self.p_value is not None and self.p_value > _SURE_WHILE_RUNNING
        return self.status == "found" and (unsure or "few_above" in self.flags)

    def to_mapping(self) -> dict[str, object]:
        """Return a plain mapping of strings, numbers, lists and None, ready for JSON."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "model"}
        return {**{name: _plain(value) for name, value in plain.items()}, "provisional": self.provisional}


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value
