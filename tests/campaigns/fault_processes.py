"""Cells in which everything is a process of its own: ``labctl simulate --faults`` and ``labctl sweep``.

Nothing is shared but sockets and files: the real clock, the watchdog, exit codes, and what the user reads.
The end is asked of the simulated instruments over connections of our own.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from fault_judge import SAFE_S, Cell, Outcome, judge_file

from benchmarks.programs import WireTruth, ended, labctl, simulated
from labctl.model.clock import ScaledClock

SPEED = 20.0
LIMIT_S = 150.0
CELLS = (
    ("none", "", "", ()),
    ("drop", "power_meter", "a reading", ('match = "MEAS:POW?"', "nth = 40")),
    ("disconnect", "attenuator", "a move", ('match = "0ma"', "nth = 4")),
    ("disconnect", "power_meter", "a reading", ('match = "MEAS:POW?"', "nth = 40")),
    ("disconnect", "spectrometer", "a spectrum", ('match = "00101000"', "nth = 20")),
    ("stall", "shutter", "a toggle", ('match = "^ens$"', "nth = 5")),
    ("restart", "attenuator", "a position", ('match = "0gp"', "nth = 6")),
    ("stuck-plate", "attenuator", "in the sweep", ('match = "0ma"', "nth = 4")),
    ("failed-shutter", "shutter", "in the sweep", ('match = "^ens$"', "nth = 5")),
    ("tripped-interlock", "shutter", "in the sweep", ('match = "^ens$"', "nth = 5")),
    ("dead-laser", "spectrometer", "in the sweep", ('match = "00101000"', "nth = 20")),
    ("jumping-laser", "spectrometer", "in the sweep", ('match = "00101000"', "nth = 20")),
)


def cells() -> Iterator[Cell]:
    for kind, instrument, where, lines in CELLS:
        yield Cell(kind, instrument, where, lines, "process")


def run(cell: Cell, folder: Path) -> Outcome:
    """Sweep on a bench that goes wrong, and judge how the program ended and what it left."""
    outcome, began, plan = Outcome(cell), time.monotonic(), folder / "faults.toml"
    plan.write_text(cell.toml(), encoding="utf-8")
    faults = ("--faults", str(plan)) if cell.kind != "none" else ()
    with simulated(folder / "sim.toml", SPEED, "--seed", "5", *faults) as bench:
        words = ("--start", 40, "--stop", 160, "--points", 6, "--average", 4, "--sample", "OLA")
        try:
            done = ended(labctl("sweep", "--bench", bench, *words, "--output", folder / "runs"), LIMIT_S)
        except subprocess.TimeoutExpired:
            outcome.ended = "hangs"
            outcome.problems.append(f"no end within {LIMIT_S:g} s")
            return outcome
        ended_s = time.monotonic()
        outcome.wall_s = ended_s - began
        _judge_exit(outcome, done.returncode, done.stderr)
        _judge_files(outcome, folder / "runs")
        _judge_light(outcome, bench, ended_s, done.stderr)
    return outcome


def _judge_exit(outcome: Outcome, code: int, said: str) -> None:
    outcome.ended = "finished" if code == 0 else "error"
    outcome.error = said.strip().splitlines()[-1] if code and said.strip() else ""
    if code not in (0, 3, 4):
        outcome.problems.append(f"exit code {code}: {said.strip()[-300:]}")
    if code and "Traceback" in said:
        outcome.problems.append("the user reads a traceback")
    if outcome.cell.kind == "none" and code:
        outcome.problems.append("nothing went wrong, and it failed")


def _judge_files(outcome: Outcome, folder: Path) -> None:
    files = list(folder.glob("*.h5"))
    if len(files) != 1:
        outcome.problems.append(f"{len(files)} run files")
    elif (stored := judge_file(outcome, files[0])) is not None:
        outcome.points = len(stored)
        outcome.flagged = sum(bool(flags) for flags in stored.flags)


def _judge_light(outcome: Outcome, bench: Path, ended_s: float, said: str) -> None:
    """Closed and at least light when the program has ended, or a reason why not where the user reads it."""
    wall, safe = ScaledClock(), False
    try:
        truth = WireTruth(bench)
        while not (safe := truth.closed() and truth.least_light()) and time.monotonic() < ended_s + SAFE_S:
            wall.sleep(0.02)
    except OSError as exc:  # an instrument that answers nobody: then the user must have been told
        outcome.told += f"; asked afterwards: {exc}"
    if not safe and "NOT MADE SAFE" not in said + outcome.told and "not made safe" not in said:
        outcome.problems.append("not safe, and nobody said so")
