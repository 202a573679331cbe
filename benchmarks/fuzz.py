"""Fuzzes the parser of every wire and file format, fast, in one process; run files in children.

An input is a valid one that was damaged (bits, bytes, pieces, numbers), or noise. A parser may refuse
it with the error it promises; anything else, more than a second, or memory that grows, is a finding.

    python benchmarks/fuzz.py --seconds 120 --seed 1
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fuzz_targets import MOST_FINDINGS, Data, Target, targets

from labctl.model.errors import ConfigError, DataError

NUMBERS = (
    b"0",
    b"-1",
    b"nan",
    b"inf",
    b"-inf",
    b"1e999",
    b"9" * 400,
    b"1e-400",
    b"0x10",
    b"",
    b"\xff",
    b"1_0",
)
WORDS = (
    b"\r\n",
    b"\n",
    b"\r",
    b">",
    b"?",
    b";",
    b",",
    b'"',
    b"=",
    b"[[",
    b"]]",
    b"{",
    b"}",
    b"\0",
    b"..",
    b"*",
    b"#",
)


def damaged(seed: Data, rng: random.Random) -> Data:
    """Return an input with one to six kinds of damage."""
    data = bytearray(seed)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        what = rng.randrange(8)
        if what == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif what == 1 and data:
            data[at % len(data)] = rng.randrange(256)
        elif what == 2:
            del data[at : at + rng.randint(1, 8)]
        elif what == 3:
            data[at:at] = rng.randbytes(rng.randint(1, 8))
        elif what == 4:
            data[at : at + rng.randint(0, 4)] = rng.choice(NUMBERS)
        elif what == 5:
            data[at:at] = rng.choice(WORDS) * rng.choice((1, 1, 1, 50))
        elif what == 6 and data:
            piece = data[at : at + rng.randint(1, 30)]
            data[rng.randrange(len(data)) :] = piece * rng.randint(1, 3)
        else:
            del data[at:]
    return bytes(data) if rng.random() > 0.03 else rng.randbytes(rng.randint(0, 300))


def _child(path: str, queue: Any) -> None:
    """Read run files for ever; the parent counts and kills."""
    import resource

    from labctl.data import read_run
    from labctl.data.verify import verify
    from labctl.runner.resume_plan import stored_plan

    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
    while (data := queue.get()) is not None:
        Path(path).write_bytes(data)
        try:
            run = read_run(path)
            verify(path)
            stored_plan(run)
            queue.task_done()
        except (DataError, ConfigError):
            queue.task_done()
        except BaseException as exc:
            Path(path + ".finding").write_text(f"{type(exc).__name__}: {exc}")
            raise


@contextmanager
def run_files(folder: Path, made: Path) -> Iterator[Callable[[random.Random], str]]:
    """Give a function that feeds one damaged run file to a child; it returns what is wrong, if anything."""
    context = multiprocessing.get_context("spawn")
    state: dict[str, Any] = {}
    good = made.read_bytes()
    path = folder / "fuzzed.h5"

    def start() -> None:
        state["queue"] = context.JoinableQueue()
        state["process"] = context.Process(target=_child, args=(str(path), state["queue"]), daemon=True)
        state["process"].start()

    def feed(rng: random.Random) -> str:
        data = bytearray(good)
        for _ in range(rng.randint(1, 12)):
            at = rng.randrange(len(data))
            data[at : at + 1] = rng.choice((bytes([rng.randrange(256)]), b"\xff", b"\0"))
        if rng.random() < 0.1:
            del data[rng.randrange(len(data)) :]
        if "process" not in state or not state["process"].is_alive():
            start()
        state["queue"].put(bytes(data))
        end = time.monotonic() + 20.0
        while state["queue"]._unfinished_tasks.get_value() and state["process"].is_alive():
            if time.monotonic() > end:
                state["process"].kill()
                return "hangs"
            state["process"].join(0.0005)
        if state["process"].is_alive():
            return ""
        note = Path(str(path) + ".finding")
        return note.read_text() if note.exists() else f"child ended with {state['process'].exitcode}"

    try:
        yield feed
    finally:
        if "process" in state:
            state["process"].kill()


def fuzz(every: list[Target], seconds: float, rng: random.Random) -> None:
    """Give each target its share of the time."""
    share = seconds / sum(target.weight for target in every)
    for target in every:
        for seed in target.seeds:
            target.run(seed)
        end = time.monotonic() + share * target.weight
        while time.monotonic() < end:
            for _ in range(20):
                target.run(damaged(rng.choice(target.seeds), rng))
                if time.monotonic() > end:
                    break
        show(target)


def show(target: Target) -> None:
    """Print a parser's line and its findings."""
    print(f"{target.name:28s} {target.runs:9d} inputs, slowest {target.slowest_s * 1e3:7.1f} ms", flush=True)
    for finding in target.findings:
        print(f"    {finding}", flush=True)


def main() -> int:
    """Print a line a parser; the exit code is the number of those with findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--run-file", type=Path, help="a sound run, to be damaged and read in a child")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        every = targets(Path(name))
        fuzz(every, args.seconds, rng)
        if args.run_file:
            every.append(_fuzz_runs(Path(name), args, rng))
            show(every[-1])
    print(f"{sum(t.runs for t in every)} inputs in all{_memory()}")
    return sum(bool(t.findings) for t in every)


def _fuzz_runs(folder: Path, args: argparse.Namespace, rng: random.Random) -> Target:
    target = Target("run files", lambda _d: None, [], ())
    with run_files(folder, args.run_file) as feed:
        end = time.monotonic() + args.seconds / 4
        while time.monotonic() < end:
            began = time.perf_counter()
            if (wrong := feed(rng)) and len(target.findings) < MOST_FINDINGS:
                target.findings.append(wrong[:200])
            target.runs, target.slowest_s = (
                target.runs + 1,
                max(target.slowest_s, time.perf_counter() - began),
            )
    return target


def _memory() -> str:
    if sys.platform == "win32":
        return ""
    import resource

    return f"; {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB at most"


if __name__ == "__main__":
    sys.exit(main())
