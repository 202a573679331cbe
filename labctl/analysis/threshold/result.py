"""What a threshold fit says: a number with its interval, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labctl.analysis.threshold.shapes import library
from labctl.model.mapping import NOT_STORED, plain
from labctl.model.results import Curve, Interval, Threshold, ThresholdStatus

__all__ = ["Curve", "CurveModel", "Interval", "Status", "ThresholdResult"]

Array = NDArray[np.float64]
Status = ThresholdStatus


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
