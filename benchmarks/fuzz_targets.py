"""What is fuzzed: every parser, inputs it takes, and the errors it may refuse others with."""

from __future__ import annotations

import io
import json
import random
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz_damage import Data, damaged
from pymeasure.adapters import Adapter
from seabreeze.pyseabreeze import SeaBreezeError

from drivers.support.elliptec import parse_module, parse_position
from drivers.support.framing import BrokenFrame, read_frame, write_frame
from drivers.support.ocean_network import PatientTransport, StrictOBP
from drivers.support.pm100_commands import parse_sensor
from drivers.thorlabs_ell14 import ThorlabsELL14
from drivers.thorlabs_pm100 import ThorlabsPM100
from drivers.thorlabs_sc10 import ThorlabsSC10
from labctl.config.bench import parse_bench
from labctl.config.stored import stored_bench
from labctl.data import read_run
from labctl.data.csvmend import examine
from labctl.data.table import read_table
from labctl.model.clock import SteppedClock
from labctl.model.errors import ConfigError, DataError, InstrumentError
from labctl.session.watchdog_wire import assignment_of, decode
from simulators import presets
from simulators.bench import INSTRUMENTS, SimulatedBench
from simulators.faults import FaultPlan
from simulators.obp import Decoder, Frame, encode
from simulators.registry import find
from simulators.scene import Scene

SLOW_S = 1.0
MOST_FINDINGS = 5

Parse = Callable[[Data], object]


@dataclass
class Target:
    """A parser, inputs it takes, and the errors it may raise."""

    name: str
    parse: Parse
    seeds: list[Data]
    refusals: tuple[type[BaseException], ...]
    damage: Callable[[Data, random.Random], Data] = damaged
    runs: int = 0
    slowest_s: float = 0.0
    findings: list[str] = field(default_factory=list)

    def run(self, data: Data) -> None:
        """Feed one input and note what should not happen."""
        began = time.perf_counter()
        try:
            self.parse(data)
        except self.refusals:
            pass
        except Exception as exc:  # noqa: BLE001  it is the finding
            if len(self.findings) < MOST_FINDINGS:
                self.findings.append(f"{type(exc).__name__}: {str(exc)[:100]} <- {data[:160]!r}")
        took = time.perf_counter() - began
        self.slowest_s = max(self.slowest_s, took)
        if took > SLOW_S and len(self.findings) < MOST_FINDINGS:
            self.findings.append(f"{took:.1f} s <- {data[:160]!r}")
        self.runs += 1


class Scripted(Adapter):  # type: ignore[misc]  # pymeasure publishes no types
    """Answers whatever it was given, again and again."""

    def __init__(self, hello: Callable[[str], str]) -> None:
        super().__init__()
        self._hello: Callable[[str], str] | None = hello
        self._sent = ""
        self.answer = b""

    def settle(self) -> None:
        """From now on give the fuzzed answer."""
        self._hello = None

    def _write(self, command: str, **_: Any) -> None:
        self._sent = command

    def _read(self, **_: Any) -> str:
        return self._hello(self._sent) if self._hello else self.answer.decode("ascii")

    def _read_bytes(self, count: int, break_on_termchar: bool = False, **_: Any) -> bytes:
        del count, break_on_termchar
        return self._hello(self._sent).encode() if self._hello else self.answer


