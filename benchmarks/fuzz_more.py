"""More targets: calibrations, edits, the simulated hands, and what a bench may have besides its four."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz_answers import Scripted
from fuzz_damage import Data
from fuzz_target import Target

from drivers.scpi_thermometer import ScpiThermometer
from labctl.data import calibrations, read_run
from labctl.data.edits import edits_path, read_edits, record_edit
from labctl.model.calibration import Calibration, Quantity
from labctl.model.clock import SteppedClock
from labctl.model.errors import CalibrationRefused, DataError, InstrumentError
from labctl.model.hands import Request
from labctl.model.records import Identity
from labctl.session import hands
from simulators import presets
from simulators.hand import HandWire
from simulators.registry import find
from simulators.scene import Scene
from simulators.scene.settings import StageSettings, ThermometerSettings

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


def _hands(scene: Scene) -> Iterator[Target]:
    wire = HandWire(scene)
    wire.attach(lambda _data: None)

    def asked(data: Data) -> None:
        wire.new_client()
        wire.receive(data + b"\n")

    seeds = [
        b'{"action": "meter", "values": {"place": "sample"}}',
        b'{"action": "beam", "values": {"blocked": true}}',
        b'{"action": "filter", "values": {"transmission": 0.1}}',
        b'{"action": "lamp", "values": {"name": "Ne"}}',
    ]
    yield Target("requests to the hands", asked, seeds, ())
    request = Request("meter", "Read it.", {}, number="W")
    yield Target(
        "answers of the hands",
        lambda d: hands._meaning(d.decode("utf-8", "replace"), request),
        [b"ok", b"ok 4321.0", b"error no such place"],
        (InstrumentError, CalibrationRefused),
    )


def _extras(scene: Scene) -> Iterator[Target]:
    line = Scripted(lambda sent: "MAKER,RTD-1,T1,1.0\n" if "IDN" in sent else "21.5\n")
    thermometer = ScpiThermometer(line, clock=SteppedClock())
    line.settle()

    def answered(data: Data) -> None:
        line.answer = data
        for question in (thermometer.temperature_c, thermometer.identity):
            try:
                question()
            except InstrumentError:
                continue

    yield Target("thermometer's answers", answered, [b"21.5", b"MAKER,RTD-1,T1,1.0"], ())
    seeds = {"thorlabs-ell20": [b"0ma00008C00", b"0ho0", b"0in"], "scpi-thermometer": [b"MEAS:TEMP?\n"]}
    for key, sound in seeds.items():
        wire = find(key).make(scene)
        wire.attach(lambda _data: None)

        def request(data: Data, wire: Any = wire) -> None:
            wire.new_client()
            wire.receive(data)
            due = wire.due_s()
            if due is not None and due < scene.clock.now_s() + 100:
                scene.clock.sleep(due - scene.clock.now_s())
                wire.wake()

        yield Target(f"requests to {key}", request, sound, ())


def targets(folder: Path, made: Path) -> Iterator[Target]:
    """Yield these targets."""
    settings = presets.scene("ola", "typical", 1)
    settings = dataclasses.replace(settings, stage=StageSettings(), thermometer=ThermometerSettings())
    scene = Scene(settings, SteppedClock())
    yield from _files(folder, made)
    yield from _hands(scene)
    yield from _extras(scene)
