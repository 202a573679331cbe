"""What the watchdog says when it acts: to stderr, into the run's log, and into a file of its own."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from labctl.model.untrusted import PrintableFormatter, printable
from labctl.session.watchdog.wire import Assignment

log = logging.getLogger("labctl.watchdog")

_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-7s watchdog %(name)s: %(message)s"
_DATE = "%Y-%m-%dT%H:%M:%S"
WRITING_S = 3.0
Hear = Callable[[str], object]


def own_log(run_log: Path) -> Path:
    """Return the watchdog's own file beside a run's log: ``<run>.watchdog.log``."""
    return run_log.with_suffix(".watchdog.log")


def report(
    assignment: Assignment,
    reason: str,
    make_safe: Callable[..., list[Exception]] | None,
    trouble: str,
    *,
    referenced: bool,
    hear: Hear | None = None,
) -> int:
    """Act, telling every step; return 0 when the bench is safe, 1 when something could not be made safe.

    :param make_safe: returns what failed; None: it could not be prepared, for the reason in ``trouble``.
    :param hear: called in another thread with every line that goes to stderr.
    """
    with _loudly(assignment.log, hear):
        log.warning("%s (process %d): making the bench safe", reason, assignment.pid)
        if make_safe is None:
            log.critical("NOT MADE SAFE: the watchdog was never able to act (%s). Block the beam", trouble)
            return 1
        failures = make_safe(referenced=referenced)
        for failure in failures:
            log.critical("NOT MADE SAFE: %s. Block the beam manually", failure)
        if not failures:
            log.warning("the bench is safe, as far as its own sensors say: the watchdog cannot see the light")
        return 1 if failures else 0


@contextmanager
def _loudly(run_log: str | None, hear: Hear | None) -> Iterator[None]:
    """Send what is logged to stderr (in short), the run's log and the watchdog's own file (in full)."""
    writer = _Writer(run_log, hear)
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.addHandler(writer)
    try:
        yield
    finally:
        root.removeHandler(writer)
        writer.close()


class _Writer(logging.Handler):
    """Writes in a thread of its own: a full pipe or a disk that hangs must not hold up what matters."""

    def __init__(self, run_log: str | None, hear: Hear | None) -> None:
        super().__init__()
        self._hear = hear
        self._records: queue.SimpleQueue[logging.LogRecord | None] = queue.SimpleQueue()
        self._paths = [] if run_log is None else [Path(run_log), own_log(Path(run_log))]
        self._thread = threading.Thread(target=self._write, name="writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; never waits."""
        self._records.put(record)

    def close(self) -> None:
        """Give the thread some time to write what it has."""
        self._records.put(None)
        self._thread.join(WRITING_S)
        super().close()

    def _write(self) -> None:
        logging.raiseExceptions = False  # a stream that is gone is no reason to say anything
        outputs: list[logging.Handler] = [_to_stderr()]
        if self._hear is not None:
            outputs.append(_Heard(self._hear))
        for path in self._paths:
            with suppress(OSError, ValueError):
                outputs.append(logging.FileHandler(path, encoding="utf-8", errors="backslashreplace"))
                outputs[-1].setFormatter(PrintableFormatter(_FORMAT, _DATE))
        while (record := self._records.get()) is not None:
            for output in outputs:
                if record.levelno >= output.level:
                    output.handle(record)
        for output in outputs:
            with suppress(OSError, ValueError):
                output.close()


class _Heard(logging.Handler):
    """Operator on what goes to stderr."""

    def __init__(self, hear: Hear) -> None:
        super().__init__(logging.WARNING)
        self._hear = hear
        self.addFilter(_is_for_people)

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on one line."""
        with suppress(OSError, ValueError):
            self._hear(record.getMessage())


def _to_stderr() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_OneLine())
    handler.addFilter(_is_for_people)
    return handler


def _is_for_people(record: logging.LogRecord) -> bool:
    safe_state = record.name == "procedures.gate.safe_state"
    return not (safe_state and record.levelno >= logging.ERROR)  # what failed is said at the end


class _OneLine(logging.Formatter):
    """Without tracebacks, which are in the files."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        return f"labctl watchdog: {printable(record.getMessage())}"
