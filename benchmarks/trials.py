"""The one trial runner: a campaign's options, and its cases in processes that may die or hang."""

from __future__ import annotations

import argparse
import faulthandler
import logging
import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, Generic, TypeVar

C = TypeVar("C")
T = TypeVar("T")
Run = Callable[[C], T]


def parser(doc: str | None, **defaults: float | str) -> argparse.ArgumentParser:
    """Return a parser that shows a script's docstring, with an option for each name: its default."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    for name, value in defaults.items():
        made.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    return made


@dataclass(frozen=True)
class Failed:
    """A case without an outcome.

    :ivar lost: its process died or was ended; otherwise the trial itself raised.
    """

    what: str
    lost: bool


class Worker(Generic[C, T]):
    """A process with at most one case; where it died or hung, the next case gets another one.

    :param run: what is done with a case, and never returns None; it can be pickled.
    :param hangs_s: wall time after which the process is ended.
    """

    def __init__(self, run: Run[C, T], hangs_s: float) -> None:
        self._run, self._hangs_s = run, hangs_s
        self._process: Any = None
        self.line: Any = None  # a connection, of another class on each system
        self.case: C | None = None
        self._due_s = 0.0

    def give(self, case: C) -> None:
        """Have it run a case."""
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self.line, there = context.Pipe()
            self._process = context.Process(target=_serve, args=(there, self._run, self._hangs_s))
            self._process.start()
            there.close()
        self.case, self._due_s = case, time.monotonic() + self._hangs_s
        self.line.send(case)

    def answer(self, patience_s: float = 0.0) -> T | Failed | None:
        """Return what came of its case, None if it is still at it. A death is an outcome too."""
        try:
            if self.line.poll(patience_s):
                outcome: T | Failed = self.line.recv()
                self.case = None
                return outcome
        except (EOFError, OSError):
            self._process.join(10)
            return self._lost(f"its process ended with {self._process.exitcode}")
        if time.monotonic() > self._due_s:
            return self._lost(f"its process was ended after {self._hangs_s:g} s")
        return None

    def outcome(self, case: C) -> T | Failed:
        """Run one case and wait for what comes of it."""
        self.give(case)
        while (found := self.answer(1.0)) is None:
            pass
        return found

    def _lost(self, what: str) -> Failed:
        self.close()
        return Failed(what, lost=True)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join(10)
            self.line.close()
        self._process, self.case = None, None


def _serve(line: Any, run: Run[C, T], hangs_s: float) -> None:
    logging.getLogger().addHandler(logging.NullHandler())  # as the command line does: nothing is printed
    while True:
        try:
            case = line.recv()
        except EOFError:
            return
        faulthandler.dump_traceback_later(0.9 * hangs_s)  # says where it hangs before it is ended
        try:
            outcome: T | Failed = run(case)
        except BaseException as exc:  # noqa: BLE001  it must not pass for a case that holds
            outcome = Failed(f"{type(exc).__name__}: {exc}", lost=False)
        faulthandler.cancel_dump_traceback_later()
        line.send(outcome)


def outcomes(
    run: Run[C, T], cases: Sequence[C], jobs: int, hangs_s: float = 3600.0
) -> Iterator[tuple[C, T | Failed]]:
    """Yield every case with its outcome, as they come; never fewer than there are cases."""
    left = deque(cases)
    workers = [Worker(run, hangs_s) for _ in range(min(jobs, len(left)))]
    try:
        while left or any(worker.case is not None for worker in workers):
            for worker in workers:
                case = worker.case
                if case is not None and (outcome := worker.answer()) is not None:
                    yield case, outcome
                if worker.case is None and left:
                    worker.give(left.popleft())
            wait([worker.line for worker in workers if worker.case is not None], timeout=1.0)
    finally:
        for worker in workers:
            worker.close()


def found(run: Run[C, T], cases: Sequence[C], jobs: int, hangs_s: float = 3600.0) -> Iterator[T]:
    """Yield the outcomes alone, as they come.

    :raises RuntimeError: a case has none.
    """
    for case, outcome in outcomes(run, cases, jobs, hangs_s):
        if isinstance(outcome, Failed):
            raise RuntimeError(f"{case}: {outcome.what}")
        yield outcome
