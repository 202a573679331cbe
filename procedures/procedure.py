"""The fluence sweep as a pymeasure Procedure: a shell over the generator, for Workers and windows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from typing import Any, Literal

from pymeasure.experiment import (
    BooleanParameter,
    FloatParameter,
    IntegerParameter,
    ListParameter,
    Parameter,
    Procedure,
)

from labctl.model.errors import Aborted, ConfigError
from labctl.model.options import Option, options
from labctl.model.plan import ADAPTIVE, AdaptivePlan, Ending, SweepPlan
from labctl.model.pump import Bands
from labctl.model.records import SweepPoint
from labctl.model.roles import Roles, RunSink
from procedures.fluence_sweep import NOTHING_DONE, Done, Insert, Pause, Sweep, sweep
from procedures.gate.pump import Pump

log = logging.getLogger(__name__)
Outcome = Literal["running", "finished", "aborted", "failed"]


@dataclass(frozen=True, slots=True)
class SweepContext:
    """What a sweep works with, opened and closed by the thread that runs it.

    :param roles: the instruments.
    :param pump: the gate that sets each fluence.
    :param bands: where the emission is looked for, nm.
    :param sink: stores each point before it is emitted; None stores nothing.
    :param insert: asks for a blank to be put into the beam.
    :param done: what earlier sessions of the run measured.
    :param pause: while it is set the sweep stands still in the dark.
    :param triggered: whether exposures begin with a pulse of the laser, as the bench file says.
    :param finish: told how the sweep ended, and why, once the bench is safe and before anything is closed.
    """

    roles: Roles
    pump: Pump
    bands: Bands
    sink: RunSink | None = None
    insert: Insert | None = None
    finish: Callable[[Outcome, str], None] | None = None
    done: Done = NOTHING_DONE
    pause: Pause | None = None
    triggered: bool = False


OpenContext = Callable[[], AbstractContextManager[SweepContext]]
Row = Callable[[SweepPoint], Mapping[str, object]]


class _Offered:
    """Makes a parameter of a plan's option; what the option refuses is refused in its words.

    Text of numbers, or a number that may be left out, is kept as text and judged with the plan.
    """

    option: Option

    def __init__(self, option: Option, **more: Any) -> None:
        self.option = option
        if option.group == ADAPTIVE:
            more |= {"group_by": "adaptive"}
        default = option.write(option.default) if option.textual else option.default
        super().__init__(option.label, default=default, description=option.help, **more)  # type: ignore[call-arg]

    def convert(self, value: Any) -> Any:
        """Return the value for the plan.

        :raises ConfigError: it is refused.
        """
        if self.option.textual:
            return value
        if isinstance(value, str) and self.option.kind != "word":
            number, _, units = value.strip().partition(" ")  # as a CSV's head writes it
            value = self.option.read(number if units == (getattr(self, "units", "") or "") else value)
        elif why := self.option.refused(value):
            raise self.option.wrong(why)
        return super().convert(value)  # type: ignore[misc]


class _Number(_Offered, FloatParameter):
    """A number."""


class _Whole(_Offered, IntegerParameter):
    """A whole number."""


class _Word(_Offered, ListParameter):
    """One of some words."""


class _Yes(_Offered, BooleanParameter):
    """Yes or no."""


class _Text(_Offered, Parameter):
    """Several numbers, or one that may be left out, as text."""


def _parameter(option: Option) -> Parameter:
    units = option.unit.replace("cm2", "cm^2") or None
    if option.textual:
        return _Text(option)
    if option.kind == "word":
        return _Word(option, choices=list(option.words))
    if option.kind == "yes":
        return _Yes(option)
    kind = _Whole if option.kind == "whole" else _Number
    return kind(option, units=units, minimum=max(option.least, option.above), maximum=option.most)


class FluenceSweepProcedure(Procedure):
    """Sweeps the pump fluence; emits the scalars of each point once it is stored.

    What it works with is attached to an instance, or comes from a subclass that overrides ``open_context``
    and ``row`` and names its ``DATA_COLUMNS``: then it runs in a stock ``ManagedWindow``, which makes
    instances from parameters alone. Its parameters are the fields of :class:`SweepPlan` and, once
    ``adaptive`` is set, those of :class:`AdaptivePlan`, whose ``points`` are called ``start_points``.
    """

    sample = Parameter("Sample", default="sample")
    operator = Parameter("Operator", default="")
    spot = Parameter("Spot", default="")
    note = Parameter("Note", default="")
    adaptive = BooleanParameter(
        "Adaptive", default=False, description="Choose each fluence from the points so far."
    )

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.outcome: Outcome = "running"
        self.failure: BaseException | None = None
        self._plan: SweepPlan | None = None
        self._open_context: OpenContext | None = None
        self._row: Row | None = None
        self._stack = ExitStack()
        self._context: SweepContext | None = None
        self.ending: Ending | None = None
        self._points: Sweep | None = None

    def attach(self, open_context: OpenContext, row: Row, plan: SweepPlan | None = None) -> None:
        """Say what to work with.

        :param open_context: called in the thread that runs the procedure; closed there as well.
        :param row: the scalars of a point, keyed by the labels in ``DATA_COLUMNS``.
        :param plan: replaces the one made from the parameters, and sets them to its values.
        """
        self._open_context, self._row = open_context, row
        if plan is not None:
            self._plan = plan
            self.set_parameters({"adaptive": isinstance(plan, AdaptivePlan)})
            for name, option in _offered(isinstance(plan, AdaptivePlan)).items():
                value = getattr(plan, option.field)
                self.set_parameters({name: option.write(value) if option.textual else value})

    def open_context(self) -> AbstractContextManager[SweepContext]:
        """Open what the sweep works with; a subclass may do it itself.

        :raises ConfigError: nothing was attached.
        """
        if self._open_context is None:
            raise ConfigError("nothing is attached to this procedure", hint="call attach() before running it")
        return self._open_context()

    def row(self, point: SweepPoint) -> Mapping[str, object]:
        """Return the scalars to emit for a point, keyed by the labels in ``DATA_COLUMNS``.

        :param point: as it was measured.
        """
        return {} if self._row is None else self._row(point)

    def plan(self) -> SweepPlan:
        """Return the plan that was attached, or the one the parameters say.

        :raises ConfigError: what stands there as text cannot be read.
        """
        if self._plan is not None:
            return self._plan
        values: dict[str, Any] = {}
        for name, option in _offered(self.adaptive).items():
            value = getattr(self, name)
            values[option.field] = option.read(str(value)) if option.textual else value
        return AdaptivePlan(**values) if self.adaptive else SweepPlan(**values)

    # --- what a Worker calls -----------------------------------------------------------------------

    def startup(self) -> None:
        """Open the instruments, in the thread that will use them."""
        with self._noted():
            self._context = self._stack.enter_context(self.open_context())

    def execute(self) -> None:
        """Run the sweep. A stop is no error: pymeasure marks the run as aborted by itself."""
        context = self._context
        if context is None:
            raise ConfigError("the procedure was not started")
        with self._noted():
            plan = self.plan()
            self._points = sweep(
                replace(plan, triggered=plan.triggered or context.triggered),
                context.roles,
                context.pump,
                context.bands,
                sink=context.sink,
                stop=_WorkerStop(self),
                insert=context.insert,
                done=context.done,
                pause=context.pause,
            )
            for number, point in enumerate(self._points, start=len(context.done.points) + 1):
                self.emit("results", dict(self.row(point)))
                self.emit("progress", min(100.0 * number / self._points.most, 100.0))
            self.ending = self._points.ending
            self.outcome = "finished"

    def shutdown(self) -> None:
        """Make safe, say how it ended, close everything. Never raises: pymeasure's queue would hang."""
        context, points = self._context, self._points
        actions: list[Callable[[], object]] = []
        if points is not None:
            actions.append(points.close)
        if context is not None:
            actions.append(lambda: _all_safe(context.pump))
            if context.finish is not None:
                actions.append(lambda: self._finish(context))
        actions.append(self._stack.close)
        for action in actions:
            try:  # in this thread, to which instruments and files belong
                action()
            except Exception:
                log.exception("while shutting down")
        self._context, self._points = None, None

    def _finish(self, context: SweepContext) -> None:
        if self.outcome == "running":
            self.outcome = "aborted"
        if context.finish is not None:
            context.finish(self.outcome, str(self.failure or ""))

    def _noted(self) -> _Noted:
        return _Noted(self)


