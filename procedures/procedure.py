"""The fluence sweep as a pymeasure Procedure: a shell over the generator, for Workers and windows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
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
from labctl.model.plan import Ending, SweepPlan
from labctl.model.pump import Bands
from labctl.model.records import SweepPoint
from labctl.model.roles import Roles, RunSink
from procedures.control import NOTHING_DONE, Done, Pause
from procedures.fluence_sweep import Insert, Sweep, sweep
from procedures.gate.pump import Pump

log = logging.getLogger(__name__)
Outcome = Literal["running", "finished", "aborted", "failed"]
_FLUENCE = "uJ/cm^2"
_MOST = 1e9


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


OpenContext = Callable[[], AbstractContextManager[SweepContext]]
Row = Callable[[SweepPoint], Mapping[str, object]]


class FluenceSweepProcedure(Procedure):
    """Sweeps the pump fluence; emits the scalars of each point once it is stored.

    What it works with is attached to an instance, or comes from a subclass that overrides ``open_context``
    and ``row`` and names its ``DATA_COLUMNS``: then it runs in a stock ``ManagedWindow``, which makes
    instances from parameters alone.
    """

    sample = Parameter("Sample", default="sample")
    operator = Parameter("Operator", default="")
    spot = Parameter("Spot", default="")
    note = Parameter("Note", default="")
    start_uj_cm2 = FloatParameter("Start fluence", units=_FLUENCE, default=20.0, maximum=_MOST)
    stop_uj_cm2 = FloatParameter("Stop fluence", units=_FLUENCE, default=200.0, maximum=_MOST)
    points = IntegerParameter("Points", default=24, maximum=_MOST)
    spacing = ListParameter("Spacing", choices=["log", "linear", "list"], default="log")
    fluences = Parameter("Fluences listed", default="")
    direction = ListParameter("Direction", choices=["up", "down", "up-down", "shuffled"], default="up")
    average = IntegerParameter("Exposures per point", default=10, maximum=_MOST)
    min_pulses = IntegerParameter("Least pulses per exposure", default=100, maximum=_MOST)
    max_integration_s = FloatParameter("Longest exposure", units="s", default=0.5)
    background = ListParameter("Background", choices=["dark", "blank"], default="dark")
    keep_open = BooleanParameter("Keep shutter open", default=False)
    shuffle_seed = IntegerParameter("Shuffle seed", default=0, minimum=0, maximum=_MOST)

    _SAME_NAME = (
        "start_uj_cm2",
        "stop_uj_cm2",
        "points",
        "spacing",
        "direction",
        "average",
        "min_pulses",
        "max_integration_s",
        "background",
        "keep_open",
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
            self.set_parameters({name: getattr(plan, name) for name in self._SAME_NAME})
            listed = ", ".join(f"{f:g}" for f in plan.fluences_uj_cm2)
            self.set_parameters({"fluences": listed, "shuffle_seed": plan.seed})

    def open_context(self) -> AbstractContextManager[SweepContext]:
        """Open what the sweep works with; a subclass may do it itself.

        :raises ConfigError: nothing was attached.
        """
        if self._open_context is None:
            raise ConfigError("nothing is attached to this procedure", hint="call attach() before it is run")
        return self._open_context()

    def row(self, point: SweepPoint) -> Mapping[str, object]:
        """Return the scalars to emit for a point, keyed by the labels in ``DATA_COLUMNS``.

        :param point: as it was measured.
        """
        return {} if self._row is None else self._row(point)

    def plan(self) -> SweepPlan:
        """Return the plan that was attached, or the one the parameters say.

        :raises ConfigError: the listed fluences are no numbers.
        """
        if self._plan is not None:
            return self._plan
        values: dict[str, Any] = {name: getattr(self, name) for name in self._SAME_NAME}
        try:
            listed = tuple(float(word) for word in str(self.fluences).replace(",", " ").split())
        except ValueError as exc:
            raise ConfigError(f"{self.fluences!r} is no list of numbers", key="fluences") from exc
        return SweepPlan(fluences_uj_cm2=listed, seed=self.shuffle_seed, **values)

    # --- what a Worker calls -----------------------------------------------------------------------

    def startup(self) -> None:
        """Open the instruments, in the thread that will use them."""
        with self._noted():
            self._context = self._stack.enter_context(self.open_context())

    def execute(self) -> None:
        """Run the sweep. A stop is no error: pymeasure marks the run as aborted by itself."""
        context = self._context
        if context is None:
            raise ConfigError("the procedure was not started up")
        with self._noted():
            plan = self.plan()
            self._points = sweep(
                plan,
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
