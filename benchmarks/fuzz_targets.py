"""What is fuzzed: every parser, inputs it takes, and the errors it may refuse others with."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz_answers import driver_targets, frame_targets
from fuzz_damage import Data
from fuzz_target import Target

from labctl.config.bench import parse_bench
from labctl.config.stored import stored_bench
from labctl.data import read_run
from labctl.data.csvmend import examine
from labctl.data.table import read_table
from labctl.model.clock import SteppedClock
from labctl.model.errors import ConfigError, DataError
from simulators import presets
from simulators.bench import INSTRUMENTS, SimulatedBench
from simulators.faults import FaultPlan
from simulators.obp import Frame, encode
from simulators.registry import find
from simulators.scene import Scene


def _simulators() -> Iterator[Target]:
    scene = Scene(presets.scene("ola", "typical", 1), SteppedClock())
    seeds = {
        "thorlabs-ell14": [b"0ma00008C00", b"0ho0", b"0gs", b"0in", b"0mr00000010", b"0sv32"],
        "thorlabs-pm100": [
            b"MEAS:POW?\n",
            b"SENS:CORR:WAV 800\n",
            b"SENS:POW:UNIT?;:SENS:AVER?\n",
            b"*IDN?\n",
            b"SYST:ERR?\n",
        ],
        "thorlabs-sc10": [b"ens\r", b"ens?\r", b"mode=1\r", b"open=200\r", b"id?\r"],
        "ocean": [
            encode(Frame(0x110010, struct.pack("<L", 1000))),
            encode(Frame(0x101000)),
            encode(Frame(0x110110, b"\1")),
        ],
    }
    for key in INSTRUMENTS:
        wire = find(key).make(scene)
        wire.attach(lambda _data: None)

        def request(data: Data, wire: Any = wire) -> None:
            wire.new_client()
            wire.receive(data)
            for _ in range(3):
                due = wire.due_s()
                if due is None or due > scene.clock.now_s() + 10:
                    break
                scene.clock.sleep(due - scene.clock.now_s())
                wire.wake()

        yield Target(f"requests to {key}", request, seeds[key], ())


def _texts(folder: Path) -> Iterator[Target]:
    plan = b'seed = 7\n[[fault]]\nkind = "drop"\ninstrument = "shutter"\nmatch = "^closed?$"\nnth = 3\n'
    more = b'[[fault]]\nkind = "garble"\ninstrument = "power_meter"\nprobability = 0.01\nbytes = 2\n'
    yield Target(
        "fault plans",
        lambda d: FaultPlan.parse(d.decode("utf-8", "replace")),
        [plan, plan + more],
        (ConfigError,),
    )
    with SimulatedBench(presets.scene("ola"), SteppedClock()) as bench:
        toml = bench.bench_toml(20.0).encode()
    yield Target("bench files", lambda d: parse_bench(d.decode("utf-8", "replace")), [toml], (ConfigError,))
    stored = json.dumps(parse_bench(toml.decode()).resolved()).encode()

    def resumed(data: Data) -> None:
        try:
            config = json.loads(data)
        except ValueError:
            return
        if isinstance(config, dict):
            stored_bench(config, Path("run.h5"))

    yield Target("stored benches", resumed, [stored], (ConfigError, DataError))
    table = folder / "table.csv"

    def csv(data: Data) -> None:
        table.write_bytes(data)
        read_table(table)

    rows = b"".join(b"%g,%g,%g\n" % (f, f * f, f / 10) for f in range(20, 40))
    header = b"#Procedure: <x>\nFluence (uJ/cm^2),Signal (counts),Signal sigma\n"
    yield Target("tables", csv, [header + rows, b"fluence;signal\n1,5;2\n2,5;4\n", rows], (DataError,))


def _run_csv(folder: Path, made: Path) -> Target:
    """The table beside a run file, which another program may have changed."""
    points, csv = read_run(made).points, folder / "run.csv"

    def compare(data: Data) -> None:
        csv.write_bytes(data)
        examine(csv, points)

    return Target("runs' tables", compare, [made.with_suffix(".csv").read_bytes()], (DataError,))


def targets(folder: Path, made: Path) -> list[Target]:
    """Return every target but the run files.

    :param made: a sound run.
    """
    return [*driver_targets(), *frame_targets(), *_simulators(), *_texts(folder), _run_csv(folder, made)]
