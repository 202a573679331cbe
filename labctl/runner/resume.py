"""Continue a run that was aborted, failed or killed: same file, same plan, no light unagreed."""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from pymeasure.experiment import Procedure, Results

from labctl.analysis.light_light import is_reference
from labctl.config import BenchConfig, load_bench
from labctl.config.bench import connections_and_limits, stored_bench
from labctl.data.csvfile import mend_csv
from labctl.data.resume import ResumedWriter, continuable, differences, refuse_other_axes
from labctl.data.run import Run
from labctl.model.clock import Clock
from labctl.model.errors import ConfigError, DataError
from labctl.model.plan import AdaptivePlan, StabilityPlan, SweepPlan
from labctl.model.run import RunStart
from labctl.runner.csv_worker import PointBuffer
from labctl.runner.events import OnEvent
from labctl.runner.facts import PROCEDURE_ID, RunRequest
from labctl.runner.fit_process import Fits
from labctl.runner.refit import STABILITY_ID
from labctl.runner.report import RunReport
from labctl.runner.run import SWEEP, run_sweep
from labctl.runner.stability import stability_kind
from labctl.session import Bench
from procedures.fluence_sweep import Done, Insert, Pause
from procedures.plan import LEAST_REFERENCED, reference_fluence, steps
from procedures.shots import MOST_UNSURE_S

_BESIDE = {"fluences", "emission_nm", "lasing_nm"}
"""Written beside the plan's own fields, for people."""
_MOST_POINTS, _MOST_EXPOSURES = 1_000_000, 100_000


def stored_plan(run: Run) -> SweepPlan:
    """Return the plan a run was begun with.

    :raises DataError: it is no plan, one of another labctl, or the points do not belong to it.
    """
    stored = {key: value for key, value in run.start.plan.items() if key not in _BESIDE}
    kind = AdaptivePlan if "target_rel" in stored else StabilityPlan if "every_s" in stored else SweepPlan
    unknown = sorted(set(stored) - {field.name for field in dataclasses.fields(kind)})
    if unknown:
        raise DataError(f"{run.path}: its plan says {', '.join(unknown)}, which this labctl does not know")
    try:
        plan = TypeAdapter(kind).validate_python(stored)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{run.path}: its plan is not valid: {where}: {first['msg']}") from exc
    if plan.points > _MOST_POINTS or plan.most_exposures > _MOST_EXPOSURES:
        asked = f"{plan.points} points of {plan.most_exposures} exposures"
        raise DataError(f"{run.path}: its plan asks for {asked}")
    _check_points(run, plan)
    return plan


def _check_points(run: Run, plan: SweepPlan) -> None:
    """The points must be the plan's first ones: what is left is then known by number."""
    numbers = run.points["index"].tolist()
    if numbers != list(range(len(numbers))):
        raise DataError(f"{run.path}: points are missing between others", "labctl verify says which")
    if isinstance(plan, AdaptivePlan) or reference_fluence(plan) is not None:
        return  # their steps follow from the points
    for step, wanted in zip(steps(plan), run.column("fluence_set_uj_cm2"), strict=False):
        if not math.isclose(step.fluence_uj_cm2, wanted, rel_tol=1e-9):
            raise DataError(
                f"{run.path}: point {step.index + 1} was set to {wanted:.6g} uJ/cm2, "
                f"its plan says {step.fluence_uj_cm2:.6g}"
            )


def dose_before(run: Run, plan: SweepPlan, repetition_rate_hz: float) -> tuple[float, float]:
    """Return the dose of all sessions so far, and how much of it is assumed (uJ/cm2).

    A killed process cannot say what light its last point had: as much is assumed as the longest point
    before it would have had at that fluence.
    """
    doses = run.column("dose_uj_cm2")
    known = max([float(doses[-1]) if doses.size else 0.0, run.sessions[-1].dose_uj_cm2])
    ended = run.result.dose_uj_cm2
    if ended is not None:
        return max(known, ended), 0.0
    planned = steps(plan)
    own = sum(not is_reference(run.scalars(number)) for number in range(len(run)))
    after = planned[min(own, len(planned) - 1)].fluence_uj_cm2
    assumed = after * _pulses(run, plan, repetition_rate_hz)
    return known + assumed, assumed


def _pulses(run: Run, plan: SweepPlan, repetition_rate_hz: float) -> float:
    """Most pulses on the sample at any point so far; before the first, those of the longest exposures."""
    if plan.shots and not len(run):
        return plan.shots + 2 * MOST_UNSURE_S * repetition_rate_hz
    longest_s = (plan.most_exposures + 1) * plan.max_integration_s
    longest = (longest_s if plan.counted else min(longest_s, plan.max_light_s)) * repetition_rate_hz
    if not len(run):
        return longest
    return float(np.max(np.diff(run.column("dose_uj_cm2"), prepend=0.0) / run.fluence_uj_cm2))


def plan_size(plan: Mapping[str, object]) -> int | None:
    """Return the number of steps a stored plan has, None where that is not known beforehand."""
    listed = plan.get("fluences")
    if not isinstance(listed, list) or not listed or "target_rel" in plan or plan.get("reference_every"):
        return None
    if plan.get("reference_every", 0) is None and "every_s" not in plan and len(listed) >= LEAST_REFERENCED:
        return None
    return 2 * len(listed) - 1 if plan.get("direction") == "up-down" else len(listed)


log = logging.getLogger(__name__)

