"""Follow the threshold while somebody aligns: a full reference sweep, then readouts of a few fluences each.

A generator, so that window and terminal share it. However it ends, the bench is made safe.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

from labctl.analysis.evaluation import fit_curve
from labctl.analysis.light_light import light_light
from labctl.analysis.threshold import START_LOWER, ThresholdResult, ThresholdTracker
from labctl.model.clock import Stop, check_stop
from labctl.model.errors import ConfigError, SafetyStop
from labctl.model.plan import SweepPlan
from labctl.model.pump import Bands
from labctl.model.records import SweepPoint
from labctl.model.roles import Roles
from procedures.gate.pump import Pump
from procedures.gate.safe_state import cause_said, made_safe
from procedures.plan import Step, steps, validate
from procedures.point.quick import QuickPoints

LOST_READOUTS = 4
"""Readouts in a row that do not hold the threshold before a new reference is measured."""
WIDER = (0.45, 0.75, 1.2, 2.0)


@dataclass(frozen=True, slots=True)
class AlignmentPlan:
    """What an alignment does.

    :param reference: the sweep that finds shape and noise; it should span the threshold well.
    :param ratios: fluences of a readout over the present threshold; 3 or 4, on both sides of it.
    :param average: exposures at each fluence of a readout.
    :param max_dose_uj_cm2: sum of fluence x pulses, the reference included, at which it ends; None: only the
        bench's own limit holds.
    :param max_readouts: for tests and measurements; None goes on until stopped.
    """

    reference: SweepPlan = field(default_factory=lambda: SweepPlan(points=16, average=4))
    ratios: tuple[float, ...] = (0.75, 1.15, 1.6)
    average: int = 1
    max_dose_uj_cm2: float | None = None
    max_readouts: int | None = None


@dataclass(frozen=True, slots=True)
class ReferencePoint:
    """One point of the reference sweep."""

    number: int
    total: int
    point: SweepPoint


@dataclass(frozen=True, slots=True)
class Reference:
    """The reference is measured and fitted."""

    result: ThresholdResult
    points: int
    dose_uj_cm2: float


@dataclass(frozen=True, slots=True)
class Readout:
    """One readout. ``result`` carries the threshold with its interval, or why there is none.

    :param at_s: bench time since the tracking began; ``took_s`` that of this readout.
    :param best_uj_cm2: lowest threshold since the reference, and when it was found.
    :param points: the fluences of this readout, as measured.
    """

    number: int
    at_s: float
    took_s: float
    result: ThresholdResult
    best_uj_cm2: float | None
    best_at_s: float | None
    signal: float
    fwhm_nm: float | None
    peak_wavelength_nm: float | None
    dose_uj_cm2: float
    points: tuple[SweepPoint, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """The alignment ended by itself."""

    reason: str


AlignmentEvent = ReferencePoint | Reference | Readout | Finished


def check_plan(plan: AlignmentPlan, pump: Pump) -> None:
    """Refuse a plan that cannot be carried out.

    :raises ConfigError: names the key and the reason.
    """
    validate(plan.reference, pump.settings, pump.limits)
    if not (3 <= len(plan.ratios) <= 6 and all(0.1 <= r <= 10 for r in plan.ratios)):
        raise ConfigError("needs 3 to 6 ratios between 0.1 and 10", key="ratios")
    if not min(plan.ratios) < 1 < max(plan.ratios):
        raise ConfigError("must include ratios on both sides of 1", key="ratios")
    if plan.average < 1:
        raise ConfigError(f"must be 1 or more, not {plan.average}", key="average")
    if plan.max_dose_uj_cm2 is not None and not plan.max_dose_uj_cm2 > 0:
        raise ConfigError("must be above zero", key="max_dose")


def align(
    plan: AlignmentPlan, roles: Roles, pump: Pump, bands: Bands, *, stop: Stop | None = None
) -> Iterator[AlignmentEvent]:
    """Measure a reference, then readout after readout, until stopped or the dose is spent.

    :raises ConfigError: the plan is impossible; nothing has moved.
    :raises SafetyStop: a limit was hit, or the reference shows no threshold.
    :raises Aborted: ``stop`` was set.
    :raises InstrumentError: an instrument failed.
    """
    check_plan(plan, pump)
    return _safely(_Alignment(plan, roles, pump, bands), pump, stop)


def _safely(alignment: _Alignment, pump: Pump, stop: Stop | None) -> Iterator[AlignmentEvent]:
    made = made_safe(lambda: pump.safe().failures)
    with alignment.at_work(), made, cause_said(pump.tell):
        yield from alignment.events(stop)


class _Alignment:
    """What one alignment holds together."""

    def __init__(self, plan: AlignmentPlan, roles: Roles, pump: Pump, bands: Bands) -> None:
        self._plan, self._clock, self._pump = plan, roles.clock, pump
        self._quick = QuickPoints(plan.reference, roles, pump, bands)
        self.at_work = self._quick.at_work

    def events(self, stop: Stop | None) -> Iterator[AlignmentEvent]:
        """Alternate between a reference and its readouts, until the dose is spent."""
        self._quick.prepare(stop)
        while True:
            points: list[SweepPoint] = []
            planned = steps(self._plan.reference)
            for step in planned:
                points.append(self._quick.point(step, stop, self._plan.reference.least_exposures))
                yield ReferencePoint(len(points), len(planned), points[-1])
                if self._spent():
                    yield Finished(self._spent_text())
                    return
            reference = self._fitted(points)
            yield Reference(reference, len(points), self._quick.dose_uj_cm2)
            ended = yield from self._track(reference, points, stop)
            if ended:
                yield Finished(ended)
                return

    def _fitted(self, points: Sequence[SweepPoint]) -> ThresholdResult:
        result = fit_curve(
            light_light(points, settings=self._pump.settings), self._pump.settings.photon_order
        )
        if result.status != "found":
            spans = "choose a range around the threshold, from one third of it to twice its value"
            raise SafetyStop(
                f"the reference sweep shows no threshold to track: {result.reason}",
                f"start lower: {spans}" if START_LOWER in result.flags else spans,
            )
        return result

    def _track(
        self,
        reference: ThresholdResult,
        points: Sequence[SweepPoint],
        stop: Stop | None,
    ) -> Generator[AlignmentEvent, None, str]:
        """Yield readouts; return why it ended, or an empty text where a new reference is needed."""
        more = math.sqrt(max(self._plan.reference.least_exposures / self._plan.average, 1.0))
        tracker = ThresholdTracker(
            reference,
            noise_rel=max(float(reference.noise_rel or 0.03), 0.01) * more,
            fluence_sigma_rel=light_light(points).typical_fluence_sigma_rel,
            keep=1,
        )
        clock, lost = self._clock, 0
        now_uj_cm2 = float(reference.threshold_uj_cm2 or 0.0)
        best: tuple[float, float] | None = None
        began_s = last_s = clock.now_s()
        number = 0
        while lost < LOST_READOUTS:
            check_stop(stop)
            if self._plan.max_readouts is not None and number >= self._plan.max_readouts:
                return "all readouts are complete"
            measured = self._readout(now_uj_cm2, WIDER if lost else self._plan.ratios, number, stop)
            result = tracker.add([p.fluence_uj_cm2 for p in measured], [_signal(p) for p in measured])
            number += 1
            at_s = clock.now_s() - began_s
            lost = 0 if result.status == "found" else lost + 1
            if result.threshold_uj_cm2 is not None:
                now_uj_cm2 = result.threshold_uj_cm2
                best = min(best or (now_uj_cm2, at_s), (now_uj_cm2, at_s))
            yield self._told(number, at_s, clock.now_s() - last_s, result, best, measured)
            last_s = clock.now_s()
            if self._spent():
                return self._spent_text()
        return ""

    def _readout(
        self, threshold: float, ratios: Sequence[float], number: int, stop: Stop | None
    ) -> tuple[SweepPoint, ...]:
        """Measure a few fluences round a threshold; up and down in turn, which saves way."""
        low, high = self._pump.aim.reach_uj_cm2()
        top = min(high, self._pump.beam.fluence_uj_cm2(self._pump.beam.highest_energy_j) * 0.97)
        wanted = sorted({min(max(r * threshold, low), top) for r in ratios}, reverse=bool(number % 2))
        return tuple(self._quick.point(Step(number, f, "up"), stop, self._plan.average) for f in wanted)

    def _told(
        self,
        number: int,
        at_s: float,
        took_s: float,
        result: ThresholdResult,
        best: tuple[float, float] | None,
        measured: tuple[SweepPoint, ...],
    ) -> Readout:
        brightest = max(measured, key=lambda p: p.fluence_uj_cm2)
        return Readout(
            number=number,
            at_s=at_s,
            took_s=took_s,
            result=result,
            best_uj_cm2=None if best is None else best[0],
            best_at_s=None if best is None else best[1],
            signal=brightest.signal,
            fwhm_nm=brightest.fwhm_nm,
            peak_wavelength_nm=brightest.peak_wavelength_nm,
            dose_uj_cm2=self._quick.dose_uj_cm2,
            points=measured,
        )

    def _spent(self) -> bool:
        limit = self._plan.max_dose_uj_cm2
        return limit is not None and self._quick.dose_uj_cm2 >= limit

    def _spent_text(self) -> str:
        return f"the dose of {self._quick.dose_uj_cm2:.4g} uJ/cm2 has reached the limit set for the alignment"


def _signal(point: SweepPoint) -> float:
    return point.signal if point.saturated_exposures < point.exposures else math.nan
