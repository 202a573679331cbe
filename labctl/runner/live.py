"""The running evaluation: made in a process of its own, latest points win, no point ever waits for it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from labctl.model.results import SweepResult
from labctl.runner.events import Evaluated
from labctl.runner.fit_process import Answer, FileQuestion, Fits

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""Fits that may fail before the sweep goes on without a running threshold."""
SUBJECT = ("the run that goes on",)


class LiveFit:
    """A context manager; :meth:`offer` never blocks, results come through ``on_result`` in another thread.

    :param question: what to ask of the run's file as it then is.
    :param fits: where it is asked.
    """

    def __init__(
        self, question: Callable[[], FileQuestion], on_result: Callable[[Evaluated], None], fits: Fits
    ) -> None:
        self._question, self._on_result, self._fits = question, on_result, fits
        self._left = ATTEMPTS
        self._closing = False

    def __enter__(self) -> LiveFit:
        return self

    def __exit__(self, *_: object) -> None:
        """Ask nothing more, and wait for nothing: the bench is not safe yet."""
        self._closing = True
        self._fits.forget(SUBJECT)

    def offer(self) -> None:
        """Say that there is one more point in the file; what was not evaluated yet is forgotten."""
        if self._left and not self._closing:
            self._fits.ask(SUBJECT, self._question, self._take)

    def _take(self, answer: Answer) -> None:
        if self._closing:
            return
        if isinstance(answer.found, SweepResult):
            points = answer.found.threshold.points
            self._on_result(Evaluated(0 if points is None else points.signal.size, answer.found))
        else:
            self._left -= 1
            log.warning("the running fit %s", answer.problem)
