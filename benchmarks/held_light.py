"""How long light passes after the FAULT (not after the error) while somebody holds it. Prints a table.

The simulated bench runs in this process; labctl is a process of its own. While its light is on, a filter on
the cable makes an instrument lie or fall silent, or the watchdog is stopped. The truth is the scene's own
blade and plate: "dark" is the command that closes the blade, or the plate's start to the least transmission
where the shutter does not hear. Wall seconds from the fault; so is the first line that names the instrument.

    python benchmarks/held_light.py --trials 5 > table.md
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from fault_truth import Truth

from labctl.model.clock import ScaledClock
from labctl.model.pump import Element
from simulators import presets
from simulators.bench import SimulatedBench

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 90.0
WALL = ScaledClock()
STOP: int = getattr(signal, "SIGSTOP", 0)
"""POSIX only, like this script."""
BEHIND: tuple[Element, Element, Element, Element] = ("attenuator", "shutter", "pick-off", "sample")


class Fault:
    """What goes wrong on one instrument's cable from a moment on."""

    def __init__(self, kind: str) -> None:
        self.kind, self.on, self.began_s = kind, threading.Event(), 0.0
        self._last = b""

    def to_instrument(self, data: bytes) -> bytes:
        """Pass it on."""
        return data

    def to_client(self, data: bytes) -> bytes:
        """Change a reading, or cut the answer off in its middle and be silent from then on."""
        if not self.on.is_set():
            return data
        if self.kind == "silent":
            if not self.began_s:
                self.began_s = time.monotonic()
                return data[: len(data) // 2]
            return b""
        try:
            value = float(data)
        except ValueError:
            return data
        if not data.endswith(b"\n") or b"E" not in data.upper():
            return data
        if not self.began_s:
            self.began_s, self._last = time.monotonic(), data
        if self.kind == "stale":
            return self._last
        changed = {"x 3": 3 * value, "/ 3": value / 3, "NaN": float("nan")}[self.kind]
        return f"{changed:.6E}\n".encode("ascii") if changed == changed else b"9.91E+37\n"


@dataclass(frozen=True)
class Case:
    """A command that lets light through, and what goes wrong in it."""

    command: str
    fault: str
    role: str = "power_meter"
    behind: bool = False
    word: str = "shutter open"


@dataclass
class Heard:
    """What the program printed, with the time of every line."""

    lines: list[tuple[float, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Trial:
    dark_s: float
    said_s: float
    ended_s: float
    code: int | None
    first: str


COMMANDS = {
    "set": ("set", "--fluence", "100", "--open", "--for", "60"),
    "align": ("align", "--start", "30", "--stop", "160"),
    "sweep": ("sweep", "--sample", "x", "--start", "60", "--stop", "160", "--points", "200", "--keep-open"),
    "stability": ("stability", "--sample", "x", "--fluence", "80", "--minutes", "5", "--every", "1"),
}
WORDS = {"set": "shutter open", "align": "reference 2/", "sweep": "points into", "stability": "points into"}
METER_FAULTS = ("silent", "stale", "NaN", "x 3", "/ 3")
CASES = [
    *(Case(command, fault) for command in ("set", "align", "sweep", "stability") for fault in METER_FAULTS),
    *(Case(command, "silent", behind=True) for command in ("set", "sweep")),
    *(Case(command, "silent", role="shutter") for command in ("set", "align", "sweep")),
    *(Case(command, "watchdog stopped", role="watchdog") for command in ("set", "align", "sweep")),
]


def listen(process: subprocess.Popen[str], heard: Heard) -> threading.Thread:
    def run() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            heard.lines.append((time.monotonic(), line.rstrip()))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def wait_for(condition: object, limit_s: float, what: str) -> None:
    assert callable(condition)
    end_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end_s:
            raise TimeoutError(what)
        WALL.sleep(0.002)


def watchdog_of(pid: int) -> int:
    """Return the watchdog's process: the child that runs its module."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                said = (entry / "cmdline").read_bytes()
            except (OSError, ValueError, IndexError):
                continue
            if parent == pid and b"watchdog_child" in said:
                return int(entry.name)
    raise LookupError("no watchdog")


def began(case: Case, fault: Fault, process: subprocess.Popen[str], truth: Truth) -> float:
    """Let it go wrong while light passes; return when it began."""
    wait_for(lambda: truth.blade() > 0.0, LIMIT_S, "no light")
    if case.role == "watchdog":
        os.kill(watchdog_of(process.pid), STOP)
        return time.monotonic()
    fault.on.set()
    wait_for(lambda: fault.began_s > 0.0, LIMIT_S, "nothing was asked")
    return fault.began_s


def dark_s(truth: Truth, since_s: float) -> float:
    """Return how long after a time light passed; a sweep closes and opens, so the first change counts."""
    after = truth.dark_after_s(since_s, dimmed_is_dark=True)
    return 0.0 if after is None else after


def trial(case: Case, seed: int, after_s: float, speed: float) -> Trial:
    settings = presets.scene("ola", "typical", seed)
    if case.behind:
        settings = dataclasses.replace(settings, optics=dataclasses.replace(settings.optics, order=BEHIND))
    fault, heard = Fault(case.fault), Heard()
    with tempfile.TemporaryDirectory() as name, SimulatedBench(settings, ScaledClock(speed)) as bench:
        truth = Truth(bench.scene)
        if case.role != "watchdog":
            bench.server(case.role).link.filters.append(fault)
        file = Path(name) / "bench.toml"
        file.write_text(bench.bench_toml(speed), encoding="utf-8")
        words = [*COMMANDS[case.command], "--bench", str(file)]
        words += ["--output", name] if case.command in ("sweep", "stability") else []
        with subprocess.Popen(
            [sys.executable, "-m", "labctl", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        ) as process:  # fmt: skip
            thread = listen(process, heard)
            try:
                word = WORDS[case.command]
                wait_for(lambda: any(word in line for _, line in heard.lines), LIMIT_S, f"no {word!r}")
                WALL.sleep(after_s)
                at_s = began(case, fault, process, truth)
                process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
            ended_s = time.monotonic() - at_s
            thread.join(5.0)
        said = [(at, line) for at, line in heard.lines if at >= at_s]
        named = next(((at, line) for at, line in said if case.role in line), (float("inf"), "nothing"))
        return Trial(dark_s(truth, at_s), named[0] - at_s, ended_s, process.returncode, named[1])


def row(case: Case, trials: list[Trial]) -> str:
    where = f"{case.command}, meter behind" if case.behind else case.command
    dark, said = [t.dark_s for t in trials], [t.said_s for t in trials]
    figures = [
        f"{len(trials)}",
        *(f"{value:.2f}" for each in (dark, said) for value in (statistics.median(each), max(each))),
        f"{max(t.ended_s for t in trials):.1f}",
        ", ".join(sorted({str(t.code) for t in trials})),
    ]
    return f"| {where} | {case.role} {case.fault} | {' | '.join(figures)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="a part of command and fault, such as 'set silent'")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    print("| command | fault | trials | dark (s) | longest | said (s) | longest | ended (s) | exit |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for case in CASES:
        if options.only in f"{case.command} {case.role} {case.fault}":
            trials = [
                trial(case, number + 1, float(rng.uniform(0.0, 2.0)), options.speed)
                for number in range(options.trials)
            ]
            print(row(case, trials), flush=True)
            for one in trials:
                print(f"    {one}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
