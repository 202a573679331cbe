"""Fuzzes the parser of every wire and file format, every one with as many inputs, reproducibly.

An input is a valid one that was damaged (bits, bytes, pieces, numbers), or noise. A parser may refuse
it with the error it promises; anything else, more than a second, or memory that grows, is a finding.
Run files are damaged copies of a small real run and read in a child process, since what reads them is
compiled: a crash there ends the child, not the fuzzing.

    python benchmarks/fuzz.py --inputs 1000000 --seed 1
    python benchmarks/fuzz.py --inputs 2000 --only "bench files"
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import random
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import fuzz_more
from fuzz_runs import run_files, small_run
from fuzz_target import Target
from fuzz_targets import targets

LEAST = 20_000
"""Inputs that every parser gets in a full run, at least."""
HANGS_S = 900
MOST_BYTES = 3 << 30


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
    print(
        f"| {target.name} | {target.runs} | {target.slowest_s * 1e3:.0f} | {growth:.0f} | "
        f"{len(target.findings)} |",
        flush=True,
    )
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


def main() -> int:
    """Print a line a parser; the exit code is the number of those with findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=LEAST, help="of all parsers together")
    parser.add_argument("--only", action="append", help="the name of a parser; may be given again")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        made = small_run(folder / "seed")
        more = fuzz_more.targets(folder, made)
        every = [*targets(folder, made), *more, run_files(folder, made, stack)]
        if args.only:
            every = [target for target in every if target.name in args.only]
        _bounded()
        print("| parser | inputs | slowest, ms | memory, MiB more | findings |")
        print("|---|---|---|---|---|", flush=True)
        for target in every:
            before = memory_mib()
            fuzz(target, -(-args.inputs // len(every)), args.seed)
            show(target, before)
    print(f"\n{sum(t.runs for t in every)} inputs in all; {memory_mib():.0f} MiB at most")
    return sum(bool(t.findings) for t in every)


if __name__ == "__main__":
    sys.exit(main())
