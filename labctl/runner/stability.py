"""A stability run: emission against time at one fluence, its decay, and what is left at the end.

The machinery is a sweep's, the file is a run file; what is said of it stands in the result's ``stability``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from labctl.analysis.calibration.decay import Choice, DecayFit, Estimate, fit_decay
from labctl.analysis.threshold import ThresholdResult
from labctl.config import BenchConfig
from labctl.data import read_run
from labctl.data.run import Run
from labctl.model.clock import Clock
from labctl.model.errors import CalibrationRefused, DataError, InstrumentError
from labctl.model.records import FloatArray, SweepPoint
from labctl.runner.conclude import stored_doubt
from labctl.runner.events import OnEvent
from labctl.runner.facts import BenchFacts
from labctl.runner.fitting import threshold_mapping
from labctl.runner.keeper import Keeper
from labctl.runner.kinds import RunKind
from labctl.runner.report import RunReport, plain
from labctl.runner.run import RunRequest, run_sweep
from labctl.session import Bench
from procedures.control import Pause
from procedures.stability import StabilityPlan

log = logging.getLogger(__name__)

PROCEDURE_ID = "stability/1"
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
    def of(cls, points: Sequence[SweepPoint], photon_order: int) -> Stability:
        """Take it from points, each corrected for how far its fluence was off the median one."""
        fluence, signal = (np.array([getattr(p, n) for p in points]) for n in ("fluence_uj_cm2", "signal"))
        sigma = np.array([p.signal_sigma for p in points])
        fluence_sigma = np.array([p.fluence_sigma_rel for p in points])
        elapsed = np.array([p.elapsed_s for p in points])
        usable = np.array(
            [p.saturated_exposures < p.exposures and not _UNUSABLE & set(p.flags) for p in points],
            dtype=np.bool_,
        )
        usable &= np.isfinite(signal) & (fluence > 0)
        if not usable.any():
            raise CalibrationRefused("no point of the run can be used")
        factor = (fluence / float(np.median(fluence[usable]))) ** -float(photon_order)
        unit = float(np.median((signal * factor)[usable][:3]))
        if not unit > 0:
            raise CalibrationRefused(
                "there is no emission to begin with", "a higher fluence, or longer exposures"
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


def run_stability(
    config: BenchConfig,
    plan: StabilityPlan,
    request: RunRequest,
    *,
    stop: threading.Event,
    on_event: OnEvent,
    clock: Clock | None = None,
    pause: Pause | None = None,
    bench: Bench | None = None,
) -> RunReport:
    """Measure a stability run; what it says is in the report's ``more["stability"]``.

    Parameters and errors are those of :func:`labctl.runner.run.run_sweep`.
    """
    return run_sweep(
        config,
        plan,
        request,
        stop=stop,
        on_event=on_event,
        clock=clock,
        pause=pause,
        bench=bench,
        kind=stability_kind(plan),
    )


def stability_kind(plan: StabilityPlan) -> RunKind:
    """Return the kind of one run: it remembers that run's temperatures."""
    temperatures: dict[int, float] = {}

    def seen(bench: Bench, keeper: Keeper) -> None:
        """Read the thermometer, where there is one; its failure is no reason to end a run of hours."""
        thermometer = bench.roles.thermometer
        if thermometer is None:
            return
        index = keeper.latest.index
        try:
            temperatures[index] = thermometer.temperature_c()
            text = f"point {index + 1}: sample at {temperatures[index]:.2f} C"
        except InstrumentError as exc:
            text = f"point {index + 1}: sample's temperature unknown: {exc.message}"
        keeper.event(bench.roles.clock.now_s(), text)

    def more(keeper: Keeper, facts: BenchFacts, fitted: Mapping[str, object]) -> dict[str, object]:
        decay = fitted["stability"]
        assert isinstance(decay, Mapping)
        result: dict[str, object] = {**decay, "points": len(keeper.points)}
        result["sample_temperature_c"] = (
            [temperatures.get(p.index) for p in keeper.points] if temperatures else []
        )
        return {"stability": plain(result), "threshold": _no_threshold(facts)}

    asked = {"model": plan.model, "constant": plan.constant}
    return RunKind(PROCEDURE_ID, live=False, seen=seen, decay=asked, more=more)


