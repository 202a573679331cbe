"""Fuzzes the parser of every wire and file format, every one with as many inputs, reproducibly.

An input is a valid one that was damaged (bits, bytes, pieces, numbers), or noise. A parser may refuse
it with the error it promises; anything else, more than a second, or memory that grows, is a finding.
Run files are damaged copies of a small real run and read in a child process, since what reads them is
compiled: a crash there ends the child, not the fuzzing.

    python tests/campaigns/fuzz.py --inputs 1000000 --seed 1
    python tests/campaigns/fuzz.py --inputs 2000 --only "bench files"
"""

from __future__ import annotations

import faulthandler
import logging
import random
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path

import fuzz_answers
import fuzz_files
from fuzz_target import Data, Target, scattered

from benchmarks.benches import run_to_end, scene, served
from benchmarks.tables import head, line
from benchmarks.trials import Failed, Worker, parser
from labctl.data.verify import findings
from labctl.model.errors import ConfigError, DataError
from labctl.model.plan import SweepPlan
from labctl.runner.resume import stored_plan
from labctl.runner.run import run_sweep

LEAST = 20_000
"""Inputs that every parser gets in a full run, at least."""
HANGS_S = 900
MOST_BYTES = 3 << 30
ANSWER_S = 60.0


class Finding(Exception):  # noqa: N818  it is no error of this program
    """A damaged file did what none may."""


def fuzz(target: Target, count: int, seed: int) -> None:
    """Give a parser its inputs; the same ones whatever the others get."""
    rng = random.Random(f"{seed} {target.name}")
    for sound in target.seeds:
        target.run(sound)
    for number in range(max(count - len(target.seeds), 0)):
        if number % 100 == 0:  # a parser that never returns ends the program, and says where it was
            faulthandler.dump_traceback_later(HANGS_S, exit=True)
        target.run(target.damage(rng.choice(target.seeds), rng))
    faulthandler.cancel_dump_traceback_later()


def show(target: Target, before_mib: float) -> None:
    """Print a parser's line of the table, and its findings."""
    growth = memory_mib() - before_mib
    slowest = f"{target.slowest_s * 1e3:.0f}"
    print(line(target.name, target.runs, slowest, f"{growth:.0f}", len(target.findings)), flush=True)
    for finding in target.findings:
        print(f"    {finding}", flush=True)


def memory_mib() -> float:
    """Return the highest memory so far, in MiB; 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0.0
    else:  # noqa: RET505  mypy checks only the branch of its platform
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _bounded() -> None:
    """Let memory without bounds end in an error, which is a finding."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))


def small_run(folder: Path) -> Path:
    """Sweep three points of one exposure on a simulated bench; return the run file."""
    plan = SweepPlan(start_uj_cm2=40.0, stop_uj_cm2=120.0, points=3, average=1)
    with served(scene("ola", "ideal", 1)) as (bench, config):
        path: Path = run_to_end(run_sweep, bench, config, plan, folder).h5
    return path


def refused_or_read(path: Path) -> bool:
    """Read a run file, in a process of its own: what reads it is compiled, and a crash ends only that one."""
    logging.disable(logging.CRITICAL)
    _bounded()
    with suppress(DataError, ConfigError):
        stored_plan(findings(path).run)
    return True


def run_files(folder: Path, made: Path, reader: Worker[Path, bool]) -> Target:
    """Return the target that reads damaged run files in a child.

    :param reader: ends with the fuzzing; the child's start takes seconds, which are no input's.
    """
    path = folder / "fuzzed.h5"

    def read(data: Data) -> None:
        path.write_bytes(data)
        if isinstance(outcome := reader.outcome(path), Failed):
            raise Finding(outcome.what[:500])

    read(made.read_bytes())
    return Target("run files", read, [made.read_bytes()], (), damage=scattered)


def main() -> int:
    """Print a line a parser; the exit code is the number of those with findings."""
    options = parser(__doc__, inputs=LEAST, seed=1)
    options.add_argument("--only", action="append", help="the name of a parser; may be given again")
    args = options.parse_args()
    logging.disable(logging.CRITICAL)
    reader: Worker[Path, bool] = Worker(refused_or_read, ANSWER_S)
    with tempfile.TemporaryDirectory() as name, closing(reader):
        folder = Path(name)
        made = small_run(folder / "seed")
        every = [*fuzz_answers.targets(), *fuzz_files.targets(folder, made), run_files(folder, made, reader)]
        every = [target for target in every if not args.only or target.name in args.only]
        _bounded()
        print(head("parser", "inputs", "slowest, ms", "memory, MiB more", "findings"), flush=True)
        for target in every:
            before = memory_mib()
            fuzz(target, -(-args.inputs // len(every)), args.seed)
            show(target, before)
    print(f"\n{sum(t.runs for t in every)} inputs in all; {memory_mib():.0f} MiB at most")
    return sum(bool(t.findings) for t in every)


if __name__ == "__main__":
    sys.exit(main())
