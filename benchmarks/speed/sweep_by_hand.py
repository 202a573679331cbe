"""A sweep of the demo's OLA in real time: labctl, and a script as a student writes it. Prints a table.

    python -m benchmarks.speed.sweep_by_hand [--pairs 5] [--references] [--timeline]

The script goes one step after another with plain pyvisa and seabreeze: home, then for each point move, one
reading of the meter, open the shutter, discard the stale exposure, 10 exposures, close; after the last point
the darks that labctl takes, for each exposure time. It knows the angles and the exposure times, which labctl
finds out. It looks at nothing: no limit, no frozen meter, no lying shutter; it stores nothing on the way.

Both run in turn, each on a simulated bench of its own in another process, in real time. "light" is what
nobody can do without: the script's exposures, discarded ones, darks, plate and blade, without its readings.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import threading
import time
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyvisa
from seabreeze.pyseabreeze.api import _seabreeze_device_factory
from seabreeze.pyseabreeze.transport import IPv4Transport, IPv4TransportHandle

from benchmarks.programs import simulated
from benchmarks.tables import show, table
from benchmarks.trials import parser
from labctl.config import load_bench
from labctl.data.reader import read_run
from labctl.model.plan import SweepPlan
from labctl.runner.run import RunRequest, run_sweep
from procedures.gate.hooks import Call, Hooks

START, STOP, POINTS, AVERAGE, DARKS = 20.0, 200.0, 24, 10, 40
EXPOSURES_S = (0.5,) * 17 + (0.2,) * 3 + (0.1,) * 4
"""What labctl chose for these fluences before anything was made faster; frozen."""
PULSES_PER_REV = 143360


def angles_deg(bench: dict[str, Any]) -> list[float]:
    """Return the angles of the fluences, by the numbers of the bench file."""
    curve, pump = bench["pump"]["attenuator_curve"], bench["pump"]
    spot = pump["spot"]
    energy_uj = float(pump["max_pulse_energy"].split()[0]) * 1e-3
    full = 2 * energy_uj / (math.pi * spot["x_um"] * spot["y_um"] * 1e-8)
    low, high = curve["t_min"], curve["t_max"]
    shares = [(f / full - low) / (high - low) for f in np.geomspace(START, STOP, POINTS)]
    return [curve["zero_deg"] + math.degrees(math.acos(math.sqrt(share))) / 2 for share in shares]


class Parts:
    """Adds up what each part of a script takes, s."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.total_s = 0.0

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] += time.perf_counter() - began


def by_hand(bench_file: Path, darks_s: Sequence[float]) -> Parts:
    """Sweep as the script does.

    :param darks_s: exposure time of each dark.
    """
    bench, parts = tomllib.loads(bench_file.read_text(encoding="utf-8")), Parts()
    began = time.perf_counter()
    manager: Any = pyvisa.ResourceManager("@py")
    words = {"timeout": 10_000}
    mount = manager.open_resource(
        bench["attenuator"]["resource"], read_termination="\r\n", write_termination="", **words
    )
    meter = manager.open_resource(
        bench["power_meter"]["resource"], read_termination="\n", write_termination="\n", **words
    )
    shutter = manager.open_resource(
        bench["shutter"]["resource"], read_termination="\r", write_termination="\r", **words
    )
    host, _, port = bench["spectrometer"]["resource"].partition("@")[2].rpartition(":")
    IPv4Transport.register_model("FX", ipv4_address=host, ipv4_port=int(port))
    device = _seabreeze_device_factory(IPv4TransportHandle(host, int(port)))
    device.open()
    camera = device.f.spectrometer
    meter.write("SENS:CORR:WAV 800")
    meter.write("SENS:AVER 100")

    def blade(name: str) -> None:
        with parts.of(name):
            shutter.write("ens")
            shutter.read()
            wanted = "0" if name == "open" else "1"
            while _closed(shutter) != wanted:
                pass

    data = []
    with parts.of("home"):
        mount.query("0ho0")
    before = 0.0
    for angle, seconds in zip(angles_deg(bench), EXPOSURES_S, strict=True):
        with parts.of("plate"):
            mount.query(f"0ma{round(angle / 360 * PULSES_PER_REV):08X}")
        with parts.of("reading"):
            power_w = float(meter.query("MEAS:POW?"))
        if seconds != before:
            camera.set_integration_time_micros(round(1e6 * seconds))
            before = seconds
        blade("open")
        with parts.of("discarded"):
            camera.get_intensities()
        with parts.of("exposures"):
            data.append((power_w, [camera.get_intensities() for _ in range(AVERAGE)]))
        blade("close")
    for seconds in darks_s:
        camera.set_integration_time_micros(round(1e6 * seconds))
        with parts.of("discarded"):
            camera.get_intensities()
        with parts.of("darks"):
            data.append((seconds, [camera.get_intensities() for _ in range(DARKS)]))
    for instrument in (mount, meter, shutter):
        instrument.close()
    device.close()
    parts.total_s = time.perf_counter() - began
    return parts


def _closed(shutter: Any) -> str:
    shutter.write("closed?")
    shutter.read()
    return str(shutter.read()).strip()


@dataclass
class Called:
    """One call of an instrument."""

    what: str
    began_s: float
    ended_s: float
    thread: str


