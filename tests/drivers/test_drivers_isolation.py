"""A driver in a process of its own: the same role, and a call that never returns costs one restart."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from installed import install, put_on_the_path

from drivers import registry
from drivers.support import isolation
from drivers.support.failures import ConnectionHangs
from drivers.support.packing import pack, unpack
from labctl.config import parse_bench
from labctl.model.clock import SLICE_S, ScaledClock, SteppedClock, hearing
from labctl.model.errors import Aborted, ConnectionFailure, InstrumentError, InstrumentFault, NotConnected
from labctl.model.records import Identity, PowerReading, SpectrometerInfo, Spectrum
from labctl.model.roles import heard_by, ranged, zeroed
from labctl.model.shots import ShotBatch
from labctl.session import open_bench
from labctl.testing import checks_of
from simulators import presets
from simulators.bench import SimulatedBench

FAST = 50.0
BORROWED = '''
"""Drivers that stand still when a file is there, as a library without time-outs would; they take it away."""
import threading
from pathlib import Path
from typing import Literal
from drivers.meters.thorlabs_pm100 import DRIVER as PM100
from drivers.registry import DriverConfig, DriverSpec
from drivers.shutters.thorlabs_sc10 import ThorlabsSC10

HANGS = Path(__file__).with_name("hangs")

def stand_still(what):
    if HANGS.exists() and HANGS.read_text() == what:
        HANGS.unlink()
        threading.Event().wait()

class Shutter(ThorlabsSC10):
    def close_beam(self):
        stand_still("close_beam")
        super().close_beam()
    def is_open(self):
        stand_still("is_open")
        return super().is_open()

class ShutterConfig(DriverConfig):
    driver: Literal["hanging-shutter"]
    isolated: bool = True

class MeterConfig(PM100.config):
    driver: Literal["hanging-meter"]
    isolated: bool = True

def open_meter(config, clock):
    meter = PM100.open(config, clock)
    read = meter.read
    def reading(count=1, stop=None):
        stand_still("read")
        return read(count, stop)
    meter.read = reading
    return meter

def open_shutter(config, clock):
    return Shutter(config.resource, clock=clock)

SHUTTER = DriverSpec("hanging-shutter", "shutter", ShutterConfig, open_shutter, "")
METER = DriverSpec("hanging-meter", "power_meter", MeterConfig, open_meter, "")
'''


@dataclass
class Library:
    """The package above, and the file that makes it stand still."""

    folder: Path

    def hang_in(self, what: str) -> None:
        (self.folder / "hangs").write_text(what)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    folder = tmp_path / "plug"
    install(folder, "hanging", BORROWED, {"hanging-shutter": "SHUTTER", "hanging-meter": "METER"})
    put_on_the_path(folder, monkeypatch)
    return Library(folder)


@pytest.fixture
def bench() -> Iterator[SimulatedBench]:
    with SimulatedBench(presets.scene("ola", level="typical", seed=3), ScaledClock(FAST)) as running:
        yield running


def opened(bench: SimulatedBench, role: registry.RoleName, key: str, **keys: object) -> Any:
    table = {"driver": key, "resource": bench.resources[role], "isolated": True, **keys}
    return registry.connect(role, registry.find(role, key).config.model_validate(table), bench.scene.clock)


KEYS: dict[registry.RoleName, str] = {
    "attenuator": "thorlabs-ell14",
    "power_meter": "thorlabs-pm100",
    "spectrometer": "ocean",
    "shutter": "thorlabs-sc10",
}


@pytest.mark.parametrize("role", KEYS)
def test_each_role_keeps_its_promises_from_another_process(
    role: registry.RoleName, bench: SimulatedBench
) -> None:
    for check in checks_of(role):
        check(lambda: opened(bench, role, KEYS[role]))


def test_times_are_on_the_clock_of_the_bench(bench: SimulatedBench) -> None:
    clock = bench.scene.clock
    meter = opened(bench, "power_meter", "thorlabs-pm100")
    meter.prepare(800.0)
    before_s = clock.now_s()
    reading = meter.read(2)
    assert before_s <= reading.start_s < reading.stop_s <= clock.now_s()
    meter.close()
    camera = opened(bench, "spectrometer", "ocean")
    camera.set_integration(0.1)
    spectra = [camera.acquire() for _ in range(3)]
    assert [s.stop_s for s in spectra] == sorted(s.stop_s for s in spectra)
    assert all(s.start_s < s.stop_s <= clock.now_s() for s in spectra)
    camera.close()


def test_a_meter_tells_each_reading_and_what_it_can_beyond_its_role(bench: SimulatedBench) -> None:
    meter = opened(bench, "power_meter", "thorlabs-pm100")
    meter.prepare(800.0)
    heard: list[float] = []
    with heard_by(heard.append):
        reading = meter.read(3)
    assert len(heard) == 3
    assert np.mean(heard) == pytest.approx(reading.power_w)
    assert ranged(meter) is not None
    assert meter.set_range(1e-3) >= 1e-3
    assert zeroed(meter) is not None
    with pytest.raises(AttributeError):
        _ = meter.colour
    meter.close()


def to_and_fro(mount: Any, stop: threading.Event) -> None:
    while True:
        mount.move_to(300.0, stop)
        mount.move_to(10.0, stop)


def test_a_stop_reaches_the_driver_and_the_next_call_finds_it_ready(bench: SimulatedBench) -> None:
    mount = opened(bench, "attenuator", "thorlabs-ell14")
    mount.home()
    child, stop = mount._child, threading.Event()
    halves = threading.Timer(0.1, stop.set)
    halves.start()
    with pytest.raises(Aborted):
        to_and_fro(mount, stop)
    halves.join()
    assert mount.move_to(20.0) == pytest.approx(20.0, abs=0.1)
    assert mount._child is child
    mount.close()


def test_errors_come_through_in_their_own_kind(bench: SimulatedBench) -> None:
    mount = opened(bench, "attenuator", "thorlabs-ell14")
    with pytest.raises(InstrumentFault, match=r"^attenuator TCPIP.*: 400 degrees is outside"):
        mount.move_to(400.0)
    mount.close()
    with pytest.raises(NotConnected) as told:
        opened(bench, "power_meter", "thorlabs-pm100", resource=bench.resources["shutter"])
    assert told.value.failures[0].role == "power_meter"
    assert told.value.failures[0].hint


def test_connecting_hears_a_stop(bench: SimulatedBench) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Aborted), hearing(stop):
        opened(bench, "shutter", "thorlabs-sc10")


def test_a_reading_that_never_comes_costs_one_restart(
    library: Library, bench: SimulatedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "READING_S", 3.0)
    meter = opened(bench, "power_meter", "hanging-meter")
    meter.prepare(633.0)
    first = meter._child
    library.hang_in("read")
    with pytest.raises(ConnectionHangs, match="no answer to 'read' within 3 s; the process of its driver"):
        meter.read()
    assert not (library.folder / "hangs").exists()
    assert first._process.poll() is not None
    assert meter.read(2).n == 2
    assert meter._child is not first
    assert meter._settings == {"prepare": (633.0,)}
    meter.close()


def test_a_process_that_ends_is_started_again_once(bench: SimulatedBench) -> None:
    shutter = opened(bench, "shutter", "thorlabs-sc10")
    shutter.open()
    shutter._child._process.kill()
    shutter._child._process.wait()
    with pytest.raises(InstrumentError, match="its process ended during 'is_open'"):
        shutter.is_open()
    shutter.close_beam()
    assert bench.scene.shutter.closed_switch()
    shutter.close()
    with pytest.raises(InstrumentError, match="is closed"):
        shutter.is_open()


@pytest.mark.parametrize("what", ["close_beam", "is_open"])
def test_a_shutters_driver_that_hangs_is_followed_by_the_attenuator_and_a_word(
    what: str, library: Library, bench: SimulatedBench
) -> None:
    """BLOCK THE BEAM is said and the attenuator turned before the shutter's process is started again."""
    text = bench.bench_toml(FAST).replace("thorlabs-sc10", "hanging-shutter").replace("travel_s = 0.05", "")
    told: list[str] = []
    order: list[str] = []
    mount = bench.scene.mount
    with open_bench(parse_bench(text), bench.scene.clock, watchdog=False, tell=told.append) as opened_bench:
        pump, device = opened_bench.pump, opened_bench.roles.shutter._device  # type: ignore[attr-defined]
        again = device._open_again

        def restarted() -> None:
            order.append(f"restart after {len(told)} words, mount at {mount.angle_deg():.0f}")
            again()

        device._open_again = restarted
        pump.prepare()
        pump.set_fluence(60.0)
        lit_deg = mount.angle_deg()
        pump.open()
        library.hang_in(what)
        with pytest.raises(ConnectionHangs):
            pump.close()
        assert len(told) == 1
        assert "BLOCK THE BEAM MANUALLY" in told[0]
        assert len(order) == 1
        assert order[0].startswith("restart after 1 words")
        assert abs(float(order[0].split()[-1]) - lit_deg) > 5
        assert bench.scene.shutter.closed_switch()
        assert pump.safe().failures == ()
    assert len(order) == 1


