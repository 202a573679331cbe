"""How long a bench stays unsafe after its program ends, by the way it ends. Prints a table.

The simulated bench runs in a process of its own, at real time. The program sweeps with the shutter open from
point to point and is ended at a random moment after its first. Other programs (an alignment, a stability run,
calibrations behind the shutter and before it) are killed once they measure. The truth is asked of the
simulated shutter and mount over connections of our own, which queue behind whoever is connected: times are
upper bounds (medians and longest), and "seen open" counts those whose shutter was still open at the first
look.

    python -m benchmarks.safety.safe_state --trials 10 > table.md
"""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.programs import WireTruth, labctl, simulated, started, until_word
from benchmarks.tables import column, show, table
from benchmarks.trials import parser
from labctl.model.clock import ScaledClock

LIMIT_S = 20.0
WALL = ScaledClock()

SCRIPT = """
import os, signal, sys, threading, time
from pathlib import Path
from labctl import SweepPlan, open_bench, sweep

def say(word):
    print(word, time.time(), flush=True)

def fail():
    say("end"); raise RuntimeError("on purpose")

def abort():
    say("end"); os.abort()

def freeze():
    say("end"); os.kill(os.getpid(), signal.SIGSTOP)

def leave():
    say("end"); os._exit(0)

def run():
    plan = SweepPlan(start_uj_cm2=30, stop_uj_cm2=160, points=400, average=2, keep_open=True)
    with open_bench(sys.argv[1], log_file=Path(sys.argv[2])) as bench:
        for point in sweep(bench, plan):
            say("point")
            if enough.is_set() and bench.roles.shutter.is_open():
                at_end()

enough, over = threading.Event(), threading.Event()
threading.Timer(float(sys.argv[3]), enough.set).start()
"""
IN_MAIN = "at_end = {act}; run()"
IN_THREAD = """
at_end = over.set
threading.Thread(target=run, daemon=True).start()
over.wait()
say("end")
"""


@dataclass(frozen=True)
class Way:
    """A way to end: a signal from outside, or the end of a script of its own.

    :param command: what is run instead of a sweep; ``word`` is in the line that says that it measures.
    :param uncalibrated: on a bench that nobody has measured.
    """

    name: str
    signal: str = ""
    script: str = ""
    command: tuple[str, ...] = ()
    word: str = "1/400"
    uncalibrated: bool = False


SWEEP = (
    "sweep", "--start", "30", "--stop", "160", "--points", "400", "--average", "2", "--keep-open",
    "--sample", "x", "--output", "{runs}",
)  # fmt: skip
ALIGN = ("align", "--start", "30", "--stop", "160")
STABILITY = (
    "stability", "--sample", "x", "--fluence", "60", "--minutes", "5", "--every", "2", "--output", "{runs}",
)  # fmt: skip
SPOT = ("calibrate", "spot", "--method", "stage", "--output", "{runs}")
PLATE = ("calibrate", "attenuator", "--output", "{runs}")
WAYS = (
    Way("kill -9", "SIGKILL"),
    Way("frozen (SIGSTOP), shutter open", script="freeze"),
    Way("SIGTERM", "SIGTERM"),
    Way("SIGINT (Ctrl-C)", "SIGINT"),
    Way("SIGHUP (terminal closed)", "SIGHUP"),
    Way("SIGTERM, script without a handler", "SIGTERM", "pass"),
    Way("exception in a script", script="fail"),
    Way("abort() in a library", script="abort"),
    Way("os._exit in a script", script="leave"),
    Way("interpreter exit below a sweep", script="thread"),
    Way("kill -9 of an alignment", "SIGKILL", command=ALIGN, word="reference 1/"),
    Way("kill -9 of a stability run", "SIGKILL", command=STABILITY, word="1/151"),
    Way("kill -9 of a spot calibration", "SIGKILL", command=SPOT, word="um ", uncalibrated=True),
    Way("kill -9 of an attenuator calibration", "SIGKILL", command=PLATE, word="deg ", uncalibrated=True),
)


@dataclass(frozen=True)
class Trial:
    seen_open: bool
    shutter_s: float
    attenuator_s: float
    safe: bool


def command_of(way: Way, bench: Path, folder: Path, after_s: float) -> list[str]:
    if way.script:
        start = IN_THREAD if way.script == "thread" else IN_MAIN.format(act=way.script)
        start = start.replace("at_end = pass", "at_end = enough.is_set")
        return [sys.executable, "-c", SCRIPT + start, str(bench), str(folder / "run.log"), f"{after_s:.3f}"]
    words = [word.format(runs=folder / "runs") for word in way.command or SWEEP]
    return labctl(*words, "--bench", bench)


def ended_at(way: Way, process: subprocess.Popen[str], after_s: float) -> float:
    """End the program in this way after its first point; return the time of day it ended."""
    stream = process.stdout if way.script or way.command else process.stderr
    until_word(stream, "point" if way.script else way.word)
    if not way.signal:
        return float(until_word(stream, "end").split()[1])
    WALL.sleep(after_s)
    at = time.time()
    process.send_signal(getattr(signal, way.signal))
    return at


def trial(way: Way, bench: Path, folder: Path, after_s: float) -> Trial:
    pipe, truth = subprocess.PIPE, WireTruth(bench)
    both = subprocess.STDOUT if way.command else pipe
    with (folder / "said.txt").open("a") as said, started(
        command_of(way, bench, folder, after_s), stdout=pipe if way.script or way.command else said,
        stderr=said if way.script else both,
    ) as process:  # fmt: skip
        try:
            at = ended_at(way, process, after_s)
            seen_open = not truth.closed()
            shutter_s, attenuator_s = _until(truth.closed, at), _until(truth.least_light, at)
            return Trial(seen_open, shutter_s, attenuator_s, truth.closed() and truth.least_light())
        finally:
            process.kill()


def _until(safe: Callable[[], bool], at: float) -> float:
    while not safe():
        if time.time() - at > LIMIT_S:
            return float("inf")
        WALL.sleep(0.02)
    return time.time() - at


def row(way: Way, trials: list[Trial]) -> Iterator[object]:
    yield from (way.name, len(trials), sum(t.seen_open for t in trials), sum(t.safe for t in trials))
    for times in (column(trials, "shutter_s"), column(trials, "attenuator_s")):
        yield from (f"{statistics.median(times):.2f}", f"{max(times):.2f}")


HEADS = (
    "way", "trials", "seen open", "safe", "shutter closed (s)", "longest", "attenuator (s)", "longest",
)  # fmt: skip


def main() -> None:
    made = parser(__doc__, trials=10, speed=1.0, seed=1)
    made.add_argument("--only", default="", help="a part of the way's name")
    options = made.parse_args()
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            simulated(folder / "sim.toml", options.speed) as known,
            simulated(folder / "uncalibrated.toml", options.speed, "--uncalibrated") as unknown,
        ):

            def trials(way: Way) -> list[Trial]:
                bench = unknown if way.uncalibrated else known
                return [trial(way, bench, folder, float(s)) for s in rng.uniform(0.0, 3.0, options.trials)]

            show(table(HEADS, (row(way, trials(way)) for way in WAYS if options.only in way.name)))


if __name__ == "__main__":
    main()
