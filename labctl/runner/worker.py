"""pymeasure's Worker, made fit to run a bench: an abort is no failure, a row that is not written is one.

What it corrects (pymeasure 0.16): a Recorder that prints a full disk's error and goes on; an exception in
``Procedure.shutdown`` that leaves the status RUNNING and the recorder open; errors known only as text.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from pymeasure.experiment import Results, Worker
from pymeasure.experiment.procedure import Procedure

from labctl.data.csvfile import whole_csv
from labctl.data.hdf5 import why_lost
from labctl.data.writer import RunPaths
from labctl.model.clock import Stop
from labctl.model.errors import Aborted, DataError

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
