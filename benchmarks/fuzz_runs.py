"""Run files to fuzz: a small real one, and a child process that reads damaged copies of it."""

from __future__ import annotations

import multiprocessing
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fuzz_damage import Data, scattered
from fuzz_target import Target

from labctl.config import parse_bench
from labctl.model.clock import SteppedClock
from labctl.model.errors import ConfigError, DataError
from labctl.runner.run import RunRequest, run_sweep
from procedures.plan import SweepPlan
from simulators.bench import SimulatedBench
from simulators.presets import scene

ANSWER_S = 60.0
CHILD_BYTES = 3 << 30


class Finding(Exception):  # noqa: N818  it is no error of this program
    """A damaged file did what none may."""


def small_run(folder: Path) -> Path:
    """Sweep three points of one exposure on a simulated bench; return the run file."""
    plan = SweepPlan(start_uj_cm2=40.0, stop_uj_cm2=120.0, points=3, average=1)
    with SimulatedBench(scene("ola", "ideal", 1), SteppedClock()) as bench:
        config = parse_bench(bench.bench_toml(1.0))
        stop, request = threading.Event(), RunRequest(folder, "OLA")
        report = run_sweep(
            config, plan, request, stop=stop, on_event=lambda _event: None, clock=bench.scene.clock
        )
    if report.h5 is None:
        raise RuntimeError(f"the small run has no file: it is {report.status}")
    return report.h5


def run_files(folder: Path, made: Path, stack: ExitStack) -> Target:
    """Return the target that reads damaged run files in a child, which ends with ``stack``."""
    reader = _Reader(folder / "fuzzed.h5")
    stack.callback(reader.end)
    reader.read(made.read_bytes())  # the child's start takes seconds, which are no input's
    return Target("run files", reader.read, [made.read_bytes()], (), damage=scattered)


class _Reader:
    """A child that reads what it is given; another one is started when it has died."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._context = multiprocessing.get_context("spawn")
        self._line: Any = None  # a connection, of another class on each system
        self._process: Any = None

    def read(self, data: Data) -> None:
        """Have the child read a file.

        :raises Finding: it raised something else than a refusal, died, or does not answer.
        """
        line = self._line or self._start()
        self._path.write_bytes(data)
        line.send_bytes(b"read")
        try:
            said = line.recv_bytes().decode() if line.poll(ANSWER_S) else f"hangs for {ANSWER_S:g} s"
        except (EOFError, OSError):
            self._process.join(5.0)
            said = f"the child ended with {self._process.exitcode}"
        if said:
            self.end()
            raise Finding(said)

    def _start(self) -> Any:
        here, there = self._context.Pipe()
        self._process = self._context.Process(target=_serve, args=(str(self._path), there), daemon=True)
        self._process.start()
        there.close()
        self._line = here
        return here

    def end(self) -> None:
        """End the child."""
        if self._process is not None:
            self._process.kill()
            self._process.join(5.0)
        if self._line is not None:
            self._line.close()
        self._line = self._process = None


def _serve(path: str, line: Any) -> None:
    """Read the file whenever told to; say what should not happen."""
    import logging
    import sys

    from labctl.data.verify import findings
    from labctl.runner.resume_plan import stored_plan

    logging.disable(logging.CRITICAL)
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (CHILD_BYTES, CHILD_BYTES))
    while True:
        try:
            line.recv_bytes()
        except EOFError:
            return
        said = ""
        try:
            stored_plan(findings(path).run)
        except (DataError, ConfigError):
            pass
        except BaseException as exc:  # noqa: BLE001  it is the finding
            said = f"{type(exc).__name__}: {exc}"
        line.send_bytes(said[:500].encode())
