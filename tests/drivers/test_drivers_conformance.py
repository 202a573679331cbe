"""Every driver of the package against the simulator of its instrument.

What its role promises is checked by the suite that ships, :mod:`labctl.testing`. Here too is what only the
scene can tell: where the mount stands, what is on the head, whether light passed.
"""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from drivers_stub import stub
from patience import PATIENCE_S

from drivers import registry
from labctl.model.clock import SteppedClock
from labctl.model.errors import InstrumentFault, NotConnected
from labctl.testing import Check, checks_of
from simulators import presets
from simulators.bench import SimulatedBench, Transport
from simulators.scene import SceneSettings
from simulators.scene.settings import HeaterSettings, Level, StageSettings, ThermometerSettings
from simulators.servers import Server

NEEDED: dict[str, dict[str, object]] = {"heater": {"max_temperature_c": 80.0}}
"""Keys without a default."""
POSIX = pytest.param(
    "pty", marks=pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
)


def drivers_of(role: registry.RoleName) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("spec", registry.of_role(role), ids=lambda spec: str(spec.key))


@pytest.fixture(params=["tcp", POSIX])
def transport(request: pytest.FixtureRequest) -> Transport:
    return request.param  # type: ignore[no-any-return]


def everything(level: Level) -> SceneSettings:
    """Return a scene with the instruments that a bench may have besides its four."""
    settings = presets.scene("ola", level=level, seed=3)
    more: dict[str, Any] = {"thermometer": ThermometerSettings(), "heater": HeaterSettings()}
    return dataclasses.replace(settings, stage=StageSettings(), **more)