@contextmanager
def recorded() -> Iterator[list[Called]]:
    """Record all calls of instruments in the block."""
    calls, carry_out = list[Called](), Hooks.carry_out

    def timed(self: Hooks, call: Call, act: Callable[[Call], Any]) -> Any:
        began = time.perf_counter()
        try:
            return carry_out(self, call, act)
        finally:
            words = " ".join(f"{each:.4g}" for each in call.arguments if isinstance(each, int | float))
            what = f"{call.role} {call.name} {words}".strip()
            calls.append(Called(what, began, time.perf_counter(), threading.current_thread().name))

    Hooks.carry_out = timed  # type: ignore[method-assign]
    try:
        yield calls
    finally:
        Hooks.carry_out = carry_out  # type: ignore[method-assign]


@dataclass
class Swept:
    """What labctl's sweep took.

    :ivar dose_uj_cm2: of all points, trials included.
    :ivar exposures_s: exposure time of each point.
    :ivar darks_s: exposure time of each dark, of :data:`DARKS` exposures.
    """

    began_s: float
    total_s: float
    dose_uj_cm2: float
    exposures_s: list[float]
    darks_s: list[float]
    half_width_rel: float
    calls: list[Called]
    stored_s: list[float]


def by_labctl(bench_file: Path, plan: SweepPlan) -> Swept:
    """Sweep and store as ``labctl sweep`` does, from the first connection to the bench made safe."""
    stored: list[float] = []

    def heard(event: object) -> None:
        if type(event).__name__ == "Measured":
            stored.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder, recorded() as calls:
        config = load_bench(bench_file)
        began = time.perf_counter()
        report = run_sweep(
            config, plan, RunRequest(Path(folder), "OLA"), stop=threading.Event(), on_event=heard
        )
        ended = calls[-1].ended_s
        assert report.h5 is not None
        run = read_run(report.h5)
        found = report.result.threshold
        low, high = found.ci95 or (math.nan, math.nan)
        return Swept(
            total_s=ended - began,
            dose_uj_cm2=float(run.points["dose_uj_cm2"][-1]),
            exposures_s=[float(s) for s in run.points["integration_s"]],
            half_width_rel=(high - low) / 2 / (found.threshold_uj_cm2 or math.nan),
            darks_s=[float(dark.integration_s) for dark in run.darks],
            began_s=began,
            calls=calls,
            stored_s=stored,
        )


def timeline(swept: Swept, low: int, high: int) -> None:
    """Print the calls from one stored point to another, one a line; point 0 is the start."""
    marks = [swept.began_s, *swept.stored_s]
    for call in sorted(swept.calls, key=lambda c: c.began_s):
        if marks[low] - 0.02 <= call.began_s <= marks[high]:
            when, took = call.began_s - marks[low], call.ended_s - call.began_s
            print(f"{when:8.3f} {call.thread.partition(':')[0]:12} {took:7.3f} s {call.what}")


@contextmanager
def bench_file(seed: int = 1) -> Iterator[Path]:
    """Serve the demo's OLA bench, in a process of its own."""
    words = ("--sample", "ola", "--seed", str(seed))
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        simulated(Path(folder) / "bench.toml", 1.0, *words) as file,
    ):
        yield file


def main() -> None:
    made = parser(__doc__, pairs=5)
    made.add_argument("--references", action="store_true", help="references on, as by default")
    made.add_argument("--timeline", action="store_true", help="print the calls of two points")
    given = made.parse_args()
    every = None if given.references else 0
    plan = SweepPlan(
        start_uj_cm2=START, stop_uj_cm2=STOP, points=POINTS, average=AVERAGE, reference_every=every
    )
    rows: list[tuple[float, float, float]] = []

    def pairs() -> Iterator[tuple[object, ...]]:
        for number in range(1, given.pairs + 1):
            with bench_file() as file:
                swept = by_labctl(file, plan)
            with bench_file() as file:
                parts = by_hand(file, swept.darks_s)
            hand_s = parts.total_s
            light_s = sum(parts.seconds.values()) - parts.seconds["reading"]
            rows.append((swept.total_s, hand_s, light_s))
            if number == 1:
                print(f"exposures chosen: {swept.exposures_s}; darks: {swept.darks_s}")
                print({part: round(s, 2) for part, s in parts.seconds.items()})
                if given.timeline:
                    print("stored at, s:", " ".join(f"{at - swept.began_s:.1f}" for at in swept.stored_s))
                    for low, high in ((0, 1), (4, 5), (19, 20)):
                        timeline(swept, low, high)
            yield (
                number,
                *(f"{s:.1f}" for s in rows[-1]),
                f"{swept.total_s / hand_s:.2f}",
                f"{swept.total_s / light_s:.2f}",
                f"{swept.dose_uj_cm2 / 1e6:.2f}",
            )

    heads = ("pair", "labctl, s", "by hand, s", "its light, s", "over hand", "over light", "dose, J/cm2")
    show(table(heads, pairs()))
    print(
        f"median over hand {statistics.median(a / b for a, b, _ in rows):.2f}, "
        f"over light {statistics.median(a / c for a, _, c in rows):.2f}"
    )


if __name__ == "__main__":
    main()