def decayed(
    points: Sequence[SweepPoint], photon_order: int, asked: Mapping[str, object], why_not: str = ""
) -> dict[str, object]:
    """Fit the decay of a run's points and return it as plain values; a fit that fails is a result, too.

    :param asked: ``model`` and ``constant`` as the plan has them.
    :param why_not: why it is not to be fitted.
    """
    if why_not:
        return {"status": "refused", "reason": why_not}
    try:
        measured = Stability.of(points, photon_order)
        model = cast("Choice", asked["model"])
        return mapping(measured, measured.fit(model, constant=bool(asked["constant"])))
    except CalibrationRefused as exc:
        return {"status": "refused", "reason": exc.message}
    except Exception as exc:  # the points are worth more than what is said of them
        log.exception("while fitting the decay")
        return {"status": "refused", "reason": f"{type(exc).__name__}: {exc}"}


def _no_threshold(facts: BenchFacts) -> object:
    refused = ThresholdResult("refused", "a stability run has one fluence and shows no threshold", 0)
    return plain(threshold_mapping(refused, convention=facts.convention, band="emission", scale_rel=None))


def mapping(measured: Stability, fit: DecayFit) -> dict[str, object]:
    """Return a decay as plain values; uncertainties are standard errors, intervals 95 %."""
    return {
        "status": "no_decay" if {"no_decay", "brightening"} & set(fit.flags) else "decay",
        "fluence_uj_cm2": float(np.median(measured.fluence_uj_cm2[measured.usable])),
        "duration_s": float(measured.time_s[-1]),
        "interval_s": float(np.median(np.diff(measured.time_s))) if measured.time_s.size > 1 else None,
        "dose_uj_cm2": float(measured.dose_uj_cm2[-1]),
        "points_used": int(measured.usable.sum()),
        "model": fit.model,
        "constant": fit.constant,
        "statement": fit.statement,
        "retained": _estimate(fit.retained),
        "retained_model_free": _estimate(fit.retained_free),
        "amplitude_weighted_lifetime_s": _estimate(fit.amplitude_lifetime_s),
        "intensity_weighted_lifetime_s": _estimate(fit.intensity_lifetime_s),
        "lifetime_above_s": fit.lower_bound_s,
        "numbers": {name: _estimate(number) for name, number in fit.numbers.items()},
        "delta_aicc": fit.delta_aicc,
        "flags": list(fit.flags),
    }


def _estimate(value: Estimate | None) -> dict[str, float] | None:
    if value is None:
        return None
    return {"value": value.value, "sigma": value.sigma, "low": value.low, "high": value.high}


def refit_stability(run: Run) -> tuple[Stability, DecayFit]:
    """Fit a stored stability run again, as it was fitted then.

    :raises DataError: it is none.
    :raises CalibrationRefused: nothing can be fitted.
    """
    if run.start.procedure != PROCEDURE_ID:
        raise DataError(f"{run.path} is a run of {run.start.procedure}, not a stability run")
    pump, stored = run.start.config.get("pump"), run.result.get("stability")
    order = pump.get("photon_order") if isinstance(pump, Mapping) else None
    if doubt := stored_doubt(run):
        raise CalibrationRefused(doubt)
    measured = Stability.of(
        [run.scalars(n) for n in range(len(run))], order if isinstance(order, int) and order > 0 else 2
    )
    model = stored.get("model") if isinstance(stored, Mapping) else None
    constant = bool(stored.get("constant")) if isinstance(stored, Mapping) else False
    known: dict[object, Choice] = {"single": "single", "double": "double", "stretched": "stretched"}
    return measured, measured.fit(known.get(model, "best"), constant=constant)


