"""The process in which a run's fits are made, so that one that hangs can be ended.

A fit may hold the interpreter for ever: numpy's linear algebra, short of memory, tries again and again to get
some, and then no thread of its process hears a Ctrl-C. Here it is waited for with an end, and killed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping

from labctl.model.clock import SLICE_S, Stop
from labctl.runner.children import child_environment, own_group

log = logging.getLogger(__name__)

MODULE = "labctl.runner.fit_child"
EARLIER_S = 0.5
"""Wall time for an earlier question; then its process is ended for the sake of the next."""


class FitFailed(Exception):  # noqa: N818
    """There is no answer; the text says why: "did not end within 120 s", "was broken off"..."""


class FitProcess:
    """A context manager; the process is started when it is entered, and again after it was ended."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None
        self._asking = threading.Lock()

    def __enter__(self) -> FitProcess:
        with contextlib.suppress(FitFailed):
            self._living()
        return self

    def __exit__(self, *_: object) -> None:
        self._end(self._child)

    def _end(self, child: subprocess.Popen[str] | None) -> None:
        """End a process at once; another that took its place meanwhile stays."""
        if child is None:
            return
        if self._child is child:
            self._child = None
        child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(1.0)  # one that the system itself cannot end is left behind
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def ask(
        self, question: Mapping[str, object], within_s: float, stop: Stop | None = None
    ) -> dict[str, object]:
        """Ask one question and wait for its answer; one that another thread asked before comes first.

        :param within_s: wall time, counted in slices: what stood still has not waited.
        :raises FitFailed: there is no answer; a process that owes one has been ended.
        """
        if not self._asking.acquire(timeout=EARLIER_S):
            self._end(self._child)  # whose question gets no answer then
            if not self._asking.acquire(timeout=EARLIER_S):
                raise FitFailed("could not begin: an earlier one cannot be ended")
        try:
            return self._answered(question, within_s, stop)
        finally:
            self._asking.release()

    def _answered(
        self, question: Mapping[str, object], within_s: float, stop: Stop | None
    ) -> dict[str, object]:
        child, answers = self._living(), queue.SimpleQueue[str]()
        line = json.dumps(question) + "\n"
        threading.Thread(target=_talk, args=(child, line, answers), name="fit", daemon=True).start()
        for _ in range(max(math.ceil(within_s / SLICE_S), 1)):
            try:
                answer = answers.get(timeout=SLICE_S)
            except queue.Empty:
                if stop is not None and stop.is_set():
                    self._end(child)
                    raise FitFailed("was broken off") from None
                continue
            try:
                found = json.loads(answer)
            except ValueError:
                self._end(child)
                raise FitFailed("failed, and its process has ended") from None
            assert isinstance(found, dict)
            return found
        self._end(child)
        raise FitFailed(f"did not end within {within_s:g} s")

    def _living(self) -> subprocess.Popen[str]:
        if self._child is not None and self._child.poll() is not None:
            self._end(self._child)
        if self._child is None:
            try:
                self._child = subprocess.Popen(  # type: ignore[call-overload]
                    [sys.executable, "-P", "-m", MODULE],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    encoding="utf-8",
                    env=child_environment(),
                    **own_group(),
                )
            except OSError as exc:
                log.exception("the process of the fits could not be started")
                raise FitFailed(f"could not be started: {exc}") from exc
        return self._child


def _talk(child: subprocess.Popen[str], line: str, answers: queue.SimpleQueue[str]) -> None:
    """Write the question and read the answer; a process that hangs reads no question either."""
    answer = ""
    with contextlib.suppress(OSError, ValueError):
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(line)
        child.stdin.flush()
        answer = child.stdout.readline()
    answers.put(answer)
