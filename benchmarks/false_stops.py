"""False stops: scenes in which nothing is wrong, and every command with light must go to its end.

Typical, nasty, a lamp that changes in the room, a film that glows on in the dark, and a sweep whose every
point is saturated, at real time and 20 times as fast. The bench is simulated in the parent; ``labctl`` is a
process of its own, as at a bench. The exit code and what was said are the outcome.

    python benchmarks/false_stops.py --trials 3 > table.md
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safe_state import environment

from labctl.model.clock import ScaledClock
from simulators import presets
from simulators.bench import SimulatedBench
from simulators.scene import Scene, SceneSettings
from simulators.scene.settings import RoomSettings

GLOW_REL, GLOW_S = 0.03, 0.3
"""Part of the emission that a film glows on with when its light has ended, and how long."""
LIMIT_S = 900.0


def _room(settings: SceneSettings) -> SceneSettings:
    """Return a bench under a bright lamp whose light jumps by half every few seconds."""
    camera = dataclasses.replace(settings.camera, room_counts_s=100.0)
    meter = dataclasses.replace(settings.meter, room_light_w=2e-9)
    room = RoomSettings(step_rel=0.5, interval_s=7.0)
    return dataclasses.replace(settings, camera=camera, meter=meter, room=room)


SCENES: Mapping[str, Callable[[int], SceneSettings]] = {
    "typical": lambda seed: presets.scene("ola", "typical", seed),
    "nasty": lambda seed: presets.scene("ola", "nasty", seed),
    "room light": lambda seed: _room(presets.scene("ola", "typical", seed)),
    "afterglow": lambda seed: presets.scene("ola", "typical", seed),
    "all saturated": lambda seed: presets.scene("ola", "typical", seed),
}
FEW = ("--points", "8", "--average", "3")
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "sweep": ("sweep", "--start", "30", "--stop", "170", *FEW, "--sample", "x", "--output", "{folder}"),
    "stability": (
        "stability", "--fluence", "100", "--minutes", "1.2", "--every", "8", "--average", "3",
        "--sample", "x", "--output", "{folder}",
    ),
    "align": ("align", "--start", "30", "--stop", "170", "--points", "10", "--readouts", "4"),
    "set": ("set", "--home", "--fluence", "100", "--open", "--for", "15"),
}  # fmt: skip
SATURATED = {
    "sweep": ("sweep", "--start", "300", "--stop", "600", *FEW, "--sample", "x", "--output", "{folder}")
}


@dataclass(frozen=True)
class Cell:
    """One command on one bench."""

    scene: str
    command: str
    speed: float
    seed: int


@dataclass(frozen=True)
class Ended:
    """How it ended."""

    cell: Cell
    code: int
    wall_s: float
    said: str

    @property
    def repeats(self) -> int:
        """How often a point or a dark was measured again: something was believed to have gone wrong."""
        return len(re.findall(r"(is repeated|taken again)", self.said))


class Afterglow:
    """Adds to exposures in the dark what a film that was lit a moment ago still gives."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._expose = scene, scene.camera.expose
        self._lit: NDArray[np.float64] | None = None
        self._ended_s = 0.0
        scene.camera.expose = self.expose  # type: ignore[method-assign]

    def expose(self, start_s: float, integration_s: float) -> NDArray[np.uint16]:
        """Return an exposure, with the glow where the blade was closed all the while."""
        counts = self._expose(start_s, integration_s)
        blade = np.asarray(self._scene.shutter.track.over(np.linspace(start_s, start_s + integration_s, 50)))
        if np.all(blade == 1.0):
            self._lit, self._ended_s = counts / integration_s, start_s + integration_s
        elif np.all(blade == 0.0) and self._lit is not None:
            since_s = max(start_s - self._ended_s, 0.0)
            decayed_s = GLOW_S * (np.exp(-since_s / GLOW_S) - np.exp(-(since_s + integration_s) / GLOW_S))
            glow = GLOW_REL * self._lit * decayed_s
            counts = np.clip(counts + np.round(glow), 0, self._scene.camera.max_counts).astype(np.uint16)
        return counts


def run(cell: Cell) -> Ended:
    """Run one command."""
    words = SATURATED[cell.command] if cell.scene == "all saturated" else COMMANDS[cell.command]
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        SimulatedBench(SCENES[cell.scene](cell.seed), ScaledClock(cell.speed)) as bench,
    ):
        if cell.scene == "afterglow":
            Afterglow(bench.scene)
        file = Path(name) / "bench.toml"
        file.write_text(bench.bench_toml(cell.speed), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "labctl",
            *(w.format(folder=name) for w in words),
            "--bench",
            str(file),
        ]
        began = time.monotonic()
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=LIMIT_S, env=environment(),
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return Ended(cell, done.returncode, time.monotonic() - began, done.stdout + done.stderr)


def cells(trials: int, speeds: list[float]) -> Iterator[Cell]:
    """Yield every cell."""
    for speed in speeds:
        for scene in SCENES:
            for command in SATURATED if scene == "all saturated" else COMMANDS:
                for seed in range(1, trials + 1):
                    yield Cell(scene, command, speed, seed)


def main() -> int:
    """Print a row a scene, command and speed; the number of false stops is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--speed", type=float, action="append")
    parser.add_argument("--scene", action="append", choices=tuple(SCENES))
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    wanted = [
        c for c in cells(args.trials, args.speed or [20.0, 1.0]) if not args.scene or c.scene in args.scene
    ]
    done: list[Ended] = []
    with multiprocessing.get_context("spawn").Pool(args.jobs, maxtasksperchild=1) as pool:
        for ended in pool.imap(run, wanted):
            done.append(ended)
            if ended.code or ended.repeats:
                said = ended.said[-1500:]
                print(f"{ended.cell}: exit code {ended.code}\n{said}", file=sys.stderr, flush=True)
    print("| scene | command | speed | trials | false stops | repeats | longest, s |")
    print("|---|---|---|---|---|---|---|")
    for key in dict.fromkeys((e.cell.scene, e.cell.command, e.cell.speed) for e in done):
        mine = [e for e in done if (e.cell.scene, e.cell.command, e.cell.speed) == key]
        stops = sum(e.code != 0 for e in mine)
        longest = max(e.wall_s for e in mine)
        again = sum(e.repeats for e in mine)
        print(f"| {key[0]} | {key[1]} | {key[2]:g} | {len(mine)} | {stops} | {again} | {longest:.0f} |")
    return sum(e.code != 0 for e in done)


if __name__ == "__main__":
    sys.exit(min(main(), 100))
