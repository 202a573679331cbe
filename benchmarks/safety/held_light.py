"""How long light passes after the FAULT (not after the error) while somebody holds it. Prints a table.

The simulated bench runs in this process; labctl is a process of its own. While its light is on, a filter on
the cable makes an instrument lie or fall silent, or the watchdog is stopped. The truth is the scene's own
blade and plate: "dark" is the command that closes the blade, or the plate's start to the least transmission
where the shutter does not hear. Wall seconds from the fault; so is the first line that names the instrument.

    python -m benchmarks.safety.held_light --trials 5 > table.md
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import psutil

from benchmarks.benches import behind, filed, scene
from benchmarks.programs import labctl, started
from benchmarks.scene_truth import SceneTruth
from benchmarks.tables import column, show, table
from benchmarks.trials import parser
from labctl.model.clock import ScaledClock

LIMIT_S = 90.0
WALL = ScaledClock()
STOP: int = getattr(signal, "SIGSTOP", 0)
"""POSIX only, like this script."""


class Fault:
    """What goes wrong on one instrument's cable from a moment on."""

    def __init__(self, kind: str) -> None:
        self.kind, self.on, self.began_s = kind, threading.Event(), 0.0
        self._last = b""

    def to_instrument(self, data: bytes) -> bytes:
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


def wait_for(condition: Callable[[], bool], limit_s: float, what: str) -> None:
    end_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end_s:
            raise TimeoutError(what)
        WALL.sleep(0.002)


def watchdog_of(pid: int) -> int:
    """Return the watchdog's process: the child that runs its module."""
    for child in psutil.Process(pid).children():
        if "watchdog.child" in " ".join(child.cmdline()):
            return int(child.pid)
    raise LookupError("no watchdog")


def began(case: Case, fault: Fault, process: subprocess.Popen[str], truth: SceneTruth) -> float:
    """Let it go wrong while light passes; return when it began."""
    wait_for(lambda: truth.blade() > 0.0, LIMIT_S, "no light")
    if case.role == "watchdog":
        os.kill(watchdog_of(process.pid), STOP)
        return time.monotonic()
    fault.on.set()
    wait_for(lambda: fault.began_s > 0.0, LIMIT_S, "nothing was asked")
    return fault.began_s


def trial(case: Case, seed: int, after_s: float, speed: float) -> Trial:
    settings = scene("ola", "typical", seed)
    fault, heard = Fault(case.fault), list[tuple[float, str]]()
    with filed(behind(settings) if case.behind else settings, ScaledClock(speed), speed) as (bench, file):
        truth = SceneTruth(bench.scene)
        if case.role != "watchdog":
            bench.server(case.role).link.filters.append(fault)
        output = ("--output", file.parent) if case.command in ("sweep", "stability") else ()
        command = labctl(*COMMANDS[case.command], "--bench", file, *output)
        with started(command, stderr=subprocess.STDOUT) as process:

            def listen() -> None:
                assert process.stdout is not None
                heard.extend((time.monotonic(), line.rstrip()) for line in process.stdout)

            thread = threading.Thread(target=listen, daemon=True)
            thread.start()
            try:
                word = WORDS[case.command]
                wait_for(lambda: any(word in line for _, line in heard), LIMIT_S, f"no {word!r}")
                WALL.sleep(after_s)
                at_s = began(case, fault, process, truth)
                process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
            ended_s = time.monotonic() - at_s
            thread.join(5.0)
        named = next(
            ((at, line) for at, line in heard if at >= at_s and case.role in line), (float("inf"), "nothing")
        )
        # A sweep closes and opens, so the first change counts.
        dark_s = truth.dark_after_s(at_s, dimmed_is_dark=True) or 0.0
        return Trial(dark_s, named[0] - at_s, ended_s, process.returncode, named[1])


def row(case: Case, trials: list[Trial]) -> Iterator[object]:
    yield f"{case.command}, meter behind" if case.behind else case.command
    yield from (f"{case.role} {case.fault}", len(trials))
    for times in (column(trials, "dark_s"), column(trials, "said_s")):
        yield from (f"{statistics.median(times):.2f}", f"{max(times):.2f}")
    yield f"{max(t.ended_s for t in trials):.1f}"
    yield ", ".join(sorted({str(t.code) for t in trials}))
    for one in trials:
        print(f"    {one}", file=sys.stderr, flush=True)


def main() -> None:
    made = parser(__doc__, trials=5, speed=1.0, seed=1)
    made.add_argument("--only", default="", help="a part of command and fault, such as 'set silent'")
    options = made.parse_args()
    rng = np.random.default_rng(options.seed)

    def trials(case: Case) -> list[Trial]:
        moments = rng.uniform(0.0, 2.0, options.trials).tolist()
        return [trial(case, number, after_s, options.speed) for number, after_s in enumerate(moments, 1)]

    heads = ("command", "fault", "trials", "dark (s)", "longest", "said (s)", "longest", "ended (s)", "exit")
    asked = (case for case in CASES if options.only in f"{case.command} {case.role} {case.fault}")
    show(table(heads, (row(case, trials(case)) for case in asked)))


if __name__ == "__main__":
    main()
