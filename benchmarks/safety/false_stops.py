"""False stops: scenes in which nothing is wrong, and every command with light must go to its end.

Typical, nasty, a lamp that changes in the room, a film that glows on in the dark, and a sweep whose every
point is saturated, at real time and 20 times as fast. The bench is simulated in the parent; ``labctl`` is a
process of its own, as at a bench. The exit code and what was said are the outcome.

    python -m benchmarks.safety.false_stops --trials 3 > table.md
"""

from __future__ import annotations

import dataclasses
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.benches import filed, scene
from benchmarks.programs import ended, labctl
from benchmarks.tables import show, table
from benchmarks.trials import found, parser
from labctl.model.clock import ScaledClock
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
    "typical": lambda seed: scene("ola", "typical", seed),
    "nasty": lambda seed: scene("ola", "nasty", seed),
    "room light": lambda seed: _room(scene("ola", "typical", seed)),
    "afterglow": lambda seed: scene("ola", "typical", seed),
    "all saturated": lambda seed: scene("ola", "typical", seed),
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
        return len(re.findall(r"(is repeated|repeating the|taken again)", self.said))


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
    words = SATURATED[cell.command] if cell.scene == "all saturated" else COMMANDS[cell.command]
    with filed(SCENES[cell.scene](cell.seed), ScaledClock(cell.speed), cell.speed) as (bench, file):
        if cell.scene == "afterglow":
            Afterglow(bench.scene)
        began = time.monotonic()
        command = labctl(*(w.format(folder=file.parent) for w in words), "--bench", file)
        done = ended(command, LIMIT_S)
        return Ended(cell, done.returncode, time.monotonic() - began, done.stdout + done.stderr)


def cells(trials: int, speeds: list[float]) -> Iterator[Cell]:
    for speed in speeds:
        for name in SCENES:
            for command in SATURATED if name == "all saturated" else COMMANDS:
                for seed in range(1, trials + 1):
                    yield Cell(name, command, speed, seed)


HEADS = ("scene", "command", "speed", "trials", "false stops", "repeats", "longest, s")


def rows(done: list[Ended]) -> Iterator[tuple[object, ...]]:
    """Yield a row a scene, command and speed."""
    for scene_, command, speed in dict.fromkeys((e.cell.scene, e.cell.command, e.cell.speed) for e in done):
        mine = [e for e in done if (e.cell.scene, e.cell.command, e.cell.speed) == (scene_, command, speed)]
        counts = (len(mine), sum(e.code != 0 for e in mine), sum(e.repeats for e in mine))
        yield (scene_, command, f"{speed:g}", *counts, f"{max(e.wall_s for e in mine):.0f}")


def main() -> int:
    """Print the table; the number of false stops is the exit code."""
    made = parser(__doc__, trials=3, jobs=2)
    made.add_argument("--speed", type=float, action="append")
    made.add_argument("--scene", action="append", choices=tuple(SCENES))
    args = made.parse_args()
    every = cells(args.trials, args.speed or [20.0, 1.0])
    wanted = [cell for cell in every if not args.scene or cell.scene in args.scene]
    done = []
    for one in found(run, wanted, args.jobs):
        done.append(one)
        if one.code or one.repeats:
            print(f"{one.cell}: exit code {one.code}\n{one.said[-1500:]}", file=sys.stderr, flush=True)
    show(table(HEADS, rows(sorted(done, key=lambda one: wanted.index(one.cell)))))
    return sum(one.code != 0 for one in done)


if __name__ == "__main__":
    sys.exit(min(main(), 100))
