"""How a sample fades in a sweep, by its references, and how the rest of the sweep is corrected for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import stdtr

from labctl.analysis.light_light import LightLight
from labctl.analysis.threshold.result import Interval, ThresholdResult
from labctl.model.plan import Correction
from labctl.model.records import FloatArray
from labctl.model.results import BleachingResult

Model = Literal["excitation", "signal"]
SIGNIFICANCE = 0.01
"""Chance of calling a stable sample bleached, or brightened."""
_TRUST = 4.0
"""The declared errors count as much as so many degrees of freedom: a handful of residuals, which a smooth
curvature may inflate as well as noise, does not overrule them alone."""
_J_CM2 = 1e6


@dataclass(frozen=True, slots=True)
class Bleaching:
    """The light at the reference fluence over the dose of a run; arrays have shape ``(reference,)``.

    :param change_rel: of the light from the first reference to the last, along an exponential in dose;
        with its standard error.
    :param change_per_j_cm2: relative change per dose of 1 J/cm2, with its standard error.
    :param p_value: chance of a slope as large without any change.
    :param dose_uj_cm2: where the references stand; ``ln_light`` the logarithm of their light over that of
        the first, freed of how far each fluence was off; ``ln_sigma`` its standard error.
    """

    fluence_uj_cm2: float
    change_rel: float
    change_sigma_rel: float
    change_per_j_cm2: float
    change_per_j_cm2_sigma: float
    p_value: float
    dose_uj_cm2: FloatArray
    ln_light: FloatArray
    ln_sigma: FloatArray

    @property
    def flags(self) -> tuple[str, ...]:
        """``bleaching`` or ``brightening`` where the change is beyond chance."""
        if self.p_value >= SIGNIFICANCE:
            return ()
        return ("bleaching",) if self.change_per_j_cm2 < 0 else ("brightening",)

    def record(self, correction: Correction = "off") -> BleachingResult:
        """Return what of it is kept with a run.

        :param correction: what was done about it in the fit.
        """
        return BleachingResult(
            references=int(self.dose_uj_cm2.size),
            fluence_uj_cm2=self.fluence_uj_cm2,
            change_rel=self.change_rel,
            change_sigma_rel=self.change_sigma_rel,
            change_per_j_cm2=self.change_per_j_cm2,
            change_per_j_cm2_sigma=self.change_per_j_cm2_sigma,
            p_value=self.p_value,
            dose_uj_cm2=tuple(self.dose_uj_cm2.tolist()),
            light_rel=tuple(np.exp(self.ln_light).tolist()),
            light_sigma_rel=tuple(self.ln_sigma.tolist()),
            flags=self.flags,
            corrected=correction,
        )

    def moved(self, index: int, sigmas: float) -> Bleaching:
        """Return the same with one reference brighter by so many of its standard errors."""
        ln_light = self.ln_light.copy()
        ln_light[index] += sigmas * self.ln_sigma[index]
        return replace(self, ln_light=ln_light)

    def ln_left(self, dose_uj_cm2: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the logarithm of the part left at doses of shape ``(n,)``, and its standard error.

        Interpolated between neighbouring references, over the first; constant outside of them.
        """
        unit = np.eye(self.dose_uj_cm2.size)
        shares = np.stack([np.interp(dose_uj_cm2, self.dose_uj_cm2, row) for row in unit], axis=1)
        shares[:, 0] -= 1.0
        return shares @ self.ln_light, np.sqrt((shares**2) @ self.ln_sigma**2)