def _drivers() -> Iterator[Target]:
    shutter_line = Scripted(
        lambda sent: f"{sent}\rTHORLABS SC10 VERSION 1.07\r>" if sent == "id?" else f"{sent}\r1\r>"
    )
    shutter = ThorlabsSC10(shutter_line, clock=SteppedClock())
    mount_line = Scripted(lambda _sent: "0IN0E1140042120231701016800023000\r\n")
    mount = ThorlabsELL14(mount_line, clock=SteppedClock())
    meter_line = Scripted(
        lambda sent: (
            "THORLABS,PM100D,P1,2.4\n"
            if "IDN" in sent and "SENS" not in sent
            else '"S130C","1","2-JUN-2021",1,18,33\n'
        )
    )
    meter = ThorlabsPM100(meter_line, clock=SteppedClock())
    for line in (shutter_line, mount_line, meter_line):
        line.settle()

    def ask(line: Scripted, *questions: Callable[[], object]) -> Parse:
        def parse(data: Data) -> None:
            line.answer = data
            for question in questions:
                try:
                    question()
                except InstrumentError:
                    continue

        return parse

    def shutter_echo(data: Data) -> None:
        for command in ("ens?", "closed?", "id?"):
            shutter_line.answer = command.encode() + b"\r" + data
            try:
                shutter.ask(command)
                _ = shutter.blade_closed
            except InstrumentError:
                continue

    refused = (InstrumentError,)
    yield Target(
        "SC10 answers",
        shutter_echo,
        [b"0\r>", b"1\r>", b"THORLABS SC10 VERSION 1.07\r>", b"Command error\r>"],
        refused,
    )
    yield Target(
        "ELL14 answers",
        ask(mount_line, mount.angle_deg, mount.identity, lambda: mount.status),
        [b"0PO00008C00\r\n", b"0GS09\r\n", b"0IN0E1140042120231701016800023000\r\n"],
        refused,
    )
    mount._timeout_s = 1e-4  # it may answer with other messages without end
    meter._wavelength_nm = 800.0
    yield Target(
        "PM100 answers",
        ask(
            meter_line,
            meter.identity,
            lambda: meter.averages,
            meter.altered,
            meter._averaged_w,
            lambda: meter.result_ready,
        ),
        [b"1.2345E-05", b"W;8.0E+02;100;0;1", b'"S130C","17050001","2-JUN-2021",1,18,33', b"9.9E37"],
        refused,
    )
    yield Target(
        "ELL14 module",
        lambda d: parse_module(d.decode("latin-1")),
        [b"0E1140042120231701016800023000"],
        (ValueError,),
    )
    yield Target(
        "ELL14 position", lambda d: parse_position(d.decode("latin-1")), [b"FFFFC7A8"], (ValueError,)
    )
    yield Target(
        "PM100 head",
        lambda d: parse_sensor(d.decode("latin-1")),
        [b'"S130C","1","2-JUN-2021",1,18,33'],
        (ValueError,),
    )


class _Stream(PatientTransport):
    """A transport for OBP that holds fuzzed bytes."""

    def __init__(self, data: Data) -> None:
        self._left = io.BytesIO(data)

    def write(self, data: bytes, timeout_ms: int | None = None, **_: Any) -> int:
        del timeout_ms
        return len(data)

    def read(
        self, size: int | None = None, timeout_ms: int | None = None, mode: str | None = None, **_: Any
    ) -> bytes:
        del timeout_ms, mode
        data = self._left.read(size or 64)
        if len(data) < (size or 64):
            raise TimeoutError
        return data


def _frames() -> Iterator[Target]:
    def strict(data: Data) -> None:
        stream = _Stream(data)  # the protocol keeps a weak reference only
        protocol = StrictOBP(stream)
        protocol._awaited = 0x101000
        protocol.receive(timeout_ms=10)

    refused = (SeaBreezeError, TimeoutError, OSError, struct.error, AssertionError, LookupError, ValueError)
    answer = encode(Frame(0x101000, bytes(range(64))))
    yield Target("OBP answers", strict, [answer, answer + answer], refused)

    def decoder(data: Data) -> None:
        reader = Decoder()
        for start in range(0, len(data), 37):
            for frame in reader.feed(data[start : start + 37]):
                encode(frame)

    yield Target("OBP requests", decoder, [encode(Frame(0x110010, struct.pack("<L", 1000))), answer], ())
    stream = io.BytesIO()
    write_frame(stream, {"id": 1, "do": "acquire", "arguments": {}}, b"12345678")
    yield Target("child's frames", lambda d: read_frame(io.BytesIO(d)), [stream.getvalue()], (BrokenFrame,))

    def dog(data: Data) -> None:
        message = decode(data)
        if message is not None:
            assignment_of(message)

    seed = json.dumps({"kind": "watch", "silence_s": 5.0, "bench": {}}).encode() + b"\n"
    yield Target("watchdog's messages", dog, [seed], (ValueError, KeyError, TypeError))


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
    return [*_drivers(), *_frames(), *_simulators(), *_texts(folder), _run_csv(folder, made)]
