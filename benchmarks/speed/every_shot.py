"""How many shots ``labctl shots`` keeps of a laser of 1 kHz in real time, and at what cost. Prints a table.

    python -m benchmarks.speed.every_shot [--seconds 120] [--level typical] [--seed 1]

The bench is simulated by a process of its own, at real speed; the spectrometer is triggered by the laser. The
memory is that of the process that stores, after a tenth of the shots and at the end. Linux only.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

from benchmarks.programs import simulated
from benchmarks.tables import show, table
from benchmarks.trials import parser
from labctl.config import load_bench
from labctl.data import read_run
from labctl.data.verify import verify
from labctl.model.plan import ShotsPlan
from labctl.runner.facts import RunRequest
from labctl.runner.single_shots.shots import Shot, run_shots

RATE_HZ, FLUENCE_UJ_CM2 = 1000, 120.0
TRIGGERED = 'driver = "ocean"\ntrigger = "edge"'


def memory_mb() -> float:
    """Return the memory that this process has in use, MB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024 / 1e6


def main() -> None:
    made = parser(__doc__, seconds=120, seed=1)
    made.add_argument("--level", choices=("ideal", "typical", "nasty"), default="typical")
    given = made.parse_args()
    plan = ShotsPlan(fluences_uj_cm2=(FLUENCE_UJ_CM2,), shots=RATE_HZ * given.seconds)
    early_mb = list[float]()

    def on_event(event: object) -> None:
        if isinstance(event, Shot) and event.light >= event.planned / 10 and not early_mb:
            early_mb.append(memory_mb())

    with tempfile.TemporaryDirectory() as folder:
        options = ("--sample", "ola", "--scene", given.level, "--seed", given.seed)
        with simulated(Path(folder) / "bench.toml", 1.0, *map(str, options)) as file:
            text = file.read_text(encoding="utf-8")
            file.write_text(text.replace('driver = "ocean"', TRIGGERED), encoding="utf-8")
            began_s, busy_s = time.monotonic(), time.process_time()
            report = run_shots(
                load_bench(file),
                plan,
                RunRequest(Path(folder), "OLA"),
                stop=threading.Event(),
                on_event=on_event,
            )
            took_s, used_s = time.monotonic() - began_s, time.process_time() - busy_s
        (point,) = report.points
        tally, pixels = point.tally, read_run(report.h5).wavelength_nm.size
        raw = 2 * pixels * tally.kept
        rows = [
            ("shots kept, darks included", f"{tally.kept}"),
            ("lost in the buffer", f"{tally.lost_in_buffer}"),
            ("without a trigger or a pulse", f"{tally.lost_triggers}"),
            ("kept, %", f"{100 * tally.kept / (tally.kept + tally.lost):.3f}"),
            ("bench time of those shots, s", f"{(tally.kept + tally.lost) / RATE_HZ:.1f}"),
            ("wall time of the command, s", f"{took_s:.1f}"),
            ("processor time of the storing process, s", f"{used_s:.1f}"),
            ("its memory early / at the end, MB", f"{early_mb[0]:.0f} / {memory_mb():.0f}"),
            ("file over raw counts", f"{report.h5.stat().st_size / raw:.4f}"),
            ("problems that verify finds", f"{len(verify(report.h5))}"),
        ]
        show(table(("", f"{given.seconds} s of light at {RATE_HZ} Hz"), rows))


if __name__ == "__main__":
    main()
