"""What instruments, real and simulated, their child process, the watchdog and the hands hear, fuzzed."""

from __future__ import annotations

import dataclasses
import io
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fuzz_target import Data, Parse, Target
from pymeasure.adapters import Adapter
from seabreeze.pyseabreeze import SeaBreezeError

from drivers.attenuators.thorlabs_ell14 import ThorlabsELL14
from drivers.meters.pm100_console import parse_sensor
from drivers.meters.thorlabs_pm100 import ThorlabsPM100
from drivers.others.scpi_thermometer import ScpiThermometer
from drivers.shutters.thorlabs_sc10 import ThorlabsSC10
from drivers.support.child import BrokenFrame, read_frame, write_frame
from drivers.support.elliptec import parse_module, parse_position
from drivers.support.ocean_network import PatientTransport, StrictOBP
from labctl.model.clock import SteppedClock
from labctl.model.errors import CalibrationRefused, InstrumentError
from labctl.model.roles import Request
from labctl.session import operator
from labctl.session.watchdog.wire import assignment_of, decode
from simulators import presets
from simulators.bench import HandWire
from simulators.registry import find
from simulators.scene import Scene
from simulators.scene.settings import StageSettings, ThermometerSettings
from simulators.spectrometers.obp import Decoder, Frame, encode


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


def _ask(line: Scripted, *questions: Callable[[], object]) -> Parse:
    def parse(data: Data) -> None:
        line.answer = data
        for question in questions:
            try:
                question()
            except InstrumentError:
                continue

    return parse


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
        _ask(mount_line, mount.angle_deg, mount.identity, lambda: mount.status),
        [b"0PO00008C00\r\n", b"0GS09\r\n", b"0IN0E1140042120231701016800023000\r\n"],
        refused,
    )
    mount._timeout_s = 1e-4  # it may answer with other messages without end
    meter._wavelength_nm = 800.0
    yield Target(
        "PM100 answers",
        _ask(
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
        lambda d: operator._meaning(d.decode("utf-8", "replace"), request),
        [b"ok", b"ok 4321.0", b"error no such place"],
        (InstrumentError, CalibrationRefused),
    )


def _thermometer() -> Iterator[Target]:
    line = Scripted(lambda sent: "MAKER,RTD-1,T1,1.0\n" if "IDN" in sent else "21.5\n")
    thermometer = ScpiThermometer(line, clock=SteppedClock())
    line.settle()

    asked = _ask(line, thermometer.temperature_c, thermometer.identity)
    yield Target("thermometer's answers", asked, [b"21.5", b"MAKER,RTD-1,T1,1.0"], ())


WAITS_S = 100.0


def _requests(scene: Scene, key: str, seeds: list[Data]) -> Target:
    """Return the requests to a simulated instrument, which then gets its time."""
    wire: Any = find(key).make(scene)
    wire.attach(lambda _data: None)

    def request(data: Data) -> None:
        wire.new_client()
        wire.receive(data)
        for _ in range(3):
            due = wire.due_s()
            if due is None or due > scene.clock.now_s() + WAITS_S:
                break
            scene.clock.sleep(due - scene.clock.now_s())
            wire.wake()

    return Target(f"requests to {key}", request, seeds, ())


REQUESTS: Mapping[str, list[Data]] = {
    "thorlabs-ell14": [b"0ma00008C00", b"0ho0", b"0gs", b"0in", b"0mr00000010", b"0sv32"],
    "thorlabs-pm100": [
        b"MEAS:POW?\n", b"SENS:CORR:WAV 800\n", b"SENS:POW:UNIT?;:SENS:AVER?\n", b"*IDN?\n", b"SYST:ERR?\n",
    ],
    "thorlabs-sc10": [b"ens\r", b"ens?\r", b"mode=1\r", b"open=200\r", b"id?\r"],
    "ocean": [
        encode(Frame(0x110010, struct.pack("<L", 1000))), encode(Frame(0x101000)),
        encode(Frame(0x110110, b"\1")),
    ],
    "thorlabs-ell20": [b"0ma00008C00", b"0ho0", b"0in"],
    "scpi-thermometer": [b"MEAS:TEMP?\n"],
}  # fmt: skip


def targets() -> Iterator[Target]:
    settings = presets.scene("ola", "typical", 1)
    settings = dataclasses.replace(settings, stage=StageSettings(), thermometer=ThermometerSettings())
    scene = Scene(settings, SteppedClock())
    yield from _drivers()
    yield from _frames()
    yield from (_requests(scene, key, seeds) for key, seeds in REQUESTS.items())
    yield from _hands(scene)
    yield from _thermometer()
