"""What storing a point costs, whether memory stays flat, what survives kill -9. Run by hand, prints a table.

    python -m benchmarks.speed.storage [--points 600] [--rounds 5] [--spectra 20000] [--kills 200]

The bar: one 2048-pixel spectrum plus its row within 1.3 times plain h5py with a flush.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import psutil

from benchmarks.programs import started
from benchmarks.trials import parser
from labctl.data.reader import read_run
from labctl.data.schema import COLUMNS, DATA_COLUMNS, row
from labctl.data.writer import RunWriter
from labctl.model.records import SweepPoint
from labctl.model.run import RunStart, RunStop

PIXELS = 2048
Store = Callable[[int], None]


def start(points: int) -> RunStart:
    wavelength = np.linspace(500.0, 560.0, PIXELS)
    plan = {"points": points, "average": 1}
    return RunStart("b", "fluence-sweep/1", "bench", "", "", "", "", {}, plan, {}, {}, wavelength, "peak")


def point() -> SweepPoint:
    rng = np.random.default_rng(1)
    values: dict[str, object] = {
        column.field: {"int": 1, "float": 1.25, "text": "up"}[column.kind] for column in COLUMNS
    }
    values |= {"flags": ("drift",), "spectrum": rng.random(PIXELS)}
    values |= {"frames": rng.integers(0, 65536, (1, PIXELS)).astype(np.float64)}
    return SweepPoint(**values)  # type: ignore[arg-type]


def median_us(store: Store, count: int) -> float:
    times = []
    for index in range(count):
        before = time.perf_counter()
        store(index)
        times.append(time.perf_counter() - before)
    return float(np.median(times)) * 1e6


def plain(directory: Path, count: int, *, with_row: bool, with_frame: bool) -> float:
    """Time the obvious way: one dataset each, resized, written and flushed a point."""
    one = point()
    numbers = [v for v in row(one).values() if not isinstance(v, str)]
    parts = [("spectrum", one.spectrum, "f8")]
    parts += [("row", np.array(numbers, np.float64), "f8")] if with_row else []
    parts += [("frame", one.frames[0].astype(np.uint16), "u2")] if with_frame else []
    with h5py.File(directory / "plain.h5", "w", libver="earliest") as file:
        made = [
            (file.create_dataset(n, (0, a.size), t, maxshape=(None, a.size), chunks=(1, a.size)), a)
            for n, a, t in parts
        ]

        def store(index: int) -> None:
            for dataset, values in made:
                dataset.resize(index + 1, axis=0)
                dataset[index] = values
            file.flush()

        return median_us(store, count)


def labctl(directory: Path, count: int, *, with_csv: bool) -> float:
    one = point()
    with (
        tempfile.TemporaryDirectory(dir=directory) as place,
        RunWriter(Path(place), "run") as writer,
        writer.paths.csv.open("w", encoding="utf-8") as csv,
    ):
        writer.begin(start(count))
        formatted = csv_line() if with_csv else None

        def store(_: int) -> None:
            writer.append(one)
            if formatted:
                csv.write(formatted(row(one)) + "\n")
                csv.flush()

        return median_us(store, count)


def csv_line() -> Callable[[object], str]:
    """Return what pymeasure's recorder calls for a row; its queue and thread are not in the figure."""
    from pymeasure.experiment.results import CSVFormatter

    formatted: Callable[[object], str] = CSVFormatter(columns=DATA_COLUMNS).format
    return formatted


def speed(directory: Path, count: int, rounds: int) -> None:
    ways: dict[str, Callable[[], float]] = {
        "plain h5py, flush: spectrum": lambda: plain(directory, count, with_row=False, with_frame=False),
        "plain h5py, flush: spectrum, row": lambda: plain(directory, count, with_row=True, with_frame=False),
        "plain h5py, flush: the same data": lambda: plain(directory, count, with_row=True, with_frame=True),
        "labctl: frame, spectrum, curve, row": lambda: labctl(directory, count, with_csv=False),
        "labctl and the CSV row": lambda: labctl(directory, count, with_csv=True),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):  # in turn, so that a busy machine disturbs all alike
        for name, measure in ways.items():
            found[name].append(measure())
    base = np.array(found["plain h5py, flush: spectrum, row"])
    print(f"\nmedian of {rounds} rounds of {count} points{'':<14} us a point   ratio to spectrum and row")
    for name, values in found.items():
        print(f"{name:<44}{np.median(values):>10.0f}{np.median(np.array(values) / base):>14.2f}")


def memory(directory: Path, count: int) -> None:
    one = point()
    marks = []
    with RunWriter(directory, "memory") as writer:
        writer.begin(start(count))
        for index in range(count):
            writer.append(one, flush=index % 10 == 9)
            if index in (count // 10, count - 1):
                marks.append(float(psutil.Process().memory_info().rss) / 1e6)
        writer.end(RunStop("finished", "", ""))
    size = writer.paths.h5.stat().st_size / 1e6
    print(
        f"\nresident after {count // 10} spectra {marks[0]:.1f} MB, after {count} {marks[1]:.1f} MB;"
        f" the file has {size:.0f} MB"
    )


CHILD = """
import dataclasses, sys
from pathlib import Path
from benchmarks.speed import storage
from labctl.data.writer import RunWriter
writer = RunWriter(Path(sys.argv[1]), "run")
writer.begin(storage.start(300))
one = storage.point()
for index in range(1_000_000):
    writer.append(dataclasses.replace(one, index=index))
    sys.stdout.write(f"{index}\\n")
    sys.stdout.flush()
"""


def killed_once(directory: Path, wait_s: float) -> tuple[int, int]:
    """Kill a writer after ``wait_s``; return the points it had returned and those in its file."""
    with started([sys.executable, "-c", CHILD, str(directory)]) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        timer = time.perf_counter() + wait_s
        lines = [first]
        while time.perf_counter() < timer:
            lines.append(child.stdout.readline())
        child.kill()
        lines += child.stdout.readlines()
    run = read_run(directory / "run.h5")
    indices = run.points["index"].tolist()
    if run.status != "killed" or indices != list(range(len(run))):
        raise AssertionError(f"{run.status}, {len(indices)} points")
    run.point(-1)
    return sum(line.endswith("\n") for line in lines), len(run)


def kills(directory: Path, count: int) -> None:
    rng = np.random.default_rng(5)
    returned = missing = 0
    for trial in range(count):
        with tempfile.TemporaryDirectory(dir=directory) as place:
            shown, stored = killed_once(Path(place), float(rng.uniform(0.0, 0.5)))
        returned += shown
        missing += max(0, shown - stored)
        print(f"\rkill -9: {trial + 1} of {count} files open, {missing} of {returned} points missing", end="")
    print()


def main() -> None:
    made = parser(__doc__, points=600, rounds=5, spectra=20_000, kills=200)
    made.add_argument("--directory", type=Path, help="where to write; a temporary one by default")
    given = made.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as place:
        speed(Path(place), given.points, given.rounds)
        memory(Path(place), given.spectra)
        kills(Path(place), given.kills)


if __name__ == "__main__":
    main()