def named(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Return the key of the driver under test: its own twin stands on the bench."""
    return (request.node.callspec.params["spec"].key,)


@pytest.fixture
def bench(transport: Transport, request: pytest.FixtureRequest) -> Iterator[SimulatedBench]:
    with SimulatedBench(
        everything("ideal"), SteppedClock(), transport, instruments=named(request)
    ) as running:
        yield running


@pytest.fixture
def tcp_bench(request: pytest.FixtureRequest) -> Iterator[SimulatedBench]:
    with SimulatedBench(everything("typical"), SteppedClock(), instruments=named(request)) as running:
        yield running


def made(bench: SimulatedBench, spec: registry.DriverSpec, **settings: object) -> Any:
    config = spec.config.model_validate(
        {"driver": spec.key, "resource": bench.resources[spec.role], **NEEDED.get(spec.role, {}), **settings}
    )
    return spec.open(config, bench.scene.clock)


@contextmanager
def opened(bench: SimulatedBench, spec: registry.DriverSpec, **settings: object) -> Iterator[Any]:
    device = made(bench, spec, **settings)
    try:
        yield device
    finally:
        device.close()


PROMISES = [(spec, check) for spec in registry.all_drivers() for check in checks_of(spec.role)]


@pytest.mark.parametrize(
    ("spec", "check"), PROMISES, ids=[f"{spec.key}-{check.__name__}" for spec, check in PROMISES]
)
def test_a_driver_keeps_the_promises_of_its_role(
    spec: registry.DriverSpec, check: Check, tcp_bench: SimulatedBench
) -> None:
    check(lambda: made(tcp_bench, spec))


@pytest.mark.parametrize("spec", registry.all_drivers(), ids=lambda spec: str(spec.key))
def test_a_device_is_called_by_its_role_and_address(
    spec: registry.DriverSpec, tcp_bench: SimulatedBench
) -> None:
    with opened(tcp_bench, spec) as device:
        assert device.name == f"{spec.role} {tcp_bench.resources[spec.role]}"


@drivers_of("attenuator")
def test_attenuator_moves_where_it_is_told(spec: registry.DriverSpec, bench: SimulatedBench) -> None:
    with opened(bench, spec) as mount:
        assert not mount.is_referenced()
        mount.home()
        assert mount.is_referenced()
        for wanted in (33.3, 12.0, 57.0):
            reached = mount.move_to(wanted)
            assert reached == pytest.approx(wanted, abs=0.1)
            assert mount.angle_deg() == pytest.approx(reached, abs=0.01)
            assert bench.scene.mount.angle_deg() == pytest.approx(wanted, abs=0.2)
            assert not bench.scene.mount.moving()


@drivers_of("attenuator")
def test_attenuator_that_refuses_does_not_turn(spec: registry.DriverSpec, tcp_bench: SimulatedBench) -> None:
    with opened(tcp_bench, spec) as mount:
        with pytest.raises(InstrumentFault):
            mount.move_to(mount.angle_range_deg[1] + 1.0)
        assert not tcp_bench.scene.mount.moving()


@drivers_of("stage")
def test_stage_moves_where_it_is_told(spec: registry.DriverSpec, bench: SimulatedBench) -> None:
    assert bench.scene.stage is not None
    with opened(bench, spec) as stage:
        assert not stage.is_referenced()
        stage.home()
        assert stage.is_referenced()
        low, high = stage.range_um
        for wanted in (low + 5000.0, low + 4000.0, high):
            reached = stage.move_to(wanted)
            assert reached == pytest.approx(wanted, abs=1.0)
            assert stage.position_um() == pytest.approx(reached, abs=1.0)
            assert bench.scene.stage.position_um() == pytest.approx(wanted, abs=1.0)
            assert not bench.scene.stage.moving()


@drivers_of("thermometer")
def test_thermometer_shows_the_room(spec: registry.DriverSpec, bench: SimulatedBench) -> None:
    room = bench.scene.thermometer
    assert room is not None
    with opened(bench, spec) as sensor:
        for _ in range(3):
            bench.scene.clock.sleep(3600.0)
            assert sensor.temperature_c() == pytest.approx(room.true_c(bench.scene.clock.now_s()), abs=0.1)


@drivers_of("heater")
def test_heater_holds_what_it_is_told(spec: registry.DriverSpec, bench: SimulatedBench) -> None:
    plate, clock = bench.scene.plate, bench.scene.clock
    assert plate is not None
    with opened(bench, spec) as heater:
        assert not heater.is_heating()
        heater.hold(60.0)
        assert heater.is_heating()
        clock.sleep(1200.0)
        assert heater.temperature_c() == pytest.approx(60.0, abs=0.2)
        assert plate.sample_c(clock.now_s()) == pytest.approx(60.0, abs=0.1)
        heater.off()
        heater.off()
        assert not heater.is_heating()
        clock.sleep(1200.0)
        assert heater.temperature_c() == pytest.approx(22.0, abs=0.2)


@drivers_of("power_meter")
def test_power_meter_reads_what_is_on_its_head(spec: registry.DriverSpec, bench: SimulatedBench) -> None:
    mount, clock = bench.scene.mount, bench.scene.clock
    clock.sleep(mount.home() - clock.now_s())
    with opened(bench, spec) as meter:
        meter.prepare(800.0)
        readings = []
        for angle_deg in (20.0, 50.0):
            clock.sleep(mount.move_to(angle_deg) - clock.now_s() + meter.settling_s)
            reading = meter.read(3)
            assert reading.n == 3
            assert reading.start_s < reading.stop_s <= clock.now_s()
            assert 0 < reading.sigma_w < 0.2 * reading.power_w
            again = meter.read(3)
            assert again.power_w == pytest.approx(reading.power_w, rel=0.02, abs=5 * meter.noise_w)
            readings.append(reading.power_w)
        assert readings[0] > 3 * readings[1]
        assert meter.noise_w > 0
        assert meter.sensor == "photodiode"


@pytest.mark.parametrize("kind", ["photodiode", "thermal", "pyro"])
@drivers_of("power_meter")
def test_power_meter_settles_by_its_own_head(spec: registry.DriverSpec, kind: str) -> None:
    settings = presets.scene("ola", level="ideal", seed=3, meter=kind)  # type: ignore[arg-type]
    with SimulatedBench(settings, clock := SteppedClock()) as bench, opened(bench, spec) as meter:
        mount = bench.scene.mount
        clock.sleep(mount.home() - clock.now_s())
        clock.sleep(mount.move_to(40.0) - clock.now_s() + 60.0)
        meter.prepare(800.0)
        assert meter.sensor == kind
        clock.sleep(mount.move_to(13.0) - clock.now_s() + meter.settling_s)
        early = meter.read(10)
        clock.sleep(60.0)
        late = meter.read(10)
        noise_w = 4 * (early.sigma_w**2 + late.sigma_w**2) ** 0.5
        assert early.power_w == pytest.approx(late.power_w, rel=2e-3, abs=noise_w)
        assert noise_w < 0.02 * late.power_w


@drivers_of("power_meter")
def test_power_meter_says_when_it_is_over_range(spec: registry.DriverSpec, tcp_bench: SimulatedBench) -> None:
    tcp_bench.scene.mount.move_to(12.0)
    tcp_bench.scene.clock.sleep(5.0)
    with opened(tcp_bench, spec, range=1e-9) as meter:
        with pytest.raises(InstrumentFault, match=r"range|nm"):
            meter.prepare(5000.0)
        meter.prepare(800.0)
        with pytest.raises(InstrumentFault, match="out of range"):
            meter.read()


@drivers_of("shutter")
def test_shutter_confirms_what_it_does(spec: registry.DriverSpec, bench: SimulatedBench) -> None:
    blade = bench.scene.shutter
    with opened(bench, spec) as shutter:
        assert not shutter.is_open()
        assert not blade.is_open()
        for _ in range(2):
            shutter.open()
            assert shutter.is_open()
            assert not blade.closed_switch()
        for _ in range(2):
            shutter.close_beam()
            assert not shutter.is_open()
            assert blade.closed_switch()
        assert shutter.travel_s > 0


def at_the_wire(server: Server, action: Callable[[], None]) -> None:
    """Do something to the instrument itself, and wait until it is done."""
    done = threading.Event()
    server.call(action)
    server.call(done.set)
    assert done.wait(PATIENCE_S)


@drivers_of("shutter")
def test_shutter_stays_closed_while_the_interlock_is_tripped(
    spec: registry.DriverSpec, tcp_bench: SimulatedBench
) -> None:
    server = tcp_bench.server("shutter")
    wire: Any = server.wire
    with opened(tcp_bench, spec) as shutter:
        at_the_wire(server, lambda: wire.trip_interlock(True))
        with pytest.raises(InstrumentFault, match="interlock"):
            shutter.open()
        assert tcp_bench.scene.shutter.closed_switch()
        at_the_wire(server, lambda: wire.trip_interlock(False))
        shutter.open()
        assert shutter.is_open()


BACKENDS = [{"backend": "pyseabreeze"}, {"backend": "cseabreeze"}]


@pytest.mark.parametrize("settings", BACKENDS, ids=lambda item: str(item["backend"]))
@drivers_of("spectrometer")
def test_spectrometer_exposes_as_told(
    spec: registry.DriverSpec, settings: dict[str, str], tcp_bench: SimulatedBench
) -> None:
    clock, camera = tcp_bench.scene.clock, tcp_bench.scene.camera
    with opened(tcp_bench, spec, resolution_nm=0.15, **settings) as spectrometer:
        info = spectrometer.info
        assert info.wavelength_nm.shape == (camera.pixels,)
        assert np.all(np.diff(info.wavelength_nm) > 0)
        assert info.max_counts == camera.max_counts
        assert info.integration_min_s < 0.02 < info.integration_max_s
        assert info.resolution_nm == 0.15
        assert spectrometer.set_integration(0.02) == pytest.approx(0.02, rel=1e-3)
        changed_s = clock.now_s()
        spectra = [spectrometer.acquire() for _ in range(5)]
        assert {spectrum.counts.shape for spectrum in spectra} == {(camera.pixels,)}
        assert all(spectrum.start_s < spectrum.stop_s for spectrum in spectra)
        assert sum(spectrum.start_s >= changed_s for spectrum in spectra) >= 2


@drivers_of("spectrometer")
def test_no_exposure_said_to_follow_a_change_began_before_it(
    spec: registry.DriverSpec, tcp_bench: SimulatedBench
) -> None:
    """Light comes and goes between exposures; one whose time stamp is later must see all of it, or none."""
    scene, clock = tcp_bench.scene, tcp_bench.scene.clock
    clock.sleep(scene.mount.home() - clock.now_s())
    clock.sleep(scene.mount.move_to(17.0) - clock.now_s())
    with opened(tcp_bench, spec) as spectrometer:
        spectrometer.set_integration(0.1)
        levels: dict[bool, list[float]] = {True: [], False: []}
        for number in range(12):
            bright = number % 2 == 0
            clock.sleep(scene.shutter.command(bright) - clock.now_s() + 0.013 * number)
            changed_s = clock.now_s()
            fresh = [
                spectrum
                for spectrum in (spectrometer.acquire() for _ in range(5))
                if spectrum.start_s >= changed_s
            ]
            assert len(fresh) >= 2
            levels[bright].extend(float(spectrum.counts.mean()) for spectrum in fresh)
        dark, light = np.array(levels[False]), np.array(levels[True])
        step = np.median(light) - np.median(dark)
        assert step > 10 * dark.std()
        assert np.all(dark < np.median(dark) + 0.05 * step)
        assert np.all(light > np.median(light) - 0.3 * step)


@pytest.mark.parametrize("spec", registry.all_drivers(), ids=lambda spec: str(spec.key))
def test_a_device_that_never_stops_talking_is_told_in_one_line(
    spec: registry.DriverSpec,
) -> None:
    with stub(lambda data: b"x" * 20_000) as server:
        address = f"FX@127.0.0.1:{server.port}" if spec.role == "spectrometer" else server.resource
        needed = NEEDED.get(spec.role, {})
        config = spec.config.model_validate({"driver": spec.key, "resource": address, **needed})
        with pytest.raises(NotConnected) as told:
            spec.open(config, SteppedClock())
    (failure,) = told.value.failures
    assert len(failure.reason) < 200
    assert failure.hint
    assert "baud" not in failure.hint
