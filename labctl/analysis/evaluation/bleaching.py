"""How a sample fades: in a sweep, whose rest can be corrected, and against time at one fluence."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import stdtr

from labctl.analysis.fading import Choice, DecayFit, fit_decay
from labctl.analysis.light_light import LightLight
from labctl.analysis.threshold.result import Interval, ThresholdResult
from labctl.model.errors import CalibrationRefused
from labctl.model.plan import Correction, StabilityPlan
from labctl.model.records import FloatArray, SweepPoint
from labctl.model.results import BleachingResult, StabilityResult

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


log = logging.getLogger(__name__)

NO_THRESHOLD = "a stability run has one fluence and gives no threshold"
_UNUSABLE = frozenset({"dropout", "shutter_open"})


@dataclass(frozen=True, slots=True)
class Stability:
    """What a stability run measured; arrays of shape ``(n,)``, in order of time.

    :param time_s: from the first point, on the bench's clock.
    :param light: emission over the fluence's power, in units of the first points' median; ``sigma`` likewise.
    :param dose_uj_cm2: of the sample up to and with each point.
    :param usable: False where a point was saturated or the laser dropped out.
    :param lit_before_s: how long before the first point the decay began, by the dose it had had by then.
    """

    time_s: FloatArray
    light: FloatArray
    sigma: FloatArray
    dose_uj_cm2: FloatArray
    fluence_uj_cm2: FloatArray
    usable: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    lit_before_s: float = 0.0

    @classmethod
    def of(
        cls, points: Sequence[SweepPoint], photon_order: int, left_out: Set[int] = frozenset()
    ) -> Stability:
        """Take it from points, each corrected for how far its fluence was off the median one.

        :param left_out: points that take no part, counted from 0.
        :raises CalibrationRefused: no point can be used.
        """
        fluence, signal = (np.array([getattr(p, n) for p in points]) for n in ("fluence_uj_cm2", "signal"))
        sigma = np.array([p.signal_sigma for p in points])
        fluence_sigma = np.array([p.fluence_sigma_rel for p in points])
        elapsed = np.array([p.elapsed_s for p in points])
        usable = np.array(
            [p.saturated_exposures < p.exposures and not _UNUSABLE & set(p.flags) for p in points],
            dtype=np.bool_,
        )
        usable &= np.isfinite(signal) & (fluence > 0) & ~np.isin(np.arange(len(points)), sorted(left_out))
        if not usable.any():
            raise CalibrationRefused("the run has no usable point")
        factor = (fluence / float(np.median(fluence[usable]))) ** -float(photon_order)
        unit = float(np.median((signal * factor)[usable][:3]))
        if not unit > 0:
            raise CalibrationRefused(
                "there is no emission at the start", "a higher fluence, or longer exposures"
            )
        light = signal * factor / unit
        error = np.hypot(sigma * factor / unit, photon_order * fluence_sigma * light)
        dose = np.array([p.dose_uj_cm2 for p in points])
        return cls(elapsed - elapsed[0], light, error, dose, fluence, usable, _lit_before_s(elapsed, dose))

    def fit(self, model: Choice = "best", *, constant: bool = False) -> DecayFit:
        """Fit the decay.

        :raises CalibrationRefused: too few points, or no light.
        """
        u = self.usable
        time_s = self.time_s[u] + self.lit_before_s
        return fit_decay(time_s, self.light[u], self.sigma[u], model=model, constant=constant)

    def fitted_at(self, fit: DecayFit, time_s: FloatArray) -> FloatArray:
        """Return the fitted curve at times from the first point, shape of ``time_s``."""
        return fit.signal_at(time_s + self.lit_before_s)


def _lit_before_s(elapsed_s: FloatArray, dose: FloatArray) -> float:
    """Time that a dose like that of the first point, up to the middle of its exposures, takes later on."""
    if elapsed_s.size < 2 or not dose[-1] > dose[0]:
        return 0.0
    rate = float((dose[-1] - dose[0]) / (elapsed_s[-1] - elapsed_s[0]))
    return max(float(dose[0]) - 0.5 * float(np.median(np.diff(dose))), 0.0) / rate


def decay_of(
    points: Sequence[SweepPoint],
    plan: StabilityPlan,
    photon_order: int,
    left_out: Set[int] = frozenset(),
    why_not: str = "",
) -> StabilityResult:
    """Fit the decay of a run's points, as its plan wants it; a fit that fails is a result, too.

    :param left_out: points that take no part, counted from 0.
    :param why_not: why it is not to be fitted.
    """
    if why_not:
        return StabilityResult("refused", why_not)
    try:
        measured = Stability.of(points, photon_order, left_out)
        return _result(measured, measured.fit(plan.model, constant=plan.constant))
    except CalibrationRefused as exc:
        return StabilityResult("refused", exc.message)
    except Exception as exc:  # the points are worth more than what is said of them
        log.exception("while fitting the decay")
        return StabilityResult("refused", f"{type(exc).__name__}: {exc}")


def _result(measured: Stability, fit: DecayFit) -> StabilityResult:
    return StabilityResult(
        status="no_decay" if {"no_decay", "brightening"} & set(fit.flags) else "decay",
        fluence_uj_cm2=float(np.median(measured.fluence_uj_cm2[measured.usable])),
        duration_s=float(measured.time_s[-1]),
        interval_s=float(np.median(np.diff(measured.time_s))) if measured.time_s.size > 1 else None,
        dose_uj_cm2=float(measured.dose_uj_cm2[-1]),
        points_used=int(measured.usable.sum()),
        model=fit.model,
        constant=fit.constant,
        statement=fit.statement,
        retained=fit.retained,
        retained_model_free=fit.retained_free,
        amplitude_weighted_lifetime_s=fit.amplitude_lifetime_s,
        intensity_weighted_lifetime_s=fit.intensity_lifetime_s,
        lifetime_above_s=fit.lower_bound_s,
        numbers=fit.numbers,
        delta_aicc=fit.delta_aicc,
        flags=fit.flags,
    )
