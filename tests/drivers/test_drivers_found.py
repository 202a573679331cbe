"""What is plugged in: who answers at a place that was named, and what is left alone."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from drivers_stub import closed_port, stub

from drivers import found as devices
from drivers import registry
from drivers.found import FoundInstrument, found
from labctl.model.clock import ScaledClock
from simulators import presets
from simulators import registry as simulated
from simulators.bench import SimulatedBench
from simulators.scene import Scene
from simulators.servers import TcpServer

KEYS = {"attenuator": "thorlabs-ell14", "power_meter": "thorlabs-pm100", "shutter": "thorlabs-sc10"}


@pytest.fixture(autouse=True)
def no_usb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_usb_devices", list)
    monkeypatch.setattr("serial.tools.list_ports.comports", list)


@pytest.fixture(
    params=["tcp", pytest.param("pty", marks=pytest.mark.skipif(sys.platform == "win32", reason="POSIX"))]
)
def bench(request: pytest.FixtureRequest) -> Iterator[SimulatedBench]:
    with SimulatedBench(presets.scene("ola", "ideal", seed=3), ScaledClock(20.0), request.param) as running:
        yield running


def test_whoever_is_named_is_asked_and_its_lines_open_it(bench: SimulatedBench) -> None:
    for role, key in KEYS.items():
        (one,) = found([bench.resources[role]])
        assert (one.role, one.driver, one.why) == (role, key, "")
        table = tomllib.loads("\n".join(one.lines))[role]
        assert table["resource"] == bench.resources[role]
        spec = registry.find(role, key)  # type: ignore[arg-type]
        device = spec.open(spec.config.model_validate(table), bench.scene.clock)
        assert one.what.split()[0] in device.identity().model
        device.close()


def test_asking_changes_nothing(bench: SimulatedBench) -> None:
    spec = registry.find("shutter", "thorlabs-sc10")
    config = spec.config.model_validate({"driver": spec.key, "resource": bench.resources["shutter"]})
    shutter = spec.open(config, bench.scene.clock)
    shutter.mode = 4
    shutter.close()
    assert found([bench.resources["shutter"]])[0].role == "shutter"
    line = spec.open(config, bench.scene.clock)  # this, and not the question, goes to the manual mode
    line.close()
    assert bench.scene.shutter.closed_switch()


def test_a_stranger_is_quoted() -> None:
    with stub(lambda data: b"KEITHLEY,2000,1,A02\n" if b"IDN" in data else b"") as server:
        (one,) = found([server.resource])
    assert one.role == ""
    assert "'KEITHLEY,2000,1,A02', which no driver knows" in one.why
    assert one.lines == ()


def test_nobody_is_told_with_what_to_try() -> None:
    (one,) = found([f"TCPIP::127.0.0.1::{closed_port()}::SOCKET"])
    assert one.role == ""
    assert one.why


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
def test_a_module_at_another_address_and_a_fast_controller_have_their_keys() -> None:
    with SimulatedBench(presets.scene("ola", "ideal", seed=3), ScaledClock(20.0), "pty") as bench:
        mount = registry.find("attenuator", "thorlabs-ell14")
        place = {"driver": mount.key, "resource": bench.resources["attenuator"]}
        opened = mount.open(mount.config.model_validate(place), bench.scene.clock)
        opened.write("ca5")
        opened.close()
        shutter = registry.find("shutter", "thorlabs-sc10")
        place = {"driver": shutter.key, "resource": bench.resources["shutter"]}
        line = shutter.open(shutter.config.model_validate(place), bench.scene.clock)
        line.write("baud=1")
        line.close()
        lines = [found([bench.resources[role]])[0].lines for role in ("attenuator", "shutter")]
    assert 'address = "5"' in lines[0]
    assert "baud_rate = 115200" in lines[1]


@pytest.mark.parametrize(
    ("key", "role", "model"),
    [("thorlabs-apt", "attenuator", "K10CR1"), ("thorlabs-ksc101", "shutter", "KSC101")],
)
def test_controllers_that_talk_in_messages_are_found(key: str, role: str, model: str) -> None:
    clock = ScaledClock(1.0)
    twin = simulated.find(key)
    server = TcpServer(twin.make(Scene(presets.scene("ola", "ideal", seed=3), clock)), clock)
    server.start()
    try:
        server.wire._start_updates()  # type: ignore[attr-defined]  # as another program leaves it
        (one,) = found([server.resource])
        spec = registry.find(role, key)  # type: ignore[arg-type]
        table = tomllib.loads("\n".join(one.lines))[role]
        device = spec.open(spec.config.model_validate(table), clock)
        who = device.identity()
        device.close()
    finally:
        server.stop()
    assert (one.role, one.driver, one.what) == (role, key, who.model)
    assert who.model == model


def port(device: str, vendor: int | None, manufacturer: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(
        device=device, vid=vendor, pid=0x6015, manufacturer=manufacturer, product="port", description="n/a"
    )


def test_a_port_is_asked_only_if_its_usb_id_is_a_supported_maker_s_or_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ports = [
        port("COM3", 0x0403, "FTDI"),
        port("COM4", 0x1313, "Thorlabs"),
        port("COM5", None),
        port("COM6", 0x0403),
    ]
    asked: list[str] = []

    def ask(resource: str, questions: object, what: str = "") -> FoundInstrument:
        asked.append(resource)
        return FoundInstrument(resource, what)

    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: ports)
    monkeypatch.setattr(devices, "_asked", ask)
    told = found(["COM6"])
    assert asked == ["ASRLCOM4::INSTR", "ASRLCOM6::INSTR"]
    assert "0403:6015 serves many devices; to ask who is there: labctl devices --probe COM3" in told[0].why


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere a port that is open refuses to be opened again"
)
def test_a_port_that_another_program_holds_is_not_asked() -> None:
    with SimulatedBench(presets.scene("ola", "ideal", seed=3), ScaledClock(20.0), "pty") as bench:
        resource = bench.resources["shutter"]
        path = resource.removeprefix("ASRL").removesuffix("::INSTR")
        code = f"import sys; line = open({path!r}, 'rb', 0); print('open', flush=True); sys.stdin.read()"
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holds:
            assert holds.stdout is not None
            holds.stdout.readline()
            (one,) = found([resource])
            assert one.why.startswith("held by another program, and not asked: python")
            assert f"process {holds.pid}" in one.why
            assert holds.stdin is not None
            holds.stdin.close()


def test_with_nothing_plugged_in_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, drivers.found as f\n"
        "import serial.tools.list_ports as p\n"
        "p.comports = lambda: []; f._enumerated = lambda: iter(())\n"
        "assert f.found() == []\n"
        "print(sorted({'numpy', 'pyvisa', 'pymeasure', 'seabreeze', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_bus_that_does_not_answer_is_told_and_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_usb_devices", lambda: None)
    (one,) = found()
    assert "does not answer" in one.why