def test_a_lost_shutter_is_tried_at_every_closing(bench: SimulatedBench) -> None:
    shutter = opened(bench, "shutter", "thorlabs-sc10")
    shutter.open()
    shutter._drop()
    again = shutter._open
    lost = NotConnected((ConnectionFailure("shutter", shutter.resource, "the port is still held", ""),))

    def refused(within_s: float) -> None:
        assert within_s < 10  # a step of making safe
        raise lost

    shutter._open = refused
    for _ in range(2):
        with pytest.raises(NotConnected):
            shutter.close_beam()
    shutter._open = again
    shutter.close_beam()
    assert bench.scene.shutter.closed_switch()
    shutter.close()


def test_the_attenuator_is_told_in_time() -> None:
    """What the numbers promise: the driver's deadline, the slices of the wait, and the time for the word."""
    travel_s = 0.1
    assert isolation.BLADE_S + travel_s + SLICE_S + 0.3 <= 1.5


RECORDS = [
    Identity("a", "b", "c"),
    PowerReading(1e-6, 1e-9, 3, 0.5, float("inf")),
    Spectrum(np.arange(4.0), 0.1, float("-inf"), 2.0),
    SpectrometerInfo(Identity("a", "b", "c"), np.arange(3.0), 65535.0, 1e-3, 1.0, nonlinearity=(1.0, 2.0)),
    ShotBatch(np.arange(6, dtype=np.uint16).reshape(2, 3), np.arange(2), np.arange(2), 0.1, 3.0),
    (1, None, "text", True, 2.5),
]