RESUMABLE = (PROCEDURE_ID, STABILITY_ID)
"""Procedures whose runs can be continued."""
WITH_BENCH = "give the bench file with --bench: its resources and limits hold"
Confirm = Callable[[tuple[str, ...]], None]
"""Shows what differs from the bench of the run, one line each, and raises where that is not agreed to."""


def resume_run(
    path: Path,
    bench: Path | BenchConfig | None = None,
    *,
    stop: threading.Event,
    on_event: OnEvent,
    confirm: Confirm,
    trust: Confirm | None = None,
    clock: Clock | None = None,
    insert: Insert | None = None,
    pause: Pause | None = None,
    opened: Bench | None = None,
    fits: Fits | None = None,
) -> RunReport:
    """Measure the rest of a run and fit all of it; like :func:`~labctl.runner.run.run_sweep` in all else.

    :param path: the run's ``.h5``, or the ``.csv`` beside it.
    :param bench: the bench file or its configuration: what is connected to, and what limits hold. Without it
        they are those that the run holds, if ``trust`` agrees.
    :param opened: that bench where it is open already: it is used, made safe and left open.
    :param fits: where it is evaluated; a process of its own by default.
    :param confirm: called in the acquisition thread, only if something differs, with the shutter closed.
    :param trust: called before anything is connected to, with the resources and limits of the run; raises
        where they are not to be used. A run may come from anybody.
    :raises DataError: it is no run, it has finished, another process writes it, or the shutter lied in it.
    :raises ConfigError: it cannot be continued on this bench, or the differences are not agreed to.
    """
    h5 = path.with_suffix(".h5") if path.suffix.lower() == ".csv" else path
    run = continuable(h5)
    if run.start.procedure not in RESUMABLE:
        raise DataError(f"{h5} is a run of {run.start.procedure}, which this command does not continue")
    if doubt := run.doubt:
        raise DataError(f"{h5}: {doubt}", "check the shutter, then start a new run")
    plan = stored_plan(run)
    kind = stability_kind() if isinstance(plan, StabilityPlan) else SWEEP
    if bench is None:
        config = stored_bench(run.sessions[-1].config, h5)
        if trust is None:
            raise ConfigError(f"the bench stored in {h5.name} is not trusted", hint=WITH_BENCH)
        trust(connections_and_limits(config))
    else:
        config = load_bench(bench)
    start = run.start
    request = RunRequest(run.path.parent, start.sample, start.operator, start.spot, start.note)
    origin = Resumption(run.path, plan, confirm)
    return run_sweep(
        opened or config,
        plan,
        request,
        stop=stop,
        on_event=on_event,
        clock=clock,
        insert=insert,
        origin=origin,
        pause=pause,
        kind=kind,
        fits=fits,
    )


class Resumption:
    """A run that goes on; the :class:`~labctl.runner.csv_worker.Origin` of :func:`resume_run`."""

    def __init__(self, h5: Path, plan: SweepPlan, confirm: Confirm) -> None:
        self._h5, self._plan, self._confirm = h5, plan, confirm
        self._writer: ResumedWriter
        self.done = Done()

    def writer(self) -> ResumedWriter:
        """Take hold of the file; it stays as it is until :meth:`begin`."""
        self._writer = ResumedWriter(self._h5)
        return self._writer

    def begin(self, bench: Bench, buffer: PointBuffer, start: RunStart) -> None:
        """Close the shutter, compare, have differences agreed to, then mend the file and go on in it."""
        bench.pump.close()
        run = self._writer.run
        refuse_other_axes(run, start)
        found = differences(run, start)
        if found:
            log.warning("the bench differs from the run's: %s", "; ".join(found))
            self._confirm(found)
        dose, assumed = dose_before(run, self._plan, bench.pump.settings.repetition_rate_hz)
        recall(buffer, run)
        self.done = Done(
            points=tuple(buffer.points),
            dose_uj_cm2=dose,
            last_dark=max((dark.number for dark in run.darks), default=0),
            elapsed_s=buffer.points[-1].elapsed_s if buffer.points else 0.0,
        )
        self._writer.dose_uj_cm2 = dose
        buffer.begin(start)
        now_s = bench.roles.clock.now_s()
        for line in _story(run, found, dose, assumed):
            log.info("%s", line)
            buffer.event(now_s, line)

    def results(self, procedure: Procedure, csv: Path) -> Any:
        """Bring the CSV up to the run file, then go on in it."""
        if not csv.exists():
            csv.touch()
        results = _Continued(procedure, str(csv))
        done = mend_csv(csv, self._writer.run.points, results.header() + results.labels())
        if done:
            log.warning("%s: %s", csv, "; ".join(done))
        return results


class _Continued(Results):  # type: ignore[misc]  # pymeasure publishes no types
    """pymeasure reads an existing file back whole, to plot it; nobody plots it here."""

    def reload(self) -> None:
        """Read nothing."""
        self._data = None


def recall(buffer: PointBuffer, run: Run) -> None:
    """Give ``buffer`` what it would hold had it seen the points of ``run``."""
    buffer.points.extend(run.scalars(number) for number in range(len(run)))


def _story(run: Run, found: tuple[str, ...], dose: float, assumed: float) -> list[str]:
    """Return what the run's own log says of its continuation."""
    why = f": {run.reason}" if run.reason else ""
    lines = [f"resumed after {len(run)} points; it was {run.status}{why}"]
    share = f", {assumed:.6g} of it assumed for the point that was interrupted" if assumed else ""
    lines.append(f"the dose continues from {dose:.6g} uJ/cm2{share}")
    return [*lines, *(f"the bench differs: {line}" for line in found)]