def _offered(adaptive: bool) -> dict[str, Option]:
    """Return the options of a kind of sweep by the names of their parameters."""
    own = {option.field for option in options(SweepPlan).values()}
    found = options(AdaptivePlan if adaptive else SweepPlan)
    return {
        option.name if option.group == ADAPTIVE and option.field in own else option.field: option
        for option in found.values()
    }


for _name, _option in (_offered(False) | _offered(True)).items():
    setattr(FluenceSweepProcedure, _name, _parameter(_option))


class _Noted:
    """Remembers in the procedure how its work ended; pymeasure keeps no reason. Swallows an abort."""

    def __init__(self, procedure: FluenceSweepProcedure) -> None:
        self._procedure = procedure

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> bool:
        """Note the exception; True for an abort."""
        if exc is None:
            return False
        aborted = isinstance(exc, Aborted | KeyboardInterrupt)
        self._procedure.outcome = "aborted" if aborted else "failed"
        self._procedure.failure = exc
        return isinstance(exc, Aborted)


class _WorkerStop:
    """pymeasure's stop request, as the clocks understand it."""

    def __init__(self, procedure: FluenceSweepProcedure) -> None:
        self._procedure = procedure

    def is_set(self) -> bool:
        """Return whether the Worker was asked to stop."""
        return bool(self._procedure.should_stop())


def _all_safe(pump: Pump) -> None:
    if failures := pump.safe().failures:
        raise failures[0]
