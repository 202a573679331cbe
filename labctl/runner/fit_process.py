"""The process in which a run's fits are made, so that one that hangs can be ended.

A fit may hold the interpreter for ever: numpy's linear algebra, short of memory, tries again and again to get
some, and then no thread of its process hears a Ctrl-C. Here it is waited for with an end, and killed.

A process that owes nothing when its run ends serves the next run of this program: a new one would load numpy
and scipy again.
"""

from __future__ import annotations

import atexit
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


class _Spare:
    """The process that waits for the next run, at most one; none is left when the program ends."""

    def __init__(self) -> None:
        self._kept: tuple[str, subprocess.Popen[str]] | None = None
        self._lock = threading.Lock()

    def take(self) -> subprocess.Popen[str] | None:
        """Return a living process of the fits that owes nothing, if there is one."""
        with self._lock:
            kept, self._kept = self._kept, None
        if kept is not None and kept[0] == MODULE and kept[1].poll() is None:
            return kept[1]
        if kept is not None:
            _kill(kept[1])
        return None

    def keep(self, child: subprocess.Popen[str]) -> None:
        """Keep one that owes nothing, or end it where one is kept."""
        with self._lock:
            if self._kept is None:
                self._kept = MODULE, child
                return
        _kill(child)

    def end(self) -> None:
        """End the one that is kept."""
        with self._lock:
            kept, self._kept = self._kept, None
        if kept is not None:
            _kill(kept[1])


SPARE = _Spare()
atexit.register(SPARE.end)


def _kill(child: subprocess.Popen[str]) -> None:
    child.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(1.0)  # one that the system itself cannot end is left behind
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


class FitProcess:
    """A context manager; the process starts when it is entered, unless an earlier run left one, and again
    after it was ended."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None
        self._asking, self._starting = threading.Lock(), threading.Lock()
        self._left = False

    def __enter__(self) -> FitProcess:
        with contextlib.suppress(FitFailed):
            self._living()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the process to the next run, but end one that owes an answer; no other is started."""
        with self._starting:
            self._left = True
        if not self._asking.acquire(blocking=False):
            self._end(self._child)
            return
        try:
            child, self._child = self._child, None
            if child is not None:
                SPARE.keep(child)
        finally:
            self._asking.release()

    def _end(self, child: subprocess.Popen[str] | None) -> None:
        """End a process at once; another that took its place meanwhile stays."""
        if child is None:
            return
        if self._child is child:
            self._child = None
        _kill(child)

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
        line = json.dumps({**question, "within_s": within_s}) + "\n"
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
        with self._starting:
            if self._left:
                raise FitFailed("could not begin: its run is over")
            if self._child is not None and self._child.poll() is not None:
                self._end(self._child)
            if self._child is None:
                self._child = SPARE.take() or _started()
            return self._child


def _started() -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
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
