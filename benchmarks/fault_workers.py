"""Processes that run cells of the fault matrix: one that dies or hangs is told, another takes its place."""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import fault_cells
import fault_processes
from fault_records import Cell, Outcome
from fault_truth import Reference

HANGS_S = 240.0
"""Wall time after which a cell's process is ended: every deadline in a run together is far below."""
TRACE_S = HANGS_S - 30.0


def run_one(cell: Cell, reference: Reference, speed: float | None) -> Outcome:
    """Run a cell in this process, in a directory of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if cell.procedure == "process":
            return fault_processes.run(cell, Path(folder))
        return fault_cells.run(cell, reference, Path(folder), speed)


def _serve(line: Connection, reference: Reference, speed: float | None) -> None:
    logging.getLogger().addHandler(logging.NullHandler())  # as the command line does: nothing is printed
    while (cell := line.recv()) is not None:
        faulthandler.dump_traceback_later(TRACE_S)  # says where it hangs before it is ended
        try:
            outcome = run_one(cell, reference, speed)
        except BaseException as exc:  # noqa: BLE001  a bug of the matrix, which must not pass for a cell that holds
            outcome = Outcome(cell, ended="broken", error=f"{type(exc).__name__}: {exc}")
            outcome.problems.append(f"the cell itself failed: {outcome.error}")
        faulthandler.cancel_dump_traceback_later()
        line.send(outcome)


class Worker:
    """A process with at most one cell."""

    def __init__(self, reference: Reference, speed: float | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.line, there = context.Pipe()
        self._process: Any = context.Process(target=_serve, args=(there, reference, speed), daemon=False)
        self._process.start()
        there.close()
        self.cell: Cell | None = None
        self._due_s = 0.0

    def give(self, cell: Cell) -> None:
        """Have it run a cell."""
        self.cell, self._due_s = cell, time.monotonic() + HANGS_S
        self.line.send(cell)

    def answer(self) -> Outcome | None:
        """Return what came of its cell, None if it is still at it. A death is an outcome too."""
        assert self.cell is not None
        try:
            if self.line.poll():
                outcome: Outcome = self.line.recv()
                self.cell = None
                return outcome
        except (EOFError, OSError):
            self._process.join(10)
            return self._lost(f"its process ended with {self._process.exitcode}")
        if time.monotonic() > self._due_s:
            return self._lost(f"its process was ended after {HANGS_S:g} s")
        return None

    def _lost(self, what: str) -> Outcome:
        assert self.cell is not None
        outcome = Outcome(self.cell, ended="lost", error=what, wall_s=HANGS_S)
        outcome.problems.append(what)
        self.end()
        return outcome

    @property
    def is_lost(self) -> bool:
        """Whether it can take no more cells."""
        return self.line.closed

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join(10)
        self.line.close()


def outcomes(
    cells: Sequence[Cell], jobs: int, reference: Reference, speed: float | None
) -> Iterator[Outcome]:
    """Yield the outcome of every cell, as they come; never fewer than there are cells."""
    left = deque(cells)
    workers = [Worker(reference, speed) for _ in range(min(jobs, len(left)))]
    try:
        while left or any(worker.cell for worker in workers):
            for number, worker in enumerate(workers):
                if worker.cell is not None and (outcome := worker.answer()) is not None:
                    yield outcome
                if worker.is_lost:
                    workers[number] = worker = Worker(reference, speed)
                if worker.cell is None and left:
                    worker.give(left.popleft())
            wait([worker.line for worker in workers if worker.cell], timeout=1.0)
    finally:
        for worker in workers:
            if not worker.is_lost:
                worker.end()
