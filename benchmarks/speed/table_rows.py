"""Time and memory of a fit of a long table. Run manually, prints a line.

    python -m benchmarks.speed.table_rows [--runs 20000]

A table of fluence and signal with 5 % noise is read and fitted in one process, its imports not counted;
processor time, which other programs do not lengthen, and the memory of the process afterwards.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from benchmarks.trials import parser
from labctl.runner.refit import refit


def main() -> None:
    rows = parser(__doc__, runs=20_000).parse_args().runs
    pump = np.linspace(20.0, 220.0, rows)
    noise = np.random.default_rng(1).normal(0.0, 0.05, rows)
    signal = (120 + 0.02 * pump**2 + 60 * np.maximum(pump - 80, 0)) * (1 + noise)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "long.csv"
        lines = "".join(f"{x:.4f},{y:.2f}\n" for x, y in zip(pump, signal, strict=True))
        path.write_text(f"Fluence (uJ/cm2),Signal\n{lines}", encoding="utf-8")
        wall, cpu = time.perf_counter(), time.process_time()
        found = refit(path).threshold
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    memory = psutil.Process().memory_info().rss / 2**20
    print(f"{rows} rows: {cpu:.2f} s of the processor, {wall:.2f} s in all, {memory:.0f} MB")
    print(f"threshold {found.threshold_uj_cm2} {found.unit}, 95 % {found.ci95}; made at 80")


if __name__ == "__main__":
    main()