def measure_bleaching(curve: LightLight, photon_order: int) -> Bleaching | None:
    """Measure it from the references of a sweep; None with fewer than two that can be used.

    With two, the declared errors alone say what is beyond chance.
    """
    usable = curve.reference & (curve.signal > 0) & (curve.fluence_uj_cm2 > 0)
    ref = curve.only(usable)
    if ref.dose_uj_cm2.size < 2 or np.ptp(ref.dose_uj_cm2) <= 0:
        return None
    nominal = float(np.median(ref.fluence_uj_cm2))
    ln_light = np.log(ref.signal) - photon_order * np.log(ref.fluence_uj_cm2 / nominal)
    sigma = np.hypot(ref.signal_sigma / ref.signal, photon_order * ref.fluence_sigma_rel)
    sigma = np.maximum(np.nan_to_num(sigma, nan=0.0), 1e-4)
    slope, slope_sigma, p_value = _slope(ref.dose_uj_cm2, ln_light, sigma)
    span = float(ref.dose_uj_cm2[-1] - ref.dose_uj_cm2[0])
    return Bleaching(
        fluence_uj_cm2=nominal,
        change_rel=float(np.expm1(slope * span)),
        change_sigma_rel=float(np.exp(slope * span)) * slope_sigma * span,
        change_per_j_cm2=slope * _J_CM2,
        change_per_j_cm2_sigma=slope_sigma * _J_CM2,
        p_value=p_value,
        dose_uj_cm2=ref.dose_uj_cm2,
        ln_light=ln_light - ln_light[0],
        ln_sigma=sigma,
    )


def _slope(x: FloatArray, y: FloatArray, sigma: FloatArray) -> tuple[float, float, float]:
    """Weighted straight line: slope, its standard error, and the chance of one as large by luck."""
    w = 1 / sigma**2
    dx = x - (w @ x) / w.sum()
    size = float(w @ dx**2)
    slope = float((w * dx) @ y) / size
    rest = y - (w @ y) / w.sum() - slope * dx
    error, freedom = scaled_error(1 / math.sqrt(size), float(w @ rest**2), x.size - 2)
    return slope, error, chance_of(slope, error, freedom)


def corrected(curve: LightLight, bleaching: Bleaching, model: Model, photon_order: int) -> LightLight:
    """Return the curve as the fresh sample would have given it, the correction's error in its errors.

    :param model: "excitation" moves the fluences, "signal" the signals; see the head of this module.
    """
    ln_left, sigma = bleaching.ln_left(curve.dose_uj_cm2)
    if model == "excitation":
        return replace(
            curve,
            fluence_uj_cm2=curve.fluence_uj_cm2 * np.exp(ln_left / photon_order),
            fluence_sigma_rel=np.hypot(curve.fluence_sigma_rel, sigma / photon_order),
        )
    signal = curve.signal * np.exp(-ln_left)
    return replace(
        curve,
        signal=signal,
        signal_sigma=np.hypot(curve.signal_sigma * np.exp(-ln_left), np.abs(signal) * sigma),
    )


def with_correction_error(
    result: ThresholdResult, bleaching: Bleaching, refit: Callable[[Bleaching], ThresholdResult]
) -> ThresholdResult:
    """Add to a threshold's intervals what the error of the correction does to it.

    Neighbouring points share a reference and err together, which no residual shows: each reference is moved
    by its standard error, the sweep fitted again by ``refit``, and the shifts added in quadrature.
    """
    threshold = result.threshold_uj_cm2
    if threshold is None or result.ci95 is None:
        return result
    moved = [refit(bleaching.moved(i, 1.0)).threshold_uj_cm2 for i in range(bleaching.dose_uj_cm2.size)]
    shifts = [np.log(value / threshold) for value in moved if value is not None]
    arm = 1.96 * float(np.sqrt(np.sum(np.square(shifts))))
    statistical = result.statistical_ci95
    return replace(
        result,
        ci95=_wider(result.ci95, threshold, arm),
        statistical_ci95=None if statistical is None else _wider(statistical, threshold, arm),
        flags=(*result.flags, "bleaching_corrected"),
    )


def _wider(interval: Interval, threshold: float, arm: float) -> Interval:
    down, up = (float(np.hypot(np.log(end / threshold), arm)) for end in interval)
    return threshold * float(np.exp(-down)), threshold * float(np.exp(up))


def scaled_error(error: float, chi2: float, freedom: int) -> tuple[float, float]:
    """Return a standard error enlarged where residuals exceed the declared errors, and its freedom.

    :param error: from the declared errors alone; ``chi2`` of the residuals in units of those.
    :param freedom: of the residuals, 0 or more.
    """
    scale2 = (_TRUST + chi2) / (_TRUST + freedom)
    return error * math.sqrt(max(scale2, 1.0)), _TRUST + freedom


def chance_of(value: float, error: float, freedom: float) -> float:
    """Return the two-sided chance of a number as far from zero by luck alone."""
    return float(2 * stdtr(freedom, -abs(value) / error))
