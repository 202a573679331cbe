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
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import labctl
from labctl.model.clock import SLICE_S, Stop
from labctl.model.mapping import plain, record_of
from labctl.model.plan import Ending
from labctl.model.records import FloatArray
from labctl.model.results.sweep import Edits, PeakMark, SweepResult


def child_environment() -> dict[str, str]:
    """Return an environment in which a child finds this very labctl, installed or not."""
    root = str(Path(labctl.__file__).resolve().parents[1])
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": root + (os.pathsep + known if known else "")}


def own_group() -> dict[str, object]:
    """Return the Popen arguments that keep the terminal's Ctrl-C from a child: labctl ends it itself."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    else:  # noqa: RET505  mypy checks only the branch of its platform
        return {"start_new_session": True}


log = logging.getLogger(__name__)

MODULE = "labctl.runner.fit_child"
EARLIER_S = 2.0
"""Wall time for an earlier question; then its process is ended for the sake of the next."""


LONGEST_S = 60.0
"""Wall time for a question that nobody waits for."""


@dataclass(frozen=True, slots=True)
class FileQuestion:
    """What is to be said of a file, run or table, as it is when it is read?

    :param edits: what was changed by hand; None: what is stored beside the run.
    :param shots: whether to say what single shots show; else what the file says of them holds.
    :param ending: of a run that goes on, whose file does not say it yet, as are those that follow.
    """

    DO: ClassVar[str] = "evaluate"

    path: str
    edits: Edits | None = None
    shots: bool = False
    ending: Ending | None = None
    planned: int | None = None
    dose_uj_cm2: float | None = None
    sample_temperature_c: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class PeaksQuestion:
    """Which narrow peaks has a spectrum? Arrays of shape ``(pixel,)``, counts less the dark.

    :param clipped: where raw counts were saturated: such a peak has no width.
    """

    DO: ClassVar[str] = "peaks"

    wavelength_nm: FloatArray
    counts: FloatArray
    clipped: NDArray[np.bool_]
    band_nm: tuple[float, float]
    resolution_nm: float | None = None


Question = FileQuestion | PeaksQuestion
Subject = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the process says of a subject; without it ``problem`` says why."""

    subject: Subject
    number: int
    found: SweepResult | tuple[PeakMark, ...] | None
    problem: str = ""


class FitFailed(Exception):  # noqa: N818
    """There is no answer; the text says why: "did not end within 120 s", "was cancelled"..."""


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
        if not self._asking.acquire(timeout=min(EARLIER_S, within_s)):
            self._end(self._child)  # whose question gets no answer then
            if not self._asking.acquire(timeout=EARLIER_S):
                raise FitFailed("could not start: an earlier fit cannot be ended")
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
                    raise FitFailed("was cancelled") from None
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
                raise FitFailed("could not start: its run has ended")
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
        log.exception("the fit process could not be started")
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


class Fits:
    """The questions to one process, for a run and for a window: for each subject the latest one wins.

    :param process: made, and started, by default.
    """

    def __init__(self, process: FitProcess | None = None) -> None:
        self.process = process or FitProcess()
        self._waiting: dict[Subject, tuple[int, Callable[[], Question], Callable[[Answer], None]]] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = self._busy = False
        self._urgent = 0
        self._asked = 0

    def __enter__(self) -> Fits:
        self.process.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, subject: Subject, question: Callable[[], Question], tell: Callable[[Answer], None]) -> int:
        """Ask; an older question on the same subject that was not begun is forgotten. Never waits.

        :param question: makes the question, in another thread.
        :param tell: called in that thread with the answer; must not wait.
        :returns: a number that the answer carries.
        """
        with self._changed:
            self._asked += 1
            self._waiting.pop(subject, None)
            self._waiting[subject] = (self._asked, question, tell)
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._serve, name="fits", daemon=True)
                self._thread.start()
            self._changed.notify()
            return self._asked

    def forget(self, subject: Subject) -> None:
        """Ask nothing of a subject any more; what is being answered is."""
        with self._changed:
            self._waiting.pop(subject, None)

    def evaluate(self, question: FileQuestion, within_s: float, stop: Stop | None = None) -> SweepResult:
        """Ask before everything that waits, and wait for the answer.

        :param within_s: wall time.
        :raises FitFailed: there is none.
        """
        with self._changed:
            self._urgent += 1
        try:
            return record_of(SweepResult, _found(self.process, question, within_s, stop))
        finally:
            with self._changed:
                self._urgent -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """End the process; the thread follows by itself. Never waits for an answer."""
        with self._changed:
            self._closing = True
            self._waiting.clear()
            self._changed.notify()
        self.process.__exit__()

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be asked, or to be answered."""
        with self._changed:
            return not self._waiting and not self._busy

    def _serve(self) -> None:
        while (taken := self._take()) is not None:
            subject, (number, question, tell) = taken
            answer = self._answer(subject, number, question)
            with self._changed:
                self._busy = False
                closing = self._closing
            if not closing:
                tell(answer)

    def _take(self) -> tuple[Subject, tuple[int, Callable[[], Question], Callable[[Answer], None]]] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing or (bool(self._waiting) and not self._urgent))
            if self._closing:
                return None
            subject = next(iter(self._waiting))
            self._busy = True
            return subject, self._waiting.pop(subject)

    def _answer(self, subject: Subject, number: int, question: Callable[[], Question]) -> Answer:
        """Ask, and once more if the process was ended for the sake of another question."""
        problem = ""
        for _ in range(2):
            with self._changed:
                self._changed.wait_for(lambda: self._closing or not self._urgent)
                if self._closing:
                    break
            try:
                asked = question()
                found = _found(self.process, asked, LONGEST_S)
                if isinstance(asked, FileQuestion):
                    return Answer(subject, number, record_of(SweepResult, found))
                return Answer(subject, number, tuple(record_of(PeakMark, one) for one in found))
            except FitFailed as exc:
                problem = str(exc)
            except Exception as exc:  # whoever asked goes on without an answer
                log.exception("while waiting for the fit process")
                problem = f"failed: {type(exc).__name__}: {exc}"
        return Answer(subject, number, None, problem)


def _found(process: FitProcess, question: Question, within_s: float, stop: Stop | None = None) -> Any:
    asked = {"do": question.DO, **plain(question)}
    answer = process.ask(asked, within_s, stop)
    if "problem" in answer:
        raise FitFailed(f"failed: {answer['problem']}")
    return answer["found"]
