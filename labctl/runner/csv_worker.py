"""The sweep as it is stored: pymeasure's Worker made fit to run a bench, and the sink behind the Procedure.

An abort is no failure; a row that is not written is one. Where a run begins (in a new file, or after the
points of one that was interrupted) and which of its points are at hand is decided here.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pymeasure.experiment import Procedure, Results, Worker

from labctl.data import RunWriter
from labctl.data.csvfile import whole_csv
from labctl.data.files.hdf5 import why_lost
from labctl.data.schema import DATA_COLUMNS, row
from labctl.data.writer import RunPaths
from labctl.model.clock import Stop
from labctl.model.errors import Aborted, DataError
from labctl.model.plan import Ending, SweepPlan
from labctl.model.records import DarkRecord, SweepPoint
from labctl.model.roles import RunSink, ShotSink
from labctl.model.run import RunStart, RunStop, without_arrays
from labctl.model.shots import ShotBlock, ShotsSummary
from labctl.runner.facts import RunRequest
from labctl.session import Bench
from procedures.fluence_sweep import Done, Insert, Pause
from procedures.procedure import FluenceSweepProcedure, SweepContext


class PointBuffer:
    """Passes everything on to ``sink`` first; what is kept here is therefore on disk."""

    def __init__(self, sink: ShotSink) -> None:
        self._sink = sink
        self.points: list[SweepPoint] = []
        self._latest: SweepPoint | None = None
        self.began = False

    @property
    def latest(self) -> SweepPoint:
        """The last point; with its arrays if it was measured just now."""
        return self.points[-1] if self._latest is None else self._latest

    def begin(self, start: RunStart) -> None:
        """Create the file."""
        self._sink.begin(start)
        self.began = True

    def dark(self, record: DarkRecord) -> None:
        """Store a dark."""
        self._sink.dark(record)

    def append(self, point: SweepPoint) -> None:
        """Store a point."""
        self._sink.append(point)
        self._latest = point
        self.points.append(without_arrays(point))

    def shots(self, block: ShotBlock) -> None:
        """Store single shots."""
        self._sink.shots(block)

    def shot_point(self, summary: ShotsSummary) -> None:
        """Store what the single shots of a point gave."""
        self._sink.shot_point(summary)

    def event(self, at_s: float, text: str) -> None:
        """Store one line of the run's log."""
        self._sink.event(at_s, text)

    def end(self, stop: RunStop) -> None:
        """Write how the run ended."""
        self._sink.end(stop)


class Origin(Protocol):
    """What differs between a run that begins and one that goes on."""

    @property
    def done(self) -> Done:
        """What earlier sessions have measured; final once :meth:`begin` has returned."""

    def writer(self) -> RunWriter:
        """Take hold of the run's file."""

    def begin(self, bench: Bench, buffer: PointBuffer, start: RunStart) -> None:
        """Begin the file on an open bench; no light has been asked for yet."""

    def results(self, procedure: Procedure, csv: Path) -> Results:
        """Open the run's CSV."""


class NewRun:
    """A run in files of its own."""

    def __init__(self, request: RunRequest) -> None:
        self._request = request
        self.done = Done()

    def writer(self) -> RunWriter:
        """Reserve a name that nobody has."""
        return RunWriter(self._request.output, self._request.stem())

    def begin(self, bench: Bench, buffer: PointBuffer, start: RunStart) -> None:  # noqa: ARG002
        """Create the file."""
        buffer.begin(start)

    def results(self, procedure: Procedure, csv: Path) -> Any:
        """Create the CSV with its header."""
        return Results(procedure, str(csv))


log = logging.getLogger(__name__)


class Stored(Protocol):
    """The run file beside the CSV, which holds all that a row says."""

    paths: RunPaths

    def flush(self) -> None:
        """Put everything on disk, under whatever name is left."""

    def points(self) -> Any:
        """Return the stored rows of all points."""

    def csv_lost(self, why: str) -> None:
        """Say so, and take another name where that of the CSV is taken."""


class SweepWorker(Worker):  # type: ignore[misc]  # pymeasure publishes no types
    """Runs a procedure in the calling thread by :meth:`run`; call nothing else.

    :param stop: asks for the end, together with the worker's own flag.
    :param on_row: called in the same thread once a row is in the CSV.
    :param stored: writes the run file; without it nobody looks after the CSV.
    """

    def __init__(
        self, results: Results, stop: Stop, on_row: Callable[[], None], stored: Stored | None = None
    ) -> None:
        super().__init__(results, log_level=logging.INFO)
        self._asked, self._on_row, self._stored = stop, on_row, stored
        self._on_disk = False
        self.failure: BaseException | None = None

    def should_stop(self) -> bool:
        """Return whether the user or the worker asked for the end."""
        return self._asked.is_set() or bool(super().should_stop())

    def is_last(self) -> bool:
        """Return True: queues are not pymeasure's business here."""
        return True

    def handle_record(self, record: dict[str, Any]) -> None:
        """Write one row, then tell.

        :raises DataError: it could not be written.
        """
        for handler in self.recorder.handlers:
            handler.handleError = self._not_written
        self._on_disk = True
        if not self._written_anew():
            super().handle_record(record)
        self._on_row()

    def _written_anew(self) -> bool:
        """Write the whole CSV once more if its name does not lead to it any more, or the run has moved.

        :raises DataError: it cannot be written.
        """
        (handler,) = self.recorder.handlers
        if self._stored is None or handler.stream is None:
            return False
        why = why_lost(handler.stream.fileno(), handler.baseFilename)
        if why and handler.baseFilename == str(self._stored.paths.csv):
            self._stored.csv_lost(why)
        csv = self._stored.paths.csv
        if not why and handler.baseFilename == str(csv):
            return False
        whole_csv(csv, self._stored.points(), self.results.header() + self.results.labels())
        handler.close()
        handler.baseFilename = self.results.data_filename = str(csv)
        self.results.data_filenames = [str(csv)]
        handler.stream = Path(csv).open("a", encoding=handler.encoding)  # noqa: SIM115  the handler closes it
        return True

    def _look_once_more(self) -> None:
        """Find what was lost after the last row; by now the sweep has made the bench safe."""
        if self._stored is not None and self._on_disk:
            self._stored.flush()
            self._written_anew()

    def _not_written(self, _record: object) -> None:
        exc = sys.exception()
        reason = getattr(exc, "strerror", None) or exc
        raise DataError(
            f"cannot write {self.results.data_filename}: {reason}", "free space; earlier points are safe"
        ) from exc

    def handle_error(self) -> None:
        """Keep the exception; an abort gives the status its own name."""
        self.failure = sys.exception()
        aborted = isinstance(self.failure, Aborted)
        self.update_status(Procedure.ABORTED if aborted else Procedure.FAILED)

    def handle_abort(self) -> None:
        """Take an interrupt of this thread for an abort."""
        self.failure = Aborted()
        self.update_status(Procedure.ABORTED)

    def shutdown(self) -> None:
        """Shut the procedure down and close the recorder, whatever the procedure does."""
        try:
            self._look_once_more()
        except DataError as exc:
            self.failure = self.failure or exc
            self.update_status(Procedure.FAILED)
        try:
            super().shutdown()
        except Exception as exc:
            log.exception("in the procedure's shutdown")
            self.failure = self.failure or exc
            self.update_status(Procedure.FAILED)
            self.recorder.stop()
            self.monitor_queue.put(None)


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
