"""pymeasure's Worker, made fit to run a bench: an abort is no failure, a row that is not written is one.

What it corrects (pymeasure 0.16): a Recorder that prints a full disk's error and goes on; an exception in
``Procedure.shutdown`` that leaves the status RUNNING and the recorder open; errors known only as text.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

from pymeasure.experiment import Results, Worker
from pymeasure.experiment.procedure import Procedure

from labctl.model.clock import Stop
from labctl.model.errors import Aborted, DataError

log = logging.getLogger(__name__)


class SweepWorker(Worker):  # type: ignore[misc]  # pymeasure publishes no types
    """Runs a procedure in the calling thread by :meth:`run`; call nothing else.

    :param stop: asks for the end, together with the worker's own flag.
    :param on_row: called in the same thread once a row is in the CSV.
    """

    def __init__(self, results: Results, stop: Stop, on_row: Callable[[], None]) -> None:
        super().__init__(results, log_level=logging.INFO)
        self._asked, self._on_row = stop, on_row
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
        super().handle_record(record)
        self._on_row()

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
            super().shutdown()
        except Exception as exc:
            log.exception("in the procedure's shutdown")
            self.failure = self.failure or exc
            self.update_status(Procedure.FAILED)
            self.recorder.stop()
            self.monitor_queue.put(None)
