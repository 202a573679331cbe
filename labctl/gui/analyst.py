"""Asks the fitting process, in a thread that may wait; for each subject the latest question wins."""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from labctl.runner.children import child_environment, own_group

log = logging.getLogger(__name__)
_LONGEST_S = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the fitting process says of a subject; ``found`` holds ``error`` where it could not."""

    subject: tuple[str, ...]
    number: int
    found: Mapping[str, Any]


class Analyst:
    """A process, and a thread that speaks with it. Started with the first question.

    :param tell: called in that thread with each answer; must not wait.
    """

    def __init__(self, tell: Callable[[Answer], None]) -> None:
        self._tell = tell
        self._waiting: dict[tuple[str, ...], tuple[int, Callable[[], Mapping[str, Any]]]] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._asked = 0
        self._child: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._serve, name="analyst", daemon=True)
        self._started = False

    def ask(self, subject: tuple[str, ...], question: Callable[[], Mapping[str, Any]]) -> int:
        """Ask; an older question on the same subject that was not begun is forgotten. Never waits.

        :param question: makes the question, in the other thread.
        :returns: a number that the answer carries.
        """
        with self._changed:
            self._asked += 1
            self._waiting.pop(subject, None)
            self._waiting[subject] = (self._asked, question)
            if not self._started:
                self._started = True
                self._thread.start()
            self._changed.notify()
            return self._asked

    def close(self) -> None:
        """End the process; the thread follows by itself. Never waits."""
        with self._changed:
            self._closing = True
            self._changed.notify()
            child = self._child
        if child is not None:
            with contextlib.suppress(OSError):
                child.kill()

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be asked."""
        with self._changed:
            return not self._waiting

    def _serve(self) -> None:
        try:
            while (taken := self._take()) is not None:
                subject, number, question = taken
                self._tell(Answer(subject, number, self._found(question)))
        finally:
            self._end_child()

    def _take(self) -> tuple[tuple[str, ...], int, Callable[[], Mapping[str, Any]]] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing or bool(self._waiting))
            if self._closing:
                return None
            subject = next(iter(self._waiting))
            number, question = self._waiting.pop(subject)
            return subject, number, question

    def _found(self, question: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        try:
            child = self._living()
            assert child.stdin is not None
            assert child.stdout is not None
            watch = threading.Timer(_LONGEST_S, child.kill)
            watch.daemon = True
            watch.start()
            try:
                child.stdin.write(json.dumps(question(), allow_nan=False) + "\n")
                child.stdin.flush()
                found = json.loads(child.stdout.readline())
            finally:
                watch.cancel()
        except Exception as exc:
            self._end_child()
            if not self._closing:
                log.exception("the fitting process gave no answer")
            return {"error": f"the fitting process gave no answer: {type(exc).__name__}"}
        assert isinstance(found, dict)
        return found

    def _living(self) -> subprocess.Popen[str]:
        if self._child is None or self._child.poll() is not None:
            self._end_child()
            child: subprocess.Popen[str] = subprocess.Popen(  # type: ignore[call-overload]
                [sys.executable, "-m", "labctl.gui.analysis_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
                env=child_environment(),
                **own_group(),
            )
            with self._changed:
                self._child = child
                if self._closing:
                    child.kill()
        assert self._child is not None
        return self._child

    def _end_child(self) -> None:
        with self._changed:
            child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
