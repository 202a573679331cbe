"""How much faster two processes fit an archive again than one. Run by hand, prints a table.

    python -m benchmarks.speed.archive RUN.h5 [--runs 1000]

The run is copied so often into a folder; wall time of the whole work, the start of the processes included.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from benchmarks.trials import parser
from labctl.runner.archive.summary import summarise


def main() -> None:
    words = parser(__doc__, runs=1000)
    words.add_argument("run", type=Path)
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "runs"
        folder.mkdir()
        for number in range(given.runs):
            shutil.copy(given.run, folder / f"{number:05d}.h5")
        took = {}
        for jobs in (1, 2):
            start = time.perf_counter()
            rows = summarise(folder, Path(directory) / f"{jobs}.csv", jobs)
            took[jobs] = time.perf_counter() - start
            failed = sum(bool(row.error) for row in rows)
            print(f"{given.runs} runs, {jobs} process(es): {took[jobs]:.1f} s, {failed} not fitted")
    load = os.getloadavg() if hasattr(os, "getloadavg") else ()
    print(f"{took[1] / took[2]:.2f} times as fast; load {load}")


if __name__ == "__main__":
    main()
