"""How long a bench stays unsafe after its program ends, by the way it ends. Prints a table.

The simulated bench runs in a process of its own, at real time. The program sweeps with the shutter open from
point to point and is ended at a random moment after its first. Other programs (an alignment, a stability run,
calibrations behind the shutter and before it) are killed once they measure. The truth is asked of the
simulated shutter and mount over connections of our own, which queue behind whoever is connected: times are
upper bounds (medians and longest), and "seen open" counts those whose shutter was still open at the first
look.

    python benchmarks/safe_state.py --trials 10 > table.md
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from labctl.model.clock import ScaledClock

ROOT = Path(__file__).resolve().parents[1]
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


ALIGN = ("align", "--start", "30", "--stop", "160")
STABILITY = (
    "stability",
    "--sample",
    "x",
    "--fluence",
    "60",
    "--minutes",
    "5",
    "--every",
    "2",
    "--output",
    "{runs}",
)
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


class Truth:
    """Asks the simulated instruments themselves."""

    def __init__(self, bench_file: Path) -> None:
        table = tomllib.loads(bench_file.read_text(encoding="utf-8"))
        self._shutter, self._mount = table["shutter"]["resource"], table["attenuator"]["resource"]
        self._zero_deg = float(table["pump"]["attenuator_curve"]["zero_deg"])
        self._turn = int(_ask(self._mount, b"0in", b"\n")[-8:], 16)

    def closed(self) -> bool:
        told = _ask(self._shutter, b"closed?\r", b"> ")
        commanded = _ask(self._shutter, b"ens?\r", b"> ")
        return b"\r1\r" in told and b"\r0\r" in commanded

    def least_light(self) -> bool:
        frame = _ask(self._mount, b"0gp", b"\n")
        if not frame.startswith(b"0PO"):
            return False
        angle = int(frame[3:], 16) * 360.0 / self._turn
        return abs((angle - self._zero_deg) % 90.0 - 45.0) < 0.5


def _ask(resource: str, question: bytes, until: bytes) -> bytes:
    host, port = resource.split("::")[1:3]
    with socket.create_connection((host, int(port)), LIMIT_S) as connection:
        connection.settimeout(LIMIT_S)
        connection.sendall(question)
        heard = b""
        while not heard.endswith(until):
            data = connection.recv(64)
            if not data:
                raise OSError("the simulator closed the connection")
            heard += data
        return heard.strip()


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@contextmanager
def simulated(folder: Path, speed: float, *, uncalibrated: bool = False) -> Iterator[Path]:
    file = folder / ("uncalibrated.toml" if uncalibrated else "sim.toml")
    command = [sys.executable, "-m", "labctl", "simulate", "--speed", f"{speed:g}", "--bench-file", str(file)]
    command += ["--uncalibrated"] if uncalibrated else []
    with subprocess.Popen(
        [*command, "--until-eof"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        until_word(process.stderr, "serving")
        yield file
        process.stdin.close()


def command_of(way: Way, bench: Path, folder: Path, after_s: float) -> list[str]:
    if way.script:
        start = IN_THREAD if way.script == "thread" else IN_MAIN.format(act=way.script)
        start = start.replace("at_end = pass", "at_end = enough.is_set")
        return [sys.executable, "-c", SCRIPT + start, str(bench), str(folder / "run.log"), f"{after_s:.3f}"]
    if way.command:
        words = [word.format(runs=folder / "runs") for word in way.command]
        return [sys.executable, "-m", "labctl", *words, "--bench", str(bench)]
    plan = ["--start", "30", "--stop", "160", "--points", "400", "--average", "2", "--keep-open"]
    output = ["--sample", "x", "--output", str(folder / "runs")]
    return [sys.executable, "-m", "labctl", "sweep", "--bench", str(bench), *plan, *output]


def until_word(stream: IO[str], word: str) -> str:
    heard = []
    for line in stream:
        heard.append(line)
        if word in line:
            return line
    raise RuntimeError(f"the program ended before it said {word!r}: {''.join(heard)}")


def ended_at(way: Way, process: subprocess.Popen[str], after_s: float) -> float:
    """End the program in this way after its first point; return the time of day it ended."""
    stream = process.stdout if way.script or way.command else process.stderr
    assert stream is not None
    until_word(stream, "point" if way.script else way.word)
    if not way.signal:
        return float(until_word(stream, "end").split()[1])
    WALL.sleep(after_s)
    at = time.time()
    process.send_signal(getattr(signal, way.signal))
    return at


def trial(way: Way, bench: Path, folder: Path, after_s: float) -> Trial:
    pipe = subprocess.PIPE
    command = command_of(way, bench, folder, after_s)
    truth = Truth(bench)
    both = subprocess.STDOUT if way.command else pipe
    with (folder / "said.txt").open("a") as said, subprocess.Popen(
        command, stdout=pipe if way.script or way.command else said, stderr=said if way.script else both,
        text=True, env=environment(), stdin=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            at = ended_at(way, process, after_s)
            seen_open = not truth.closed()
            shutter_s = _until(truth.closed, at)
            attenuator_s = _until(truth.least_light, at)
            return Trial(seen_open, shutter_s, attenuator_s, truth.closed() and truth.least_light())
        finally:
            process.kill()


def _until(safe: object, at: float) -> float:
    assert callable(safe)
    while not safe():
        if time.time() - at > LIMIT_S:
            return float("inf")
        WALL.sleep(0.02)
    return time.time() - at


def row(way: Way, trials: list[Trial]) -> str:
    counts = f"{len(trials)} | {sum(t.seen_open for t in trials)} | {sum(t.safe for t in trials)}"
    shutter, mount = [t.shutter_s for t in trials], [t.attenuator_s for t in trials]
    return (
        f"| {way.name} | {counts} | {statistics.median(shutter):.2f} | "
        f"{max(shutter):.2f} | {statistics.median(mount):.2f} | {max(mount):.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="a part of the way's name")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    print("| way | trials | seen open | safe | shutter closed (s) | longest | attenuator (s) | longest |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with (
        tempfile.TemporaryDirectory() as name,
        simulated(Path(name), options.speed) as known,
        simulated(Path(name), options.speed, uncalibrated=True) as unknown,
    ):
        for way in WAYS:
            if options.only in way.name:
                bench = unknown if way.uncalibrated else known
                after = rng.uniform(0.0, 3.0, options.trials)
                print(row(way, [trial(way, bench, Path(name), float(s)) for s in after]), flush=True)


if __name__ == "__main__":
    main()
