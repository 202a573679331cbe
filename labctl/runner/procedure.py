"""The sweep as it is stored: the Procedure with the columns of the run file, run by a Worker of ours."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from labctl.data.schema import DATA_COLUMNS, row
from labctl.model.errors import Aborted
from labctl.model.plan import Ending, SweepPlan
from labctl.model.roles import RunSink
from labctl.runner.facts import RunRequest
from labctl.runner.origin import Origin
from labctl.runner.worker import Stored, SweepWorker
from labctl.session import Bench
from procedures.control import Pause
from procedures.fluence_sweep import Insert
from procedures.procedure import FluenceSweepProcedure, SweepContext


class StoredSweep(FluenceSweepProcedure):
    """A fluence sweep whose rows are those of the run file."""

    DATA_COLUMNS: ClassVar[list[str]] = list(DATA_COLUMNS)


def measure(
    bench: Bench,
    plan: SweepPlan,
    request: RunRequest,
    sink: RunSink,
    csv: Path,
    *,
    stop: threading.Event,
    on_row: Callable[[], None],
    origin: Origin,
    insert: Insert | None = None,
    pause: Pause | None = None,
    stored: Stored | None = None,
) -> Ending | None:
    """Run the sweep in this thread, on a bench that stays the caller's; return why it ended by itself.

    :param csv: written by pymeasure's Results, which ``origin`` opens.
    :param on_row: called once a point is in both files.
    :param stored: writes the run file beside the CSV, and looks after both names.
    :raises Aborted: ``stop`` was set.
    :raises LabctlError: the sweep failed; the shutter is closed.
    """
    procedure = StoredSweep()
    procedure.set_parameters(
        {"sample": request.sample, "operator": request.operator, "spot": request.spot, "note": request.note}
    )
    context = SweepContext(bench.roles, bench.pump, bench.bands, sink, insert, done=origin.done, pause=pause)
    procedure.attach(lambda: contextlib.nullcontext(context), row, plan)
    worker = SweepWorker(origin.results(procedure, csv), stop, on_row, stored)
    worker.run()
    failure = procedure.failure or worker.failure
    if failure is not None:
        raise failure
    if procedure.outcome != "finished":  # pymeasure tells nobody of a stop before the procedure's first line
        raise Aborted
    return procedure.ending
