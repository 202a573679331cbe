"""Follow a threshold while somebody aligns: shape and ratios from a reference sweep, a few fluences a
readout.

Only the threshold and one overall brightness are free, so three points say something. The answer is only as
true as the reference's shape, which is why every result carries the flag ``tracking``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from labctl.analysis.threshold.result import CurveModel, Interval, ThresholdResult, quantiles

Array = NDArray[np.float64]

# A step is called when the newest readout disagrees with the older ones by more than chance would once in
# 1000.
STEP_CHANCE = 1e-3
REACH = np.log(4.0)


@dataclass(frozen=True, slots=True)
class _Fit:
    ln_ratio: Array
    chi2: Array
    brightness: Array
    brightness_sigma: Array

    @property
    def chance(self) -> Array:
        if not np.isfinite(self.chi2.min()):  # no candidate fits: none is more likely than another
            return np.full(self.chi2.shape, 1.0 / self.chi2.size)
        p = np.exp(-0.5 * (self.chi2 - self.chi2.min()))
        return np.asarray(p / p.sum())


class ThresholdTracker:
    """Tracks a threshold over readouts of 3 or 4 fluences.

    :param reference: a full fit with status found, of the same sample, band and geometry.
    :param noise_rel: relative noise of one point; the reference's own if None.
    :param fluence_sigma_rel: relative point-to-point error of the mean fluence.
    :param keep: readouts kept at most.
    :raises ValueError: the reference carries no threshold, or a number is out of range.
    """

    def __init__(
        self,
        reference: ThresholdResult,
        *,
        noise_rel: float | None = None,
        fluence_sigma_rel: float = 0.0,
        keep: int = 8,
    ) -> None:
        if reference.status != "found" or reference.model is None or reference.threshold_uj_cm2 is None:
            raise ValueError(
                f"the reference must have status found, not {reference.status}: {reference.reason}"
            )
        if keep < 1 or fluence_sigma_rel < 0 or (noise_rel is not None and noise_rel <= 0):
            raise ValueError("keep must be at least 1, noise_rel above 0 and fluence_sigma_rel at least 0")
        self._reference = reference
        self._noise = float(noise_rel or reference.noise_rel or 0.05)
        self._fluence_noise = float(fluence_sigma_rel)
        self._keep = keep
        self._readouts: list[tuple[Array, Array]] = []
        self.steps = 0

    def add(self, fluence_uj_cm2: ArrayLike, signal: ArrayLike) -> ThresholdResult:
        """Take one readout and return the threshold from the readouts since the last step.

        :param fluence_uj_cm2: pump fluence, uJ/cm2, shape (m,).
        :param signal: emission in the unit of the reference, shape (m,).
        :raises ValueError: shapes differ or are not one-dimensional. Unusable points are skipped and counted.
        """
        f, y = np.array(fluence_uj_cm2, float), np.array(signal, float)
        if f.ndim != 1 or f.shape != y.shape:
            raise ValueError(f"a readout needs two arrays of one shape (m,), not {f.shape} and {y.shape}")
        good = np.isfinite(f) & np.isfinite(y) & (f > 0)
        new = (f[good], y[good])
        stepped = bool(self._readouts) and self._disagrees(new)
        if stepped:
            self._readouts.clear()
            self.steps += 1
        self._readouts = [*self._readouts, new][-self._keep :]
        return self._result(stepped, int((~good).sum()))

    def _disagrees(self, new: tuple[Array, Array]) -> bool:
        if new[0].size < 2:
            return False
        apart = [self._fit(self._readouts), self._fit([new])]
        together = self._fit([*self._readouts, new])
        # Two parameters, threshold and brightness, are fitted once instead of twice.
        excess = together.chi2.min() - sum(float(x.chi2.min()) for x in apart)
        return bool(excess > scipy.special.chdtri(2, STEP_CHANCE))

    def _fit(self, readouts: Sequence[tuple[Array, Array]]) -> _Fit:
        f = np.concatenate([r[0] for r in readouts])
        y = np.concatenate([r[1] for r in readouts])
        ln_ratio = np.linspace(-REACH, REACH, 561)
        model = self._curve(f[None, :] * np.exp(-ln_ratio[:, None]))
        nudge = 1.0 + max(self._fluence_noise, 1e-3)
        slope = (self._curve(f[None, :] * np.exp(-ln_ratio[:, None]) * nudge) - model) / (nudge - 1.0)
        floor = 1e-3 * np.abs(model).max(axis=1, keepdims=True) + 1e-300
        variance = (
            (self._noise * model) ** 2 + (self._fluence_noise * slope) ** 2 + (self._noise * floor) ** 2
        )
        brightness = (y * model / variance).sum(axis=1) / (model**2 / variance).sum(axis=1)
        # The curve may fall below zero where the reference saw no light; no sample emits less than nothing.
        possible = (brightness > 0) & (model.sum(axis=1) > 0) & bool((y > 0).any())
        brightness = np.where(possible, brightness, 1.0)[:, None]
        residual = (y - brightness * model) ** 2 / (brightness**2 * variance)
        # The variance follows the candidate, so its size is part of the likelihood.
        size = np.log(brightness**2 * variance).sum(axis=1)
        sigma = 1.0 / np.sqrt((model**2 / (brightness**2 * variance)).sum(axis=1))
        chi2 = np.where(possible, residual.sum(axis=1) + size, np.inf)
        return _Fit(ln_ratio, chi2, brightness[:, 0], sigma)

    def _curve(self, fluence: Array) -> Array:
        model = self._reference.model
        assert model is not None
        return model.best(fluence)

    def _result(self, stepped: bool, skipped: int) -> ThresholdResult:
        reference, n = self._reference, int(sum(r[0].size for r in self._readouts))
        flags = ("tracking", "step") if stepped else ("tracking",)
        blank = {"n_points": n, "flags": flags, "shape": reference.shape, "definition": reference.definition}
        left_out = {"unusable": skipped} if skipped else {}
        if n < 3:
            reason = f"{n} usable points; tracking needs at least 3"
            return ThresholdResult("refused", reason, skipped=left_out, **blank)  # type: ignore[arg-type]
        fit = self._fit(self._readouts)
        low, middle, high = (float(x) for x in quantiles(fit.ln_ratio, fit.chance, [0.025, 0.5, 0.975]))
        base = float(reference.threshold_uj_cm2 or 0.0)
        # A readout that says nothing leaves the quantiles at 95 % of the reach.
        edge = 0.08 * REACH
        if low < -REACH + edge or high > REACH - edge:
            reason = "the readout does not include the threshold: choose fluences on both sides of it"
            return ThresholdResult("not_found", reason, skipped=left_out, **blank)  # type: ignore[arg-type]
        statistical = (base * np.exp(low), base * np.exp(high))
        return ThresholdResult(
            "found",
            f"tracked to {base * np.exp(middle):.4g} uJ/cm2 with the shape of the reference",
            threshold_uj_cm2=float(base * np.exp(middle)),
            ci95=_with_reference(reference, low, middle, high),
            statistical_ci95=(float(statistical[0]), float(statistical[1])),
            systematic_rel=reference.systematic_rel,
            noise_rel=self._noise,
            skipped=left_out,
            model=self._model(fit),
            **blank,  # type: ignore[arg-type]
        )

    def _model(self, fit: _Fit, draws: int = 120) -> CurveModel:
        """Draw curves from the tracked posterior; row 0 is the median."""
        reference = self._reference.model
        assert reference is not None
        levels = [0.5, *((np.arange(draws) + 0.5) / draws)]
        ln_ratio = quantiles(fit.ln_ratio, fit.chance, levels)
        brightness = np.interp(ln_ratio, fit.ln_ratio, fit.brightness)
        z = np.random.default_rng(20220401).standard_normal(draws + 1)
        z[0] = 0.0
        brightness = brightness + z * np.interp(ln_ratio, fit.ln_ratio, fit.brightness_sigma)
        return CurveModel(
            reference.photon_order,
            np.full(draws + 1, reference.shape[0]),
            reference.ln_threshold[0] + ln_ratio,
            brightness[:, None] * reference.coefficients[0],
        )


def _with_reference(reference: ThresholdResult, low: float, middle: float, high: float) -> Interval:
    """Add the reference's own relative interval in quadrature."""
    base, ends = reference.threshold_uj_cm2, reference.ci95
    assert base is not None
    assert ends is not None
    down = float(np.hypot(middle - low, np.log(base / ends[0])))
    up = float(np.hypot(high - middle, np.log(ends[1] / base)))
    return float(base * np.exp(middle - down)), float(base * np.exp(middle + up))
