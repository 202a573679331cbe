"""One log file a run: what every room said while it ran, to be read when something went wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from labctl.model.errors import DataError
from labctl.model.untrusted import PrintableFormatter

_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(threadName)s %(name)s: %(message)s"


class RunLog(logging.FileHandler):
    """A full disk must not end a run because its log cannot grow."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Say nothing."""

    def go_on_in(self, path: Path) -> None:
        """Write what follows into another file, where the run is now."""
        self.acquire()
        try:
            self.close()
            self.baseFilename = str(path)
            with suppress(OSError):
                self.stream = self._open()
        finally:
            self.release()


@contextmanager
def run_log(path: Path) -> Iterator[RunLog]:
    """Send all logging of level INFO and above to ``path`` while inside.

    :raises DataError: the file cannot be written.
    """
    try:
        handler = RunLog(path, encoding="utf-8", errors="backslashreplace")
    except OSError as exc:
        raise DataError(f"{path}: cannot be written: {exc.strerror or exc}") from exc
    handler.setFormatter(PrintableFormatter(_FORMAT, "%Y-%m-%dT%H:%M:%S"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(min(level or logging.INFO, logging.INFO))
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()
