"""How long the report of a run takes, and how large it is. Run by hand, prints a table.

    python -m benchmarks.speed.run_report RUN.h5 [--times 3]

The whole command, its start included, in wall time; the shortest of several goes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.trials import parser


def main() -> None:
    words = parser(__doc__)
    words.add_argument("run", type=Path)
    words.add_argument("--times", type=int, default=3)
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "report.html"
        command = [sys.executable, "-m", "labctl", "report", str(given.run), "--output", str(out)]
        took = []
        for _ in range(given.times):
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            took.append(time.perf_counter() - start)
        print(f"{given.run.name}: {min(took):.2f} s of {given.times} goes, {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
