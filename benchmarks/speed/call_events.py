"""How many calls of our own one point of a sweep makes: Python's call events in labctl and procedures.

``python -m benchmarks.speed.call_events``; older trees: ``python call_events.py ROOT``.
Counted between one stored point and the next, in every thread of this process, generators' resumptions
included; points for which a dark was taken in between are left out. The bench is the simulated one.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

ROOT = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from labctl import SweepPlan  # noqa: E402  the tree that is looked at comes first
from labctl.config import parse_bench  # noqa: E402
from labctl.data.writer import RunWriter  # noqa: E402
from labctl.model.clock import ScaledClock  # noqa: E402
from labctl.runner.run import RunRequest, run_sweep  # noqa: E402
from simulators.bench import SimulatedBench  # noqa: E402
from simulators.presets import scene  # noqa: E402

OURS = (f"{ROOT}/labctl/", f"{ROOT}/procedures/")
POINTS = 12


class Events:
    """Counts call events of our packages, and the files of one request of a fluence."""

    def __init__(self) -> None:
        self.count, self.darks = 0, 0
        self.points: list[tuple[int, int]] = []
        self.setting: set[str] | None = None
        self.files: list[int] = []

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        name = frame.f_code.co_filename
        if not name.startswith(OURS):
            return
        is_setting = frame.f_code.co_name == "set_fluence"
        if event == "call":
            self.count += 1
            if is_setting:
                self.setting = set()
            if self.setting is not None and ("/procedures/" in name or "/session/" in name):
                self.setting.add(name)
        elif event == "return" and is_setting and self.setting is not None:
            self.files.append(len(self.setting))
            self.setting = None


def counted() -> Events:
    """Sweep once, and return what was counted."""
    events = Events()
    append: Callable[..., None] = RunWriter.append
    dark: Callable[..., None] = RunWriter.dark

    def appended(self: RunWriter, *arguments: object) -> None:
        append(self, *arguments)
        events.points.append((events.count, events.darks))

    def took_dark(self: RunWriter, *arguments: object) -> None:
        events.darks += 1
        dark(self, *arguments)

    setattr(RunWriter, "append", appended)  # noqa: B010  older trees have other types
    setattr(RunWriter, "dark", took_dark)  # noqa: B010
    with (
        SimulatedBench(scene("ola", "typical", 3), ScaledClock(20.0)) as bench,
        tempfile.TemporaryDirectory() as folder,
    ):
        plan = SweepPlan(start_uj_cm2=30.0, stop_uj_cm2=180.0, points=POINTS, average=4)
        threading.setprofile(events)
        try:
            run_sweep(
                parse_bench(bench.bench_toml(20.0)),
                plan,
                RunRequest(Path(folder), "OLA"),
                stop=threading.Event(),
                on_event=lambda _event: None,
            )
        finally:
            threading.setprofile(None)
    return events


def main() -> None:
    """Print the calls of each point, and the files that one request of a fluence runs through."""
    events = counted()
    pairs = zip(events.points, events.points[1:], strict=False)
    calls = [after[0] - before[0] for before, after in pairs if after[1] == before[1]]
    print(
        f"{ROOT}: call events a point without a dark: median {statistics.median(calls):.0f}, {sorted(calls)}"
    )
    print(f"files of procedures and session in one set_fluence: {sorted(Counter(events.files).items())}")


if __name__ == "__main__":
    main()