def verdict(stability: Mapping[str, object], convention: str = "") -> str:
    """Say in one line what is left and how it went; ``convention`` of the fluence."""
    retained, bound = stability.get("retained"), stability.get("lifetime_above_s")
    if not isinstance(retained, Mapping):
        return f"no verdict: {stability.get('reason', 'nothing was fitted')}"
    left = (
        f"{100 * retained['value']:.1f} +- {100 * retained['sigma']:.1f} % of the emission is left after "
        f"{duration(_n(stability, 'duration_s'))} at {_n(stability, 'fluence_uj_cm2'):.4g} uJ/cm2"
        f"{f' ({convention})' if convention else ''}, {_n(stability, 'dose_uj_cm2') / 1e6:.3g} J/cm2 in all"
    )
    if stability.get("status") != "decay":
        seen = "it grew brighter" if "brightening" in _flags(stability) else "no decay beyond chance"
        above = f"; lifetime above {duration(float(bound))} (95 %)" if isinstance(bound, (int, float)) else ""
        return f"{left}; {seen}{above}"
    means = [
        f"{name} mean lifetime {duration(value['value'], value['sigma'])}"
        for name, key in (("amplitude-weighted", "amplitude"), ("intensity-weighted", "intensity"))
        if isinstance(value := stability.get(f"{key}_weighted_lifetime_s"), Mapping)
    ]
    beyond = " (beyond the measured time)" if "extrapolated" in _flags(stability) else ""
    return f"{left}; {stability.get('model')} exponential, {', '.join(means)}{beyond}"


def duration(seconds: float, sigma: float | None = None) -> str:
    """Return a time as people say it, with its standard error.

    >>> duration(95.0), duration(5400.0), duration(720000.0, 3600.0)
    ('95 s', '90 min', '200 +- 1 h')
    """
    if not np.isfinite(seconds):
        return "unknown"
    unit, size = next(((u, s) for u, s in (("s", 1.0), ("min", 60.0)) if seconds < 120.0 * s), ("h", 3600.0))
    spread = "" if sigma is None else f" +- {sigma / size:.2g}"
    return f"{seconds / size:.3g}{spread} {unit}"


def _flags(stability: Mapping[str, object]) -> Sequence[object]:
    flags = stability.get("flags")
    return flags if isinstance(flags, (list, tuple)) else ()


def _n(values: Mapping[str, object], key: str) -> float:
    value = values.get(key)
    return float(value) if isinstance(value, (int, float)) else float("nan")


def write_table(path: Path) -> Path:
    """Write ``<run>_stability.csv`` beside a run file: time, light, dose and temperatures, one row a point.

    :raises DataError: the file is no stability run, or cannot be read or written.
    """
    run = read_run(path)
    measured, _ = refit_stability(run)
    stored = run.result.get("stability")
    temperatures = stored.get("sample_temperature_c") if isinstance(stored, Mapping) else None
    sample = list(temperatures) if isinstance(temperatures, (list, tuple)) else []
    sample += [None] * (len(run) - len(sample))
    table = path.with_name(f"{path.stem}_stability.csv")
    head = (
        "Time (s),Light over that of the first points,Light error,Fluence (uJ/cm^2),Dose (uJ/cm^2),"
        "Sample temperature (degC),Detector temperature (degC),Used"
    )
    detector = run.column("temperature_c")
    rows = [
        f"{measured.time_s[i]:.3f},{measured.light[i]:.6g},{measured.sigma[i]:.3g},{measured.fluence_uj_cm2[i]:.6g},"
        f"{measured.dose_uj_cm2[i]:.6g},{_cell(sample[i])},{_cell(detector[i])},{int(measured.usable[i])}"
        for i in range(len(run))
    ]
    try:
        table.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    except OSError as exc:
        raise DataError(f"cannot write {table}: {exc.strerror or exc}") from exc
    return table


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, (int, float)) and np.isfinite(value) else ""
