"""How the light of a sample fades against time at one fluence: what a stability run says."""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np

from labctl.analysis.fading import Choice, DecayFit, fit_decay
from labctl.model.errors import CalibrationRefused
from labctl.model.plan import StabilityPlan
from labctl.model.records import FloatArray, SweepPoint
from labctl.model.results.sweep import StabilityResult

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
        misfit_rel=None if fit.miss is None else fit.miss.typical_rel,
        misfit_sigma=None if fit.miss is None else fit.miss.most_sigma,
        flags=fit.flags,
    )
