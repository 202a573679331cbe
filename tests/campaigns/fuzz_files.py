"""What is read from files, fuzzed: benches, plans of faults, tables, calibrations, edits, a run's table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from fuzz_target import Data, Target

from benchmarks.benches import scene, served
from labctl.config.bench import parse_bench, stored_bench
from labctl.data import calibrations, read_run
from labctl.data.csvfile import examine
from labctl.data.edits import edits_path, read_edits, record_edit
from labctl.data.tables.table import read_table
from labctl.model.calibration import Calibration, Quantity
from labctl.model.errors import ConfigError, DataError
from labctl.model.records import Identity
from simulators.faults import FaultPlan

CALIBRATION = Calibration(
    kind="attenuator",
    measured_utc="2026-11-23T10:15:00+00:00",
    valid_until_utc="2026-12-23T10:15:00+00:00",
    operator="me",
    instruments={"attenuator": Identity("Thorlabs", "ELL14", "11400123", "2.0")},
    bound_to=("attenuator",),
    quantities={"zero_deg": Quantity(12.3, "deg", 0.011), "leakage": Quantity(0.002, "1", 1e-4)},
    tables={"raw_angle_deg": (1.0, 2.5), "raw_power_w": (1e-6, 2e-7)},
    facts={"form": "malus", "branch": "+"},
    version="0.1",
)


def _texts(folder: Path) -> Iterator[Target]:
    plan = b'seed = 7\n[[fault]]\nkind = "drop"\ninstrument = "shutter"\nmatch = "^closed?$"\nnth = 3\n'
    more = b'[[fault]]\nkind = "garble"\ninstrument = "power_meter"\nprobability = 0.01\nbytes = 2\n'
    yield Target(
        "fault plans",
        lambda d: FaultPlan.parse(d.decode("utf-8", "replace")),
        [plan, plan + more],
        (ConfigError,),
    )
    with served(scene("ola", "typical", 1)) as (bench, _):
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


def _files(folder: Path, made: Path) -> Iterator[Target]:
    path = folder / "calibration.json"

    def calibration(data: Data) -> None:
        path.write_bytes(data)
        calibrations.read_calibration(path)

    stored = calibrations.to_mapping(CALIBRATION)
    yield Target("calibration files", calibration, [json.dumps(stored).encode()], (DataError,))

    def behind_the_checksum(data: Data) -> None:
        """What a stranger can write whose checksum fits."""
        try:
            body = json.loads(data)
            sums = calibrations._checksum(body)
        except (ValueError, RecursionError):  # no text at all, or one no checksum fits
            return
        if isinstance(body, dict):
            calibrations.of_mapping({"schema": stored["schema"], "sha256": sums, "calibration": body})

    body = json.dumps(stored["calibration"]).encode()
    yield Target("calibrations, checksum fits", behind_the_checksum, [body], (DataError,))
    run = read_run(made)
    for point in (0, 1):
        record_edit(made, point, out=True, who="me")
    beside = edits_path(made)
    seed = beside.read_bytes()

    def edits(data: Data) -> None:
        beside.write_bytes(data)
        read_edits(run)

    yield Target("edits of a run", edits, [seed], (DataError,))


def targets(folder: Path, made: Path) -> Iterator[Target]:
    """Yield these targets.

    :param made: a sound run.
    """
    yield from _texts(folder)
    yield _run_csv(folder, made)
    yield from _files(folder, made)