@pytest.mark.parametrize("value", RECORDS, ids=lambda value: type(value).__name__)
def test_records_travel_whole(value: object) -> None:
    found: object = unpack(*pack(value))
    assert type(found) is type(value)
    assert repr(found) == repr(value)
    if isinstance(value, ShotBatch) and isinstance(found, ShotBatch):
        assert found.frames.dtype == np.uint16
        assert np.array_equal(found.frames, value.frames)


@pytest.mark.parametrize(
    ("plain", "body"),
    [
        ({"array": "<f8", "shape": [3]}, b"123"),
        ({"array": "|O", "shape": [1]}, b"12345678"),
        ({"record": "Path", "fields": {}}, b""),
        ({"record": "Identity", "fields": {"vendor": "a"}}, b""),
        (1, b"more"),
    ],
)
def test_what_is_no_answer_is_refused(plain: object, body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpack(plain, body)
    with pytest.raises(TypeError, match="not an answer"):
        pack(SteppedClock())


def test_a_run_names_the_key_only_where_it_differs() -> None:
    with SimulatedBench(presets.scene("ola", seed=1), SteppedClock()) as simulated:
        text = simulated.bench_toml(1.0)
    plain: Any = parse_bench(text).resolved()
    assert "isolated" not in plain["shutter"]
    plain = parse_bench(text.replace("travel_s = 0.05", "travel_s = 0.05\nisolated = true")).resolved()
    assert plain["shutter"]["isolated"] is True
