"""After a line was cut: every driver connects anew, looks who is there, and sets again what was lost."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from patience import PATIENCE_S

from drivers import registry
from labctl.model.clock import SteppedClock
from labctl.model.errors import InstrumentError, InstrumentFault, NotConnected
from labctl.model.roles import Attenuator, PowerMeter, Shutter, Spectrometer
from simulators import presets
from simulators.bench import SimulatedBench

WAVELENGTH_NM = 800.0
KEYS: dict[registry.RoleName, str] = {
    "attenuator": "thorlabs-ell14",
    "power_meter": "thorlabs-pm100",
    "shutter": "thorlabs-sc10",
    "spectrometer": "ocean",
}


@pytest.fixture
def bench() -> Iterator[SimulatedBench]:
    with SimulatedBench(presets.scene("ola", "ideal", 3), SteppedClock()) as running:
        yield running


@pytest.fixture
def opened(bench: SimulatedBench) -> Iterator[dict[str, Any]]:
    """Every driver, connected and set up, its identity known."""
    devices: dict[str, Any] = {}
    try:
        for role in KEYS:
            spec = registry.find(role, KEYS[role])
            config = spec.config.model_validate({"driver": spec.key, "resource": bench.resources[role]})
            devices[role] = spec.open(config, bench.scene.clock)
            devices[role].identity()
        devices["attenuator"].home()
        devices["attenuator"].move_to(30.0)
        devices["power_meter"].prepare(WAVELENGTH_NM)
        devices["spectrometer"].set_integration(0.05)
        yield devices
    finally:
        for device in devices.values():
            device.close()


def cut(bench: SimulatedBench, role: str, meanwhile: bytes = b"") -> None:
    """Part from the driver; somebody else may say something at its address before it comes back."""
    server = bench.server(role)
    done = threading.Event()

    def hang_up() -> None:
        server.hang_up()
        done.set()

    server.call(hang_up)
    assert done.wait(PATIENCE_S)
    if not meanwhile:
        return
    host, port = bench.resources[role].split("::")[1:3]
    with socket.create_connection((host, int(port)), PATIENCE_S) as other:
        other.sendall(meanwhile)
        other.settimeout(0.3)
        with suppress(TimeoutError):  # until there is nothing more to say
            while other.recv(4096):
                pass


def test_a_mount_goes_on_where_it_was_left_and_keeps_its_reference(
    bench: SimulatedBench, opened: dict[str, Any]
) -> None:
    mount: Attenuator = opened["attenuator"]
    cut(bench, "attenuator")
    assert mount.angle_deg() == pytest.approx(30.0, abs=0.01)
    assert mount.is_referenced()
    assert mount.move_to(40.0) == pytest.approx(40.0, abs=0.01)


def test_a_mount_that_was_moved_meanwhile_has_lost_its_reference(
    bench: SimulatedBench, opened: dict[str, Any]
) -> None:
    mount: Attenuator = opened["attenuator"]
    cut(bench, "attenuator", b"0mr00004000")
    assert mount.angle_deg() != pytest.approx(30.0, abs=1.0)
    assert not mount.is_referenced()


def test_a_meter_gets_its_settings_back(bench: SimulatedBench, opened: dict[str, Any]) -> None:
    meter: PowerMeter = opened["power_meter"]
    before = meter.read(3).power_w
    cut(
        bench,
        "power_meter",
        b"SENS:CORR:WAV 532\nSENS:AVER 1\nSENS:POW:UNIT DBM\nSENS:CORR 10\nSENS:POW:RANG 0.5\n",
    )
    assert meter.read(3).power_w == pytest.approx(before, rel=0.01)
    assert opened["power_meter"].wavelength_nm == WAVELENGTH_NM
    assert opened["power_meter"].averages == 100
    assert opened["power_meter"].ask("SENS:POW:UNIT?") == "W"


def test_a_shutter_is_in_manual_mode_again_and_what_it_does_is_asked(
    bench: SimulatedBench, opened: dict[str, Any]
) -> None:
    shutter: Shutter = opened["shutter"]
    shutter.open()
    cut(bench, "shutter", b"mode=4\r")
    bench.scene.clock.sleep(0.2)
    assert not shutter.is_open()  # a change of mode closed it, and nobody believes what was known before
    assert opened["shutter"].mode == 1
    shutter.open()
    cut(bench, "shutter")
    shutter.close_beam()
    assert bench.scene.shutter.closed_switch()


def test_a_spectrometer_gets_its_exposure_time_back(bench: SimulatedBench, opened: dict[str, Any]) -> None:
    device: Spectrometer = opened["spectrometer"]
    assert device.acquire().integration_s == pytest.approx(0.05)
    cut(bench, "spectrometer")
    with pytest.raises(InstrumentError):  # the exposure that was under way is gone
        device.acquire()
    assert device.acquire().integration_s == pytest.approx(0.05)


def another(bench: SimulatedBench, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put another device of the same kind at the address."""
    server: Any = bench.server(role)
    wire = server.wire
    if role == "attenuator":
        wire._seats[0].module.serial = 11_400_999
    elif role == "power_meter":
        wire._tree.add("*IDN?", lambda _: "THORLABS,PM100D,P9999999,2.4.0")
    elif role == "shutter":
        monkeypatch.setattr("simulators.shutters.sc10.IDENTITY", "THORLABS SC10 VERSION 2.00")
    else:
        wire._handlers[0x00000100] = lambda _: b"FX99999"


ASK = {
    "attenuator": lambda d: d.angle_deg(),
    "power_meter": lambda d: d.read(1),
    "shutter": lambda d: d.is_open(),
    "spectrometer": lambda d: d.acquire(),
}


@pytest.mark.parametrize("role", list(ASK))
def test_another_device_at_the_same_address_is_refused(
    role: str, bench: SimulatedBench, opened: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    another(bench, role, monkeypatch)
    cut(bench, role)
    if role == "spectrometer":  # its process ends with the line, and the next request opens it anew
        with pytest.raises(InstrumentError):
            opened[role].acquire()
    with pytest.raises(InstrumentFault, match="answers instead of"):
        ASK[role](opened[role])
    # And it stays refused: nothing is measured with somebody else's instrument.
    with pytest.raises(InstrumentError):
        ASK[role](opened[role])


@pytest.mark.parametrize("role", ["attenuator", "power_meter", "shutter"])
def test_nobody_comes_back(role: str, bench: SimulatedBench, opened: dict[str, Any]) -> None:
    bench.server(role).stop()
    with pytest.raises(InstrumentError):
        ASK[role](opened[role])
    with pytest.raises((NotConnected, InstrumentError)):
        ASK[role](opened[role])
