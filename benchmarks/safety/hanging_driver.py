"""A shutter's driver that blocks for ever in the light: when it is said, and when it is dark. Prints a table.

The driver is installed as somebody else's package would be, runs isolated, and stands still in one call. Wall
seconds from that call to the line that says BLOCK THE BEAM, to the mount's start to its least transmission,
and to the command that closes the blade after the driver's process was started again.

    python -m benchmarks.safety.hanging_driver --trials 10 > table.md
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.tables import column, show, spread, table
from benchmarks.trials import parser
from labctl.config import parse_bench
from labctl.model.clock import ScaledClock
from labctl.model.errors import LabctlError
from labctl.session import open_bench
from simulators.bench import SimulatedBench
from simulators.presets import scene

DRIVER = """
import threading
from pathlib import Path
from typing import Literal
from drivers.registry import DriverConfig, DriverSpec
from drivers.shutters.thorlabs_sc10 import ThorlabsSC10

HANGS = Path(__file__).with_name("hangs")

def stand_still(what):
    if HANGS.exists() and HANGS.read_text() == what:
        HANGS.unlink()
        threading.Event().wait()

class Shutter(ThorlabsSC10):
    def close_beam(self):
        stand_still("close_beam")
        super().close_beam()

    def is_open(self):
        stand_still("is_open")
        return super().is_open()

class Config(DriverConfig):
    driver: Literal["hanging"]
    isolated: bool = True

def opened(config, clock):
    return Shutter(config.resource, clock=clock)

DRIVER = DriverSpec("hanging", "shutter", Config, opened, "stands still")
"""


@dataclass
class Trial:
    """Wall seconds from the call that hangs; infinite where it did not come."""

    said_s: float = float("inf")
    turned_s: float = float("inf")
    closed_s: float = float("inf")
    notes: list[str] = field(default_factory=list)


def install(folder: Path) -> None:
    (folder / "hanging.py").write_text(DRIVER, encoding="utf-8")
    info = folder / "hanging-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hanging\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[labctl.drivers]\nhanging = hanging:DRIVER\n", encoding="utf-8")
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = os.pathsep.join((str(folder), os.environ.get("PYTHONPATH", "")))


def run(folder: Path, call: str, seed: int) -> Trial:
    trial, begun_s = Trial(), 0.0

    def tell(line: str) -> None:
        if "BLOCK THE BEAM" in line:
            trial.said_s = min(trial.said_s, time.monotonic() - begun_s)

    with SimulatedBench(scene("ola", seed=seed), ScaledClock()) as bench:
        text = bench.bench_toml(1.0).replace("thorlabs-sc10", "hanging").replace("travel_s = 0.05\n", "")

        def turns() -> None:
            trial.turned_s = min(trial.turned_s, time.monotonic() - begun_s)

        def closes() -> None:
            trial.closed_s = min(trial.closed_s, time.monotonic() - begun_s)

        with open_bench(parse_bench(text), bench.scene.clock, watchdog=False, tell=tell) as opened:
            opened.pump.prepare()
            opened.pump.set_fluence(60.0)
            opened.pump.open()
            bench.scene.mount.before_motion, bench.scene.shutter.before_motion = turns, closes
            (folder / "hangs").write_text(call, encoding="utf-8")
            begun_s = time.monotonic()
            try:
                opened.pump.close()
            except LabctlError as exc:
                trial.notes.append(exc.message)
            bench.scene.mount.before_motion = bench.scene.shutter.before_motion = lambda: None
    return trial


def rows(trials: int) -> Iterator[tuple[object, ...]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        install(folder)
        for call in ("close_beam", "is_open"):
            found = [run(folder, call, seed) for seed in range(1, trials + 1)]
            times = (spread(column(found, name), 2) for name in ("said_s", "turned_s", "closed_s"))
            yield call, trials, *times


def main() -> None:
    arguments = parser(__doc__, trials=10).parse_args()
    names = ("call that hangs", "trials", "BLOCK THE BEAM (s)", "mount turns (s)", "blade closes (s)")
    show(table(names, rows(arguments.trials)))


if __name__ == "__main__":
    main()
